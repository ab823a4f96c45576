"""Several processes do what one does: gloo on the CPU stands in for NCCL on GPUs."""

import multiprocessing
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from cure_core import encoders, unlearning
from cure_core.clustering import kmeans
from cure_core.encoders.embedding import embed
from cure_core.encoders.model_files import read_model
from cure_core.objectives import build
from cure_core.runtime import distributed
from cure_core.training import loop
from cure_core.training.arcface import Recipe, train
from cure_core.unlearning import CureConfig, unlearn
from cure_study import training_cache
from cure_study.data.faceset import FaceSet
from cure_study.experiments import seeds, study
from cure_study.training_cache import train_cached

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork spares importing torch")

# Batches of 5 + 8 and, at an epoch's end, 2 + 8: no half of them is whole.
CONFIG = CureConfig(
    clusters=(3, 4), epochs=2, batch_size=(5, 8), learning_rate=1e-3, batchnorm="frozen"
)


def together(work, tmp_path, processes=2):
    """What `work()` gives in each of several processes that form a group."""

    def run(rank):
        torch.set_num_threads(1)
        dist.init_process_group(
            "gloo", init_method=f"file://{tmp_path}/meeting", rank=rank, world_size=processes
        )
        torch.save(work(), tmp_path / f"{rank}.pt")
        dist.destroy_process_group()

    context = multiprocessing.get_context("fork")
    group = [context.Process(target=run, args=(rank,)) for rank in range(processes)]
    for process in group:
        process.start()
    for process in group:
        process.join(120)
    codes = [process.exitcode for process in group]
    for process in group:
        process.kill()
    (tmp_path / "meeting").unlink(missing_ok=True)
    assert codes == [0] * processes
    return [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(processes)]


@pytest.fixture
def sets(draw_faces):
    images, _ = draw_faces(7, 4)
    return images[:12], images[12:]


class Normless(nn.Module):
    """An encoder without batch norm, which a CPU cannot train in several processes."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.PReLU(), nn.Flatten())
        self.project = nn.Linear(4 * 14 * 14, 8)

    def forward(self, images):
        return self.project(self.body((images.float() - 127.5) / 128)).float()


def normless(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Normless().eval()


def test_shares_are_in_order_and_even(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    for count in (0, 1, 2, 7, 9):
        rows = [list(range(count))[distributed.shard(count, of)] for of in range(3)]
        assert [row for part in rows for row in part] == list(range(count))
        assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_a_gathered_loss_has_the_gradient_of_one_process(tmp_path):
    """A loss that couples all rows, of five rows in two processes, under DDP."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(*shape, generator=generator) for shape in ((5, 3), (3, 2)))

    def gradient():
        layer = nn.Linear(3, 2, bias=False)
        layer.weight.data.copy_(weight.T)
        network = distributed.wrap_ddp(layer, torch.device("cpu"), trains_statistics=True)
        rows = distributed.gather(network(x[distributed.shard(5)]), 5)
        (rows.T @ rows).det().backward()
        return layer.weight.grad

    alone = gradient()
    for found in together(gradient, tmp_path):
        torch.testing.assert_close(found, alone, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("method", "rate"), [("cure", 1e-3), ("cure_plus", 1e-4)])
def test_one_and_two_processes_unlearn_alike(method, rate, tiny_encoder, sets, tmp_path):
    """The distribution term couples the whole batch; `cure` renews its centroids by K-means.

    `cure_plus` has gradients a hundred times as large, of whose rounding Adam makes steps.
    """
    config = replace(CONFIG, weights={"distribution": 5.0}, learning_rate=rate)

    def run():
        result = unlearn(tiny_encoder(), *sets, config, objective=build(method))
        return result.history, embed(result.student, sets[0]), result.student.state_dict()

    history, embeddings, _ = run()
    found = together(run, tmp_path)
    for other, their_embeddings, _ in found:
        np.testing.assert_allclose(other, history, rtol=1e-5, atol=1e-7)  # 1 - cosine is near 0
        torch.testing.assert_close(their_embeddings, embeddings, rtol=0, atol=1e-5)
    first, second = (state for _, _, state in found)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("head", ["random", "centroids"])
def test_one_and_two_processes_train_alike(head, sets, tmp_path):
    people = np.arange(16) // 4
    recipe = Recipe(epochs=2, batch_size=5, learning_rate=0.005, head=head)

    def run():
        result = train(normless(), sets[1], people, recipe)
        return result.losses, embed(result.encoder, sets[1])

    losses, embeddings = run()
    for their_losses, their_embeddings in together(run, tmp_path):
        np.testing.assert_allclose(their_losses, losses, rtol=1e-5)
        torch.testing.assert_close(their_embeddings, embeddings, rtol=0, atol=1e-5)


@pytest.mark.parametrize("spherical", [False, True])
def test_one_and_three_processes_cluster_alike(spherical, tmp_path):
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(1))

    def run():
        result = kmeans(x, 9, spherical=spherical)
        return result.centroids, result.labels, result.inertia

    centroids, labels, inertia = run()
    for found in together(run, tmp_path, processes=3):
        torch.testing.assert_close(found[0], centroids, rtol=1e-5, atol=1e-6)
        assert torch.equal(found[1], labels)
        assert found[2] == pytest.approx(inertia, rel=1e-5)


def test_embeddings_come_back_whole_and_in_order(tiny_encoder, sets, tmp_path):
    def run():
        return [embed(tiny_encoder(), images, batch_size=3) for images in (sets[1], sets[1][:1])]

    alone = run()
    for found in together(run, tmp_path):
        for one, other in zip(alone, found, strict=True):
            torch.testing.assert_close(other, one, rtol=0, atol=1e-6)


def test_batch_norm_over_processes_on_a_cpu_is_refused(tiny_encoder, sets, tmp_path):
    def run():
        with pytest.raises(ValueError, match=r"batch of all 2 processes.*batchnorm='frozen'"):
            unlearn(tiny_encoder(), *sets, replace(CONFIG, batchnorm="train"))

    together(run, tmp_path)


def test_one_process_goes_on_where_two_were_stopped(tiny_encoder, sets, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    path, whole = tmp_path / "run.pt", unlearn(tiny_encoder(), *sets, CONFIG)

    def run():
        def stops(student):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            unlearn(tiny_encoder(), *sets, CONFIG, stops, checkpoint=path)

    together(run, tmp_path)
    assert torch.load(path, weights_only=True)["state"]["step"] == 3
    resumed = unlearn(tiny_encoder(), *sets, CONFIG, checkpoint=path)
    np.testing.assert_allclose(resumed.history, whole.history, rtol=1e-5)


def test_what_the_first_refuses_all_refuse(tiny_encoder, sets, tmp_path):
    path = tmp_path / "run.pt"
    unlearn(tiny_encoder(), *sets, replace(CONFIG, epochs=1), checkpoint=path)

    def run():
        with pytest.raises(ValueError, match="epochs: 1 there, 2 now"):
            unlearn(tiny_encoder(), *sets, CONFIG, checkpoint=path)

    together(run, tmp_path)


def test_the_first_process_alone_fills_the_cache(sets, tmp_path):
    people, recipe = np.arange(16) // 4, Recipe(epochs=1, batch_size=8)

    def run():
        return train_cached(normless(), sets[1], people, recipe).losses

    first, second = together(run, tmp_path)
    assert first == second
    cache = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in cache) == [".lock", ".safetensors"]


# Started by Accelerate, as in a notebook.


@pytest.fixture
def world_of_faces(draw_faces, monkeypatch):
    monkeypatch.setitem(encoders.REGISTRY, "normless", Normless)
    images, identities = draw_faces(people=14, each=7)
    setting = study.StudySetting(
        encoder="normless",
        forget_people=3,
        split={"min_images": 6, "outsiders": 4, "heldout": 0.3},
        recipe=Recipe(epochs=1, batch_size=16),
        config=CureConfig(clusters=(2, 3), epochs=2, batch_size=(8, 8), batchnorm="frozen"),
        n_pairs=20,
        processes=2,
    )
    return FaceSet("painted", images, identities, "abc"), setting


def test_launched_processes_leave_in_the_cache_what_the_study_then_finds(
    world_of_faces, monkeypatch
):
    seeds.pretrain(*world_of_faces, [0])

    def never(*_, **__):
        raise AssertionError("it was trained here")

    monkeypatch.setattr(training_cache, "train", never)
    monkeypatch.setattr(unlearning, "optimiser_step", never)
    outcome = study.run(*world_of_faces, 0, n_bootstrap=0, progress=False)
    assert len(outcome.history()) == 2
    assert not dist.is_initialized()


def test_a_process_that_dies_is_told_and_the_rest_goes_on_from_the_last_save(
    world_of_faces, monkeypatch, tmp_path
):
    """The second of two dies in the second epoch, as by a fault of the machine."""
    step, steps = unlearning.optimiser_step, []

    def dies(*arguments, **options):
        steps.append(1)
        if len(steps) == 4 and distributed.rank() == 1:
            os._exit(9)
        return step(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(unlearning, "optimiser_step", dies)
        with pytest.raises(ChildFailedError, match="_joined FAILED"):  # by it or its orphan
            seeds.pretrain(*world_of_faces, [0])
    (kept,) = (tmp_path / "cache" / "checkpoints").glob("student-*.pt")
    assert not list((tmp_path / "cache" / "students").glob("*.safetensors"))
    seeds.pretrain(*world_of_faces, [0])
    assert not kept.exists()  # a finished student is a result
    (student,) = (tmp_path / "cache" / "students").glob("*.safetensors")
    assert len(read_model(student)[1]["history"]["epoch"]) == 2

"""The protocol code against a published number, on the real faces where they are."""

import numpy as np
import pytest

from cure_core import encoders
from cure_core.encoders.embedding import embed
from cure_core.metrics.pairs import Pairs, similarities
from cure_core.metrics.verification import ten_fold_accuracy
from cure_study.data import manifests
from cure_study.data.faceset import ImageView
from cure_study.paths import data_root

FOLDS = 3 * 600  # pairs
WEIGHTS = data_root() / "models" / "mobilefacenet_casia.safetensors"


@pytest.mark.xdist_group("lfw")
@pytest.mark.skipif(
    not (WEIGHTS.is_file() and (data_root() / "data" / "lfwa_112").is_dir()),
    reason="needs LFW and the weights under CURE_DATA_ROOT",
)
@pytest.mark.slow
def test_the_given_weights_reach_their_lfw_accuracy(monkeypatch, tmp_path):
    """98.58 %: what the data's description states for these weights and images, mirrored.

    Of its ten folds the first three, for the sake of time, so to within three of their standard
    errors of 0.28 %.
    """
    monkeypatch.setenv("CURE_CACHE", str(tmp_path))
    faces = manifests.load("lfw")
    pairs = faces.protocols["lfw"]
    left, right, genuine = (x[:FOLDS] for x in (pairs.left, pairs.right, pairs.genuine))
    used, rows = np.unique(np.concatenate([left, right]), return_inverse=True)
    encoder = encoders.build("mobilefacenet", WEIGHTS)
    embeddings = embed(encoder, ImageView(faces.images, used), mirror=True)
    scores = similarities(embeddings, Pairs(*np.split(rows, 2), genuine))
    assert ten_fold_accuracy(scores, genuine) == pytest.approx(0.9858, abs=0.0085)

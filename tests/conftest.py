"""What several tests share: small sets of distinguishable drawn images, and a tiny encoder."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from cure_core.encoders import SmallEncoder

# nbformat's imports compile a grammar of web addresses that no notebook needs: 1.4 s a process.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def one_thread():
    """On tensors this small more threads only cost, and a count of one repeats bit for bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or fills the user's cache."""
    monkeypatch.setenv("CURE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def draw_faces() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """(images, identities): a coarse random pattern a person, noise an image, one by one."""

    def draw(people: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        pattern = np.repeat(rng.integers(60, 196, (people, 7, 7, 3)), each, axis=0)
        noise = rng.normal(0, 12, (people * each, 7, 7, 3))
        images = (pattern + noise).clip(0, 255).astype(np.uint8).repeat(16, 1).repeat(16, 2)
        images.setflags(write=False)  # as a memory map opened to read
        return images, np.repeat(np.arange(people), each)

    return draw


@pytest.fixture
def tiny_encoder() -> Callable[[int], SmallEncoder]:
    """The small encoder, a tenth as wide: 16-d, milliseconds a step."""

    def build(seed: int = 0) -> SmallEncoder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return SmallEncoder(dim=16, widths=(4, 6, 8)).eval()

    return build

from types import SimpleNamespace

import pytest
from small_request import RECIPE, UNLEARNING

from cure_study.erasure import forget
from cure_study.erasure.demo import write_demo


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory):
    """A cache of their own for fixtures that are made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def demo(tmp_path_factory, session_cache):
    """The paths of a small demonstration's files, which tests only read."""
    folder = tmp_path_factory.mktemp("demo")
    return write_demo(
        folder, RECIPE, people=12, images_per_person=6, leaving=3, strangers=6, progress=False
    )


@pytest.fixture(scope="session")
def done(demo, tmp_path_factory, session_cache):
    """A finished request by identities: what `forget` returned, and its folder, only read."""
    folder = tmp_path_factory.mktemp("request") / "result"
    erasure = forget(
        **demo,
        out=folder,
        identities="folders",
        unlearning=UNLEARNING,
        n_bootstrap=10,
        progress=False,
    )
    return SimpleNamespace(erasure=erasure, folder=folder, demo=demo)

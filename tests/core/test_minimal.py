"""What `pip install cure-core` installs is enough for `cure_core`; the rest names its extra."""

import subprocess
import sys

LIBRARIES = (
    *("matplotlib", "seaborn", "papermill", "jupytext", "yaml", "ruamel", "pydantic"),
    *("PIL", "filelock", "platformdirs", "psutil", "tqdm", "optuna", "distributed", "accelerate"),
    *("pyarrow", "openTSNE", "ipywidgets", "IPython", "jinja2", "torchvision", "nbformat"),
)
UNLEARN = """
import numpy as np
import torch

torch.set_num_threads(1)
from cure_core import CureConfig, clustering, losses, unlearn
from cure_core.encoders import SmallEncoder

assert "sklearn" not in sys.modules, "it takes as long to import as the rest"

images = np.random.default_rng(0).integers(0, 256, (16, 112, 112, 3)).astype(np.uint8)
teacher = SmallEncoder(dim=8, widths=(4, 4, 4)).eval()
result = unlearn(teacher, images[:8], images[8:], CureConfig(epochs=1, clusters=2))
print(len(result.history))
"""


def run_without(modules, code):
    """Run `code` in a process that cannot import some modules."""
    blocked = f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {modules!r}:
            return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
    command = [sys.executable, "-c", blocked + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_an_unlearning_runs_with_the_libraries_of_cure_core_alone():
    done = run_without(("cure_study", *LIBRARIES), UNLEARN)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_the_study_without_its_libraries_names_the_extra():
    done = run_without(LIBRARIES, "import cure_study")
    assert "filelock, platformdirs, yaml: pip install 'cure-core[study]'" in done.stderr

"""The study of CURE around `cure_core`: data, evaluation, experiments, figures, the command."""

from importlib.util import find_spec

if missing := [name for name in ("filelock", "platformdirs", "yaml") if find_spec(name) is None]:
    raise ModuleNotFoundError(
        f"cure_study needs {', '.join(missing)}: pip install 'cure-core[study]'"
    )

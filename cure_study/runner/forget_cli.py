"""`cure forget` and `cure verify`: a request of one's own, and the check of its result."""

import argparse
import shutil
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cure_core.files import atomic_folder
from cure_study.data.yaml_files import read_yaml
from cure_study.runner import kernel, runs
from cure_study.runner.parameters import import_from_here
from cure_study.runner.run_folder import Output, replace

NOTEBOOK = "07_your_own_request"
DEMO = runs.RUNS / "request_demo" / "result"
OPTIONS = {
    "forget": ("LIST", "what must go: a text file of paths, folders or globs, a CSV, or a folder"),
    "weights": ("FILE", "of the encoder that must forget"),
    "encoder": ("NAME", "a name of ours (default: mobilefacenet), or module:function for your own"),
    "retain": ("LIST", "what must stay (default: all other images)"),
    "method": ("NAME", "how to forget (default: the goal's own)"),
    "goal": ("NAME", "erase (the default) or blend: treated like people never seen"),
    "identities": (
        "KIND",
        "who is on which image, for the measures alone: folders, a CSV, or none",
    ),
    "strangers": ("FOLDER", "people that the encoder never saw, for the attacks"),
    "after": ("FOLDER", "the result of an earlier request, which this one continues"),
    "device": ("NAME", "cuda for a GPU (default: the CPU)"),
}
FLAGS = {
    "align": "find the face in raw photos and align it",
    "include_lookalikes": "also forget images that clearly look like the forgotten ones",
    "oracle": "also retrain without the forgotten images, to compare with; needs identities",
    "onnx": "also export the new encoder to ONNX",
}


def add_to(commands: Any, profile_changes: Any) -> None:
    """Add the two commands; `profile_changes` turns --set options into parameters."""
    forget = commands.add_parser(
        "forget", help="answer a request: your encoder, your images, a list of what must go"
    )
    forget.add_argument("images", nargs="?", metavar="IMAGES", help="a folder, flat or nested")
    for name, (metavar, text) in OPTIONS.items():
        forget.add_argument(f"--{name}", metavar=metavar, help=text)
    for name, text in FLAGS.items():
        option = f"--{name.replace('_', '-')}"
        forget.add_argument(option, action="store_true", default=None, help=text)
    forget.add_argument("--out", type=Path, metavar="FOLDER", help="a new folder for the result")
    forget.add_argument(
        "--config", type=Path, metavar="FILE", help="the config.yaml of a result, to make it again"
    )
    forget.add_argument(
        "--demo", action="store_true", help="a request on synthetic faces, without any data"
    )
    forget.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a parameter of the notebook, as in --set 'unlearning={epochs: 30}' (YAML)",
    )
    forget.set_defaults(do=lambda a: run_forget(a, profile_changes(a.changes)))

    verify = commands.add_parser(
        "verify", help="check a result of cure forget: files, inputs and numbers"
    )
    verify.add_argument("folder", type=Path, metavar="FOLDER")
    verify.add_argument("--images", metavar="FOLDER", help="where the images lie now, if elsewhere")
    verify.add_argument("--weights", metavar="FILE", help="where the weights lie now, if elsewhere")
    verify.add_argument(
        "--digests-only", action="store_true", help="do not compute the measures again"
    )
    verify.set_defaults(do=run_verify)


def run_forget(arguments: argparse.Namespace, changes: Mapping[str, Any]) -> None:
    """Execute notebook 07, which prints what was achieved, into a new folder for the result.

    Raises FileExistsError if the folder exists, and what reading the request raises, before any
    work; papermill's error if a cell fails, with the notebook kept in the folder ending in -failed.
    """
    source = runs.find_notebook(NOTEBOOK)
    given = _given(arguments, changes, source)
    out = arguments.out or (DEMO if arguments.demo else None)
    if out is None:
        raise ValueError("no --out is given; name a new folder for the result")

    from cure_study.erasure.files import read
    from cure_study.erasure.run import new_folder
    from cure_study.erasure.setting import setting_of

    folder = out.absolute() if arguments.demo and arguments.out is None else new_folder(out)
    if not arguments.demo:
        setting = setting_of(runs.declared(source) | given)
        given |= setting.plain()
        print(read(setting), flush=True)  # bad input is an error before a kernel starts
    _execute(source, given, folder)
    print(f"\n{folder / 'report.html'}\nnext: open it; cure verify {folder} checks the result")
    if arguments.demo and sys.stdout.isatty():
        webbrowser.open((folder / "report.html").as_uri())


def _given(
    arguments: argparse.Namespace, changes: Mapping[str, Any], source: Path
) -> dict[str, Any]:
    """The notebook's parameters that the command line and a config file give, checked."""
    if arguments.demo and (arguments.images or arguments.config):
        raise ValueError("--demo brings its own images; leave out IMAGES and --config")
    given = {} if arguments.config is None else dict(read_yaml(arguments.config))
    named = {name: getattr(arguments, name) for name in ("images", *OPTIONS, *FLAGS)}
    given |= {name: value for name, value in named.items() if value is not None}
    if not arguments.demo:
        for name, hint in (("images", "the folder of images"), ("forget", "--forget LIST")):
            if not given.get(name):
                raise ValueError(f"no {name} given: {hint}; cure forget --demo needs neither")
    given = runs.with_changes(source, {}, given, f"{arguments.config or 'cure forget'}")
    return runs.with_changes(source, given, changes, "--set")


def _execute(source: Path, given: Mapping[str, Any], folder: Path) -> None:
    from cure_study.erasure.sums import write_sums

    if folder == DEMO:
        shutil.rmtree(folder, ignore_errors=True)
    with atomic_folder(folder) as partial:
        try:
            kernel.execute(
                str(source),
                partial / source.name,
                {**given, "out": str(partial), "progress": False},
                progress_bar=sys.stderr.isatty(),
                stdout_file=Output(),
                cwd=partial,
            )
        except BaseException:
            replace(partial, folder.with_name(f"{folder.name}-failed"))
            raise
        write_sums(partial)


def run_verify(arguments: argparse.Namespace) -> int:
    """Print what was checked and what differs; the exit status is 1 if anything does."""
    from cure_study.erasure.verify import verify

    import_from_here()  # the encoder may be module:function
    verdict = verify(
        arguments.folder,
        images=arguments.images,
        weights=arguments.weights,
        recompute=not arguments.digests_only,
    )
    print(verdict)
    return 0 if verdict else 1

"""The resumable loop that unlearning and ArcFace training share."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from cure_core.runtime.distributed import rank
from cure_core.runtime.progress import bar
from cure_core.runtime.randomness import forked
from cure_core.training.checkpoint import Checkpoint
from cure_core.training.interrupts import DeferredSignals

SAVE_EVERY = 60.0  # seconds of work that a run may lose
FORMAT = 2  # of the state in a checkpoint: part of the run's identity
# These keep what they load on the right device themselves.
PLACED = (nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, GradScaler)


class DivergedError(FloatingPointError):
    """The loss or the network is no longer finite."""


class Stateful(Protocol):
    """A part of a run that steps change: a network, an optimiser, an objective."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Any, /) -> Any: ...


class Loop:
    """Epochs of steps that can stop after any step and resume with the same numbers.

    `parts`: all that steps change, by name. `generator` draws the batches. `problem()` says what is
    wrong with the networks, or None; it is called after every epoch and before every save, since
    the last step's weights have not produced a loss yet. Every `check_every` steps (0: never) the
    sums of losses are checked. `fallback` is a network whose weights at the start of an epoch are
    kept, for `roll_back`. `began` is the `time.perf_counter()` from which `seconds` count.
    Inside `with`, signals to stop wait for the end of a step, which then saves.
    """

    def __init__(
        self,
        parts: Mapping[str, Stateful],
        generator: torch.Generator,
        checkpoint: Checkpoint,
        device: torch.device,
        problem: Callable[[], str | None],
        check_every: int = 0,
        fallback: nn.Module | None = None,
        began: float | None = None,
    ) -> None:
        self.parts, self.generator, self.checkpoint = parts, generator, checkpoint
        self.device, self.problem = device, problem
        self.check_every, self.fallback = check_every, fallback
        self.history: list[dict[str, float]] = []
        self._signals = DeferredSignals()
        self._created = time.monotonic()
        self._saved: float | None = None
        self._began = time.perf_counter() if began is None else began
        self.start_epoch()

    @property
    def seconds(self) -> float:
        """Time spent so far, in earlier processes too."""
        return time.perf_counter() - self._began

    def resume(self) -> bool:
        """Load the checkpoint; False if there is none."""
        state = self.checkpoint.load()
        if state is None:
            return False
        with forked(self.device):  # a part may draw initial values, which its state then replaces
            self.load_state_dict(state)
        self._mark_saved()
        return True

    def epochs(self, count: int, label: str, progress: bool | None) -> Iterator[int]:
        """The epochs that are left of `count`, with a progress bar."""
        yield from bar(range(len(self.history), count), label, progress, unit="epoch")

    def start_epoch(self) -> None:
        """Remember where the epoch starts."""
        self.step = 0
        self.sums: Tensor | None = None  # of each loss, over the steps of this epoch
        self._generator_state = self.generator.get_state()
        self._weights: dict[str, Tensor] = {}
        if self.fallback is not None:
            self._weights = {name: t.clone() for name, t in self.fallback.state_dict().items()}

    def add(self, losses: Tensor) -> None:
        """Count a step with its `losses` (n,); save if a save is pending.

        Raises DivergedError. Waits for the device only every `check_every` steps, and to save.
        """
        self.step += 1
        self.sums = losses if self.sums is None else self.sums + losses
        if self.check_every and self.step % self.check_every == 0:
            self._check_sums(self.sums)
        if self._save_pending() and bool(self.sums.isfinite().all()) and self.problem() is None:
            self.save()

    def totals(self) -> list[float]:
        """The epoch's sums of losses. Raises DivergedError if they or the networks are unusable."""
        assert self.sums is not None, "an epoch has at least one step"
        self._check_sums(self.sums)
        self.check_networks(f" after epoch {len(self.history) + 1}")
        return self.sums.tolist()

    def check_networks(self, when: str = "") -> None:
        """Raise DivergedError if `problem()` finds one."""
        if problem := self.problem():
            raise DivergedError(f"{problem}{when}")

    def end_epoch(self, row: dict[str, float]) -> None:
        """Add a row to the history and save."""
        self.history.append(row)
        self.start_epoch()
        self.save()

    def roll_back(self) -> None:
        """Return the fallback network and the generator to the start of the epoch."""
        assert self.fallback is not None
        self.fallback.load_state_dict(self._weights)
        self.generator.set_state(self._generator_state)

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs to continue."""
        return {
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "generator": self._generator_state,
            "history": self.history,
            "step": self.step,
            "sums": self.sums,
            "weights": self._weights if self.step else {},  # else they are the network's
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        for name, part in self.parts.items():
            saved = state["parts"][name]
            placed = isinstance(part, PLACED)
            part.load_state_dict(saved if placed else _to_device(saved, self.device))
        self.generator.set_state(state["generator"])
        self.history = state["history"]
        self.start_epoch()
        self.step, self.sums = state["step"], _to_device(state["sums"], self.device)
        self._weights = state["weights"] or self._weights
        self._began = time.perf_counter() - state["seconds"]

    def save(self) -> None:
        """Write a checkpoint, if the run has one, and let a pending signal act."""
        if self.checkpoint.path is not None and rank() == 0:
            self.checkpoint.save(self.state_dict())
            self._mark_saved()
            self._signals.deliver()

    def __enter__(self) -> "Loop":
        if self.checkpoint.path is not None:
            self._signals.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and self._saved is not None:
            lost = time.monotonic() - self._saved
            error.add_note(
                f"all but the last {lost:.0f} s is in {self.checkpoint.path}; run it again to "
                "continue"
            )
        if self.checkpoint.path is not None:
            self._signals.__exit__()

    def _mark_saved(self) -> None:
        self._saved = time.monotonic()
        self._signals.message = f"saved in {self.checkpoint.path}; run it again to continue"

    def _save_pending(self) -> bool:
        if self.checkpoint.path is None or rank():
            return False
        last = self._created if self._saved is None else self._saved
        return self._signals.pending is not None or time.monotonic() - last >= SAVE_EVERY

    def _check_sums(self, sums: Tensor) -> None:
        """Once a loss is not finite, all later sums are not."""
        if not sums.isfinite().all():
            epoch = len(self.history) + 1
            raise DivergedError(f"the loss is not finite in epoch {epoch}, by step {self.step}")


def _to_device(value: Any, device: torch.device) -> Any:
    """`value` with every tensor in it on `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, list | tuple):
        return type(value)([_to_device(item, device) for item in value])
    if isinstance(value, dict):
        return {key: _to_device(item, device) for key, item in value.items()}
    return value

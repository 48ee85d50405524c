"""Watches of training: their protocol; logging to TensorBoard, Weights & Biases and trackio."""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import nn

from ..arguments import said_by, shown
from ..files.paths import as_path

if TYPE_CHECKING:
    from .state import Step

METHODS = ("start", "update", "finish")
LOGGED = ("loss", "lr", "grad_norm", "tokens_per_second", "eval_loss")


class Watch(Protocol):
    """What `tl.train(watch=…)` takes, alone or in a list. Of several processes only the first calls
    it."""

    def start(self, model: nn.Module, steps: int) -> None:
        """Called before the first step. An error here stops training before it begins."""

    def update(self, step: Step, model: nn.Module) -> None:
        """Called after every step. After an error it is not called again; training continues."""

    def finish(self, reason: str) -> None:
        """Called once at the end: "finished", or how training was stopped or failed."""


class Watches:
    """The watches of one training run. Those that fail are named in a warning and left out."""

    def __init__(self, watch: Any):
        several = watch if isinstance(watch, list | tuple) else [] if watch is None else [watch]
        for one in several:
            methods = all(callable(getattr(one, name, None)) for name in METHODS)
            if not methods or isinstance(one, type):
                raise ValueError(
                    f"watch must be an object with the methods start, update and finish, or a list of them, "
                    f"got {shown(one)}"
                )
        self.all, self.failed = [*several], []

    def start(self, model: nn.Module, steps: int) -> None:
        for one in self.all:
            with _same_grad_mode():
                one.start(model, steps)

    def update(self, step: Step, model: nn.Module) -> None:
        for one in self._live():
            try:
                with _same_grad_mode():
                    one.update(step, model)
            except Exception as error:
                self._leave(
                    one,
                    f"at step {step.index}",
                    error,
                    "it is not updated again, and training continues",
                )

    def finish(self, reason: str) -> None:
        live = self._live()
        for one in self.all:
            try:
                with _same_grad_mode():
                    one.finish(reason)
            except Exception as error:
                if one in live:
                    self._leave(
                        one, "at the end of training", error, "what was learned is not affected"
                    )

    def _live(self) -> list[Watch]:
        return [one for one in self.all if one not in self.failed]

    def _leave(self, watch: Watch, when: str, error: Exception, then: str) -> None:
        self.failed.append(watch)
        name = type(watch).__name__
        message = f"{name} failed {when} ({type(error).__name__}: {said_by(error)}); {then}"
        warnings.warn(message, stacklevel=3)


def _same_grad_mode() -> Any:
    """A context manager that restores what it finds."""
    return torch.set_grad_enabled(torch.is_grad_enabled())


def numbers(step: Step) -> dict[str, float]:
    """The numbers of a step that trackers log."""
    values = {name: getattr(step, name) for name in LOGGED}
    return {name: value for name, value in values.items() if value is not None}


class TensorBoard:
    """A watch that logs to a folder for TensorBoard. `tl.train(run=…)` adds one if tensorboard is
    installed.

    Args:
        folder: of this training run; what was logged there earlier, from its first step on, is
            hidden.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = str(as_path(folder, "folder"))
        self._board: Any = None

    def start(self, model: nn.Module, steps: int) -> None:
        _package("tensorboard", "TensorBoard")

    def update(self, step: Step, model: nn.Module) -> None:
        if self._board is None:
            board = _package("torch.utils.tensorboard", "TensorBoard")
            self._board = board.SummaryWriter(self.folder, purge_step=step.index)
        for name, value in numbers(step).items():
            self._board.add_scalar(name, value, step.index)

    def finish(self, reason: str) -> None:
        if self._board is not None:
            self._board.close()
        self._board = None


class Trackio:
    """A watch that logs to trackio.

    Args:
        project: its name. options: other arguments of `trackio.init`. The run's configuration holds
            the model's, and the number of steps.
    """

    package: ClassVar[str] = "trackio"

    def __init__(self, project: str, **options: Any):
        self.options = {"project": project, **options}
        self._run: Any = None

    def start(self, model: nn.Module, steps: int) -> None:
        config = getattr(getattr(model, "config", None), "to_dict", dict)()
        config = {"model": config, "steps": steps, **(self.options.get("config") or {})}
        library = _package(self.package, type(self).__name__)
        self._run = library.init(**{**self.options, "config": config})

    def update(self, step: Step, model: nn.Module) -> None:
        self._run.log(numbers(step), step=step.index)

    def finish(self, reason: str) -> None:
        if self._run is not None:
            self._run.finish(**self._how(reason))
        self._run = None

    def _how(self, reason: str) -> dict[str, Any]:
        return {}


class WandB(Trackio):
    """A watch that logs to Weights & Biases.

    Args:
        project: its name. options: other arguments of `wandb.init`. The run's configuration holds
            the model's, and the number of steps.
    """

    package = "wandb"

    def _how(self, reason: str) -> dict[str, Any]:
        return {"exit_code": int(reason.startswith("failed"))}


def _package(name: str, what: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        package = name.rpartition(".")[2]
        raise ModuleNotFoundError(
            f"{what} needs {package}, which is not installed: pip install {package}"
        ) from error

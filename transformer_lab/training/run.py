"""A training run as a folder: configuration, checkpoints, metrics and attention snapshots.

config.json                   the model, the data and how it is trained
metrics.jsonl                 one line per step
checkpoints/step-00000400/    model.safetensors, training.safetensors, config.json, state.json
snapshots/step-00000400.safetensors
tensorboard/                  if tensorboard is installed
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import check_positive
from ..files.checkpoints import FOLDER as CHECKPOINTS
from ..files.checkpoints import Checkpoint, checkpoint_path, newest, steps_in, verify
from ..files.models import CONFIG, load_model
from ..files.paths import FileError, check_folder, in_line
from ..files.safefiles import read_json
from ..tracing.trace import Trace
from .metrics import METRICS, whole_lines
from .snapshots import read_snapshot, trace_of_maps

RUN = "transformer_lab_run"  # the key by which a run's config.json is recognised
SNAPSHOTS = "snapshots"
BOARD = "tensorboard"


class Run:
    """The folder of a training run: `train(..., run=Run(folder))` writes it, and this reads it.

    Args:
        folder: created when training starts.
        keep: how many checkpoints to keep, always the newest.

    Raises:
        ValueError: if the path cannot be a folder, or keep is not a whole number of at least 1.
    """

    def __init__(self, folder: str | os.PathLike, *, keep: int = 2):
        check_positive("keep", keep)
        self.folder, self.keep = check_folder("folder", folder), keep

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def checkpoints(self) -> list[int]:
        """Steps that have a committed checkpoint, ascending."""
        return steps_in(self.folder / CHECKPOINTS)

    @property
    def snapshots(self) -> list[int]:
        """Steps that have an attention snapshot, ascending."""
        return steps_in(self.folder / SNAPSHOTS)

    def config(self) -> dict[str, Any]:
        """The run's config.json: the model, the data and the training.

        Raises:
            FileError: if it is missing, damaged, or not a run's.
        """
        config = read_json(self.folder / CONFIG)
        if RUN not in config:
            raise FileError(f"{self.folder / CONFIG} is not the config.json of a run")
        return config

    def metrics(self) -> list[dict[str, Any]]:
        """One dict per step, as in `Step`; a last line that a kill cut short is left out."""
        return [line for _, line in whole_lines(self.folder / METRICS)]

    def snapshot(self, step: int) -> dict[str, Tensor]:
        """The probe's attention patterns at a step: kind -> float32 [layer, head, query, key], each
        weight accurate to four decimals (to 1/510 in runs of version 0.1.0).

        Raises:
            ValueError: if the step has no snapshot; the message lists those that have one.
        """
        return self._read(step)[0]

    def trace(
        self,
        step: int,
        *,
        labels: Sequence[str] | None = None,
        target_labels: Sequence[str] | None = None,
    ) -> Trace:
        """The probe's attention at a step as a `Trace` with patterns only, for the measures of
        `heads` and the views.

        Args:
            labels, target_labels: what to show for each token; the token ids by default.

        Raises:
            ValueError: if the step has no snapshot.
        """
        maps, (source, target) = self._read(step)
        return trace_of_maps(
            maps,
            source,
            target,
            labels=labels,
            target_labels=target_labels,
            name=f"{self.folder.name}, step {step}",
        )

    def load_model(
        self,
        step: int | None = None,
        *,
        model: nn.Module | None = None,
        device: str | torch.device = "cpu",
    ) -> Any:
        """The model as it was at a step with a checkpoint (default: the newest that verifies)."""
        if step is None:
            folder = self.folder
        elif step in self.checkpoints:
            folder = verify(checkpoint_path(self.folder, step)).folder
        else:
            raise ValueError(
                f"step={step} has no checkpoint in {in_line(self.folder)}; choose one of {self.checkpoints}"
            )
        return load_model(folder, model=model, device=device)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that verifies; each that does not is named in a warning."""
        return newest(self.folder)

    def _read(self, step: int) -> tuple[dict[str, Tensor], tuple[Any, Tensor | None]]:
        if step not in self.snapshots:
            where = in_line(self.folder)
            raise ValueError(
                f"step={step} has no snapshot in {where}; choose one of {self.snapshots}"
            )
        return read_snapshot(snapshot_path(self.folder, step))


def snapshot_path(run: Path, step: int) -> Path:
    """Path of a step's snapshot in the folder of a run."""
    return run / SNAPSHOTS / f"step-{step:08d}.safetensors"

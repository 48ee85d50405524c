"""The only writer to a run's folder, from opening to closing."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files.checkpoints import FOLDER as CHECKPOINTS
from ..files.checkpoints import (
    FORMAT,
    STATE,
    TRAINING,
    WEIGHTS,
    checkpoint_path,
    is_whole,
    sealed,
    steps_in,
)
from ..files.lock import Lock
from ..files.models import CONFIG, MARK, describe, model_tensors, with_checksum
from ..files.paths import FileError, in_line
from ..files.safefiles import (
    NotReplacedError,
    check_replaceable,
    clean,
    committed,
    committed_folder,
    disk_errors,
    kind_of,
    read_json,
    remove_folder,
    sha256,
    write_json,
    write_tensors,
)
from . import distributed
from .metrics import METRICS, MetricsFile, cut
from .resume import checkpoint_state, optimizer_tensors, restore, settings
from .run import BOARD, RUN, SNAPSHOTS, Run, snapshot_path
from .snapshots import write_snapshot
from .state import Plan, TrainState


class Writer:
    """Writes a run's files for `train`. Of several processes the first writes; the others only
    take part.

    Raises:
        LockedError: if another process writes to this folder.
        FileExistsError: if it holds a run and `resume` is false, or files that are not from a run.
    """

    def __init__(self, run: Run, *, resume: bool):
        self.run, self.rank = run, distributed.rank_and_size()[0]
        self.lock = self.metrics = None
        self.saved: int | None = None
        failed: Exception | None = None
        if self.rank == 0:
            try:
                with disk_errors(run.folder):
                    self._prepare(resume)
            except Exception as error:
                failed = error
        # The others wait until the folder is ready, and fail with the first if it is not.
        why = distributed.gather(None if failed is None else str(failed))[0]
        if failed is not None:
            raise failed
        if why is not None:
            raise OSError(f"the first process failed: {why}")

    def _prepare(self, resume: bool) -> None:
        folder = self.run.folder
        folder.mkdir(parents=True, exist_ok=True)
        _check_ours(folder)
        self.lock = Lock(folder / "lock")
        try:
            if not resume and (self.run.checkpoints or (folder / METRICS).exists()):
                done = max(self.run.checkpoints, default=0)
                raise FileExistsError(
                    f"{in_line(folder)} already holds a run (checkpoint at step {done}); pass resume=True "
                    "to continue it, or use another folder"
                )
            for part in (folder, folder / CHECKPOINTS, folder / SNAPSHOTS):
                part.mkdir(exist_ok=True)
                clean(part, ours=True)
        except BaseException:
            self.close()
            raise

    def restore(self, plan: Plan, state: TrainState) -> dict[str, Any] | None:
        """Restore training from the newest verified checkpoint, and cut the metrics to match.

        Returns:
            the position in the data, or None if there is no checkpoint.

        Raises:
            FileError: if the checkpoint is of another model or optimizer, or there are checkpoints
                but none is intact.
        """
        with warnings.catch_warnings(record=True) as damaged:
            warnings.simplefilter("always")
            found = self.run.newest()
        if found is not None:
            for warning in damaged:
                warnings.warn(warning.message, stacklevel=2)
            restore(found, plan, state)
            self.saved = found.step
        elif self.run.checkpoints:
            steps = ", ".join(map(str, self.run.checkpoints))
            raise FileError(
                f"{self.run.folder} has no usable checkpoint (those of steps {steps} are damaged), "
                "so the run cannot continue. Nothing was changed; copy one from a backup, or start "
                "in another folder"
            )
        if self.rank == 0:
            self._open_files(plan, state)
        return None if found is None else found.state["data"]

    def _open_files(self, plan: Plan, state: TrainState) -> None:
        folder = self.run.folder
        with disk_errors(folder / METRICS):
            # First of all, so that whatever is written later is in a marked folder.
            with committed(folder / CONFIG) as temporary:
                write_json(temporary, {RUN: FORMAT, **settings(plan, state)})
            logged = state.done - (state.pending is not None)
            cut(folder / METRICS, logged)
            for step in self.run.snapshots:
                if step > logged:  # from steps that are about to be repeated
                    snapshot_path(folder, step).unlink()
            self.metrics = MetricsFile(folder / METRICS)

    def log(self, step: Mapping[str, Any]) -> None:
        """Append the metrics of a step."""
        if self.metrics is not None:
            self.metrics.append(step)

    def save(self, plan: Plan, state: TrainState) -> None:
        """Commit a checkpoint of the last whole step, then drop the oldest ones."""
        random = distributed.gather(state.random.to_tensors())
        if self.rank or self.saved == state.done:
            return
        tensors = optimizer_tensors(plan, state)
        for rank, states in enumerate(random):
            tensors |= {f"random.{rank}.{name}": kept for name, kept in states.items()}
        weights, described = model_tensors(plan.model), describe(plan.model)
        if described is not None:
            described = with_checksum(described, weights)
        with committed_folder(checkpoint_path(self.run.folder, state.done)) as folder:
            metadata = {} if described is None else {MARK: json.dumps(described)}
            write_tensors(folder / WEIGHTS, weights, metadata)
            write_tensors(folder / TRAINING, tensors, {})
            if described is not None:
                write_json(folder / CONFIG, described)
            files = {
                file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)}
                for file in sorted(folder.iterdir())
            }
            write_json(folder / STATE, sealed({"files": files, **checkpoint_state(plan, state)}))
        self.saved = state.done
        # Checkpoints of later steps are damaged ones that were skipped: they neither count nor are
        # removed until this run reaches their steps.
        behind = [step for step in self.run.checkpoints if step <= state.done]
        for step in behind[: -self.run.keep]:
            remove_folder(checkpoint_path(self.run.folder, step))

    def snapshot(self, plan: Plan, step: int) -> None:
        """Save the model's attention patterns on the probe."""
        write_snapshot(snapshot_path(self.run.folder, step), plan.model, plan.probe)

    def close(self) -> None:
        if self.metrics is not None:
            self.metrics.close()
        if self.lock is not None:
            self.lock.release()
        self.metrics = self.lock = None


def _check_ours(folder: Path) -> None:
    """Refuse a folder that holds anything but a run of ours, or whose subfolders are links."""
    for name in ("lock", METRICS, CONFIG):
        check_replaceable(folder / name)
    for name in (CHECKPOINTS, SNAPSHOTS, BOARD, "model"):
        part = folder / name
        if part.is_symlink() or (part.exists() and not part.is_dir()):
            raise NotReplacedError(
                f"{part} is {kind_of(part)}, but a run needs a folder there; use another run folder"
            )
    if not _is_run(folder):
        there = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        raise NotReplacedError(
            f"{folder} has files that are not from a run ({', '.join(there[:3])}), and is left "
            "unchanged. Use an empty folder or a new one"
        )


def _is_run(folder: Path) -> bool:
    """Whether a run may write here: the folder is marked as a run, is empty, or a start was killed
    before it could mark it. If the mark is damaged, an intact checkpoint is enough."""
    if os.path.lexists(folder / CONFIG):
        try:
            return RUN in read_json(folder / CONFIG)
        except FileError:
            pass
    parts = (folder / CHECKPOINTS, folder / SNAPSHOTS)
    there = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    begun = there <= {"lock", CHECKPOINTS, SNAPSHOTS} and not any(map(steps_in, parts))
    return begun or any(is_whole(checkpoint_path(folder, step)) for step in steps_in(parts[0]))

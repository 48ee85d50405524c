"""A training run as a folder: configuration, checkpoints, metrics and attention snapshots.

config.json                   the model, the data and how it is trained
metrics.jsonl                 one line a step
checkpoints/step-00000400/    model.safetensors, training.safetensors, config.json, state.json
snapshots/step-00000400.safetensors
tensorboard/                  where tensorboard is installed
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from . import distributed
from .checkpoint import (
    CONFIG,
    WEIGHTS,
    CheckpointError,
    describe,
    load_model,
    load_tensors,
    model_tensors,
)
from .lock import Lock
from .rng import RandomState
from .safefiles import (
    clean,
    committed,
    committed_folder,
    disk_errors,
    read_json,
    read_tensors,
    remove_folder,
    sha256,
    write_json,
    write_tensors,
)

if TYPE_CHECKING:
    from .trace import Trace
    from .train import _Training

FORMAT = 1
WEIGHT_SCALE = (
    60_000  # a weight w is kept as ⌊w · 60000⌋: it then rounds to four decimals as w does
)
STATE = "state.json"
TRAINING = "training.safetensors"
_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """One committed generation, verified: every file has the size and sha256 that were written."""

    folder: Path
    state: dict[str, Any]

    @property
    def step(self) -> int:
        return self.state["step"]


class Run:
    """A folder for `train(..., run=Run(folder))`, and a reader of what is in it.

    Args:
        folder: made when training starts.
        keep: how many checkpoints stay, the newest ones.

    Raises:
        ValueError: for keep below 1.
    """

    def __init__(self, folder: str | os.PathLike, *, keep: int = 2):
        if keep < 1:
            raise ValueError(f"keep={keep} must be at least 1")
        self.folder, self.keep = Path(folder).expanduser(), keep

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def checkpoints(self) -> list[int]:
        """Steps that have a committed checkpoint, ascending."""
        return _steps(self.folder / "checkpoints")

    @property
    def snapshots(self) -> list[int]:
        """Steps that have an attention snapshot, ascending."""
        return _steps(self.folder / "snapshots")

    def config(self) -> dict[str, Any]:
        """What config.json says of the model, the data and the training."""
        return read_json(self.folder / CONFIG)

    def metrics(self) -> list[dict[str, Any]]:
        """One dict a step, as in `Step`; a last line that a kill cut short is left out."""
        return [line for _, line in _lines(self.folder / "metrics.jsonl")]

    def snapshot(self, step: int) -> dict[str, Tensor]:
        """The probe's attention maps at a step: kind -> float32 [layer, head, query, key], each
        weight right to four decimals (to 1/510 in runs of version 0.1.0).

        Raises:
            ValueError: for a step without one, listing those that have one.
        """
        return self._read_snapshot(step)[0]

    def trace(
        self,
        step: int,
        *,
        labels: Sequence[str] | None = None,
        target_labels: Sequence[str] | None = None,
    ) -> Trace:
        """The probe's attention at a step as a `Trace` that holds maps only: what the measures of
        `heads` and the views take.

        Args:
            labels, target_labels: what to show for each token; the token ids by default.

        Raises:
            ValueError: for a step without a snapshot.
        """
        maps, (source, target) = self._read_snapshot(step)
        return trace_of_maps(
            maps, source, target, labels=labels, target_labels=target_labels,
            name=f"{self.folder.name}, step {step}",
        )  # fmt: skip

    def _read_snapshot(self, step: int) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor | None]]:
        if step not in self.snapshots:
            raise ValueError(f"step={step} has no snapshot in {self.folder}; {self.snapshots} have")
        tensors, metadata = read_tensors(self._snapshot_path(step))
        scale = metadata.get("scale", "255")
        if scale not in ("255", str(WEIGHT_SCALE)):
            raise CheckpointError(
                f"{self._snapshot_path(step)} is of a later version of this package: its weights "
                f"are scaled by {scale}"
            )
        read = unpack_weights if scale == str(WEIGHT_SCALE) else lambda codes: codes.float() / 255
        maps = {
            name.removesuffix(".pattern"): read(tensor)
            for name, tensor in tensors.items()
            if name.endswith(".pattern")
        }
        return maps, (tensors["probe.source"], tensors.get("probe.target"))

    def load_model(
        self,
        step: int | None = None,
        *,
        model: nn.Module | None = None,
        device: str | torch.device = "cpu",
    ) -> Any:
        """The model as it was at a step with a checkpoint (default: the newest that verifies)."""
        if step is None:
            found = self.newest()
            if found is None:
                raise FileNotFoundError(f"{self.folder} holds no checkpoint")
            folder = found.folder
        elif step in self.checkpoints:
            folder = verify(self._checkpoint_path(step)).folder
        else:
            raise ValueError(
                f"step={step} has no checkpoint in {self.folder}; {self.checkpoints} have"
            )
        return load_model(folder, model=model, device=device)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that verifies; each that does not is named in a warning."""
        for step in reversed(self.checkpoints):
            try:
                return verify(self._checkpoint_path(step))
            except CheckpointError as error:
                warnings.warn(f"passing over a damaged checkpoint: {error}", stacklevel=2)
        return None

    def open(self, training: _Training, *, resume: bool) -> Writer:
        """Start writing; called by `train`.

        Raises:
            LockedError: when another process writes to this folder.
            FileExistsError: when it holds a run and `resume` is false.
        """
        return Writer(self, training, resume=resume)

    def _checkpoint_path(self, step: int) -> Path:
        return self.folder / "checkpoints" / f"step-{step:08d}"

    def _snapshot_path(self, step: int) -> Path:
        return self.folder / "snapshots" / f"step-{step:08d}.safetensors"


class Writer:
    """The one that writes to a run's folder, from opening to closing. Of several processes the
    first writes; the others only take part."""

    def __init__(self, run: Run, training: _Training, *, resume: bool):
        self.run, self.rank = run, training.rank
        self.lock = self.metrics = self.board = None
        self.saved: int | None = None
        failed: Exception | None = None
        if self.rank == 0:
            try:
                with disk_errors(run.folder):
                    self._prepare(training, resume)
            except Exception as error:
                failed = error
        # The others wait until the folder is in order, and end with the first if it is not.
        why = distributed.gather(None if failed is None else str(failed))[0]
        if failed is not None:
            raise failed
        if why is not None:
            raise OSError(f"the first process ended: {why}")

    def _prepare(self, training: _Training, resume: bool) -> None:
        folder = self.run.folder
        folder.mkdir(parents=True, exist_ok=True)
        self.lock = Lock(folder / "lock")
        try:
            if not resume and (self.run.checkpoints or (folder / "metrics.jsonl").exists()):
                done = max(self.run.checkpoints, default=0)
                raise FileExistsError(
                    f"{folder} already holds a run (checkpoint at step {done}); pass resume=True "
                    "to go on with it, or use another folder"
                )
            for part in (folder, folder / "checkpoints", folder / "snapshots"):
                part.mkdir(exist_ok=True)
                clean(part, ours=True)
        except BaseException:
            self.close()
            raise

    def restore(self, training: _Training) -> dict[str, Any] | None:
        """Put the newest verified checkpoint into the training, and cut the metrics to match.

        Returns:
            the position in the data, or None when there is no checkpoint.

        Raises:
            CheckpointError: when the checkpoint is of another model or optimizer.
        """
        found = self.run.newest()
        if found is not None:
            _restore(found, training)
            self.saved = found.step
        if self.rank == 0:
            self._open_files(training)
        return None if found is None else found.state["data"]

    def _open_files(self, training: _Training) -> None:
        path = self.run.folder / "metrics.jsonl"
        with disk_errors(path):
            logged = training.done - (training.pending is not None)
            _cut(path, logged)
            for step in self.run.snapshots:
                if step > logged:  # made by steps that are about to be made again
                    self.run._snapshot_path(step).unlink()
            with committed(self.run.folder / CONFIG) as temporary:
                write_json(temporary, {"transformer_lab_run": FORMAT, **_settings(training)})
            self.metrics = path.open("ab", buffering=0)
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            purge = training.done + 1 if training.done else None
            self.board = SummaryWriter(str(self.run.folder / "tensorboard"), purge_step=purge)

    def log(self, step: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl, in one write."""
        if self.metrics is None:
            return
        finite = {k: v if not isinstance(v, float) or math.isfinite(v) else None
                  for k, v in step.items()}  # fmt: skip
        line = (json.dumps(finite) + "\n").encode()
        with disk_errors(self.run.folder / "metrics.jsonl"):
            if self.metrics.write(line) != len(line):
                raise OSError(errno.ENOSPC, "No space left on device")
        if self.board is not None:
            for name in ("loss", "lr", "grad_norm", "tokens_per_second", "eval_loss"):
                if finite[name] is not None:
                    self.board.add_scalar(name, finite[name], finite["index"])

    def save(self, training: _Training) -> None:
        """Commit a checkpoint of the last whole step, then drop the oldest ones."""
        random = distributed.gather(training.random.to_tensors())
        if self.rank or self.saved == training.done:
            return
        path = self.run._checkpoint_path(training.done)
        tensors = _optimizer_tensors(training)
        for rank, states in enumerate(random):
            tensors |= {f"random.{rank}.{name}": state for name, state in states.items()}
        described = describe(training.model)
        with committed_folder(path) as folder:
            metadata = {} if described is None else {"transformer_lab": json.dumps(described)}
            write_tensors(folder / WEIGHTS, model_tensors(training.model), metadata)
            write_tensors(folder / TRAINING, tensors, {})
            if described is not None:
                write_json(folder / CONFIG, described)
            files = {
                file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)}
                for file in sorted(folder.iterdir())
            }
            write_json(folder / STATE, _sealed({"files": files, **_state(training)}))
        self.saved = training.done
        for step in self.run.checkpoints[: -self.run.keep]:
            remove_folder(self.run._checkpoint_path(step))

    def snapshot(self, step: int, model: nn.Module, probe: Any) -> None:
        """Keep the attention maps of the probe: 16 bits a weight, one file a step."""
        from .trace import trace

        source, target = probe if isinstance(probe, tuple) else (probe, None)
        device = next(model.parameters()).device
        parts = [_ids(part).to(device) for part in (source, target) if part is not None]
        traced = trace(model, *parts)
        # Copies: source and target may be parts of one tensor, which safetensors refuses.
        tensors = {"probe.source": _ids(source)[0].clone()}
        if target is not None:
            tensors["probe.target"] = _ids(target)[0].clone()
        for kind in traced.kinds:
            layers = [traced.pattern(i, kind=kind) for i in range(traced.n_layers(kind))]
            tensors[f"{kind}.pattern"] = pack_weights(torch.stack(layers))
        with committed(self.run._snapshot_path(step)) as path:
            write_tensors(path, tensors, {"scale": str(WEIGHT_SCALE)})

    def close(self) -> None:
        for part in (self.metrics, self.board):
            if part is not None:
                part.close()
        if self.lock is not None:
            self.lock.release()
        self.metrics = self.board = self.lock = None


# ---------------------------------------------------------------- what a snapshot holds


def pack_weights(weights: Tensor) -> Tensor:
    """Weights 0 … 1 as uint16 ⌊w · 60000⌋; 0 is for what is exactly 0, a tiny weight gets 1."""
    codes = (weights.detach().double().clamp(0, 1) * WEIGHT_SCALE).floor()
    return codes.clamp(min=1).where(weights > 0, 0).to(torch.int32).to(torch.uint16)


def unpack_weights(codes: Tensor) -> Tensor:
    """float32: the middle of what a code stands for; nothing stays nothing, all stays all."""
    whole = codes.to(torch.int32).double()
    middle = ((whole + 0.5) / WEIGHT_SCALE).clamp(max=1)
    return middle.where(whole > 0, 0).float()


def trace_of_maps(
    maps: Mapping[str, Tensor],
    source: Tensor,
    target: Tensor | None = None,
    *,
    labels: Sequence[str] | None = None,
    target_labels: Sequence[str] | None = None,
    name: str = "",
) -> Trace:
    """A `Trace` from maps that were kept: kind -> [layer, head, query, key]; source and target are
    token ids [position]."""
    from .attention import Site
    from .recording import GivenMaps, Recorder
    from .trace import Trace

    recorder = Recorder(None, "maps")
    for kind, layers in maps.items():
        recorder.calls[kind] = [GivenMaps(m[None], Site(kind, i)) for i, m in enumerate(layers)]
    ids = [None if part is None else part.reshape(1, -1).long() for part in (source, target)]
    names = [
        None
        if part is None
        else [list(given) if given is not None else [str(i) for i in part[0].tolist()]]
        for part, given in zip(ids, (labels, target_labels), strict=True)
    ]
    for what, part, shown in zip(("labels", "target_labels"), ids, names, strict=True):
        if part is not None and shown is not None and len(shown[0]) != part.shape[1]:
            raise ValueError(f"{what} has {len(shown[0])} names; the probe has {part.shape[1]}")
    return Trace(
        None, recorder, tokens=ids[0], target=ids[1], mask=None, target_mask=None,
        labels=names[0], target_labels=names[1], logits=None, name=name,
    )  # fmt: skip


# ---------------------------------------------------------------- what a checkpoint holds


def verify(folder: Path) -> Checkpoint:
    """Raises CheckpointError, naming the file, unless everything is as it was written."""
    state = read_json(folder / STATE)
    seal = state.pop("seal", None)
    if state.get("transformer_lab_checkpoint") != FORMAT:
        version = state.get("transformer_lab_checkpoint")
        raise CheckpointError(
            f"{folder} has checkpoint version {version!r}; this package reads version {FORMAT}"
        )
    if seal != _sealed(state)["seal"]:
        raise CheckpointError(f"{folder / STATE} is not as it was written")
    if not {WEIGHTS, TRAINING} <= set(state["files"]):
        raise CheckpointError(f"{folder / STATE} does not list {WEIGHTS} and {TRAINING}")
    for name, expected in state["files"].items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise CheckpointError(f"{path} is missing")
        if path.stat().st_size != expected["bytes"] or sha256(path) != expected["sha256"]:
            raise CheckpointError(f"{path} is not as it was written")
    return Checkpoint(folder, state)


def _state(training: _Training) -> dict[str, Any]:
    scaler = training.scaler.state_dict()
    return {
        "transformer_lab_checkpoint": FORMAT,
        "step": training.done,
        "seconds": training.seconds,
        "pending": None if training.pending is None else asdict(training.pending),
        "scaler": scaler or None,
        "updates": [
            [group.get("updates") for group in o.param_groups] for o in training.optimizers
        ],
        **_settings(training),
        "data": training.source.state(),
    }


def _settings(training: _Training) -> dict[str, Any]:
    """What a resumed run should have in common with the first part."""
    schedule = asdict(training.schedule)
    settings = {
        "model": describe(training.model),
        "training": {
            "steps": training.steps, "optimizer": training.recipe.name,
            **asdict(training.recipe), "warmup": schedule["warmup"],
            "precision": str(training.precision).removeprefix("torch."),
            "loss": repr(training.loss) if is_value(training.loss) else type(training.loss).__name__,
            "compile": training.compile,
        },
        "environment": {
            "torch": str(torch.__version__), "threads": torch.get_num_threads(),
            "device": training.device.type, "processes": training.n_processes,
            "implementation": [_implementation(o) for o in training.optimizers],
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        },
    }  # fmt: skip
    return json.loads(json.dumps(settings))


def is_value(thing: Any) -> bool:
    """Whether its repr says all there is to it (a dataclass), and no address in memory."""
    return hasattr(thing, "__dataclass_fields__")


def _implementation(optimizer: torch.optim.Optimizer) -> str:
    kind = next((k for k in ("fused", "foreach") if optimizer.defaults.get(k)), "plain")
    return f"{type(optimizer).__name__}/{kind}"


def _optimizer_tensors(training: _Training) -> dict[str, Tensor]:
    names = {id(p): name for name, p in training.model.named_parameters()}
    return {
        f"optimizer.{i}.{names[id(p)]}.{key}": value
        for i, optimizer in enumerate(training.optimizers)
        for p, state in optimizer.state.items()
        for key, value in state.items()
    }


def _restore(found: Checkpoint, training: _Training) -> None:
    state, source = found.state, found.folder
    _compare(state, {**_settings(training), "data": training.source.state()}, source)
    weights, _ = read_tensors(source / WEIGHTS)
    tensors, _ = read_tensors(source / TRAINING)
    load_tensors(training.model, weights, source / WEIGHTS)
    _restore_optimizers(tensors, state, training, source)
    if state["scaler"] and training.scaler.is_enabled():
        training.scaler.load_state_dict(state["scaler"])
    training.done, training.seconds = state["step"], state["seconds"]
    if training.done > training.steps:
        raise ValueError(
            f"steps={training.steps} but the run in {source.parent.parent} has made "
            f"{training.done}; give more steps"
        )
    if state["pending"] is not None:
        from .train import Step

        training.pending = Step(**state["pending"])
    prefix = f"random.{training.rank}."
    mine = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    if mine:
        training.random = RandomState.from_tensors(mine)
    else:
        training.random = RandomState.now()


def _compare(then: Mapping[str, Any], now: Mapping[str, Any], source: Path) -> None:
    """Refuse another shape of model or another optimizer; warn of whatever else differs."""
    if then["model"] != now["model"] and then["model"] and now["model"]:
        differs = "; ".join(_differences(then["model"], now["model"]))
        raise CheckpointError(f"{source} is of another model: {differs}")
    if then["training"]["optimizer"] != now["training"]["optimizer"]:
        raise CheckpointError(
            f"{source} was trained with optimizer={then['training']['optimizer']!r}, whose state "
            f"does not serve optimizer={now['training']['optimizer']!r}"
        )
    differs = [
        *_differences(then["training"], now["training"]),
        *_differences(then["environment"], now["environment"]),
        *_differences(_only_data(then["data"]), _only_data(now["data"])),
    ]
    if differs:
        warnings.warn(
            "the resumed run will not be bitwise what an unbroken one would have been: "
            + "; ".join(differs),
            stacklevel=8,
        )


def _only_data(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key.startswith("data_")}


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} was {then.get(key)!r} and is {now.get(key)!r}"
        for key in {**then, **now}
        if then.get(key) != now.get(key)
    ]


def _restore_optimizers(
    tensors: Mapping[str, Tensor], state: Mapping[str, Any], training: _Training, source: Path
) -> None:
    """Only the state is taken; options (fused, lr, …) stay those of this call."""
    named = dict(training.model.named_parameters())
    for name, value in tensors.items():
        if not name.startswith("optimizer."):
            continue
        _, index, rest = name.split(".", 2)
        parameter_name, key = rest.rsplit(".", 1)
        parameter = named.get(parameter_name)
        if parameter is None or int(index) >= len(training.optimizers):
            raise CheckpointError(f"{source / TRAINING}: {name} belongs to no parameter")
        if value.dim() and value.shape != parameter.shape:
            raise CheckpointError(
                f"{source / TRAINING}: {name} is {list(value.shape)} but the parameter is "
                f"{list(parameter.shape)}"
            )
        optimizer = training.optimizers[int(index)]
        here = value.dim() > 0 or optimizer.defaults.get("fused")
        optimizer.state[parameter][key] = value.to(parameter.device) if here else value
    for optimizer, updates in zip(training.optimizers, state["updates"], strict=True):
        for group, count in zip(optimizer.param_groups, updates, strict=True):
            if count is not None:
                group["updates"] = count


def _sealed(state: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(state, sort_keys=True, allow_nan=False).encode()
    return {**state, "seal": hashlib.sha256(text).hexdigest()}


# ---------------------------------------------------------------- small helpers


def _ids(tokens: Any) -> Tensor:
    ids = torch.as_tensor(tokens)
    return ids if ids.dim() == 2 else ids[None]


def _steps(folder: Path) -> list[int]:
    names = (path.name.split(".")[0] for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(int(match[1]) for name in names if (match := _STEP.fullmatch(name)))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Whole lines of a metrics file: where each ends, and what it says."""
    end = 0
    if not path.exists():
        return
    with path.open("rb") as file:
        for raw in file:
            end += len(raw)
            try:
                line = json.loads(raw) if raw.endswith(b"\n") else None
            except ValueError:
                line = None
            if not isinstance(line, dict) or not isinstance(line.get("index"), int):
                return  # what follows a torn line is not trusted either
            yield end, line


def _cut(path: Path, done: int) -> None:
    """Drop what was logged after step `done`, and a line that a kill cut short."""
    if not path.exists():
        return
    keep = 0
    for end, line in _lines(path):
        if line["index"] > done:
            break
        keep = end
    if keep != path.stat().st_size:
        os.truncate(path, keep)

"""The training loop, as a generator: `for step in train(model, batches, steps=400): ...`"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from importlib.util import find_spec
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from ..adapters.interrupts import restore_modes
from ..adapters.wrappers import bare
from ..arguments import check_call, said_by
from ..config import ModelConfig
from ..files.paths import check_folder
from ..files.rng import RandomState
from ..optim import Recipe, Schedule, recipe
from . import distributed
from .feed import feed
from .hardware import backend_for, compiler_failed, keep_freed_memory, threads_for, warn_uncompiled
from .interrupt import Interrupts, TrainingStopped
from .objective import (
    NOTHING_TO_EVALUATE,
    CrossEntropy,
    Loss,
    evaluate,
    evaluating,
    n_padding,
    n_tokens,
    sums,
    to_device,
)
from .precision import precision_of, with_muon_precision
from .run import BOARD, Run
from .state import Plan, Step, TrainState
from .usage import use_of
from .watching import TensorBoard, Watches
from .writer import Writer

__all__ = ["Step", "TrainingStopped", "evaluate", "train"]


def train(
    model: nn.Module,
    batches: Any,
    *,
    steps: int,
    lr: float | None = None,
    optimizer: str | Recipe = "adamw",
    schedule: str | None = None,
    warmup: int | None = None,
    clip: float | None = None,
    weight_decay: float | None = None,
    eval_batches: Any = None,
    eval_every: int | None = None,
    label_smoothing: float = 0.0,
    precision: str = "auto",
    compile: bool | str = False,
    threads: int | None = None,
    run: Run | str | PathLike | None = None,
    resume: bool = False,
    checkpoint_every: int | None = None,
    snapshot_every: int | None = None,
    probe: Any = None,
    watch: Any = None,
    progress: bool = False,
    loss: Loss | None = None,
) -> Iterator[Step]:
    """Train `model` in place, on its device, and yield one `Step` per update.

    The model is in training mode during training; when training ends, in whatever way, its previous
    mode is restored. Random numbers drawn in the loop's body, by `watch` or by evaluation do not
    change what is learned. Under torchrun each process takes its rows of every batch.

    Args:
        batches: an object whose `batch(step)` is a pure function of the step, or an iterable
            (restarted at its end if it can be iterated again).
        steps: total number of updates, including those of a resumed run.
        optimizer: "adamw", "modern", or a recipe of `transformer_lab.optim` with options.
        lr, schedule, warmup, clip, weight_decay: override those of the recipe. schedule: "cosine",
            "linear" (cool-down over the last half), "noam" (lr, 1 by default, then multiplies
            it) or "constant". clip: the largest gradient norm; `math.inf` turns clipping off.
        eval_batches, eval_every: held-out batches (20 of an endless stream) and the steps between
            evaluations; there is always one at the end.
        label_smoothing: label smoothing of the default loss, in training only.
        precision: "fp32", "bf16" or "fp16" autocast. "auto" is bf16 on a GPU that supports it, and
            on a CPU for a large decoder if a trial finds it faster; otherwise fp32. For Muon's own
            precision see `Modern`.
        compile: use `torch.compile` (a string names its backend). "auto" compiles on a CPU if the
            run is long enough to pay for it; the progress bar says why or why not. If there is no
            compiler, or it fails, training continues uncompiled with a warning.
        threads: CPU threads during training. None: one for a small model (see `threads_for`), for
            which more gain little on an idle machine and lose much on a busy one; else torch's own.
        run: a `Run`, or a folder for one: checkpoints, metrics.jsonl and snapshots go there.
        resume: continue from the run's newest checkpoint that verifies, or from 0 if there is none.
        checkpoint_every: steps between checkpoints (default: a tenth of all).
        snapshot_every, probe: the steps between snapshots, which save the attention patterns of
            these token ids [position] (for an encoder-decoder a pair: source, target) in the run.
        watch: a `Watch`, or a list: its `start(model, steps)`, `update(step, model)` and
            `finish(reason)` are called. `tl.views.TrainingView` shows the training,
            `tl.watching.TensorBoard`, `WandB` and `Trackio` log it. If one fails in the middle, a
            warning says so and training continues.
        progress: show a bar with loss, tokens per second and time left.
        loss: (model, batch) -> mean loss, a scalar. Default: `CrossEntropy`.

    Raises:
        ValueError, TypeError: at the call, for an invalid argument.
        TrainingStopped: after an interrupt; the run has the last complete step.
        FloatingPointError: if the loss is no longer finite; the model keeps its last good weights.
    """
    check_call(train, dict(locals()), infinite=("clip",))
    counts: dict[str, Any] = dict(steps=steps, eval_every=eval_every)
    counts |= dict(checkpoint_every=checkpoint_every, snapshot_every=snapshot_every)
    counts |= dict(threads=threads)
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value}")
    if eval_every and eval_batches is None:
        raise ValueError(f"eval_every={eval_every} needs eval_batches")
    shape = getattr(model, "config", None)
    if loss is None and isinstance(shape, ModelConfig) and not shape.head:
        raise ValueError(
            "head=False: the model returns its final hidden states, which the default loss cannot "
            "compare with tokens; pass loss=, or build the model with a head"
        )
    if loss is not None and label_smoothing:
        raise ValueError(
            f"label_smoothing={label_smoothing} is for the default loss; add it to your own loss"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("model has no trainable parameters")
    run = Run(check_folder("run", run)) if isinstance(run, str | PathLike) else run
    if run is None and (resume or snapshot_every or checkpoint_every):
        raise ValueError("resume, checkpoint_every and snapshot_every need run=Run(folder)")
    if snapshot_every and probe is None:
        raise ValueError(f"snapshot_every={snapshot_every} needs probe: the token ids to trace")
    forward, model = model, bare(model)  # a model that is compiled already
    chosen = _recipe(
        optimizer, lr=lr, schedule=schedule, warmup=warmup, clip=clip, weight_decay=weight_decay
    )
    chosen = with_muon_precision(chosen, precision, model, run if resume else None)
    n_threads = threads or threads_for(model, batches)
    plan = Plan(
        model,
        forward,
        feed(batches),
        steps,
        chosen,
        _schedule(chosen, steps, model),
        loss=loss or CrossEntropy(label_smoothing),
        eval_loss=loss or CrossEntropy(),
        eval_batches=eval_batches,
        eval_every=eval_every or steps,
        precision=precision_of(
            precision,
            model,
            batches,
            chosen,
            steps,
            n_threads,
            run if resume else None,
            plain=forward is model and not compile and loss is None,
        ),
        compile=compile,
        threads=n_threads,
        checkpoint_every=checkpoint_every or max(1, steps // 10),
        snapshot_every=snapshot_every,
        probe=probe,
        watch=Watches(watch),
        progress=progress,
    )
    return _Training(plan, run, resume).iterate()


def _recipe(optimizer: str | Recipe, **given: Any) -> Recipe:
    base = recipe(optimizer)
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("schedule") == "noam":
        if base.name != "adamw":
            raise ValueError(f"schedule='noam' is for optimizer='adamw', not {base.name!r}")
        given = {"lr": 1.0, "warmup": 4000, **given}
    return replace(base, **given)


def _schedule(chosen: Recipe, steps: int, model: nn.Module) -> Schedule:
    warmup = min(100, steps // 10) if chosen.warmup is None else chosen.warmup
    d_model = getattr(getattr(model, "config", None), "d_model", None)
    return Schedule(chosen.schedule, steps, warmup, d_model=d_model)


class _Training:
    """One call of `train`: advances its state according to its plan."""

    state: TrainState

    def __init__(self, plan: Plan, run: Run | None, resume: bool):
        self.plan, self.run, self.resume = plan, run, resume
        self.model = plan.model
        self.device = plan.device
        self.parameters = [p for p in plan.model.parameters() if p.requires_grad]
        self.rank, self.n_processes = distributed.rank_and_size()
        self.writer: Writer | None = None
        self.bar = None
        self.closed: str | None = None
        self.compiled = False  # by us
        self.interrupts = Interrupts(self.stopped)

    # ------------------------------------------------------------ the life of a run

    def iterate(self) -> Iterator[Step]:
        self._open()
        reason = "finished"
        try:
            while self.state.done < self.plan.steps or self.state.pending is not None:
                if self.state.pending is None:
                    self._advance()
                step = self._after()
                with self.interrupts.lent():
                    yield step
                if self.closed is not None:  # stopped while the caller's loop body ran
                    raise TrainingStopped(f"Training {self.closed}")
                self._take_back()
        except KeyboardInterrupt:
            raise self.stopped() from None
        except GeneratorExit:
            reason = f"ended early at step {self.state.done}; history kept"
            raise
        except BaseException as error:
            reason = f"failed at step {self.state.done}: {type(error).__name__}: {said_by(error)}"
            raise
        finally:
            self._close(reason, save=not reason.startswith("failed"))

    def _open(self) -> None:
        self.use, data = use_of(self.model), None
        self.use.end_earlier()
        self.modes = {module: module.training for module in self.model.modules()}
        self.threads_before = torch.get_num_threads()
        try:
            self.use.begin_training(self)  # views leave the model alone from here on
            self.state = TrainState.begin(self.plan)
            torch.set_num_threads(self.plan.threads)
            if self.device.type == "cpu":
                keep_freed_memory()
            if self.run is not None:
                self.writer = Writer(self.run, resume=self.resume)
                data = self.writer.restore(self.plan, self.state)
            self.plan.source.start(self.state.done, data)
            if data is None:
                self.state.random = RandomState.now()
            forward: Any = self.plan.forward
            plan, why = self.plan, ""
            if forward is self.model:
                backend, why = backend_for(
                    plan.compile, self.model, plan.source.batches, plan.steps, plan.threads
                )
                forward = torch.compile(self.model, backend=backend) if backend else forward
                self.compiled = backend is not None
            self.objective = distributed.wrap(self.model, forward, plan.loss, self.device)
            self.model.train()
            if self.rank == 0:
                if self.run is not None and find_spec("tensorboard") is not None:
                    self.plan.watch.all.append(TensorBoard(self.run.folder / BOARD))
                self.plan.watch.start(self.model, self.plan.steps)
            if self.rank == 0 and self.plan.progress:
                from tqdm import tqdm

                self.bar = tqdm(total=self.plan.steps, initial=self.state.done, unit="step")
                if why:
                    self.bar.write(why, file=sys.stderr)
            if self.writer is not None and self.state.done == 0:
                self._snapshot()
            self.state.random.restore()
            self.interrupts.install()
        except BaseException:
            self._close("failed to start", save=False)
            raise

    def _close(self, reason: str, *, save: bool) -> None:
        """End the run once: save the last complete step, restore modes and interrupts."""
        if self.closed is not None:
            return
        self.closed = reason
        self.interrupts.remove()
        restore_modes(self.modes)
        torch.set_num_threads(self.threads_before)
        self.use.end_training(self)
        for parameter in self.parameters:
            parameter.grad = None
        try:
            # Processes interrupted at different times cannot exchange their random states.
            together = self.n_processes == 1 or reason == "finished"
            if self.writer is not None and save and together and not sys.is_finalizing():
                self._checkpoint()
        finally:
            if self.bar is not None:
                self.bar.close()
            if self.writer is not None:
                self.writer.close()
            if self.rank == 0:
                self.plan.watch.finish(reason)

    def stopped(self, how: str = "stopped") -> TrainingStopped:
        reason = f"{how} at step {self.state.done}; history kept"
        self._close(reason, save=True)
        return TrainingStopped(f"Training {reason}")

    def _take_back(self) -> None:
        """Restore random states and mode, which the caller's loop body may have changed."""
        self.state.random.restore()
        if not self.model.training:
            self.model.train()

    # ------------------------------------------------------------ one step

    def _advance(self) -> None:
        started = time.perf_counter()
        whole = self.plan.source.batch(self.state.done)
        batch = to_device(distributed.shard(whole), self.device)
        factor = self.plan.schedule(self.state.done)
        for group in (g for o in self.state.optimizers for g in o.param_groups):
            group["lr"] = group["initial_lr"] * factor
        weight = self._weight(batch)
        try:
            loss = self._gradient(batch, weight, factor)
        except Exception as error:
            if not (self.compiled and compiler_failed(error)):
                raise
            warn_uncompiled(error, self.state.done + 1)
            self.compiled = False
            self.objective = distributed.wrap(self.model, self.model, self.plan.loss, self.device)
            for parameter in self.parameters:
                parameter.grad = None
            self.state.random.restore()  # the step starts again
            loss = self._gradient(batch, weight, factor)
        norm = self._clip()
        if self.n_processes > 1:
            loss = distributed.sum_over_processes(loss, device=self.device)[0] / self.n_processes
        with self.interrupts.held():  # from here on, a step is made completely or not at all
            for optimizer in self.state.optimizers:
                self.state.scaler.step(optimizer)
            self.state.scaler.update()
            for parameter in self.parameters:
                parameter.grad = None
            self.state.done += 1
            self.state.random = RandomState.now()
            elapsed = time.perf_counter() - started
            self.state.seconds += elapsed
            tokens, lr = n_tokens(whole), self.plan.recipe.lr * factor
            self.state.pending = Step(
                self.state.done,
                loss,
                lr,
                tokens / elapsed,
                self.state.seconds,
                norm,
                tokens=tokens,
                padding=n_padding(whole),
            )

    def _gradient(self, batch: Any, weight: float, factor: float) -> float:
        """Add a batch's gradient to the parameters' and return its loss."""
        try:
            with (
                torch.enable_grad(),
                self._autocast(),
            ):  # the caller's loop body may have left it off
                scaled = self.objective(batch, weight)
        except IndexError:
            self._explain(batch)
            raise
        loss = scaled.item()
        if not math.isfinite(loss):
            self._explain(batch)
            raise FloatingPointError(
                f"the loss is {loss} at step {self.state.done + 1}, lr={self.plan.recipe.lr * factor:.3g}; the "
                f"model keeps the weights of step {self.state.done}. Try a lower lr or a longer warmup"
            )
        self.state.scaler.scale(scaled).backward()
        return loss

    def _weight(self, batch: Any) -> float:
        """Weight of this process's mean, so that the mean over processes is the global one."""
        if self.n_processes == 1:
            return 1.0
        count = getattr(self.plan.loss, "count", None)
        mine = float(count(batch)) if count else 1.0
        total = distributed.sum_over_processes(mine, device=self.device)[0]
        return mine * self.n_processes / total if total else 1.0

    def _clip(self) -> float:
        if self.state.scaler.is_enabled():
            for optimizer in self.state.optimizers:
                self.state.scaler.unscale_(optimizer)
        limit = math.inf if self.plan.recipe.clip is None else self.plan.recipe.clip
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = float(total_norm(gradients)) if gradients else 0.0
        if norm > limit:
            # In place, and only where it does something.
            for gradient in gradients:
                gradient.mul_(limit / (norm + 1e-6))
        return norm

    def _autocast(self):
        if self.plan.precision is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.plan.precision)

    def _explain(self, batch: Any) -> None:
        """Raise a ValueError that says what is wrong with a batch, if that is known."""
        explain = getattr(self.plan.loss, "explain", None)
        why = explain(batch, getattr(self.model, "n_outputs", None)) if explain else None
        if why:
            raise ValueError(f"step {self.state.done + 1}: {why}") from None

    # ------------------------------------------------------------ beside the steps

    def _after(self) -> Step:
        step, last = self.state.pending, self.state.done == self.plan.steps
        assert step is not None
        if self.plan.eval_batches is not None and (
            last or self.state.done % self.plan.eval_every == 0
        ):
            step = replace(step, eval_loss=self._evaluate())
        if self.plan.snapshot_every and (last or self.state.done % self.plan.snapshot_every == 0):
            self._snapshot()
        with self.interrupts.held():
            if self.writer is not None:
                self.writer.log(asdict(step))
            self.state.pending = None
        if (
            self.writer is not None
            and not last
            and self.state.done % self.plan.checkpoint_every == 0
        ):
            self._checkpoint()
        if self.rank == 0:
            self.plan.watch.update(step, self.model)
        if self.bar is not None:
            self.bar.update()
            text = f"loss {step.loss:.3f}, {step.tokens_per_second:,.0f} tokens/s"
            if step.padding:
                text += f", {step.padding_share:.0%} padding"
            self.bar.set_postfix_str(text, refresh=False)
        return step

    def _evaluate(self) -> float:
        with self._autocast():
            total, weight = sums(
                self.model,
                self.plan.eval_batches,
                loss=self.plan.eval_loss,
                every=self.n_processes,
                start=self.rank,
            )
        total, weight = distributed.sum_over_processes(total, weight, device=self.device)
        if not weight:
            raise ValueError(NOTHING_TO_EVALUATE)
        return total / weight

    def _snapshot(self) -> None:
        if self.writer is None or not self.plan.snapshot_every or self.rank:
            return
        with evaluating(self.model):
            self.writer.snapshot(self.plan, self.state.done)

    def _checkpoint(self) -> None:
        assert self.writer is not None
        with self.interrupts.held():
            self.writer.save(self.plan, self.state)


def total_norm(gradients: list[Tensor]) -> Tensor:
    """L2 norm of all gradients as one vector."""
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))

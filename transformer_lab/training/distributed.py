"""Train one model in several processes, started by torchrun: each takes its rows of a batch."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def rank_and_size() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) if training is not distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def join(device: str = "auto") -> tuple[torch.device, bool]:
    """Join the processes that torchrun started, if it did: nccl on GPUs, gloo on CPUs.

    Returns:
        the device of this process, and whether a process group was made (`leave` ends it).
    """
    from ..model import pick_device

    chosen = pick_device(device)
    if "WORLD_SIZE" not in os.environ or not dist.is_available() or dist.is_initialized():
        return chosen, False
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(chosen)
    elif chosen.type == "mps":
        chosen = torch.device("cpu")
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return chosen, True


def leave() -> None:
    dist.destroy_process_group()


def shard(batch: Any) -> Any:
    """This process's rows of a global batch (the first axis of every tensor in it).

    Raises:
        ValueError: if there are fewer rows than processes.
    """
    rank, size = rank_and_size()
    if size == 1:
        return batch

    def rows(part: Any) -> Any:
        if not isinstance(part, Tensor) or part.dim() == 0:
            return part
        if part.shape[0] < size:
            raise ValueError(
                f"a batch of {part.shape[0]} rows cannot be split over {size} processes; "
                "use a larger batch_size or fewer processes"
            )
        return part.tensor_split(size)[rank]

    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{f.name: rows(getattr(batch, f.name)) for f in fields(batch)})
    if isinstance(batch, dict):
        return {key: rows(part) for key, part in batch.items()}
    if isinstance(batch, tuple | list):
        return tuple(rows(part) for part in batch)
    return rows(batch)


def sum_over_processes(*values: float, device: torch.device) -> list[float]:
    """Each value summed over all processes; with one process, the values."""
    if rank_and_size()[1] == 1:
        return list(values)
    dtype = torch.float32 if device.type == "mps" else torch.float64
    total = torch.tensor(values, dtype=dtype, device=device)
    dist.all_reduce(total)
    return total.tolist()


def gather(value: Any) -> list[Any]:
    """The values of all processes, on each of them, in the order of their ranks."""
    _, size = rank_and_size()
    if size == 1:
        return [value]
    # Objects travel pickled between processes of one job, which trust each other; never to disk.
    out: list[Any] = [None] * size
    dist.all_gather_object(out, value)
    return out


class LossModule(nn.Module):
    """A loss as a module, so that DistributedDataParallel sees the whole forward pass whichever
    of the model's methods the loss calls."""

    def __init__(self, model: nn.Module, forward: nn.Module, loss: Any):
        super().__init__()
        self.model = model
        object.__setattr__(self, "forward_model", forward)  # perhaps compiled; not a submodule
        self.loss = loss

    def forward(self, batch: Any, weight: float) -> Tensor:
        loss = self.loss(self.forward_model, batch)
        # A mean over no targets is NaN, and gets no weight.
        return loss * weight if weight else loss.nan_to_num(nan=0.0) * 0


def wrap(model: nn.Module, forward: nn.Module, loss: Any, device: torch.device) -> nn.Module:
    """`LossModule`, under DistributedDataParallel when there are several processes."""
    module = LossModule(model, forward, loss)
    if rank_and_size()[1] == 1:
        return module
    from torch.nn.parallel import DistributedDataParallel

    ids = [device.index or 0] if device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=ids)

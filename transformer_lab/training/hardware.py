"""How training uses the machine: threads, memory, and whether its model is compiled."""

from __future__ import annotations

import ctypes
import math
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .objective import n_tokens

SMALL_STEP = 20e9  # floating-point operations; see `threads_for`

# Measured with torch 2.13 on one thread of an AVX2 processor, 4 layers of d 128, 12 x 64 tokens
# (forward and backward, alternating): 93.1 ms as written and 72.2 compiled for the modern block,
# 78.8 and 77.1 for GPT's; compiling took 34 and 27 CPU seconds.
COMPILING = 35.0  # CPU seconds
SAVED = 0.2  # of a step with many small operations, such as RMSNorm and ReLU²
OPERATIONS = 30e9  # floating-point operations per second and thread in such a step
KEPT = 2**25 - 2**16  # bytes; glibc does not adapt to blocks above 32 MiB
LARGE_PAGE, MADV_HUGEPAGE = 2**21, 14  # bytes; the number of the advice, from Linux's mman.h


def threads_for(model: nn.Module, batches: Any) -> int:
    """Number of CPU threads to train with: one if a step takes less than 20 GFLOP (6 FLOP per
    weight and token; batches of unknown size count as 4,096 tokens), else torch's setting. It
    depends only on the shapes, so that a resumed run gets the same number."""
    size = [getattr(batches, name, None) for name in ("batch_size", "n_ctx")]
    tokens = math.prod(n if isinstance(n, int) else 64 for n in size)
    small = 6 * tokens * sum(p.numel() for p in model.parameters()) < SMALL_STEP
    return 1 if small else torch.get_num_threads()


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees, up to 64 MiB, for the next one, as it does once a block of
    this size has been freed. Before that, it returns the blocks of every step to the system and
    gets them back page by page: 4,000 pages per step of a small model, a tenth of its time.
    The block is not touched, so it costs nothing; other allocators are not affected."""
    torch.empty(KEPT, dtype=torch.uint8)  # freed at once
    _use_large_pages()


@cache
def _use_large_pages() -> None:
    """Ask Linux once for pages of 2 MiB in the kept memory: it saves 2 to 3% of a small model's
    step, which otherwise looks up the addresses of 4 KiB pages. Does nothing if there are none."""
    if not sys.platform.startswith("linux"):
        return
    held = [torch.empty(KEPT // n, dtype=torch.uint8) for n in (1, 2)]  # the heap grows by these
    try:
        heap = next(
            line for line in Path("/proc/self/maps").read_text().splitlines() if "[heap]" in line
        )
        start, end = (int(place, 16) for place in heap.split()[0].split("-"))
        start, end = -(-start // LARGE_PAGE) * LARGE_PAGE, end // LARGE_PAGE * LARGE_PAGE
        if end > start:
            advise = ctypes.CDLL(None).madvise
            advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_HUGEPAGE)
    except (OSError, StopIteration, AttributeError):  # no such file, heap or call
        return
    finally:
        del held


def backend_for(
    wish: bool | str, model: nn.Module, batches: Any, steps: int, threads: int
) -> tuple[str | None, str]:
    """The backend of `torch.compile` to train with, or None; and for "auto" one line that says why.

    It depends only on the shapes, so that a resumed run makes the same choice as its first part.
    """
    if wish != "auto":
        return ("inductor" if wish is True else wish or None), ""
    device = next(model.parameters()).device.type
    if device != "cpu":
        return (
            None,
            f"Not compiled: the gain on {device} has not been measured; compile=True compiles.",
        )
    config = getattr(model, "config", None)
    many = getattr(config, "norm", "") == "rms" or getattr(config, "activation", "") == "relu2"
    if not many:
        return None, "Not compiled: it hardly speeds up this kind of block on a CPU."
    n = sum(p.numel() for p in model.parameters())
    tokens = n_tokens(batches.batch(0)) if callable(getattr(batches, "batch", None)) else 4096
    seconds = 6.0 * n * tokens * steps / (OPERATIONS * threads)
    saved = SAVED * seconds
    estimate = f"of about {seconds:,.0f} s of training it saves {saved:,.0f} s and costs"
    if saved < 2 * COMPILING:
        return None, f"Not compiled: {estimate} {COMPILING:.0f} s."
    return "inductor", f"Compiled: {estimate} {COMPILING:.0f} s."


def compiler_failed(error: BaseException) -> bool:
    """Whether this comes from `torch.compile` itself, and not from the model or its batch."""
    own = ("torch._dynamo", "torch._inductor", "torch._functorch")
    return type(error).__module__.startswith(own)


def warn_uncompiled(error: BaseException, step: int) -> None:
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    warnings.warn(
        f"torch.compile failed at step {step} ({first.strip()}); training continues uncompiled",
        stacklevel=2,
    )

"""Keep the output of each block in one clean pass, so that later passes can start in the middle.

A change in layer 7 leaves layers 0 to 6 as they were. Their outputs are replayed instead of
recomputed, so that a pass with the change costs only the layers from 7 on, and is exact.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from ..adapters.hooks import hook, hooked
from ..adapters.interrupts import sheltered, together
from ..adapters.network import Network
from ..attention import AttentionCall, Tap
from .interventions import tapping

_REPLAY = "forward"
_lock = threading.RLock()
_known: weakref.WeakKeyDictionary[nn.Module, bool] = weakref.WeakKeyDictionary()  # see `check`


class KeptBlocks:
    """The output of each block of a network in one clean pass.

    Args:
        budget_mib: memory for what is kept; if it is not enough, nothing is kept and every pass
            runs in full.
        like: from another pass of the same network, whose list of blocks is used.

    Attributes:
        reuses: whether passes may start in the middle.
        block_of: (kind, layer) of attention -> its block, counted in the order of the pass.
    """

    def __init__(self, network: Network, budget_mib: float, like: KeptBlocks | None = None):
        self.network, self._budget = network, int(budget_mib * 2**20)
        self._blocks = network.blocks() if like is None else like._blocks
        self.reuses = False
        self.block_of: dict[tuple[str, int], int] = {}
        self._kept: list[tuple[nn.Module, Any]] = []

    @sheltered
    def keeping(self) -> Iterator[None]:
        """Keep the outputs of the clean pass that this thread runs while this is open.

        Raises:
            EditError: if the network's attention does not go through the attention interface.
        """
        watch = _Watch(self._budget)
        with together(tapping(self.network, watch), watch.blocks(self._blocks)):
            yield
        self.block_of = watch.block_of
        modules = [module for module, _ in watch.kept]
        # A block that runs several times in a pass has a different output each time.
        once = len(set(modules)) == len(modules) > 0
        self.reuses = once and watch.bytes <= self._budget
        self._kept = watch.kept if self.reuses else []

    @property
    def last(self) -> int:
        """The last block with attention."""
        return max(self.block_of.values(), default=0)

    def start_of(self, kind: str, layer: int | None) -> int:
        """Return the first block that a change in this layer (None: in every layer) affects."""
        if not self.reuses:
            return 0
        if layer is None:
            here = [turn for (k, _), turn in self.block_of.items() if k == kind]
            return min(here, default=0)
        kind = "decoder" if kind == "cross" and ("decoder", layer) in self.block_of else kind
        return self.block_of.get((kind, layer), 0)

    @sheltered
    def replaying(self, start: int, copies: int = 1, batch: int = 0) -> Iterator[None]:
        """While open, this thread's passes compute only the blocks from `start` on, for `copies` of
        a batch of size `batch`.
        """
        replayed = []
        try:
            for module, output in self._kept[:start]:
                _Replay.begin(module, lambda output=output: _copied(output, copies, batch))
                replayed.append(module)
            yield
        finally:
            for module in replayed:
                _Replay.end(module)

    def check(self, run: Callable[[], Any]) -> None:
        """Allow passes to start in the middle only if that is correct.

        It is not in a model whose later layers read from earlier ones outside the stream (Gemma
        3n's keys and values). One such pass shows this, once per model; `run` makes a clean one.
        """
        module = self.network.module
        if self.reuses and module not in _known:
            _known[module] = self._last_is_again(run)
        self.reuses = self.reuses and _known[module]

    def _last_is_again(self, run: Callable[[], Any]) -> bool:
        """Whether the last block with attention gives its kept output if a pass starts there."""
        turn = self.last
        (last, gave), found, owner = self._kept[turn], [], threading.get_ident()

        def see(module, args, output):
            if threading.get_ident() == owner:
                found.append(_copied(output, 1, 0))

        try:
            with together(hooked(partial(hook, last, see, prepend=True)), self.replaying(turn)):
                run()
        except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            return False  # the block lacks an input
        return len(found) == 1 and _same(found[0], gave)


class _Watch(Tap):
    """Record the output of each block in the clean pass, up to `budget` bytes, and the block that
    each attention layer is in.
    """

    records = True

    def __init__(self, budget: int):
        self.owner, self.budget, self.bytes = threading.get_ident(), budget, 0
        self.block_of: dict[tuple[str, int], int] = {}
        self.kept: list[tuple[nn.Module, Any]] = []

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        if threading.get_ident() == self.owner and call.site is not None:
            self.block_of.setdefault((call.site.kind, call.site.layer), len(self.kept))
        return call

    def blocks(self, modules: list[nn.Module]) -> AbstractContextManager[None]:
        def keep(module, args, output):
            if threading.get_ident() == self.owner:
                self.bytes += _bytes(output)
                kept = _copied(output, 1, 0) if self.bytes <= self.budget else None
                self.kept.append((module, kept))

        # Run before the user's own hooks, which act on a replayed output as they did on this one.
        return hooked(*(partial(hook, module, keep, prepend=True) for module in modules))


class _Replay:
    """Replace a block's forward: in registered threads return what was kept, in others run the
    block.

    A module has only one at a time, whatever the number of threads.
    """

    def __init__(self, module: nn.Module):
        self.module, self.before = module, module.__dict__.get(_REPLAY)
        self.forward = module.forward
        self.threads: dict[int, Callable[[], Any]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kept = self.threads.get(threading.get_ident())
        return self.forward(*args, **kwargs) if kept is None else kept()

    def __deepcopy__(self, memo: dict) -> Any:  # a copy of the model must compute for itself
        module = copy.deepcopy(self.module, memo)
        return MethodType(type(module).forward, module)

    @classmethod
    def begin(cls, module: nn.Module, give: Callable[[], Any]) -> None:
        with _lock:
            replay = module.__dict__.get(_REPLAY)
            if not isinstance(replay, cls):
                replay = module.__dict__[_REPLAY] = cls(module)
            replay.threads[threading.get_ident()] = give

    @classmethod
    def end(cls, module: nn.Module) -> None:
        with _lock:
            replay = module.__dict__.get(_REPLAY)
            if not isinstance(replay, cls):
                return
            replay.threads.pop(threading.get_ident(), None)
            if not replay.threads:
                del module.__dict__[_REPLAY]
                if replay.before is not None:
                    module.__dict__[_REPLAY] = replay.before


def _copied(output: Any, copies: int, batch: int) -> Any:
    """Copy an output, so that a model that adds in place cannot change what is kept.

    A tensor without the batch's axis (position biases that all texts share) is not repeated.
    """
    if isinstance(output, Tensor):
        times = copies if output.dim() and len(output) == batch else 1
        return output.repeat(times, *[1] * (output.dim() - 1)) if output.dim() else output.clone()
    if isinstance(output, tuple):
        return tuple(_copied(part, copies, batch) for part in output)
    return output


def _bytes(output: Any) -> int:
    if isinstance(output, Tensor):
        return output.numel() * output.element_size()
    return sum(map(_bytes, output)) if isinstance(output, tuple) else 0


def _same(found: Any, gave: Any) -> bool:
    if isinstance(gave, Tensor):
        return isinstance(found, Tensor) and torch.allclose(found, gave, equal_nan=True)
    if isinstance(gave, tuple):
        return len(found) == len(gave) and all(map(_same, found, gave))
    return True

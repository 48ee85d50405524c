"""Find the modules of a network that write into its residual stream, in one pass and with no
architecture known by name.

W_O of a layer is the linear layer that reads exactly the heads' output. The other writer (an mlp,
experts, a state-space layer) is the largest module of a block that reads only the stream and has no
norm inside; if there is none, its linear layers.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..attention import AttentionCall, Site, Tap
from .frozen_norms import is_norm
from .hooks import Hook, hook, remove_all
from .interrupts import no_grad, sheltered, together
from .linear import is_linear

# "ssm" must be a word: GptOssMLP is not a mixer.
MIXER = re.compile(r"mamba|\bssm|ssm\b|conv|delta|recurrent|rglru|lstm|linear_attn|lightning")


class Place:
    """The layer that a thread is in while its network runs, by the order of a kind's blocks."""

    def __init__(self, network: Any, entered: Callable[[], None] | None = None):
        self.owner, self._told = threading.get_ident(), entered
        self.site = Site("encoder", 0)
        found = {kind: network.blocks(kind) for kind in network.kinds if kind != "cross"}
        self.blocks: dict[str, list[nn.Module]] = {
            k: blocks for k, blocks in found.items() if blocks
        }
        self.n_layers = {kind: len(network.layers(kind)) for kind in self.blocks}
        self._turns: dict[nn.Module, int] = {}
        self._entered: dict[str, int] = {}

    @property
    def here(self) -> bool:
        return threading.get_ident() == self.owner

    @sheltered
    def watching(self, *more: Callable[[], Hook]) -> Iterator[None]:
        """Keep `site` up to date while this is open; each of `more` registers one more hook."""
        hooks: list[Hook] = []
        try:
            for kind, blocks in self.blocks.items():
                for index, block in enumerate(blocks):
                    enter = self._entering(kind, index, len(blocks))
                    hooks.append(hook(block, enter, before=True))
            for register in more:
                hooks.append(register())
            yield
        finally:
            remove_all(hooks)

    def _entering(self, kind: str, index: int, n: int) -> Callable[..., None]:
        def enter(block: nn.Module, args: Any) -> None:
            if not self.here:
                return
            if self._told is not None:
                self._told()
            turn = self._turns.get(block, 0)
            self._turns[block] = turn + 1
            entered = self._entered[kind] = self._entered.get(kind, -1) + 1
            shared = self.n_layers[kind] > n
            self.site = Site(kind, entered if shared else index + turn * n)

        return enter


class Anatomy(Tap):
    """The modules that write into the stream of a network, found with a pass over one text.

    Attributes:
        outs: W_O's module of each site where there is one.
        attention: the module of each site that attends.
        writers: the other modules that write, with "mlp" or "mixer".
        embeddings: those outside the blocks, with "token", "position" or "segment".
    """

    records = True

    def __init__(self, network: Any, inputs: Any):
        self.outs: dict[Site, nn.Module] = {}
        self.attention: dict[Site, nn.Module] = {}
        self._attention: set[nn.Module] = set()
        self._seen: dict[nn.Module, tuple[int, bool]] = {}  # streams read, whether it writes one
        self._pending: tuple[Site, Tensor] | None = None
        self._waiting: list[nn.Module] = []  # modules run since a block began, or heads returned
        self._before: set[nn.Module] = set()  # modules run before heads, which may read them
        self._place = Place(network, self._waiting.clear)
        blocks = [b for found in self._place.blocks.values() for b in found]
        inside = {m: None for block in blocks for m in block.modules()}
        hooks: list[Callable[[], Hook]] = []
        for module in inside:
            if is_linear(module):
                hooks.append(partial(hook, module, self._reads, before=True))
            hooks.append(partial(hook, module, self._ran, with_kwargs=True))
        with together(no_grad(), network.tapping(self), self._place.watching(*hooks)):
            network.run(inputs)
        self._pending = None
        ours = set(self.outs.values())
        found = [w for block in dict.fromkeys(blocks) for w in self._walk(block, "", ours)]
        self.writers: dict[nn.Module, str] = dict(found)
        self.embeddings = dict(_embeddings(network.module, {*inside, *network.apart()}))

    # -- what is seen in the pass ---------------------------------------------------------------

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if self._place.here:
            site = call.site or self._place.site
            if call.module is not None:
                self.attention[site] = call.module
                self._attention.add(call.module)
            self._before.update(self._waiting)
            self._waiting.clear()
            self._pending = site, z
        return z

    def _reads(self, module: nn.Module, args: Any) -> None:
        if self._pending is None or not self._place.here or not args:
            return
        site, z = self._pending
        x, flat = args[0], z.transpose(1, 2).flatten(2)
        if not isinstance(x, Tensor) or x.numel() != flat.numel() or x.shape[-1] != flat.shape[-1]:
            return
        if torch.equal(x.reshape(flat.shape), flat.to(x.dtype)):
            self.outs[site] = module
            self._pending = None

    def _ran(self, module: nn.Module, args: Any, *rest: Any) -> None:
        if not self._place.here:
            return
        kwargs = rest[0] if len(rest) == 2 and isinstance(rest[0], dict) else {}
        output = first_of(rest[-1])
        read = sum(_is_stream(x) for x in (*args, *kwargs.values()))
        self._seen[module] = read, output is not None and _is_stream(output)
        self._waiting.append(module)

    # -- the result -----------------------------------------------------------------------------

    def _walk(self, module: nn.Module, path: str, outs: set) -> Iterator[tuple[nn.Module, str]]:
        for name, child in module.named_children():
            where = f"{path}.{name} {type(child).__name__}".lower()
            if child in self._attention or child in outs or is_norm(child):
                continue
            if not any(p.dim() > 1 for p in child.parameters()):
                continue
            early = child in self._before
            if early and (is_linear(child) or module in self._attention):
                continue  # it makes queries, keys or values
            below = set(child.modules())
            read, writes = self._seen.get(child, (0, False))
            part = "mixer" if MIXER.search(where) else "mlp"
            whole = is_linear(child) or (read == 1 and not any(is_norm(m) for m in below))
            if whole and writes and not below & self._attention and not below & outs:
                yield child, part
            else:
                yield from self._walk(child, where, outs)


def first_of(output: Any) -> Tensor | None:
    """The tensor that a module returned, or the first of several."""
    found = output[0] if isinstance(output, tuple | list) and output else output
    return found if isinstance(found, Tensor) else None


def _is_stream(x: Any) -> bool:
    """Whether x may be a stream: [batch, position, d], or with the first two axes as one."""
    return isinstance(x, Tensor) and x.is_floating_point() and x.dim() in (2, 3)


def _embeddings(model: nn.Module, inside: set) -> Iterator[tuple[nn.Module, str]]:
    for path, module in model.named_modules():
        kind = type(module).__name__.lower()
        if module in inside or any(True for _ in module.children()):
            continue
        if not isinstance(module, nn.Embedding) and "embedding" not in kind:
            continue
        yield module, embedded_part(f"{path} {kind}")


def adds_positions(network: Any) -> bool:
    """Whether position embeddings are added to the stream, as far as the modules show."""
    blocks = [block for found in Place(network).blocks.values() for block in found]
    inside = {module for block in blocks for module in block.modules()} | network.apart()
    tables = dict(_embeddings(network.module, inside))
    width = lambda module: getattr(module, "weight", torch.zeros(0, 0)).shape[-1]  # noqa: E731
    wide = {width(module) for module, part in tables.items() if part == "token"}
    # A table of relative positions is as wide as there are heads; computed ones have no width.
    return any(part == "position" and width(m) in {0, *wide} for m, part in tables.items())


def embedded_part(path: str) -> str:
    """What an embedding table at this path adds to the stream: "position", "segment" or "token"."""
    name = path.lower()
    if any(word in name for word in ("position", "wpe")):
        return "position"
    return "segment" if any(w in name for w in ("token_type", "segment", "type_embed")) else "token"

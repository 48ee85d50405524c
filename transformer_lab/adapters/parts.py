"""Split what a model reads into what each part wrote, measured on what it really computed.

The model runs once more on the same text, with two more rows. The embeddings, every head's output
through W_O and every mlp's output are leaves: 0 in the second row, and in the third a random
fraction (one per leaf) of the first. Every norm is frozen at its scale in the first row. What is
read is then a sum: each leaf times its gradient, plus the result of the empty row, which is the
biases. Parallel blocks, norms after a part or after the sum, multipliers and shared layers need no
code, since the model's own code does the adding. The sum must be what the model computed, and with
each leaf scaled by its fraction what the third row gives. This holds only if the path to what is
read is linear: a gate, or a nonlinear head, is refused.
Source: Elhage et al. 2021, on frozen norms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..attention import AttentionCall, Site, Tap
from .frozen_norms import held, is_norm
from .hooks import hook
from .interrupts import sheltered, together
from .linear import gradient_stop, measured
from .sources import BIASES, Parts, PartsError, Source, Split
from .stream_writers import Anatomy, Place, first_of

ROOM, ROOM_HALF = 2e-4, 5e-2  # relative tolerance of a sum, in 32 bits or more and in 16
CHUNK = 2**24  # numbers of gradients at once
KEEP = 2**24  # numbers up to which the parts of all rows are kept


class MeasuredParts(Parts):
    """The parts of any network whose blocks are known.

    Args:
        network: a `Network`.
        inputs: one text (a batch of one).

    Raises:
        PartsError: if its blocks are unknown, attend in several parts, or block gradients.
    """

    def __init__(self, network: Any, inputs: Any):
        if not any(network.blocks(kind) for kind in network.kinds if kind != "cross"):
            raise PartsError(
                f"the layers of {network.name} were not found, so it is not known which part "
                "wrote what; in a tl.Network of your own, return them from `blocks`"
            )
        with with_grad():
            stop = gradient_stop(network.module)
        if stop:
            raise PartsError(f"no gradient passes through {network.name}, because of {stop}")
        self._network, self._inputs = network, inputs
        self._anatomy = Anatomy(network, inputs)
        self._pass: tuple[Site | None, HeldPass] | None = None
        self._known: dict[tuple[str, int, int, str], Split] = {}

    def of_head(self, kind: str, layer: int, head: int, side: str, rows: Sequence[int]) -> Split:
        with with_grad():
            return self._head(kind, layer, head, side, rows)

    def of_logit(self, position: int, token: int, against: int | None = None) -> Split:
        with with_grad():
            return self._logit(position, token, against)

    def _head(self, kind: str, layer: int, head: int, side: str, rows: Sequence[int]) -> Split:
        held_pass = self._run(Site(kind, layer))
        call = held_pass.call
        if call is None:
            raise PartsError(
                f"{kind} layer {layer} of {self._network.name} does not attend to anything"
            )
        read = call.query if side == "query" else call.key
        own = head if side == "query" else head // (call.n_heads // call.key.shape[1])
        name = (kind, layer, own, side)
        if name not in self._known:
            every = range(read.shape[2])
            n = held_pass.n_numbers(len(every)) + held_pass.n_sources * read[0, own].numel()
            if n > KEEP:
                return self._of_head(held_pass, read[:, own], list(rows), name)
            self._known[name] = self._of_head(held_pass, read[:, own], list(every), name)
        found = self._known[name]
        return Split(found.sources, found.values[:, list(rows)])

    def _logit(self, position: int, token: int, against: int | None) -> Split:
        held_pass = self._run(None)
        logits = held_pass.logits
        if logits is None:
            raise PartsError(f"{self._network.name} has no head that predicts tokens")
        tokens = [token] if against is None else [token, against]
        read = logits[:, position, tokens]
        room = room_of(read) * float(logits[0, position].detach().abs().max())
        cap = self._network.logit_softcap
        if cap is not None:
            read = cap * torch.atanh((read / cap).clamp(-1 + 1e-7, 1 - 1e-7))
        read = read[:, :1] if against is None else read[:, :1] - read[:, 1:]
        split, off = held_pass.split(read[:, None], [position])
        values, off = split.values[:, 0, 0], off.max().item()
        if not off <= room:
            raise PartsError(
                f"the parts do not sum to {self._network.name}'s logit (off by {off:.2g}): there "
                "are more than norms and linear layers between the stream and its "
                f"logits{held_pass.unheld}"
            )
        return Split(split.sources, values)

    def _of_head(
        self, held_pass: HeldPass, read: Tensor, rows: list[int], name: tuple[str, int, int, str]
    ) -> Split:
        kind, layer, _, side = name
        found, off = held_pass.split(read, rows)
        length = read[0, rows].detach().double().cpu().norm(dim=-1)
        part = (off / length.clamp(min=1e-3)).max().item()
        if not part <= room_of(read):
            what = "queries" if side == "query" else "keys"
            raise PartsError(
                f"the parts do not sum to the {what} of {self._network.name}'s layer {layer} (off "
                f"by {100 * part:.2g}%): there are more than norms and linear layers between the "
                f"stream and them{held_pass.unheld}"
            )
        if kind == "cross" and side == "key":
            sources = tuple(replace(s, stack="encoder") for s in found.sources[:-1])
            found = Split((*sources, replace(BIASES, stack="encoder")), found.values)
        return found

    def _run(self, stop: Site | None) -> HeldPass:
        if self._pass is None or self._pass[0] != stop:
            self._pass = None  # free its memory before the next one runs
            self._pass = stop, HeldPass(self._network, self._inputs, self._anatomy, stop)
        return self._pass[1]


@dataclass(eq=False)
class Leaf:
    """One part's output: `value` [3, position, d] is the output itself, 0, and `share` of it. For
    heads also `z` [head, position, d_head] and W_O's module `out`; without `out`, value is z."""

    value: Tensor
    share: float
    source: Source
    z: Tensor | None = None
    out: nn.Module | None = None
    _written: tuple[list[int], Tensor] | None = field(default=None, repr=False)

    @property
    def n_sources(self) -> int:
        return 1 if self.z is None else len(self.z)

    @property
    def sources(self) -> list[Source]:
        if self.z is None:
            return [self.source]
        heads = [replace(self.source, head=head) for head in range(len(self.z))]
        return heads if self.out is None else [*heads, BIASES]

    def times(self, slopes: Tensor, rows: list[int]) -> Tensor:
        """Each of its sources times the gradient towards it: [source, row, number]."""
        if self.z is not None and self.out is None:
            return torch.einsum("chrk,hrk->hrc", slopes, self.z[:, rows].to(slopes.dtype))
        if self._written is None or self._written[0] != rows:
            self._written = rows, self._write(rows, slopes.dtype)
        return torch.einsum("crm,srm->src", slopes, self._written[1])

    def _write(self, rows: list[int], dtype: torch.dtype) -> Tensor:
        """What each source wrote: [source, row, d]."""
        if self.z is None:
            return self.value.detach()[:1, rows].to(dtype)
        weight, bias = measured(self.out, self.z.transpose(0, 1).flatten(1))
        bias = bias.to(dtype).expand(1, len(rows), -1)
        per_head = weight.to(dtype).unflatten(0, (len(self.z), -1))
        heads = torch.einsum("hrk,hkm->hrm", self.z[:, rows].to(dtype), per_head)
        return torch.cat((heads, bias))


class _Reached(Exception):
    """Raised to end a pass that has reached what is read."""


class HeldPass(Tap):
    """One pass with frozen norms, up to a site's queries and keys or (None) to the logits."""

    records = True

    def __init__(self, network: Any, inputs: Any, anatomy: Anatomy, stop: Site | None):
        self._network, self._anatomy, self._stop = network, anatomy, stop
        self.leaves: list[Leaf] = []
        self._shares = torch.Generator().manual_seed(0)
        self.call: AttentionCall | None = None
        self.logits: Tensor | None = None
        self._z: dict[Site, Tensor] = {}
        self._last = Site("encoder", 0)
        self._not_held: list[str] = []
        self._entered: set[str] = set()
        self._place = Place(network)
        modules: list[nn.Module] = list(network.module.modules())
        hooks = [partial(hook, m, self._norm) for m in modules if is_norm(m)]
        for kind, blocks in self._place.blocks.items():
            entered = partial(self._enter, kind)
            hooks.append(partial(hook, blocks[0], entered, before=True, with_kwargs=True))
        for module in anatomy.embeddings:
            hooks.append(partial(hook, module, self._embedding))
        for module in dict.fromkeys(anatomy.outs.values()):
            hooks.append(partial(hook, module, self._out))
        for module in anatomy.writers:
            hooks.append(partial(hook, module, self._writer))
        seen = self._place.watching(*hooks)
        with together(network.tapping(self), self._more_seen(), seen), suppress(_Reached):
            self.logits = network.run(inputs.copies(3)).logits

    @property
    def n_sources(self) -> int:
        return sum(leaf.n_sources for leaf in self.leaves)

    def n_numbers(self, n_rows: int) -> int:
        """The count of all numbers written at so many positions."""
        return n_rows * sum(leaf.n_sources * leaf.value.shape[-1] for leaf in self.leaves)

    @property
    def unheld(self) -> str:
        names = sorted(set(self._not_held))
        return f", and {', '.join(names)} is not a known kind of norm" if names else ""

    def _more_seen(self) -> AbstractContextManager[Any]:
        """A context manager for what else a subclass watches in the pass."""
        return nullcontext()

    # -- hooks ----------------------------------------------------------------------------------

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        if self._place.here and (call.site or self._place.site) == self._stop:
            self.call = call
            raise _Reached
        return call

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if not self._place.here:
            return z
        if getattr(call, "part", 0):
            raise PartsError(
                f"heads of {self._network.name} return their values in several parts, so it is "
                "not known which part wrote what"
            )
        site = call.site or self._place.site
        self._place.site = Site("decoder" if site.kind == "cross" else site.kind, site.layer)
        if site in self._anatomy.outs:
            self._z[site] = z.detach()[0]
            self._last = site
            return z
        return self._leaf(z, _heads(site), z=z.detach()[0])

    def _norm(self, module: nn.Module, args: Any, output: Any) -> Tensor | None:
        if not self._place.here or not isinstance(output, Tensor) or len(output) % 3:
            return None
        x = args[0] if args else None
        if not isinstance(x, Tensor) or x.shape != output.shape:
            return None
        rows = (3, len(x) // 3, *x.shape[1:])
        found = held(module, x.reshape(rows), output.reshape(rows), room_of(x))
        if found is None:
            self._not_held.append(type(module).__name__)
            return None
        return found.reshape(output.shape)

    def _embedding(self, module: nn.Module, args: Any, output: Any) -> Tensor | None:
        if not self._place.here or not isinstance(output, Tensor) or not output.is_floating_point():
            return None
        if output.dim() != 3 or len(output) not in (1, 3):
            return None
        return self._leaf(output, Source(self._anatomy.embeddings[module]))

    def _enter(self, kind: str, block: nn.Module, args: tuple, kwargs: dict) -> Any:
        """Make what no embedding put into the first layer's input a part of its own, so that only
        what comes later counts as biases."""
        name = next((n for n in ("hidden_states", "x") if n in kwargs), "")
        x = args[0] if args else kwargs.get(name)
        if not self._place.here or kind in self._entered or not isinstance(x, Tensor):
            return None
        self._entered.add(kind)
        if x.dim() != 3 or len(x) != 3 or not bool(x[1].any()):
            return None
        rest = x.detach()[1:2]
        x = x - rest + self._leaf(rest, Source("rest"))
        return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, name: x})

    def _out(self, module: nn.Module, args: Any, output: Any) -> Any:
        if not self._place.here:
            return None
        site = self._last
        x = output.reshape(3, -1, output.shape[-1])
        return self._leaf(x, _heads(site), z=self._z.pop(site), out=module).reshape(output.shape)

    def _writer(self, module: nn.Module, args: Any, output: Any) -> Any:
        found = first_of(output)
        if not self._place.here or found is None:
            return None
        source = Source(self._anatomy.writers[module], self._place.site.layer)
        given = self._leaf(found.reshape(3, -1, found.shape[-1]), source).reshape(found.shape)
        return given if isinstance(output, Tensor) else type(output)((given, *output[1:]))

    def _leaf(self, x: Tensor, source: Source, **of_heads: Any) -> Tensor:
        """Add a leaf for the first row of x, and return its value [3, …]."""
        first = x.detach()[:1]
        share = float(torch.rand((), generator=self._shares))
        value = torch.cat((first, torch.zeros_like(first), share * first)).requires_grad_()
        self.leaves.append(Leaf(value, share, source, **of_heads))
        return value.clone()  # some models add in place

    # -- the sum --------------------------------------------------------------------------------

    def split(self, read: Tensor, rows: list[int]) -> tuple[Split, Tensor]:
        """Split read [3, position, number] at these rows by source; also return how far the sum,
        and that of the fractions, are off: [row] in fp64, the larger."""
        if not read.requires_grad:
            raise PartsError(
                f"{self._network.name} runs without gradients, so its parts cannot be computed"
            )
        at = torch.tensor(rows, device=read.device)
        chosen = read[:, at] if read.shape[1] > 1 else read.expand(-1, len(rows), -1)
        wide = torch.promote_types(read.dtype, torch.float32)
        whole, empty, shared = chosen.detach().to(wide).cpu()
        totals: dict[Source, Tensor] = {BIASES: empty.clone()}
        of_shares = empty.double()
        values, n = [leaf.value for leaf in self.leaves], read.shape[-1]
        size = max(1, CHUNK // max(1, len(rows) * sum(x.shape[-1] for x in values)))
        for start in range(0, n, size):
            some = range(start, min(n, start + size))
            slopes = _Slopes()
            for i in some:
                slopes.add(
                    torch.autograd.grad(
                        chosen[0, :, i].sum(), values, retain_graph=True, allow_unused=True
                    ),
                    at,
                )
            for number, leaf in enumerate(self.leaves):
                slope = slopes.of(number)
                if slope is None:
                    continue
                parts = leaf.times(slope.to(wide), rows).cpu()
                of_shares[:, some.start : some.stop] += leaf.share * parts.double().sum(0)
                for source, part in zip(leaf.sources, parts, strict=True):
                    total = totals.setdefault(source, torch.zeros_like(whole))
                    total[:, some.start : some.stop] += part
        biases = totals.pop(BIASES)
        sources = sorted(totals, key=in_order)
        found = torch.stack([*(totals[s] for s in sources), biases])
        off = (found.double().sum(0) - whole).norm(dim=-1)
        return Split((*sources, BIASES), found), off.maximum((of_shares - shared).norm(dim=-1))


class _Slopes:
    """Gradients of some numbers towards every leaf, at some rows; many leaves share the same."""

    def __init__(self):
        self._same: list[list[int | None]] = []  # number -> leaf -> the first with its gradient
        self._slopes: list[dict[int, Tensor]] = []
        self._stacked: dict[tuple, Tensor] = {}

    def add(self, grads: Sequence[Tensor | None], at: Tensor) -> None:
        first: dict[Any, int] = {}
        same = [
            None if g is None else first.setdefault((g.data_ptr(), g.shape, g.stride()), leaf)
            for leaf, g in enumerate(grads)
        ]
        picked: dict[int, Tensor] = {}
        for leaf in first.values():
            grad = grads[leaf]
            assert grad is not None
            picked[leaf] = grad[0][..., at, :]
        self._same.append(same)
        self._slopes.append(picked)

    def of(self, leaf: int) -> Tensor | None:
        """[number, …, row, d]; None if a number that is read does not depend on the leaf."""
        own = tuple(same[leaf] for same in self._same)
        if None in own:
            return None
        if own not in self._stacked:
            pairs = zip(self._slopes, own, strict=True)
            self._stacked[own] = torch.stack([slopes[i] for slopes, i in pairs if i is not None])
        return self._stacked[own]


def _heads(site: Site) -> Source:
    return Source("cross head" if site.kind == "cross" else "head", site.layer)


def in_order(source: Source) -> tuple[int, int, int]:
    """A key to sort by: embeddings first, then layer by layer."""
    parts = ("token", "segment", "position", "rest", "head", "cross head", "mixer", "mlp")
    layer = -1 if source.layer is None else source.layer
    return layer, parts.index(source.part), source.head or 0


def room_of(x: Tensor) -> float:
    return ROOM if x.dtype in (torch.float32, torch.float64) else ROOM_HALF


@sheltered
def with_grad() -> Iterator[None]:
    with torch.inference_mode(False), torch.enable_grad():
        yield

"""Recover heads' effective weights by probing them with every other component zeroed.

Circuits are read off weights: of one layer with nothing before it, and of what is written with only
norms after it. Here they are what the model's own code gives on texts of one token, in which no
other attention or mlp runs, and each adds 0. So fused projections, shared key heads, biases,
adapters, rotary schemes, multipliers and norms in any position are the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..attention import Site
from .frozen_norms import LinearNorm, is_norm
from .hooks import Hook, hook, hooked
from .interrupts import no_grad, together
from .linear import effective_weight, whole
from .probe_passes import (
    Continuation,
    Reached,
    Reading,
    Until,
    all_of,
    instead,
    is_biased,
    replaced,
    with_stream,
)
from .rotary import paired
from .sources import PartsError
from .stream_writers import Anatomy, Place, first_of

ROWS = 4096  # texts at once
FAR = 64  # tokens, after which all but the slowest of rotary pairs have turned


class VectorProbe:
    """Probes a network's heads with vectors that are alone in the stream.

    Args:
        network: a `Network` whose blocks are known.
        text: makes the network's inputs: text(tokens, target), ids [batch, position].

    Raises:
        PartsError: if its blocks are unknown.
    """

    def __init__(self, network: Any, text: Callable[..., Any]):
        if not network.blocks():
            raise PartsError(
                f"the layers of {network.name} were not found, so its circuits cannot be "
                "computed; in a tl.Network of your own, return them from `blocks`"
            )
        self.network, self._text = network, text
        self._both = network.kind == "encoder-decoder"
        self._anatomy = Anatomy(network, self._texts(1, 1))
        self._given: dict[nn.Module, Any] = {}  # outputs of the modules to be zeroed, from one pass
        self._tables: dict[str, Tensor] = {}
        parts = {*self._anatomy.attention.values(), *self._anatomy.writers}
        with hooked(*(partial(hook, module, self._remember) for module in parts)):
            self._go(self._texts(1, 1))

    def _remember(self, module: nn.Module, args: Any, output: Any) -> None:
        self._given.setdefault(module, output)

    # -- what a layer reads -----------------------------------------------------------------------

    def embedded(self, kind: str) -> Tensor:
        """Every token as it enters the first layer, without position: fp32 [vocab, d_model]."""
        if kind not in self._tables:
            n = self.network.vocabulary[1 if kind == "decoder" and self._both else 0]
            if n is None:
                raise PartsError(
                    f"the vocabulary size of {self.network.name} is not known, so it has no "
                    "circuits between tokens; in a tl.Network of your own, return it from "
                    "`vocabulary`"
                )
            ids = torch.arange(n, device=self.network.device)[:, None]
            self._tables[kind] = torch.cat([self._embed(kind, some) for some in ids.split(ROWS)])
        return self._tables[kind]

    def table(self, kind: str) -> Tensor:
        """The token embeddings as they were learned, if they are found; else `embedded`."""
        like = self.embedded(kind)
        found = [m for m, part in self._anatomy.embeddings.items() if part == "token"]
        weights = [getattr(m, "weight", None) for m in found]
        fits = [w for w in weights if isinstance(w, Tensor) and w.shape == like.shape]
        return fits[-1 if kind == "decoder" else 0].detach().float() if fits else like

    @property
    def leaves_positions_out(self) -> bool:
        """Whether it has position embeddings, which a token alone does not have."""
        return "position" in self._anatomy.embeddings.values()

    def _embed(self, kind: str, ids: Tensor) -> Tensor:
        found: list[Tensor] = []

        def seen(x: Tensor) -> Tensor:
            found.append(x[:, 0])
            raise Reached

        given = torch.zeros_like(ids) if kind == "decoder" and self._both else ids
        with self._running(len(ids), 1, into={Site(kind, 0): seen}, positions=False):
            self._go(self._text(given, ids if self._both else None))
        if not found or found[0].dim() != 2:
            raise PartsError(
                f"the input of the first layer of {self.network.name} could not be recorded, so "
                "its circuits cannot be computed"
            )
        return found[0].float()

    @property
    def one_vocabulary(self) -> bool:
        """Whether encoder and decoder share one token embedding."""
        found = [m for m, part in self._anatomy.embeddings.items() if part == "token"]
        weights = [getattr(m, "weight", None) for m in found]
        return len({w.data_ptr() for w in weights if isinstance(w, Tensor)}) < 2

    def reading(
        self, kind: str, layer: int, streams: Tensor, n: int = 1, side: str = "query"
    ) -> Reading:
        """Queries, keys and values of streams [m, d_model], each at all n positions of its own
        text. For "cross" the streams are the decoder's, which make queries, or (side "key") the
        encoder's, which make keys and values."""
        parts = [
            self._read(kind, layer, some, n, side=side) for some in streams.split(max(1, ROWS // n))
        ]
        return Reading(
            torch.cat([part.query for part in parts]),
            torch.cat([part.key for part in parts]),
            torch.cat([part.value for part in parts]),
            parts[0].scale,
            parts[0].biased,
        )

    def read_by(self, kind: str, layer: int, streams: Tensor) -> Tensor:
        """The input of attention for streams [m, d_model], after the norm before it; for "cross"
        that of its keys and values."""
        site, found = Site(kind, layer), []

        def seen(x: Tensor) -> Tensor:
            found.append(x[:, -1].float())
            raise Reached

        for some in streams.split(ROWS):
            into = {_given(site, "key"): all_of(some)}
            with self._running(len(some), 1, into=into, live=site, attended=seen):
                self._go(self._texts(len(some), 1))
        if not found:
            raise PartsError(
                f"the input of {kind} layer {layer} of {self.network.name} could not be recorded, "
                "so its circuits cannot be computed"
            )
        return torch.cat(found)

    def value_bias(self, kind: str, layer: int) -> Tensor:
        """The values of a stream that is zero after the norm: [kv_head, d_head]."""
        like = self.embedded("decoder" if kind == "cross" else kind)[:1]
        return self._read(kind, layer, like, 1, attended=torch.zeros_like).value[0]

    def _read(
        self, kind: str, layer: int, streams: Tensor, n: int, *, side: str = "query", **more: Any
    ) -> Reading:
        site, tap = Site(kind, layer), Until(Site(kind, layer))
        into = {_given(site, side): all_of(streams)}
        run = self._running(len(streams), n, into=into, live=site, **more)
        with self.network.tapping(tap), run:
            self._go(self._texts(len(streams), n))
        call = tap.call
        if call is None or call.value is None or call.query.shape[-1] == 0:
            raise PartsError(
                f"the queries and keys of {kind} layer {layer} of {self.network.name} could not "
                "be recorded, so its circuits cannot be computed"
            )
        query, key, value = (x[:, :, -1].float() for x in (call.query, call.key, call.value))
        return Reading(query, key, value, call.scale, is_biased(call.bias))

    def turn(self, kind: str, layer: int, head: int, distance: int) -> Tensor | None:
        """The matrix [d_head, d_head] that, on its right, turns a query into the query `distance`
        positions later; None if nothing changes.

        Raises:
            PartsError: if it is not linear.
        """
        table = self.embedded(kind)
        d_head = self.reading(kind, layer, table[:1]).query.shape[-1]
        generator = torch.Generator().manual_seed(0)
        streams = torch.randn(4 * d_head, table.shape[1], generator=generator).to(table)
        places = [self.reading(kind, layer, streams, n).query[:, head] for n in (1, distance + 1)]
        here, there = (x.double().cpu() for x in places)
        if torch.allclose(here, there, rtol=1e-4, atol=1e-5):
            return None
        found = torch.linalg.lstsq(here, there).solution
        if float((here @ found - there).norm()) > 1e-3 * float(there.norm()):
            raise PartsError(
                f"the positions of {self.network.name} do more than rotate its queries, so its "
                f"circuits are known for distance=0 only, got distance={distance}"
            )
        return found.float()

    def pairs(self, kind: str, layer: int, head: int) -> Tensor | None:
        """Which dimensions of a head's queries turn together when text comes before them: int64
        [d_head], the number of each one's pair; a dimension that stays has a number of its own. None
        if positions turn nothing, or not in pairs (of halves, or of neighbours)."""
        n = self.network.n_ctx or FAR
        first = torch.zeros(1, 1, dtype=torch.long, device=self.network.device)
        like = self._embed(kind, first)
        generator = torch.Generator().manual_seed(0)
        streams = torch.randn(4, like.shape[1], generator=generator).to(like)
        places = [
            self.reading(kind, layer, streams, at).query[:, head].double().cpu()
            for at in sorted({1, min(2, n), min(FAR, n)})
        ]
        return paired(torch.stack(places))

    def weights(self, kind: str, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """W_Q, W_K, W_V: fp32 [head, d_model, d_head], for the input of attention itself; shared
        heads once. Norms of queries and keys multiply by their gain only."""
        table = self.embedded(kind)
        width = self.read_by(kind, layer, table[:1]).shape[-1]
        rows = torch.cat((torch.eye(width), torch.zeros(1, width))).to(table)
        like = table[:1].expand(len(rows), -1)
        found = self._read(kind, layer, like, 1, attended=all_of(rows), gains=True)
        q, k, v = ((x[:-1] - x[-1:]).transpose(0, 1).cpu() for x in found[:3])
        return q, k, v

    def out(self, kind: str, layer: int) -> Tensor:
        """W_O: fp32 [head · d_head, d_model].

        Raises:
            PartsError: if it is unknown.
        """
        module = self._anatomy.outs.get(Site(kind, layer))
        weight = None if module is None else effective_weight(module)
        if weight is None:
            raise PartsError(
                f"W_O of {kind} layer {layer} of {self.network.name} was not found, so what its "
                "heads write cannot be computed"
            )
        # A copy: FSDP frees the memory of whole weights after the next pass.
        return whole(weight).float().cpu().clone()

    # -- the effect of what is written ------------------------------------------------------------

    def onward(self, kind: str, layer: int, rows: Tensor, into: Sequence[int] = ()) -> Continuation:
        """The effect of rows [n, d_model] that a layer's attention adds. The norms after it apply
        their gain and centring only: their scale is left out."""
        site, stack = Site(kind, layer), "decoder" if kind == "cross" else kind
        last = len(self.network.layers(stack)) - 1
        read: dict[int, Tensor] = {}
        after: list[Tensor] = []

        def seen(later: int, x: Tensor) -> Tensor:
            read[later] = x[:, -1].float().cpu()
            return x

        # Two more rows: zeros, to be subtracted, and a mixture, which shows whether it is linear.
        mix = torch.rand(len(rows), generator=torch.Generator().manual_seed(0)).to(rows)
        rows = torch.cat((rows, torch.zeros_like(rows[:1]), mix[None] @ rows))
        run = self._running(
            len(rows),
            1,
            into={Site(stack, 0): torch.zeros_like},
            written=(site, rows),
            gains=True,
            seen={Site(kind, i): partial(seen, i) for i in into},
            after=(Site(stack, last), after),
        )
        with run:
            output = self._go(self._texts(len(rows), 1))
        if not after or len(read) < len(into):
            raise PartsError(
                f"the output after {kind} layer {layer} of {self.network.name} could not be "
                "recorded, so the effect of what its heads write cannot be computed"
            )
        logits = None if output is None or output.logits is None else output.logits
        mix = mix.cpu()
        return Continuation(
            {i: self._linear(x, mix) for i, x in read.items()},
            self._linear(after[-1][:, -1].float().cpu(), mix),
            None if logits is None else (logits[:-2, -1] - logits[-2:-1, -1]).float().cpu(),
        )

    def _linear(self, x: Tensor, mix: Tensor) -> Tensor:
        """The results of rows, minus those of zeros.

        Raises:
            PartsError: if the result of the mixture is not the mixture of the results.
        """
        found = x[:-2] - x[-2]
        off = (mix @ found - (x[-1] - x[-2])).norm()
        dtype = next((w.dtype for w in self.network.module.parameters()), torch.float32)
        rounded = 4 * torch.finfo(dtype).eps if dtype.is_floating_point else 0.0
        if float(off) > max(1e-3, rounded) * float((x[-1] - x[-2]).norm()):
            raise PartsError(
                "there are more than norms and linear layers between the layers of "
                f"{self.network.name}, so the effect of one head's output cannot be computed on "
                "its own"
            )
        return found

    # -- one pass -----------------------------------------------------------------------------------

    def _texts(self, n: int, length: int) -> Any:
        ids = torch.zeros(n, length, dtype=torch.long, device=self.network.device)
        return self._text(ids, ids if self._both else None)

    def _go(self, inputs: Any) -> Any:
        try:
            with no_grad():
                return self.network.run(inputs)
        except Reached:
            return None
        except (RuntimeError, IndexError, TypeError, AttributeError) as error:
            first = str(error).strip().partition("\n")[0]
            raise PartsError(
                f"{self.network.name} does not run with the output of all parts but one set to "
                f"zero ({first})"
            ) from error

    def _running(
        self,
        n: int,
        length: int,
        *,
        into: dict[Site, Callable[[Tensor], Tensor]],
        live: Site | None = None,
        attended: Callable[[Tensor], Tensor] | None = None,
        written: tuple[Site, Tensor] | None = None,
        seen: dict[Site, Callable[[Tensor], Tensor]] | None = None,
        after: tuple[Site, list[Tensor]] | None = None,
        gains: bool = False,
        positions: bool = True,
    ) -> AbstractContextManager[None]:
        """While open, every module that writes returns 0, except the attention of `live`.

        Args:
            into: replaces the input of a site's layer.
            attended: replaces the input of `live`'s attention.
            written: a site, and what its attention writes.
            seen: receives, and may replace, the input of attention at these sites.
            after: a site, and a list that receives the stream after its layer.
            gains: norms multiply by their gain and centre, and do nothing else.
            positions: whether position embeddings are added.
        """
        anatomy, place = self._anatomy, Place(self.network)
        reads = dict(seen or {})
        if live is not None and attended is not None:
            reads[live] = attended
        wrote = None if written is None else written[1][:, None]

        def is_at(site: Site | None) -> bool:
            return site is not None and place.here and place.site == _standing(site)

        def change(block: nn.Module, args: tuple, kwargs: dict) -> Any:
            if not place.here or place.site not in into:
                return None
            return with_stream(args, kwargs, into[place.site])

        def changed(module: nn.Module, args: tuple, kwargs: dict) -> Any:
            for site, make in reads.items():
                if is_at(site) and anatomy.attention.get(site, module) is module:
                    return with_stream(args, kwargs, make, 1 if site.kind == "cross" else 0)
            return None

        def silent(module: nn.Module, attends: bool) -> Callable[..., Any]:
            run, holds_out = (
                module.forward,
                bool(set(module.modules()) & set(anatomy.outs.values())),
            )

            def forward(*args: Any, **kwargs: Any) -> Any:
                at_live = live is not None and attends and is_at(live)
                if not place.here or (at_live and anatomy.attention.get(live) is module):  # type: ignore[arg-type]
                    return run(*args, **kwargs)
                own = attends and holds_out and written is not None
                here = own and anatomy.attention.get(written[0]) is module  # type: ignore[index]
                mine = here and written is not None and is_at(written[0])
                return instead(self._given[module], n, length, wrote if mine else None)

            return forward

        def norm(module: nn.Module, args: tuple, output: Any) -> Any:
            if not place.here or not gains or not args or not isinstance(output, Tensor):
                return None
            try:
                return LinearNorm(module, args[0][:1]).without_scale(args[0])
            except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
                return None  # not a norm of this kind; `_linear` notices if it is not linear

        def out(module: nn.Module, args: tuple, output: Tensor) -> Any:
            if not place.here or live is not None:
                return None
            mine = written is not None and is_at(written[0])
            mine = mine and anatomy.outs.get(written[0]) is module  # type: ignore[index]
            return wrote.to(output) if mine and wrote is not None else torch.zeros_like(output)

        def ended(block: nn.Module, args: tuple, output: Any) -> None:
            found = first_of(output)
            if place.here and after is not None and place.site == after[0] and found is not None:
                after[1].append(found)

        def nowhere(module: nn.Module, args: tuple, output: Tensor) -> Any:
            return torch.zeros_like(output) if place.here else None

        hooks: list[Callable[[], Hook]] = []
        for block in {b for blocks in place.blocks.values() for b in blocks}:
            hooks.append(partial(hook, block, change, before=True, with_kwargs=True))
            hooks.append(partial(hook, block, ended))
        attention = set(anatomy.attention.values())
        for module in attention:
            hooks.append(partial(hook, module, changed, before=True, with_kwargs=True))
        for module in set(anatomy.outs.values()):
            hooks.append(partial(hook, module, out))
        for module in self.network.module.modules():
            if gains and is_norm(module):
                hooks.append(partial(hook, module, norm))
        for module, part in anatomy.embeddings.items():
            if not positions and part == "position":
                hooks.append(partial(hook, module, nowhere))
        quiet = [
            replaced(module, silent(module, module in attention))
            for module in {*attention, *anatomy.writers}
        ]
        return together(place.watching(*hooks), *quiet)


def _standing(site: Site) -> Site:
    """The layer that a thread is in while this attends: cross-attention is in the decoder's."""
    return Site("decoder", site.layer) if site.kind == "cross" else site


def _given(site: Site, side: str) -> Site:
    """The layer whose stream becomes this attention's queries, or its keys and values: those of
    cross-attention come through the whole encoder."""
    return Site("encoder", 0) if site.kind == "cross" and side == "key" else _standing(site)

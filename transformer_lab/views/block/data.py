"""The numbers of one token's way through one block."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from torch import Tensor, zeros

from ...adapters.interrupts import no_grad, together
from ...adapters.stream_writers import adds_positions
from ...analysis.circuits import logit_lens
from ...analysis.circuits.block_walk import BlockRun, BlockSteps, block_run, block_steps
from ...analysis.circuits.sources import inputs_of
from ...edits.constructors import ablate
from ...edits.interventions import edit
from ...graphs import analyses
from ...tracing.trace import TraceError
from ..shared.codecs import pack_floats, shown_text, shown_token
from ..shared.selection import sizes_of

if TYPE_CHECKING:
    from ...tracing.trace import Trace

TOP = 8  # answers that are shown
ROWS = 64  # tokens whose numbers one pass of the model keeps
SHOWN_KEYS = 14  # keys whose vectors are sent: those with most weight


def walk_name(kind: str, layer: int, head: int, position: int) -> str:
    return f"walk/{kind}/{layer}/{head}/{position}"


class BlockData:
    """The blocks of one text of a trace."""

    def __init__(self, trace: Trace, batch: int = 0):
        self.trace, self.batch = trace, batch
        self.own = tuple(kind for kind in trace.kinds if kind != "cross")
        self.tokens = {k: [shown_token(x) for x in trace.query_tokens(k, batch)] for k in self.own}
        self.positions = trace.network is not None and adds_positions(trace.network)
        # On each view, not on the class: it must not keep traces alive.
        self.walk = lru_cache(64)(self._walk)
        self._lens = lru_cache(64)(self._lens_of)
        self._run = lru_cache(2)(self._run_of)
        self._without = lru_cache(64)(self._without_head)

    def kinds(self) -> dict[str, dict[str, Any]]:
        """What the browser needs to know about each kind of block."""
        sizes = sizes_of(self.trace)
        return {
            kind: {**sizes[kind], "tokens": tokens, "positions": self.positions}
            for kind, tokens in self.tokens.items()
        }

    def part(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        """The walk with this name, through the nearest layer that has heads.

        Raises:
            ValueError: if there is none.
        """
        what, *where = name.split("/")
        if what != "walk" or len(where) != 4 or where[0] not in self.own:
            raise ValueError(f"this view has no {name!r}")
        kind, (layer, head, position) = where[0], map(int, where[1:])
        n = len(self.tokens[kind])
        if not 0 <= position < n:
            raise ValueError(f"position={position} is outside the {n} tokens (0 … {n - 1})")
        layer = min(self.trace.attending(kind), key=lambda having: abs(having - layer))
        info, data = self.walk(kind, layer, head, position)
        return info, [data]

    def _walk(
        self, kind: str, layer: int, head: int, position: int
    ) -> tuple[dict[str, Any], bytes]:
        run = lambda kind, layer, position: self._run(kind, layer, position // ROWS)  # noqa: E731
        where = (self.trace, layer, head, position)
        steps = block_steps(*where, kind=kind, batch=self.batch, run=run)
        return packed(steps, self._predictions(steps))

    def _run_of(self, kind: str, layer: int, part: int) -> BlockRun:
        rows = range(part * ROWS, (part + 1) * ROWS)
        return block_run(self.trace, layer, rows, kind, self.batch)

    def _predictions(self, steps: BlockSteps) -> dict[str, Any]:
        """`lens`: what the stream after this block would predict, and `final` what the model
        predicts, pairs (token, probability), likeliest first; `without`: the probability of the
        model's first answer with this head ablated; `why` these are missing."""
        none = dict(lens=[], final=[], without=None)
        if steps.kind == "encoder" and "decoder" in self.trace.kinds:
            return dict(none, why="the encoder of an encoder-decoder predicts no tokens")
        try:
            lens = self._lens(steps.position)
        except TraceError as error:
            return dict(none, why=shown_text(str(error)))
        layers = self.trace.n_layers(steps.kind)
        named = lambda row: [(shown_token(n), p) for n, p in lens.top(row, 0)]  # noqa: E731
        chance = self._without(steps.kind, steps.layer, steps.head)
        if chance is not None:
            chance = float(chance[steps.position, lens.tokens[layers, 0, 0]])
        return dict(lens=named(steps.layer + 1), final=named(layers), without=chance, why="")

    def _lens_of(self, position: int) -> Any:
        return logit_lens(self.trace, k=TOP, positions=[position], batch=self.batch)

    def _without_head(self, kind: str, layer: int, head: int) -> Tensor | None:
        """Probabilities with this head ablated, [position, vocab]."""
        trace, network = self.trace, self.trace.network
        if network is None:
            return None
        with together(no_grad(), edit(network, ablate(layer, head, kind=kind), this_thread=True)):
            logits = network.run(inputs_of(trace, self.batch)).logits
        return None if logits is None else logits[0].float().softmax(-1).cpu()


def packed(s: BlockSteps, predictions: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The numbers of a walk, with its `walk_facts`, and their `sizes`; `shown`: the keys whose
    vectors are among them."""
    hidden = zeros(1) if s.hidden is None else s.hidden
    row = (s.dots, s.scaled, s.weights, s.scores, s.bias, s.values, s.z[s.head])
    facts = analyses.walk_facts(*row, s.stream, s.out, hidden)
    shown = sorted(s.weights.argsort(descending=True, stable=True)[:SHOWN_KEYS].tolist())
    every: dict[str, Any] = vars(s) | {"scores": s.scores, "shares": facts.pop("shares")}
    every |= {"keys": s.keys[shown], "parts": facts.pop("parts")[shown], "values": None}
    numbers = {name: x for name, x in sorted(every.items()) if isinstance(x, Tensor)}
    info = {name: x for name, x in every.items() if name not in numbers} | predictions
    info |= {name: None if x.isinf() else x.item() for name, x in facts.items()}
    info |= {"shown": shown, "sizes": {name: list(x.shape) for name, x in numbers.items()}}
    return info, b"".join(map(pack_floats, numbers.values()))

"""Data for the browser about one token's way through one block."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...adapters.interrupts import no_grad, together
from ...adapters.stream_writers import adds_positions
from ...analysis.circuits import logit_lens
from ...analysis.circuits.block_walk import BlockRun, BlockSteps, block_run, block_steps
from ...analysis.circuits.sources import inputs_of
from ...edits.constructors import ablate
from ...edits.interventions import edit
from ...tracing.trace import TraceError
from ..shared.codecs import pack_floats, shown_text, shown_token
from .stages import Stage, shown_keys, stages_of

if TYPE_CHECKING:
    from ...tracing.trace import Trace

TOP = 8  # answers that are shown
ROWS = 64  # tokens whose numbers one pass of the model keeps
PAGE_BYTES = 8 * 2**20  # limit on other tokens and heads in a saved page
BESIDE_MODEL = 2**19  # the same for a page that embeds the model and computes the rest


@dataclass(frozen=True)
class Walk:
    """The stages of one token and one head, and the same for the browser: info and numbers."""

    stages: list[Stage]
    keys: list[int]
    info: dict[str, Any]
    data: bytes


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
        return {
            kind: {
                "layers": self.trace.n_layers(kind),
                "heads": self.trace.n_heads(kind),
                "queries": len(tokens),
                "keys": len(tokens),
                "tokens": tokens,
                "positions": self.positions,
            }
            for kind, tokens in self.tokens.items()
        }

    def with_heads(self, kind: str, layer: int) -> int:
        """The layer, or the nearest one that has heads."""
        return min(self.trace.attending(kind), key=lambda having: abs(having - layer))

    def _walk(self, kind: str, layer: int, head: int, position: int) -> Walk:
        run = lambda kind, layer, position: self._run(kind, layer, position // ROWS)  # noqa: E731
        where = (self.trace, layer, head, position)
        steps = block_steps(*where, kind=kind, batch=self.batch, run=run)
        stages = stages_of(steps, self._around(steps))
        return packed(steps, stages)

    def _run_of(self, kind: str, layer: int, part: int) -> BlockRun:
        rows = range(part * ROWS, (part + 1) * ROWS)
        return block_run(self.trace, layer, rows, kind, self.batch)

    def _around(self, steps: BlockSteps) -> dict[str, Any]:
        """The text and the predictions, as `stages_of` takes them."""
        layers = self.trace.n_layers(steps.kind)
        around: dict[str, Any] = dict(
            tokens=self.tokens[steps.kind], last=steps.layer == layers - 1, positions=self.positions
        )
        around |= dict(here="decoder" not in self.trace.kinds, lens=[], final=[], without=None)
        if steps.kind == "encoder" and "decoder" in self.trace.kinds:
            return dict(around, why="the encoder of an encoder-decoder predicts no tokens")
        try:
            lens = self._lens(steps.position)
        except TraceError as error:
            return dict(around, why=shown_text(str(error)))
        named = lambda row: [(shown_token(n), p) for n, p in lens.top(row, 0)]  # noqa: E731
        around |= dict(lens=named(steps.layer + 1), final=named(layers), why="")
        chance = self._without(steps.kind, steps.layer, steps.head)
        if chance is not None:
            around["without"] = float(chance[steps.position, lens.tokens[layers, 0, 0]])
        return around

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


def packed(steps: BlockSteps, stages: list[Stage]) -> Walk:
    """Pack stages for the browser; offsets count floats, non-finite numbers become null."""
    keys, data, size = shown_keys(steps), [], 0

    def put(x: Tensor) -> int:
        nonlocal size
        data.append(pack_floats(x.float().contiguous()))
        size += x.numel()
        return size - x.numel()

    described = []
    for stage in stages:
        one: dict[str, Any] = {
            n: getattr(stage, n) for n in ("name", "tab", "title", "formula", "sentence", "answers")
        }
        one["vectors"] = [
            {"name": v.name, "at": put(v.values), "n": len(v.values), "chosen": v.chosen}
            for v in stage.vectors
        ]
        columns = stage.columns
        numbers = [[_finite(x) for x in column[keys].tolist()] for column in columns.values()]
        beside = None
        if stage.beside is not None:
            name, vectors = stage.beside
            beside = {"name": name, "n": vectors.shape[1], "at": put(vectors[keys])}
        table = {"columns": list(columns), "numbers": numbers, "vectors": beside}
        one["keys"] = table if columns else None
        described.append(one)
    info: dict[str, Any] = {"kind": steps.kind, "layer": steps.layer, "head": steps.head}
    info |= {"position": steps.position, "shown": keys, "all": len(steps.weights)}
    info |= {"stages": described, "rest": float(steps.weights.sum() - steps.weights[keys].sum())}
    return Walk(stages, keys, info, b"".join(data))


def _finite(x: float) -> float | None:
    return x if abs(x) < float("inf") else None

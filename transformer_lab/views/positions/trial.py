"""What a model's heads do when its text is moved, or its words are shuffled."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ...model import Transformer
from ...positions import Moved, PositionModule
from ...tracing.running import trace
from ...tracing.trace import Trace
from ..shared.codecs import pack_floats, shown_token
from ..shared.javascript import call
from ..shared.modules import VIEWS

LONGEST = 32  # most tokens of a text that is moved and shuffled
MAPS_BYTES = 6 * 2**20
MOVES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHUFFLES = 5


@dataclass(frozen=True)
class Trial:
    """Maps [layer, head, query, key] of one model on one text.

    `changes[variant][test]` are pairs (maps, largest change of the output); the first move is by 0.
    Variant "own" is the model as it is, "none" the model without positions.
    """

    trace: Trace
    kind: str
    shifts: tuple[int, ...]
    orders: tuple[tuple[int, ...], ...]
    changes: dict[str, dict[str, list[tuple[Tensor, float | None]]]]

    def described(self) -> dict[str, Any]:
        """What the browser needs to know besides the maps."""
        return {
            "shifts": list(self.shifts),
            "orders": [list(order) for order in self.orders],
            "changes": {
                variant: {
                    test: [{"output": output} for _, output in states]
                    for test, states in tests.items()
                }
                for variant, tests in self.changes.items()
            },
        }

    def packed(self) -> bytes:
        """The maps, fp32, in the order of `described`."""
        return b"".join(
            pack_floats(maps)
            for tests in self.changes.values()
            for states in tests.values()
            for maps, _ in states
        )


def tried(model: Transformer, tokens: Tensor, labels: Sequence[str], special: Sequence[bool]):
    """Move and shuffle one text in a model, as a `Trial`.

    Args:
        tokens: int64 [position]; labels: one for each; special: whether it is a token such as
            [CLS], which keeps its position when words are shuffled.

    Raises:
        ValueError: if the text has fewer than two words or more than 32 tokens.
    """
    n = len(tokens)
    words = [i for i, out in enumerate(special) if not out]
    if n > LONGEST or len(words) < 2:
        raise ValueError(
            f"text has {n} tokens; give from 2 words up to {LONGEST} tokens, for every head's map "
            "is kept before and after"
        )
    config = model.config
    kind = "decoder" if config.kind == "decoder" else "encoder"
    layers = config.n_layers
    a_map = 4 * layers * config.n_heads * n * n
    states = max(4, MAPS_BYTES // a_map)
    shifts = [by for by in MOVES if by + n <= config.n_ctx][: max(1, states // 4)]
    shuffles = min(SHUFFLES, max(1, states // 5))
    orders = [_with_special(_permutation(len(words), i), words, n) for i in range(shuffles)]

    def run(positions: nn.Module, order: Sequence[int] | None = None) -> tuple[Trace, Tensor]:
        ids = tokens if order is None else tokens[list(order)]
        clone = _with_positions(model, positions)
        target = ids[:1] * 0 if config.kind == "encoder-decoder" else None
        names = list(labels) if order is None else [labels[i] for i in order]
        found = trace(clone, ids, target, labels=names, keep="maps")
        return found, found.patterns(kind=kind).cpu()

    own, none = model.positions, PositionModule()
    variants = {"own": own} if config.positions.name == "none" else {"own": own, "none": none}
    seen: Trace | None = None
    changes = {}
    for variant, positions in variants.items():
        first, before = run(positions)
        seen = seen or first
        moved: list[tuple[Tensor, float | None]] = [(before, 0.0)]
        for by in shifts if variant == "own" else ():
            after, maps = run(Moved(own, by))
            moved.append((maps, _difference(first, after, None)))
        shuffled = []
        for order in orders:
            after, maps = run(positions, order)
            shuffled.append((maps, _difference(first, after, order)))
        changes[variant] = {"move": moved, "shuffle": shuffled}
    assert seen is not None
    return Trial(seen, kind, (0, *shifts), tuple(orders), changes)


def _with_special(order: Sequence[int], words: Sequence[int], n: int) -> tuple[int, ...]:
    whole = list(range(n))
    for place, source in zip(words, order, strict=True):
        whole[place] = words[source]
    return tuple(whole)


def _with_positions(model: Transformer, positions: nn.Module) -> Transformer:
    """A model with the same weights and other positions; the model itself is unchanged."""
    clone = copy.copy(model)
    # Setting the attribute would change the model too, since both share the dict of modules.
    vars(clone)["_modules"] = {**vars(model)["_modules"], "positions": positions}
    return clone


def _difference(first: Trace, after: Trace, order: Sequence[int] | None) -> float | None:
    """The largest change of a logit, word by word; None without logits, or with a target."""
    if first.logits is None or after.logits is None or first.target is not None:
        return None
    a, b = first.logits[0], after.logits[0]
    a = a if order is None else a[list(order)]
    return float((a - b).abs().max())


def _permutation(count: int, which: int) -> list[int]:
    """The source of each word of a shuffled sentence: the same as of the head with random queries."""
    return call(VIEWS / "positions" / "math.js", "permutation", count, which)


def token_names(labels: Sequence[str]) -> list[str]:
    return [shown_token(label) for label in labels]

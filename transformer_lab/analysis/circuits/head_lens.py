"""The logit lens of every head: what its output adds to the logits of some tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...tracing.trace import Trace, TraceError
from .attribution import logit_attribution


@dataclass(frozen=True, eq=False)
class HeadLens:
    """What each head adds to the logits of `tokens` at `position`: `values` [layer, head, token];
    NaN for a head that a layer does not have.

    The values of all heads and `rest` [token], which is what everything else adds, sum to `logits`
    [token], before any softcap.
    """

    tokens: tuple[int, ...]
    position: int
    values: Tensor = field(repr=False)
    rest: Tensor = field(repr=False)
    logits: Tensor = field(repr=False)
    name: Callable[[int], str] = field(repr=False, default=str)

    def of(self, token: int, against: int | None = None) -> Tensor:
        """Return the values for one of the tokens, [layer, head]; or how far each head lifts it
        above another.

        Raises:
            ValueError: for a token that is not in this lens.
        """
        for asked in (token, against):
            if asked is not None and asked not in self.tokens:
                known = ", ".join(map(str, self.tokens))
                raise ValueError(
                    f"token must be one of those that this lens was made for ({known}), got {asked}"
                )
        found = self.values[..., self.tokens.index(token)]
        return found if against is None else found - self.values[..., self.tokens.index(against)]

    def top(self, token: int, k: int = 5) -> list[tuple[int, int, float]]:
        """The (layer, head, value) that change a token's logit most, either way, largest first."""
        flat = self.of(token).flatten()
        order = flat.abs().nan_to_num(-1.0).argsort(descending=True, stable=True).tolist()[:k]
        width = self.values.shape[1]
        return [(i // width, i % width, float(flat[i])) for i in order if not bool(flat[i].isnan())]


def head_lens(
    trace: Trace,
    tokens: int | Sequence[int] | None = None,
    position: int = -1,
    *,
    k: int = 3,
    kind: str | None = None,
    batch: int = 0,
) -> HeadLens:
    """Return what every head's output adds to the logits of chosen tokens, through the final norm,
    held at its actual scale, and the unembedding: direct paths only, see `logit_attribution`.

    Args:
        tokens: a token id, or several; by default the k most likely at the position.
        position: in the text (for an encoder-decoder, in the target).
        kind: "cross" for the heads of cross-attention.

    Raises:
        ValueError, TraceError: as `logit_attribution`.

    Source: nostalgebraist 2020; Elhage et al. 2021.
    """
    if trace.logits is None:
        raise TraceError(f"{trace.model_name} has no head that predicts tokens")
    own = "decoder" if "decoder" in trace.kinds else "encoder"
    if kind not in (None, own, "cross") or (kind == "cross" and "cross" not in trace.kinds):
        raise ValueError(
            f"kind={kind!r} does not write into the stream that the logits read; leave it out"
        )
    kind = kind or own
    if tokens is None:
        n = trace.logits.shape[1]
        if not -n <= position < n:
            raise ValueError(f"position={position} is outside the {n} tokens (−{n} … {n - 1})")
        asked = trace.logits[trace.text(batch), position].topk(k).indices.tolist()
    else:
        asked = [tokens] if isinstance(tokens, int) else [int(token) for token in tokens]
    if not asked:
        raise ValueError("tokens must hold at least one token id, got []")
    part = "cross head" if kind == "cross" else "head"
    values = torch.full((trace.n_layers(kind), trace.n_heads(kind), len(asked)), float("nan"))
    logits, rest = [], []
    for i, token in enumerate(asked):
        found = logit_attribution(trace, token, position, batch=batch)
        whole, others = found.values.double().sum(), 0.0
        for source, value in zip(found.sources, found.values.double(), strict=True):
            if source.part == part and not source.stack and source.layer is not None:
                values[source.layer, int(source.head or 0), i] = value
            else:
                others += float(value)
        logits.append(float(whole))
        rest.append(others)
        position = found.position
    return HeadLens(
        tuple(asked), position, values, torch.tensor(rest), torch.tensor(logits), trace.name_token
    )

"""Direct logit attribution: one logit as the sum of what each part of the model wrote."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...adapters.sources import Source
from ...tracing.gradients import as_token_id
from ...tracing.trace import Trace, TraceError
from .sources import MISSING, parts_of, precise


@dataclass(frozen=True, eq=False)
class LogitAttribution:
    """One logit, split by source.

    `values` [source] sum to `logit`: the logit of `token` at `position`, less that of `against` if
    given. `model_logit` is what the model computed: the same but for a softcap, which squeezes the
    sum afterwards.
    """

    token: int
    against: int | None
    position: int
    sources: tuple[Source, ...]
    values: Tensor = field(repr=False)
    softcap: float | None
    model_logit: float

    @property
    def logit(self) -> float:
        return float(self.values.double().sum())

    def ranked(self, n: int | None = None) -> list[tuple[str, float]]:
        """The sources, largest part first, by size."""
        order = self.values.abs().argsort(descending=True, stable=True).tolist()[:n]
        return [(self.sources[i].name, float(self.values[i])) for i in order]


def logit_attribution(
    trace: Trace,
    token: int | None = None,
    position: int = -1,
    *,
    against: int | None = None,
    batch: int = 0,
) -> LogitAttribution:
    """Return the direct logit attribution: what the embeddings, every head and every MLP add to one
    logit, each through the final norm (held at its actual scale) and the unembedding. "biases" are
    those of all layers, of the norm and of the head.

    Only the direct path counts: that a head feeds a later one does not show here.
    Source: Elhage et al. 2021; Wang et al. 2022.

    Args:
        token: a token, or its id; by default the most likely at the position.
        position: in the text (for an encoder-decoder, in the target).
        against: a second token: the difference of the two logits is split instead.

    The model runs once more on the same text.

    Raises:
        ValueError: for a token or position that does not exist, and for a model whose logits are
            not a sum of parts (such as one with an activation before its head), saying why.
        TraceError: if the weights or the edits in force have changed.
    """
    if trace.logits is None:
        raise TraceError(f"{trace.model_name} has no head that predicts tokens")
    asked = asked_logit(trace, token, position, against, batch)
    token, position, batch, against = asked.token, asked.position, asked.batch, asked.against
    assert trace.network is not None
    sources, split = parts_of(trace, batch).of_logit(position, token, against)
    asked.check(float(split.double().sum()))
    cap, given = trace.network.logit_softcap, asked.given
    return LogitAttribution(token, against, position, sources, split.float().cpu(), cap, given)


@dataclass(frozen=True, eq=False)
class AskedLogit:
    """A logit of a trace, or the difference of two, to be split into a sum."""

    trace: Trace
    token: int
    position: int
    against: int | None
    batch: int
    logits: Tensor

    @property
    def given(self) -> float:
        """The value that the model computed."""
        other = 0.0 if self.against is None else self.logits[self.against]
        return float(self.logits[self.token] - other)

    def check(self, whole: float) -> None:
        """Check that the sum of all parts is what the model computed.

        Raises:
            TraceError: if it is not.
        """
        assert self.trace.network is not None and self.trace.logits is not None
        cap = self.trace.network.logit_softcap
        if cap is not None:
            if self.against is not None:
                return  # a difference of capped logits is not a capped difference
            whole = cap * float(torch.tensor(whole / cap).tanh())
        single = self.trace.logits.dtype in (torch.float32, torch.float64)
        most = (1e-3 if single else 5e-2) * max(1.0, float(self.logits.abs().max()))
        if not abs(whole - self.given) <= most:
            raise TraceError(MISSING.format(layer=self.trace.n_layers()))


def asked_logit(trace: Trace, token: Any, position: int, against: Any, batch: int) -> AskedLogit:
    """Check a token, a position and a second token, and return the logit to split.

    Raises:
        ValueError: for a token or position that does not exist.
    """
    assert trace.logits is not None
    batch = trace.text(batch) % trace.batch_size
    n, vocabulary = trace.logits.shape[1:]
    if not -n <= position < n:
        raise ValueError(f"position={position} is outside the {n} tokens (−{n} … {n - 1})")
    position %= n
    own = precise(trace.logits[batch, position])
    ids = getattr(trace.text_model, "token_id", None)
    token = int(own.argmax()) if token is None else as_token_id("token", token, ids)
    against = None if against is None else as_token_id("against", against, ids)
    for name, value in (("token", token), ("against", against)):
        if value is not None and not 0 <= value < vocabulary:
            raise ValueError(f"{name}={value} is outside the {vocabulary} tokens of the vocabulary")
    return AskedLogit(trace, token, position, against, batch, own)

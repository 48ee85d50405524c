"""Split one logit into what each head carries from token to token toward it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...adapters.flows import flow_of
from ...adapters.sources import PartsError
from ...tracing.trace import Trace, TraceError
from .attribution import asked_logit
from .sources import inputs_of


@dataclass(frozen=True, eq=False)
class TokenFlow:
    """What is carried toward the logit of `token` at `position`, or toward its difference from that
    of `against`.

    Attributes:
        edges: fp32 [layer, head, query, key]: what a head carries from the key's position to the
            query's.
        stream: [layer + 1, position]: what a token holds before each layer and after the last.
        mlps: [layer, position]: what an MLP writes there.
        constant: what the model's biases add, whatever the text.
        logit: `stream[0].sum() + mlps.sum() + constant`, which the model computed (before any
            softcap).
    """

    token: int
    against: int | None
    position: int
    edges: Tensor = field(repr=False)
    stream: Tensor = field(repr=False)
    mlps: Tensor = field(repr=False)
    constant: float
    logit: float

    @property
    def stays(self) -> Tensor:
        """What stays at its token, past a layer's heads and MLP, [layer, position] (with what the
        layer adds whatever the text).

        `stays`, the edges into a position and its MLP sum to the stream there after the layer.
        """
        return self.stream[1:] - self.edges.sum((1, 3)) - self.mlps

    def top(self, k: int = 10) -> list[tuple[int, int, int, int, float]]:
        """(layer, head, query, key, value) of the edges that carry most, either way, most first."""
        flat = self.edges.flatten()
        found = flat.abs().argsort(descending=True, stable=True)[:k]
        places = torch.unravel_index(found, self.edges.shape)
        return [
            (*place, float(value))
            for *place, value in zip(*(p.tolist() for p in places), flat[found], strict=True)
        ]


def token_flow(
    trace: Trace,
    token: int | None = None,
    position: int = -1,
    *,
    against: int | None = None,
    batch: int = 0,
) -> TokenFlow:
    """Split one logit into what each head carries from token to token, what each token holds before
    each layer, and what MLPs write.

    Every norm, every attention pattern and what MLPs write are frozen. The logit is then a sum over
    all paths from an embedding or an MLP through the heads, and an edge's value is the sum over the
    paths through it. That the sum is the model's logit is checked. It says what the logit is made
    of, not what it would be without an edge: then patterns, norms and MLPs would change too, which
    an edit shows.

    Args:
        token, position, against, batch: as in `logit_attribution`.

    Raises:
        ValueError: for a token or position that does not exist; a model of several stacks, or whose
            logit is not such a sum, saying why.
        TraceError: if the weights or the edits in force are not those of the trace.

    Source: Elhage et al. 2021; Ferrando and Voita 2024.
    """
    if trace.network is None or trace.logits is None:
        raise TraceError(f"{trace.model_name} predicts no tokens, so no logit can be followed")
    asked = asked_logit(trace, token, position, against, batch)
    token, position, batch = asked.token, asked.position, asked.batch
    try:
        found = flow_of(trace.network, inputs_of(trace, batch), position, token, against)
    except PartsError as error:
        raise PartsError(f"the flow to a logit cannot be computed: {error}") from error
    asked.check(found.logit)
    return TokenFlow(token, against, position, **vars(found))

"""How one logit comes together: what each head carries from token to token toward it."""

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
    """What is carried toward the logit of `token` at `position`, or toward how far it stands above that
    of `against`.

    Attributes:
        edges: fp32 [layer, head, query, key]: what a head brings from the key's place to the query's.
        stream: [layer + 1, position]: what stands at a token before each layer and after the last.
        mlps: [layer, position]: what an mlp writes there.
        constant: what biases of the model bring, whatever the text.
        logit: `stream[0].sum() + mlps.sum() + constant`, which the model computed (before any softcap).
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
        """[layer, position]: what goes on at its token, past a layer's heads and mlp (with what the
        layer adds whatever the text): `stays`, the edges into a place and its mlp sum to the stream there
        after the layer."""
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
    """How one logit comes together: what each head carries from token to token, what stands at each
    token before each layer, and what mlps write, all as parts of it.

    Every norm and every map is held as it was, and what mlps write is taken as it is. The logit is then
    a sum over all ways from an embedding or an mlp through the heads, and an edge has what the ways
    through it bring. That is checked. It says how the logit is made of them, not what it would be without
    an edge, for then maps, norms and mlps would be others: an edit says that.

    Args:
        token, position, against, batch: as in `logit_attribution`.

    Raises:
        ValueError: for a token or position that is not there; a model of several stacks, or whose logit
            is no such sum, saying why.
        TraceError: where the weights or the edits in force are not those of the trace.

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

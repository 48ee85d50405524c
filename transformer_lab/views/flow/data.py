"""Data of one flow for the browser: its largest edges, and the residual stream at each token."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...adapters.flows import kind_of_flows
from ...analysis.circuits.sources import inputs_of
from ...analysis.circuits.token_flow import TokenFlow, token_flow
from ...edits.constructors import knock_out
from ...edits.interventions import edit
from ...edits.kinds import Edit
from ...tracing.running import trace as traced
from ..shared.codecs import pack_floats, shown_token

if TYPE_CHECKING:
    from ...tracing.trace import Trace

SENT = 300  # edges of one flow that are sent
ANSWERS = 5
LONGEST = 256  # tokens that can still be distinguished
Cut = tuple[int, int, int, int]  # layer, head, query, key


@dataclass(frozen=True, eq=False)
class FlowFound:
    """One flow under some cuts.

    Attributes:
        places: int [edge, 4] (layer, head, query, key); values: fp32 [edge]; largest first.
        total: the sum over all edges; n: the number of edges that are not 0.
        before, after: the probability of the token without and with the cuts.
        answers: (id, before, after) of the token and the likeliest others.
    """

    flow: TokenFlow = field(repr=False)
    places: Tensor = field(repr=False)
    values: Tensor = field(repr=False)
    total: float
    n: int
    before: float
    after: float
    answers: tuple[tuple[int, float, float], ...]
    cuts: tuple[Cut, ...]


class FlowData:
    """The flows of one text of a trace.

    Raises:
        ValueError: if the text is too long, or the model predicts no tokens.
    """

    def __init__(self, trace: Trace, batch: int, against: int | None):
        self.trace, self.batch, self.against = trace, trace.text(batch) % trace.batch_size, against
        if trace.tokens is None or trace.network is None or trace.logits is None:
            raise ValueError(f"{trace.model_name} predicts no tokens, so no logit can be followed")
        self.inputs = inputs_of(trace, self.batch)
        kind = kind_of_flows(trace.network)
        self.tokens = [shown_token(x) for x in trace.key_tokens(kind, self.batch)]
        if len(self.tokens) > LONGEST:
            raise ValueError(
                f"trace has a text of {len(self.tokens)} tokens; a flow is drawn of up to {LONGEST}: trace a "
                "shorter one"
            )
        self.layers, self.heads = trace.n_layers(kind), trace.n_heads(kind)
        self.before = trace.logits[self.batch].detach().float().cpu().softmax(-1)
        self.vocabulary = self.before.shape[-1]
        # On each view, not on the class: it must not keep traces alive.
        self.found = lru_cache(32)(self._found)

    def name(self, token: int) -> str:
        return shown_token(self.trace.name_token(token))

    def likeliest(self, position: int) -> int:
        return int(self.before[position].argmax())

    def _found(self, position: int, token: int | None, cuts: tuple[Cut, ...]) -> FlowFound:
        token = self.likeliest(position) if token is None else token
        given: Any = dict(against=self.against)
        if cuts:
            with edit(self.trace.network, *edits_of(cuts), this_thread=True):
                own = self.inputs
                after = traced(self.trace.network, own.tokens, mask=own.mask, keep="maps")
                flow = token_flow(after, token, position, **given)
            assert after.logits is not None
            now = after.logits[0, position].detach().float().cpu().softmax(-1)
        else:
            flow = token_flow(self.trace, token, position, **given, batch=self.batch)
            now = self.before[position]
        was = self.before[position]
        top = now.topk(min(ANSWERS, len(now))).indices.tolist()
        shown = list(dict.fromkeys([token, *top]))[:ANSWERS]
        flat = flow.edges.flatten()
        n = int((flat != 0).sum())
        order = flat.abs().argsort(descending=True, stable=True)[: min(SENT, n)]
        places = torch.stack(torch.unravel_index(order, flow.edges.shape), 1)
        return FlowFound(
            flow,
            places,
            flat[order],
            float(flat.double().sum()),
            n,
            float(was[token]),
            float(now[token]),
            tuple((i, float(was[i]), float(now[i])) for i in shown),
            cuts,
        )

    def block(
        self, position: int, token: int | None, cuts: tuple[Cut, ...]
    ) -> tuple[dict[str, Any], bytes]:
        """A flow's description and its numbers."""
        found = self.found(position, token, cuts)
        flow = found.flow
        names = [flow_name(position, flow.token, cuts)]
        if flow.token == self.likeliest(position):
            names.append(flow_name(position, None, cuts))
        info: dict[str, Any] = {"names": names, "position": position, "token": flow.token}
        info |= {"name": self.name(flow.token)}
        info |= {"against": None if flow.against is None else self.name(flow.against)}
        info |= {"against_id": flow.against, "logit": flow.logit, "constant": flow.constant}
        info |= {"total": found.total, "n": found.n, "before": found.before, "after": found.after}
        info |= {"edges": len(found.values)}
        info |= {"answers": [[i, self.name(i), was, now] for i, was, now in found.answers]}
        info |= {"cuts": [list(cut) for cut in cuts]}
        parts = [found.places, found.values, flow.stream, flow.stays, flow.mlps]
        return info, b"".join(map(pack_floats, parts))


def edits_of(cuts: Iterable[Cut]) -> list[Edit]:
    return [knock_out(layer, head, query=query, key=key) for layer, head, query, key in cuts]


def flow_name(position: int, token: int | None, cuts: Iterable[Cut]) -> str:
    """The name by which a browser requests a flow."""
    cut_names = "+".join(".".join(map(str, cut)) for cut in cuts) or "-"
    return f"flow/{position}/{'-' if token is None else token}/{cut_names}"


def read_name(name: str) -> tuple[int, int | None, tuple[Cut, ...]]:
    """Position, token and cuts of the flow with this name.

    Raises:
        ValueError: if the name is not that of a flow.
    """
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != "flow":
        raise ValueError(f"{name!r} names no flow")
    cuts = (
        [] if parts[3] == "-" else [tuple(map(int, one.split("."))) for one in parts[3].split("+")]
    )
    if any(len(cut) != 4 for cut in cuts):
        raise ValueError(f"{name!r} names no flow")
    return int(parts[1]), None if parts[2] == "-" else int(parts[2]), tuple(cuts)  # type: ignore[return-value]

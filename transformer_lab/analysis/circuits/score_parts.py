"""Split one attention score q·k into parts that add up to it.

By dimension, for every model whose queries and keys are known; by source (the token, its position,
every earlier head and MLP), if what the head reads is a sum of them, which is checked. A score is
only large or small relative to the other scores of its row, since softmax ignores what all of them
share: `above_mean=True` splits its difference from the row's mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ...adapters.network import Network
from ...adapters.sources import Source
from ...attention import AttentionCall
from ...graphs import analyses
from ...softmax import as_additive, causal_mask
from ...tracing.maps import GivenMaps
from ...tracing.trace import Trace, TraceError
from .sources import MISSING, parts_of, precise

_known_pairs: WeakKeyDictionary[Trace, dict[Any, Any]] = (
    WeakKeyDictionary()
)  # and one `VectorProbe`
ROOM, ROOM_HALF = 1e-3, 5e-2  # how far a sum may be from what was recorded; the same in 16 bits
ROUNDING = 1e-5  # of ‖q‖·‖k‖·scale: how far fp32 rounding moves a score that is nearly 0


@dataclass(frozen=True, eq=False)
class Score:
    """From a dot product to a weight, for one head, query and key.

    `dot` is q·k; `scaled` is dot · scale; `capped` the same unless the model has a softcap; `bias`
    is then added (0 with none; −inf where the query may not attend); `score` = capped + bias, and
    `weight` its softmax over the row.
    """

    layer: int
    head: int
    query: int
    key: int
    kind: str
    dot: float
    scale: float
    softcap: float | None
    bias: float
    score: float
    weight: float

    @property
    def scaled(self) -> float:
        return self.dot * self.scale

    @property
    def capped(self) -> float:
        if self.softcap is None:
            return self.scaled
        return self.softcap * float(torch.tensor(self.scaled / self.softcap).tanh())


@dataclass(frozen=True, eq=False)
class ScoreByDimension(Score):
    """One score, split by dimension.

    `products` [d_head] are q_i · k_i · scale and sum to `scaled`, or with `above_mean` to `scaled`
    less the mean of the row's scaled scores. `pairs` [d_head] numbers the rotary pair of each
    dimension (two dimensions that are rotated together; one that is not has its own number), or is
    None.
    """

    products: Tensor = field(repr=False)
    q: Tensor = field(repr=False)
    k: Tensor = field(repr=False)
    pairs: Tensor | None = field(repr=False, default=None)
    above_mean: bool = False

    def by_pair(self) -> Tensor:
        """Sum the products of each rotary pair, [pair]; a dimension that is not rotated is its own
        pair.

        How the two dimensions of a pair share their sum depends on the position; the sum depends on
        the distance only.

        Raises:
            ValueError: if the model has no (known) rotary positions.
        """
        if self.pairs is None:
            raise ValueError(
                f"no rotary pairs were found in {self.kind} layer {self.layer}, so its scores "
                "cannot be split by pair; `products` has each dimension"
            )
        found = torch.zeros(int(self.pairs.max()) + 1)
        return found.index_add_(0, self.pairs, self.products)


@dataclass(frozen=True, eq=False)
class ScoreBySource(Score):
    """One score, split by source.

    `parts` [query source, key source] sum to `scaled`, or with `above_mean` to `scaled` less the
    mean of the row's scaled scores (over the keys that the query may attend to).
    """

    query_sources: tuple[Source, ...]
    key_sources: tuple[Source, ...]
    parts: Tensor = field(repr=False)
    above_mean: bool = False

    @property
    def total(self) -> float:
        return float(self.parts.double().sum())

    def by_key(self) -> Tensor:
        """What each source of the key adds, with the whole query: [key source]."""
        return self.parts.sum(0)

    def by_query(self) -> Tensor:
        """What each source of the query adds, with the whole key: [query source]."""
        return self.parts.sum(1)

    def ranked(self, side: str = "key", n: int | None = None) -> list[tuple[str, float]]:
        """The sources of one side ("key" or "query"), largest part first, by size."""
        if side not in ("key", "query"):
            raise ValueError(f"side must be 'key' or 'query', got {side!r}")
        sources = self.key_sources if side == "key" else self.query_sources
        values = self.by_key() if side == "key" else self.by_query()
        order = values.abs().argsort(descending=True, stable=True).tolist()[:n]
        return [(sources[i].name, float(values[i])) for i in order]


def score_by_dimension(
    trace: Trace,
    layer: int,
    head: int,
    query: int,
    key: int,
    *,
    kind: str | None = None,
    batch: int = 0,
    above_mean: bool = False,
) -> ScoreByDimension:
    """Split one score into d_head products q_i · k_i · scale, with queries and keys as they enter
    the dot product (after rotary positions and QK-norm).

    Args:
        above_mean: as in `score_by_source`; the key is then its difference from the mean key.

    Raises:
        TraceError: for a layer, head, position or kind that does not exist, or a model that gives
            patterns only.
    """
    call, kind, batch = checked_call(trace, layer, head, query, key, kind, batch)
    q = precise(call.query[batch, head, query])
    keys = precise(call.key[batch, kv_head(call, head)])
    k = keys[key]
    fields = _score(call, layer, head, query, key, kind, batch, q, k)
    others = keys[_reachable(call, batch, head, query)] if above_mean else keys
    products = analyses.score_products(q, k, others, q.new_tensor(call.scale))
    if above_mean:
        k, products["products"] = products["above"], products["above_products"]
    return ScoreByDimension(
        **fields,
        products=products["products"].float(),
        q=q.float(),
        k=k.float(),
        pairs=pairs_of_layer(trace.network, kind, layer, head, _known_pairs.setdefault(trace, {})),
        above_mean=above_mean,
    )


def score_by_source(
    trace: Trace,
    layer: int,
    head: int,
    query: int,
    key: int,
    *,
    kind: str | None = None,
    batch: int = 0,
    above_mean: bool = False,
) -> ScoreBySource:
    """Split one score into a table: what each source of the query's stream and each source of the
    key's contribute together. Sources are the embeddings, every earlier head and MLP, and "biases"
    (all that does not depend on the text: biases of layers and norms).

    The norm before the head, and QK-norm, are held at their actual scales, which makes them linear.
    The parts then sum to the score, which is checked: to 1e-3 of it, or to fp32 rounding for one
    that is nearly 0 (in 16 bits, to 5e-2 of ‖q‖·‖k‖·scale). They say what the score is made of, not
    what it would be without a part: then the scale would change too, which an edit shows.

    Args:
        above_mean: split the difference between this key and the mean of the keys that the query
            may attend to; what all keys share cancels, as it does in the softmax.

    The model runs once more on the same text.

    Raises:
        ValueError: for a model whose scores are not a sum of known parts, saying why.
        TraceError: as in `score_by_dimension`; if the weights or the edits in force have changed.
    """
    split, lifted = split_score(
        trace, layer, head, query, key, kind=kind, batch=batch, above_mean=above_mean
    )
    return split if lifted is None else lifted


def split_score(
    trace: Trace,
    layer: int,
    head: int,
    query: int,
    key: int,
    *,
    kind: str | None = None,
    batch: int = 0,
    above_mean: bool,
) -> tuple[ScoreBySource, ScoreBySource | None]:
    """Return the score by source and, if requested, its part above the row's mean, at little more
    than the cost of the second; see `score_by_source`.
    """
    call, kind, batch = checked_call(trace, layer, head, query, key, kind, batch)
    keys = torch.tensor([key])
    if above_mean:
        keys = torch.cat((keys, _reachable(call, batch, head, query)))
    place = (trace, call, kind, layer, head, batch)
    query_sources, q_parts = _measured(*place, "query", torch.tensor([query]))
    key_sources, k_parts = _measured(*place, "key", keys)
    q = precise(call.query[batch, head, query])
    k = precise(call.key[batch, kv_head(call, head), key])
    fields = _score(call, layer, head, query, key, kind, batch, q, k)

    def split(k_part: Tensor, above: bool) -> ScoreBySource:
        return ScoreBySource(
            **fields,
            query_sources=query_sources,
            key_sources=key_sources,
            parts=(q_parts[:, 0] @ k_part.T * call.scale).float(),
            above_mean=above,
        )

    plain = split(k_parts[:, 0], False)
    _check_sum(plain, call, float(q.norm() * k.norm()) * abs(call.scale))
    if not above_mean:
        return plain, None
    return plain, split(k_parts[:, 0] - k_parts[:, 1:].mean(1), True)


def _measured(
    trace: Trace, call: Any, kind: str, layer: int, head: int, batch: int, side: str, rows: Tensor
) -> tuple[tuple[Source, ...], Tensor]:
    """Return the sources of the queries or keys at these positions, and what each adds, [source,
    row, d_head] in fp64; the sum must be what the trace recorded.
    """
    sources, values = parts_of(trace, batch).of_head(kind, layer, head, side, rows.tolist())
    vectors = precise(values)
    actual = call.query[batch, head] if side == "query" else call.key[batch, kv_head(call, head)]
    room = ROOM if actual.dtype in (torch.float32, torch.float64) else ROOM_HALF
    actual = precise(actual)[rows]
    off = (vectors.sum(0) - actual).norm(dim=-1)
    if not bool((off <= room * actual.norm(dim=-1).clamp(min=1e-3)).all()):  # NaN is not near
        raise TraceError(MISSING.format(layer=layer))
    return sources, vectors


def _check_sum(split: ScoreBySource, call: Any, size: float) -> None:
    """Check that the parts sum to the score.

    Args:
        size: ‖q‖·‖k‖·scale, the largest score that vectors of these lengths can have.

    Raises:
        TraceError: if they do not.
    """
    half = call.query.dtype not in (torch.float32, torch.float64)
    room = ROOM_HALF * size if half else max(ROOM * abs(split.scaled), ROUNDING * size)
    if not abs(split.total - split.scaled) <= room:
        raise TraceError(
            f"the parts sum to {split.total:.4g}, but the score of layer {split.layer}, head "
            f"{split.head} from query={split.query} to key={split.key} is {split.scaled:.4g}, so "
            "they cannot be trusted. Trace the model in float32 (model.float())"
        )


def row_scores(
    trace: Trace, layer: int, head: int, query: int, *, kind: str | None = None, batch: int = 0
) -> tuple[Tensor, Tensor]:
    """Return (scores, weights) of one row, [key] each: what a score competes with. −inf where the
    query may not attend.

    Raises:
        TraceError: for a layer, head, query or kind that does not exist.
    """
    call, kind, batch = checked_call(trace, layer, head, query, 0, kind, batch, maps_do=True)
    rows = torch.tensor([query], device=getattr(trace.tokens, "device", None))
    return (
        analyses.hidden(call.scores(batch, head, rows)[0].float().cpu()),
        call.pattern(batch, head, rows)[0].float().cpu(),
    )


def checked_call(
    trace: Trace,
    layer: int,
    head: int,
    query: int,
    key: int,
    kind: str | None,
    batch: int,
    *,
    maps_do: bool = False,
) -> tuple[Any, str, int]:
    """Return the call that made this score, its kind, and the batch index counted from 0."""
    kind = trace.kind(kind)
    call = trace.call(layer, head, kind=kind, batch=batch)
    _, _, n_query, n_key = call.shape
    for name, value, count in (("query", query, n_query), ("key", key, n_key)):
        if not 0 <= value < count:
            raise TraceError(f"{name}={value} is outside the {count} tokens (0 … {count - 1})")
    if isinstance(call, GivenMaps) and not maps_do:
        raise TraceError(
            f"{trace.model_name} gives attention maps only, not the queries and keys behind them, "
            "so a score cannot be split"
        )
    if not isinstance(call, GivenMaps) and not maps_do and call.query.shape[-1] == 0:
        raise TraceError(
            f"{trace.model_name} computes attention in its own code, which shows the scores but "
            "not the queries and keys, so a score cannot be split"
        )
    if not maps_do and type(call) is not AttentionCall:
        raise TraceError(
            f"{trace.model_name} attends within windows of the image, or adds a number for each "
            "row and column to its scores, so a score cannot be split"
        )
    return call, kind, batch % trace.batch_size


def kv_head(call: Any, head: int) -> int:
    """The key head that a query head attends through (grouped queries share one)."""
    return head // (call.n_heads // call.key.shape[1])


def _reachable(call: Any, batch: int, head: int, query: int) -> Tensor:
    """Indices of the keys that a query may attend to."""
    found = torch.isfinite(_row(call, batch, head, query)).nonzero().flatten()
    if not len(found):
        raise TraceError(f"query={query} may attend to no key, so its row has no mean")
    return found


def _row(call: Any, batch: int, head: int, query: int) -> Tensor:
    rows = torch.tensor([query], device=call.query.device)
    return analyses.hidden(call.scores(batch, head, rows)[0].cpu())


def pairs_of_layer(
    network: Network | None, kind: str, layer: int, head: int, known: dict[Any, Any]
) -> Tensor | None:
    """Return which dimensions are rotated together: in our models i with i + d_head/2, in others as
    observed, see `VectorProbe.pairs`. None also if the model cannot be probed with one vector
    alone.

    Args:
        known: earlier results for the network, to which this is added.
    """
    if network is None or kind == "cross":
        return None
    if (model := network.transformer) is not None:
        d_head = model.config.d_head
        return torch.arange(d_head) % (d_head // 2) if model.positions.rotates else None
    if (kind, layer) not in known:
        try:
            alone = known.get("alone") or known.setdefault("alone", network.alone())
            known[kind, layer] = alone.pairs(kind, layer, head)
        except ValueError:
            known[kind, layer] = None
    return known[kind, layer]


def _score(
    call: Any,
    layer: int,
    head: int,
    query: int,
    key: int,
    kind: str,
    batch: int,
    q: Tensor,
    k: Tensor,
) -> dict[str, Any]:
    """The fields of a Score."""
    rows = torch.tensor([query], device=call.query.device)
    return dict(
        layer=layer,
        head=head,
        query=query,
        key=key,
        kind=kind,
        dot=float(q @ k),
        scale=call.scale,
        softcap=call.softcap,
        bias=_bias(call, batch, head, query, key),
        score=float(_row(call, batch, head, query)[key]),
        weight=float(call.pattern(batch, head, rows)[0, key]),
    )


def _bias(call: Any, batch: int, head: int, query: int, key: int) -> float:
    """The bias added to the scaled score of one cell; −inf where the query may not attend."""
    _, _, n_query, n_key = call.shape
    if call.causal and not bool(causal_mask(n_query, n_key)[query, key]):
        return float("-inf")
    if call.is_cut(head, query, key):
        return float("-inf")
    if call.bias is None:
        return 0.0
    bias = call.bias
    while bias.dim() < 4:
        bias = bias[None]
    at = [
        min(i, n - 1) for i, n in zip((batch, head, query, key), bias.shape, strict=True)
    ]  # an axis of one stands for all
    return float(analyses.hidden(as_additive(bias[at[0], at[1], at[2], at[3]]).float()))

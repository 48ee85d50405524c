"""Analyses of a pass for views: pure functions of tensors, written once.

Python's views call them; a page's engine runs them as graphs, exported ahead of time by
`python -m transformer_lab.graphs.analysis_graphs` into views/engine/analysis_graphs.js.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

LISTED = 8  # predictions that are listed: the likeliest before edits …
NEWCOMERS = 3  # … of which up to so many give way to those that are likeliest after
THUMBNAIL = 32  # rows and columns of a small pattern
TOP = 5  # classes of an image that are listed
CARRIED = 60  # edges of a layer that are listed beside the strongest of each query
WEIGHT_SCALE = 60_000  # codes of a weight in 16 bits: see tracing/packing.py

Results = dict[str, Tensor]


def _least(k: int, n: int) -> int:
    """The smaller of two sizes, which may be symbols of a graph."""
    return cast("int", torch.sym_min(k, n))


# -- predictions -----------------------------------------------------------------------------------


def likely(logits: Tensor, answers: Tensor, k: int = LISTED) -> Results:
    """The k likeliest tokens of each row of logits [row, vocab], likeliest first: `tokens` and
    `probabilities` [row, k]; `answer` [row], the probability of the tokens `answers` [row], and
    `rank` [row], how many tokens are likelier than these."""
    of_answer = logits.gather(-1, answers[:, None])
    total = logits.logsumexp(-1, keepdim=True)
    best = logits.topk(_least(k, logits.shape[-1]))
    return {
        "tokens": best.indices,
        "probabilities": (best.values - total).exp(),
        "answer": (of_answer - total).exp()[:, 0],
        "rank": (logits > of_answer).sum(-1),
    }


def drawn_from(logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor) -> Results:
    """The probabilities that a token is drawn from: `chances` [..., vocab] of logits [..., vocab].

    Args:
        temperature: []. top_p: []; 1 for all.
        top_k: [], a whole number up to the size of the vocabulary.
    """
    scores = logits / temperature
    ranked = scores.sort(-1, descending=True).values
    least = ranked.gather(-1, (top_k - 1).reshape(1).expand(*logits.shape[:-1], 1))
    chances = torch.where(scores < least, -torch.inf, scores).softmax(-1)
    likeliest, order = chances.sort(-1, descending=True)
    # A token stays while those before it have not reached p: so the likeliest always stays.
    drop = ((likeliest.cumsum(-1) - likeliest) >= top_p) & (top_p < 1)
    chances = torch.where(torch.zeros_like(drop).scatter(-1, order, drop), 0.0, chances)
    return {"chances": chances / chances.sum(-1, keepdim=True)}


def outcome(before: Tensor, after: Tensor) -> Results:
    """Predictions without and with edits, of logits (or log-probabilities) [vocab].

    `tokens` [LISTED]: the likeliest before, in order, then those that have risen among the
    likeliest after, in their order (`risen`). `before` and `after` [LISTED]: their probabilities.
    `kl` []: Σ p·log(p/q) in nats, p before and q after.
    """
    p, q = before.log_softmax(-1), after.log_softmax(-1)
    n = _least(LISTED, p.shape[-1])
    first = p.topk(n).indices
    best = q.topk(_least(NEWCOMERS + 2, p.shape[-1])).indices
    new = (best[:, None] != first[: LISTED - NEWCOMERS]).all(-1)
    risen = new & (new.cumsum(0) <= NEWCOMERS)
    stays = ~((first[:, None] == best) & risen).any(-1)
    # As many rows as before: the page does not jump.
    stays = stays & (stays.cumsum(0) <= LISTED - risen.sum())
    listed = torch.cat((stays, risen))
    places = torch.where(listed, listed.cumsum(0), 2 * LISTED).argsort()[:n]
    tokens = torch.cat((first, best))[places]
    return {
        "tokens": tokens,
        "before": p[tokens].exp(),
        "after": q[tokens].exp(),
        "risen": places >= n,
        "kl": (p.exp() * (p - q)).nansum().clamp(min=0),
    }


def token_logit(logits: Tensor, token: Tensor) -> Results:
    """The logit of one token [row] in each row of logits [row, vocab]."""
    return {"metric": logits.gather(-1, token[:, None])[:, 0]}


def token_log_probability(logits: Tensor, token: Tensor) -> Results:
    """The log-probability of one token [row] in each row of logits [row, vocab]."""
    return token_logit(logits.log_softmax(-1), token)


def logit_difference(logits: Tensor, token: Tensor, against: Tensor) -> Results:
    """The logit difference between one token [row] and another, in each row of logits."""
    first, second = (token_logit(logits, x)["metric"] for x in (token, against))
    return {"metric": first - second}


def state_changes(before: Tensor, after: Tensor) -> Results:
    """How far edits move each state [position, d_model]: ‖after − before‖ / ‖before‖."""
    change = (after - before).norm(dim=-1) / before.norm(dim=-1).clamp(min=1e-12)
    return {"change": change}


def answer_changes(before: Tensor, after: Tensor, watched: Tensor, k: int = TOP) -> Results:
    """How probabilities [class or token] changed, and that of one of them, `watched` [].

    `listed` [k]: the watched one and the likeliest others before, in order; the likeliest after
    replaces the last one if it is not among them. `before` and `after` [k]: their probabilities.
    `change` []: the watched one's. `was` and `now` []: the likeliest before and after.
    """
    n = _least(k, before.shape[-1])
    best = watched.reshape(1)
    others = torch.where(torch.arange(before.shape[-1]) == best, -1.0, before)
    listed = torch.cat((best, others.topk(n).indices[: n - 1]))
    now = after.argmax(-1)
    last = (torch.arange(n) == n - 1) & ~(listed == now).any()
    listed = torch.where(last, now, listed)
    first, then = before[listed], after[listed]
    change = (after[best] - before[best])[0]
    return dict(
        listed=listed, before=first, after=then, change=change, was=before.argmax(-1), now=now
    )


def chances(logits: Tensor) -> Results:
    """Probabilities [..., class] of logits."""
    return {"chances": logits.softmax(-1)}


def pooled(states: Tensor, weights: Tensor) -> Results:
    """The weighted sum of states [position, d_model], by `weights` [position]."""
    return {"state": weights @ states}


def turned(before: Tensor, after: Tensor) -> Results:
    """How far a vector [d] turned: the cosine and the `lengths` [2] before and after."""
    lengths = torch.stack((before.norm(), after.norm()))
    return {"cosine": torch.cosine_similarity(before, after, dim=0), "lengths": lengths}


# -- the residual stream ---------------------------------------------------------------------------


def lengths(x: Tensor) -> Results:
    """The L2 norm of each row of x [row, d]."""
    return {"length": x.norm(dim=-1)}


def shares(added: Tensor, stream: Tensor) -> Results:
    """Compare what is added to a stream [position, d_model] with it: the length of what is added
    (`norm`), relative to the stream's (`share`), and its direction (`cosine`: 1 makes the stream
    longer, −1 erases)."""
    norm, length = added.norm(dim=-1), stream.norm(dim=-1).clamp(min=1e-12)
    cosine = torch.cosine_similarity(added, stream, -1, eps=1e-12)
    return {"norm": norm, "share": norm / length, "cosine": cosine}


def adds_up(before: Tensor, attention: Tensor, mlp: Tensor, after: Tensor) -> Results:
    """Whether a stream after blocks is the one before them plus these two parts."""
    apart = after - before - (attention + mlp)
    return {"adds_up": apart.norm() <= 1e-4 * after.norm()}


def sums(x: Tensor, y: Tensor) -> Results:
    """x + y and x − y."""
    return {"sum": x + y, "difference": x - y}


def alike(x: Tensor, y: Tensor, room: Tensor) -> Results:
    """Whether x differs from y by at most a fraction `room` of y's length."""
    return {"alike": (x - y).norm() <= room * y.norm().clamp(min=1e-6)}


# -- attention -------------------------------------------------------------------------------------


def hidden(scores: Tensor) -> Tensor:
    """Scores with −inf where transformers masks with the smallest number there is."""
    return torch.where(scores <= torch.finfo(torch.float32).min / 2, -torch.inf, scores)


def attention_row(
    query: Tensor, keys: Tensor, scores: Tensor, scale: Tensor, softcap: Tensor
) -> Results:
    """One row of attention taken apart: `dots` [key] are query·key, `scaled` the same times `scale`
    and after `softcap` (where that is above 0), `bias` what is added then to give `scores`.

    Args:
        query: [d_head]. keys: [key, d_head].
        scores: [key], what the softmax reads; −inf where the query may not attend.
        scale, softcap: [].
    """
    dots = keys @ query
    scaled = dots * scale
    top = softcap.clamp(min=1e-6)
    scaled = torch.where(softcap > 0, top * (scaled / top).tanh(), scaled)
    scores = hidden(scores)
    bias = torch.where(scores.isinf(), scores, scores - scaled)
    # A bias so small is what rounding leaves of a bias of 0.
    bias = torch.where(bias.abs() <= 1e-4 * scaled.abs().max().clamp(min=1.0), 0.0, bias)
    return {"dots": dots, "scaled": scaled, "bias": bias, "scores": scaled + bias}


def score_products(query: Tensor, key: Tensor, others: Tensor, scale: Tensor) -> Results:
    """A scaled score as a sum over dimensions.

    `products` [d_head] sum to it. `above` [d_head] is the key minus the mean of `others`
    [key, d_head], and `above_products` sum to the score minus the mean of theirs (`mean`).
    `longest` is ‖query‖·‖key‖·|scale|, the largest score that vectors of these lengths can have.
    """
    above = key - others.mean(0)
    products, above_products = query * key * scale, query * above * scale
    return {
        "products": products,
        "above": above,
        "above_products": above_products,
        "mean": products.sum() - above_products.sum(),
        "longest": query.norm() * key.norm() * scale.abs(),
    }


def written(z: Tensor, w_o: Tensor) -> Results:
    """What heads write into the stream: z [head, d_value] through W_O [head, d_value, d_model]."""
    return {"written": (z[:, None] @ w_o)[:, 0]}


def foremost(values: Tensor, among: Tensor) -> Tensor:
    """The index of the largest value [n] in `among`, the first of equals; n if there is none."""
    room = 1e-5 * torch.where(among, values.abs(), 0.0).amax().clamp(min=1)
    left = torch.where(among, values, -torch.inf)
    at = torch.arange(values.shape[0], device=values.device)
    return torch.where(among & (left >= left.amax() - room), at, values.shape[0]).amin()


def walk_facts(
    dots: Tensor,
    scaled: Tensor,
    weights: Tensor,
    scores: Tensor,
    bias: Tensor,
    values: Tensor,
    z: Tensor,
    stream: Tensor,
    out: Tensor,
    hidden: Tensor,
) -> Results:
    """The facts of one token's walk through a block with one head.

    `parts` [key, d_value] are weights times values and sum to z [d_value], `shares` [key] of it;
    `best_…` [] is the key with the largest of `dots`, `scaled`, `weights` and `shares`;
    `barred` is how many keys the token may not attend to; `biased` whether a bias is added to others,
    from `bias_from` to `bias_to`; `cosine` is between the stream before and after the block; of
    `hidden` [d_ff], `positive` are above 0, and `unit` is furthest from it (`unit_value`).
    """
    reached = ~scores.isinf()
    parts, size = weights[:, None] * values, z.square().sum()
    shares = torch.where(size > 1e-20, parts @ z / size.clamp(min=1e-20), 0.0)
    every = torch.ones_like(reached)
    unit = hidden.abs().argmax()
    return {
        "parts": parts,
        "shares": shares,
        "best_dots": foremost(dots, reached),
        "best_scaled": foremost(scaled, reached),
        "best_weights": foremost(weights, every & reached.any()),
        "best_shares": foremost(shares, every),
        "barred": (~reached).sum(),
        "biased": (reached & (bias != 0)).any(),
        "bias_from": torch.where(reached, bias, torch.inf).amin(),
        "bias_to": torch.where(reached, bias, -torch.inf).amax(),
        "cosine": torch.cosine_similarity(stream, out, 0, eps=1e-12),
        "positive": (hidden > 0).sum(),
        "unit": unit,
        "unit_value": hidden.index_select(0, unit.reshape(1))[0],
    }


def value_norms(values: Tensor, w_o: Tensor) -> Results:
    """‖value·W_O‖ [head, key], of values [head, key, d_value] and W_O [head, d_value, d_model].
    Source: Kobayashi et al. 2020."""
    return {"norm": (values @ w_o).norm(dim=-1)}


def carried(
    before: Tensor, after: Tensor, before_lengths: Tensor, after_lengths: Tensor, own: Tensor
) -> Results:
    """The edges of a layer that carry most to another token, without edits and with them: weight times
    the length of what the key's value adds.

    `places` [edge]: where in [head, query, key], flattened: the strongest of each query, and CARRIED
    more. `before` and `after` [edge]: what they carry. `sums` [2]: what all edges carry.

    Args:
        before, after: patterns [head, query, key]. before_lengths, after_lengths: [head, key].
        own: [query], the key that is the query itself, which is not counted; −1 if there is none.
    """
    other = torch.arange(before.shape[-1], device=before.device) != own[:, None]
    first, second = before * before_lengths[:, None] * other, after * after_lengths[:, None] * other
    most = torch.maximum(first, second)
    of_query = most.amax(-1, keepdim=True).amax(0, keepdim=True)
    strongest = (most >= of_query) & (most > 0)
    order = torch.where(strongest, most + most.amax(), most).flatten()
    places = order.topk(_least(before.shape[1] + CARRIED, order.shape[0])).indices
    return {
        "places": places,
        "before": first.flatten()[places],
        "after": second.flatten()[places],
        "sums": torch.stack((first.sum(), second.sum())),
    }


def moved(first: Tensor, second: Tensor, both: Tensor) -> Results:
    """The fraction of attention that is elsewhere in the second pattern: the mean, over the queries
    that both have, of half the sum of |second − first| over all keys (total variation distance).

    Args:
        first, second: [head, query, key] on aligned axes, NaN if a token is missing.
        both: [query], whether both texts have the query.
    """
    first, second = (torch.where(x.isnan(), 0.0, x) for x in (first, second))
    difference = (second - first).abs().sum(-1) / 2
    both = both.to(difference)
    return {"moved": (difference * both).sum(-1) / both.sum()}


# -- patterns --------------------------------------------------------------------------------------


def codes(weights: Tensor) -> Results:
    """Weights 0 … 1 as ⌊w · 60000⌋; only a weight of exactly 0 becomes 0, a tiny one becomes 1."""
    found = (weights * WEIGHT_SCALE).floor().clamp(1, WEIGHT_SCALE)
    return {"codes": torch.where(weights > 0, found, 0.0)}


def small(maps: Tensor, size: int = THUMBNAIL) -> Results:
    """Patterns [head, query, key] max-pooled to at most size × size, as by `adaptive_max_pool2d`
    (whose export is valid for one size of patterns only)."""
    for axis in (-2, -1):
        n = maps.shape[axis]
        parts: Any = torch.sym_min(size, n)
        part = torch.arange(parts, device=maps.device)
        first, last = part * n // parts, ((part + 1) * n + parts - 1) // parts - 1
        width = torch.arange(n // parts + 2, device=maps.device)
        places = torch.minimum(first[:, None] + width, last[:, None])
        maps = maps.index_select(axis, places.flatten()).unflatten(axis, places.shape)
        maps = maps.amax(axis)
    return {"small": maps}


def shades(weights: Tensor) -> Results:
    """Weights 0 … 1 as 0 … 255, their positions on the square-root colour scale."""
    return {"shades": (255 * weights.clamp(0, 1).sqrt()).round()}


def thumbnails(maps: Tensor) -> Results:
    """The shades of small patterns."""
    return shades(small(maps)["small"])


# -- images ----------------------------------------------------------------------------------------


def patch_distances(maps: Tensor, at: Tensor, patches: Tensor) -> Results:
    """How far heads attend: the mean distance, in patches, from a patch to those that it attends to.

    Args:
        maps: patterns [head, query, key].
        at: row and column of each position, [position, 2]; `patches` [position]: 1 for a patch, else 0.
    """
    apart = (at[:, None] - at[None]).square().sum(-1).sqrt()
    weights = maps * (patches[:, None] * patches[None])
    return {"distance": (weights * apart).sum((-2, -1)) / weights.sum((-2, -1))}


def resizing(n: Tensor, of: Tensor, size: Tensor, j: Tensor, i: Tensor, cubic: bool) -> Tensor:
    """[i, j]: the weight of pixel j, of n in a row, in pixel i when the middle `of` pixels are
    resized to `size`, as Pillow's antialiased resize does. Numbers are whole, and are exact up to
    2²⁴. Source: Pillow, src/libImaging/Resample.c."""
    apart = (2 * j + 1 - (n - of)) * size - (2 * i[:, None] + 1) * of
    t = (apart / (2 * torch.maximum(of, size))).abs()
    weights = (1 - t).clamp(min=0)
    if cubic:
        near, far = (1.5 * t - 2.5) * t * t + 1, ((t - 5) * t + 8) * t * -0.5 + 2
        weights = torch.where(t < 1, near, torch.where(t < 2, far, 0.0))
    return weights / weights.sum(-1, keepdim=True)


def resized(pixels: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Pixels [channel, height, width] of whole numbers 0 … 255, by the weights of `resizing`: as in
    Pillow first the rows and then the columns, each rounded."""
    for weights in (columns, rows):
        pixels = (pixels @ weights.T + 0.5).floor().clamp(0, 255).transpose(1, 2)
    return pixels

"""Checks of lesson 20, Circuits in depth: two heads, and a logit as the sum of its parts."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_20 as solutions


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# -- composition --------------------------------------------------------------------------------------

WIDTH, SMALL = 12, 4


def _head(seed: int, d_model: int = WIDTH, d_head: int = SMALL) -> tuple[torch.Tensor, ...]:
    w_q, w_k, w_v = (_random(seed + i, d_model, d_head) for i in range(3))
    return w_q, w_k, w_v, _random(seed + 3, d_head, d_model)


def _composition_cases() -> list[Case]:
    chance = [(_head(200 + 8 * i), _head(204 + 8 * i)) for i in range(6)]
    early, late = _head(100), _head(110)
    tuned = (
        late[0],
        early[3].T.contiguous(),
        late[2],
        late[3],
    )  # its keys read what `early` writes
    return [
        Case("two heads with random weights", (early, late, chance)),
        Case("a head whose keys read what the other writes", (early, tuned, chance[::-1])),
    ]


def _shares(early, late, order=lambda q, k, v, o: (q @ k.T, k @ q.T, v @ o), writes=None):
    wrote = early[2] @ early[3] if writes is None else writes(early)
    reads = order(*late)
    return torch.stack([(wrote @ r).norm() / (wrote.norm() * r.norm()) for r in reads])


def _made(one, early, late, random, spread=lambda x: x.std(0), columns=None):
    found = one(early, late)
    chance = torch.stack([one(a, b) for a, b in random])
    mean, wide = chance.mean(0), spread(chance)
    shown = (found, mean, (found - mean) / wide) if columns is None else columns(found, mean, wide)
    return torch.stack(shown, dim=1)


def _with(one=_shares, **more):
    return lambda early, late, random: _made(one, early, late, random, **more)


def _other_norm(early, late):
    wrote = early[2] @ early[3]
    w_q, w_k, w_v, w_o = late
    size = lambda m: torch.linalg.matrix_norm(m, 2)  # noqa: E731
    reads = (w_q @ w_k.T, w_k @ w_q.T, w_v @ w_o)
    return torch.stack([size(wrote @ r) / (size(wrote) * size(r)) for r in reads])


def _not_normed(early, late):
    wrote = early[2] @ early[3]
    w_q, w_k, w_v, w_o = late
    return torch.stack([(wrote @ r).norm() for r in (w_q @ w_k.T, w_k @ w_q.T, w_v @ w_o)])


def _half_normed(early, late):
    return _shares(early, late) * (early[2] @ early[3]).norm()


def _backwards(early, late):
    wrote = early[2] @ early[3]
    w_q, w_k, w_v, w_o = late
    reads = (w_q @ w_k.T, w_k @ w_q.T, w_v @ w_o)
    return torch.stack([(r @ wrote).norm() / (wrote.norm() * r.norm()) for r in reads])


def _half(early, late):
    """Only the matrix that reads, without its partner."""
    return _shares(early, late, lambda q, k, v, o: (q, k, v))


def _swapped(early, late):
    return _shares(early, late, lambda q, k, v, o: (k @ q.T, q @ k.T, v @ o))


_COMPOSITION = Grader(
    name="20/composition_scores",
    cases=_composition_cases,
    reference=solutions.composition_scores,
    shape_hint="three rows, for Q, K and V; three columns: score, mean of random pairs, standard deviations "
    "above it",
    suspects=(
        Suspect(
            "queries and keys exchanged",
            _with(_swapped),
            "The rows of Q and K are exchanged. Start with the matrix that reads: `w_q @ w_k.T` for "
            "queries, `w_k @ w_q.T` for keys.",
        ),
        Suspect(
            "late before early",
            _with(_backwards),
            "You multiplied the late head's matrix by the early one's. The early head writes first, so "
            "its matrix is on the left.",
        ),
        Suspect(
            "heads exchanged",
            lambda early, late, random: _made(_shares, late, early, [(b, a) for a, b in random]),
            "The two heads are exchanged: the early one writes, the late one reads.",
        ),
        Suspect(
            "found head exchanged",
            lambda early, late, random: _made(_shares, late, early, random),
            "The two heads are exchanged: the early one writes, the late one reads.",
        ),
        Suspect(
            "not divided by norms",
            _with(_not_normed),
            "Your products are not divided by the two norms, so a head with large weights seems to "
            "read a lot.",
        ),
        Suspect(
            "divided by one norm",
            _with(_half_normed),
            "You divided only by the norm of the reading matrix. Divide by that of the writing one too.",
        ),
        Suspect(
            "another norm",
            _with(_other_norm),
            "You used the largest singular value. The Frobenius norm, `.norm()` of a matrix, is the "
            "square root of the sum of all squares.",
        ),
        Suspect(
            "without the partner",
            _with(_half),
            "You stopped at a single matrix. What counts is what reaches a score or the residual "
            "stream: `w_q @ w_k.T`, `w_k @ w_q.T`, `w_v @ w_o`.",
        ),
        Suspect(
            "queries and keys of the early head",
            _with(lambda early, late: _shares(early, late, writes=lambda e: e[0] @ e[1].T)),
            "For the early head you took queries and keys. It writes with `w_v @ w_o`.",
        ),
        Suspect(
            "variance instead of the standard deviation",
            _with(spread=lambda x: x.var(0)),
            "You divided by the variance. Its square root is the standard deviation.",
        ),
        Suspect(
            "one spread for all",
            _with(spread=lambda x: x.std()),
            "You took one standard deviation over all three kinds. Use a separate one for each row.",
        ),
        Suspect(
            "divided by the standard error",
            _with(spread=lambda x: x.std(0) / len(x) ** 0.5),
            "You divided by the standard *error* of the mean. You compare one pair with other single "
            "pairs, so take the standard deviation.",
        ),
        Suspect(
            "how far above, without the spread",
            _with(columns=lambda found, mean, wide: (found, mean, found - mean)),
            "The last column is the difference. Divide it by the standard deviation of the random pairs.",
        ),
        Suspect(
            "how many times chance",
            _with(columns=lambda found, mean, wide: (found, mean, found / mean)),
            "The last column is a ratio. Take the difference from the mean, in standard deviations.",
        ),
        Suspect(
            "the spread in the last column",
            _with(columns=lambda found, mean, wide: (found, mean, wide)),
            "The last column is the standard deviation of the random pairs. It should say how many of "
            "these the score is above the mean.",
        ),
        Suspect(
            "below the mean",
            _with(columns=lambda found, mean, wide: (found, mean, (mean - found) / wide)),
            "The sign of the last column is wrong: above the mean is positive.",
        ),
        Suspect(
            "transposed",
            lambda *a: solutions.composition_scores(*a).T,
            "Your table is transposed: its rows are the kinds Q, K and V.",
        ),
        Suspect(
            "exchanged and not divided",
            _with(lambda a, b: _not_normed(a, b)[[1, 0, 2]]),
            "Two things: the rows of Q and K are exchanged, and the products are not divided by the "
            "two norms.",
        ),
    ),
)


# -- attribution --------------------------------------------------------------------------------------


def _attribution_cases() -> list[Case]:
    two = (_random(31, 6), _random(32, 2, 3, 2), _random(33, 2, 6, 6), 2 * _random(34, 6))
    one = (_random(35, 8), _random(36, 1, 2, 4), _random(37, 1, 8, 8), _random(38, 8))
    return [Case("2 layers of 3 heads", two), Case("1 layer of 2 heads", one)]


def _parts(embedded, z, w_out, order="head"):
    width = z.shape[-1]
    split = w_out.unflatten(-1, (z.shape[1], width) if order == "head" else (width, z.shape[1]))
    if order == "head":
        wrote = torch.einsum("lohd,lhd->lho", split, z)
    else:
        wrote = torch.einsum("lodh,lhd->lho", split, z)
    return torch.cat((embedded[None], wrote.flatten(0, 1)))


def _size(stream):
    return (stream.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def _split(embedded, z, w_out, unembed):
    parts = _parts(embedded, z, w_out)
    return parts / _size(parts.sum(0)) @ unembed


def _each_normed(embedded, z, w_out, unembed):
    parts = _parts(embedded, z, w_out)
    return parts / _size(parts) @ unembed


def _no_norm(embedded, z, w_out, unembed):
    return _parts(embedded, z, w_out) @ unembed


def _summed_norm(embedded, z, w_out, unembed):
    parts = _parts(embedded, z, w_out)
    return parts / parts.sum(0).norm() @ unembed


def _mean_square(embedded, z, w_out, unembed):
    parts = _parts(embedded, z, w_out)
    return parts / (parts.sum(0).square().mean() + 1e-5) @ unembed


def _centred(embedded, z, w_out, unembed):
    parts = _parts(embedded, z, w_out)
    stream = parts.sum(0)
    return (parts - parts.mean(-1, keepdim=True)) / _size(stream - stream.mean()) @ unembed


def _without_embedding(embedded, z, w_out, unembed):
    parts = _parts(embedded, z, w_out)[1:]
    return parts / _size(parts.sum(0)) @ unembed


def _embedding_left_out(embedded, z, w_out, unembed):
    return _split(embedded, z, w_out, unembed)[1:]


def _embedding_last(embedded, z, w_out, unembed):
    return _split(embedded, z, w_out, unembed).roll(-1)


def _rows(embedded, z, w_out, unembed):
    turned = w_out.transpose(-1, -2)
    return _split(embedded, z, turned, unembed) if turned.shape == w_out.shape else torch.zeros(0)


def _interleaved(embedded, z, w_out, unembed):
    parts = _parts(embedded, z, w_out, "width")
    return parts / _size(parts.sum(0)) @ unembed


def _norm_of_embedding(embedded, z, w_out, unembed):
    return _parts(embedded, z, w_out) / _size(embedded) @ unembed


def _running(embedded, z, w_out, unembed):
    parts = _parts(embedded, z, w_out)
    return parts.cumsum(0) / _size(parts.sum(0)) @ unembed


def _by_layer(embedded, z, w_out, unembed):
    found = _split(embedded, z, w_out, unembed)
    return torch.cat((found[:1], found[1:].unflatten(0, z.shape[:2]).sum(1)))


def _by_head(embedded, z, w_out, unembed):
    found = _split(embedded, z, w_out, unembed)
    return torch.cat((found[:1], found[1:].unflatten(0, z.shape[:2]).T.flatten()))


def _softmaxed(embedded, z, w_out, unembed):
    return _split(embedded, z, w_out, unembed).softmax(-1)


_ATTRIBUTION = Grader(
    name="20/attribute_logit",
    cases=_attribution_cases,
    reference=solutions.attribute_logit,
    shape_hint="one number for the embedding, then one for each head, layer by layer",
    suspects=(
        Suspect(
            "no norm",
            _no_norm,
            "The final norm is missing. It divides the whole residual stream by its size, so divide "
            "every part by that size too.",
        ),
        Suspect(
            "each normalised by itself",
            _each_normed,
            "You divided every part by its own size, so a head that writes almost nothing seems as "
            "strong as any other. Divide all parts by one number, the size of their sum.",
        ),
        Suspect(
            "norm of the embedding",
            _norm_of_embedding,
            "You divided by the size of the embedding. Divide by the size of the whole stream: the "
            "embedding plus what all heads wrote.",
        ),
        Suspect(
            "length instead of size",
            _summed_norm,
            "You divided by the stream's length, the square root of the *sum* of squares. RMSNorm takes "
            "the square root of their *mean*.",
        ),
        Suspect(
            "no root",
            _mean_square,
            "You divided by the mean square. RMSNorm divides by its square root.",
        ),
        Suspect(
            "centred",
            _centred,
            "You subtracted the mean, as layer norm does. This model has RMSNorm, which does not.",
        ),
        Suspect(
            "norm without the embedding",
            _without_embedding,
            "The embedding is missing, in the result and in the stream. It is the first part.",
        ),
        Suspect(
            "embedding left out",
            _embedding_left_out,
            "The heads are right; the embedding, which comes first, is missing.",
        ),
        Suspect(
            "embedding last",
            _embedding_last,
            "The numbers are right, but the embedding is last. Put it first.",
        ),
        Suspect(
            "rows of W_O",
            _rows,
            "You took rows of `w_out` for a head. A head's numbers are multiplied by its *columns*: "
            "`w_out[layer]` is [d_model, n_heads · d_head].",
        ),
        Suspect(
            "heads interleaved",
            _interleaved,
            "The columns of a head are side by side: first those of head 0, then those of head 1.",
        ),
        Suspect(
            "running sum",
            _running,
            "You read the stream *after* each part, so each number includes everything before it. "
            "Read each part alone.",
        ),
        Suspect(
            "one number per layer",
            _by_layer,
            "You added up the heads of a layer. Return a separate number for each head.",
        ),
        Suspect(
            "head by head",
            _by_head,
            "Your order is by head and then by layer. All heads of layer 0 come first.",
        ),
        Suspect(
            "the logit itself",
            lambda *a: _split(*a).sum(),
            "This is the logit, the sum of all parts. Return the parts.",
        ),
        Suspect(
            "softmax",
            _softmaxed,
            "You took a softmax over the parts. They are the terms of one sum, a single logit.",
        ),
        Suspect(
            "no norm and no embedding",
            lambda *a: _no_norm(*a)[1:],
            "Two things: the final norm is missing, and so is the embedding, which comes first.",
        ),
        Suspect(
            "each normalised by itself, no embedding",
            lambda *a: _each_normed(*a)[1:],
            "Two things: divide all parts by one number, the size of the whole stream; and the "
            "embedding, which comes first, is missing.",
        ),
    ),
)

GRADERS = (_COMPOSITION, _ATTRIBUTION)

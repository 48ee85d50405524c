"""What a head's weights say, with no text at all: circuits of our own models.

Four matrices make a head, and they act in pairs. W_Q·W_Kᵀ (QK) says which token looks at which;
W_V·W_O (OV) says what looking at a token adds. Between vocabularies both are vocab × vocab of rank
d_head, and are only ever held as two thin factors. Source: Elhage et al. 2021.

What these are exact for, and what they leave out:

- They follow the *direct path*: the stream holds a token's embedding (normalised as the layer would
  normalise that alone) and nothing that earlier blocks wrote. For layer 0, without position
  embeddings, that is the model itself; deeper, it is a reading of the weights.
- Rotary positions turn queries against keys, so a QK circuit belongs to one `distance`. Added
  positions and biases by distance (ALiBi, T5) are left out.
- Norms divide by a number that depends on the whole stream. Gains and centring of the norms on
  the way are folded in; that division is not, so OV scores are logits up to a positive factor.
- With QK-norm a QK circuit holds normalised queries and keys (exact), while a composition score
  takes the matrices as they are.

For a Hugging Face model of a known family, load it as ours: `tl.pretrained.load(...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import Attention
from ..model import Transformer

_ROWS = 2**24  # numbers of a vocab × vocab matrix in memory at a time


@dataclass(frozen=True, eq=False)
class TokenCircuit:
    """A vocab × vocab matrix as `left` [from, d_head] times `right` [d_head, to].

    `name_from` and `name_to` show a token id; `note` says what was left out or stands in for what.
    """

    left: Tensor = field(repr=False)
    right: Tensor = field(repr=False)
    note: str | None = None
    name_from: Callable[[int], str] = field(repr=False, default=str)
    name_to: Callable[[int], str] = field(repr=False, default=str)

    def row(self, token: int) -> Tensor:
        """One token's row: fp32 [to]."""
        if not 0 <= token < len(self.left):
            raise ValueError(f"token={token} is outside the vocabulary (0 … {len(self.left) - 1})")
        return self.left[token] @ self.right

    def best(self, token: int, k: int = 5) -> list[tuple[str, float]]:
        """The largest of a token's row: (token, score), largest first."""
        found = self.row(token).topk(min(k, self.right.shape[1]))
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        return [(self.name_to(i), score) for i, score in pairs]

    def top_ids(self, k: int = 10) -> tuple[Tensor, Tensor]:
        """The k largest entries: ids int64 [k, 2] (from, to) and scores [k]. A block of rows is in
        memory at a time."""
        n_from, n_to = len(self.left), self.right.shape[1]
        step = max(1, _ROWS // n_to)
        ids, scores = torch.empty(0, 2, dtype=torch.long), torch.empty(0)
        for start in range(0, n_from, step):
            block = (self.left[start : start + step] @ self.right).flatten()
            found = block.topk(min(k, len(block)))
            where = torch.stack((found.indices // n_to + start, found.indices % n_to), 1)
            scores, kept = torch.cat((scores, found.values)).sort(descending=True, stable=True)
            ids = torch.cat((ids, where))[kept]
        return ids[:k], scores[:k]

    def top(self, k: int = 10) -> list[tuple[str, str, float]]:
        """The k largest entries: (from, to, score), largest first."""
        ids, scores = self.top_ids(k)
        return [
            (self.name_from(a), self.name_to(b), score)
            for (a, b), score in zip(ids.tolist(), scores.tolist(), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class QKCircuit(TokenCircuit):
    """Scores before the softmax, from query tokens to key tokens; `distance` as asked for."""

    distance: int = 0


@dataclass(frozen=True, eq=False)
class OVCircuit(TokenCircuit):
    """Logits (up to a positive factor) that looking at a token adds, from the token looked at to
    the token made likelier.

    copying_score: Σλ / Σ|λ| over the eigenvalues λ of the whole matrix, from −1 to 1: near 1, a
        token that is looked at makes itself likelier. None where the two vocabularies differ.
    copying_random: mean and spread of that over heads of the same shape with random weights.
    """

    copying_score: float | None = None
    copying_random: tuple[float, float] | None = None


class Composition(NamedTuple):
    """How much of what an earlier head writes a later one reads: from 0 to 1.

    `random_mean` and `random_std` are of heads of the same shape with random weights; a score says
    something only by how far it stands above them, in `sigmas`.
    """

    score: float
    random_mean: float
    random_std: float

    @property
    def sigmas(self) -> float:
        return (self.score - self.random_mean) / self.random_std


@dataclass(frozen=True, eq=False)
class Compositions:
    """The scores of all pairs: `values` [layer, head, earlier layer, earlier head], NaN where the
    earlier layer is not earlier; the random baseline is one for all, for all have one shape."""

    values: Tensor = field(repr=False)
    random_mean: float
    random_std: float

    def top(self, k: int = 10) -> list[tuple[tuple[int, int], tuple[int, int], float]]:
        """The k largest: (earlier head, later head, score)."""
        flat = self.values.nan_to_num(-1).flatten()
        found = flat.topk(min(k, int((flat >= 0).sum())))
        spots = [[int(n) for n in torch.unravel_index(i, self.values.shape)] for i in found.indices]
        scores = found.values.tolist()
        return [((c, d), (a, b), score) for (a, b, c, d), score in zip(spots, scores, strict=True)]


@torch.no_grad()
def qk_circuit(
    model: Any, layer: int, head: int, *, kind: str | None = None, distance: int = 0
) -> QKCircuit:
    """Which token looks at which: the score of every pair, by the weights alone.

    Args:
        model: our `Transformer`, or a `TextModel` of one (then tokens have names).
        kind: "encoder", "decoder" or "cross"; the decoder's (or only) self-attention unless named.
        distance: how many tokens the key stands before the query; matters with rotary positions.

    Raises:
        ValueError: for another model, or a layer, head or kind that is not there.
    """
    part = _Part(model, layer, head, kind)
    attention, network = part.attention, part.network
    query = _projected(part, part.query_side(), "query", bias=True)
    key = _projected(part, part.key_side(), "key", bias=True)
    if attention.qk_norm:
        query, key = F.rms_norm(query, query.shape[-1:]), F.rms_norm(key, key.shape[-1:])
    note = None
    if part.kind != "cross" and network.positions.rotates:
        query = _rotated(network, query, distance)
    elif part.kind != "cross" and network.config.positions.name != "none":
        note = "positions are left out"
    scale = attention.d_head**-0.5
    return QKCircuit(
        query * scale, key.T.contiguous(), note, part.name_query, part.name_key, distance
    )


@torch.no_grad()
def ov_circuit(
    model: Any, layer: int, head: int, *, kind: str | None = None, samples: int = 16, seed: int = 0
) -> OVCircuit:
    """What looking at a token makes likelier: every pair, by the weights alone.

    The output bias and the value bias, which are added whatever is looked at, are left out. A model
    without a head that predicts tokens, or with a nonlinear one (BERT's), is read with its
    embedding table in the head's place, and so is an encoder; `note` says so.

    Args:
        model, kind: as in `qk_circuit`. "cross": from source tokens to target tokens.
        samples, seed: of the random heads that `copying_random` comes from.

    Raises:
        ValueError: as in `qk_circuit`.
    """
    part = _Part(model, layer, head, kind)
    network, x = part.network, part.key_side()
    value = _projected(part, x, "value", bias=False)
    unembedding, note = part.unembedding()
    norms = list(part.norms_after())
    out = _through(norms, part.weight("out"))
    right = out @ unembedding.T
    score, random = None, None
    if part.kind != "cross" or network.config.target_vocab_size is None:
        # The eigenvalues of a thin product V·U are those of the small U·V, besides zeros.
        score = _copying(right.double() @ value.double())
        between = unembedding.T.double() @ x.double()  # [d_model, d_model]
        generator = torch.Generator().manual_seed(seed)
        draws = []
        for _ in range(samples):
            w_v = torch.randn(value.shape[1], x.shape[1], generator=generator, dtype=torch.double)
            w_o = torch.randn(out.shape, generator=generator, dtype=torch.double)
            draws.append(_copying(_through(norms, w_o) @ between @ w_v.T))
        random = _spread(draws)
    return OVCircuit(value, right, note, part.name_key, part.name_out, score, random)


def composition(
    model: Any,
    earlier: tuple[int, int],
    later: tuple[int, int],
    kind: str = "K",
    *,
    stack: str | None = None,
    distance: int = 0,
    samples: int = 32,
    seed: int = 0,
) -> Composition:
    """How much a later head's queries (Q), keys (K) or values (V) read of what an earlier head
    writes: ‖OV_earlier · M‖ / (‖OV_earlier‖ · ‖M‖), Frobenius norms, with M the later head's
    W_Q·W_Kᵀ, W_K·W_Qᵀ or W_V·W_O. Source: Elhage et al. 2021.

    Random heads score about 1/√d_model. Heads that read exactly what is written, in r directions
    alike, score no more than 1/√r, so the number says nothing by itself: compare it with the
    baseline and with other pairs.

    Args:
        model: our `Transformer`, or a `TextModel` of one.
        earlier, later: (layer, head); the earlier in a lower layer.
        kind: "Q", "K" or "V".
        stack: "encoder" or "decoder" of an encoder-decoder; the decoder unless named.
        distance: as in `qk_circuit`.
        samples, seed: of the random heads that the baseline comes from.

    Raises:
        ValueError: for another model or kind, a head that is not there, or a pair out of order.
    """
    if earlier[0] >= later[0]:
        raise ValueError(
            f"earlier={earlier} must stand in a lower layer than later={later}: heads of one layer "
            "do not read each other"
        )
    network, name = _network(model, stack)
    for at in (earlier, later):
        _Part(model, *at, name)
    score = _pair_scores(network, name, earlier[0], later[0], kind, distance)
    mean, std = _baseline(network, kind, samples, seed)
    return Composition(score[later[1], earlier[1]].item(), mean, std)


def compositions(
    model: Any,
    kind: str = "K",
    *,
    stack: str | None = None,
    distance: int = 0,
    samples: int = 32,
    seed: int = 0,
) -> Compositions:
    """`composition` of all pairs of heads; arguments and errors as there."""
    network, name = _network(model, stack)
    blocks = getattr(network, name).blocks
    n_layers, n_heads = len(blocks), network.config.n_heads
    values = torch.full((n_layers, n_heads, n_layers, n_heads), float("nan"))
    for later in range(n_layers):
        for earlier in range(later):
            values[later, :, earlier] = _pair_scores(network, name, earlier, later, kind, distance)
    return Compositions(values, *_baseline(network, kind, samples, seed))


# -- one head's place in its model ------------------------------------------------------------------


class _Part:
    """A head of our Transformer: its weights, what its layer reads, and what comes after it."""

    def __init__(self, model: Any, layer: int, head: int, kind: str | None):
        network, stack = _network(model, "decoder" if kind == "cross" else kind)
        self.network, self.kind, self.layer = network, kind or stack, layer
        if kind == "cross" and network.config.kind != "encoder-decoder":
            raise ValueError(f"kind='cross' is not in this model; it has {stack}")
        self.stack: Any = getattr(network, stack)
        n_layers, n_heads = len(self.stack), network.config.n_heads
        for name, value, limit in (("layer", layer, n_layers), ("head", head, n_heads)):
            if not 0 <= value < limit:
                raise ValueError(f"{name}={value} is outside 0 … {limit - 1} of this {stack}")
        self.block: Any = self.stack.blocks[layer]
        self.attention: Attention = self.block.cross if kind == "cross" else self.block.attention
        self.own = head  # of queries and outputs
        self.shared = head // (self.attention.n_heads // self.attention.n_kv_heads)
        both = network.config.kind == "encoder-decoder"
        target = network.target_embedding if both and stack == "decoder" else network.embedding
        self._query_table = target
        self._key_table = network.embedding if kind == "cross" else target
        names = [_names(model, "tokenizer"), _names(model, "target_tokenizer")]
        own = names[1 if both and stack == "decoder" else 0]
        self.name_query, self.name_key = own, names[0] if kind == "cross" else own
        self.name_out = own

    def query_side(self) -> Tensor:
        """What this layer's queries are made from, of each token: [vocab, d_model]."""
        norm = self.block.norm2 if self.kind == "cross" else self.block.norm1
        return _embedded(self.network, self._query_table, norm if self.block.norm_first else None)

    def key_side(self) -> Tensor:
        """The same for keys and values."""
        if self.kind == "cross":
            return _embedded(self.network, self._key_table, self.network.encoder.norm)
        norm = self.block.norm1 if self.block.norm_first else None
        return _embedded(self.network, self._key_table, norm)

    def weight(self, name: str) -> Tensor:
        """[d_model, d_head] of query, key or value; [d_head, d_model] of out. fp32, CPU."""
        return _weight(self.attention, name, self.own if name in ("query", "out") else self.shared)

    def norms_after(self) -> Iterable[nn.Module]:
        """What the head's output passes on its way to the end of the stack."""
        if not self.block.norm_first:
            yield from _post_norms(self.stack, self.layer, len(self.stack), self.kind == "cross")
        yield self.stack.norm

    def unembedding(self) -> tuple[Tensor, str | None]:
        """[vocab, d_model], and a note where it stands in for something else."""
        network = self.network
        if self.kind == "encoder" and network.config.kind == "encoder-decoder":
            note = "read with the embedding table, for an encoder predicts no tokens"
        elif network.head is None:
            note = "read with the embedding table, for the model has no head"
        elif network.config.head_transform:
            note = "read with the embedding table, for the model's head is not linear"
        else:
            return network.head.weight.detach().float().cpu(), None
        return self._query_table.weight.detach().float().cpu(), note


def _network(model: Any, stack: str | None) -> tuple[Any, str]:
    """(our Transformer, the name of its stack)"""
    network = model.model if hasattr(model, "tokenizer") else model
    network = getattr(network, "_orig_mod", network)
    if not isinstance(network, Transformer):
        raise ValueError(
            f"model is a {type(network).__name__}; circuits are read from a "
            "transformer_lab.Transformer: load a Hugging Face model with tl.pretrained.load"
        )
    kind = network.config.kind
    here = ["decoder", "encoder"] if kind == "encoder-decoder" else [kind]
    if stack is not None and stack not in here:
        raise ValueError(f"kind={stack!r} is not in this model; it has {', '.join(here)}")
    return network, stack or here[0]


def _names(model: Any, which: str) -> Callable[[int], str]:
    tokenizer = getattr(model, which, None)
    return str if tokenizer is None else lambda i: tokenizer.tokens([i])[0]


def _embedded(network: Any, table: Any, norm: nn.Module | None) -> Tensor:
    """Every token as a layer reads it where nothing else is in the stream: [vocab, d_model]."""
    x = table.weight.detach()
    if network.config.scale_embedding:
        x = x * network.config.d_model**0.5
    if network.config.token_types:
        x = x + network.token_types.weight.detach()[0]
    x = network.embedding_norm(x)
    return (x if norm is None else norm(x)).detach().float().cpu()


def _weight(attention: Any, name: str, head: int) -> Tensor:
    weight, d_head = getattr(attention, name).weight.detach().float().cpu(), attention.d_head
    at = slice(head * d_head, (head + 1) * d_head)
    return weight[:, at].T if name == "out" else weight[at].T


def _projected(part: _Part, x: Tensor, name: str, *, bias: bool) -> Tensor:
    """x [vocab, d_model] as one head's queries, keys or values: [vocab, d_head]."""
    head, d_head = part.own if name == "query" else part.shared, part.attention.d_head
    projected = x @ part.weight(name)
    whole = getattr(part.attention, name).bias
    if bias and whole is not None:
        projected = projected + whole.detach().float().cpu()[head * d_head : (head + 1) * d_head]
    return projected


def _rotated(network: Any, x: Tensor, distance: int) -> Tensor:
    """x [..., d_head] as a query's, `distance` tokens after the key."""
    if not 0 <= distance < network.config.n_ctx:
        raise ValueError(
            f"distance={distance} is outside the model's context (0 … {network.config.n_ctx - 1})"
        )
    at = torch.full(x.shape[-2:-1], distance, device=network.device)
    rows = x.reshape(1, -1, *x.shape[-2:]).to(network.device)
    return network.positions.rotate(rows, at).reshape(x.shape).cpu()


def _through(norms: Iterable[nn.Module], rows: Tensor) -> Tensor:
    """What centring and gains of the norms on the way make of vectors [..., d_model]."""
    for norm in norms:
        if isinstance(norm, nn.LayerNorm):
            rows = rows - rows.mean(-1, keepdim=True)
        gain = getattr(norm, "weight", None)
        if gain is not None:
            rows = rows * gain.detach().to(rows)
    return rows


def _post_norms(stack: Any, first: int, end: int, cross: bool = False) -> list[nn.Module]:
    """With norms after each addition: those that what attention adds in block `first` passes before
    block `end` reads it."""
    found = []
    for layer in range(first, end):
        block = stack.blocks[layer]
        names = ["norm1", "norm2", "norm3"][1 if cross and layer == first else 0 :]
        found += [getattr(block, name) for name in names if hasattr(block, name)]
    return found


# -- composition ------------------------------------------------------------------------------------


def _pair_scores(
    network: Any, stack: str, earlier: int, later: int, kind: str, distance: int
) -> Tensor:
    """[later head, earlier head]. Norms of d_model × d_model products are taken through d_head ×
    d_head ones: ‖A·Bᵀ‖² = tr(AᵀA · BᵀB)."""
    whole = getattr(network, stack)
    writer, reader = whole.blocks[earlier], whole.blocks[later]
    v, o = (_all_heads(writer.attention, name) for name in ("value", "out"))
    norms = [reader.norm1] if reader.norm_first else _post_norms(whole, earlier, later)
    o = _through(norms, o)
    names = {"Q": ("query", "key"), "K": ("key", "query"), "V": ("value", "out")}
    near, far = (_all_heads(reader.attention, name) for name in names[_checked(kind)])
    if kind == "V":
        far = far.transpose(-1, -2)
    elif network.positions.rotates:
        turn = lambda x: _rotated(network, x.float(), distance).double()  # noqa: E731
        near, far = (turn(near), far) if kind == "Q" else (near, turn(far))
    return _overlap(v, o, near, far).float()


def _overlap(v: Tensor, o: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """‖v·o·near·farᵀ‖ / (‖v·o‖ · ‖near·farᵀ‖) for every later head (near, far [head, d_model, d_head])
    and earlier head (v [head, d_model, d_head], o [head, d_head, d_model])."""
    gram_v, gram_far = v.transpose(-1, -2) @ v, far.transpose(-1, -2) @ far
    through = torch.einsum("eij,ljk->leik", o, near)
    inner = ((gram_v @ through) * (through @ gram_far[:, None])).sum((-1, -2))
    written = (gram_v * (o @ o.transpose(-1, -2))).sum((-1, -2))
    read = (gram_far * (near.transpose(-1, -2) @ near)).sum((-1, -2))
    return (inner.clamp(min=0) / (read[:, None] * written).clamp(min=1e-300)).sqrt()


def _all_heads(attention: Any, name: str) -> Tensor:
    """fp64 [head, d_model, d_head], or of out [head, d_head, d_model]; shared heads repeated."""
    group = attention.n_heads // attention.n_kv_heads
    heads = range(attention.n_heads)
    at = [h if name in ("query", "out") else h // group for h in heads]
    return torch.stack([_weight(attention, name, h) for h in at]).double()


def _checked(kind: str) -> str:
    if kind not in ("Q", "K", "V"):
        raise ValueError(f"kind={kind!r} is not known; choose 'Q', 'K' or 'V'")
    return kind


def _baseline(network: Any, kind: str, samples: int, seed: int) -> tuple[float, float]:
    """Mean and spread between heads whose four matrices are random numbers."""
    if samples < 2:
        raise ValueError(f"samples={samples} must be at least 2, for a spread")
    _checked(kind)
    generator = torch.Generator().manual_seed(seed)
    shape = (samples, network.config.d_model, network.config.d_head)
    v, o, near, far = (
        torch.randn(shape, generator=generator, dtype=torch.double) for _ in range(4)
    )
    o = o.transpose(-1, -2)
    draws = [_overlap(v[[i]], o[[i]], near[[i]], far[[i]]).item() for i in range(samples)]
    return _spread(draws)


def _copying(small: Tensor) -> float:
    values = torch.linalg.eigvals(small.double())
    return float(values.real.sum() / values.abs().sum().clamp(min=1e-300))


def _spread(draws: list[float]) -> tuple[float, float]:
    found = torch.tensor(draws, dtype=torch.double)
    return found.mean().item(), found.std().item()

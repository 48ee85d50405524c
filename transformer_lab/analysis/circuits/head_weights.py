"""One head of a model: its weights, what its layer reads, and what comes after it.

In our Transformer every weight is known by name; for others, the network computes what a head does
with a vector that is alone in the stream (`Network.alone`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...adapters.lookup import network_of, transformer_of
from ...adapters.network import no_heads
from ...attention import Attention


class HeadWeights:
    """A head of our Transformer: its weights, what its layer reads, and what comes after it."""

    def __init__(self, model: Any, layer: int, head: int, kind: str | None):
        network, stack = stack_of(model, "decoder" if kind == "cross" else kind)
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
        """The input of this layer's queries for each token: [vocab, d_model]."""
        first, after = self.block.norm_first, self.kind == "cross"
        norm = self.block.norm2 if after and first else self.block.norm1
        return _embedded(self.network, self._query_table, norm if after or first else None)

    def key_side(self) -> Tensor:
        """The same for keys and values."""
        if self.kind == "cross":
            encoder = self.network.encoder
            norms = [] if self.block.norm_first else post_norms(encoder, 0, len(encoder))
            return _embedded(self.network, self._key_table, nn.Sequential(*norms, encoder.norm))
        norm = self.block.norm1 if self.block.norm_first else None
        return _embedded(self.network, self._key_table, norm)

    def weight(self, name: str) -> Tensor:
        """[d_model, d_head] of query, key or value; [d_head, d_model] of out. fp32, CPU."""
        return weight_of(
            self.attention, name, self.own if name in ("query", "out") else self.shared
        )

    def projected(self, x: Tensor, name: str, *, bias: bool) -> Tensor:
        """x [vocab, d_model] as this head's queries, keys or values: [vocab, d_head]."""
        head, d_head = self.own if name == "query" else self.shared, self.attention.d_head
        projected = x @ self.weight(name)
        whole = getattr(self.attention, name).bias
        if bias and whole is not None:
            at = slice(head * d_head, (head + 1) * d_head)
            projected = projected + whole.detach().float().cpu()[at]
        return projected

    # -- what circuits are made of ---------------------------------------------------------------

    @property
    def scale(self) -> float:
        return self.attention.d_head**-0.5

    @property
    def position_note(self) -> str | None:
        scheme = self.network.positions
        left_out = not scheme.rotates and self.network.config.positions.name != "none"
        return "positions are left out" if left_out and self.kind != "cross" else None

    @property
    def one_vocabulary(self) -> bool:
        """Whether the attended token and the token made more likely are of one vocabulary."""
        return self.kind != "cross" or self.network.config.target_vocab_size is None

    def queries(self, distance: int) -> Tensor:
        """Every token's query, `distance` tokens after the key: [vocab, d_head]."""
        query = self._normed(self.projected(self.query_side(), "query", bias=True))
        turns = self.kind != "cross" and self.network.positions.rotates
        return rotated(self.network, query, distance) if turns else query

    def keys(self) -> Tensor:
        return self._normed(self.projected(self.key_side(), "key", bias=True))

    def values(self) -> Tensor:
        """Every token's value, without the bias."""
        return self.projected(self.key_side(), "value", bias=False)

    def out(self) -> Tensor:
        """W_O of this head: [d_head, d_model]."""
        return self.weight("out")

    def onward(self, rows: Tensor) -> tuple[Tensor, str | None]:
        """Return logits of what attention adds, by gains, centring and head alone: [n, d_model] ->
        [n, vocab]; and a note if something replaces the head.
        """
        unembedding, note = self.unembedding()
        return through(list(self.norms_after()), rows) @ unembedding.T, note

    def _normed(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:]) if self.attention.qk_norm else x

    def norms_after(self) -> Iterable[nn.Module]:
        """Yield the norms that the head's output passes on its way to the end of the stack."""
        if not self.block.norm_first:
            yield from post_norms(self.stack, self.layer, len(self.stack), self.kind == "cross")
        yield self.stack.norm

    def unembedding(self) -> tuple[Tensor, str | None]:
        """Return the unembedding [vocab, d_model], and a note if something replaces it."""
        network = self.network
        if self.kind == "encoder" and network.config.kind == "encoder-decoder":
            note = "read with the embedding table, because an encoder predicts no tokens"
        elif network.head is None:
            note = "read with the embedding table, because the model has no head"
        elif network.config.head_transform:
            note = "read with the embedding table, because the model's head is not linear"
        else:
            return network.head.weight.detach().float().cpu(), None
        return self._query_table.weight.detach().float().cpu(), note


class HubHead:
    """A head of any other network, computed by its own code."""

    def __init__(self, model: Any, layer: int, head: int, kind: str | None):
        network = network_of(model)
        cross = kind == "cross" and "cross" in network.kinds
        self.kind = "cross" if cross else kind_of(network, kind)
        # Queries come from one stack's tokens; in cross-attention, keys come from the other's.
        self._stack = "decoder" if cross else self.kind
        self._key_stack = "encoder" if cross else self.kind
        layers = network.layers(self.kind)
        if not 0 <= layer < len(layers):
            raise ValueError(f"layer={layer} is outside 0 … {len(layers) - 1} of this {self.kind}")
        if layers[layer].heads == 0:
            raise ValueError(no_heads(layers[layer], layers))
        self.alone, self.layer, self.head = network.alone(), layer, head
        first = self.alone.reading(self.kind, layer, self.alone.embedded(self._stack)[:1])
        n_heads, n_kv = first.query.shape[1], first.key.shape[1]
        if not 0 <= head < n_heads:
            raise ValueError(f"head={head} is outside 0 … {n_heads - 1} of this {self.kind}")
        self.n_heads, self.shared = n_heads, head // (n_heads // n_kv)
        self.scale, self._biased = first.scale, first.biased
        both = network.kind == "encoder-decoder"
        own = _names(
            model, "target_tokenizer" if both and self._stack == "decoder" else "tokenizer"
        )
        self.name_query = self.name_out = own
        self.name_key = _names(model, "tokenizer") if cross else own
        self.one_vocabulary = not cross or self.alone.one_vocabulary

    @property
    def position_note(self) -> str | None:
        left_out = self._biased or self.alone.leaves_positions_out
        return "positions are left out" if left_out else None

    def queries(self, distance: int) -> Tensor:
        limit = self.alone.network.n_ctx
        if not 0 <= distance < (limit or distance + 1):
            raise ValueError(f"distance={distance} is outside the model's context (0 … {limit})")
        table = self.alone.embedded(self._stack)
        found = self.alone.reading(self.kind, self.layer, table).query[:, self.head].cpu()
        if distance == 0 or self.kind == "cross":
            return found
        turn = self.alone.turn(self.kind, self.layer, self.head, distance)
        return found if turn is None else found @ turn

    def keys(self) -> Tensor:
        return self._keys_values().key[:, self.shared].cpu()

    def values(self) -> Tensor:
        found = self._keys_values().value[:, self.shared]
        return (found - self.alone.value_bias(self.kind, self.layer)[self.shared]).cpu()

    def key_side(self) -> Tensor:
        table = self.alone.embedded(self._key_stack)
        return self.alone.read_by(self.kind, self.layer, table).cpu()

    def out(self) -> Tensor:
        return self.alone.out(self.kind, self.layer).unflatten(0, (self.n_heads, -1))[self.head]

    def onward(self, rows: Tensor) -> tuple[Tensor, str | None]:
        largest, size = rows.abs().max().clamp(min=1e-12), 1.0
        probe = torch.stack((rows[0] / largest, 2 * rows[0] / largest))
        found = self._logits(probe)
        if found is None:
            return self._by_table(rows, "the model has no head")
        cap = self.alone.network.logit_softcap
        if cap is not None:  # so small that the cap does nothing
            size = 0.005 * cap / max(1e-6, float(found.abs().max()))
            found = self._logits(size * probe)
            assert found is not None
        if float((found[1] - 2 * found[0]).norm()) > 1e-3 * float(found[1].norm()):
            return self._by_table(rows, "the model's head is not linear")
        found = self._logits(rows * size / largest)
        assert found is not None
        return found * (largest / size), None

    def _logits(self, rows: Tensor) -> Tensor | None:
        rows = rows.to(self.alone.embedded(self._stack))
        return self.alone.onward(self.kind, self.layer, rows).logits

    def _by_table(self, rows: Tensor, why: str) -> tuple[Tensor, str]:
        table = self.alone.table(self._stack)
        found = self.alone.onward(self.kind, self.layer, rows.to(table)).stream
        return found @ table.cpu().T, f"read with the embedding table, because {why}"

    def _keys_values(self) -> Any:
        table = self.alone.embedded(self._key_stack)
        return self.alone.reading(self.kind, self.layer, table, side="key")


def head_of(model: Any, layer: int, head: int, kind: str | None) -> HeadWeights | HubHead:
    """Return a head of any model.

    Raises:
        ValueError: for a layer, head or kind that does not exist, or a model whose parts are not
            known.
    """
    which = HeadWeights if transformer_of(model) is not None else HubHead
    return which(model, layer, head, kind)


def kind_of(network: Any, kind: str | None, argument: str = "kind") -> str:
    """Return the kind named, or the model's default.

    Raises:
        ValueError: for a kind that does not exist, and for cross-attention, which is not a stack.
    """
    here = [k for k in ("decoder", "encoder") if k in network.kinds]
    if kind is not None and kind not in here:
        raise ValueError(f"{argument}={kind!r} is not in this model; it has {', '.join(here)}")
    return kind or here[0]


def stack_of(model: Any, stack: str | None, argument: str = "kind") -> tuple[Any, str]:
    """Return (our Transformer, the name of its stack)."""
    network = transformer_of(model)
    assert network is not None
    if any(c.__name__ == "FSDPModule" for m in network.modules() for c in type(m).__mro__):
        raise ValueError(
            "circuits of a Transformer are read from its weights, which FSDP keeps in parts; give the model "
            "as it was before fully_shard"
        )
    kind = network.config.kind
    here = ["decoder", "encoder"] if kind == "encoder-decoder" else [kind]
    if stack is not None and stack not in here:
        raise ValueError(f"{argument}={stack!r} is not in this model; it has {', '.join(here)}")
    return network, stack or here[0]


def rotated(network: Any, x: Tensor, distance: int) -> Tensor:
    """Rotate x [..., d_head] as a query that comes `distance` tokens after the key."""
    if not 0 <= distance < network.config.n_ctx:
        raise ValueError(
            f"distance={distance} is outside the model's context (0 … {network.config.n_ctx - 1})"
        )
    at = torch.full(x.shape[-2:-1], distance, device=network.device)
    rows = x.reshape(1, -1, *x.shape[-2:]).to(network.device)
    return network.positions.rotate(rows, at).reshape(x.shape).cpu()


def through(norms: Iterable[nn.Module], rows: Tensor) -> Tensor:
    """Apply the centring and gains of norms to vectors [..., d_model]."""
    for norm in norms:
        if isinstance(norm, nn.LayerNorm):
            rows = rows - rows.mean(-1, keepdim=True)
        gain = getattr(norm, "weight", None)
        if gain is not None:
            rows = rows * gain.detach().to(rows)
    return rows


def post_norms(stack: Any, first: int, end: int, cross: bool = False) -> list[nn.Module]:
    """Return the norms, in a post-norm stack, between the attention output of block `first` and the
    input of block `end`.
    """
    found = []
    for layer in range(first, end):
        block = stack.blocks[layer]
        names = ["norm1", "norm2", "norm3"][1 if cross and layer == first else 0 :]
        found += [getattr(block, name) for name in names if hasattr(block, name)]
    return found


def spread(draws: list[float]) -> tuple[float, float]:
    found = torch.tensor(draws, dtype=torch.double)
    return found.mean().item(), found.std().item()


def _names(model: Any, which: str) -> Callable[[int], str]:
    tokenizer = getattr(model, which, None)
    return str if tokenizer is None else lambda i: tokenizer.tokens([i])[0]


def _embedded(network: Any, table: Any, norm: nn.Module | None) -> Tensor:
    """Every token as a layer reads it if nothing else is in the stream: [vocab, d_model]."""
    x = table.weight.detach()
    if network.config.scale_embedding:
        x = x * network.config.d_model**0.5
    if network.config.token_types:
        x = x + network.token_types.weight.detach()[0]
    x = network.embedding_norm(x)
    return (x if norm is None else norm(x)).detach().float().cpu()


def weight_of(attention: Any, name: str, head: int) -> Tensor:
    weight, d_head = getattr(attention, name).weight.detach().float().cpu(), attention.d_head
    at = slice(head * d_head, (head + 1) * d_head)
    return weight[:, at].T if name == "out" else weight[at].T

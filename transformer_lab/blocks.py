"""The block: attention, then a feed-forward layer, each with a residual connection and a norm."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention, Site, Tap
from .cache import KVCache
from .config import ModelConfig
from .positions import PositionModule
from .softmax import RMSNorm, squared_relu


def make_norm(config: ModelConfig) -> nn.Module:
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019), over d_model."""
    if config.norm == "rms":
        return RMSNorm(config.d_model, eps=config.norm_eps, elementwise_affine=config.norm_affine)
    return nn.LayerNorm(
        config.d_model, eps=config.norm_eps, elementwise_affine=config.norm_affine, bias=config.bias
    )


def activate(name: str, x: Tensor) -> Tensor:
    if name == "gelu":
        return F.gelu(x)
    if name == "gelu_tanh":
        return F.gelu(x, approximate="tanh")
    if name == "relu":
        return F.relu(x)
    if name == "relu2":
        return squared_relu(x)
    return F.silu(x)  # also SwiGLU's gate


class FeedForward(nn.Module):
    """Two layers applied to each position separately: down(activation(up(x))), or with SwiGLU
    down(silu(gate(x)) · up(x)). [batch, position, d_model] -> the same.
    Source: Vaswani et al. 2017, equation 2; Shazeer 2020."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.activation = config.activation
        self.up = nn.Linear(config.d_model, config.d_ff, bias=config.bias)
        if config.activation == "swiglu":
            self.gate = nn.Linear(config.d_model, config.d_ff, bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        up = self.up(x)
        if self.activation == "swiglu":
            return self.down(activate("silu", self.gate(x)) * up)
        return self.down(activate(self.activation, up))


class Experts(nn.Module):
    """Several feed-forward layers (experts) and a router that sends each token to a few of them.

    The router gives every expert a probability. A token goes through its `experts_per_token` most
    probable ones, and their outputs are added, each times its probability. Training also minimises
    balance_loss · n_experts · Σ (fraction of choices) · (mean probability), which is balance_loss
    if all experts are chosen equally often; the reported loss leaves it out.
    Source: Shazeer et al. 2017; Fedus et al. 2022, equations 2 and 4 to 6.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        assert config.n_experts is not None
        self.n_chosen, self.balance_loss = config.experts_per_token, config.balance_loss
        self.router = nn.Linear(config.d_model, config.n_experts, bias=False)
        self.experts = nn.ModuleList(FeedForward(config) for _ in range(config.n_experts))

    def gates(self, x: Tensor) -> Tensor:
        """The probability of each expert that a token goes to, and 0 for the others:
        [batch, position, d_model] -> [batch, position, expert]."""
        chances = self.router(x).float().softmax(-1)
        top, chosen = chances.topk(self.n_chosen)
        if self.training and self.balance_loss:
            n = len(self.experts)
            fractions = F.one_hot(chosen, n).float().flatten(0, -2).mean(0)
            term = n * fractions @ chances.flatten(0, -2).mean(0)
            top = _AlsoMinimised.apply(top, self.balance_loss * term)
        return torch.zeros_like(chances).scatter(-1, chosen, top).to(x.dtype)

    def forward(self, x: Tensor, gates: Tensor) -> Tensor:
        """Sum of the experts' outputs times their gates, computed only where those are not 0."""
        if torch.compiler.is_compiling():  # or exporting, which refuses data-dependent rows
            return sum(
                gate[..., None] * expert(x)
                for gate, expert in zip(gates.unbind(-1), self.experts, strict=True)
            )  # type: ignore[return-value]
        rows, weights = x.flatten(0, -2), gates.flatten(0, -2)
        out = torch.zeros_like(rows)
        for i, expert in enumerate(self.experts):
            chosen = weights[:, i].nonzero()[:, 0]
            out = out.index_add(0, chosen, weights[chosen, i, None] * expert(rows[chosen]))
        return out.view_as(x)


class _AlsoMinimised(torch.autograd.Function):
    """Return x; add the gradient of `term` to that of any loss of x. Source: Megatron-Core."""

    @staticmethod
    def forward(ctx, x: Tensor, term: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient, gradient.new_ones(())


class Dictionary(nn.Module):
    """A feed-forward layer whose output is replaced by a sum of a few features: at each position
    the k most active ones of a sparse autoencoder, each times its activation. It replaces the
    layer, `block.feed_forward = tl.Dictionary(block.feed_forward, …)`, and its features are then
    traced and skipped like experts.

    Args:
        feed_forward: the layer, [batch, position, d_model] -> the same.
        encoder: linear, from d_model to the number of features.
        decoder: linear, from features to d_model. Its columns are the features' directions; its
            bias is subtracted before encoding.
        k: how many features are active at a position, at most.

    Source: Bricken et al. 2023; Gao et al. 2024, section 2.3 (top-k).
    """

    def __init__(self, feed_forward: nn.Module, encoder: nn.Linear, decoder: nn.Linear, k: int):
        super().__init__()
        wide = encoder.out_features
        if (encoder.in_features, wide) != (decoder.out_features, decoder.in_features):
            raise ValueError(
                "decoder must lead back from the features of encoder, got encoder "
                f"{encoder.in_features} → {wide} and decoder {decoder.in_features} → {decoder.out_features}"
            )
        if not 1 <= k <= wide:
            raise ValueError(f"k must be 1 to {wide}, the number of features, got {k}; try k=8")
        self.layer, self.encoder, self.decoder, self.k = feed_forward, encoder, decoder, k

    def gates(self, x: Tensor) -> Tensor:
        """The activation of each feature, and 0 for all but the k largest:
        [batch, position, d_model] -> [batch, position, feature]."""
        centred = self.layer(x)
        if self.decoder.bias is not None:
            centred = centred - self.decoder.bias
        activations = F.relu(self.encoder(centred))
        top, active = activations.topk(self.k)
        return torch.zeros_like(activations).scatter(-1, active, top)

    def forward(self, x: Tensor, gates: Tensor) -> Tensor:
        """The features' directions, each times its activation, and the decoder's bias."""
        return self.decoder(gates)


class Block(nn.Module):
    """One layer of an encoder (self-attention), of a decoder (causal self-attention), or of an
    encoder-decoder's decoder (causal self-attention, then cross-attention to the memory).

    With `norm_first` the residual stream itself is never normalised: x + f(norm(x)). Without, it
    is the paper's norm(x + f(x)).
    """

    taps: tuple[Tap, ...] = ()

    def __init__(self, config: ModelConfig, kind: str, layer: int, *, cross: bool = False):
        super().__init__()
        self.site, self.norm_first = Site(kind, layer), config.norm_first
        self.dropout = config.dropout
        self.attention = Attention(config, self.site, causal=kind == "decoder")
        self.norm1 = make_norm(config)
        self.cross = self.feed_forward = None
        if cross:
            self.cross = Attention(config, Site("cross", layer), causal=False)
            self.norm2 = make_norm(config)
        if not config.attention_only:
            self.feed_forward = (FeedForward if config.n_experts is None else Experts)(config)
            self.norm3 = make_norm(config)

    def forward(
        self,
        x: Tensor,
        *,
        bias: Tensor | None = None,
        positions: tuple[PositionModule, Tensor] | None = None,
        memory: Tensor | None = None,
        memory_bias: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        x = self._tapped("resid_pre", x)
        h = self.norm1(x) if self.norm_first else x
        out = self.attention(h, bias=bias, positions=positions, cache=cache)
        x = self._add(x, out, "attn_out", self.norm1)
        if self.cross is not None:
            h = self.norm2(x) if self.norm_first else x
            out = self.cross(h, memory, bias=memory_bias, cache=cache)
            x = self._add(x, out, "cross_out", self.norm2)
        x = self._tapped("resid_mid", x)
        if self.feed_forward is not None:
            h = self.norm3(x) if self.norm_first else x
            if gates := getattr(self.feed_forward, "gates", None):
                out = self.feed_forward(h, self._tapped("gates", gates(h)))
            else:
                out = self.feed_forward(h)
            x = self._add(x, out, "mlp_out", self.norm3)
        return self._tapped("resid_post", x)

    def _add(self, x: Tensor, out: Tensor, name: str, norm: nn.Module) -> Tensor:
        if self.training and self.dropout:  # even a dropout of 0 costs a copy
            out = F.dropout(out, self.dropout)
        out = self._tapped(name, out)
        return x + out if self.norm_first else norm(x + out)

    def _tapped(self, name: str, x: Tensor) -> Tensor:
        for tap in self.taps:
            x = tap.on_stream(name, self.site, x)
        return x


class Stack(nn.Module):
    """A stack of blocks, and with `norm_first` the final norm."""

    def __init__(self, config: ModelConfig, kind: str, n_layers: int, *, cross: bool = False):
        super().__init__()
        self.blocks = nn.ModuleList(Block(config, kind, i, cross=cross) for i in range(n_layers))
        self.norm = make_norm(config) if config.norm_first else nn.Identity()

    def forward(self, x: Tensor, **context) -> Tensor:
        for block in self.blocks:
            x = block(x, **context)
        return self.norm(x)

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)  # type: ignore[arg-type]


def padding_bias(mask: Tensor | None) -> Tensor | None:
    """Bool [batch, position] (True: real) -> bool [batch, 1, 1, key], or None if all are real."""
    if mask is None or (not torch.compiler.is_compiling() and bool(mask.all())):
        return None
    return mask[:, None, None, :]

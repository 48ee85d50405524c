"""The Transformer: an encoder, a decoder or both, depending on its config."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .arguments import check, shown
from .attention import Attention, Tapped
from .blocks import Block, FeedForward, Stack, activate, make_norm, padding_bias
from .cache import KVCache
from .config import ModelConfig, RecurrentConfig

NEEDS_TARGET = "an encoder-decoder needs target, the decoder's input: model(source, target)"


class TokenModel(Tapped, nn.Module):
    """What a `Transformer` and a `Recurrent` share: the embedding, and a second one for a target
    with its own vocabulary."""

    config: Any  # a ModelConfig or a RecurrentConfig

    def __init__(self, config: ModelConfig | RecurrentConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.target_embedding = self.embedding
        if config.target_vocab_size is not None:
            self.target_embedding = nn.Embedding(config.target_vocab_size, config.d_model)

    @property
    def n_outputs(self) -> int:
        """The number of tokens that the head chooses from."""
        return self.config.target_vocab_size or self.config.vocab_size

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    def n_parameters(self) -> int:
        """Number of parameters; a tied head counts once."""
        return sum(p.numel() for p in self.parameters())


class Transformer(TokenModel):
    """The transformer of Vaswani et al. 2017 and its variants: encoder, decoder or encoder-decoder.

    kind "decoder" (GPT): causal; logits predict the next token.
    kind "encoder" (BERT): bidirectional; logits predict the token at each position.
    kind "encoder-decoder": `tokens` is the source, `target` what the decoder has read so far.

    `random_weights` names the weights that a loader found in no file; see `pretrained.load`.
    """

    config: ModelConfig
    random_weights: tuple[str, ...] = ()

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        both = config.kind == "encoder-decoder"
        if config.token_types:
            self.token_types = nn.Embedding(config.token_types, config.d_model)
        self.positions = config.positions.build(
            d_model=config.d_model,
            n_heads=config.n_heads,
            d_head=config.d_head,
            n_ctx=config.n_ctx,
            kind=config.kind,
        )
        self.embedding_norm = make_norm(config) if config.embedding_norm else nn.Identity()
        self.embedding_dropout = nn.Dropout(config.dropout)
        self.encoder = self.decoder = None
        if config.kind != "decoder":
            self.encoder = Stack(config, "encoder", config.n_layers)
        if config.kind != "encoder":
            n_layers = config.n_decoder_layers or config.n_layers
            self.decoder = Stack(config, "decoder", n_layers, cross=both)
        self.head = None
        if config.head:
            if config.head_transform:
                self.transform = nn.Linear(config.d_model, config.d_model)
                self.transform_norm = make_norm(config)
            self.head = nn.Linear(config.d_model, self.n_outputs, bias=config.head_bias)
        self._initialise()
        if self.head is not None and config.tie_head:
            self.head.weight = self.target_embedding.weight

    def _initialise(self) -> None:
        """Initialise the weights.

        | embeddings          | normal, std 0.02; 1/√d_model where they are scaled by √d_model     |
        | linear layers       | Xavier uniform (Glorot and Bengio 2010); biases zero               |
        | output projections  | the same / √(2 · layers), so that the stream starts at one scale   |
        |                     | (GPT-2); zero with `zero_init`, and then the head is zero too      |
        """
        config = self.config
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                std = config.d_model**-0.5 if config.scale_embedding else 0.02
                nn.init.normal_(module.weight, std=std)
        stacks = [stack for stack in (self.encoder, self.decoder) if stack is not None]
        for stack in stacks:
            for block in stack:
                last = [block.attention.out]
                last += [block.cross.out] if block.cross is not None else []
                last += [m.down for m in block.modules() if isinstance(m, FeedForward)]
                for layer in last:
                    scale = 0.0 if config.zero_init else (2 * len(stack)) ** -0.5
                    layer.weight.data.mul_(scale)
        if config.zero_init and self.head is not None:
            nn.init.zeros_(self.head.weight)

    def forward(
        self,
        tokens: Tensor,
        target: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        token_types: Tensor | None = None,
    ) -> Tensor:
        """Return the logits.

        Args:
            tokens: int64 [batch, position].
            target: int64 [batch, target position], for an encoder-decoder: the decoder's input.
            mask, target_mask: bool, the shapes of tokens and target; True marks a real token.
            token_types: int64 [batch, position], segments (BERT).

        Returns:
            [batch, position, vocab]; for an encoder-decoder over the target's positions. A model
            without a head returns its final hidden states instead: [batch, position, d_model].

        Raises:
            ValueError: if the inputs do not fit the model; the message says what does.
        """
        hidden = self.hidden(
            tokens, target, mask=mask, target_mask=target_mask, token_types=token_types
        )
        return hidden if self.head is None else self.logits(hidden)

    def hidden(
        self,
        tokens: Tensor,
        target: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        token_types: Tensor | None = None,
    ) -> Tensor:
        """The final hidden states, after the last norm: [batch, position, d_model]."""
        self._check(tokens, target, mask, target_mask)
        if self.config.kind == "encoder":
            return self.encode(tokens, mask, token_types=token_types)
        if self.config.kind == "decoder":
            return self._run(self.decoder, self.embedding, tokens, mask, token_types=token_types)
        assert target is not None  # _check has refused that
        memory = self.encode(tokens, mask)
        return self.decode(target, memory, mask=mask, target_mask=target_mask)

    def encode(
        self, tokens: Tensor, mask: Tensor | None = None, *, token_types: Tensor | None = None
    ) -> Tensor:
        """The encoder's final hidden states (the decoder's memory): [batch, position, d_model]."""
        if self.encoder is None:
            raise ValueError(f"a model of kind={self.config.kind!r} has no encoder; use hidden()")
        return self._run(self.encoder, self.embedding, tokens, mask, token_types=token_types)

    def encode_vectors(self, vectors: Tensor, mask: Tensor | None = None) -> Tensor:
        """As `encode`, for vectors [batch, position, d_model] in place of token embeddings;
        positions are added to them too."""
        if self.encoder is None:
            raise ValueError(f"a model of kind={self.config.kind!r} has no encoder")
        return self._run(self.encoder, nn.Identity(), vectors, mask)

    def decode(
        self,
        target: Tensor,
        memory: Tensor | None,
        *,
        mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """The decoder's final hidden states over `target`, given the encoder's memory (None without
        an encoder) and its mask. With a cache, `target` continues the cached tokens, and
        `target_mask` covers those too."""
        return self._run(
            self.decoder,
            self.target_embedding,
            target,
            target_mask,
            cache=cache,
            memory=memory,
            memory_bias=padding_bias(mask),
        )

    def logits(self, hidden: Tensor) -> Tensor:
        """[batch, position, d_model] -> [batch, position, vocab]."""
        config = self.config
        if self.head is None:
            raise ValueError(
                "this model was built with head=False, so it has no logits; use hidden(), or "
                "build it with head=True"
            )
        if config.head_transform:
            hidden = self.transform_norm(activate(config.activation, self.transform(hidden)))
        logits = self.head(hidden)
        if config.logit_softcap is not None:
            logits = config.logit_softcap * torch.tanh(logits.float() / config.logit_softcap)
        return logits

    def embed(
        self,
        embedding: nn.Module,
        tokens: Tensor,
        positions: Tensor,
        token_types: Tensor | None = None,
    ) -> Tensor:
        """Embed tokens and (if the scheme adds them) positions: [batch, position, d_model]."""
        x = embedding(tokens)
        if self.config.scale_embedding:
            x = x * math.sqrt(self.config.d_model)
        if self.config.token_types:
            x = x + self.token_types(
                torch.zeros_like(tokens) if token_types is None else token_types
            )
        if self.positions.adds_embedding:
            x = x + self.positions.embed(positions if positions.dim() > 1 else positions[None])
        return self.embedding_dropout(self.embedding_norm(x))

    def _run(
        self,
        stack,
        embedding,
        tokens,
        mask,
        *,
        token_types=None,
        memory=None,
        memory_bias=None,
        cache: KVCache | None = None,
    ) -> Tensor:
        start = 0 if cache is None else cache.length
        keys, queries = self.places(tokens, mask, start)
        x = self.embed(embedding, tokens, queries, token_types)
        bias = padding_bias(mask)
        extra = self.positions.bias(queries, keys, stack is self.decoder)
        if extra is not None:
            bias = extra if bias is None else extra.masked_fill(~bias, float("-inf"))
        context = dict(bias=bias, memory=memory, memory_bias=memory_bias, cache=cache)
        x = stack(x, positions=(self.positions, queries), **context)
        if cache is not None:
            cache.length += tokens.shape[1]
        return x

    def places(self, tokens: Tensor, mask: Tensor | None, start: int = 0) -> tuple[Tensor, Tensor]:
        """Positions of the keys and of the queries: [position], or [batch, position] where
        padding makes them differ between texts (each text's real tokens count from 0)."""
        end = start + tokens.shape[1]
        if end > self.config.n_ctx:
            raise ValueError(
                f"the text has {end} tokens but this model's context is "
                f"n_ctx={self.config.n_ctx}; shorten it, or train a model with a larger n_ctx"
            )
        if mask is None:
            positions = torch.arange(end, device=tokens.device)
            return positions, positions[start:]
        positions = (mask.long().cumsum(-1) - 1).clamp(min=0)
        return positions, positions[:, start:]

    def _check(self, tokens, target, mask, target_mask) -> None:
        both = self.config.kind == "encoder-decoder"
        if both and target is None:
            raise ValueError(NEEDS_TARGET)
        if not both and target is not None:
            raise ValueError(f"a model of kind={self.config.kind!r} takes no target; leave it out")
        for name, ids, real in (("tokens", tokens, mask), ("target", target, target_mask)):
            if ids is not None:
                check_ids(name, ids, real)

    # -- taps ---------------------------------------------------------------------------------

    def tapped(self) -> Iterator[Attention | Block]:
        """Yield every module that a hook is registered on: the attention layers and the blocks."""
        for stack in (self.encoder, self.decoder):
            for block in () if stack is None else stack:
                yield block
                # `self.modules()` would visit every linear layer, for each edit of a sweep.
                yield from (part for part in block._modules.values() if isinstance(part, Attention))


def check_ids(name: str, ids: Tensor, mask: Tensor | None) -> None:
    """Check that ids are a batch of texts, and that a mask matches them."""
    if ids.dim() != 2 or ids.dtype.is_floating_point or ids.dtype.is_complex:
        raise ValueError(
            f"{name} must be whole numbers [batch, position], got shape {list(ids.shape)} and "
            f"type {ids.dtype} (for one text: ids[None])"
        )
    if ids.shape[1] == 0:
        raise ValueError(f"{name} is empty; give at least one token")
    if mask is not None and (mask.shape != ids.shape or mask.dtype != torch.bool):
        raise ValueError(
            f"the mask of {name} must be bool {list(ids.shape)}, True for real tokens, got "
            f"{mask.dtype} {list(mask.shape)}"
        )


def pick_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device to compute on: "auto" prefers cuda, then mps, then cpu.

    Raises:
        ValueError: if the device is not available; the message names those that are.
    """
    check("device", name, str | torch.device)
    here = ["cpu"]
    if torch.backends.mps.is_available():
        here.insert(0, "mps")
    if torch.cuda.is_available():
        here.insert(0, "cuda")
    if name == "auto":
        return torch.device(here[0])
    if str(name).split(":")[0] not in here:
        raise ValueError(
            f"device must be one of auto, {', '.join(here)} on this machine, got {shown(str(name))}"
        )
    kind, colon, number = str(name).partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if colon and not (number.isascii() and number.isdigit() and int(number) < count):
        raise ValueError(
            f"device must be {kind}:0 … {count - 1} on this machine, got {shown(str(name))}"
        )
    return torch.device(name)

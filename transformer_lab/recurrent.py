"""The models before transformers: LSTM and GRU, with and without Bahdanau's attention.

They are trained, traced and edited, and generate text, like a `Transformer`, so that speed, path
length and attention patterns can be compared. The recurrent layers are torch.nn's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .attention import AttentionCall, Site, Tap
from .cache import KVCache
from .config import ModelConfig, RecurrentConfig
from .model import NEEDS_TARGET, TokenModel, check_ids
from .softmax import safe_softmax

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}
LAYERS = ("self-attention", "recurrent", "convolutional")


class Bahdanau(nn.Module):
    """Additive attention, the first kind: score(s, h) = v · tanh(W s + U h).

    s [batch, d_model] is the decoder's last state, h [batch, key, d_model] the encoder's states.
    Source: Bahdanau et al. 2015, appendix A.1.2.

    The scores are not a dot product, so hooks get them as the bias of a call whose queries and keys
    are zero: softmax(0 + scores) is the pattern. Editing hooks run at every step, recording ones
    once, at the end.
    """

    taps: tuple[Tap, ...] = ()
    site = Site("cross", 0)

    def __init__(self, d_model: int):
        super().__init__()
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key = nn.Linear(d_model, d_model)
        self.score = nn.Linear(d_model, 1, bias=False)

    def forward(self, state: Tensor, keys: Tensor, memory: Tensor, step: _Steps) -> Tensor:
        """The context Σ softmax(score)·h of one step: [batch, d_model]. keys = U h."""
        scores = self.score(torch.tanh(self.query(state)[:, None] + keys))[..., 0]
        if step.allowed is not None:
            scores = scores.masked_fill(~step.allowed, float("-inf"))
        editing = [tap for tap in self.taps if not tap.records]
        if not editing:
            context = (safe_softmax(scores)[:, None] @ memory)[:, 0]
            if self.taps:
                step.scores.append(scores)
                step.out.append(context)
            return context
        # Earlier rows have been used, later ones are not known yet: only row t counts.
        t = len(step.given)
        step.given.append(scores)
        call = self._call([*step.given, *[scores] * (step.n - t - 1)], memory)
        for tap in editing:
            call = tap.on_attention(call)
        step.scores.append(call.scores()[:, 0, t])
        step.z.append((safe_softmax(step.scores[-1])[:, None] @ memory)[:, 0])
        known = torch.stack(step.z, 1)
        # With their mean in place of later rows, the mean over all rows is that of the known ones.
        later = known.mean(1, keepdim=True).expand(-1, step.n - t - 1, -1)
        z = torch.cat((known, later), 1)[:, None]
        for tap in editing:
            z = tap.on_heads(call, z)
        step.out.append(z[:, 0, t])
        return step.out[-1]

    def record(self, memory: Tensor, step: _Steps) -> None:
        """Pass the whole pattern and its outputs to the recording hooks, once they are known."""
        for tap in self.taps:
            if tap.records and step.scores:
                call = self._call(step.scores, memory)
                tap.on_attention(call)
                tap.on_heads(call, torch.stack(step.out, 1)[:, None])

    def _call(self, scores: list[Tensor], memory: Tensor) -> AttentionCall:
        bias = torch.stack(scores, 1)[:, None]  # [batch, head = 1, query, key]
        batch, _, query, key = bias.shape
        return AttentionCall(
            bias.new_zeros(batch, 1, query, 1),
            bias.new_zeros(batch, 1, key, 1),
            memory[:, None],
            bias,
            False,
            1.0,
            site=self.site,
            module=self,
        )


class _Steps:
    """What Bahdanau's attention keeps between steps for its hooks, and its mask."""

    def __init__(self, n: int, allowed: Tensor | None):
        self.n, self.allowed = n, allowed  # number of steps; bool [batch, key], True: may attend
        self.given: list[Tensor] = []
        self.scores: list[Tensor] = []
        self.z: list[Tensor] = []
        self.out: list[Tensor] = []  # z after edits


class Recurrent(TokenModel):
    """A recurrent language model or encoder-decoder with the methods of a `Transformer`.

    The encoder reads in both directions, d_model / 2 units each. The decoder starts from a
    projection of the encoder's last states. With Bahdanau's attention, each of its steps attends
    with the previous state as query and also reads the context; the head reads state and context.
    """

    config: RecurrentConfig

    def __init__(self, config: RecurrentConfig):
        super().__init__(config)
        d, both = config.d_model, config.kind == "encoder-decoder"
        self.dropout = nn.Dropout(config.dropout)
        between = config.dropout if config.n_layers > 1 else 0.0
        options = dict(num_layers=config.n_layers, batch_first=True, dropout=between)
        cell = CELLS[config.cell]
        self.encoder = self.attention = None
        if both:
            self.encoder = cell(d, d // 2, bidirectional=True, **options)
            self.bridge = nn.Linear(d, d)  # the encoder's last states -> the decoder's first
        attends = config.attention == "bahdanau"
        if attends:
            self.attention = Bahdanau(d)
            self.mix = nn.Linear(2 * d, d)  # state and context -> what the head reads
        self.decoder = cell(2 * d if attends else d, d, **options)
        self.head = nn.Linear(d, self.n_outputs, bias=False)
        self._initialise()
        if config.tie_head:
            self.head.weight = self.target_embedding.weight

    def _initialise(self) -> None:
        """Initialise embeddings at the scale of recurrent states, since a tied head compares the
        two; matrices from state to state orthogonal; an LSTM's forget gates open (Jozefowicz et al.
        2015); other matrices Xavier, other biases zero."""
        d = self.config.d_model
        for name, p in self.named_parameters():
            if "embedding" in name:
                nn.init.normal_(p, std=d**-0.5)
            elif "weight_hh" in name:
                for gate in p.data.split(p.shape[1]):
                    nn.init.orthogonal_(gate)
            elif p.dim() == 2:
                nn.init.xavier_uniform_(p)
            else:
                nn.init.zeros_(p)
                if "bias_ih" in name and self.config.cell == "lstm":
                    n = len(p) // 4
                    p.data[n : 2 * n] = 1.0  # gates in the order input, forget, cell, output

    def forward(
        self,
        tokens: Tensor,
        target: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        target_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits [batch, position, vocab]; arguments and errors as of a `Transformer`."""
        return self.logits(self.hidden(tokens, target, mask=mask, target_mask=target_mask))

    def hidden(
        self,
        tokens: Tensor,
        target: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        target_mask: Tensor | None = None,
    ) -> Tensor:
        """The head's input: [batch, position, d_model]."""
        if self.encoder is None:
            if target is not None:
                raise ValueError("a model of kind='decoder' takes no target; leave it out")
            return self._run(self.decoder, self.embedding, tokens, mask)
        if target is None:
            raise ValueError(NEEDS_TARGET)
        memory = self.encode(tokens, mask)
        return self.decode(target, memory, mask=mask, target_mask=target_mask)

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """The encoder's states, both directions side by side: [batch, position, d_model]."""
        if self.encoder is None:
            raise ValueError("a model of kind='decoder' has no encoder; use hidden()")
        self._check("tokens", tokens, mask)
        return _read(self.encoder, self.dropout(self.embedding(tokens)), mask)[0]

    def decode(
        self,
        target: Tensor,
        memory: Tensor | None,
        *,
        mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """The head's input over `target`, given the encoder's states (None without an encoder) and
        their mask.

        `target_mask` may be left out: padding follows the text, and nothing reads it there. The
        `cache` of `generate` holds the state between calls.
        """
        if memory is None:
            return self._run(self.decoder, self.embedding, target, target_mask, cache=cache)
        self._check("target", target, target_mask)
        x = self.dropout(self.target_embedding(target))
        state = self._restore(cache)
        if state is None:
            state = self._first_state(memory, mask)
        if self.attention is None:
            out, state = self.decoder(x, state)
        else:
            out, state = self._attend(x, memory, mask, state)
        self._store(cache, state, target.shape[1])
        return self.dropout(out)

    def _attend(self, x, memory, mask, state) -> tuple[Tensor, Any]:
        """Step by step, attend with the last state as query, then read token and context."""
        attention: Any = self.attention
        steps, keys, outs = _Steps(x.shape[1], mask), attention.key(memory), []
        for t in range(x.shape[1]):
            context = attention(_top(state), keys, memory, steps)
            out, state = self.decoder(torch.cat((x[:, t], context), -1)[:, None], state)
            outs.append(torch.cat((out[:, 0], context), -1))
        attention.record(memory, steps)
        return torch.tanh(self.mix(torch.stack(outs, 1))), state

    def _first_state(self, memory: Tensor, mask: Tensor | None) -> Any:
        """The decoder's initial state, the same for every layer: a projection of the encoder's last
        forward and last backward state."""
        d = self.config.d_model // 2
        last = memory.shape[1] - 1 - mask.flip(1).long().argmax(1) if mask is not None else -1
        first = mask.long().argmax(1) if mask is not None else 0
        rows = torch.arange(len(memory), device=memory.device)
        ends = torch.cat((memory[rows, last, :d], memory[rows, first, d:]), -1)
        h = torch.tanh(self.bridge(ends)).expand(self.config.n_layers, -1, -1).contiguous()
        return (h, torch.zeros_like(h)) if self.config.cell == "lstm" else h

    def logits(self, hidden: Tensor) -> Tensor:
        """[batch, position, d_model] -> [batch, position, vocab]."""
        return self.head(hidden)

    def _run(self, stack, embedding, tokens, mask, *, cache=None) -> Tensor:
        """Run the language model over `tokens`; the mask covers those in the cache too."""
        self._check("tokens", tokens, None)
        if mask is not None:
            mask = mask[:, -tokens.shape[1] :]  # earlier ones are in the cached state
        state = self._restore(cache)
        out, state = _read(stack, self.dropout(embedding(tokens)), mask, state)
        self._store(cache, state, tokens.shape[1])
        return self.dropout(out)

    # A KVCache keeps the state batch first, so that beam search can reorder it.
    def _restore(self, cache: KVCache | None) -> Any:
        if cache is None or not cache.length:
            return None
        parts = [part.transpose(0, 1).contiguous() for part in cache.own[0]]
        return tuple(parts) if self.config.cell == "lstm" else parts[0]

    def _store(self, cache: KVCache | None, state: Any, n: int) -> None:
        if cache is not None:
            h, c = state if isinstance(state, tuple) else (state, state)
            cache.own[0] = (h.transpose(0, 1), c.transpose(0, 1))
            cache.length += n

    def _check(self, name: str, ids: Tensor, mask: Tensor | None) -> None:
        check_ids(name, ids, mask)
        if ids.shape[1] > self.config.n_ctx:
            raise ValueError(
                f"the text has {ids.shape[1]} tokens but this model reads at most "
                f"n_ctx={self.config.n_ctx}; shorten it, or set a larger n_ctx"
            )

    # -- taps ---------------------------------------------------------------------------------

    def tapped(self) -> Iterator[Bahdanau]:
        """Yield every module that a hook is registered on."""
        if self.attention is not None:
            yield self.attention


def _top(state: Any) -> Tensor:
    """The last layer's hidden state: [batch, d_model]."""
    return (state[0] if isinstance(state, tuple) else state)[-1]


def _read(rnn: nn.Module, x: Tensor, mask: Tensor | None, state: Any = None) -> tuple[Tensor, Any]:
    """Run over the real tokens only, wherever the padding is; outputs at padding are zero.
    The state returned is the one after each text's last real token."""
    if mask is None or bool(mask.all()):
        return rnn(x, state)
    # Move real tokens to the front, in order, and their outputs back afterwards.
    order = (~mask).to(torch.int8).argsort(dim=1, stable=True)
    spread = lambda index, like: index[..., None].expand(-1, -1, like.shape[-1])  # noqa: E731
    lengths = mask.sum(1).clamp(min=1).cpu()
    packed = pack_padded_sequence(
        x.gather(1, spread(order, x)), lengths, batch_first=True, enforce_sorted=False
    )
    out, state = rnn(packed, state)
    out, _ = pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])
    return out.gather(1, spread(order.argsort(1), out)), state


# ---------------------------------------------------------------- what a layer costs


@dataclass(frozen=True)
class LayerCost:
    """One row of Table 1 of Vaswani et al. 2017, as numbers rather than orders of growth.

    operations: multiplications, up to a constant factor. dependent_steps: steps that must wait for
    one another, however many processors there are. path_length: steps between the two positions
    that are furthest apart.
    """

    operations: int
    dependent_steps: int
    path_length: int


def layer_cost(layer: str, *, length: int, d_model: int, kernel: int = 3) -> LayerCost:
    """Cost of a layer over `length` positions.

    Args:
        layer: "self-attention" (n²·d, 1, 1), "recurrent" (n·d², n, n) or "convolutional"
            (k·n·d², 1, log_k n, with dilation).
        length: n, positions.
        d_model: d, numbers per position.
        kernel: k, width of the convolution.

    Source: Vaswani et al. 2017, Table 1.
    """
    if layer not in LAYERS:
        raise ValueError(f"layer must be one of {', '.join(LAYERS)}, got {layer!r}")
    for name, value, least in (
        ("length", length, 1),
        ("d_model", d_model, 1),
        ("kernel", kernel, 2),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if layer == "self-attention":
        return LayerCost(length**2 * d_model, 1, 1)
    if layer == "recurrent":
        return LayerCost(length * d_model**2, length, length)
    hops = next(i for i in range(1, length + 1) if kernel**i >= length)
    return LayerCost(kernel * length * d_model**2, 1, hops)


def dependent_steps(config: ModelConfig | RecurrentConfig, length: int) -> int:
    """Layer evaluations that must wait for one another in one pass over `length` tokens (for an
    encoder-decoder, over `length` source and `length` target tokens).

    A transformer's layers wait only for each other. A recurrent layer also waits for its previous
    position; stacked layers run one position behind the layer below.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    sides = 2 if config.kind == "encoder-decoder" else 1
    if isinstance(config, RecurrentConfig):
        # Both directions of an encoder layer must end before the layer above can begin.
        encoder = length * config.n_layers if sides == 2 else 0
        return encoder + length + config.n_layers - 1
    return config.n_layers + (config.n_decoder_layers or 0 if sides == 2 else 0)


def path_length(config: ModelConfig | RecurrentConfig, length: int) -> int:
    """Most steps that a signal takes between two of `length` positions: from the first token to the
    last state, and for an encoder-decoder from a source token to a target token.

    One step for a transformer and for Bahdanau's attention; for the others, one per position.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    if not isinstance(config, RecurrentConfig) or config.attention == "bahdanau":
        return 1
    return 2 * length if config.kind == "encoder-decoder" else length

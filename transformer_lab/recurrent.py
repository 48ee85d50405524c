"""What came before: LSTM and GRU models, with and without Bahdanau's attention.

They are trained, traced, edited and made to write like a `Transformer`, so that speed, path
length and attention maps can be compared. The recurrent layers are torch.nn's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .attention import AttentionCall, Site, Tap, Tapped, safe_softmax
from .config import ModelConfig, check_known, check_options, check_positive

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}
ATTENTIONS = ("bahdanau", "none")
LAYERS = ("self-attention", "recurrent", "convolutional")


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """Everything that is needed to build a `Recurrent`.

    Sizes: `vocab_size` tokens, `n_layers` recurrent layers (of the encoder and of the decoder
    alike) of `d_model` units, texts of at most `n_ctx` tokens (a guard, not a part of the model).

    kind: "decoder" (a language model) or "encoder-decoder".
    cell: "lstm" (Hochreiter and Schmidhuber 1997) or "gru" (Cho et al. 2014).
    attention: of an encoder-decoder. "bahdanau": at every step the decoder looks at all of the
        source (Bahdanau et al. 2015). "none": it gets the encoder's last state and nothing else
        (Sutskever et al. 2014). None: "bahdanau" for an encoder-decoder.

    Raises:
        ValueError: when a size does not fit or a name is not known.
    """

    vocab_size: int
    kind: str = "decoder"
    cell: str = "lstm"
    attention: str | None = None
    n_layers: int = 1
    d_model: int = 128
    n_ctx: int = 2048
    target_vocab_size: int | None = None
    dropout: float = 0.0
    tie_head: bool = True
    pad_id: int | None = None

    n_heads = 1  # Bahdanau's one map
    head = True

    def __post_init__(self):
        for name in ("vocab_size", "n_layers", "d_model", "n_ctx"):
            check_positive(name, getattr(self, name))
        if self.attention is None:
            both = self.kind == "encoder-decoder"
            object.__setattr__(self, "attention", "bahdanau" if both else "none")
        known = dict(kind=("decoder", "encoder-decoder"), cell=tuple(CELLS), attention=ATTENTIONS)
        for name, names in known.items():
            check_known(name, getattr(self, name), names)
        if self.kind == "decoder":
            for name, nothing in (("attention", "none"), ("target_vocab_size", None)):
                if getattr(self, name) != nothing:
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} is for kind='encoder-decoder'; a language "
                        "model has one text only"
                    )
        elif self.d_model % 2:
            raise ValueError(f"d_model={self.d_model} must be even: half for each direction")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must be at least 0 and below 1")
        if self.pad_id is not None and not 0 <= self.pad_id < self.vocab_size:
            raise ValueError(f"pad_id={self.pad_id} must be below vocab_size={self.vocab_size}")

    @property
    def n_decoder_layers(self) -> int | None:
        """As in a `ModelConfig`; Bahdanau's attention is one layer, whatever the depth."""
        return 1 if self.kind == "encoder-decoder" else None

    def replace(self, **changes: Any) -> RecurrentConfig:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RecurrentConfig:
        """
        Raises:
            ValueError: for a key that is not a field, listing the fields.
        """
        check_options(cls, values)
        return cls(**values)


class Bahdanau(nn.Module):
    """Additive attention, the first kind: score(s, h) = v · tanh(W s + U h).

    s [batch, d_model] is the decoder's last state, h [batch, key, d_model] the encoder's states.
    Source: Bahdanau et al. 2015, appendix A.1.2.

    The scores are no dot product, so a tap is told of them as the bias of a call whose queries
    and keys are zero: softmax(0 + scores) is the map. Editing taps are asked at every step;
    recording ones once, at the end.
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
            if self.taps:
                step.scores.append(scores)
            return (safe_softmax(scores)[:, None] @ memory)[:, 0]
        # Rows before this one have been used, those after it are not known: only row t counts.
        t = len(step.given)
        step.given.append(scores)
        call = self._call([*step.given, *[scores] * (step.n - t - 1)], memory)
        for tap in editing:
            call = tap.on_attention(call)
        step.scores.append(call.scores()[:, 0, t])
        step.z.append((safe_softmax(step.scores[-1])[:, None] @ memory)[:, 0])
        known = torch.stack(step.z, 1)
        # With their mean in place of later rows, the mean over all rows is that of the known.
        later = known.mean(1, keepdim=True).expand(-1, step.n - t - 1, -1)
        z = torch.cat((known, later), 1)[:, None]
        for tap in editing:
            z = tap.on_heads(call, z)
        return z[:, 0, t]

    def record(self, memory: Tensor, step: _Steps) -> None:
        """Tell the recording taps of the whole map, when it is known."""
        for tap in self.taps:
            if tap.records and step.scores:
                tap.on_attention(self._call(step.scores, memory))

    def _call(self, scores: list[Tensor], memory: Tensor) -> AttentionCall:
        bias = torch.stack(scores, 1)[:, None]  # [batch, head = 1, query, key]
        batch, _, query, key = bias.shape
        return AttentionCall(
            bias.new_zeros(batch, 1, query, 1), bias.new_zeros(batch, 1, key, 1), memory[:, None],
            bias, False, 1.0, site=self.site, module=self,
        )  # fmt: skip


class _Steps:
    """What Bahdanau's attention keeps from step to step while a tap is on it."""

    def __init__(self, n: int, allowed: Tensor | None):
        self.n, self.allowed = n, allowed  # steps in all; bool [batch, key], True: may look
        self.given: list[Tensor] = []
        self.scores: list[Tensor] = []
        self.z: list[Tensor] = []


class Recurrent(Tapped, nn.Module):
    """A recurrent language model or encoder-decoder, with the surface of a `Transformer`.

    The encoder reads in both directions, d_model / 2 units each. The decoder starts from a
    projection of the encoder's last states; with Bahdanau's attention, each of its steps also
    reads the context that the step before asked for, and the head reads state and context.
    """

    def __init__(self, config: RecurrentConfig):
        super().__init__()
        self.config = config
        d, both = config.d_model, config.kind == "encoder-decoder"
        self.embedding = nn.Embedding(config.vocab_size, d)
        self.target_embedding = self.embedding
        if config.target_vocab_size is not None:
            self.target_embedding = nn.Embedding(config.target_vocab_size, d)
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

    @property
    def n_outputs(self) -> int:
        """The number of tokens that the head chooses from."""
        return self.config.target_vocab_size or self.config.vocab_size

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    def n_parameters(self) -> int:
        """Trained numbers; a tied head counts once."""
        return sum(p.numel() for p in self.parameters())

    def _initialise(self) -> None:
        """Embeddings as wide as recurrent states, since a tied head compares the two; matrices
        that carry a state to the next step orthogonal, an LSTM's forget gates open (Jozefowicz
        et al. 2015); everything else Xavier."""
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
        """What the head reads: [batch, position, d_model]."""
        if self.encoder is None:
            if target is not None:
                raise ValueError("a model of kind='decoder' takes no target")
            return self._run(self.decoder, self.embedding, tokens, mask)
        if target is None:
            raise ValueError(
                "an encoder-decoder needs target, the decoder's input: model(source, target)"
            )
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
        memory: Tensor,
        *,
        mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        cache: Any = None,
    ) -> Tensor:
        """What the head reads over `target`, given the encoder's states (and their mask).

        `target_mask` may be left out: padding stands after the text, where nothing reads it. A
        `cache` of `generate` holds the state between calls.
        """
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
        """One step after another: look, as the last state asks, then read token and context."""
        attention: Any = self.attention
        steps, keys, outs = _Steps(x.shape[1], mask), attention.key(memory), []
        for t in range(x.shape[1]):
            context = attention(_top(state), keys, memory, steps)
            out, state = self.decoder(torch.cat((x[:, t], context), -1)[:, None], state)
            outs.append(torch.cat((out[:, 0], context), -1))
        attention.record(memory, steps)
        return torch.tanh(self.mix(torch.stack(outs, 1))), state

    def _first_state(self, memory: Tensor, mask: Tensor | None) -> Any:
        """The decoder's state before it reads: made of the encoder's last state forward and its
        last state backward, the same for every layer."""
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
        """The language model over `tokens`; `generate` calls it as it does a Transformer's."""
        self._check("tokens", tokens, None)
        if mask is not None:
            mask = mask[:, -tokens.shape[1] :]  # those before were read into the cached state
        state = self._restore(cache)
        out, state = _read(stack, self.dropout(embedding(tokens)), mask, state)
        self._store(cache, state, tokens.shape[1])
        return self.dropout(out)

    # A KVCache keeps the state batch first, so that beam search can reorder it.
    def _restore(self, cache: Any) -> Any:
        if cache is None or not cache.length:
            return None
        parts = [part.transpose(0, 1).contiguous() for part in cache.own[0]]
        return tuple(parts) if self.config.cell == "lstm" else parts[0]

    def _store(self, cache: Any, state: Any, n: int) -> None:
        if cache is not None:
            h, c = state if isinstance(state, tuple) else (state, state)
            cache.own[0] = (h.transpose(0, 1), c.transpose(0, 1))
            cache.length += n

    def _check(self, name: str, ids: Tensor, mask: Tensor | None) -> None:
        if ids.dim() != 2 or ids.is_floating_point() or ids.shape[1] == 0:
            raise ValueError(
                f"{name} has shape {list(ids.shape)} and type {ids.dtype}; the model needs whole "
                "numbers [batch, position], at least one position (for one text: ids[None])"
            )
        if ids.shape[1] > self.config.n_ctx:
            raise ValueError(
                f"the text has {ids.shape[1]} tokens but this model's limit is "
                f"n_ctx={self.config.n_ctx}; shorten it or set a larger one"
            )
        if mask is not None and (mask.shape != ids.shape or mask.dtype != torch.bool):
            raise ValueError(
                f"the mask of {name} has shape {list(mask.shape)} and type {mask.dtype}; it must "
                f"be bool {list(ids.shape)}, True for real tokens"
            )

    # -- taps ---------------------------------------------------------------------------------

    def tapped(self) -> Iterator[Bahdanau]:
        """Every module that a tap is hung on."""
        if self.attention is not None:
            yield self.attention


def _top(state: Any) -> Tensor:
    """The last layer's hidden state: [batch, d_model]."""
    return (state[0] if isinstance(state, tuple) else state)[-1]


def _read(rnn: nn.Module, x: Tensor, mask: Tensor | None, state: Any = None) -> tuple[Tensor, Any]:
    """Run over the real tokens only, wherever padding stands; outputs at padding are zero.
    The state returned is the one after each text's last real token."""
    if mask is None or bool(mask.all()):
        return rnn(x, state)
    # Real tokens to the front, in their order; back to their places afterwards.
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
    """One row of Table 1 of Vaswani et al. 2017, in numbers and not in orders.

    operations: multiplications, up to a constant factor. dependent_steps: how many must wait for
    one another, however many processors there are. path_length: steps between the two positions
    that are furthest apart.
    """

    operations: int
    dependent_steps: int
    path_length: int


def layer_cost(layer: str, *, length: int, d_model: int, kernel: int = 3) -> LayerCost:
    """What a layer over `length` positions costs.

    Args:
        layer: "self-attention" (n²·d, 1, 1), "recurrent" (n·d², n, n) or "convolutional"
            (k·n·d², 1, log_k n, with dilation).
        length: n, positions.
        d_model: d, numbers a position.
        kernel: k, how many neighbours a convolution sees.

    Source: Vaswani et al. 2017, Table 1.
    """
    if layer not in LAYERS:
        raise ValueError(f"layer={layer!r} is not known; choose one of {', '.join(LAYERS)}")
    for name, value, least in (
        ("length", length, 1),
        ("d_model", d_model, 1),
        ("kernel", kernel, 2),
    ):
        if value < least:
            raise ValueError(f"{name}={value} must be at least {least}")
    if layer == "self-attention":
        return LayerCost(length**2 * d_model, 1, 1)
    if layer == "recurrent":
        return LayerCost(length * d_model**2, length, length)
    hops = next(i for i in range(1, length + 1) if kernel**i >= length)
    return LayerCost(kernel * length * d_model**2, 1, hops)


def dependent_steps(config: ModelConfig | RecurrentConfig, length: int) -> int:
    """Layer evaluations that must wait for one another in one pass over `length` tokens (for an
    encoder-decoder: of source and of target each).

    A transformer's layers wait for each other only. A recurrent layer waits for its last
    position too; stacked layers run one position behind the layer below.
    """
    if length < 1:
        raise ValueError(f"length={length} must be at least 1")
    sides = 2 if config.kind == "encoder-decoder" else 1
    if isinstance(config, RecurrentConfig):
        # Both directions of an encoder layer must end before the layer above can begin.
        encoder = length * config.n_layers if sides == 2 else 0
        return encoder + length + config.n_layers - 1
    return config.n_layers + (config.n_decoder_layers or 0 if sides == 2 else 0)


def path_length(config: ModelConfig | RecurrentConfig, length: int) -> int:
    """Steps that a signal takes, at most, from one position to another of `length` tokens: from
    the first token to the last state, and for an encoder-decoder from a source token to a target.

    One look for a transformer and for Bahdanau's attention; a walk for the others.
    """
    if length < 1:
        raise ValueError(f"length={length} must be at least 1")
    if not isinstance(config, RecurrentConfig) or config.attention == "bahdanau":
        return 1
    return 2 * length if config.kind == "encoder-decoder" else length

"""Checks of lesson 08, Translation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from transformer_lab.datasets.batches import Batch
from transformer_lab.lessons.graders.base import (
    Case,
    Grader,
    Unfit,
    built,
    computing,
    idle,
    random,
    tied,
)
from transformer_lab.lessons.graders.lesson_05 import (
    Small,
    attention_weights,
    config_of,
    linear,
    norm,
)
from transformer_lab.lessons.solutions import lesson_08 as solutions


def _mask_cases() -> list[Case]:
    right = torch.tensor([[1, 7, 5, 9, 6], [1, 8, 0, 0, 0]])
    left = torch.tensor([[1, 7, 5, 9], [0, 0, 1, 8]])
    other = torch.tensor([[4, 0, 2, 9], [4, 6, 3, 9], [4, 9, 9, 9]])
    return [
        Case("a text of 5 tokens and one of 2, padded with 0 at its end", (right, 0)),
        Case("a text of 4 tokens and one of 2, padded with 0 in front", (left, 0)),
        Case("three texts padded with 9", (other, 9)),
        Case("one text without padding", (torch.tensor([[1, 7, 5, 9]]), 0)),
    ]


MASK = Grader(
    reference=solutions.decoder_mask,
    cases=_mask_cases,
    shape_hint="`[batch, query, key]`, with as many queries and keys as tokens",
    mistakes="""
- target != pad_id
+ torch.ones_like(target, dtype=torch.bool)
  The future is hidden, but padding can still be seen. A query may attend to a key only if the key
  is not `pad_id`.

- .tril()
  Padding is hidden, but the future can still be seen, so the model can copy the word that it
  should predict. A query may attend to itself and to what comes before it.

- causal & real[:, None, :]
+ ~(causal & real[:, None, :])
  The mask is inverted: True should mean “may attend”. (In some libraries it means the opposite,
  so always check.)

- .tril()
+ .triu()
  The triangle is the wrong way round: your queries see the future instead of the past.

- .tril()
+ .tril(-1)
  A token may attend to itself: keep the diagonal. Otherwise the first token sees nothing.

- real[:, None, :]
+ real[:, :, None]
  You hid the rows of padding. It is the columns that have to be hidden: no token may attend *to*
  padding, so mask the last axis (keys). (A row that is all False has no softmax.)

- causal &
+ causal |
  A pair is allowed if it is not in the future *and* not padding: `&`, not `|`.

- != pad_id
+ != 0
  You assumed that padding is 0. It is whatever `pad_id` says.
""",
)


_VOCABULARY = 8


def _one_hot(token: int) -> torch.Tensor:
    scores = torch.zeros(_VOCABULARY)
    scores[token] = 1.0
    return scores


def _counts_up(ids):
    """A model that writes 3, 4, 5, then the end (2)."""
    last = int(ids[-1])
    return _one_hot(3 if last == 1 else last + 1 if last < 5 else 2)


def _never_ends(ids):
    return _one_hot(3 + len(ids) % 3)


def _reads_everything(ids):
    """A model whose next token depends on the sum of all tokens read."""
    return _one_hot(2 if len(ids) == 5 else 3 + int(ids.sum()) % 5)


def _negative(ids):
    """A model whose scores are all negative, like log-probabilities."""
    return _counts_up(ids) - 3


GREEDY = Grader(
    reference=solutions.greedy,
    cases=lambda: [
        Case("a model that writes 3 4 5 and ends", (_counts_up, 1, 2, 10)),
        Case("a model that never ends, at most 4 tokens", (_never_ends, 1, 2, 4)),
        Case("a model that uses everything it has written", (_reads_everything, 1, 2, 9)),
        Case("scores that are all negative", (_negative, 1, 2, 9)),
    ],
    shape_hint="the tokens that were written, one axis, without `bos` and `eos`",
    mistakes="""
- ids[1:]
+ ids
  Your result begins with `bos`. The decoder reads it but did not write it: leave it out.

- if new == eos:
-     break
- ids = torch.cat([ids, new.view(1)])
+ ids = torch.cat([ids, new.view(1)])
+ if new == eos:
+     break
  Your result ends with `eos`. That token only says that the text is over: leave it out.

- if new == eos:
-     break
- ids = torch.cat([ids, new.view(1)])
+ ids = torch.cat([ids, new.view(1)])
+ if new == eos:
+     break
- ids[1:]
+ ids
  Your result still has `bos` in front and `eos` at its end. Neither is part of the text.

- next_scores(ids)
+ next_scores(ids[-1:])
  You passed `next_scores` the last token alone. The decoder reads everything that it has written
  so far, including `bos`.

- argmax
+ argmin
  You took the token with the lowest score. Greedy takes the highest: `argmax`.

- range(longest)
+ range(longest + 1)
  You wrote one token more than `longest`.

- range(longest)
+ range(longest - 1)
  You wrote one token fewer than `longest` allows. Does `bos` count? It does not.

- new == eos
+ False
  You went on after `eos`. When `eos` is the likeliest token, the text is over.

- ids[1:]
+ ids[-1:]
  You returned the last token alone. Return all tokens that were written.
""",
)


def _texts(seed: int, *, lengths: list[tuple[int, int]], heads: int, vocab_size: int, pad_id: int):
    """Arguments of a case: padded texts with (source, target) lengths, and patterns without weight
    on padding."""
    draw = torch.Generator().manual_seed(seed)
    n_keys, n_words = (max(sides) for sides in zip(*lengths, strict=True))
    words = torch.tensor([i for i in range(2, vocab_size) if i != pad_id])
    source = torch.full((len(lengths), n_keys), pad_id)
    target = torch.full((len(lengths), n_words + 1), pad_id)
    target[:, 0] = 1
    for row, (keys, written) in enumerate(lengths):
        source[row, :keys] = words[torch.randint(len(words), (keys,), generator=draw)]
        target[row, 1 : written + 1] = words[torch.randint(len(words), (written,), generator=draw)]
    scores = 3 * torch.randn(len(lengths), heads, n_words + 1, n_keys, generator=draw)
    scores = scores.masked_fill((source == pad_id)[:, None, None], float("-inf"))
    return scores.softmax(-1), source, target, pad_id, vocab_size


def _table_cases() -> list[Case]:
    some = [(5, 7), (3, 4), (6, 5), (4, 8)]
    one = [(6, 9)]
    return [
        Case("four texts and two heads", _texts(1, lengths=some, heads=2, vocab_size=9, pad_id=0)),
        Case("one text and one head", _texts(2, lengths=one, heads=1, vocab_size=7, pad_id=0)),
        Case("texts padded with 5", _texts(3, lengths=some, heads=3, vocab_size=8, pad_id=5)),
    ]


TABLE = Grader(
    reference=solutions.translation_table,
    cases=_table_cases,
    shape_hint="`[vocab_size, vocab_size]`: a row for each word of the target",
    mistakes="""
= right(maps[:, :, 1:], source, target[:, :-1], pad_id, vocab_size)
  Your rows run ahead of your words: word t is written by row t − 1, because row 0 has read `<s>`
  and writes word 1.

# row
- place - 1
+ place
  For each word you took the row that has read *this* word. That row writes the word after it: the
  attention that belongs to a word is one row above.

# heads
- .mean(dim=0)
+ [0]
  You used one head alone. Take the mean over all heads of a text first.

- .mean(dim=0)
+ .amax(dim=0)
  For each source word you took the head that attends to it most. Take the mean over the heads.

# padding
- word == pad_id
+ False
  Padding of the target is counted as if it were a word. Leave out the positions that hold
  `pad_id`.

# partner
- counts = torch.zeros
+ source = torch.arange(source.shape[1]).expand_as(source)
+ counts = torch.zeros
  You counted the *position* that a word attends to. Count the word at that position instead: look
  it up in `source`.

# count
- counts[word, partner] += 1
+ for partner, weight in zip(source[text], looks, strict=True):
+     counts[word, partner] += weight
  You added up the weights. Here each written word has one vote, for the source word that it
  attends to most.

- += 1
+ = 1
  You count each pair of words once, however often it occurs. (`counts[words, partners] += 1` with
  tensors of indices does that: an index that occurs twice is added once. Use a loop, `bincount`
  or `index_put_(…, accumulate=True)`.)

# sides
- totals =
+ counts = counts.T
+ totals =
  The table is transposed: rows should be target words, and columns source words.

# shares
- counts / totals.clamp(min=1)
+ counts
  These are counts. Divide each row by its sum, so that it holds fractions of the target word's
  votes.

- counts.sum(dim=-1
+ counts.sum(dim=0
  You divided each column by its sum. Each *row* should sum to 1.

- totals.clamp(min=1)
+ counts.sum()
  You divided by the number of all words. Divide each row by its own sum.

- .clamp(min=1)
  Rows of words that were never written are 0 / 0. They should be 0: divide by at least 1.
""",
)


Shapes = dict[str, tuple[int, ...]]


def _sizes(**changed: Any) -> Any:
    """Sizes of a small encoder-decoder."""
    return config_of(**(dict(positions="learned", pad_id=0) | changed))


def _inside(name: str, shapes: Shapes) -> Shapes:
    """Prefix the names of weights with that of the module they are in."""
    return {f"{name}.{inner}": shape for inner, shape in shapes.items()}


def _feed_forward(config: Any) -> Shapes:
    d, bias = config.d_model, config.bias
    return linear("up", 4 * d, d, bias) | linear("down", d, 4 * d, bias)


def _encoder_weights(config: Any) -> Shapes:
    wanted = norm("norm1", config) | _inside("attention", attention_weights(config))
    return wanted | norm("norm2", config) | _feed_forward(config)


def _decoder_weights(config: Any) -> Shapes:
    wanted = norm("norm1", config) | _inside("attention", attention_weights(config))
    wanted |= norm("norm2", config) | _inside("cross", attention_weights(config))
    return wanted | norm("norm3", config) | _feed_forward(config)


def _real(*lengths: int) -> Tensor:
    """A mask of the source positions that are not padding: [text, position]."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


CROSS = Grader(
    reference=solutions.CrossAttention,
    cases=lambda: [
        Case(
            "5 words of the target, sources of 4 and 3 words padded to 5, no biases",
            (
                _sizes(n_heads=4, bias=False),
                idle(random(63, 2, 5, 12)),
                random(64, 2, 5, 12),
                _real(5, 4, 3)[1:],
            ),
        ),
        Case(
            "4 words of the target, and sources of 6 and 3 words",
            (_sizes(), random(61, 2, 4, 12), random(62, 2, 6, 12), _real(6, 3)),
        ),
        Case(
            "one word of the target, sources of 2 and 4 words",
            (_sizes(), random(65, 2, 1, 12), random(66, 2, 4, 12), _real(2, 4)),
        ),
    ],
    use=computing(attention_weights),
    noun="`forward`",
    shape_hint="the shape of `x`: one result for each position of the target",
    mistakes="""
# sides
- self.query(x)
+ self.query(memory)
- self.key(memory)
+ self.key(x)
- self.value(memory)
+ self.value(x)
- real[:, None, None, :]
+ torch.ones(x.shape[:2]).bool()[:, None, None, :]
  Source and target have changed places: the queries come from `x` (the target), the keys and values
  from `memory` (the source).

- self.value(memory)
+ self.value(x)
  The values come from `x`. Keys **and** values come from `memory`: what is fetched is what the
  source says.

- self.key(memory)
+ self.key(x)
- self.value(memory)
+ self.value(x)
- real[:, None, None, :]
+ torch.ones(x.shape[:2]).bool()[:, None, None, :]
  This is self-attention: `memory` is not used. Keys and values come from `memory`.

# mask
- scores.masked_fill(~real[:, None, None, :], -math.inf)
+ scores
  The padding of the source is not hidden. Where `real` is False, no query may attend.

- ~real[:, None, None, :]
+ (scores * real[:, None, None, :] == 0)
  A real score may be 0, too, and you hide it. Hide what the mask says, not every 0.

- ~real
+ real
  The mask is inverted: `real` is True for words, so hide where it is **not** True: `~real`.

- ~real[:, None, None, :], -math.inf
+ ~real[:, None, None, :], 0.0
  You set the scores of padding to 0, but exp(0) = 1: use −∞.

- scores = scores.masked_fill(~real[:, None, None, :], -math.inf)
+ pass
- z = weights
+ z = weights.masked_fill(~real[:, None, None, :], 0.0)
  You cut the weights after the softmax, so the rows no longer sum to 1. Mask the *scores*, before
  the softmax.

- weights = torch.softmax
+ n, m = scores.shape[-2:]
+ scores = scores.masked_fill(torch.ones(n, m).triu(1).bool(), -math.inf)
+ weights = torch.softmax
  You also hide the future. There is none here: every position of the target may attend to the whole
  source.

# scale
- / math.sqrt(query.shape[-1])
  The scores are not divided by √d_head.

- query.shape[-1]
+ x.shape[-1]
  You divide by √d_model. A head's queries have d_model / n_heads numbers: divide by the square
  root of that.

- math.sqrt(query.shape[-1])
+ query.shape[-1]
  You divide by d_head; divide by its square root.

# split
- x.unflatten(-1, (self.config.n_heads, -1)).transpose(1, 2)
+ x.reshape(len(x), self.config.n_heads, x.shape[1], -1)
  A `reshape` or `view` straight to [batch, head, position, d_head] mixes positions and heads.
  Split the last axis first, then swap position and head.

- x.unflatten(-1, (self.config.n_heads, -1)).transpose(1, 2)
+ x.unflatten(-1, (-1, self.config.n_heads)).permute(0, 3, 1, 2)
  Your heads take every n_heads-th number. A head's numbers are side by side: unflatten to
  (n_heads, d_head), in this order.

- x.unflatten(-1, (self.config.n_heads, -1)).transpose(1, 2)
+ x[:, None]
  There is only one head. Split the queries, keys and values into `config.n_heads` heads.

# merge
- z.transpose(1, 2).flatten(2)
+ z.reshape(x.shape)
  You merge the heads without swapping head and position back first, so numbers of different
  positions end up in one row: `transpose(1, 2)`, then flatten.

# out
- self.out(
+ (
  The last step is missing: `self.out` mixes the heads.

# axis
- dim=-1)
+ dim=-2)
  Your softmax runs over the queries. Each *query* divides one unit of attention among the keys:
  `dim=-1`.
""",
)


ENCODER_BLOCK = Grader(
    reference=solutions.EncoderBlock,
    cases=lambda: [
        Case("texts of 5 and 3 words, padded", (_sizes(), random(71, 2, 5, 12), _real(5, 3))),
        Case("one text, no biases", (_sizes(bias=False), random(72, 1, 4, 12), _real(4))),
    ],
    use=computing(_encoder_weights),
    noun="`forward`",
    shape_hint="the shape of `x`, unchanged",
    mistakes="""
# norm of attention
- self.attention(h, h, real)
+ self.attention(h, x, real)
  The keys and values read the stream itself. An encoder's text attends to itself: pass the
  normalised stream twice.

- h = self.norm1(x)
+ h = x
  Attention reads the stream itself: `norm1` is not used.

- x = x + self
+ x = h + self
  You add to the *normalised* stream. The stream itself is never normalised: normalise only what
  attention reads.

# order
- h = self.norm1(x)
- x = x + self.attention(h, h, real)
- return x + self.down(F.gelu(self.up(self.norm2(x))))
+ x = self.norm1(x + self.attention(x, x, real))
+ return self.norm2(x + self.down(F.gelu(self.up(x))))
  This is post-norm, `norm(x + f(x))`, as in the paper. Use pre-norm here: `x + f(norm(x))`.

# mask
- h, real)
+ h, torch.ones_like(real))
  Padding is not hidden. Pass `real` on to the attention.

- h, real)
+ h, ~real)
  You invert `real` before you pass it on. `CrossAttention` wants True for words.

# future
- self.attention(h, h, real)
+ torch.stack([self.attention(h[:, : i + 1], h[:, : i + 1], real[:, : i + 1])[:, i] for i in range(x.shape[1])], 1)
  The future is hidden. An encoder reads in both directions: use `CrossAttention`, not the causal
  `SelfAttention`.

# first sum
- x = x + self
+ x = self
  The result of attention replaces the stream. Add it to `x`.

# second
- self.norm2(x)
+ x
  The feed-forward part reads the stream itself: `norm2` is not used.

- h = self.norm1(x)
+ start, h = x, self.norm1(x)
- self.norm2(x)
+ self.norm2(start)
  The feed-forward part reads the block's input. It should read the stream *after* attention.

# second sum
- return x + self
+ return self
  The result of the feed-forward part replaces the stream. Add it to the stream.

# norms
- def forward(self, x, real):
+ def forward(self, x, real):
+     self.norm2 = self.norm1
  `norm1` is used twice: each part has its own norm.

- def forward(self, x, real):
+ def forward(self, x, real):
+     self.norm1, self.norm2 = self.norm2, self.norm1
  `norm1` belongs to attention, `norm2` to feed-forward.

# gelu
- F.gelu(
+ (
  There is nothing between `up` and `down`: the gelu is missing.

- F.gelu(
+ F.relu(
  You use relu, as the paper does. Here it should be gelu.
""",
)


DECODER_BLOCK = Grader(
    reference=solutions.DecoderBlock,
    cases=lambda: [
        Case(
            "4 words of the target, sources of 5 and 2 words",
            (_sizes(), random(81, 2, 4, 12), random(82, 2, 5, 12), _real(5, 2)),
        ),
        Case(
            "one text, no biases",
            (_sizes(bias=False), random(83, 1, 5, 12), random(84, 1, 5, 12), _real(5)),
        ),
    ],
    use=computing(_decoder_weights),
    noun="`forward`",
    shape_hint="the shape of `x`, unchanged",
    mistakes="""
# order
- x = x + self.attention(self.norm1(x))
- x = x + self.cross(self.norm2(x), memory, real)
+ x = x + self.cross(self.norm2(x), memory, real)
+ x = x + self.attention(self.norm1(x))
  Cross-attention comes before self-attention. In the paper, and here, the decoder first reads its own
  words.

- x = x + self.cross(self.norm2(x), memory, real)
- return x + self.down(F.gelu(self.up(self.norm3(x))))
+ x = x + self.down(F.gelu(self.up(self.norm3(x))))
+ return x + self.cross(self.norm2(x), memory, real)
  Cross-attention comes after the feed-forward part. It belongs between the two.

- x = x + self.attention(self.norm1(x))
- x = x + self.cross(self.norm2(x), memory, real)
- return x + self.down(F.gelu(self.up(self.norm3(x))))
+ x = self.norm1(x + self.attention(x))
+ x = self.norm2(x + self.cross(x, memory, real))
+ return self.norm3(x + self.down(F.gelu(self.up(x))))
  This is post-norm, `norm(x + f(x))`, as in the paper. Use pre-norm here: `x + f(norm(x))`.

# self
- self.norm1(x)
+ x
  Self-attention reads the stream itself: `norm1` is not used.

- x = x + self.attention
+ x = self.attention
  The result of self-attention replaces the stream. Add it to `x`.

- x = x + self.attention(self.norm1(x))
+ pass
  Self-attention is missing: the decoder has to read its own words, too.

# cross
- x = x + self.cross(self.norm2(x), memory, real)
+ pass
  Cross-attention is missing, so the decoder knows nothing of the source.

- self.norm2(x), memory
+ x, memory
  Cross-attention reads the stream itself: `norm2` is not used.

- self.norm2(x), memory, real)
+ self.norm2(x), self.norm2(memory), real)
  You normalise the memory once more. The encoder has done that: only the stream of the target gets a
  norm.

- x = x + self.cross
+ x = self.cross
  The result of cross-attention replaces the stream. Add it to `x`.

- self.norm2(x), memory, real)
+ self.norm2(x), memory, torch.ones_like(real))
  The padding of the source is not hidden. Pass `real` on to cross-attention.

# feed-forward
- self.norm3(x)
+ x
  The feed-forward part reads the stream itself: `norm3` is not used.

- return x + self
+ return self
  The result of the feed-forward part replaces the stream. Add it to the stream.

- F.gelu(
+ (
  There is nothing between `up` and `down`: the gelu is missing.

- F.gelu(
+ F.relu(
  You use relu, as the paper does. Here it should be gelu.

# norms
- def forward(self, x, memory, real):
+ def forward(self, x, memory, real):
+     self.norm3 = self.norm2
  `norm2` is used twice: each part has its own norm.

- def forward(self, x, memory, real):
+ def forward(self, x, memory, real):
+     self.norm2 = self.norm1
  `norm1` is used twice: each part has its own norm.

- def forward(self, x, memory, real):
+ def forward(self, x, memory, real):
+     self.norm3, self.norm2 = self.norm2, self.norm3
  `norm2` belongs to cross-attention, `norm3` to feed-forward.
""",
)


def _model_weights(config: Any) -> Shapes:
    """Names and shapes of an EncoderDecoder's weights, without the tied head."""
    wanted = {"embedding.weight": (config.vocab_size, config.d_model)}
    wanted["positions.weight"] = (config.n_ctx, config.d_model)
    for stack, weights in (("encoder", _encoder_weights), ("decoder", _decoder_weights)):
        for i in range(config.n_layers):
            wanted |= _inside(f"{stack}.{i}", weights(config))
        wanted |= norm(f"{stack}_norm", config)
    return wanted


def _use_model(made: Any, config: Any, source: Tensor, target: Tensor) -> Tensor:
    model: Any = built(tied(made), config, _model_weights(config), torch.zeros(0).double())
    logits = model(source, target)
    for method in ("encode", "decode"):  # the lesson's cells use both
        if not callable(getattr(model, method, None)):
            raise Unfit(f"It has no method `{method}`, which the cells below call.")
    real = source != config.pad_id
    apart = model.decode(target, model.encode(source, real), real)
    if not isinstance(apart, Tensor) or apart.shape != logits.shape:
        raise Unfit("`decode(target, encode(source, real), real)` should return the same logits.")
    return torch.cat([logits, apart])


def _model_cases() -> list[Case]:
    source = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
    target = torch.tensor([[1, 7, 8, 3], [1, 5, 0, 0]])
    others = torch.tensor([[9, 3, 0, 10, 10, 10], [4, 4, 8, 5, 6, 10]])
    return [
        Case("sources of 5 and 3 words, padded with 0", (_sizes(), source, target)),
        Case(
            "3 layers, no biases, padded with 10",
            (_sizes(bias=False, n_layers=3, pad_id=10), others, target),
        ),
    ]


MODEL = Grader(
    reference=solutions.EncoderDecoder,
    cases=_model_cases,
    use=_use_model,
    contents="the logits of `forward`, followed by those of `decode`",
    noun="`forward`",
    shape_hint="`[batch, target position, vocab_size]`, logits for every position of the target (from "
    "`forward`, and again from `decode`)",
    mistakes="""
# sides
- self.encode(source, real)
+ self.encode(target, target != self.config.pad_id)
- self.decode(target, memory, real)
+ self.decode(target, memory, target != self.config.pad_id)
  The encoder reads the target. It should read the source.

- memory = self.encode(source, real)
+ memory = self.embed(source)
  The decoder attends to the embeddings of the source. It should attend to what the encoder made of
  them.

# padding
- source != self.config.pad_id
+ torch.ones_like(source).bool()
  The padding of the source is not hidden: `real` is True where the source is not `config.pad_id`.

- source != self.config.pad_id
+ source == self.config.pad_id
  `real` is inverted: it is True where the source is **not** `config.pad_id`.

- self.config.pad_id
+ 0
  You assumed that padding is 0. It is whatever `config.pad_id` says.

# positions
- + self.positions(positions)
  The vectors of the positions are missing. Both texts need them.

- torch.arange(tokens.shape[1], device=tokens.device)
+ 1 + torch.arange(tokens.shape[1])
  Your positions begin at 1; the first one is 0.

- x = self.embed(target)
+ x = self.embedding(target)
  The target gets no positions. Both texts need them.

- x = self.embed(source)
+ x = self.embedding(source)
  The source gets no positions. Both texts need them.

- self.embedding(tokens)
+ self.embedding(tokens) * self.config.d_model**0.5
  You multiply the embeddings by √d_model, as the paper does. Here they are added as they are.

# encoder
- self.encoder_norm(x)
+ x
  `self.encoder_norm` is not used: it comes after the last block of the encoder.

- in self.encoder:
+ in self.encoder[:1]:
  Only the first block of the encoder runs.

- in self.encoder:
+ in reversed(self.encoder):
  The blocks of the encoder run in reverse order.

- x = block(x, real)
+ block(x, real)
  The results of the encoder's blocks are lost: write `x = block(x, real)`.

# decoder
- self.decoder_norm(x)
+ x
  `self.decoder_norm` is not used: it comes just before the head.

- self.decoder_norm(x)
+ self.encoder_norm(x)
  You use `encoder_norm` for the decoder, too. Each has its own.

- in self.decoder:
+ in self.decoder[:1]:
  Only the first block of the decoder runs.

- x = block(x, memory, real)
+ block(x, memory, real)
  The results of the decoder's blocks are lost: write `x = block(x, memory, real)`.

- x = block(x, memory, real)
+ x = memory = block(x, memory[:, : x.shape[1]], real[:, : x.shape[1]])
  You overwrite `memory` inside the decoder. Every block of it attends to the same memory.

# head
- self.head(
+ (
  These are hidden states of d_model numbers; the head is missing.

- self.head(
+ (lambda x: self.head(x).softmax(-1))(
  You return probabilities. Return logits: the loss computes the softmax itself.

- self.head(
+ (lambda x: self.head(x)[:, -1:])(
  You return the logits of the last position only. Every position predicts the word after it.
""",
)


def _pairs() -> Iterator[Batch]:
    """Yield batches of source and target without end; some positions have no target."""
    draw = torch.Generator().manual_seed(91)
    while True:
        source = torch.randint(7, (3, 4), generator=draw)
        ids = torch.randint(7, (3, 6), generator=draw)
        targets = ids[:, 1:].clone()
        targets[0, 3:] = -100
        yield Batch(source, targets, ids[:, :-1])


def _use_loop(written: Any, steps: int, lr: float, warmup: int, smoothing: float) -> Any:
    """The losses and the model's final weights, which show every step that was taken."""
    model, rates = Small(), []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append(float(optimizer.param_groups[0]["lr"]))
    )
    try:
        losses = written(model, _pairs(), steps, lr, warmup, smoothing)
    finally:
        hook.remove()
    right = [lr * min(s / warmup, math.sqrt(warmup / s)) for s in range(1, steps + 1)]
    factors = [rate / wanted for rate, wanted in zip(rates, right, strict=False)]
    if len(rates) == steps and max(factors) - min(factors) < 1e-6 < abs(factors[0] - 1):
        raise Unfit(
            f"Your learning rates are {factors[0]:.3g} times the right ones. Scale equation 3 so that "
            "its peak, the rate at the end of the warm-up, is lr."
        )
    if not isinstance(losses, Tensor) or losses.shape != (steps,):
        return losses
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return torch.cat([losses.double(), weights])


def _loop_cases() -> list[Case]:
    # The first optimizer step makes torch import a lot, which can take as long as the check allows.
    _use_loop(solutions.train_translator, 2, 0.1, 1, 0.1)
    return [
        Case("9 steps, 3 of them warm-up, smoothing 0.1", (9, 0.3, 3, 0.1)),
        Case("6 steps, 1 of them warm-up, smoothing 0.3", (6, 0.1, 1, 0.3)),
    ]


TRANSLATOR_LOOP = Grader(
    reference=solutions.train_translator,
    cases=_loop_cases,
    use=_use_loop,
    contents="the losses, followed by the model's weights after the last step",
    shape_hint="`[steps]`: the loss of each step",
    mistakes="""
# order
- optimizer.zero_grad()
+ pass
  The gradients are never set to 0, so each step still contains those of all steps before it: call
  `optimizer.zero_grad()`.

- optimizer.step()
+ pass
  The model does not learn: `optimizer.step()` is missing, or comes where the gradients are 0
  (between `zero_grad` and `backward`).

# rate
- lr * min(rise, fall)
+ lr
  The learning rate is the same at every step.

- lr * min(rise, fall)
+ lr * max(rise, fall)
  You take the larger of the two. The rate is the *smaller*: first it rises, then it falls.

- min(rise, fall)
+ min(1.0, fall)
  There is no warm-up: the learning rate of step 0 is lr / warmup.

- min(rise, fall)
+ min(1.0, rise)
  After the warm-up the learning rate does not fall.

- (step + 1) / warmup
+ step / warmup
  Your first step has learning rate 0, so it is wasted. Step 0 has lr / warmup, and the last step
  of the warm-up has lr.

- math.sqrt(warmup / (step + 1))
+ warmup / (step + 1)
  The learning rate falls with 1 / step. It should fall with 1 / √step.

- math.sqrt(warmup / (step + 1))
+ 1 / math.sqrt(step + 1)
  The learning rate falls from step 0 on. It should be lr at the end of the warm-up:
  √(warmup / (step + 1)).

# optimizer
- Adam(
+ AdamW(
  You step with AdamW; it should be Adam, as in the paper.

- Adam(
+ SGD(
- , betas=(0.9, 0.98), eps=1e-9
  You step with SGD; it should be Adam.

- , betas=(0.9, 0.98), eps=1e-9
  You use Adam's default `betas`. The paper's are (0.9, 0.98).

- (0.9, 0.98)
+ (0.98, 0.9)
  The two `betas` have changed places: (0.9, 0.98).

# loss
- , label_smoothing=smoothing
  There is no label smoothing: pass `label_smoothing=smoothing` to `F.cross_entropy`.

- label_smoothing=smoothing
+ label_smoothing=1 - smoothing
  You pass 1 − smoothing. `label_smoothing` is the part that is spread over all words.

- logits = model(batch.tokens, batch.target_in).flatten(0, 1)
+ logits = model(batch.tokens, batch.target_in)[:, :-1].flatten(0, 1)
- batch.targets.flatten()
+ batch.targets[:, 1:].flatten()
  You shift once more: `batch.targets` already are the next words.

- batch.targets.flatten()
+ batch.target_in.flatten()
  Your targets are the words that the decoder has just read. Use `batch.targets`.

- batch.targets.flatten(), label
+ batch.targets.flatten(), reduction="sum", label
  The loss is summed. Take the mean over all predictions.

- .flatten(0, 1)
+ .softmax(-1).flatten(0, 1)
  `F.cross_entropy` expects logits: it computes the softmax itself.

- batch.targets.flatten(), label
+ batch.targets.clamp(min=0).flatten(), label
  Positions without a target (−100) count as predictions. `F.cross_entropy` leaves −100 out by
  itself.

# model
- model(batch.tokens, batch.target_in)
+ model(batch.target_in, batch.target_in)
  The model reads the target twice. The source is `batch.tokens`.

# batch
- batches, strict
+ [next(batches)] * steps, strict
  Every step reads the same batch. Take the next one.

# result
- losses.append
+ logits = model(batch.tokens, batch.target_in).flatten(0, 1)
+ loss = F.cross_entropy(logits, batch.targets.flatten(), label_smoothing=smoothing)
+ losses.append
  You return the loss after the step. Return the loss that the step was based on.
""",
)

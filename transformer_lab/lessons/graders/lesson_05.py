"""Checks of lesson 05, Build it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from transformer_lab.datasets.batches import Batch
from transformer_lab.lessons.graders.base import (
    Case,
    Grader,
    Unfit,
    built,
    computing,
    idle,
    numbers,
    random,
    tied,
)
from transformer_lab.lessons.solutions import lesson_05 as solutions


def config_of(**changed: Any) -> SimpleNamespace:
    """A small decoder's sizes."""
    sizes = dict(vocab_size=11, d_model=12, n_heads=3, n_layers=2, n_ctx=9)
    return SimpleNamespace(**(sizes | dict(bias=True, positions="rotary", gelu="none") | changed))


def linear(name: str, wide: int, narrow: int, bias: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an nn.Linear."""
    return {f"{name}.weight": (wide, narrow)} | ({f"{name}.bias": (wide,)} if bias else {})


def norm(name: str, config: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an nn.LayerNorm."""
    more = {f"{name}.bias": (config.d_model,)} if config.bias else {}
    return {f"{name}.weight": (config.d_model,)} | more


def attention_weights(config: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a SelfAttention's weights."""
    wanted: dict[str, tuple[int, ...]] = {}
    for name in ("query", "key", "value", "out"):
        wanted |= linear(name, config.d_model, config.d_model, config.bias)
    return wanted


ATTENTION = Grader(
    reference=solutions.SelfAttention,
    cases=lambda: [
        Case("2 texts of 5 tokens, 3 heads, rotary", (config_of(), random(11, 2, 5, 12))),
        Case(
            "4 heads, learned positions, no biases",
            (config_of(n_heads=4, positions="learned", bias=False), idle(random(12, 1, 6, 12))),
        ),
        Case("one token, one head", (config_of(n_heads=1), random(13, 1, 1, 12))),
    ],
    use=computing(attention_weights),
    noun="`forward`",
    shape_hint="the shape of `x`, unchanged",
    mistakes="""
# mask
- .triu(1)
+ .triu(1) & False
  Nothing is hidden: a token attends to the tokens after it.

- .triu(1)
+ .tril(-1)
  The mask is inverted: a token attends to itself and to what comes *after* it.

- .triu(1)
+ .triu(0)
  A token may attend to itself, too. Your mask starts one step too early, and the first token,
  which attends to nothing, gets NaN. Hide what is above the diagonal.

- -math.inf
+ 0.0
  You set the scores of the future to 0, but exp(0) = 1: use −∞.

- scores.masked_fill(future, -math.inf)
+ scores.masked_fill(scores.tril() == 0, -math.inf)
  A real score may be 0, too, and you hide it. Hide what the mask says, not every 0.

- scores.masked_fill(future, -math.inf)
+ scores
- z = weights
+ z = weights.masked_fill(future, 0.0)
  You cut the weights after the softmax, so the rows no longer sum to 1. Mask the *scores*, before
  the softmax.

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
- unflatten(-1, (self.config.n_heads, -1)).transpose(1, 2)
+ reshape(len(x), self.config.n_heads, x.shape[1], -1)
  A `reshape` or `view` straight to [batch, head, position, d_head] mixes positions and heads.
  Split the last axis first, then swap position and head.

- unflatten(-1, (self.config.n_heads, -1)).transpose(1, 2)
+ unflatten(-1, (-1, self.config.n_heads)).permute(0, 3, 1, 2)
  Your heads take every n_heads-th number. A head's numbers are side by side: unflatten to
  (n_heads, d_head), in this order.

# merge
- z.transpose(1, 2).flatten(2)
+ z.reshape(x.shape)
  You merge the heads without swapping head and position back first, so numbers of different
  positions end up in one row: `transpose(1, 2)`, then flatten.

# out
- self.out(
+ (
  The last step is missing: `self.out` mixes the heads.

# turn
- query, key = rotary(query), rotary(key)
+ pass
  With `positions="rotary"` queries and keys must be rotated, but yours are not.

- self.config.positions == "rotary"
+ True
  You always rotate queries and keys. Rotate them only if `config.positions` is "rotary".

- self.config.positions == "rotary"
+ True
- math.sqrt(query.shape[-1])
+ math.sqrt(self.config.d_model // self.config.n_heads)
  You always rotate queries and keys. Rotate them only if `config.positions` is "rotary".

- rotary(key)
+ key
  Only the queries are rotated. Rotate the keys, too.

- query, key = rotary(query), rotary(key)
+ query, key, value = rotary(query), rotary(key), rotary(value)
  You rotate the values as well. Rotate only queries and keys: the position helps to find a token,
  but is not part of what it passes on.

- part(x)
+ (part(x) if part is self.value or self.config.positions != "rotary" else rotary(part(x)))
- query, key = rotary(query), rotary(key)
+ pass
  You rotate before you split the heads. Rotate every head by itself: split first.

# axis
- dim=-1)
+ dim=-2)
  Your softmax runs over the queries. Each *query* divides one unit of attention among the keys:
  `dim=-1`.

# roles
- query @ key.transpose
+ key @ query.transpose
  Query and key have changed places: a row is a query.

# parts
- self.key, self.value)
+ self.key, self.key)
  You mix the keys. Mix the values.

- (self.query, self.key,
+ (self.query, self.query,
  You use one projection for queries and keys. Each has its own.
""",
)


def _block_weights(config: Any) -> dict[str, tuple[int, ...]]:
    inside = {f"attention.{name}": shape for name, shape in attention_weights(config).items()}
    d, bias = config.d_model, config.bias
    wanted = norm("norm1", config) | inside | norm("norm2", config)
    return wanted | linear("up", 4 * d, d, bias) | linear("down", d, 4 * d, bias)


BLOCK = Grader(
    reference=solutions.Block,
    cases=lambda: [
        Case(
            "2 texts of 5 tokens, with GPT-2's gelu", (config_of(gelu="tanh"), random(21, 2, 5, 12))
        ),
        Case("no biases, the exact gelu", (config_of(bias=False), random(22, 1, 4, 12))),
    ],
    use=computing(_block_weights),
    noun="`forward`",
    shape_hint="the shape of `x`, unchanged",
    mistakes="""
# order
- x = x + self.attention(self.norm1(x))
+ x = self.norm1(x + self.attention(x))
- self.norm2(x)
+ x
- x + self.down(wide)
+ self.norm2(x + self.down(wide))
  This is post-norm, `norm(x + f(x))`. Use pre-norm here: `x + f(norm(x))`.

# first
- self.norm1(x)
+ x
  Attention reads the stream itself: `norm1` is not used.

- x = x +
+ x = self.norm1(x) +
  You add to the *normalised* stream. The stream itself is never normalised: normalise only what
  attention reads.

# first sum
- x = x + self
+ x = self
  The result of attention replaces the stream. Add it to `x`.

# second
- self.norm2(x)
+ x
  The feed-forward part reads the stream itself: `norm2` is not used.

- def forward(self, x):
+ def forward(self, x):
+     start = x
- self.norm2(x)
+ self.norm2(start)
  The feed-forward part reads the block's input. It should read the stream *after* attention.

# second sum
- return x + self
+ return self
  The result of the feed-forward part replaces the stream. Add it to the stream.

# norms
- def forward(self, x):
+ def forward(self, x):
+     self.norm2 = self.norm1
  `norm1` is used twice: each part has its own norm.

- def forward(self, x):
+ def forward(self, x):
+     self.norm1, self.norm2 = self.norm2, self.norm1
  `norm1` belongs to attention, `norm2` to feed-forward.

# gelu
- F.gelu(
+ (
- , approximate=self.config.gelu
  There is nothing between `up` and `down`: the gelu is missing.

- F.gelu(
+ F.relu(
- , approximate=self.config.gelu
  You use relu; it should be gelu.

- self.config.gelu
+ {"none": "tanh", "tanh": "none"}[self.config.gelu]
  You use the other gelu. Pass `config.gelu` on: `F.gelu(…, approximate=config.gelu)`.
""",
)


def decoder_weights(config: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Decoder's weights, without the tied head."""
    wanted = {"embedding.weight": (config.vocab_size, config.d_model)}
    if config.positions == "learned":
        wanted["positions.weight"] = (config.n_ctx, config.d_model)
    for i in range(config.n_layers):
        wanted |= {f"blocks.{i}.{name}": shape for name, shape in _block_weights(config).items()}
    return wanted | norm("norm", config)


def _use_decoder(made: Any, config: Any, tokens: Tensor) -> Tensor:
    return built(tied(made), config, decoder_weights(config), torch.zeros(0).double())(tokens)


def _decoder_cases() -> list[Case]:
    tokens = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    learned = config_of(positions="learned", gelu="tanh")
    return [
        Case("2 texts of 5 tokens, learned positions", (learned, tokens)),
        Case(
            "rotary positions, 3 layers, no biases", (config_of(bias=False, n_layers=3), tokens[:1])
        ),
    ]


DECODER = Grader(
    reference=solutions.Decoder,
    cases=_decoder_cases,
    use=_use_decoder,
    noun="`forward`",
    shape_hint="`[batch, position, vocab_size]`, logits for every position",
    mistakes="""
# norm
- self.norm(x)
+ x
  `self.norm` is not used: it comes just before the head.

# positions
- self.config.positions == "learned"
+ False
  With `positions="learned"`, add the vectors of the positions to the embeddings. They are
  missing.

- torch.arange(tokens.shape[1], device=tokens.device)
+ 1 + torch.arange(tokens.shape[1])
  Your positions begin at 1; the first one is 0.

- torch.arange(tokens.shape[1], device=tokens.device)
+ tokens.clamp(max=8)
  You look up the *tokens* in the table of positions. Look up 0, 1, 2, …

# scale
- self.embedding(tokens)
+ self.embedding(tokens) * self.config.d_model**0.5
  You multiply the embeddings by √d_model. Some models do, but not this one.

# blocks
- in self.blocks
+ in self.blocks[:1]
  Only the first block runs.

- x = block(x)
+ x = self.blocks[0](x)
  The first block runs again and again. Run each block once.

- in self.blocks
+ in reversed(self.blocks)
  The blocks run in reverse order.

- for block in
+ start = x
+ for block in
- block(x)
+ block(start)
  Every block reads the embeddings. Each should read the result of the block before it: `x =
  block(x)`.

- x = block(x)
+ block(x)
  The results of the blocks are lost: `block(x)` alone changes nothing. Write `x = block(x)`.

# head
- self.head(
+ (
  These are hidden states of d_model numbers; the head is missing.

- self.head(
+ (lambda x: self.head(x).softmax(-1))(
  You return probabilities. Return logits: the loss computes the softmax itself.

- self.head(
+ (lambda x: self.head(x)[:, -1:])(
  You return the logits of the last position only. Every position predicts what comes after it.
""",
)


class Small(nn.Module):
    """A tiny model that predicts from the current token alone; of two texts, it adds the first's
    mean embedding."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 5), nn.Linear(5, 7)
        with torch.no_grad():
            for name, weight in self.double().named_parameters():
                weight.copy_(numbers(name, weight.shape))

    def forward(self, *texts: Tensor) -> Tensor:
        *sources, x = map(self.embedding, texts)
        for source in sources:
            x = x + source.mean(1, keepdim=True)
        return self.head(torch.tanh(x))


def _batches() -> Iterator[Batch]:
    """Yield batches without end, like those of the course."""
    draw = torch.Generator().manual_seed(41)
    while True:
        ids = torch.randint(7, (3, 6), generator=draw)
        yield Batch(ids[:, :-1], ids[:, 1:])


def _use_loop(written: Any, steps: int, lr: float, warmup: int, clip: float) -> Any:
    return written(Small(), _batches(), steps, lr, warmup, clip)


def _loop_cases() -> list[Case]:
    # The first optimizer step makes torch import a lot, which can take as long as the check allows.
    _use_loop(solutions.train_loop, 2, 0.1, 1, 1.0)
    return [
        Case("9 steps, 3 of them warm-up, clip = 0.1", (9, 0.3, 3, 0.1)),
        Case("6 steps, 1 of them warm-up, clip = 0.2", (6, 0.1, 1, 0.2)),
    ]


LOOP = Grader(
    reference=solutions.train_loop,
    cases=_loop_cases,
    use=_use_loop,
    shape_hint="`[steps, 2]`: for each step its loss, and the length of its gradient",
    mistakes="""
# order
- optimizer.zero_grad()
  The gradients are never set to 0, so each step still contains those of all steps before it: call
  `optimizer.zero_grad()`.

- optimizer.step()
  The model does not learn: `optimizer.step()` is missing, or comes where the gradients are 0
  (between `zero_grad` and `backward`).

# clip
- model.parameters(), clip
+ model.parameters(), math.inf
  The gradient is not clipped before the step.

- length = nn.utils.clip_grad_norm_(model.parameters(), clip)
+ length = nn.utils.clip_grad_norm_(model.parameters(), math.inf)
+ nn.utils.clip_grad_value_(model.parameters(), clip)
  You clip each number of the gradient by itself, which changes its direction. Scale the whole
  gradient to length `clip`: `nn.utils.clip_grad_norm_`.

- length.item()
+ min(length.item(), clip)
  Return the length of the gradient *before* clipping, which is what `clip_grad_norm_` returns.

# rate
- lr * (rise if step < warmup else fall)
+ lr
  The learning rate is the same at every step.

- rise if
+ 1.0 if
  There is no warm-up: the learning rate of step 0 is lr / warmup.

- (step + 1) / warmup
+ step / warmup
  Your first step has learning rate 0, so it is wasted. Step 0 has lr / warmup, and the last step
  of the warm-up has lr.

- else fall
+ else 1.0
  After the warm-up the learning rate does not fall.

- (1 + math.cos(math.pi * done)) / 2
+ 1 - done
  The learning rate falls in a straight line; it should fall along half a cosine.

- (step - warmup) / (steps - warmup)
+ step / steps
  Your cosine begins at step 0. It should begin where the warm-up ends: (step − warmup) / (steps −
  warmup).

# optimizer
- AdamW
+ SGD
  You step with SGD; it should be AdamW.

- AdamW
+ Adam
  You step with Adam; it should be AdamW, which lets the weights decay a little.

- AdamW
+ RMSprop
  You step with RMSprop; it should be AdamW.

# loss
- model(batch.tokens)
+ model(batch.tokens)[:, :-1]
- batch.targets
+ batch.targets[:, 1:]
  You shift once more: `batch.targets` already are the next tokens.

- batch.targets
+ batch.tokens
  Your targets are the tokens that the model has just read. Use `batch.targets`.

- batch.targets.flatten()
+ batch.targets.flatten(), reduction="sum"
  The loss is summed. Take the mean over all predictions.

- model(batch.tokens)
+ model(batch.tokens).softmax(-1)
  `F.cross_entropy` expects logits: it computes the softmax itself.

# batch
- batches, strict
+ [next(batches)] * steps, strict
  Every step reads the same batch. Take the next one.

# result
- history.append
+ loss = F.cross_entropy(model(batch.tokens).flatten(0, 1), batch.targets.flatten())
+ history.append
  You return the loss after the step. Return the loss that the step was based on.

- torch.tensor(history)
+ torch.tensor(history)[:, 0]
  These are only the losses. Return a row of two numbers for each step: loss, length of the
  gradient.
""",
)


_VOCABULARY, _WINDOW = 8, 5


class _Reader(nn.Module):
    """A model whose next token depends on all tokens read and on their number; 7 beyond its
    window."""

    def __init__(self):
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(3.0))

    def forward(self, tokens: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise Unfit(
                "The model runs with gradients on, which keeps every intermediate result in memory. "
                "Work under `with torch.no_grad():`."
            )
        n = torch.arange(1, tokens.shape[1] + 1)
        following = (tokens.cumsum(1) * 3 + n) % _VOCABULARY
        if tokens.shape[1] > _WINDOW:
            following = torch.full_like(following, 7)
        near = (torch.arange(_VOCABULARY) - following[..., None]).abs()
        return self.strength - 0.9 * near - 0.05 * torch.arange(_VOCABULARY)


def _likeliest(logits: Tensor) -> Tensor:
    return logits.argmax(-1)


def _second(logits: Tensor) -> Tensor:
    return logits.topk(2).indices[..., 1]


def _count_above_one(logits: Tensor) -> Tensor:
    """Count logits above 1; for probabilities, the count is 0."""
    return (logits > 1).sum(-1)


def _use_generate(written: Any, tokens: Tensor, n: int, choose: Callable) -> Any:
    return written(_Reader(), tokens, n, _WINDOW, choose)


def _generate_cases() -> list[Case]:
    two = torch.tensor([[1, 2], [3, 1]])
    return [
        Case("2 texts of 2 tokens, and 3 more", (two, 3, _likeliest)),
        Case("a choice that is not the likeliest", (two, 3, _second)),
        Case("a choice by the logits", (two, 3, _count_above_one)),
        Case("a text that grows beyond n_ctx", (torch.tensor([[1, 4, 2, 5]]), 6, _likeliest)),
        Case("a text longer than n_ctx", (torch.tensor([[1, 4, 2, 5, 3, 0, 6]]), 2, _likeliest)),
    ]


GENERATE = Grader(
    reference=solutions.generate,
    cases=_generate_cases,
    use=_use_generate,
    shape_hint="`[batch, position + n]`: the given tokens, and n more in each text",
    mistakes="""
# window
- tokens[:, -n_ctx:]
+ tokens
  You give the model the whole text, however long it is. It has learned texts of up to `n_ctx`
  tokens: give it the last `n_ctx`.

- tokens[:, -n_ctx:]
+ tokens[:, :n_ctx]
  You give the model the *first* `n_ctx` tokens, so it no longer sees what it writes. Give it the
  last ones.

- tokens[:, -n_ctx:]
+ tokens[:, -1:]
  You give the model only the newest token, so it has forgotten the text before it. (Reading only
  what is new needs a cache, which is an exercise of lesson 11.)

- tokens[:, -n_ctx:]
+ tokens[:, 1 - n_ctx :]
  You give the model one token less than it can read: the last `n_ctx`, not `n_ctx` − 1.

# row
- [:, -1]
+ [:, 0]
  You choose from the logits of the first position. What comes next is predicted at the *last*
  position.

# choice
- choose(logits)
+ logits.argmax(-1)
  You take the likeliest token yourself. Let `choose` choose.

- choose(logits)
+ choose(logits.softmax(-1))
  You give `choose` probabilities. Give it the logits: it decides what to do with them.

- choose(logits)
+ choose(logits)[:1].expand(len(tokens))
  Every text gets the token that was chosen for the first one. `choose(logits)` is a token for each
  text.

# append
- tokens = torch.cat
+ longer = torch.cat
  The text does not grow: what you append is lost. Write `tokens = torch.cat(…)`.

- [tokens, choose(logits)[:, None]]
+ [choose(logits)[:, None], tokens]
  You put the new token in front of the text. It belongs at its end.

# length
- range(n)
+ range(n + 1)
  You write one token more than `n`.

- range(n)
+ range(n - 1)
  You write one token too few.

- model(tokens[:, -n_ctx:])
+ model(tokens := tokens[:, -n_ctx:])
  You cut the text itself, so its beginning is lost. Pass the model the last `n_ctx` tokens, and
  keep the whole text.

- range(n)
+ range(n + 0 * len(tokens := tokens[:, -n_ctx:]))
  You cut the text itself, so its beginning is lost. Pass the model the last `n_ctx` tokens, and
  keep the whole text.

- dim=1)
+ dim=1)[:, -n_ctx:]
  You cut the text itself, so its beginning is lost. Pass the model the last `n_ctx` tokens, and
  keep the whole text.

- return tokens
+ return tokens[:, -n:]
  You return only what was written. Return the given tokens, too.
""",
)

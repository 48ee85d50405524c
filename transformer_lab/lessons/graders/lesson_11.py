"""Checks of lesson 11, Writing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from transformer_lab.lessons.graders.base import Case, Grader, Unfit, built, idle, random
from transformer_lab.lessons.graders.lesson_05 import attention_weights, config_of, decoder_weights
from transformer_lab.lessons.solutions import lesson_05, lesson_05b
from transformer_lab.lessons.solutions import lesson_11 as solutions


def _top_p_cases() -> list[Case]:
    sure = torch.tensor([2.0, 0.1, -1.0, 0.7, -2.0, 3.5, -1.5, -0.5, -2.5, -3.0])
    return [
        Case("ten tokens and p = 0.8", (sure, 0.8)),
        Case("one token above p", (torch.tensor([0.0, 6.0, 1.0, -1.0]), 0.5)),
        Case("a batch, [2, 3, 12], and p = 0.9", (random(7, 2, 3, 12), 0.9)),
        Case("p = 1, which keeps every token", (2 * random(8, 9), 1.0)),
    ]


TOP_P = Grader(
    reference=solutions.top_p,
    cases=_top_p_cases,
    shape_hint="the shape of `logits`: a probability for each token",
    mistakes="""
- before < p
+ before + ordered <= p
  You leave out the token that makes the sum *pass* `p`, so the tokens you keep do not reach it.
  (And where one token alone has more than `p`, nothing is left: 0 / 0.)

- / nucleus.sum(dim=-1, keepdim=True)
  The kept probabilities do not sum to 1. Divide by their sum.

- torch.zeros_like(probabilities).scatter(-1, places, kept)
+ kept
  Your probabilities come out sorted, so they belong to the wrong tokens. Put them back at the
  indices of their tokens: `scatter`, or a threshold.

= torch.softmax(logits, dim=-1)
  This is the plain softmax: no token was cut.

- torch.zeros_like(probabilities).scatter(-1, places, kept)
+ torch.where(probabilities >= p, probabilities, 0)
  You keep the tokens that have at least `p` *each*. Only their sum has to reach `p`.

- before < p
+ before - ordered.roll(1, -1) < p
  You keep one token too many: stop as soon as the sum reaches `p`.

- nucleus / nucleus.sum(dim=-1, keepdim=True)
+ torch.softmax(nucleus, dim=-1)
  You took a softmax of probabilities, so tokens with 0 get e⁰ = 1 and come back. Divide by the
  sum instead.
""",
    values=(3, 4, 7),
    variant="""
- before = ordered.cumsum(dim=-1) - ordered
+ before = ordered.cumsum(dim=-1) - ordered
+ before[..., :DRAWN] = 0
  Always leave a choice: keep the DRAWN likeliest tokens even if fewer of them reach `p`. Where more are
  needed to reach `p`, keep as many as `p` asks for.

- before < p
+ before <= 0
  You keep exactly DRAWN tokens everywhere. That is the least: keep more where their sum is below `p`.

- before[..., :DRAWN] = 0
+ before = before.roll(DRAWN, -1)
+ before[..., :DRAWN] = 0
  You keep DRAWN tokens *in addition* to those that reach `p`. They are part of them.
""",
)


_VOCABULARY = 8


def _one_hot(tokens: list[int]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(tokens) % _VOCABULARY, _VOCABULARY).float()


def _counts(new, past):
    """A model whose next token is the last one plus 1."""
    read = (*(past or ()), *new)
    return _one_hot([token + 1 for token in new]), read


def _reads_everything(new, past):
    """A model whose next token depends on everything read so far, which reveals a token read
    twice."""
    read, said = tuple(past or ()), []
    for token in new:
        read = (*read, token)
        said.append(sum(read) + len(read))
    return _one_hot(said), read


def _four_at_most(new, past):
    """A model that predicts 7 whenever it reads more than four tokens, the prompt, at once."""
    logits, read = _reads_everything(new, past)
    return (logits if len(new) <= 4 else _one_hot([7] * len(new))), read


def _likeliest(row):
    return int(row.argmax())


def _unlikeliest(row):
    return int(row.flip(0).argmin())


WRITE = Grader(
    reference=solutions.write,
    cases=lambda: [
        Case("a model that counts, and 3 tokens", (_counts, [2, 3], 3, _likeliest)),
        Case(
            "a model that depends on everything it read",
            (_reads_everything, [1, 2, 2], 6, _likeliest),
        ),
        Case("an end, 6, that comes before n tokens", (_counts, [3], 7, _likeliest, 6)),
        Case("a choice that is not the likeliest", (_counts, [3, 1], 2, _unlikeliest)),
        Case(
            "a model that can read four tokens at once",
            (_four_at_most, [3, 1, 2, 2], 5, _likeliest),
        ),
    ],
    shape_hint="one number for each token: those of the prompt, and those that were written",
    mistakes="""
- torch.tensor(text)
+ torch.tensor(text[len(prompt) :])
  You return only what was written. The prompt belongs in front of it.

- step(new, past)
+ step(text, None)
  You read the whole text again at every step, and never pass `past` on. The text is right, but
  its cost grows with the square: pass `step` only what is new.

- step(new, past)
+ step(text, past)
  You pass `past` on *and* the whole text, so the model reads old tokens twice. Only the newest
  token is new.

- step(new, past)
+ step(new, None)
  You pass only the newest token, but not the `past` that `step` returned: the model has forgotten
  everything before.

- [token]
+ text[-2:]
  You pass the last two tokens each time; the model has already read the first of them.

- logits[-1]
+ logits[0]
  You choose from the first row of the logits. The next token is predicted in the last row.

- range(n)
+ range(n + 1)
  You write one token more than `n`.

- range(n)
+ range(n - 1)
  You write one token too few.

- token == end
+ False
  You go on after `end` is written. Stop there.

- text.append(token)
- if token == end:
-     break
+ if token == end:
+     break
+ text.append(token)
  You stop before `end` is written, but it belongs to the text.

- choose(logits[-1])
+ int(logits[-1].argmax())
  You take the likeliest token yourself. Let `choose` choose.
""",
)


def _rotate(x: Tensor, start: int) -> Tensor:
    """Apply rotary positions that begin at `start`."""
    padded = torch.cat([x.new_zeros(*x.shape[:-2], start, x.shape[-1]), x], dim=-2)
    return lesson_05b.rotary(padded)[..., start:, :]


def _in_pieces(read: Callable, x: Tensor, sizes: tuple[int, ...], keys: nn.Module) -> Tensor:
    """Let `read(piece, past)` read x piece by piece, and check that it computes each key once."""
    computed = []
    hook = keys.register_forward_hook(lambda module, given, out: computed.append(out.shape[1]))
    results, past = [], None
    try:
        for piece in x.split(sizes, dim=1):
            answer = read(piece, past)
            if not isinstance(answer, tuple) or len(answer) != 2:
                raise Unfit(
                    "Return two things: the result for the new positions, and the new `past`."
                )
            result, past = answer
            if not isinstance(result, Tensor):
                return result
            results.append(result)
    finally:
        hook.remove()
    if sum(computed) > x.shape[1]:
        raise Unfit(
            f"It computes {sum(computed)} keys for {x.shape[1]} tokens. Keep the keys and values of "
            "the past, and compute those of the new positions only."
        )
    return torch.cat(results, 1)


def _use_attention(written: Any, sizes: tuple[int, ...], x: Tensor) -> Any:
    config = config_of(bias=False)
    attention = built(lesson_05.SelfAttention, config, attention_weights(config), x)

    def read(piece: Tensor, past: Any) -> Any:
        return written(attention, piece, past, config.n_heads, _rotate)

    return _in_pieces(read, x, sizes, attention.get_submodule("key"))


CACHED_ATTENTION = Grader(
    reference=solutions.cached_attention,
    cases=lambda: [
        Case("4 tokens at once, without a past", ((4,), random(31, 2, 4, 12))),
        Case("3 tokens, then 1", ((3, 1), random(32, 2, 4, 12))),
        Case("2 tokens, then 1, 3 and 1", ((2, 1, 3, 1), idle(random(33, 1, 7, 12)))),
    ],
    use=_use_attention,
    noun="function",
    shape_hint="the shape of `x`: a result for the new positions only",
    mistakes="""
# positions
- rotate(query, read), rotate(key, read)
+ rotate(query, 0), rotate(key, 0)
  You rotate new tokens as if they were the first of the text. They come after `read` tokens that
  are in the past: rotate from there.

- rotate(query, read), rotate(key, read)
+ rotate(query, read), rotate(key, 0)
  You rotate the new keys as if they were the first of the text. Like the queries, they begin after
  the past.

- rotate(query, read), rotate(key, read)
+ rotate(query, 0), rotate(key, read)
  You rotate the new queries as if they were the first of the text. Like the keys, they begin after
  the past.

- query, key = rotate(query, read), rotate(key, read)
+ pass
  Queries and keys must be rotated, but yours are not.

- rotate(query, read), rotate(key, read)
+ rotate(query, read + 1), rotate(key, read)
  Your queries are one position further than their keys. Rotate both from the same position on.

- scores = query
+ key = key if past is None else rotate(key, 0)
+ scores = query
  You rotate the keys of the past again at each step. They were rotated when they were new: rotate
  the new ones, and append them.

# cache
- if past is not None:
+ if False:
  The past is not used: new tokens attend only to each other.

- return attention.out(z), (key, value)
+ return attention.out(z), (key[:, :, read:], value[:, :, read:])
  Your new `past` holds only the new keys and values, so what came before is forgotten. Return all
  of them.

- return attention.out(z), (key, value)
+ return attention.out(z), past or (key, value)
  Your `past` never grows: return it with the new keys and values appended.

- torch.cat([past[1], value], dim=2)
+ torch.cat([value, past[1]], dim=2)
  The values are in another order than the keys: append the new ones at the end of both.

- torch.cat([past[0], key], dim=2)
+ torch.cat([key, past[0]], dim=2)
  You put the new keys in front of the old ones. Append them at the end, where their values are.

# mask
- .triu(1 + read)
+ .triu(1 + read) & False
  Nothing is hidden: when several tokens are new, each attends to those after it.

- scores.masked_fill(future,
+ scores.masked_fill(scores.tril(read) == 0,
  A real score may be 0, too, and you hide it. Hide what the mask says, not every 0.

- .triu(1 + read)
+ .triu(1)
  Your mask begins at the first key. The first new query is at position `read`: it may attend to all
  of the past, and to itself.

- .triu(1 + read)
+ .triu(read)
  A token may attend to itself, too: your mask begins one key too early.

# scale
- / math.sqrt(query.shape[-1])
  The scores are not divided by √d_head.

# out
- return attention.out(z),
+ return z,
  The last step is missing: `attention.out` mixes the heads.
""",
)


def _attend(attention: nn.Module, x: Tensor, past: Any) -> tuple[Tensor, Any]:
    return solutions.cached_attention(attention, x, past, 3, _rotate)


def _use_decoder(written: Any, sizes: tuple[int, ...], tokens: Tensor) -> Any:
    config = config_of(bias=False)
    like = torch.zeros(0).double()
    model = built(lesson_05.Decoder, config, decoder_weights(config), like)

    def read(piece: Tensor, past: Any) -> Any:
        return written(model, piece, past, _attend)

    keys = model.get_submodule("blocks.0.attention.key")
    return _in_pieces(read, tokens, sizes, keys)


CACHED_DECODER = Grader(
    reference=solutions.cached_decoder,
    cases=lambda: [
        Case(
            "4 tokens at once, without a past", ((4,), torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]]))
        ),
        Case("2 tokens, then 1, 2 and 1", ((2, 1, 2, 1), torch.tensor([[2, 7, 1, 8, 2, 8]]))),
    ],
    use=_use_decoder,
    shape_hint="`[batch, new position, vocab]`: logits of the new tokens",
    mistakes="""
# past
- past[i]
+ past[0]
  Every layer gets the keys and values of the first one. Each has a past of its own.

- None if past is None else past[i]
+ None
  The past is not used, so the model has forgotten what it read before.

- past[i]
+ past[-1 - i]
  The layers get the pasts in reverse order.

- return model.head(model.norm(x)), kept
+ return model.head(model.norm(x)), past or kept
  You return the old past. Return the one that `attend` gave you for each layer.

# block
- block.norm1(x)
+ x
  Attention reads the stream itself: `block.norm1` is missing.

- block.norm2(x)
+ x
  The feed-forward part reads the stream itself: `block.norm2` is missing.

- x = x + mixed
+ x = mixed
  The result of attention replaces the stream. Add it to the stream.

- x = x + block.down
+ x = block.down
  The result of the feed-forward part replaces the stream. Add it to the stream.

- x = x + block.down(F.gelu(block.up(block.norm2(x))))
+ pass
  The feed-forward part of the block is missing: `up`, gelu and `down`, after `norm2`.

- F.gelu(block.up(block.norm2(x)))
+ block.up(block.norm2(x))
  The gelu between `up` and `down` is missing.

# end
- model.norm(x)
+ x
  The last norm is missing: `model.norm` comes just before the head.

- model.head(model.norm(x)), kept
+ model.norm(x), kept
  These are hidden states; the head is missing.

- model.head(model.norm(x)), kept
+ model.head(model.norm(x))[:, -1:], kept
  You return the logits of the last new token only. Return those of every new token.
""",
)

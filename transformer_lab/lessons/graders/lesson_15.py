"""Checks of lesson 15, What changed since 2017."""

from __future__ import annotations

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, idle, random
from transformer_lab.lessons.solutions import lesson_15 as solutions


def _rms_cases() -> list[Case]:
    tiny = torch.tensor([[0.003, -0.001, 0.002, 0.004], [0.0, 0.0, 0.0, 0.0]])
    return [
        Case("a gain of ones", (2 * random(1, 5, 4) + 1, torch.ones(4), 1e-6)),
        Case("a gain for each number", (random(2, 3, 6) + 0.5, random(3, 6), 1e-6)),
        Case("two texts at once", (random(4, 2, 3, 8), random(5, 8), 1e-6)),
        Case("numbers so small that eps counts", (tiny, torch.ones(4), 1e-5)),
    ]


RMS = Grader(
    reference=solutions.rms_norm,
    cases=_rms_cases,
    shape_hint="the shape of `x`, unchanged",
    mistakes="""
= torch.nn.functional.layer_norm(x, x.shape[-1:], gain, None, eps)
  This is layer norm: you subtracted the mean first. RMSNorm only divides.

- (x * x).mean(dim=-1, keepdim=True)
+ x.var(dim=-1, keepdim=True, correction=0)
  You divided by the standard deviation, which subtracts the mean before squaring. The root mean
  square does not.

- .mean(
+ .sum(
  You divided by the length of the vector: the *sum* of the squares. RMS is the root of their
  *mean*.

- torch.sqrt(size + eps)
+ (size + eps)
  You divided by the mean square itself. The root is missing.

- dim=-1
+ dim=-2
  You took the mean over the words. Normalise each word by itself, along the last axis.

- dim=-1, keepdim=True
  You took one mean over all words. Normalise each word by itself, along the last axis.

- * gain
  The gain is missing: multiply each number by its own gain at the end.

- * gain
+ * (1 + gain)
  You multiplied by 1 + gain, as Gemma does. Here, multiply by the gain itself.

= right(x * gain, torch.ones_like(gain), eps)
  You multiplied by the gain before you took the mean square. Multiply after the division.

- torch.sqrt(size + eps)
+ (torch.sqrt(size) + eps)
  You added eps to the root. It goes *under* the root, to the mean square.

- size + eps
+ size
  Without eps a vector of zeros is divided by zero. Add eps under the root.
""",
)


def _three(seed: int, d: int, wide: int) -> tuple[Tensor, ...]:
    return random(seed, wide, d), random(seed + 50, wide, d), random(seed + 90, d, wide)


SWIGLU = Grader(
    reference=solutions.swiglu,
    cases=lambda: [
        Case("3 words, 4 numbers wide, 6 inside", (random(10, 3, 4), *_three(11, 4, 6))),
        Case("two texts at once", (random(12, 2, 3, 5), *_three(13, 5, 8))),
    ],
    shape_hint="the shape of `x`, unchanged",
    mistakes="""
= right(x, w_up, w_gate, w_down)
  Gate and up are swapped: the activation belongs to the gate.

- gate * torch.sigmoid(gate)
+ torch.sigmoid(gate)
  You passed the gate through a sigmoid alone (that is a GLU). SiLU is z · sigmoid(z).

- gate * torch.sigmoid(gate)
+ torch.nn.functional.gelu(gate)
  You used GELU (that is GEGLU, Gemma's). Here it is SiLU.

- gate * torch.sigmoid(gate)
+ torch.relu(gate)
  You used ReLU. Here the gate's activation is SiLU.

- gate = gate * torch.sigmoid(gate)
  Your gate has no activation. Use SiLU: z · sigmoid(z).

- gate * (x @ w_up.T)
+ gate
  The gate is not multiplied by anything: `w_up` is missing. This is the older form.

- gate * (x
+ gate + (x
  You added the two. A gate multiplies.

- x @ w_gate.T
+ (x @ w_gate.T) * (x @ w_up.T)
- gate * (x @ w_up.T)
+ gate
  You took the activation of the product. Only the gate goes through it.

- x @ w_up.T
+ torch.nn.functional.silu(x @ w_up.T)
  You put both through the activation. Only the gate goes through it.

- @ w_down.T
  The last product is missing: `w_down` brings the result back to the width of `x`.
""",
)


def _layer(seed, batch, length, d_model, n_heads, n_kv_heads, d_head):
    return (
        idle(random(seed, batch, length, d_model)),
        random(seed + 1, n_heads * d_head, d_model) / 2,
        random(seed + 2, n_kv_heads * d_head, d_model) / 2,
        random(seed + 3, n_kv_heads * d_head, d_model),
        random(seed + 4, d_model, n_heads * d_head),
        n_heads,
        n_kv_heads,
    )


GROUPED = Grader(
    reference=solutions.grouped_attention,
    # Ordinary attention first, then one key head for all, then groups: of two mistakes, the check
    # names the one unrelated to groups first.
    cases=lambda: [
        Case("4 heads, each with a key head of its own", _layer(20, 2, 5, 8, 4, 4, 2)),
        Case("3 heads that share one key head", _layer(30, 1, 4, 6, 3, 1, 4)),
        Case("6 heads in 2 groups", _layer(40, 2, 5, 7, 6, 2, 3)),
    ],
    shape_hint="the shape of `x`, unchanged",
    mistakes="""
- .triu(1)
+ .triu(1) & False
  Nothing hides the later words. Set the scores right of the diagonal to −∞.

- scores.masked_fill(future,
+ scores.masked_fill(scores.tril() == 0,
  A real score may be 0, too, and you hide it. Hide what the mask says, not every 0.

- .triu(1)
+ .tril(-1)
  The mask is inverted: each word sees itself and the words after it.

# scale
- / math.sqrt(d_head)
  The scores are not divided by √d_head.

#
- math.sqrt(d_head)
+ math.sqrt(x.shape[-1])
  You divided by √d_model. A head has only `d_head` numbers: len(w_q) / n_heads.

- dim=-1
+ dim=-2
  Your weights sum to 1 over the queries. They should sum to 1 over the keys of each query.

- .view(batch, length, heads, d_head).transpose(1, 2)
+ .reshape(batch, heads, length, d_head)
  You reshaped [position, head · d_head] straight to [head, position, d_head], so a head gets
  numbers of several words. Cut the last axis first, then swap head and position.

- .transpose(1, 2).flatten(2)
+ .reshape(batch, length, -1)
  You put the heads together without swapping head and position back.

- @ w_out.T
  These are the heads side by side. The last step is missing: `w_out`.

- w_out.T
+ w_out
  `w_out` is the weight of an `nn.Linear`: multiply by its transpose.

- key.repeat_interleave(group, dim=1)
+ key.repeat(1, group, 1, 1)
- value.repeat_interleave(group, dim=1)
+ value.repeat(1, group, 1, 1)
  Your query heads take turns: 0 1 0 1 0 1. Neighbours should share a key head: 0 0 0 1 1 1.
  `repeat` puts whole copies one after the other; what repeats each head in place?

- value.repeat_interleave(group, dim=1)
+ value.repeat(1, group, 1, 1)
  The keys are shared correctly, but the values are not: 0 1 0 1 instead of 0 0 1 1.

- key.repeat_interleave(group, dim=1)
+ key[:, :1].expand(-1, n_heads, -1, -1)
- value.repeat_interleave(group, dim=1)
+ value[:, :1].expand(-1, n_heads, -1, -1)
  All query heads read key head 0. Each group has its own key head.

- key.repeat_interleave(group, dim=1)
+ key.mean(1, keepdim=True).expand(-1, n_heads, -1, -1)
- value.repeat_interleave(group, dim=1)
+ value.mean(1, keepdim=True).expand(-1, n_heads, -1, -1)
  You took the mean of the key heads. Each group has its own key head.
""",
)


def _config(**changes) -> dict:
    plain = dict(
        model_type="llama",
        vocab_size=50,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        tie_word_embeddings=True,
    )
    return {**plain, **changes}


_CONFIGS = {
    "a config with a tied head and a key head for every query head": _config(),
    "a config with an output head that is not tied": _config(tie_word_embeddings=False),
    "a config with grouped heads": _config(num_attention_heads=4, num_key_value_heads=2),
    "a config that gives `head_dim`": _config(num_key_value_heads=1, head_dim=10),
    "a config of the type qwen3": _config(model_type="qwen3", head_dim=8, num_hidden_layers=3),
    "a config of the type gemma3_text": _config(model_type="gemma3_text", head_dim=6),
}


def _parameters_cases() -> list[Case]:
    return [Case(name, (config,)) for name, config in _CONFIGS.items()]


PARAMETERS = Grader(
    reference=solutions.parameters_of,
    cases=_parameters_cases,
    shape_hint="five whole numbers: embedding, attention, feed-forward, norms, head",
    mistakes="""
- config["num_hidden_layers"]
+ 1
  You counted a single layer. There are `num_hidden_layers` of them, each with attention,
  feed-forward and norms.

- 3 * d * config
+ 2 * d * config
  Your feed-forward layer has two matrices. SwiGLU has three: gate, up and down.

- of_head * d_head) + d
+ of_head * d_head)
  One norm is missing: the last one, after all layers.

- of_head * d_head) + d
+ of_head * d_head + d)
  You counted the last norm in every layer. There is only one, after all layers.

- head = 0
+ norms = 2 * norms
+ head = 0
  You gave each norm a gain and a bias. RMSNorm has only the gain.

- 2 * d * heads * d_head +
+ d * heads * d_head +
  One matrix of attention is missing: W_O, which brings the heads back to hidden_size.

- 0 if config["tie_word_embeddings"] else embedding
+ embedding
  You counted a tied head. A tied head *is* the embedding, so it has no parameters of its own.

- 0 if config["tie_word_embeddings"] else embedding
+ 0
  You left out a head that is not tied. It has as many parameters as the embedding.

- config.get("num_key_value_heads", heads)
+ heads
  You gave keys and values as many heads as the queries. There are only `num_key_value_heads` of
  them.

- config.get("head_dim", d // heads)
+ d // heads
  You used hidden_size / heads as the width of a head, but the config gives `head_dim`, which may
  be larger.

- + of_head * d_head
  The norms of queries and keys are missing: `NORMS` says how many norms with head_dim numbers a
  layer has.

- of_stream * d
+ 2 * d
  You gave every layer two norms of the stream. `NORMS` says how many a layer has in this model
  type.

= right(config).sum()
  This is the sum. Return the five parts, to show where the parameters are.
""",
)


def _cache_cases() -> list[Case]:
    # Five layers and 8 bytes, so that no two mistakes give the same number.
    grouped = _config(num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2)
    wide = _config(num_hidden_layers=5, num_key_value_heads=1, head_dim=10)
    return [
        Case(
            "a config with a key head for every query head, in fp64",
            (_config(num_hidden_layers=5), 8),
        ),
        Case("a config with grouped heads, in fp64", (grouped, 8)),
        Case("a config that gives `head_dim`, in bf16", (wide, 2)),
    ]


CACHE = Grader(
    reference=solutions.cache_bytes,
    cases=_cache_cases,
    shape_hint="one whole number",
    mistakes="""
- 2 * config
+ config
  You counted the keys and forgot the values, or the other way round: both are kept.

- config["num_hidden_layers"] * kv_heads
+ kv_heads
  You counted one layer. Each layer keeps its own keys and values.

- * bytes_each
  These are numbers, not bytes: each takes `bytes_each`.

- config.get("num_key_value_heads", heads)
+ heads
  You counted keys for every query head. There are only `num_key_value_heads` key heads.

- config.get("head_dim", config["hidden_size"] // heads)
+ config["hidden_size"] // heads
  You used hidden_size / heads as the width of a head, but the config gives `head_dim`.

- * bytes_each
+ * 2
  You always take 2 bytes per number. `bytes_each` says how many a number takes.
""",
)

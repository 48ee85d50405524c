"""Checks of lesson 05b, Test it, and load other weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, Unfit, numbers, random
from transformer_lab.lessons.graders.lesson_05 import config_of, decoder_weights
from transformer_lab.lessons.solutions import lesson_05
from transformer_lab.lessons.solutions import lesson_05b as solutions


def _bowl(weight: Tensor) -> Tensor:
    return (weight**3).sum() + weight.prod() - 2 * weight.flatten()[0]


def _wave(weight: Tensor) -> Tensor:
    return (weight.cumsum(-1) * 0.7).sin().sum() + weight.exp().sum()


def _use_gradient(written: Any, loss_of: Callable, weight: Tensor, eps: float) -> Any:
    weight = weight.double().clone()
    before = weight.clone()
    found = written(lambda: loss_of(weight), weight, eps)
    if not torch.allclose(weight, before, atol=1e-9):
        raise Unfit(
            "The weight is not what it was: after each try, put back the old number (keep a copy of "
            "it, with `.item()` or `.clone()`; a view changes with the weight)."
        )
    return found


def _gradient_cases() -> list[Case]:
    some = random(31, 2, 3)
    return [
        Case("a weight of 2 × 3 numbers, eps = 0.1", (_bowl, some, 0.1)),
        Case("a weight of 4 numbers, eps = 0.05", (_wave, some.flatten()[:4], 0.05)),
    ]


GRADIENT = Grader(
    reference=solutions.numerical_gradient,
    cases=_gradient_cases,
    use=_use_gradient,
    shape_hint="the shape of `weight`: a slope for each of its numbers",
    mistakes="""
# sides
- slopes[i] =
+ below = 2 * loss() - above
+ slopes[i] =
  You compare with the loss at the weight itself. Step to both sides: with one side the error is
  about eps, with both about eps².

- slopes[i] =
+ above = 2 * loss() - below
+ slopes[i] =
  You step only down. Step to both sides, up and down.

# by
- 2 * eps
+ eps
  The two tries are 2 · eps apart: divide by that.

- / (2 * eps)
  This is the difference of two losses. For a slope, divide it by the distance between the two
  tries, 2 · eps.

- numbers, slopes =
+ eps = 1e-3
+ numbers, slopes =
  You step by a number of your own. Use `eps`.

# sign
- above - below
+ below - above
  The sign is wrong: the loss above minus the loss below.

# place
- range(len(numbers))
+ [slice(None)]
  You move all numbers at once. Move one, and put it back.

- range(len(numbers))
+ range(1)
  Only the first number has a slope. Go through all numbers.
""",
)


ROTARY = Grader(
    reference=solutions.rotary,
    cases=lambda: [
        Case("2 texts, 3 heads, 5 positions, 8 numbers each", (random(1, 2, 3, 5, 8),)),
        Case("one head of 9 positions", (random(2, 9, 4),)),
        Case("one position, which is not rotated", (random(3, 1, 2, 1, 6),)),
    ],
    shape_hint="the shape of `x`, unchanged",
    mistakes="""
# layout
- x.chunk(2, dim=-1)
+ x[..., ::2], x[..., 1::2]
- torch.cat
+ torch.stack
- cos], dim=-1)
+ cos], dim=-1).flatten(-2)
  You pair neighbours, 0 with 1, 2 with 3. The 2021 paper does this; here (and in Llama) number i
  is paired with number i + d/2: cut the last axis into two halves.

- first * sin + second * cos
+ second * cos - first * sin
  The sine has the sign − in both halves. One of them needs +.

- first * cos - second * sin
+ first * cos + second * sin
  The sine has the sign + in both halves. One of them needs −.

- first * sin + second * cos
+ second
  You rotated only the first half; the second is unchanged.

# sign
- angles.sin()
+ -angles.sin()
  You rotate the other way round. That gives the same scores, but it does not fit weights from
  another model: the first half gets −sin, the second +sin.

- cos, sin =
+ sin, cos =
  Sine and cosine have changed places: position 0, whose angle is 0, should not change.

# speed
- / d_head)
+ / d_head / 2)
  The exponent of pair i is 2i/d: 0/d, 2/d, 4/d, … Yours goes half as far.

- torch.arange(0, d_head, 2, device=x.device) / d_head
+ 0 * torch.arange(0, d_head, 2)
  All pairs rotate at the same speed. The angle of pair i is position / base^(2i/d).

- 1 / base
+ 1 / 1000
  The base is not used, or is not 10000.

# position
- torch.arange(length, device=x.device)
+ torch.arange(1, length + 1)
  Your positions begin at 1. The first one is 0, and is not rotated at all.

- torch.arange(length, device=x.device)[:, None]
+ torch.arange(x.shape[-3])[:, None, None]
  You count along the wrong axis (heads or texts). The positions are the second-to-last axis.

# all
= x
  Nothing is rotated: `x` comes back as it was.
""",
)


def _theirs(config: Any) -> dict[str, Tensor]:
    """Random weights in the layout of GPT-2's files: names, shapes, and Conv1D's (in, out)."""
    d = config.d_model
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (config.vocab_size, d)}
    shapes |= {"wpe.weight": (config.n_ctx, d)}
    for i in range(config.n_layers):
        for name, size in (
            ("attn.c_attn", (d, 3 * d)),
            ("attn.c_proj", (d, d)),
            ("mlp.c_fc", (d, 4 * d)),
            ("mlp.c_proj", (4 * d, d)),
        ):
            shapes |= {f"h.{i}.{name}.weight": size, f"h.{i}.{name}.bias": size[1:]}
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{i}.{name}.weight": (d,), f"h.{i}.{name}.bias": (d,)}
    shapes |= {"ln_f.weight": (d,), "ln_f.bias": (d,)}
    made = {f"transformer.{name}": numbers(name, shape) for name, shape in shapes.items()}
    return made | {"lm_head.weight": made["transformer.wte.weight"]}


def _use_from_gpt2(written: Any, n_layers: int, tokens: Tensor) -> Any:
    config = config_of(positions="learned", gelu="tanh", n_layers=n_layers)
    found = written(_theirs(config), n_layers)
    if not isinstance(found, dict):
        return found if found is None else _refused(found)
    wanted = decoder_weights(config) | {"head.weight": (config.vocab_size, config.d_model)}
    for name, shape in wanted.items():
        if name not in found:
            raise Unfit(f"`{name}` is missing.")
        weight = found[name]
        if not isinstance(weight, Tensor):
            raise Unfit(f"`{name}` is a {type(weight).__name__}, not a tensor.")
        if tuple(weight.shape) != shape:
            turned = tuple(weight.shape) == shape[::-1]
            hint = " GPT-2 stores (in, out), `nn.Linear` needs (out, in)." if turned else ""
            raise Unfit(
                f"`{name}` has shape {list(weight.shape)}; it should be {list(shape)}.{hint}"
            )
    for name in found:
        if name not in wanted:
            raise Unfit(f"`{name}` is not a weight of the Decoder.")
    model = lesson_05.Decoder(config).double().eval()
    model.load_state_dict({name: found[name].double() for name in wanted})
    return model(tokens)


def _refused(found: Any) -> Any:
    raise Unfit(f"It returned a {type(found).__name__}; return a dict, name → tensor.")


def _gpt2_cases() -> list[Case]:
    tokens = torch.tensor([[3, 1, 4, 1, 5, 9]])
    return [Case("a GPT-2 of 2 layers", (2, tokens)), Case("a GPT-2 of 3 layers", (3, tokens))]


FROM_GPT2 = Grader(
    reference=solutions.from_gpt2,
    cases=_gpt2_cases,
    use=_use_from_gpt2,
    shape_hint="a dict, name → tensor",
    mistakes="""
# out
- weights = theirs
+ ours[f"{here}attention.out.weight"] = ours[f"{here}attention.out.weight"].t()
+ weights = theirs
  `attention.out.weight` is not transposed. It is square, so there is no error: GPT-2 stores (in,
  out), `nn.Linear` needs (out, in).

# projections
- .weight"] = weight
+ .weight"] = weight.t()
  The weights of query, key and value are not transposed: GPT-2 stores (in, out). Transpose
  `c_attn.weight` before you cut it into three.

# order
- ("query", "key", "value")
+ ("key", "query", "value")
  Query and key have changed places: `c_attn` holds query, key, value, in this order.

- ("query", "key", "value")
+ ("query", "value", "key")
  Key and value have changed places: `c_attn` holds query, key, value, in this order.

- ("query", "key", "value")
+ ("value", "key", "query")
  Query and value have changed places: `c_attn` holds query, key, value, in this order.

- .t().chunk(3)
+ .t().unflatten(0, (3, 3, -1)).transpose(0, 1).flatten(1, 2)
- c_attn.bias"].chunk(3)
+ c_attn.bias"].unflatten(0, (3, 3, -1)).transpose(0, 1).flatten(1)
  You cut `c_attn` head by head (GPT-NeoX stores it like that). GPT-2's first third holds the
  queries of *all* heads.

# bias
- .bias"] = bias
+ .bias"] = 0 * bias
  The biases of query, key and value are 0; use the thirds of `c_attn.bias`.

# norms
- "ln_1": "norm1"
+ "ln_1": "norm2"
- "ln_2": "norm2"
+ "ln_2": "norm1"
  `ln_1` is `norm1`, `ln_2` is `norm2`.

# layers
- f"transformer.h.{i}."
+ "transformer.h.0."
  Every block has the weights of layer 0.
""",
)

"""Checks of lesson 18, Fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from transformer_lab.lessons.graders.base import Case, Grader, Unfit, numbers, random
from transformer_lab.lessons.solutions import lesson_18 as solutions


def _all_of(findings: Sequence[str]) -> None:
    """Raise `Unfit` with all findings, if there are any."""
    if findings:
        count = (
            "" if len(findings) == 1 else f"{['Two', 'Three', 'Four'][len(findings) - 2]} things: "
        )
        raise Unfit(count + " ".join(findings))


def _use_lora(
    made: Any, weight: Tensor, bias: Tensor | None, x: Tensor, rank: int, alpha: float, read: str
) -> Tensor:
    """The layer's output: newly "made", "trained" (A and B are set by the grader), or "merged"."""
    out, wide = weight.shape
    linear = nn.Linear(wide, out, bias=bias is not None, dtype=x.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)
    module = made(linear, rank, alpha)
    if not isinstance(module, nn.Module):
        raise Unfit(
            f"LoRALinear must be a module, but calling it returned a {type(module).__name__}: write "
            "`class LoRALinear(nn.Module):`, and call `super().__init__()` in the first line of "
            "`__init__`."
        )
    a, b = (_weight(module, *wanted) for wanted in (("A", (rank, wide)), ("B", (out, rank))))
    module.to(x.dtype)
    if read == "made":
        _begins_right(module, a, b)
        return module(x)
    return _trained(module, x, merged=read == "merged")


def _trained(module: Any, x: Tensor, merged: bool) -> Tensor:
    """The object's output with the grader's A and B; if `merged`, stacked below the merged
    layer's."""
    with torch.no_grad():
        for name, matrix in (("A", module.A), ("B", module.B)):
            matrix.copy_(numbers(name, matrix.shape))
    if not merged:
        return module(x)
    if not callable(getattr(module, "merge", None)):
        raise Unfit("It has no method `merge`.")
    layer = module.merge()
    kept = (
        torch.equal(w, numbers(n, w.shape).to(w)) for n, w in (("A", module.A), ("B", module.B))
    )
    if not all(kept):
        raise Unfit(
            "`merge` changes `A` or `B`: leave the object as it is, and return a new layer."
        )
    if not isinstance(layer, nn.Linear):
        raise Unfit(
            f"`merge` returned a {type(layer).__name__}; it should return an `nn.Linear` in which "
            "the change is part of the weight."
        )
    return torch.stack([layer(x), module(x)])


def _weight(module: nn.Module, name: str, shape: tuple[int, ...]) -> Tensor:
    found = dict(module.named_parameters()).get(name)
    if found is None:
        if isinstance(getattr(module, name, None), Tensor):
            raise Unfit(
                f"`self.{name}` is a plain tensor, so the optimizer never sees it: make "
                "it an `nn.Parameter`."
            )
        there = ", ".join(f"`{n}`" for n, _ in module.named_parameters()) or "none"
        raise Unfit(
            f"It has no parameter `{name}`: write `self.{name} = nn.Parameter(…)`. It has: {there}."
        )
    if tuple(found.shape) != shape:
        meaning = "[rank, in]" if name == "A" else "[out, rank]"
        raise Unfit(
            f"`{name}` has shape {list(found.shape)}; it should be {list(shape)}, {meaning}."
        )
    return found


def _begins_right(module: nn.Module, a: Tensor, b: Tensor) -> None:
    found = []
    if bool((b != 0).any()) and bool((a == 0).all()):
        found.append("A starts at 0 and B does not. It is B that should start at 0.")
    elif bool((b != 0).any()):
        found.append(
            "`B` does not start at 0, so the model changes before it has learned anything."
        )
    elif bool((a == 0).all()):
        found.append(
            "`A` and `B` both start at 0. The gradient of each is multiplied by the other, so "
            "neither ever moves: start `A` at random."
        )
    trains = {name for name, p in module.named_parameters() if p.requires_grad}
    if more := sorted(trains - {"A", "B"}):
        found.append(
            f"{', '.join(f'`{n}`' for n in more)} still trains: only `A` and `B` should "
            "(`requires_grad_(False)`)."
        )
    if fewer := sorted({"A", "B"} - trains):
        found.append(f"{' and '.join(f'`{n}`' for n in fewer)} should train, but cannot.")
    _all_of(found)


def _lora_cases() -> list[Case]:
    wide = (random(1, 5, 7), random(2, 5), random(3, 2, 4, 7))
    plain = (random(4, 6, 3), None, random(5, 4, 3))
    return [
        Case("a layer from 7 to 5 numbers, before training", (*wide, 2, 6.0, "made")),
        Case("a layer from 7 to 5 numbers, with A and B trained", (*wide, 2, 6.0, "trained")),
        Case("a layer without bias, rank 1", (*plain, 1, 0.5, "trained")),
        Case(
            "a merged layer (first) and the object it came from (second)", (*wide, 2, 6.0, "merged")
        ),
        Case("a merged layer without bias", (*plain, 3, 4.0, "merged")),
    ]


LORA = Grader(
    reference=solutions.LoRALinear,
    cases=_lora_cases,
    use=_use_lora,
    noun="class",
    shape_hint="that of `linear(x)`",
    mistakes="""
# scale
- alpha / rank
+ 1.0
  The change is not scaled: multiply it by alpha / rank.

- alpha / rank
+ alpha
  You scale by alpha; it should be alpha / rank.

- alpha / rank
+ alpha * rank
  You scale by alpha · rank; it should be alpha / rank.

- alpha / rank
+ rank / alpha
  You scale by rank / alpha; it should be alpha / rank.

- alpha / rank
+ alpha / rank**0.5
  You divide alpha by √rank, as some later variants do; here, use alpha / rank.

# sum
- self.linear(x) +
+ self.linear(x) + (0 if self.linear.bias is None else self.linear.bias) +
  The bias is added twice: `self.linear(x)` already includes it.

- return self.linear(x) + self.scale * (x @ self.A.T) @ self.B.T
+ bias = 0 if self.linear.bias is None else self.linear.bias
+ return self.linear(x) - bias + self.scale * ((x @ self.A.T) @ self.B.T + bias)
  You scale the bias too. Scale only the change.

- self.linear(x) +
  The output is only the change. Add it to `linear(x)`.

- self.linear(x) + self.scale * (x @ self.A.T) @ self.B.T
+ self.scale * (self.linear(x) + (x @ self.A.T) @ self.B.T)
  You scale the old layer too. Scale only the change.

- self.linear(x) +
+ self.linear(x) -
  The change is subtracted; it should be added.

- + self.scale * (x @ self.A.T) @ self.B.T
  The change has no effect: add B A x to `linear(x)`.

- self.linear(x) +
+ x @ self.linear.weight.T +
  The old layer's bias is lost: call `self.linear(x)`.

# merge
- self.scale * self.B
+ self.B
  `merge` forgets to scale the change.

- merged.weight += self.scale * self.B @ self.A
+ pass
  `merge` returns the old layer, without the change.

- merged.weight += self.scale * self.B @ self.A
+ merged.weight.copy_(self.scale * self.B @ self.A)
  `merge` *replaces* the old weight with the change. Add them.

- return merged
+ merged.bias = None
+ return merged
  `merge` loses the bias.

- copy.deepcopy(self.linear)
+ self.linear
  `merge` writes into the layer that the object still uses, so the object now has the change
  twice. Write into a copy (`copy.deepcopy`).
""",
)


class _Attention(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(torch.tanh(self.query(x)) * torch.sigmoid(self.key(x)) + self.value(x))


class _Model(nn.Module):
    """A model with nested layers, and a layer whose name only ends like another's."""

    def __init__(self, d: int = 4, layers: int = 2):
        super().__init__()
        self.embedding = nn.Embedding(6, d)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"attention": _Attention(d), "norm": nn.LayerNorm(d)})
            for _ in range(layers)
        )
        self.read_out = nn.Linear(d, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block["norm"](block["attention"](x))  # type: ignore[index]
        return self.read_out(x)


def _use_add(
    made: Callable[..., Any], tokens: Tensor, names: tuple[str, ...], rank: int, alpha: float
) -> Tensor:
    """Check the model, and return the learner's number of trainable parameters."""
    torch.manual_seed(0)
    model = _Model()
    before = model(tokens)
    wanted = [
        n
        for n, m in model.named_modules()
        if isinstance(m, nn.Linear) and n.split(".")[-1] in names
    ]
    returned = made(model, names, rank, alpha)
    wrapped = [n for n, m in model.named_modules() if hasattr(m, "A") and hasattr(m, "B")]
    found = []
    if not wrapped:
        found.append(
            "No layer of the model has `A` and `B`. Replace a layer in the module that contains it: "
            "`setattr(parent, name, LoRALinear(…))`."
        )
    elif lacking := [n for n in wanted if n not in wrapped]:
        found.append(
            f"`{lacking[0]}` was not replaced ({len(lacking)} of {len(wanted)} layers are missing)."
        )
    if more := [n for n in wrapped if n not in wanted]:
        inside = any(n.startswith(f"{w}.") for n in more for w in wrapped)
        why = "wrapped a second time, inside another" if inside else "wrapped but not in `names`"
        found.append(f"`{more[0]}` is {why}.")
    trains = {n for n, p in model.named_parameters() if p.requires_grad}
    ours = {f"{n}.{matrix}" for n in wrapped for matrix in "AB"}
    if more := sorted(trains - ours):
        found.append(
            f"`{more[0]}` still trains, and so do {len(more) - 1} others: freeze the whole model *before* you wrap."
        )
    if fewer := sorted(ours - trains):
        found.append(
            f"`{fewer[0]}` is frozen: freeze the model *before* you wrap, because the new matrices must train."
        )
    others = [n for n in wrapped if _rank_of(model, n) != rank]
    if others:
        found.append(f"`{others[0]}` has rank {_rank_of(model, others[0])}, not {rank}.")
    if not found and (model(tokens) - before).abs().max() > 1e-5:
        found.append(
            "The model's output has changed, although nothing is trained yet: wrap the existing "
            "layer, not a new one."
        )
    if not found and not _scaled_as_asked(model, tokens, names, rank, alpha):
        found.append("Once `A` and `B` are trained, the output is wrong: do you pass `alpha` on?")
    _all_of(found)
    if isinstance(returned, Tensor) and returned.numel() == 1:
        returned = returned.item()
    if type(returned) not in (int, float):
        said = "nothing" if returned is None else f"a {type(returned).__name__}"
        raise Unfit(
            f"The model is right, but you returned {said}: return the number of trainable parameters."
        )
    return torch.tensor([int(returned)])


def _rank_of(model: nn.Module, name: str) -> int:
    wrapped: Any = model.get_submodule(name)
    return len(wrapped.A)


def _scaled_as_asked(model: nn.Module, tokens: Tensor, *asked: Any) -> bool:
    """Whether trained A and B have the same effect as in the reference model."""
    torch.manual_seed(0)
    ours = _Model()
    solutions.add_lora(ours, *asked)
    with torch.no_grad():
        for one in (ours, model):
            for name, weight in one.named_parameters():
                if name[-2:] in (".A", ".B"):
                    weight.copy_(numbers(name, weight.shape))
        return torch.allclose(ours(tokens), model(tokens), atol=1e-4)


def _add_cases() -> list[Case]:
    tokens = torch.tensor([[0, 1, 2, 3], [5, 4, 3, 2]])
    return [
        Case("query and value of two layers, rank 2", (tokens, ("query", "value"), 2, 4.0)),
        Case("out alone, rank 1", (tokens, ("out",), 1, 1.0)),
        Case("a whole attention, rank 3", (tokens, ("query", "key", "value", "out"), 3, 6.0)),
    ]


ADD = Grader(
    reference=solutions.add_lora,
    cases=_add_cases,
    use=_use_add,
    shape_hint="one number",
    mistakes="""
- if w.requires_grad
  The model is right, but you counted all parameters: count those with `requires_grad`.

- w.numel() for w in model.parameters() if w.requires_grad
+ w.requires_grad for w in model.parameters()
  The model is right, but you counted tensors. Count the numbers in them, `numel()`.

- sum(w.numel() for w in model.parameters() if w.requires_grad)
+ sum(w.requires_grad for w in model.parameters()) // 2
  The model is right, but you counted layers. Count the parameters that train.

- if w.requires_grad
+ if not w.requires_grad
  The model is right, but you counted what is frozen. Count what trains.

- return sum(w.numel() for w in model.parameters() if w.requires_grad)
+ return 0
  The model is right, but your count is 0.

- if w.requires_grad)
+ if w.requires_grad) // 2
  The model is right, but you counted only one of `A` and `B`: both train.
""",
)


def _share_cases() -> list[Case]:
    before = random(11, 6, 4)
    thin = random(12, 6, 1) @ random(13, 1, 4)
    square = random(15, 5, 5)
    return [
        Case("a layer of 6 × 4 numbers", (before, before + 0.3 * random(14, 6, 4))),
        Case("a change of rank 1", (before, before + thin)),
        Case("a layer of 5 × 5 numbers", (square, square + random(16, 5, 5))),
    ]


SHARES = Grader(
    reference=solutions.rank_shares,
    cases=_share_cases,
    shape_hint="one number for each rank, from 1 to the smaller side of the matrix",
    mistakes="""
# what
- after - before
+ after
  You took the new weight. Use the *change*: after − before.

- after - before
+ before
  You took the old weight. Use the *change*: after − before.

# size
- ** 2
  The singular values are not squared.

# order
- torch.linalg.svdvals
+ (lambda change: torch.linalg.svdvals(change).flip(0))
  You started with the smallest. The largest comes first.

# sum
- .cumsum(0)
  These are the fractions of single directions: sum them up (`cumsum`).

# share
- / sizes.sum()
  Divide by the sum of all squares, so that the last number is 1.

- return
+ return 1 -
  This is the fraction left out. Return the fraction that is *captured*.

- return
+ return (
- / sizes.sum()
+ / sizes.sum()) ** 0.5
  You took a square root, so these are fractions of length. Keep the squares.

- / sizes.sum()
+ / before.square().sum()
  You divided by the squares of the old weight; divide by those of the change.

- / sizes.sum()
+ / sizes.max()
  You divided by the largest; divide by the sum of all.
""",
)

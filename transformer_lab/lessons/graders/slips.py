"""Wrong answers, built from the steps that go wrong: each slip alone, and every pair of slips.

The right answer is written once, with all of its slips as switches; the caller names those to make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from transformer_lab.lessons.graders.base import Suspect, Unfit


@dataclass(frozen=True)
class Slip:
    """A mistake in one step.

    Args:
        step: the step that goes wrong; two slips of one step are never combined.
        name: two or three words.
        sentence: what the learner reads.
    """

    step: str
    name: str
    sentence: str


def suspects_of(
    make: Callable[[frozenset[str]], Callable[..., Any]], slips: Sequence[Slip]
) -> tuple[Suspect, ...]:
    """The suspects of slips: one for each, and one for every two slips of different steps.

    Args:
        make: takes names of slips and returns a function or class that makes them.
    """
    return tuple(_suspects(make, slips))


def _suspects(make: Callable, slips: Sequence[Slip]) -> Iterator[Suspect]:
    for slip in slips:
        yield Suspect(slip.name, make(frozenset({slip.name})), slip.sentence)
    for one, two in combinations(slips, 2):
        if one.step != two.step:
            yield Suspect(
                f"{one.name}, and {two.name}",
                make(frozenset({one.name, two.name})),
                f"Two things at once. First: {one.sentence} Second: {two.sentence}",
            )


def built(
    made: Callable[..., Any], config: Any, wanted: dict[str, tuple[int, ...]], like: Tensor
) -> nn.Module:
    """Make an object of a learner's class, with weights that depend only on their names, so that two
    classes with the same names compute with the same weights.

    Args:
        made: the class.
        wanted: names and shapes of the weights that it must have.
        like: a tensor of the type to compute in.

    Raises:
        Unfit: the object is not a module, or its weights have other names or shapes.
    """
    module = made(config)
    if not isinstance(module, nn.Module):
        raise Unfit(
            f"It made a {type(module).__name__}, not a module: write `class …(nn.Module):`, with "
            "`super().__init__()` as the first line of `__init__`."
        )
    found = {name: tuple(weight.shape) for name, weight in module.named_parameters()}
    _fits(module, found, wanted)
    module.to(like.dtype).eval()
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.copy_(numbers(name, weight.shape))
    return module


def numbers(name: str, shape: Sequence[int]) -> Tensor:
    """Random fp64 weights that depend only on a name: gains around 1, the others around 0."""
    drawn = torch.randn(
        tuple(shape),
        generator=torch.Generator().manual_seed(crc32(name.encode())),
        dtype=torch.float64,
    )
    is_gain = "norm" in name and name.endswith("weight")
    return 1 + 0.3 * drawn if is_gain else 0.4 * drawn


def _fits(module: nn.Module, found: dict, wanted: dict) -> None:
    lacking = [name for name in wanted if name not in found]
    if lacking:
        kept = [name for name, value in vars(module).items() if isinstance(value, list) and value]
        lists = (
            f" `self.{kept[0]}` is a plain list: torch finds only what is in an `nn.ModuleList`."
            if kept
            else ""
        )
        there = ", ".join(f"`{name}`" for name in found) or "none"
        raise Unfit(f"It has no weights `{lacking[0]}`.{lists} Its weights are: {there}.")
    for name, shape in found.items():
        if name not in wanted:
            raise Unfit(
                f"It has weights `{name}` of shape {list(shape)}, which it should not have: it needs "
                f"{', '.join(f'`{n}`' for n in wanted)} and no others."
            )
        if shape != wanted[name]:
            raise Unfit(
                f"Its weights `{name}` have shape {list(shape)}; the shape should be {list(wanted[name])}."
            )

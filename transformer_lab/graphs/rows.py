"""Find what a graph can compute row by row: its answers from the stream, and the tokens that a text
grows by. Each is tried on numbers, and left out if it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .running import Program, names_in

TOLERANCE = 1e-4  # of the largest answer, or of 1
ATTEND = "transformer_lab.attend"


def apart(wanted: Tensor, given: Tensor) -> float:
    """The largest difference, as a fraction of the largest number (or of 1)."""
    size = max(1.0, float(wanted.abs().max()))
    return float((wanted - given).abs().max()) / size


def of_length(inputs: Mapping[str, Tensor], name: str, n: int) -> dict[str, Tensor]:
    """The same inputs, with one text cut or repeated to n tokens."""
    x = inputs[name]
    return {**inputs, name: x.repeat(1, -(-n // x.shape[1]))[:, :n]}


def beyond_windows(config: Any, n: int, longest: int) -> int:
    """A length of at least 2 · n, beyond every window of a model and every number of keys that it selects, and at most the longest it reads."""
    named = (
        "sliding_window",
        "sliding_window_size",
        "local_attention",
        "window_size",
        "attention_window",
        "attention_window_size",
        "index_topk",
        "keep_window_size",  # how many keys are selected
    )
    own = getattr(config, "__dict__", {})  # which reads no setting that differs among layers
    every = [own, *(getattr(one, "__dict__", {}) for one in own.values())]  # a text model inside
    sizes = [w for one in every for name in named if isinstance(w := one.get(name), int)]
    return min(longest, max([2 * n, *(w + 3 for w in sizes if 0 < w < longest)]))


def tail_of(
    program: Program, name: str, inputs: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> str:
    """The node that answers are made from, each from one row of it: the stream after the last
    block, else the input of the last matrix product; "" if they need more than that row.

    Args:
        name: of the text whose positions are answered.
    """
    (result,) = program.results
    wanted, n = program.run(inputs, weights)[0], inputs[name].shape[1]
    for node in _tails(program):
        whole = program.evaluate(node, {}, inputs, weights)
        if whole.dim() < 2 or whole.shape[-2] != n:
            continue
        for rows in (list(range(n))[::-1], [n - 1, 0], [n // 2]):
            # Only the length of the text may be read.
            blank = {key: x[:, : len(rows)] * 0 if key == name else x for key, x in inputs.items()}
            try:
                given = program.evaluate(result, {node: whole[..., rows, :]}, blank, weights)
                if not apart(wanted[:, rows], given) <= TOLERANCE:
                    break
            except Exception:  # whatever an operation raises for a shape that does not fit
                break
        else:
            return node
    return ""


def _tails(program: Program) -> list[str]:
    """The stream after the last layer of the stack that answers, and the last product's input."""
    nodes = [node for _, node in program.steps]
    points = [n for n in nodes if n[0] == "transformer_lab.point" and n[2][1] == "resid_post"]
    stack = [node for node in points if node[2][2] == "decoder"] or points
    last = [max(stack, key=lambda node: node[2][3])[1]] if stack else []
    products = [node[2][-2]["n"] for node in nodes if node[0] in ("mm", "addmm")]
    return [*last, *products[-1:]]


@dataclass(frozen=True, eq=False)
class Growth:
    """How to compute the pass of a text that has grown at its end for its new tokens only.

    Args:
        input: the name of the text that grows.
        letters: for each node. "f": it does not depend on that text. "n": it is its length. "l": it
            depends only on its length. "b": the same, but it is computed both for the whole text
            and for a text of the new tokens alone. "r": it has rows for the tokens.
        axes: for nodes "l" with one axis as long as the text, this axis. Nodes "r" read the last
            rows along it.
    """

    input: str
    letters: Mapping[str, str]
    axes: Mapping[str, int]

    def last_rows(
        self,
        program: Program,
        inputs: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
        m: int,
        kept: dict[str, list[Any]],
    ) -> Tensor:
        """The first result for the last m tokens.

        Args:
            kept: keys and values of attention layers for the tokens before, which are replaced by
                those of all tokens.
        """
        n = inputs[self.input].shape[1]
        values, few = {}, _Few(self, m)
        new = {**inputs, self.input: inputs[self.input][:, n - m :]}
        few.whole = values
        for step in program.steps:
            kind, name, args, _ = step[1]
            letter = self.letters[name]
            if letter == "n":
                values[name], few[name] = n, m
            elif letter == "r" and kind == ATTEND:
                values[name] = step[0](*self._attended(name, args, values, few, kept))
            else:
                values[name] = program.result(step, few if letter == "r" else values, new, weights)
            if letter == "b":
                few[name] = program.result(step, few, new, weights)
        return values[program.results[0]]

    def _attended(self, name: str, args: list[Any], values: Any, few: _Few, kept: Any) -> list[Any]:
        read = [values[x["n"]] if isinstance(x, dict) else x for x in args]
        if name in kept:
            for at, before in zip((1, 2), kept[name], strict=True):
                if self.letters[args[at]["n"]] == "r":
                    read[at] = torch.cat([before, read[at]], 2)
        kept[name] = read[1:3]
        for at in (3, 4):
            if read[at] is not None and read[at].dim() > 1 and self.letters[args[at]["n"]] == "l":
                read[at] = few.last(read[at], -2)
        return read

    def holds(
        self, program: Program, inputs: Mapping[str, Tensor], weights: Mapping[str, Tensor]
    ) -> bool:
        """Whether a text that is read in steps gives what it gives as a whole."""
        n, at, kept = inputs[self.input].shape[1], 0, {}
        wanted = program.run(inputs, weights)[0]
        try:
            for end in sorted({2, n // 2, *range(max(2, n - 3), n + 1)}):
                text = of_length(inputs, self.input, end)
                given = self.last_rows(program, text, weights, end - at, kept)
                if not apart(wanted[:, at:end], given) <= TOLERANCE:
                    return False
                at = end
        except Exception:  # whatever an operation raises for a shape that does not fit
            return False
        return True


class _Few(dict):
    """Results as nodes with m rows read them."""

    def __init__(self, growth: Growth, m: int):
        self.growth, self.m, self.whole = growth, m, {}

    def __missing__(self, name: str) -> Any:
        axis = self.growth.axes.get(name)
        return self.whole[name] if axis is None else self.last(self.whole[name], axis)

    def last(self, x: Tensor, axis: int) -> Tensor:
        """The last m along an axis, if it is longer than 1."""
        return x if x.shape[axis] == 1 else x.narrow(axis, x.shape[axis] - self.m, self.m)


def growth_of(program: Program, name: str, values: Mapping[str, Any]) -> Growth | None:
    """The dependence of each node on a text's length and rows, which `holds` must still confirm.
    None if a size that is read depends on the length of the text without being it.

    Args:
        name: of the text that grows.
        values: node -> its result with symbolic sizes.
    """
    (text,) = (node[1] for _, node in program.steps if node[0] == "input" and node[2][0] == name)
    length = _expression(values[text].shape[1])
    letters: dict[str, str] = {}
    axes: dict[str, int] = {}
    for _, (kind, node, args, named) in program.steps:
        read = {letters[one] for one in names_in([args, named])}
        letters[node] = "r" if "r" in read or node == text else "l" if read & {"l", "n"} else "f"
        value = values[node]
        if kind == "sym_size.int":
            of_text = _expression(value)
            if of_text == length:
                letters[node] = "n"
            elif length in getattr(of_text, "free_symbols", ()):
                return None
            else:
                letters[node] = "f"
        elif letters[node] == "l" and isinstance(value, Tensor):
            long = [i for i, size in enumerate(value.shape) if _expression(size) == length]
            if len(long) == 1:
                axes[node] = long[0]
    read = set()
    for _, (kind, node, args, named) in reversed(program.steps):
        if (
            node in read
            and letters[node] == "l"
            and node not in axes
            and _sized(values[node], length)
        ):
            letters[node] = "b"
        if letters[node] == "b" or (letters[node] == "r" and kind != ATTEND):
            read.update(names_in([args, named]))
    return Growth(name, letters, axes)


def _expression(size: Any) -> Any:
    return size.node.expr if isinstance(size, torch.SymInt) else size


def _sized(value: Any, length: Any) -> bool:
    """Whether a size, or a size of a tensor, depends on the length of a text."""
    sizes = value.shape if isinstance(value, Tensor) else [value]
    return any(length in getattr(_expression(size), "free_symbols", ()) for size in sizes)

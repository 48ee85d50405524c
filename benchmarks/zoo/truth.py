"""The truth about a model, computed without this package: its eager maps, and the contributions of
heads and edges, from transformers' own eager attention and forward hooks."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .building import modeling_modules

NATIVE = {
    "attentions": None,
    "encoder_attentions": "encoder",
    "decoder_attentions": "decoder",
    "cross_attentions": "cross",
}
OUTPUTS = (
    "o_proj",
    "out_proj",
    "c_proj",
    "out_lin",
    "dense",
    "output.dense",
    "o",
    "out",
    "wo",
    "proj",
)


STACKS = "several stacks"
UNKNOWN = "unknown kind"


class NoTruth(Exception):
    """The truth about this part of the model is unknown."""


@dataclass
class Call:
    """One call of the model's own eager attention, or of a softmax outside of it (without a module)."""

    module: nn.Module | None
    weights: Tensor  # [batch, head, query, key]; for a softmax, in its own shape
    block: tuple[str, int] | None = None  # the outermost list that contains it, and its index
    factor: Tensor | None = None  # [batch, head, query, 1] that its output is multiplied by after

    @property
    def acting(self) -> Tensor:
        """The weights that take effect."""
        return self.weights if self.factor is None else self.weights * self.factor


@dataclass
class Seen:
    """One pass: its output, its calls, and the maps that the model returns, by kind."""

    output: Any
    calls: list[Call]
    native: dict[str, tuple] = field(default_factory=dict)

    @property
    def attention(self) -> list[Call]:
        return [call for call in self.calls if call.module is not None]


@dataclass
class Change:
    """One change at the n-th call: a head's output or one of its edges. `shape` is that of the map."""

    call: int
    head: int
    edge: tuple[int, int] | None = None  # query, key
    shape: tuple[int, ...] = ()
    also: tuple[int, ...] = ()  # other calls with the same map but other values (DiffLlama)
    means: str = ""  # how it was made
    rows: slice = field(
        default_factory=lambda: slice(None)
    )  # of the batch: one window of each image


class Eager:
    """A copy of a model that computes attention with its own eager code, and records it.

    Args:
        again: build the model again instead of switching a copy, for models that choose their
            attention classes at construction (Falcon).
    """

    def __init__(self, model: Any, *, again: bool = False):
        if again:
            config = copy.deepcopy(model.config)
            self.model = type(model)._from_config(config, attn_implementation="eager").eval()
            self.model.load_state_dict(model.state_dict())
        else:
            self.model = copy.deepcopy(model)
            with contextlib.suppress(ValueError, ImportError, AttributeError):
                self.model.set_attn_implementation("eager")
        self.lists = dict(outermost_lists(self.model))

    @torch.no_grad()
    def run(self, inputs: dict[str, Any], change: Change | None = None) -> Seen:
        watch = Watch(change)
        with self._blocks(watch), self._watched(watch):
            try:
                output = self.model(**inputs, output_attentions=True)
            except (TypeError, ValueError, NotImplementedError):
                watch.calls.clear()
                output = self.model(**inputs)
        native = {}
        for name in NATIVE:
            given = getattr(output, name, None)
            if given is not None and any(isinstance(one, Tensor) for one in given):
                native[name] = tuple(given)
        return Seen(output, watch.calls, native)

    @contextlib.contextmanager
    def _blocks(self, watch: Watch) -> Iterator[None]:
        """Track which layer of the outermost lists the pass is in."""
        handles = []
        for path, blocks in self.lists.items():
            for i, block in enumerate(blocks):

                def enter(_module: Any, _args: Any, where: Any = (path, i)) -> None:
                    watch.block = where

                handles.append(block.register_forward_pre_hook(enter))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextlib.contextmanager
    def _watched(self, watch: Watch) -> Iterator[None]:
        """Wrap every eager attention function of the model's modules, and every softmax."""
        softmaxes = (torch.softmax, F.softmax, Tensor.softmax)
        found: list[tuple[Any, str, Any]] = [
            (torch, "softmax", torch.softmax),
            (F, "softmax", F.softmax),
            (Tensor, "softmax", Tensor.softmax),
        ]
        for module in modeling_modules(self.model):
            for name, function in list(vars(module).items()):
                if (
                    name.endswith("eager_attention_forward") and inspect.isfunction(function)
                ) or any(function is one for one in softmaxes):
                    found.append((module, name, function))
        for owner, name, function in found:
            eager = name.endswith("eager_attention_forward")
            setattr(owner, name, watch.attention(function) if eager else watch.softmax(function))
        try:
            yield
        finally:
            for owner, name, function in found:
                setattr(owner, name, function)


class Watch:
    """Records and changes the calls of one pass."""

    def __init__(self, change: Change | None):
        self.change, self.calls, self.block = change, [], None
        self.inside = False  # whether an eager attention function or a softmax is running

    @property
    def here(self) -> Change | None:
        """The change to make at this call."""
        change, now = self.change, len(self.calls)
        return change if change is not None and now in (change.call, *change.also) else None

    def attention(self, function: Callable) -> Callable:
        def watched(
            module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
        ):
            self.inside = True
            try:
                z, weights = function(module, query, key, value, *args, **kwargs)[:2]
            finally:
                self.inside = False
            if not isinstance(weights, Tensor):
                raise NoTruth("its eager attention returns no weights")
            call = Call(module, weights, self.block, factor_of(z, weights, value))
            if self.here is not None:
                z, weights = changed(self.here, z, call.acting, value)
                call = Call(module, weights, self.block)
            self.calls.append(call)
            return z, weights

        return watched

    def softmax(self, function: Callable) -> Callable:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return function(*args, **kwargs)
            self.inside = True
            try:
                weights = function(*args, **kwargs)
            finally:
                self.inside = False
            if weights.dim() in (3, 4):
                if self.here is not None:
                    weights = changed_weights(self.here, weights)
                self.calls.append(Call(None, weights, self.block))
            return weights

        return watched


def factor_of(z: Tensor, weights: Tensor, value: Tensor) -> Tensor | None:
    """The factor on each query's sum of values after the softmax. A sink can work in this way
    (GraniteSWA); then the returned weights are not those that take effect."""
    group = weights.shape[1] // value.shape[1]
    if z.dim() != 4 or group < 1 or value.shape[1] * group != weights.shape[1]:
        return None
    plain, z = weights @ value.repeat_interleave(group, 1), z.transpose(1, 2)
    if plain.shape != z.shape:
        return None
    size = plain.square().sum(-1, keepdim=True)
    factor = ((z * plain).sum(-1, keepdim=True) / size.clamp(1e-12)).where(size > 1e-8, 1.0)
    off = (z - factor * plain).abs().max()
    return factor if off < 1e-4 * z.abs().max() and (factor - 1).abs().max() > 1e-3 else None


def changed(change: Change, z: Tensor, weights: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """z [batch, query, head, d_head] and weights after the change, computed from the map: without an
    edge of weight p, the rest of the row is 1/(1 − p) times as large, and so is the rest of z. This
    also holds with a sink."""
    if z.dim() != 4 or z.shape[2] != weights.shape[1]:
        raise NoTruth(f"its eager attention returns {list(z.shape)}")
    z, weights = z.clone(), weights.clone()
    if change.edge is None:
        z[:, :, change.head] = 0
        change.means = "the head's output set to zero in the model's own eager attention"
        return z, weights
    query, key = change.edge
    group = weights.shape[1] // value.shape[1]
    some = change.rows
    row = without(weights[some, change.head, query], key)
    weights[some, change.head, query] = row
    z[some, query, change.head] = (row[:, None] @ value[some, change.head // group]).squeeze(1)
    change.means = "the row without the edge, times 1/(1 − p), times the values"
    return z, weights


def changed_weights(change: Change, weights: Tensor) -> Tensor:
    """The same if only the softmax is known: a head whose weights are 0 has no output."""
    maps = weights.clone().reshape(change.shape)
    if change.edge is None:
        maps[:, change.head] = 0
        change.means = "the head's weights set to zero after the model's own softmax"
    else:
        query, key = change.edge
        some = change.rows
        maps[some, change.head, query] = without(maps[some, change.head, query], key)
        change.means = "the row without the edge, times 1/(1 − p), after the model's own softmax"
    return maps.reshape(weights.shape)


def without(row: Tensor, key: int) -> Tensor:
    """[batch, key] without one key, and the rest scaled as if that key had never existed."""
    row = row / (1 - row[:, key])[:, None]
    row[:, key] = 0
    return row


def outermost_lists(model: nn.Module) -> Iterator[tuple[str, list[nn.Module]]]:
    """Yield (path, layers) for every ModuleList that is not inside another."""
    seen: list[str] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(one + ".") for one in seen)
        if isinstance(module, nn.ModuleList) and not inside and len(module):
            seen.append(name)
            yield name, list(module)


@torch.no_grad()
def ablated_by_hook(eager: Eager, inputs: dict[str, Any], call: Call, head: int) -> Any:
    """A pass with the head's slice of the output projection's input set to zero: a second way to
    compute the same truth.

    Raises:
        NoTruth: if no such projection is found.
    """
    owner, n_heads = call.module, call.weights.shape[1]
    if owner is None:
        raise NoTruth("no module")
    for name in OUTPUTS:
        with contextlib.suppress(AttributeError):
            layer = owner.get_submodule(name)
            weight = getattr(layer, "weight", None)
            if isinstance(weight, Tensor) and weight.dim() == 2:
                break
    else:
        raise NoTruth("no output projection")

    def zero(_module: Any, args: tuple) -> tuple:
        x = args[0].clone()
        width = x.shape[-1] // n_heads
        x[..., head * width : (head + 1) * width] = 0
        return (x, *args[1:])

    handle = layer.register_forward_pre_hook(zero)
    try:
        return eager.model(**inputs)
    finally:
        handle.remove()


# -- which call is which layer ---------------------------------------------------------------------


@dataclass
class Expected:
    """The maps that a trace must show: kind -> layer -> [batch, head, query, key], and the index of
    each map's call among the recorded calls."""

    maps: dict[str, dict[int, Tensor]]
    calls: dict[tuple[str, int], int]
    counts: dict[str, int] = field(default_factory=dict)  # number of maps of each kind
    # For layers that attend within windows: the shape of their own maps.
    within: dict[tuple[str, int], tuple[int, ...]] = field(default_factory=dict)


def expected(seen: Seen, both: bool) -> Expected:
    """The maps to expect, from what the model reveals: the attentions that it returns give the kind,
    the modules that were running give the layer, and a query that attends to later keys means encoder.

    Raises:
        NoTruth: if the model reveals nothing.
    """
    maps: dict[str, dict[int, Tensor]] = {}
    where: dict[tuple[str, int], int] = {}
    counts: dict[str, int] = {}
    odd = ""
    if not seen.native and not seen.attention:
        raise NoTruth("it returns no attentions and calls no eager attention")
    if not seen.native:
        kind = kind_of([c.weights for c in seen.attention])
        if both:
            raise NoTruth("it returns no attentions that distinguish its kinds")
        numbers = layer_numbers([c.block for c in seen.attention])
        for number, call in zip(numbers, seen.attention, strict=True):
            maps.setdefault(kind, {})[number] = call.acting
            where[kind, number] = next(i for i, one in enumerate(seen.calls) if one is call)
        return Expected(maps, where, {kind: len(numbers)})
    for name, given in seen.native.items():
        tensors = [one for one in given if isinstance(one, Tensor)]
        if any(one.dim() != 4 for one in tensors):
            odd = f"{name} are {list(tensors[0].shape)}"
            continue
        if all(one.min() < 0 and which(seen.calls, one) is None for one in tensors):
            tensors = [one.softmax(-1) for one in tensors]  # scores (SqueezeBERT)
        taken = [which(seen.calls, one) for one in tensors]
        if any(call is not None for call in taken) and None in taken:
            # Hybrids also return states of linear attention, which are not maps.
            tensors = [one for one, call in zip(tensors, taken, strict=True) if call is not None]
            taken = [call for call in taken if call is not None]
        kind = NATIVE[name] or kind_of(tensors)
        if None not in taken:
            numbers = layer_numbers([seen.calls[i].block for i in taken])  # type: ignore[index]
        else:
            numbers = [i for i, one in enumerate(given) if isinstance(one, Tensor)]
        for number, one, call in zip(numbers, tensors, taken, strict=True):
            if kind in ("encoder", "decoder") and one.shape[-1] != one.shape[-2]:
                continue  # fewer positions than tokens, so not a map of them
            maps.setdefault(kind, {})[number] = one if call is None else acting(seen, call, one)
            if call is not None:
                where[kind, number] = call
        counts[kind] = len(tensors)
    if not maps:
        raise NoTruth(odd)
    return Expected(maps, where, counts)


def whole(maps: Tensor, places: Tensor, n: int) -> Tensor:
    """Maps [image, head, query, key] from maps [image · window, head, place, place]; `places` gives the
    position of each place in a window (−1 for none)."""
    each = maps.float().unflatten(0, (-1, len(places)))
    found = each.new_zeros(len(each), maps.shape[1], n, n)
    for window, at in enumerate(places):
        real = at >= 0
        here = at[real]
        found[:, :, here[:, None], here] = each[:, window][:, :, real][..., real]
    return found


def by_turns(seen: Seen, kind: str, heads: dict[int, int]) -> Expected | None:
    """The same if a model does not distinguish its layers (windows, or stages): each softmax belongs
    to the next layer. None if the numbers of both differ.

    Args:
        heads: the number of heads of every attending layer, by layer number.
    """
    if len(seen.calls) != len(heads):
        return None
    maps = {}
    for (number, n), call in zip(sorted(heads.items()), seen.calls, strict=True):
        found = call.acting
        maps[number] = found if found.dim() == 4 else found.unflatten(0, (-1, n))
    calls = {(kind, number): i for i, number in enumerate(sorted(heads))}
    return Expected({kind: maps}, calls, {kind: len(maps)})


def acting(seen: Seen, call: int, weights: Tensor) -> Tensor:
    return weights if seen.calls[call].factor is None else seen.calls[call].acting


def by_places(seen: Seen, places: dict[int, str], size: tuple[int, int]) -> Expected:
    """The same for a kind that occurs in several stacks: the layers at these paths, by their numbers."""
    maps: dict[int, Tensor] = {}
    where: dict[tuple[str, int], int] = {}
    for number, place in places.items():
        for i, call in enumerate(seen.calls):
            here = call.block is not None and f"{call.block[0]}.{call.block[1]}" == place
            if here and call.module is not None and tuple(call.weights.shape[-2:]) == size:
                maps[number] = call.acting
                where[STACKS, number] = i
    return Expected({STACKS: maps}, where, {STACKS: len(maps)})


def which(calls: list[Call], weights: Tensor) -> int | None:
    """The index of the call that returned these weights; attention calls come before softmaxes."""
    fit = [
        i
        for i, call in enumerate(calls)
        if call.weights.numel() == weights.numel()
        and (call.module is None or call.weights.shape == weights.shape)
        and torch.equal(call.weights.reshape(weights.shape), weights.to(call.weights))
    ]
    return min(fit, key=lambda i: calls[i].module is None, default=None)


def twins(calls: list[Call], number: int) -> tuple[int, ...]:
    """Other calls of the same module in the same layer, with the same map."""
    one = calls[number]
    return tuple(
        i
        for i, call in enumerate(calls)
        if i != number
        and one.module is not None
        and (call.module, call.block) == (one.module, one.block)
        and call.weights.shape == one.weights.shape
        and torch.equal(call.weights, one.weights)
    )


def layer_numbers(blocks: list[tuple[str, int] | None]) -> list[int]:
    """A layer's number is its index in the model's list. If a module runs several times, or is in no
    list, it is the order of the call."""
    paths = {b[0] for b in blocks if b is not None}
    numbers = [b[1] for b in blocks if b is not None]
    if len(paths) == 1 and len(numbers) == len(blocks) and len(set(numbers)) == len(numbers):
        return numbers
    return list(range(len(blocks)))


def kind_of(maps: list[Tensor]) -> str:
    """The kind of self-attention, from its weights: decoder if no query attends to a later key; unknown
    if keys are not tokens."""
    square = [m for m in maps if m.shape[-1] == m.shape[-2]]
    if not square:
        return UNKNOWN
    ahead = max(m.float().triu(1).abs().max().item() for m in square)
    return "encoder" if ahead > 1e-6 else "decoder"

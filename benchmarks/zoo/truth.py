"""What a model itself does, found with nothing of this package: its eager maps, and what a head or
an edge contributes, with transformers' own eager attention and forward hooks."""

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
    "attentions": None, "encoder_attentions": "encoder", "decoder_attentions": "decoder",
    "cross_attentions": "cross",
}  # fmt: skip
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
UNKNOWN = "kind that its numbers do not tell"


class NoTruth(Exception):
    """What the model does there could not be found out."""


@dataclass
class Call:
    """One call of the model's own eager attention; or of a softmax outside of it, and then there is
    no module."""

    module: nn.Module | None
    weights: Tensor  # [batch, head, query, key]; of a softmax, as it came
    block: tuple[str, int] | None = None  # the outermost list it was in, and where
    factor: Tensor | None = None  # [batch, head, query, 1] that its output is multiplied by after

    @property
    def acting(self) -> Tensor:
        """The weights with which it acts."""
        return self.weights if self.factor is None else self.weights * self.factor


@dataclass
class Seen:
    """One pass: its output, its calls and the maps that the model names its own, by kind."""

    output: Any
    calls: list[Call]
    native: dict[str, tuple] = field(default_factory=dict)

    @property
    def attention(self) -> list[Call]:
        return [call for call in self.calls if call.module is not None]


@dataclass
class Change:
    """One change at the n-th call: a head's output, or one of its edges. `shape` is the map's."""

    call: int
    head: int
    edge: tuple[int, int] | None = None  # query, key
    shape: tuple[int, ...] = ()
    also: tuple[int, ...] = ()  # other calls with the same map, for other values (DiffLlama)
    means: str = ""  # how it was made
    rows: slice = field(
        default_factory=lambda: slice(None)
    )  # of the batch: a window of each picture


class Eager:
    """A copy of a model that computes attention by its own eager code, watched.

    Args:
        again: build it anew rather than switch a copy, for a model that chooses its classes for
            attention when it is built (Falcon).
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
        """Which layer of the outermost lists the pass is in."""
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
        """Every eager attention function of the model's modules, and every softmax."""
        softmaxes = (torch.softmax, F.softmax, Tensor.softmax)
        found: list[tuple[Any, str, Any]] = [
            (torch, "softmax", torch.softmax), (F, "softmax", F.softmax),
            (Tensor, "softmax", Tensor.softmax),
        ]  # fmt: skip
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
    """What is seen, and changed, in one pass."""

    def __init__(self, change: Change | None):
        self.change, self.calls, self.block = change, [], None
        self.inside = False  # an eager attention function, or a softmax that calls another

    @property
    def here(self) -> Change | None:
        """The change that is to be made at this call."""
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
    """What the sum of values is multiplied by after the softmax, of each query; a sink can be made so
    (GraniteSWA), and then the weights that are returned are not those that act."""
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
    """z [batch, query, head, d_head] and weights after the change, by arithmetic on the map: without
    one edge of weight p, what is left of the row is 1/(1 − p) times as large, and so is the rest of
    z; that holds with a sink too."""
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
    """The same where only the softmax is known: a head whose weights are 0 says nothing."""
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
    """[batch, key] without one key, and the rest as large as if it had never been there."""
    row = row / (1 - row[:, key])[:, None]
    row[:, key] = 0
    return row


def outermost_lists(model: nn.Module) -> Iterator[tuple[str, list[nn.Module]]]:
    """path -> layers of every ModuleList that stands in no other."""
    seen: list[str] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(one + ".") for one in seen)
        if isinstance(module, nn.ModuleList) and not inside and len(module):
            seen.append(name)
            yield name, list(module)


@torch.no_grad()
def ablated_by_hook(eager: Eager, inputs: dict[str, Any], call: Call, head: int) -> Any:
    """The pass with a head's slice of what the output projection reads at zero: a second way to
    the same truth.

    Raises:
        NoTruth: where no such projection is found.
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
    """The maps that a trace must show: kind -> layer -> [batch, head, query, key], and where each
    one's call is among those that were seen."""

    maps: dict[str, dict[int, Tensor]]
    calls: dict[tuple[str, int], int]
    counts: dict[str, int] = field(default_factory=dict)  # of the maps that it gave of each kind
    # Of layers that attend within windows: the shape of what they gave.
    within: dict[tuple[str, int], tuple[int, ...]] = field(default_factory=dict)


def expected(seen: Seen, both: bool) -> Expected:
    """By the model's own words: what it returns as attentions says the kind, the modules that were
    running say the layer, and whether any query looks ahead says encoder or decoder.

    Raises:
        NoTruth: where the model tells nothing.
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
            raise NoTruth("it returns no attentions that tell its kinds apart")
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
            # Hybrids return states of linear attention among them; those are no maps.
            tensors = [one for one, call in zip(tensors, taken, strict=True) if call is not None]
            taken = [call for call in taken if call is not None]
        kind = NATIVE[name] or kind_of(tensors)
        if None not in taken:
            numbers = layer_numbers([seen.calls[i].block for i in taken])  # type: ignore[index]
        else:
            numbers = [i for i, one in enumerate(given) if isinstance(one, Tensor)]
        for number, one, call in zip(numbers, tensors, taken, strict=True):
            if kind in ("encoder", "decoder") and one.shape[-1] != one.shape[-2]:
                continue  # of fewer places than tokens, so no map of them
            maps.setdefault(kind, {})[number] = one if call is None else acting(seen, call, one)
            if call is not None:
                where[kind, number] = call
        counts[kind] = len(tensors)
    if not maps:
        raise NoTruth(odd)
    return Expected(maps, where, counts)


def whole(maps: Tensor, places: Tensor, n: int) -> Tensor:
    """[picture, head, query, key] of maps [picture · window, head, place, place], of which place is
    which position (−1 is none)."""
    each = maps.float().unflatten(0, (-1, len(places)))
    found = each.new_zeros(len(each), maps.shape[1], n, n)
    for window, at in enumerate(places):
        real = at >= 0
        here = at[real]
        found[:, :, here[:, None], here] = each[:, window][:, :, real][..., real]
    return found


def by_turns(seen: Seen, kind: str, heads: dict[int, int]) -> Expected | None:
    """The same where a model's words do not tell its layers apart (of windows, and in stages): each
    softmax is the next layer's. None where there are more or fewer of them.

    Args:
        heads: of every layer that attends, by its number.
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
    """The same for one kind of which a model has several stacks: the layers that stand at these
    places, by their numbers."""
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
    """The number of the call that gave these weights; attention's rather than a softmax's."""
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
    """A layer's number is its place in the model's list; where one module has several turns, or
    stands in no list, its turn."""
    paths = {b[0] for b in blocks if b is not None}
    numbers = [b[1] for b in blocks if b is not None]
    if len(paths) == 1 and len(numbers) == len(blocks) and len(set(numbers)) == len(numbers):
        return numbers
    return list(range(len(blocks)))


def kind_of(maps: list[Tensor]) -> str:
    """Of self-attention, by its numbers: a decoder where no query looks at a later key; not known
    where keys are no tokens."""
    square = [m for m in maps if m.shape[-1] == m.shape[-2]]
    if not square:
        return UNKNOWN
    ahead = max(m.float().triu(1).abs().max().item() for m in square)
    return "encoder" if ahead > 1e-6 else "decoder"

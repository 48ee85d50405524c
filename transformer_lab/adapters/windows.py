"""Find where each window lies in an image, for attention within windows (SAM, Swin).

Such a layer cuts its image into windows, pads it where they do not fit, may shift it, and attends
in each window as if it were an image of its own. Which patch is where is not read from settings:
numbers follow the layer's input through everything that moves it (views, pads, rolls) to where
attention begins. Patterns are then those of the whole image, 0 outside a patch's window.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import AttentionCall
from ..softmax import as_slice, drop_axes, safe_softmax, spread_heads
from .hooks import Hook, hook
from .interrupts import Mode
from .network import AdapterError
from .structure import Structure

# Functions that move numbers, and change none.
MOVES = (
    Tensor.reshape,
    torch.reshape,
    Tensor.permute,
    torch.permute,
    Tensor.transpose,
    torch.transpose,
    Tensor.flatten,
    torch.flatten,
    Tensor.unflatten,
    torch.unflatten,
    Tensor.unsqueeze,
    torch.unsqueeze,
    Tensor.squeeze,
    torch.squeeze,
    Tensor.contiguous,
    Tensor.__getitem__,
    torch.roll,
    Tensor.roll,
    F.pad,
)
# Functions that leave each patch where it is.
STAYS = (
    F.layer_norm,
    F.rms_norm,
    F.dropout,
    torch.dropout,
    Tensor.to,
    Tensor.type,
    Tensor.float,
    Tensor.half,
    Tensor.bfloat16,
    Tensor.clone,
    torch.clone,
)


def has_windows(module: nn.Module) -> bool:
    """Whether it is a layer that attends within windows of its image."""
    size = getattr(module, "window_size", 0)
    return type(module).__name__.endswith(("Layer", "Block")) and isinstance(size, int) and size > 0


@dataclass(frozen=True, eq=False)
class Windows:
    """Which position of an image is at each place of each window: int64 [window, place], −1 for
    padding. `n` is the number of positions in the image, row by row; each is at one place."""

    places: Tensor
    n: int

    @cached_property
    def _at(self) -> tuple[Tensor, Tensor]:
        flat = self.places.flatten()
        where = torch.empty(self.n, dtype=torch.long, device=flat.device)
        where[flat[flat >= 0]] = (flat >= 0).nonzero().flatten()
        return where // self.places.shape[1], where % self.places.shape[1]

    @property
    def window(self) -> Tensor:
        """[position]: the number of its window."""
        return self._at[0]

    @cached_property
    def padding(self) -> Tensor:
        """Bool [window, place]."""
        return self.places < 0

    @cached_property
    def is_padded(self) -> bool:
        return bool(self.padding.any())

    @cached_property
    def is_whole(self) -> bool:
        """Whether there is only one, which is the image."""
        return torch.equal(self.places.flatten(), torch.arange(self.n, device=self.places.device))

    def picked(self, which: Tensor) -> Tensor:
        """Bool [window, place], from bool [position]; padding is never picked."""
        return F.pad(which, (0, 1))[self.places]

    def joins(self, queries: slice, keys: slice) -> bool:
        """Whether any of these queries shares a window with any of these keys."""
        both = [torch.zeros(len(self.places), dtype=torch.bool) for _ in range(2)]
        for found, part in zip(both, (queries, keys), strict=True):
            found[self.window.cpu()[part]] = True
        return bool((both[0] & both[1]).any())

    def by_position(self, x: Tensor) -> Tensor:
        """[batch · window, head, place, …] -> [batch, head, position, …]; padding is dropped."""
        window, place = self._at
        return x.unflatten(0, (-1, len(self.places)))[:, window, :, place].movedim(0, 2)

    def by_window(self, x: Tensor) -> Tensor:
        """The reverse of `by_position`; 0 for padding."""
        x = torch.cat((x, torch.zeros_like(x[:, :, :1])), 2)  # −1 is the last place
        return x[:, :, self.places].transpose(1, 2).flatten(0, 1)

    # The class of `AttentionCall` that attention within windows makes.
    @property
    def call(self) -> type[AttentionCall]:
        return WindowedCall


@dataclass(frozen=True, eq=False)
class WindowedCall(AttentionCall):
    """A call of attention within windows: query, key, value and bias are [batch · window, …], as
    the model has them; shapes, scores and patterns are those of the whole image. A query attends to
    no key outside its window; its weight on padding is `to_nothing`."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        n = self.windows.n
        return len(self.query) // len(self.windows.places), self.query.shape[1], n, n

    @property
    def has_rest(self) -> bool:
        return self.windows.is_padded

    def by_position(self, x: Tensor) -> Tensor:
        return self.windows.by_position(x)

    def by_window(self, x: Tensor) -> Tensor:
        return self.windows.by_window(x)

    def scores(self, batch=slice(None), head=slice(None), rows=None, dtype=torch.float32) -> Tensor:
        found = self._rows(self._within(batch, head, dtype), rows)
        return drop_axes(self._spread(found, rows, float("-inf")), batch, head)

    def pattern(
        self, batch=slice(None), head=slice(None), rows=None, dtype=torch.float32
    ) -> Tensor:
        found = self._rows(safe_softmax(self._within(batch, head, dtype)), rows)
        return drop_axes(self._spread(found, rows, 0.0), batch, head)

    def to_nothing(self, batch=slice(None), head=slice(None), rows=None) -> Tensor:
        weights = safe_softmax(self._within(batch, head, torch.float32))
        padding = self.windows.padding.repeat(len(weights) // len(self.windows.places), 1)
        found = (weights * padding[:, None, None]).sum(-1)
        found = self.windows.by_position(found)
        return drop_axes(found if rows is None else found[:, :, rows], batch, head)

    def mixed(
        self, weights: Tensor, batch=slice(None), heads=slice(None), rows=None, dropout: float = 0.0
    ) -> Tensor:
        assert self.value is not None
        value = spread_heads(self.value, self.n_heads)[self._windows_of(batch), heads]
        z = F.dropout(weights, dropout).to(value.dtype) @ self.by_position(value)
        if not self.windows.is_padded:
            return z
        within = safe_softmax(self._within(batch, heads, torch.float32))
        padding = self.windows.padding.repeat(len(within) // len(self.windows.places), 1)
        beyond = (within * padding[:, None, None]).to(value.dtype) @ value
        beyond = self.by_position(beyond)
        return z + (beyond if rows is None else beyond[:, :, rows])

    # -- inside -----------------------------------------------------------------------------------

    def _windows_of(self, batch: int | slice) -> slice:
        """The rows of query, key and value that belong to some images."""
        some = range(self.shape[0])[as_slice(batch)]
        each = len(self.windows.places)
        return slice(some.start * each, some.stop * each)

    def _within(self, batch: int | slice, head: int | slice, dtype: torch.dtype) -> Tensor:
        """Scores [batch · window, head, place, place] of some images and heads; −inf where cut."""
        heads = as_slice(head)
        inner = AttentionCall(
            self.query, self.key, None, self.bias, False, self.scale, self.softcap
        )
        scores = inner.scores(self._windows_of(batch), heads, None, dtype)
        device = scores.device
        for cut in self.cuts:
            which = [torch.zeros(n, dtype=torch.bool, device=device) for n in self.shape[1:]]
            for one, part in zip(which, (cut.heads, cut.queries, cut.keys), strict=True):
                one[part] = True
            query, key = (self.windows.picked(one) for one in which[1:])
            hit = (query[:, :, None] & key[:, None])[:, None] & which[0][heads][:, None, None]
            hit = hit.repeat(len(scores) // len(hit), 1, 1, 1)
            scores = scores.masked_fill(hit, float("-inf"))
        return scores

    def _rows(self, within: Tensor, rows: Tensor | None) -> Tensor:
        """[batch, head, position, place] from [batch · window, head, place, place]."""
        found = self.windows.by_position(within)
        return found if rows is None else found[:, :, rows]

    def _spread(self, x: Tensor, rows: Tensor | None, fill: float) -> Tensor:
        """[batch, head, query, position] from [batch, head, query, place]."""
        window, n = self.windows.window, self.windows.n
        places = self.windows.places[window if rows is None else window[rows]]
        places = places.masked_fill(places < 0, n)  # padding goes to an extra column
        out = x.new_full((*x.shape[:-1], n + 1), fill)
        return out.scatter(-1, places.expand_as(x), x)[..., :n]


class Numbers(Mode):
    """Follows a layer's input, by the number of each of its entries, to where its attention begins.

    Args:
        x: [batch, …] of patches and channels, in whatever order.
    """

    def __init__(self, x: Tensor):
        super().__init__()
        self.shape = x.shape
        numbers = torch.arange(1, x.numel() + 1, device=x.device).view(x.shape)
        # By id; the tensors are held too, so that ids stay theirs.
        self.numbers: dict[int, tuple[Tensor, Tensor]] = {id(x): (x, numbers)}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        first = args[0] if args else None
        known = self.numbers.get(id(first))
        if known is None or not isinstance(output, Tensor):
            return output
        if func is Tensor.view:  # numbers may lie in memory in another order
            func = Tensor.reshape
        if func in MOVES:
            self.numbers[id(output)] = output, func(known[1], *args[1:], **kwargs)
        elif func in STAYS and output.shape == known[1].shape:
            self.numbers[id(output)] = output, known[1]
        return output

    def windows(self, x: Any) -> Windows | None:
        """The windows in the input of attention [batch · window, …, channel]; None if it could not
        be followed, or is not cut into windows."""
        known = self.numbers.get(id(x))
        if known is None or known[1].dim() < 3:
            return None
        numbers = known[1].flatten(1, -2)
        real = numbers[..., 0] > 0
        at = torch.unravel_index(numbers.clamp(min=1) - 1, self.shape)
        steps = torch.arange(numbers.shape[-1], device=numbers.device)
        channels = [i for i, one in enumerate(at) if i and bool((one == steps)[real].all())]
        if len(channels) != 1 or self.shape[channels[0]] != len(steps):
            return None
        places, n = torch.zeros_like(numbers), 1
        for i, one in enumerate(at):
            if i not in (0, channels[0]):
                places, n = places * self.shape[i] + one, n * self.shape[i]
        return self._checked(places, at[0], real, n)

    def _checked(self, places: Tensor, batch: Tensor, real: Tensor, n: int) -> Windows | None:
        """The windows, if every patch has one place and all images are cut alike; else None."""
        if bool((places != places[..., :1])[real].any()):
            return None
        places = places[..., 0].masked_fill(~real, -1)
        n_batch = self.shape[0]
        if len(places) % n_batch:
            return None
        own = torch.arange(n_batch, device=places.device).repeat_interleave(len(places) // n_batch)
        if bool((batch[..., 0] != own[:, None])[real].any()):
            return None
        each = places.unflatten(0, (n_batch, -1))
        found = each[0].flatten()
        whole = torch.arange(n, device=places.device)
        if bool((each != each[:1]).any()) or not torch.equal(found[found >= 0].sort()[0], whole):
            return None
        return Windows(each[0], n)


class Following:
    """Follows the inputs of a model's layers that attend within windows to their attention.

    Args:
        structure: the model's.
        wanted: says whether taps are on the model now.
    """

    def __init__(self, structure: Structure, wanted: Callable[[], bool]):
        self._structure, self._wanted = structure, wanted
        self._here = threading.local()  # numbers: on the way; windows: of the layer that is running

    def __deepcopy__(self, memo: dict) -> Following:
        # A copied model follows its own layers; what is on its way through the other's is not copied.
        twin = memo[id(self)] = type(self).__new__(type(self))
        structure, wanted = copy.deepcopy((self._structure, self._wanted), memo)
        twin._structure, twin._wanted, twin._here = structure, wanted, threading.local()
        return twin

    def hooks(self) -> list[Hook]:
        model = self._structure.model
        if getattr(model, "main_input_name", "") != "pixel_values":
            return []
        found: list[Hook] = []
        for stack in self._structure.stacks:
            for block in filter(has_windows, stack.blocks):
                inside = [m for m in block.modules() if m in self._structure.attending]
                found.append(hook(block, self._begin, before=True, with_kwargs=True))
                found.append(hook(block, self._end, always_call=True))
                found += [hook(m, self._arrive, before=True, with_kwargs=True) for m in inside]
        return found

    def windows_of(self, module: nn.Module, n_query: int, n_key: int) -> Windows | None:
        """The windows that a call attends in; None if it attends in whole images.

        Raises:
            AdapterError: if queries or keys are not the patches of a window.
        """
        found: Windows | None = getattr(self._here, "windows", None)
        if found is None:
            return None
        n = found.places.shape[1]
        if (n_query, n_key) != (n, n):
            raise AdapterError(
                f"{type(module).__name__} has {n_query} queries and {n_key} keys in windows of "
                f"{n} patches, so patches do not attend to patches"
            )
        return None if found.is_whole else found

    def _begin(self, block: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        x, self._here.windows = _read(args, kwargs), None
        if self._wanted() and isinstance(x, Tensor):
            self._here.numbers = Numbers(x)
            self._here.numbers.__enter__()

    def _arrive(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        """Note the windows before attention runs.

        Raises:
            AdapterError: if it is unknown which patches are in which window.
        """
        numbers = self._taken()
        if numbers is None:
            return
        self._here.windows = numbers.windows(_read(args, kwargs))
        if self._here.windows is None:
            raise AdapterError(
                f"{type(module).__name__} attends within windows, and it is not known which "
                "patches are in each of them"
            )

    def _end(self, block: nn.Module, args: Any, output: Any) -> None:
        self._taken()
        self._here.windows = None

    def _taken(self) -> Numbers | None:
        numbers, self._here.numbers = getattr(self._here, "numbers", None), None
        if numbers is not None:
            numbers.__exit__(None, None, None)
        return numbers


def _read(args: tuple, kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs.get("hidden_states")

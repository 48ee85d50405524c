"""The adapter for a user's own model, by the names of its parts and with no change to its code.

While a tap is on the model, `inline_attention` sees the softmax in each named module, and lets taps
act where its weights meet the values; hooks on the modules show the residual stream. When the
adapter is created, a trial pass over a few tokens checks all of this; the error for a wrong name
says which one it is, and what was found there.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..attention import AttentionCall, Site, Tap
from .hooks import NAMED, release
from .linear import weight_of
from .named_session import NamedSession, lock
from .named_trial import Trial
from .network import AdapterError, Inputs, Network, Output, edits_among, unreadable


class NamedNetwork(Network):
    """An adapter for any torch module, given the names of its attention modules.

        network = tl.NamedNetwork(model, attention="blocks.*.attention")
        tl.trace(network, tokens); tl.explore(tl.TextModel(network, tokenizer), text)

    The model reads token ids [batch, position] and returns logits [batch, position, vocab]. Each
    named module attends once in a pass, by a softmax over keys (`softmax(scores) @ value`, or
    `F.scaled_dot_product_attention`). Attention patterns, ablations, cut edges and sweeps need no
    more; the other names add the residual stream, edits of it and the logit lens.

    Args:
        module: the model. Its weights are not copied, so training goes on as before.
        attention: the path of each layer's attention, `*` for the layer's number.
        block: the path of each whole layer, whose input and output are the residual stream; by
            default `attention` up to the layer's number, "blocks.*".
        mlp: the path of the other module that writes into the stream; None: not known.
        after: the modules between the last layer and the logits, in order, such as ("norm",
            "head"); None: there is no logit lens.
        kind: "decoder", whose tokens do not attend to later ones, or "encoder".
        n_ctx: the longest text, in tokens; None if there is no limit.

    Raises:
        ValueError: if the model does not match, naming what is missing and what was found.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        attention: str,
        block: str | None = None,
        mlp: str | None = None,
        after: Sequence[str] | None = None,
        kind: str = "decoder",
        n_ctx: int | None = None,
    ):
        if not isinstance(module, nn.Module):
            made = " Did you forget the brackets: Model(…)?" if isinstance(module, type) else ""
            raise ValueError(f"module must be a torch module, got a {_name(module)}.{made}")
        if kind not in ("decoder", "encoder"):
            raise ValueError(f"kind must be 'decoder' or 'encoder', got {kind!r}")
        super().__init__(module)
        self._given: dict[str, Any] = dict(
            attention=attention, block=block, mlp=mlp, after=after, kind=kind, n_ctx=n_ctx
        )
        self.kinds, self._n_ctx = (kind,), n_ctx
        first = attention.partition("*")[0] + "*"
        self._attention = _paths(module, "attention", attention)
        if block is None and "*" in attention and first != attention:
            block = first
        self._blocks = [] if block is None else _paths(module, "block", block)
        self._mlp = [] if mlp is None else _paths(module, "mlp", mlp)
        for name, found in (("block", self._blocks), ("mlp", self._mlp)):
            if found and len(found) != len(self._attention):
                raise ValueError(
                    f"{name} matches {len(found)} modules of {self.name} and attention matches "
                    f"{len(self._attention)}; each layer needs one of both"
                )
        self._after = [] if after is None else list(after)
        for path in self._after:
            _paths(module, "after", path)
        self._out: dict[int, str] = {}
        self._no_stream = ""
        tried = Trial(self)
        self._heads, self._size, self._vocabulary = tried.heads, tried.width, tried.vocabulary
        self._out, self._no_stream = tried.outs, tried.no_stream

    # -- what it is -----------------------------------------------------------------------------

    def heads(self, kind: str) -> Sequence[int]:
        return self._heads if kind in self.kinds else []

    @property
    def size(self) -> int:
        return self._size * len(self._heads)

    @property
    def vocabulary(self) -> tuple[int | None, int | None]:
        return self._vocabulary, None

    @property
    def numbers_per_token(self) -> int:
        return 16 * max(self._size, 1) + self._vocabulary

    @property
    def n_ctx(self) -> int | None:
        return self._n_ctx

    def untrained(self) -> NamedNetwork | None:
        """A copy with new random weights; None if a module with weights cannot reset them."""
        twin = copy.deepcopy(self.module)
        for module in twin.modules():
            draws = getattr(module, "reset_parameters", None)
            if draws is not None:
                draws()
            elif next(module.parameters(recurse=False), None) is not None:
                return None
        return NamedNetwork(twin, **self._given)

    # -- one pass -------------------------------------------------------------------------------

    def check(self, inputs: Inputs) -> None:
        n = inputs.tokens.shape[1]
        if self._n_ctx is not None and n > self._n_ctx:
            raise ValueError(f"the text has {n} tokens but n_ctx={self._n_ctx}; shorten it")
        if inputs.mask is not None and not bool(inputs.mask.all()):
            raise ValueError(
                f"{self.name} reads token ids alone and takes no mask; give texts of the same "
                "length"
            )

    def run(self, inputs: Inputs) -> Output:
        return Output(logits=_logits(self.module(inputs.tokens), self.name))

    # -- its parts ------------------------------------------------------------------------------

    def blocks(self, kind: str | None = None) -> list[nn.Module]:
        if self._no_stream or kind not in (None, *self.kinds):
            return []
        return [self.module.get_submodule(path) for path in self._blocks]

    def output_weight(self, call: AttentionCall) -> Tensor | None:
        path = None if call.site is None else self._out.get(call.site.layer)
        return None if path is None else weight_of(self.module, path)

    def after_blocks(self, kind: str, inputs: Inputs) -> Callable[[Tensor], Tensor] | None:
        if not self._after or self._no_stream:
            return None
        modules = [self.module.get_submodule(path) for path in self._after]

        def run(x: Tensor) -> Tensor:
            for module in modules:
                x = module(x)
            return x

        return run

    def refuses_stream(self, names: Sequence[str], kind: str) -> str:
        if kind not in self.kinds or self._no_stream:
            return self._no_stream or f"{self.name} has no {kind}"
        if "mlp_out" in names and not self._mlp:
            return f"the mlp of {self.name} is not known: give mlp='blocks.*.…'"
        return unreadable(names)

    # -- taps -----------------------------------------------------------------------------------

    def tapped(self) -> Iterator[Any]:
        yield from ()  # the session holds the taps

    def add_tap(self, tap: Tap) -> None:
        with lock:
            session = self.module.__dict__.get(NAMED)
            if session is None:
                session = self.module.__dict__[NAMED] = NamedSession(self)
            session.taps = tuple(sorted((*session.taps, tap), key=lambda t: t.records))

    def remove_tap(self, tap: Tap) -> None:
        with lock:
            session = self.module.__dict__.get(NAMED)
            if session is None:
                return
            session.taps = tuple(t for t in session.taps if t is not tap)
            if session.close_unless_needed():
                del self.module.__dict__[NAMED]
                release(self.module)

    def edited_beside(self, tap: Tap) -> bool:
        session = self.module.__dict__.get(NAMED)
        return session is not None and edits_among(tap, session.taps)

    @contextmanager
    def changing_stream(
        self, tap: Tap, names: Sequence[str], kind: str, layer: int | None
    ) -> Iterator[None]:
        if why := self.refuses_stream(names, kind):
            raise AdapterError(why)
        yield  # every tap sees every point of the stream

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the attention modules, layer by layer."""
        return tuple(self._attention)

    @property
    def after(self) -> tuple[str, ...]:
        """The paths of the modules between the last layer and the logits."""
        return tuple(self._after)

    def sites(self) -> dict[nn.Module, Site]:
        """The site of each attention module."""
        found = enumerate(self._attention)
        return {self.module.get_submodule(p): Site(self.kinds[0], i) for i, p in found}

    def writers(self) -> dict[nn.Module, tuple[str, Site]]:
        """The modules that write into the stream: module -> (name, site)."""
        named = (("attn_out", self._attention), ("mlp_out", self._mlp))
        return {
            self.module.get_submodule(path): (name, Site(self.kinds[0], i))
            for name, paths in named
            for i, path in enumerate(paths)
        }

    # -- the whole ------------------------------------------------------------------------------

    def write(
        self,
        tokens: Tensor,
        most: int,
        *,
        bos_id: int | None,
        eos_id: int | None,
        written: Tensor | None = None,
        sampling: Any = None,
        cached: bool = False,
        **options: Any,
    ) -> list[int]:
        from ..writing import Sampling
        from .continuation import go_on

        room = most if self._n_ctx is None else self._n_ctx - tokens.shape[1] + 1
        return go_on(
            self,
            tokens,
            min(most, room),
            bos_id=bos_id,
            eos_id=eos_id,
            written=None,
            sampling=sampling or Sampling(**options),
            cached=False,
        )


def _name(value: Any) -> str:
    return f"class ({value.__name__})" if isinstance(value, type) else type(value).__name__


def _paths(module: nn.Module, name: str, pattern: str) -> list[str]:
    """The paths of the modules that match a path with `*` for numbers, in the order of the numbers.

    Raises:
        ValueError: if none matches, listing the modules that there are.
    """
    form = re.compile(re.escape(pattern).replace(r"\*", r"(\d+)") + "$")
    found = [(match, path) for path, _ in module.named_modules() if (match := form.match(path))]
    if not found:
        there = dict.fromkeys(
            re.sub(r"(?<![^.])\d+(?![^.])", "*", path) for path, _ in module.named_modules() if path
        )
        raise ValueError(
            f"{name}={pattern!r} matches no module of {type(module).__name__}; it has "
            f"{', '.join(there) or 'no modules'}"
        )
    return [path for _, path in sorted(found, key=lambda f: [int(n) for n in f[0].groups()])]


def _logits(output: Any, name: str) -> Tensor:
    """The logits in an output: a tensor, a tuple whose first is one, or an object with `logits`.

    Raises:
        ValueError: if there are none.
    """
    found = getattr(output, "logits", output)
    found = found[0] if isinstance(found, tuple | list) and found else found
    if not isinstance(found, Tensor):
        raise ValueError(
            f"the forward of {name} must return logits [batch, position, vocab], alone, first in "
            f"a tuple, or as `.logits`, got {type(output).__name__}"
        )
    return found

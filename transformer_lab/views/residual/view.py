"""The residual stream of a trace: its length, what each block adds, what it would predict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from ..pages.export import Block
from ..shared.base import css, esm
from ..shared.embedded_model import EmbeddedModel
from ..shared.messages import translated
from ..shared.scripted import ScriptedView
from ..shared.selection import SelectionView, check_traced, kind_of, sizes_of, traits_of
from .data import FIRST_SCREEN, PAGE, ResidualData

if TYPE_CHECKING:
    from ...tracing.trace import Trace


class ResidualView(ScriptedView, SelectionView):
    """The residual stream by layer and token: its length, what attention and MLP of each block add
    to it (or the block as a whole, where these are not known), and the logit lens.

    `layer`, `kind` and `selected` can be read and set from Python, as in `HeadView`; the selected
    query is the token shown. For texts of over 1024 tokens the first 1024 are shown. The logit lens
    is computed on demand; a saved page holds it for as many of the last tokens as take about ten
    seconds (for all of them, with a small model). A page can embed the model, as an `Explorer`'s
    page does (`save_html(path, model=None)`), and then takes other texts.

    Args:
        trace: what `transformer_lab.trace` returned; with keep="all" for more than lengths.
        kind: "decoder" or "encoder"; by default the trace's first choice.
        batch: which text of the trace.
        title: the model's name by default.
        link: as in `HeadView`.
        language: of the view, "en" or "de".

    Raises:
        ValueError: if the trace has no such kind or text, its stream is not known, or the view does
            not exist in that language.
    """

    _esm: ClassVar[str] = esm("residual/view.js")
    _css: ClassVar[str] = css("residual")
    _folder: ClassVar[str] = "residual"

    absent: ClassVar[str] = "this page does not hold these tokens"

    def __init__(
        self,
        trace: Trace,
        *,
        kind: str | None = None,
        batch: int = 0,
        title: str | None = None,
        link: str | None = None,
        language: str = "en",
    ):
        translation = translated("residual", language)
        check_traced(trace, batch)
        kind = kind_of(trace, kind)
        self.trace, self._data = trace, ResidualData(trace, batch)
        self._embedded = EmbeddedModel(self._subjects)
        super().__init__(
            **traits_of(trace, batch, title, link, "Residual stream"),
            _kinds=sizes_of(trace),
            _streams=self._data.streams(),
            _messages=translation,
        )
        self.kind = kind
        self._hold()

    # -- for people -----------------------------------------------------------------------------

    @property
    def stream(self) -> str:
        """The stack whose stream is shown: "encoder" or "decoder"."""
        return "decoder" if self.kind == "cross" else self.kind

    @property
    def token(self) -> int | None:
        """The position of the token shown; None shows the median over tokens."""
        query, key = self.selected or (None, None)
        token = query if query is not None or self.kind == "cross" else key
        return token if token is not None and token < len(self._data.tokens[self.stream]) else None

    # -- for the browser ------------------------------------------------------------------------

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        what, _, kind = name.partition("/")
        if what == "stream":
            return {}, [self._data.packed(kind)]
        info, data = self._data.block(name)
        return info, [data]

    def _last_of_lens(self, budget: float) -> list[str]:
        """The names of the logit lens of the last tokens, as far as the budget goes."""
        return self._data.block_names()[-max(1, self._data.affordable(budget)) :]

    def _held(self) -> Iterable[str]:
        yield from (f"stream/{kind}" for kind in self._data.kinds)
        yield from self._last_of_lens(FIRST_SCREEN)

    def _hold(self) -> None:
        if not self._data.has_changed:  # a page shows the model as it was
            super()._hold()

    def _blocks(self) -> Iterable[Block]:
        here = {name for name, *_ in self._results["_answers"]}
        for name in self._last_of_lens(PAGE):
            if name not in here:
                yield Block(name, *self._part_named(name))

"""The residual stream of a trace: its length, what each block adds, what it would predict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from ...tracing.trace import TraceError
from ..pages.export import Block
from ..shared.base import css, esm
from ..shared.codecs import shown_token
from ..shared.embedded_model import EmbeddedModel
from ..shared.messages import messages, translated
from ..shared.selection import SelectionView, check_traced, kind_of, sizes_of, traits_of
from .data import FIRST_SCREEN, PAGE, ResidualData
from .scene import of_token, residual_scene

if TYPE_CHECKING:
    from ...tracing.trace import Trace
    from ..marks.scene import Scene


class ResidualView(SelectionView):
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
        self._say = messages("residual", language)
        check_traced(trace, batch)
        kind = kind_of(trace, kind)
        self.trace, self._data = trace, ResidualData(trace, batch)
        norms, shares = self._data.packed()
        self._streams = self._data.streams()
        self._embedded = EmbeddedModel(self._subjects)
        super().__init__(
            **traits_of(trace, batch, title, link, "Residual stream"),
            _kinds=sizes_of(trace),
            _streams=self._streams,
            _norms=norms,
            _shares=shares,
            _messages=translated("residual", language),
        )
        self.kind = kind
        self._first_blocks(FIRST_SCREEN)

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

    @property
    def sentence(self) -> str:
        data, kind, token = self._data, self.stream, self.token
        norms, added = of_token(data.norms[kind], token), data.shares[kind]
        layers = len(norms) - 1
        values: dict[str, Any] = dict(several=len(data.kinds) > 1, kind=kind, position=token)
        values |= dict(layers=layers, part=None)
        values |= dict(token=None if token is None else data.tokens[kind][token])
        values |= dict(first=float(norms[0]), last=float(norms[-1]), **self._final_answer(layers))
        if added is not None:
            share = of_token(added.share, token)
            part, layer = divmod(int(share.argmax()), layers)
            cosine = of_token(added.cosine, token)[part, layer]
            values |= dict(part=added.parts[part], layer=layer)
            values |= dict(share=float(share[part, layer]), cosine=float(cosine))
        return self._say("sentence", **values)

    def _final_answer(self, layers: int) -> dict[str, Any]:
        """The selected token's answer, its probability, and from which layer on it is likeliest."""
        if self.token is None or self.stream != self._data.lens_kind:
            return {"answer": None}
        try:
            lens = self._data.lens(self.token, 1)
        except TraceError:  # the weights have changed since the trace
            return {"answer": None}
        row = lens.settled(0)
        settled = None if row > layers else "last" if row == layers else row - 1 if row else "start"
        answer = shown_token(self._data.trace.name_token(int(lens.answer[0])))
        probability = float(lens.answer_probability[-1, 0])
        here = self._data.says_here
        return dict(answer=answer, probability=probability, settled=settled, here=here)

    def _scene(self) -> Scene:
        return residual_scene(
            self._say,
            title=self._title,
            sentence=self.sentence,
            tokens=self._data.tokens[self.stream],
            norms=self._data.norms[self.stream],
            shares=self._data.shares[self.stream],
            token=self.token,
            lens=self._data.lens if self.stream == self._data.lens_kind else None,
            notes=self._streams[self.stream]["note"],
        )

    # -- for the browser ------------------------------------------------------------------------

    def _first_blocks(self, budget: float) -> None:
        """Publish the logit lens of the last tokens, as far as the budget goes."""
        names = self._data.block_names()
        found = [self._data.block(n) for n in names[-self._data.affordable(budget) :] if names]
        self._publish(
            _lens=[block.info for block in found],  # of the first screen
            _lens_data=b"".join(block.data for block in found),
        )

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        found = self._data.block(name)
        return found.info, [found.data]

    def _blocks(self) -> Iterable[Block]:
        names = self._data.block_names()
        here = {f"lens/{info['from']}" for info in self._results["_lens"]}
        for name in names[-max(1, self._data.affordable(PAGE)) :]:
            if name not in here:
                found = self._data.block(name)
                yield Block(name, found.info, [found.data])

"""Data about the residual stream for the browser."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import torch

from ...analysis.circuits import (
    BlockShare,
    LogitLens,
    block_share,
    logit_lens,
    stream_norms,
    unembedding,
)
from ...tracing.trace import TraceError
from ..shared.codecs import pack_floats, shown_text, shown_token

if TYPE_CHECKING:
    from ...tracing.trace import Trace

LONGEST = 1024  # tokens shown
COLUMNS = 16  # tokens of the logit lens in one block
TOP = 5
KEPT = 8
FIRST_SCREEN = 1.5e10  # multiplications spent on the logit lens before the view is shown
PAGE = 1.5e11  # … and for a saved page


class ResidualData:
    """The residual stream of one text of a trace: an encoder's, a decoder's, or both."""

    def __init__(self, trace: Trace, batch: int = 0):
        self.trace, self.batch = trace, batch
        self._lens = lru_cache(KEPT)(self._lens_at)  # on each view, since it keeps traces alive
        self.kinds = tuple(kind for kind in trace.kinds if kind != "cross")
        self.tokens = {
            kind: [shown_token(x) for x in trace.query_tokens(kind, batch)[:LONGEST]]
            for kind in self.kinds
        }
        shown = {kind: slice(0, len(tokens)) for kind, tokens in self.tokens.items()}
        self.norms = {k: stream_norms(trace, kind=k, batch=batch)[:, shown[k]] for k in self.kinds}
        self.shares: dict[str, BlockShare | None] = {}
        self.why_no_shares = ""
        for kind in self.kinds:
            try:
                found = block_share(trace, kind=kind, batch=batch)
            except TraceError as error:
                self.shares[kind], self.why_no_shares = None, str(error)
                continue
            cut = (x[..., shown[kind]] for x in (found.norm, found.share, found.cosine))
            self.shares[kind] = BlockShare(found.parts, *cut)

    @cached_property
    def lens_kind(self) -> str | None:
        """The stack whose stream the unembedding reads; None if there is no logit lens."""
        return None if self.why_no_lens else ("decoder" if "decoder" in self.kinds else "encoder")

    @cached_property
    def why_no_lens(self) -> str:
        return self._why_no_lens()

    def _why_no_lens(self) -> str:
        try:
            unembedding(self.trace)
        except TraceError as error:
            return shown_text(str(error))
        return ""

    @property
    def has_changed(self) -> bool:
        """Whether the model has changed since, so that no more of the logit lens can be computed."""
        return not self.why_no_lens and bool(self._why_no_lens())

    @property
    def says_here(self) -> bool:
        """Whether logits predict the token at a position (a masked model), not the next one."""
        return "decoder" not in self.kinds

    def streams(self) -> dict[str, dict[str, Any]]:
        """What the browser needs to know about each stream, besides its numbers."""
        described = {}
        for kind in self.kinds:
            tokens, found = self.tokens[kind], self.shares[kind]
            described[kind] = {
                "layers": len(self.norms[kind]) - 1,
                "tokens": tokens,
                "all": len(self.trace.query_tokens(kind, self.batch)),
                "parts": [] if found is None else list(found.parts),
                "lens": kind == self.lens_kind,
                "here": self.says_here,
                "note": self._note(kind, found),
            }
        return described

    def _note(self, kind: str, found: BlockShare | None) -> dict[str, str]:
        """Why parts of this stream's data are missing; "" if they are not."""
        why = self.why_no_lens
        if not why and kind != self.lens_kind:
            why = "the encoder of an encoder-decoder predicts no tokens"
        parts = shown_text(self.why_no_shares) if found is None else found.note
        return {"parts": parts, "lens": why}

    def packed(self, kind: str) -> bytes:
        """The norms, shares and cosines of a stream, as floats.

        Raises:
            ValueError: for a stream that the trace does not have.
        """
        if kind not in self.kinds:
            raise ValueError(f"this view has no stream {kind!r}")
        found = self.shares[kind]
        added = [] if found is None else [found.share, found.cosine]
        return b"".join(pack_floats(part) for part in (self.norms[kind], *added))

    # -- the logit lens, some tokens at a time --------------------------------------------------

    def block_names(self) -> list[str]:
        """The names of all blocks of the logit lens, in text order."""
        if self.lens_kind is None:
            return []
        n = len(self.tokens[self.lens_kind])
        return [f"lens/{first}" for first in range(0, n, COLUMNS)]

    def affordable(self, budget: float) -> int:
        """How many blocks this many multiplications pay for, at least 1; 0 without a logit lens."""
        logits = self.trace.logits
        if logits is None or self.lens_kind is None:
            return 0
        rows = len(self.norms[self.lens_kind])
        width = self.trace.residual(self.lens_kind, self.batch)["resid_pre"].shape[-1]
        return max(1, int(budget / (rows * COLUMNS * width * logits.shape[-1])))

    def block(self, name: str) -> tuple[dict[str, Any], bytes]:
        """One block of the logit lens: its description and its numbers.

        Raises:
            ValueError: if there is no such block.
            TraceError: if the model has changed since the trace.
        """
        if name not in self.block_names() or self.lens_kind is None:
            raise ValueError(f"this view has no {name!r}")
        unembedding(self.trace)  # also of what is cached
        first = int(name.removeprefix("lens/"))
        count = min(COLUMNS, len(self.tokens[self.lens_kind]) - first)
        lens = self._lens(first, count)
        ids = torch.cat((lens.tokens.flatten(), lens.answer)).unique()
        places = [torch.searchsorted(ids, x) for x in (lens.tokens, lens.answer)]
        info = {
            "from": first,
            "count": count,
            "rows": lens.tokens.shape[0],
            "k": lens.tokens.shape[2],
            "names": [shown_token(self.trace.name_token(i)) for i in ids.tolist()],
        }
        parts = [places[0], lens.probabilities, places[1], lens.answer_probability]
        return info, b"".join(map(pack_floats, parts))

    def _lens_at(self, first: int, count: int) -> LogitLens:
        positions = range(first, first + count)
        return logit_lens(self.trace, k=TOP, positions=positions, batch=self.batch)

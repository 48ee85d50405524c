"""A table of heads: each one's label and evidence, its scores on a text, and whether it matters."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..adapters.lookup import network_of
from ..edits.constructors import ablate
from ..edits.effects import Sweep
from ..edits.estimates import estimate_effects
from ..edits.kinds import Edit, EditError
from ..edits.sweep import sweep_heads
from ..files.tables import Table, html_table
from ..tracing.provenance import Provenance, finding
from ..tracing.running import trace as traced
from ..tracing.trace import Trace
from .evidence import BAR
from .measures import MEASURES, all_scores
from .naming import HeadLabel, labels
from .query import WORDS, asked

SHOWN = 40  # rows in a notebook
FIRST = ("layer", "head", "label", "score", "effect", "kl")  # columns before those of the measures


@dataclass(frozen=True)
class HeadRow:
    """One head.

    label, evidence: from `heads.labels`; the evidence also says what the head does most on this
        text.
    score: of its label, or of the nearest one; None without labels.
    effect: how the probability of the chosen token changes when the head is switched off; None if
        that is not known. estimated: whether that is an estimate.
    kl: divergence of the whole prediction, in nats; None if it is not known.
    scores: on this text, by every measure that applies: see `heads.MEASURES`.
    """

    layer: int
    head: int
    kind: str
    label: str | None
    evidence: str
    score: float | None
    effect: float | None
    estimated: bool
    kl: float | None
    scores: Mapping[str, float] = field(repr=False)

    def __getitem__(self, column: str) -> Any:
        """The value in a column."""
        return self.scores.get(column) if column in MEASURES else getattr(self, column)

    @property
    def edit(self) -> Edit:
        """The edit that switches this head off."""
        return ablate(self.layer, self.head, kind=self.kind)


@dataclass(frozen=True, eq=False)
class HeadTable(Table):
    """A table with a row for each head. Sorting and searching return a new table; this one never
    changes.

    rows: `len`, loops and indices go over them.
    columns: the names that `sorted` and `where` accept.
    about: what the effects measure, in a sentence.
    query: the query that gave these rows, "" for all heads; n_heads: the number of all heads.
    provenance: how it was made, see `tl.report`.
    """

    rows: tuple[HeadRow, ...]
    columns: tuple[str, ...]
    about: str
    query: str = ""
    n_heads: int = 0
    provenance: Provenance | None = field(default=None, repr=False)

    def where(self, query: str) -> HeadTable:
        """Return the heads that match a query: "punctuation", "layer > 10", "effect > 0.1", joined
        by "and".

        Words are searched for in label and evidence; "…" keeps some together. Numbers are compared
        with <, >, <=, >=, = and !=, and may be in %. The effect is compared by its size, unless the
        number is below 0.

        Raises:
            ValueError: for an unknown column, or a comparison without a number.
        """
        if not isinstance(query, str):
            raise ValueError(f"query must be a text, such as “layer > 10”, got {query!r}")
        holds = asked(query, (*self.columns, "evidence"))
        both = " and ".join(filter(None, (self.query, query.strip())))
        found = tuple(row for row in self.rows if holds(_Asked(row)))
        return replace(self, rows=found, query=both)

    def sorted(self, column: str = "effect", *, descending: bool | None = None) -> HeadTable:
        """Return the table sorted by a column: the largest first (effects by size), but layers,
        heads and words in ascending order, unless `descending` says otherwise. Heads without a
        number come last.

        Raises:
            ValueError: for an unknown column.
        """
        if column not in self.columns:
            raise ValueError(f"column must be one of {', '.join(self.columns)}, got {column!r}")
        words = column in (*WORDS, "layer", "head")
        down = not words if descending is None else descending

        def key(row: HeadRow) -> Any:
            value = row[column]
            return (
                value.lower()
                if isinstance(value, str)
                else abs(value)
                if column == "effect"
                else value
            )

        known = [row for row in self.rows if not _is_none(row[column])]
        rest = [row for row in self.rows if _is_none(row[column])]
        return replace(self, rows=(*sorted(known, key=key, reverse=down), *rest))

    @property
    def best(self) -> HeadRow:
        """The head that matters most.

        Raises:
            ValueError: if the table is empty.
        """
        if not self.rows:
            raise ValueError(self._nothing())
        return self.sorted().rows[0]

    @property
    def edits(self) -> list[Edit]:
        """The edits that switch all of these heads off together: `tl.edit(model, *table.edits)`."""
        return [row.edit for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None for what is not known."""
        rows = [
            {
                **{name: _plain(row[name]) for name in (*self.columns, "evidence", "kind")},
                "estimated": row.estimated,
            }
            for row in self.rows
        ]
        return {
            "about": self.about,
            "query": self.query,
            "columns": list(self.columns),
            "rows": rows,
        }

    def cells(self) -> tuple[list[str], list[list[Any]]]:
        """A row for each head."""
        rows: list[list[Any]] = []
        for row in self.rows:
            known = None if row.effect is None else "an estimate" if row.estimated else "measured"
            values = [_plain(row[name]) for name in self.columns]
            rows.append([row.kind, *values, known, row.evidence])
        return ["kind", *self.columns, "effect is", "evidence"], rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[HeadRow]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> HeadRow:
        return self.rows[index]

    def __repr__(self) -> str:
        if not self.rows:
            return f"<HeadTable: {self._nothing()}>"
        first = "; ".join(
            f"layer {r.layer}, head {r.head}{f' ({r.label})' if r.label else ''} {_effect(r)}".rstrip()
            for r in self.rows[:3]
        )
        more = " …" if len(self.rows) > 3 else ""
        return f"<HeadTable of {self._count()}: {first}{more}. {self.about}>"

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{html.escape(self._nothing())}</p>"
        caption, lines = f"{self._count()}. {self.about}", map(self._line, self.rows[:SHOWN])
        return html_table(caption, self.columns, lines, len(self.rows) - SHOWN)

    def _line(self, row: HeadRow) -> list[str]:
        cells = []
        for name in self.columns:
            cell = html.escape(_effect(row) if name == "effect" else _told(row[name]))
            if name == "effect" and row.estimated and row.effect is not None:
                cell = f"<i title='estimate'>{cell}</i>"
            if name == "label":
                cell = f"<span title='{html.escape(row.evidence, quote=True)}'>{cell}</span>"
            cells.append(cell)
        return cells

    def _nothing(self) -> str:
        return f"“{self.query}” matches no head" if self.query else "there are no heads"

    def _count(self) -> str:
        n = len(self.rows)
        heads = f"{n} head{'s' * (n != 1)}"
        return f"{heads} of {self.n_heads}" if self.query else heads


@finding
def head_table(
    model: Any,
    text: Any = None,
    target: Any = None,
    *,
    kind: str | None = None,
    exact: bool = True,
    named: bool = True,
    texts: Sequence[str] | None = None,
    token: int | None = None,
    position: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **given: Any,
) -> HeadTable:
    """Return a table with a row for each head: its label with the evidence, its score on this text
    by every measure, and what switching it off changes. The heads that matter most come first.

    Args:
        model: a `TextModel`, a model with token ids as `text`, or a `Trace`, whose text is used.
        text, target: as in `trace`.
        kind: "encoder", "decoder" or "cross"; the decoder's heads by default.
        exact: False gives the effects of `estimate_effects`, from one gradient pass.
        named: False leaves out the labels, which cost some passes over probes.
        texts: as in `heads.labels`.
        token, position: whose probability is measured, and where: as in `sweep_heads`.
        progress: called with (heads done, heads in all) while they are switched off.
        given: further inputs, as in `trace`.

    Raises:
        ValueError: for inputs that the model cannot read. If it has no labels or predicts nothing,
            the table says so.
    """
    trace, model, read = _read(model, text, target, given)
    kind = trace.kind(kind)
    effects, about = _effects(model, read, kind, exact, token, position, progress, trace)
    why, table = "", None
    if named:
        table, why = named_heads(model, kind, texts)
    scores = all_scores(trace, kind=kind)
    rows = tuple(
        _row(kind, layer, head, table, scores, effects)
        for layer in trace.attending(kind)
        for head in range(trace.heads_of(layer, kind))
    )
    known: dict[str, Any] = {"label": table is not None, "score": table is not None}
    known |= {"effect": effects is not None, "kl": effects is not None and not effects.estimated}
    columns = (*(name for name in FIRST if known.get(name, True)), *scores)
    about = " ".join(filter(None, (about, why)))
    found = HeadTable(rows, columns, about, n_heads=len(rows))
    return found.sorted() if effects is not None else found


def on_this_text(scores: Mapping[str, float]) -> str:
    """Describe what a head does on a text: the measures by which it gives more than half of its
    attention.
    """
    most = [
        f"{name} {value:.2f}".replace(" 0.", " .")
        for name, value in sorted(scores.items(), key=lambda item: -item[1])
        if MEASURES[name].unit == "share" and value > BAR
    ]
    return f"on this text: {', '.join(most)}" if most else ""


def named_heads(
    model: Any, kind: str, texts: Sequence[str] | None = None
) -> tuple[list[list[HeadLabel]] | None, str]:
    """Return labels of all heads, or None, and why there are none."""
    if kind == "cross":
        return None, "Cross-attention has no labels."
    try:
        return labels(model, kind=kind, texts=texts, ablation=False), ""
    except ValueError as error:
        if texts is not None:  # the given texts are at fault
            raise
        return None, f"No labels: {error}."


# -- inside -----------------------------------------------------------------------------------------


class _Asked(Mapping[str, Any]):
    """A row as a mapping, for queries."""

    def __init__(self, row: HeadRow):
        self._row = row

    def __getitem__(self, column: str) -> Any:
        return self._row[column]

    def __iter__(self) -> Iterator[str]:
        return iter((*FIRST, "evidence", *self._row.scores))

    def __len__(self) -> int:
        return len(FIRST) + 1 + len(self._row.scores)


def _read(model: Any, text: Any, target: Any, given: Mapping[str, Any]) -> tuple[Trace, Any, dict]:
    """Return the trace, its model, and the inputs for `sweep_heads`."""
    if isinstance(model, Trace):
        if text is not None or model.network is None:
            raise ValueError("a Trace has its own text and model; give the trace alone")
        found = model
        read: dict[str, Any] = dict(tokens=found.tokens, target=found.target, mask=found.mask)
        read |= dict(target_mask=found.target_mask, **found.given)
        return found, model.network.module, read
    network_of(model)
    found = traced(model, text, target, keep="maps", **given)
    read = dict(tokens=found.tokens, target=found.target, **found.given)
    return found, model, read


def _effects(
    model: Any,
    read: dict,
    kind: str,
    exact: bool,
    token: int | None,
    position: int | None,
    progress: Any,
    trace: Trace,
) -> tuple[Sweep | None, str]:
    options: dict[str, Any] = dict(kind=kind, token=token, position=position, measure="probability")
    try:
        if exact:
            found = sweep_heads(model, **read, **options, progress=progress)
        else:
            found = estimate_effects(model, **read, **options)
    except EditError as error:
        return None, f"No effects: {error}."
    chosen = " and ".join(f"“{trace.name_token(i)}”" for i in dict.fromkeys(found.tokens))
    what = "an estimate of how" if found.estimated else "how"
    return found, f"Effect: {what} the probability of {chosen} changes without the head."


def _row(
    kind: str,
    layer: int,
    head: int,
    table: list[list[HeadLabel]] | None,
    scores: Mapping[str, Any],
    effects: Sweep | None,
) -> HeadRow:
    label = None if table is None else table[layer][head]
    own = {name: float(found[layer, head]) for name, found in scores.items()}
    evidence = ("" if label is None else label.sentence, on_this_text(own))
    found = {} if effects is None else effects.measures
    effect, kl = (
        _plain(float(found[name][layer, head])) if name in found else None
        for name in ("probability", "kl")
    )
    return HeadRow(
        layer,
        head,
        kind,
        None if label is None else label.name,
        "; ".join(filter(None, evidence)),
        None if label is None else label.score,
        effect,
        effects is not None and effects.estimated,
        kl,
        own,
    )


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    return None if _is_none(value) else value


def _told(value: Any) -> str:
    if _is_none(value):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _effect(row: HeadRow) -> str:
    if row.effect is None:
        return ""
    sign = "+" if row.effect > 0 else "−"
    return f"{'≈ ' * row.estimated}{sign}{abs(row.effect):.3f}"

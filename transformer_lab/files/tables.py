"""The only place that writes CSV. No cell of it is run as a formula by a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how a formula can begin, says OWASP
_PIECE = 10_000  # rows

Rows = Iterable[Iterable[Any]]


def csv_pieces(rows: Rows) -> Iterator[str]:
    """Yield rows as comma-separated text, some thousand rows at a time.

    Text that a spreadsheet would read as a formula gets an apostrophe in front; numbers do not.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for count, row in enumerate(rows, 1):
        writer.writerow([_inert(value) for value in row])
        if count % _PIECE == 0:
            yield file.getvalue()
            file.seek(0)
            file.truncate()
    yield file.getvalue()


def csv_text(rows: Rows) -> str:
    """Return rows as comma-separated text; see `csv_pieces`."""
    return "".join(csv_pieces(rows))


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

"""Tables as CSV, pandas and Arrow. The only place that writes CSV, so that no spreadsheet runs a
cell as a formula."""

from __future__ import annotations

import csv
import html
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .text_files import write_text

if TYPE_CHECKING:
    import pandas

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how a formula can begin, according to OWASP
_PIECE = 10_000  # rows

Rows = Iterable[Iterable[Any]]


class Table:
    """A result that is a table: its class defines columns and rows, in full precision."""

    def cells(self) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """Column names, and rows of plain values; None for unknown ones."""
        raise NotImplementedError

    def csv(self) -> str:
        """The table as comma-separated values."""
        columns, rows = self.cells()
        return csv_text([columns, *rows])

    def to_csv(self, path: str | os.PathLike) -> Path:
        """Write `csv()` to a file.

        Raises:
            ValueError: if the path cannot hold a file.
        """
        return write_text(path, [self.csv()], such_as="table.csv")

    def to_pandas(self) -> pandas.DataFrame:
        """The table as a pandas DataFrame.

        Raises:
            ModuleNotFoundError: if pandas is not installed.
        """
        pandas = _needed("pandas", "to_pandas")
        columns, rows = self.cells()
        return pandas.DataFrame(rows, columns=columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The Arrow PyCapsule protocol: `polars.DataFrame(table)`, `pyarrow.table(table)`, DuckDB
        and others read the table without a file.

        Raises:
            ModuleNotFoundError: if pyarrow is not installed.
        """
        pyarrow = _needed("pyarrow", "the Arrow protocol")
        columns, rows = self.cells()
        values = list(zip(*rows, strict=True)) or [()] * len(columns)
        made = pyarrow.table(dict(zip(columns, map(list, values), strict=True)))
        return made.__arrow_c_stream__(requested_schema)


def html_table(
    caption: str, columns: Sequence[str], lines: Iterable[Sequence[str]], rest: int = 0
) -> str:
    """Return a table as HTML for notebooks.

    Args:
        lines: the cells of each row, as HTML.
        rest: number of rows beyond these.
    """
    heads = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{x}</td>' for x in cells)}</tr>" for cells in lines)
    more = f"<p>… and {rest} more; <code>.csv()</code> has all of them.</p>" if rest > 0 else ""
    return (
        f"<table><caption style='text-align:left'>{html.escape(caption)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{more}"
    )


def _needed(module: str, what: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{what} needs {module}, which is not installed: pip install {module}; .csv() needs nothing"
        ) from error


def csv_pieces(rows: Rows, delimiter: str = ",", inert: bool = True) -> Iterator[str]:
    """Yield rows as comma-separated text, thousands of rows at a time.

    Text that a spreadsheet would read as a formula gets an apostrophe in front; numbers do not, and
    with `inert=False` nothing does, for a table that goes back to where it came from.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n", delimiter=delimiter)
    for count, row in enumerate(rows, 1):
        writer.writerow([_inert(value) for value in row] if inert else list(row))
        if count % _PIECE == 0:
            yield file.getvalue()
            file.seek(0)
            file.truncate()
    yield file.getvalue()


def csv_text(rows: Rows, delimiter: str = ",", inert: bool = True) -> str:
    """Return rows as comma-separated text; see `csv_pieces`."""
    return "".join(csv_pieces(rows, delimiter, inert))


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

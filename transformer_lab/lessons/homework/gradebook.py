"""Write scores into the gradebook that a learning management system exports."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from transformer_lab.files.paths import FileError, in_line
from transformer_lab.files.safefiles import committed
from transformer_lab.files.tables import csv_text
from transformer_lab.lessons.homework.box import Grade, printable, same_name

from ...files.paths import as_path

DELIMITERS = ",;\t"


class Gradebook:
    """A gradebook that an LMS exported.

    Args:
        path: a CSV file of Moodle, Canvas or another LMS, in UTF-8.
        assignment: the name of the graded assignment.
        column: the header of the column for the scores; by default the one that begins with the
            assignment's name, as in Canvas, or a new one with this name.
        by: the header of the column with the names of the students' folders; by default the
            one that contains most of them.

    Raises:
        FileError: for a file that is not a table, or one without such a column.
    """

    def __init__(
        self, path: str | Path, assignment: str, column: str | None = None, by: str | None = None
    ):
        self.path = as_path(path)
        self._rows, self._delimiter, self._mark = _read(self.path)
        self._key = None if by is None else self._column(by)
        self._at = self._of(assignment) if column is None else self._column(column)

    def fill(self, grades: Sequence[Grade]) -> tuple[Path, list[str]]:
        """Write scores into a copy, which the LMS can import; other cells stay as they are.

        Returns:
            The copy, and a sentence for each student whose score it lacks.

        Raises:
            FileError: if no column contains a student's name.
        """
        header, *body = self._rows
        key = self._names(grades) if self._key is None else self._key
        if same_name(header[key]) in {same_name(grade.student) for grade in grades}:
            raise FileError(
                f"{in_line(self.path)} must begin with a header, but its first row is of the student "
                f"{header[key]!r}; export it with its header"
            )
        owners: dict[str, list[list[str]]] = {}
        for row in body:
            owners.setdefault(same_name(row[key]) if key < len(row) else "", []).append(row)
        problems = []
        for grade in grades:
            rows, why = owners.get(same_name(grade.student), []), ""
            if grade.score is None:
                why = f"was not graded ({grade.note})"
            elif len(rows) != 1:
                why = f"is in {len(rows)} rows of the column {header[key]!r} and must be in one"
            if why:
                problems.append(f"{printable(grade.student)} {why}; no score was written")
                continue
            rows[0].extend([""] * (self._at + 1 - len(rows[0])))
            rows[0][self._at] = f"{grade.score:g}"
        copy = self.path.with_name(f"{self.path.stem}-graded{self.path.suffix}")
        with committed(copy) as place:
            text = self._mark + csv_text(self._rows, delimiter=self._delimiter, inert=False)
            place.write_text(text, "utf-8", newline="")
        return copy, problems

    def _of(self, assignment: str) -> int:
        """The index of an assignment's column, which is added if it does not exist."""
        header = self._rows[0]
        names = [n for n in header if n == assignment or n.startswith(f"{assignment} (")]
        if len(names) > 1:
            raise FileError(
                f"{in_line(self.path)} has {len(names)} columns for {assignment!r}: {', '.join(names)}; "
                "choose one with column=…, or --column"
            )
        if not names:
            header.append(assignment)
        return self._column((names or [assignment])[0])

    def _column(self, name: str) -> int:
        header = self._rows[0]
        if header.count(name) == 1:
            return header.index(name)
        raise FileError(
            f"{in_line(self.path)} must have one column {name!r}, but has {header.count(name) or 'none'}; "
            f"its columns: {', '.join(header)}"
        )

    def _names(self, grades: Sequence[Grade]) -> int:
        """The index of the column that contains most names of students' folders."""
        header, *body = self._rows
        columns = [{row[i].strip() for row in body if i < len(row)} for i in range(len(header))]
        students = {grade.student for grade in grades}
        alike = set(map(same_name, students))
        counts = [(len(students & c), len(alike & set(map(same_name, c)))) for c in columns]
        if not any(map(any, counts)):
            raise FileError(
                f"no column of {in_line(self.path)} holds the name of a student's folder, such as "
                f"{min(students)!r}; name the folders in submitted/ by one of its columns: "
                f"{', '.join(header)}"
            )
        return counts.index(max(counts))


def _read(path: Path) -> tuple[list[list[str]], str, str]:
    """Rows, the delimiter, and the byte order mark or ""."""
    try:
        text = path.read_text("utf-8")
        plain = text.removeprefix("\ufeff")
        delimiter = max(DELIMITERS, key=plain.partition("\n")[0].count)
        lines = plain.splitlines(keepends=True)
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(
            f"{in_line(path)} must be a CSV file in UTF-8: {error}; export it again as one"
        ) from error
    if len(rows) < 2 or len(rows[0]) < 2:
        raise FileError(
            f"{in_line(path)} must be a table with a header and a row for each student, as an LMS exports it"
        )
    return rows, delimiter, text[: len(text) - len(plain)]

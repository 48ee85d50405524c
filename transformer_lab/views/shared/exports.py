"""The content of a view as named arrays, and the files written from them."""

from __future__ import annotations

import io
import json
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...adapters.lookup import revision_of
from ...files.paths import as_path
from ...files.tables import csv_pieces
from ...files.text_files import write_bytes
from .codecs import shown_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

SUFFIXES = (".csv", ".json", ".npz", ".svg", ".png", ".html")
STILL_DPI = 200  # of a saved PNG


@dataclass(frozen=True, eq=False)
class Array:
    """Numbers (or words) with a name for each axis; NaN for missing values.

    `means` describes what they are and how they are computed.
    """

    name: str
    values: Any  # a numpy array; a tensor becomes one
    axes: tuple[str, ...]
    means: str

    def __post_init__(self):
        given = self.values
        if hasattr(given, "detach"):
            given = given.detach().cpu()
            given = (given.float() if given.dtype.itemsize < 4 else given).numpy()
        object.__setattr__(self, "values", np.asarray(given))
        if self.values.ndim != len(self.axes):
            raise ValueError(f"{self.name} has {self.values.ndim} axes, not {self.axes}")


@dataclass(frozen=True, eq=False)
class Numbers:
    """The content of a view.

    Args:
        arrays: the first one, and all with the same axes, form the table of a CSV file.
        axes: name of an axis -> its labels: tokens, steps, numbers; other axes are numbered from 0.
        columns: other columns for the CSV file, of equal lengths.
    """

    arrays: Sequence[Array]
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    columns: Mapping[str, Sequence[Any]] | None = None

    def __getitem__(self, name: str) -> np.ndarray:
        return next(one.values for one in self.arrays if one.name == name)

    def along(self, axis: str) -> list[Any]:
        """The labels of an axis."""
        if axis in self.axes:
            return list(self.axes[axis])
        size = next(a.values.shape[a.axes.index(axis)] for a in self.arrays if axis in a.axes)
        return list(range(size))

    def table(self) -> dict[str, Sequence[Any]]:
        """Columns of a long table, with a row for every value that is not missing. An axis of words
        gives two columns: the index, counted from 0, and the word."""
        if self.columns is not None:
            return dict(self.columns)
        first = self.arrays[0]
        same = [one for one in self.arrays if one.axes == first.axes]
        empty = np.ones(first.values.shape, dtype=bool)
        for one in same:
            empty &= np.isnan(one.values) if one.values.dtype.kind == "f" else False
        places = np.nonzero(~empty)
        found: dict[str, Sequence[Any]] = {}
        for axis, at in zip(first.axes, places, strict=True):
            names = self.along(axis)
            if any(isinstance(name, str) for name in names):
                found[axis] = at.tolist()
                found[f"{axis}_token"] = [names[i] for i in at]
            else:
                found[axis] = [names[i] for i in at]
        return found | {one.name: listed(one.values[places]) for one in same}


def listed(values: np.ndarray) -> Any:
    """Convert an array to lists, with None for NaN and infinities; fp32 as the shortest decimals
    that give it back."""
    flat: list[Any]
    if values.dtype.kind == "f":
        numbers = values.ravel()
        flat = (
            [float(text) for text in numbers.astype(str)]
            if values.dtype.itemsize < 8
            else numbers.tolist()
        )
        if not np.isfinite(numbers).all():
            kept = np.isfinite(numbers).tolist()
            flat = [x if good else None for x, good in zip(flat, kept, strict=True)]
    else:
        flat = values.ravel().tolist()
    for size in reversed(values.shape[1:]):
        flat = [flat[i : i + size] for i in range(0, len(flat), size)] if size else []
    return flat if values.ndim else flat[0]


# -- provenance ---------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that are already imported."""
    found = {"python": platform.python_version()}
    for name in ("transformer_lab", "torch", "transformers", "numpy"):
        known = getattr(sys.modules.get(name), "__version__", None)
        if known:
            found[name] = str(known)
    return found


def computed(of: Iterable[Any]) -> dict[str, Any]:
    """The models, their tokens, and the versions of packages; `of`: traces or models."""
    return {"of": [_subject(one) for one in of], "versions": versions()}


def _subject(one: Any) -> dict[str, Any]:
    is_trace = hasattr(one, "model_name")
    module = getattr(one, "model", None) if is_trace or not hasattr(one, "parameters") else one
    module = getattr(module, "model", module) if not hasattr(module, "parameters") else module
    found: dict[str, Any] = {
        "model": shown_text((one.model_name if is_trace else getattr(one, "name", "")) or ""),
        "class": "" if module is None else type(module).__name__,
        "revision": revision_of(module),
        "numbers": _dtype(module),
        "random_weights": list(getattr(one, "random_weights", ())),
    }
    if is_trace:
        kind = one.kinds[-1] if "cross" not in one.kinds else "cross"
        found["note"] = shown_text(one.note or "")
        for name, ids in (("token_ids", one.tokens), ("target_ids", one.target)):
            if ids is not None:
                found[name] = ids.tolist()
        found["tokens"] = [
            [shown_text(token) for token in one.key_tokens(kind, text)]
            for text in range(one.batch_size)
        ]
    return found


def _dtype(module: Any) -> str:
    first = next(iter(module.parameters()), None) if hasattr(module, "parameters") else None
    return "" if first is None else str(first.dtype).removeprefix("torch.")


def described(about: Mapping[str, Any], numbers: Numbers) -> dict[str, Any]:
    """Describe the arrays: everything but the numbers themselves."""
    arrays = {one.name: {"axes": list(one.axes), "means": one.means} for one in numbers.arrays}
    used = dict.fromkeys(axis for one in numbers.arrays for axis in one.axes)
    axes = {axis: [_plain(x) for x in numbers.along(axis)] for axis in used}
    return {**about, "axes": axes, "arrays": arrays}


def to_dict(about: Mapping[str, Any], numbers: Numbers) -> dict[str, Any]:
    report = described(about, numbers)
    for one in numbers.arrays:
        report["arrays"][one.name]["values"] = listed(one.values)
    return report


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


# -- files --------------------------------------------------------------------------------------


def suffix_of(path: str | Path) -> str:
    """Return the suffix of a path, in lower case.

    Raises:
        ValueError: for an unknown one.
    """
    suffix = as_path(path).suffix.lower()
    if suffix not in SUFFIXES:
        ends = f"ends in {suffix!r}, which is not known" if suffix else "has no ending"
        raise ValueError(
            f"path={str(path)!r} {ends}; choose {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        )
    return suffix


def of_numbers(suffix: str, about: Mapping[str, Any], numbers: Numbers) -> Iterator[bytes]:
    """The content of a ".csv", ".json" or ".npz" file, in pieces."""
    if suffix == ".csv":
        yield from _csv(about, numbers)
    elif suffix == ".json":
        text = json.dumps(to_dict(about, numbers), ensure_ascii=False, allow_nan=False)
        yield text.encode("utf-8", "replace") + b"\n"
    else:
        file = io.BytesIO()
        text = json.dumps(described(about, numbers), ensure_ascii=False, allow_nan=False)
        kept: Any = {one.name: _without_objects(one.values) for one in numbers.arrays}
        np.savez_compressed(file, about=np.array(text), **kept)
        yield file.getvalue()


def _without_objects(values: np.ndarray) -> np.ndarray:
    """Convert words to a dtype that numpy stores without pickle."""
    return values.astype(str) if values.dtype.kind == "O" else values


def _csv(about: Mapping[str, Any], numbers: Numbers) -> Iterator[bytes]:
    """Yield a CSV file in pieces. The first row's last column says how the numbers were computed:
    any program reads that, while a comment before the table stops most of them."""
    about_all = described(about, numbers)
    about_all.pop("axes")
    about_all = json.dumps(about_all, ensure_ascii=False, allow_nan=False)
    columns = numbers.table()
    rows = zip(*columns.values(), strict=True)
    first = next(rows, [""] * len(columns))
    lines = chain([[*columns, "about"], [*first, about_all]], ([*row, ""] for row in rows))
    return (piece.encode("utf-8", "replace") for piece in csv_pieces(lines))


def of_picture(suffix: str, about: Mapping[str, Any], figure: Figure) -> bytes:
    """An image file, ".svg" or ".png", with its title and provenance as metadata."""
    import warnings

    import matplotlib

    text = json.dumps(about, ensure_ascii=True, allow_nan=False)
    file, known = io.BytesIO(), {"Title": about["title"], "Description": text}
    # The same view gives the same bytes.
    fixed: Any = {"svg.hashsalt": "transformer-lab"}
    known |= {"Date": None} if suffix == ".svg" else {}
    with warnings.catch_warnings(), matplotlib.rc_context(fixed):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format=suffix[1:], dpi=STILL_DPI, metadata=known)
    return file.getvalue()


def write(path: str | Path, pieces: Callable[[], Iterable[bytes]]) -> Path:
    """Write a file whole or not at all; its content is computed once the path is checked."""
    return write_bytes(path, _later(pieces), such_as="view.csv")


def _later(pieces: Callable[[], Iterable[bytes]]) -> Iterator[bytes]:
    yield from pieces()

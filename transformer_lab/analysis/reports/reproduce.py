"""Reproduce a report, and compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from ...adapters.lookup import network_of
from ...arguments import shown
from ...files import schemas
from ...files.models import weights_sha256
from ...files.paths import FileError, as_path
from ...files.safefiles import read_json
from ...pictures.image_model import ImageModel
from ...text_model import TextModel
from ...tracing.provenance import given
from . import kinds
from .report import FORMAT, MARK

TOLERANCE = 1e-4
_SHOWN = 5


@dataclass(frozen=True)
class Difference:
    """One value then and now; `by` is how far apart they are, for numbers."""

    where: str
    before: Any
    now: Any
    by: float = math.inf


@dataclass(frozen=True)
class Reproduction:
    """The values of a report, compared with those computed now.

    Attributes:
        differences: the values that differ, the largest first. compared: how many numbers there
            are; largest: the largest difference of any of them, and where.
        weights: the checksum then and now. versions: name -> then and now, of those that differ.
        tolerance: two numbers are the same within this, times the larger of 1 and the number.
    """

    function: str
    model: str
    differences: tuple[Difference, ...]
    compared: int
    largest: tuple[float, str]
    weights: tuple[str, str]
    versions: Mapping[str, tuple[Any, Any]]
    tolerance: float

    @property
    def same(self) -> bool:
        """Whether weights, words and numbers are those of the report."""
        return not self.differences and self.weights[0] == self.weights[1]

    def lines(self) -> Iterator[str]:
        """Yield the result in words, line by line."""
        yield f"{self.function} of {self.model}, computed again."
        differ = ", ".join(f"{n} {a} then, {b} now" for n, (a, b) in self.versions.items())
        yield f"Versions: {differ or 'the same'}."
        before, now = (one[:12] for one in self.weights)
        text = (
            f"the same (sha256 {now}…)"
            if before == now
            else f"different ({before}… then, {now}… now)"
        )
        yield f"Weights: {text}."
        by, where = self.largest
        most = (
            f"; the largest difference is {by:.3g}, at {where}" if by else "; none differs at all"
        )
        within = f"{self.tolerance:g} (relative for numbers above 1)"
        if not self.differences:
            yield f"Numbers: all {self.compared} are the same within {within}{most}."
            return
        n = len(self.differences)
        values = f"{n} value{'s' * (n > 1)}; {self.compared} numbers were compared"
        yield f"Different by more than {within}: {values}{most}."
        for one in self.differences[:_SHOWN]:
            yield f"  {one.where}: {_said(one.before)} then, {_said(one.now)} now"
        if len(self.differences) > _SHOWN:
            yield f"  … and {len(self.differences) - _SHOWN} more"


def again(
    path: str | Path, *, model: str | None = None, device: str = "cpu", tolerance: float = TOLERANCE
) -> Reproduction:
    """Compute a report's finding again, and compare.

    Args:
        path: of the JSON that `tl.report` wrote.
        model: where the model is, if not where the report says.
        device: as in `TextModel.from_pretrained`.

    Raises:
        FileError: for a file that is not a report, is damaged, or of a newer format, and for a
            model that was only in memory.
        FileNotFoundError: for a model that does not exist.
    """
    path = as_path(path)
    report = read_json(path, limit=schemas.LARGEST)
    _check(path, report)
    about = report["model"]
    source = model or about.get("loaded_from")
    if not isinstance(source, str):
        raise FileError(
            f"{path} is about a model that was only in memory; save the model, and give its folder with "
            "--model FOLDER"
        )
    kind: Any = ImageModel if about.get("as") == "ImageModel" else TextModel
    loaded = kind.from_pretrained(
        source, device=device, allow_missing=bool(about["random_weights"])
    )
    network = network_of(loaded)
    found = _made_anew(path, report, loaded.model if about.get("as") == "module" else loaded)
    values = list(_beside(report["finding"], kinds.numbers_of(found), ""))
    numbers = [one for one in values if math.isfinite(one.by)]
    apart = max(numbers, key=lambda one: one.by, default=Difference("", 0, 0, 0.0))
    differ = [one for one in values if _apart(one, tolerance)]
    return Reproduction(
        report["function"],
        str(about.get("name")),
        tuple(sorted(differ, key=lambda one: -one.by)),
        len(numbers),
        (apart.by, apart.where),
        (str(about.get("weights")), weights_sha256(network.module)),
        _versions(report["versions"]),
        tolerance,
    )


def _check(path: Path, report: Mapping[str, Any]) -> None:
    version = report.get(MARK)
    if version is None:
        raise FileError(f"{path} is not a report; give a JSON file that tl.report wrote")
    if version != FORMAT:
        raise FileError(
            f"{path} has format {shown(version)}, but this package reads {FORMAT}; use a newer package"
        )
    schemas.check(report, "report", str(path))


def _made_anew(path: Path, report: Mapping[str, Any], model: Any) -> Any:
    try:
        arguments = {name: given(value) for name, value in report["arguments"].items()}
        found = kinds.FUNCTIONS[report["function"]](model, **arguments)
        return kinds.taken(found, report["steps"])
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise FileError(f"{path} cannot be computed again: {error}") from error


def _beside(before: Any, now: Any, where: str) -> Iterator[Difference]:
    """Yield every value with its counterpart."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in {**before, **now}:
            at = f"{where}.{name}" if where else name
            yield from _beside(before.get(name), now.get(name), at)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for i, (a, b) in enumerate(zip(before, now, strict=True)):
            inner = where[:-1] + f", {i}]" if where.endswith("]") else f"{where}[{i}]"
            yield from _beside(a, b, inner)
    elif _is_number(before) and _is_number(now):
        yield Difference(where, before, now, abs(float(before) - float(now)))
    elif before != now:
        yield Difference(where, before, now)


def _apart(one: Difference, tolerance: float) -> bool:
    return one.by == math.inf or one.by > tolerance * max(1.0, abs(one.before))


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _versions(before: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    from ...views.shared.exports import versions

    now = versions()
    return {n: (v, now[n]) for n, v in before.items() if n in now and now[n] != v}


def _said(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else shown(value)

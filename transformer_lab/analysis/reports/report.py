"""`tl.report`: a finding as one page and one JSON file, with all that is needed to reproduce it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from ...adapters.lookup import revision_of
from ...arguments import shown
from ...files.models import weights_sha256
from ...files.paths import as_path
from ...files.text_files import write_text
from ...tracing.provenance import Provenance, code
from . import kinds
from .page import page_of

MARK, FORMAT = "transformer_lab_report", 1
MODELS = {
    "TextModel": "tl.TextModel.from_pretrained",
    "ImageModel": "tl.ImageModel.from_pretrained",
}
_TEXTS = ("text", "tokens", "target", "clean", "corrupted", "prompts")


class Report(NamedTuple):
    """Where a report was written."""

    page: Path
    json: Path


def report(finding: Any, path: str | os.PathLike) -> Report:
    """Write a finding as an HTML page, which needs no network and no script, and as a JSON file.

    `transformer-lab report FILE.json` computes the finding again and reports what differs.

    Args:
        finding: what `patching_grid`, `path_patch`, `sweep_heads`, `sweep_groups`, `sweep_edges`,
            `estimate_effects`, `head_table`, `circuit` or `study` returned, or a part of it.
        path: the path of both files, with or without .html or .json.

    Raises:
        ValueError: for any other object; if the model was edited during the measurement or has
            changed since; if an argument cannot be stored in a file, such as a function; for an
            invalid path.
    """
    report = described(finding)
    where = as_path(path)
    if where.suffix.lower() in (".html", ".json"):
        where = where.with_suffix("")
    page, file = (where.with_name(f"{where.name}{end}") for end in (".html", ".json"))
    text = json.dumps(report, ensure_ascii=False, allow_nan=False, indent=1)
    written = write_text(file, [text, "\n"], such_as="finding.json")
    return Report(
        write_text(page, page_of(finding, report, file.name), such_as="finding.html"), written
    )


def described(finding: Any) -> dict[str, Any]:
    """Return a report as plain JSON values.

    Raises:
        ValueError: as `report`.
    """
    from ...views.shared.exports import versions

    made: Provenance | None = getattr(finding, "provenance", None)
    if made is None or made.function not in kinds.FUNCTIONS:
        raise ValueError(
            f"finding={shown(finding)} does not record how it was made; give the result of "
            "tl.patching_grid, tl.sweep_heads, tl.head_table, tl.study or another measurement of tl"
        )
    if made.why_not:
        raise ValueError(f"this finding cannot be reported: {made.why_not}")
    if made.changed:
        raise ValueError(
            "the model's weights have changed since this was measured; measure it again"
        )
    arguments, steps = kinds.arguments_of(finding), kinds.steps_of(finding)
    model = _model(made)
    return {
        MARK: FORMAT,
        "function": made.function,
        "sentence": kinds.sentence_of(finding),
        "model": model,
        "texts": {name: arguments[name] for name in _TEXTS if name in arguments},
        "metric": kinds.metric_of(finding),
        "seeds": kinds.seeds_of(finding),
        "versions": versions(),
        "arguments": arguments,
        "steps": [list(step) for step in steps],
        "python": python(made.function, model, arguments, steps),
        "finding": kinds.numbers_of(finding),
    }


def python(function: str, model: dict[str, Any], arguments: dict[str, Any], steps: Any) -> str:
    """Python code that reproduces the finding."""
    loads = MODELS.get(model["as"] if model["as"] != "module" else "TextModel")
    source = model["loaded_from"]
    place = "FOLDER" if source is None else json.dumps(source, ensure_ascii=False)
    lines = ["import transformer_lab as tl", ""]
    if '"tensor"' in json.dumps(arguments):
        lines.insert(0, "import torch")
    if source is None:
        lines.append(
            "FOLDER = ...  # save the model and name its folder here: it was only in memory"
        )
    lines.append(f"model = {loads}({place}){'.model' if model['as'] == 'module' else ''}")
    lines.append(f"found = tl.{function}(")
    lines += [
        "    model,",
        *(f"    {name}={code(value)}," for name, value in arguments.items()),
        ")",
    ]
    lines += [kinds.step_code("found", step) for step in steps]
    return "\n".join(lines) + "\n"


def _model(made: Provenance) -> dict[str, Any]:
    model, module = made.model, made.module
    kind = type(model).__name__
    return {
        "name": getattr(model, "name", "") or type(module).__name__,
        "as": kind if kind in MODELS else "module",
        "class": type(module).__name__,
        "loaded_from": getattr(module, "loaded_from", None),
        "revision": revision_of(module),
        "weights": weights_sha256(module),
        "random_weights": list(getattr(module, "random_weights", ())),
    }

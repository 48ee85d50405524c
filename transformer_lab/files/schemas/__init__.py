"""JSON Schemas of the files that hold findings, KIND.json for each kind, and their check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...arguments import shown
from ..paths import FileError

FOLDER = Path(__file__).parent
SHARED = "common"  # the schema that the others refer to
LARGEST = 256 << 20  # bytes of a file
KINDS = tuple(sorted(file.stem for file in FOLDER.glob("*.json") if file.stem != SHARED))
_TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind of file, one of `KINDS`."""
    return json.loads((FOLDER / f"{kind}.json").read_text("utf-8"))


def check(data: Any, kind: str, name: str) -> None:
    """Check the contents of a file against the schema of its kind.

    Args:
        name: of the file, for the message.

    Raises:
        FileError: the message says what the schema requires, where, and what is there.
    """
    from jsonschema import Draft202012Validator, exceptions
    from referencing import Registry, Resource

    schemas = {f"{one}.json": Resource.from_contents(schema(one)) for one in (*KINDS, SHARED)}
    validator = Draft202012Validator(
        schemas[f"{kind}.json"].contents, registry=Registry().with_resources(schemas.items())
    )
    problem = exceptions.best_match(validator.iter_errors(data))
    if problem is not None:
        raise FileError(f"{name} is damaged: {_sentence(problem)}; copy it again")


def _sentence(problem: Any) -> str:
    where = "".join(f"[{n}]" if isinstance(n, int) else f".{n}" for n in problem.absolute_path)
    where = where.lstrip(".") or "it"
    rule, wanted, value = problem.validator, problem.validator_value, problem.instance
    if rule == "required":
        return f"{where} has no {shown(next(n for n in wanted if n not in value))}"
    if rule == "type":
        types = [wanted] if isinstance(wanted, str) else wanted
        must_be = " or ".join(_TYPES[one] for one in types)
    elif rule in ("const", "enum"):
        must_be = " or ".join(map(shown, wanted if rule == "enum" else [wanted]))
    else:
        must_be = f"as its schema says ({rule} {shown(wanted)})"
    return f"{where} must be {must_be}, got {shown(value)}"

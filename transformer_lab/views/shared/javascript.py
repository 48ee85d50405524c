"""The seam to the embedded JavaScript engine, in which Python runs the views' own modules."""

from __future__ import annotations

import base64
import json
import math
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .modules import module_expression

NEEDED = (
    "quickjs-ng runs the views' JavaScript in Python and cannot be imported ({why}); "
    "pip install quickjs-ng"
)
_TYPES = {"Float32Array": "<f4", "Float64Array": "<f8", "Int32Array": "<i4", "Uint8Array": "u1"}
# Arrays cross as {"$<type>": base64}, which is 70 times as fast as a list of decimals.
_CALL = """
(() => {
  const types = { Float32Array, Float64Array, Int32Array, Uint8Array };
  const known = new Map();
  const inside = (key, x) => {
    const type = x && typeof x === "object" && Object.keys(x)[0]?.slice(1);
    if (type === "module") return known.get(x.$module);
    if (type === "number") return Number(x.$number);
    if (!type || !types[type]) return x;
    return new types[type](Uint8Array.fromBase64(x[`$${type}`]).buffer);
  };
  const outside = (key, x) => {
    if (!ArrayBuffer.isView(x)) return x;
    const own = types[x.constructor.name] ? x : Float64Array.from(x);
    const bytes = new Uint8Array(own.buffer, own.byteOffset, own.byteLength);
    return { [`$${own.constructor.name}`]: bytes.toBase64() };
  };
  globalThis.load = (name, exports) => known.set(name, exports);
  globalThis.call = (name, called, given) =>
    JSON.stringify(known.get(name)[called](...JSON.parse(given, inside)) ?? null, outside);
})()
"""


class JavaScriptError(RuntimeError):
    """A view's JavaScript failed in Python."""


class NoJavaScript(ImportError):
    """The embedded engine cannot be imported."""


class _Here(threading.local):
    """The engine's context of this thread: one context belongs to one thread."""

    def __init__(self):
        try:
            import quickjs
        except ImportError as error:
            raise NoJavaScript(NEEDED.format(why=error)) from error
        self.context = quickjs.Context()
        self.context.set_max_stack_size(2**20)
        self.context.eval(_CALL)
        self.known: set[Path] = set()
        self.failure = quickjs.JSException


@cache
def _here() -> _Here:
    return _Here()


@cache
def _source(module: Path) -> str:
    return module_expression(module)


def call(module: Path, name: str, *given: Any) -> Any:
    """Call a function that a module exports.

    Args:
        given: JSON values, also NaN and infinities, and among them bytes, arrays, which become
            fp32, and paths of modules, which become what these export.

    Returns:
        What it returns: JSON values, with numpy arrays for typed arrays; None for undefined, and
        for NaN and infinities outside of arrays.

    Raises:
        NoJavaScript: if the engine cannot be imported; it names the package.
        JavaScriptError: if the function throws.
    """
    here = _here()
    try:
        for path in (module, *(one for one in given if isinstance(one, Path))):
            if path not in here.known:
                here.context.eval(f"load({json.dumps(str(path))}, {_source(path)})")
                here.known.add(path)
        text = _json(given)
        found = here.context.get("call")(str(module), name, text)  # pyright: ignore
    except here.failure as error:
        raise JavaScriptError(str(error).split("\n", 1)[0].removeprefix("Error: ")) from error
    return json.loads(found, object_hook=_decoded)


def in_words(words: Callable[[], str]) -> str:
    """What a page is sent in words; "" where the engine cannot be imported."""
    try:
        return words()
    except NoJavaScript:
        return ""


def _json(given: Any) -> str:
    try:
        return json.dumps(given, allow_nan=False, default=_encoded)
    except ValueError:  # numbers that JSON does not have
        return json.dumps(_finite(given), allow_nan=False, default=_encoded)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(x) for x in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"$number": {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")}
    return value


def _encoded(value: Any) -> Any:
    if isinstance(value, np.generic):
        return _finite(value.item())
    if isinstance(value, Path):
        return {"$module": str(value)}
    if isinstance(value, (bytes, bytearray, memoryview)):
        name, held = "Uint8Array", bytes(value)
    else:
        name, held = "Float32Array", np.ascontiguousarray(value, dtype="<f4").tobytes()
    return {f"${name}": base64.b64encode(held).decode("ascii")}


def _decoded(found: dict[str, Any]) -> Any:
    key = next(iter(found), "")
    if key[:1] != "$" or key[1:] not in _TYPES:
        return found
    return np.frombuffer(base64.b64decode(found[key]), _TYPES[key[1:]])

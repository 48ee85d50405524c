"""Read the tensors of an ONNX file, and which operation uses which, without running its graph.

ONNX is a protocol buffer, and contains no code. Only the fields with weights and the names of
operations are read, here rather than by the package onnx, which is a hundred times as large as the
part of it that is needed. Source: onnx.proto of ONNX 1.17.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .paths import FileError
from .safefiles import open_regular

MAX_TENSORS = 1 << 16
_FLOAT, _INT64 = 1, 7  # TensorProto.DataType
_TYPES = {_FLOAT: torch.float32, _INT64: torch.int64, 10: torch.float16, 11: torch.float64}
# Field numbers: of ModelProto; of GraphProto; of NodeProto; of TensorProto.
_GRAPH = 7
_NODE, _INITIALIZER = 1, 5
_INPUT, _OUTPUT, _OP_TYPE = 1, 2, 4
_DIMS, _DATA_TYPE, _FLOAT_DATA, _NAME, _RAW_DATA, _EXTERNAL = 1, 2, 4, 8, 9, 13


class Operation(NamedTuple):
    """One node of the graph: its kind, and the names of its inputs and outputs."""

    kind: str
    inputs: list[str]
    outputs: list[str]


def read_onnx(path: str | Path) -> tuple[dict[str, Tensor], list[Operation]]:
    """The weights of an ONNX file by name, and its operations in order.

    Raises:
        FileError: if the file is cut short, damaged or not ONNX, or its weights are in other files.
    """
    with open_regular(path) as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # empty
            raise FileError(f"{path} is empty") from None
    try:
        return _graph(memoryview(data))
    except (_Damaged, ValueError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is damaged or not an ONNX file: {error}") from None


class _Damaged(Exception):
    pass


def _graph(data: memoryview) -> tuple[dict[str, Tensor], list[Operation]]:
    tensors: dict[str, Tensor] = {}
    operations: list[Operation] = []
    for number, value in _fields(data):
        if number != _GRAPH:
            continue
        for inner, part in _fields(_bytes(value)):
            if inner == _INITIALIZER:
                name, tensor = _tensor(_bytes(part))
                if tensor is not None:
                    tensors[name] = tensor
            elif inner == _NODE:
                operations.append(_operation(_bytes(part)))
            if len(tensors) > MAX_TENSORS or len(operations) > MAX_TENSORS:
                raise _Damaged(f"it lists more than {MAX_TENSORS} parts")
    if not tensors:
        raise _Damaged("it has no weights")
    return tensors, operations


def _operation(data: memoryview) -> Operation:
    found: dict[int, list[str]] = {_INPUT: [], _OUTPUT: [], _OP_TYPE: []}
    for number, value in _fields(data):
        if number in found:
            found[number].append(_text(value))
    return Operation("".join(found[_OP_TYPE][:1]), found[_INPUT], found[_OUTPUT])


def _tensor(data: memoryview) -> tuple[str, Tensor | None]:
    """(name, a copy); None for a type that no weight has."""
    shape: list[int] = []
    name, kind, raw = "", 0, None
    for number, value in _fields(data):
        if number == _DIMS:
            shape += [value] if isinstance(value, int) else list(_numbers(value))
        elif number == _DATA_TYPE and isinstance(value, int):
            kind = value
        elif number == _NAME:
            name = _text(value)
        elif number == _RAW_DATA or (number == _FLOAT_DATA and not isinstance(value, int)):
            raw = _bytes(value)
        elif number == _EXTERNAL:
            raise _Damaged("its weights are in other files, which are not read")
    if kind not in _TYPES or raw is None:
        return name, None
    dtype, count = _TYPES[kind], math.prod(shape)
    if count * dtype.itemsize != len(raw) or any(n < 0 for n in shape):
        raise _Damaged(f"the tensor {name[:80]!r} has {len(raw)} bytes for the shape {shape}")
    if not count:
        return name, torch.empty(shape, dtype=dtype)
    return name, torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """(field number, value) of a message: a whole number, or bytes."""
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _number(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _number(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _Damaged(f"a field has the unknown type {wire}")
        if size > len(data) - at:
            raise _Damaged("it is truncated")
        yield number, data[at : at + size]
        at += size


def _number(data: memoryview, at: int) -> tuple[int, int]:
    """A base-128 number and where it ends."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _Damaged("it is truncated")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _numbers(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _number(data, at)
        yield value


def _bytes(value: Any) -> memoryview:
    if isinstance(value, int):
        raise _Damaged("a number was found where a part was expected")
    return value


def _text(value: Any) -> str:
    return bytes(_bytes(value)).decode("utf-8")

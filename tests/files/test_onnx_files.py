"""ONNX files: they are read as written, and damage is reported."""

import pytest
import torch
from torch.testing import assert_close

from transformer_lab.files.onnx_files import Operation, read_onnx
from transformer_lab.files.paths import FileError


def number(n):
    found = bytearray()
    while n > 127:
        found.append(n & 127 | 128)
        n >>= 7
    return bytes([*found, n])


def part(field, data):
    data = data.encode() if isinstance(data, str) else data
    return number(field << 3 | 2) + number(len(data)) + data


def whole(field, n):
    return number(field << 3) + number(n)


def tensor(name, value, kind=1, packed=False):
    dims = b"".join(map(number, value.shape))
    shape = part(1, dims) if packed else b"".join(whole(1, n) for n in value.shape)
    return shape + whole(2, kind) + part(8, name) + part(9, value.numpy().tobytes())


def node(kind, inputs, outputs):
    return (
        b"".join(part(1, n) for n in inputs) + b"".join(part(2, n) for n in outputs) + part(4, kind)
    )


def file(*graph):
    return whole(1, 8) + part(2, "a test") + part(7, b"".join(graph)) + part(8, whole(2, 17))


WEIGHT = torch.randn(3, 300)
GOOD = file(
    part(1, node("MatMul", ["x", "w"], ["y"])),
    part(5, tensor("w", WEIGHT)),
    part(5, tensor("n", torch.tensor([4, 5]), kind=7, packed=True)),
)


def test_weights_and_operations_are_read(tmp_path):
    (tmp_path / "a.onnx").write_bytes(GOOD)
    tensors, operations = read_onnx(tmp_path / "a.onnx")
    assert_close(tensors["w"], WEIGHT, rtol=0, atol=0)
    assert tensors["n"].tolist() == [4, 5]
    assert operations == [Operation("MatMul", ["x", "w"], ["y"])]


BAD = {
    "empty": (b"", "is empty"),
    "cut short": (GOOD[:-600], "truncated"),
    "text": (b"\x0b\x0c not at all", "not an ONNX file"),
    "nothing": (file(), "has no weights"),
    "a lie about its shape": (
        file(part(5, whole(1, 7) + tensor("w", WEIGHT))),
        "bytes for the shape",
    ),
    "huge": (file(part(5, whole(1, 1 << 62) + tensor("w", WEIGHT))), "bytes for the shape"),
    "elsewhere": (file(part(5, tensor("w", WEIGHT) + part(13, b"x"))), "are in other files"),
    "endless number": (b"\x80" * 99, "truncated"),
}


@pytest.mark.badinput
@pytest.mark.parametrize("what", BAD)
def test_a_damaged_file_is_told_in_one_sentence(what, tmp_path):
    data, said = BAD[what]
    (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(FileError, match=said) as caught:
        read_onnx(tmp_path / "a.onnx")
    assert len(str(caught.value)) < 200 + len(str(tmp_path))

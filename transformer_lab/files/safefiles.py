"""Files that are whole or not there, and tensors that are checked before they are believed."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

MAX_HEADER = 1 << 20  # bytes; a million empty tensors in 63 MiB took the library eleven minutes
MAX_TENSORS = 8192
MAX_JSON = 4 << 20

_SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1,
    "BOOL": 1,
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,511}")
_PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"}
_TEMPORARY = re.compile(r"\.(.+)\.(writing|removed)-(\d+)")


class CheckpointError(ValueError):
    """A file that is not a checkpoint of ours, is damaged, or does not fit the model."""


class DiskFullError(OSError):
    """Nothing more can be written; what was there before is untouched."""


# ---------------------------------------------------------------- writing


@contextmanager
def committed(path: str | Path) -> Iterator[Path]:
    """Write a file as a whole: the block writes to the temporary path that it is given, which
    then takes the place of `path` in one step. An error or a kill leaves the old file.

    Raises:
        DiskFullError: when the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        with disk_errors(path):
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def committed_folder(path: Path) -> Iterator[Path]:
    """The same for a folder of files. A folder that is already there gives way."""
    temporary = path.with_name(f".{path.name}.writing-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with disk_errors(path):
            temporary.mkdir(parents=True)
            yield temporary
            for file in temporary.iterdir():
                sync(file)
            sync(temporary)
            if path.exists():
                remove_folder(path)
            os.rename(temporary, path)
            sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder so that a half-removed one is never taken for a whole one."""
    doomed = path.with_name(f".{path.name}.removed-{os.getpid()}")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def clean(folder: Path, *, ours: bool = False) -> list[str]:
    """Remove what writers that are gone left half-written; returns their names.

    With `ours`, the caller holds the folder's lock, so that no other writer can be alive."""
    gone = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _TEMPORARY.fullmatch(path.name)
        if match and (ours or not _alive(int(match[3]))):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            gone.append(path.name)
    return gone


def sync(path: Path) -> None:
    """Ask the system to put a file, or a folder's list of names, on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """A full disk, however it is reported, as a `DiskFullError` that names the path."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        code = getattr(error, "errno", None)
        # safetensors reports it as text only.
        if code in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            raise DiskFullError(
                errno.ENOSPC,
                "the disk is full; what was written before is kept. Make room and resume",
                str(path),
            ) from error
        raise


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", "utf-8")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """A safetensors file, readable by whoever the umask lets read. Equal contents give equal
    bytes as long as there is one entry of metadata (the library shuffles several)."""
    from safetensors.torch import save_file

    path.write_bytes(b"")
    mode = stat.S_IMODE(path.stat().st_mode)  # safetensors would leave 0600
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(whole, path, metadata or None)
    os.chmod(path, mode)


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# ---------------------------------------------------------------- reading


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of at most 4 MiB.

    Raises:
        CheckpointError: for anything else, naming the file.
    """
    _regular(path)
    if path.stat().st_size > MAX_JSON:
        raise CheckpointError(f"{path} is larger than {MAX_JSON >> 20} MiB; it is no file of ours")
    try:
        value = json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return value


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file, after its header has been checked.

    Raises:
        CheckpointError: for a pickle, a damaged file, or one that lies about its contents.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    _, metadata = read_header(path)
    try:
        # Copies: the library maps the file, and a mapped file that somebody cuts short is a crash.
        return {name: tensor.clone() for name, tensor in load_file(path).items()}, metadata
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None


def read_header(path: Path) -> tuple[dict[str, tuple[str, list[int]]], dict[str, str]]:
    """Name -> (type, shape) of a safetensors file, and its metadata, reading no tensor.

    Names, types, sizes and places are checked, and the header's length and the number of tensors
    are bounded before anything is parsed.

    Raises:
        CheckpointError: see `read_tensors`.
    """
    if path.suffix.lower() in _PICKLES:
        raise CheckpointError(
            f"{path} is a PyTorch pickle, which can run code when it is read; only safetensors "
            "files are loaded. Convert it where you trust it"
        )
    _regular(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
            raise CheckpointError(
                f"{path} is a PyTorch pickle in spite of its name; it can run code when it is "
                "read. Only safetensors files are loaded"
            )
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > size - 8:
            raise CheckpointError(f"{path} is cut short or no safetensors file ({size} bytes)")
        if length > MAX_HEADER:
            raise CheckpointError(
                f"{path} has a header of {length:,} bytes; at most {MAX_HEADER:,} are read"
            )
        raw = file.read(length)
    if raw.count(b"{") > MAX_TENSORS + 2:
        raise CheckpointError(f"{path} lists more than {MAX_TENSORS} tensors")
    try:
        header = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has an unreadable header: {error}") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} has an unreadable header: no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{path} has metadata that are not text")
    _check_places(path, header, size - 8 - length)
    return {name: (entry["dtype"], entry["shape"]) for name, entry in header.items()}, metadata


def _check_places(path: Path, header: dict[str, Any], data: int) -> None:
    """Every tensor has a decent name and a known type, and they fill the data without overlap."""
    places = []
    for name, entry in header.items():
        if not _NAME.fullmatch(name) or ".." in name:
            raise CheckpointError(f"{path} has a tensor with the unfit name {name[:80]!r}")
        try:
            dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
            fits = (
                len(shape) <= 8
                and all(type(n) is int and 0 <= n < 2**48 for n in [*shape, begin, end])
                and begin + math.prod(shape) * _SIZES[dtype] == end
            )
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            raise CheckpointError(f"{path} is damaged: tensor {name!r} has no valid entry")
        places.append((begin, end, name))
    position = 0
    for begin, end, name in sorted(places):
        if begin != position:
            raise CheckpointError(f"{path} is damaged: tensor {name!r} is not where it should be")
        position = end
    if position != data:
        raise CheckpointError(
            f"{path} is damaged: its tensors take {position:,} bytes but it holds {data:,}"
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key is given twice")
    return out


def _regular(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):  # reading a pipe would wait for ever
        raise CheckpointError(f"{path} is not a regular file")


def _alive(pid: int) -> bool:
    """Whether a process of that number runs here; where that cannot be asked, yes."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except OSError:
        return True
    return True

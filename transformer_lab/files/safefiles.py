"""Files written whole or not at all, and contents checked before they are trusted.

The only place that opens, reads and replaces files for the rest of the package. Reading accepts
regular files only (a pipe or a device is refused, never waited for) and follows links, which
Hugging Face's caches consist of; writing follows none.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .paths import FileError, OneLine, as_path

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER = 1 << 20  # bytes; a million empty tensors in 63 MiB took the library eleven minutes
MAX_TENSORS = 8192
MAX_JSON = 4 << 20

_SIZES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,511}")
_PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"}
_TEMPORARY = re.compile(r"\.(.+)\.(writing|removed)-(\d+)(?:-\d+)?")
_FULL = {
    errno.ENOSPC: ("the disk is full", "Free some space"),
    errno.EDQUOT: ("the disk quota is used up", "Free some space"),
    errno.EFBIG: ("the system does not allow files this large", "Raise the limit (ulimit -f)"),
}
_count = itertools.count()

Problem = Callable[[str], Exception]  # makes the error to raise from one sentence


class DiskFullError(OSError):
    """The disk is full or a limit of it is reached; what was there before is untouched."""


class NotReplacedError(OneLine, FileExistsError):
    """What is at a path is not ours to overwrite; it is untouched."""


# ---------------------------------------------------------------- writing


@contextmanager
def committed(path: str | Path) -> Iterator[Path]:
    """Write a file whole or not at all: the block writes to the temporary path that it gets, which
    then replaces `path` in one step. An error or a kill leaves the old file.

    Raises:
        NotReplacedError: if `path` is a link, a pipe, a device or a folder.
        DiskFullError: if the disk is full.
    """
    path = as_path(path)
    check_replaceable(path)
    with _workshop(path) as folder:
        temporary = folder / path.name
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)


@contextmanager
def committed_folder(path: Path) -> Iterator[Path]:
    """As `committed`, for a folder of files. An existing folder is replaced."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise NotReplacedError(
            f"{path} is {kind_of(path)}, but a folder is to be written there; remove or rename it"
        )
    with _workshop(path) as folder:
        temporary = folder / path.name
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            sync(file)
        sync(temporary)
        if path.exists():
            remove_folder(path)
        os.rename(temporary, path)
        sync(path.parent)


@contextmanager
def _workshop(path: Path) -> Iterator[Path]:
    """A folder beside `path` for unfinished files, including temporary files of libraries
    (safetensors makes one). Those that a dead process left are removed first."""
    with disk_errors(path):
        clean(path.parent, name=path.name)
        folder = _hidden(path, "writing")
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _hidden(path: Path, what: str) -> Path:
    """A hidden name with this process's id; what a dead one of that id left there is removed."""
    hidden = path.with_name(f".{path.name[:48]}.{what}-{os.getpid()}-{next(_count)}")
    shutil.rmtree(hidden, ignore_errors=True)
    return hidden


def check_replaceable(path: Path) -> None:
    """Check that `path` may be written to.

    Raises:
        NotReplacedError: unless `path` is a regular file or nothing; no link is followed.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except (NotADirectoryError, ValueError) as error:
        raise NotReplacedError(f"{str(path)!r} cannot be written: {error}") from None
    if not stat.S_ISREG(mode):
        raise NotReplacedError(
            f"{path} is {kind_of(path)}, which is not overwritten; name another file, or remove "
            "it first"
        )


def kind_of(path: Path) -> str:
    """What is at a path, in words, without following a link."""
    mode = os.lstat(path).st_mode
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "a file")


def open_without_link(path: Path, flags: int) -> int:
    """Open a regular file of ours for writing, and return its handle; created if missing.

    Raises:
        NotReplacedError: for a link, a pipe, a device or a folder.
    """
    check_replaceable(path)
    more = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
    for name in more:
        flags |= getattr(os, name, 0)
    return os.open(path, flags | os.O_CREAT, 0o666)


def remove_folder(path: Path) -> None:
    """Remove a folder so that a half-removed one is never taken for a whole one."""
    doomed = _hidden(path, "removed")
    os.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def clean(folder: Path, *, ours: bool = False, name: str = "") -> list[str]:
    """Remove what dead writers left half-written; return the names.

    Args:
        ours: the caller holds the folder's lock, so that no other writer can be alive.
        name: only the remains of a file of this name; "" for any.
    """
    gone = []
    begins = f".{name[:48]}"
    with os.scandir(folder) if folder.is_dir() else _nothing() as entries:
        for entry in entries:
            match = _TEMPORARY.fullmatch(entry.name) if entry.name.startswith(begins) else None
            if match is None or (name and match[1] != name[:48]):
                continue
            if ours or not _alive(int(match[3])):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)
                gone.append(entry.name)
    return gone


@contextmanager
def _nothing() -> Iterator[tuple[()]]:
    yield ()


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise a full disk, however it is reported, as a `DiskFullError` that names the path."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        for code, (what, remedy) in _FULL.items():
            # safetensors reports it as text only.
            if getattr(error, "errno", None) == code or os.strerror(code) in str(error):
                text = f"{what}; everything written before is kept. {remedy} and resume"
                raise DiskFullError(code, text, str(path)) from error
        raise


def write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, allow_nan=False)
    path.write_text(text + "\n", "utf-8", newline="\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file with the umask's permissions. Equal contents give equal bytes as
    long as there is one entry of metadata (the library shuffles several)."""
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


def open_regular(path: str | Path, *, error: Problem = FileError) -> BinaryIO:
    """Open a regular file for reading; what would block (a pipe) or has no end (a device) is
    refused.

    Raises:
        error: if it is not a regular file or cannot be read; the message names the path.
    """
    path, flags = as_path(path), os.O_RDONLY
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        mode = os.stat(path).st_mode
        # Checked before opening too: opening some devices has an effect.
        handle = os.open(path, flags) if stat.S_ISREG(mode) else -1
    except (OSError, ValueError) as problem:
        raise error(f"{path} cannot be read: {getattr(problem, 'strerror', problem)}") from None
    if handle < 0:
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise error(f"{path} is {what}; name a file")
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise error(f"{path} is not a regular file; name a file")
    return os.fdopen(handle, "rb")


def read_bytes(path: str | Path, *, limit: int, error: Problem = FileError) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        error: for a larger file, without reading it, and see `open_regular`.
    """
    with open_regular(path, error=error) as file:
        if os.fstat(file.fileno()).st_size <= limit:
            data = file.read(limit + 1)
            if len(data) <= limit:
                return data
    raise error(f"{path} is larger than {limit / 2**20:.3g} MiB, so it cannot be the right file")


def read_json(
    path: str | Path, *, limit: int = MAX_JSON, error: Problem = FileError
) -> dict[str, Any]:
    """Read a JSON object of at most `limit` bytes.

    Raises:
        error: for anything else; the message names the file. See `parse_json`.
    """
    return parse_json(read_bytes(path, limit=limit, error=error), str(path), error=error)


def parse_json(data: bytes | str, name: str, *, error: Problem = FileError) -> dict[str, Any]:
    """Parse a JSON object; `name` says where the text is from, for the message.

    Raises:
        error: if the text is not JSON or not an object, nests too deeply, gives a key twice, or
            holds NaN, Infinity or a number of hundreds of digits.
    """
    try:
        value = json.loads(
            data,
            object_pairs_hook=_unique,
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_whole,
        )
    except RecursionError:
        raise error(f"{name} is not readable JSON: it is nested too deeply") from None
    except ValueError as problem:
        raise error(f"{name} is not readable JSON: {problem}") from None
    if not isinstance(value, dict):
        raise error(f"{name} is not a JSON object")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


def _whole(text: str) -> int:
    if len(text) > 300:  # Python before 3.11 spends seconds on such a number
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a safetensors file, after checking its header.

    Raises:
        FileError: for a pickle, a damaged file, or one that lies about its contents.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = as_path(path)
    _, metadata = read_header(path)
    try:
        # Copies: the library maps the file, and truncating a mapped file is a crash.
        return {name: tensor.clone() for name, tensor in load_file(path).items()}, metadata
    except (SafetensorError, OSError) as error:
        raise FileError(f"{path} is damaged: {error}") from None


def read_header(path: Path) -> tuple[dict[str, tuple[str, list[int]]], dict[str, str]]:
    """Name -> (type, shape) of a safetensors file, and its metadata, reading no tensor.

    Names, types, sizes and offsets are checked, and the header's length and the number of tensors
    are bounded before anything is parsed.

    Raises:
        FileError: see `read_tensors`.
    """
    if path.suffix.lower() in _PICKLES:
        raise FileError(
            f"{path} is a PyTorch pickle, which can run code when it is read; only safetensors "
            "files are loaded. If you trust it, convert it to safetensors"
        )
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        start, after = file.read(8), file.read(1)
        length = int.from_bytes(start, "little")
        # A header's length may begin as a pickle does, so only what is not a safetensors file is
        # called one.
        if after != b"{" and (start[:4] == b"PK\x03\x04" or start[:1] == b"\x80"):
            raise FileError(
                f"{path} is a PyTorch pickle despite its name, and can run code when it is "
                "read. Only safetensors files are loaded"
            )
        if len(start) < 8 or length > size - 8:
            raise FileError(f"{path} is truncated or not a safetensors file ({size} bytes)")
        if length > MAX_HEADER:
            raise FileError(
                f"{path} has a header of {length:,} bytes; at most {MAX_HEADER:,} can be read"
            )
        raw = (after + file.read(length - 1)) if length else b""
    if raw.count(b"{") > MAX_TENSORS + 2:
        raise FileError(f"{path} lists more than {MAX_TENSORS} tensors")
    header = parse_json(
        raw, "it", error=lambda why: FileError(f"{path} has an unreadable header: {why}")
    )
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FileError(f"{path} has metadata that is not text")
    _check_places(path, header, size - 8 - length)
    return {name: (entry["dtype"], entry["shape"]) for name, entry in header.items()}, metadata


def _check_places(path: Path, header: dict[str, Any], data: int) -> None:
    """Check that tensors have valid names and known types, and fill the data without overlap."""
    places = []
    for name, entry in header.items():
        if not _NAME.fullmatch(name) or ".." in name:
            raise FileError(f"{path} has a tensor with the invalid name {name[:80]!r}")
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
            raise FileError(f"{path} is damaged: tensor {name!r} has no valid entry")
        places.append((begin, end, name))
    position = 0
    for begin, end, name in sorted(places):
        if begin != position:
            raise FileError(f"{path} is damaged: tensor {name!r} is at a wrong offset")
        position = end
    if position != data:
        raise FileError(
            f"{path} is damaged: its tensors take {position:,} bytes, but it has {data:,}"
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key occurs twice")
    return out


def _alive(pid: int) -> bool:
    """Whether a process with that id runs here; true if that cannot be determined."""
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

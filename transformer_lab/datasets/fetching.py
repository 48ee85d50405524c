"""Files that are fetched on first use, checked by sha256, and cached."""

from __future__ import annotations

from pathlib import Path

from ..files.paths import FileError, as_path
from ..files.resources import cache_folder
from ..files.safefiles import sha256 as hashed


def fetch(
    url: str,
    sha256: str | None,
    *,
    name: str,
    path: str | Path | None = None,
    way_out: str = "path= with your copy",
) -> Path:
    """Return the file at a URL: from `path` if given, else from the cache, else downloaded.

    Args:
        url: where it is published.
        sha256: what it must hash to. None: not published, so the hash of the first file seen in
            the cache is recorded beside it (``<name>.sha256``) and required from then on.
        name: file name in the cache.
        path: a copy that is on this machine already; checked against `sha256` if known.
        way_out: the argument of the dataset that takes a copy, for the message.

    Raises:
        FileError: the file is not here and cannot be downloaded (the message says which file to
            put where), or it is here and is not the file that was published.
    """
    if path is not None:
        return _verified(as_path(path), sha256, url)
    target = cache_folder() / name
    sidecar = target.with_name(f"{name}.sha256")
    if sha256 is None and sidecar.is_file():
        sha256 = sidecar.read_text(encoding="ascii").strip()
    if not target.is_file():
        _download(url, sha256, target, way_out)
    _verified(target, sha256, url)
    if not sidecar.is_file():
        sidecar.write_text(hashed(target) + "\n", encoding="ascii")
    return target


def _download(url: str, sha256: str | None, target: Path, way_out: str) -> None:
    import pooch

    try:
        pooch.retrieve(
            url,
            known_hash=sha256 and f"sha256:{sha256}",
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(timeout=30),  # pyright: ignore[reportArgumentType]
        )
    except OSError as error:  # requests' errors are OSErrors, as is a full or read-only disk
        raise FileError.at(
            target,
            f"is missing, and {url} could not be downloaded ({type(error).__name__}); download "
            f"it on a machine with a network and copy it to this path, or pass {way_out}",
        ) from error
    except ValueError as error:  # pooch found another sha256, and kept nothing
        raise FileError.at(
            target, f"{url} no longer serves the file with sha256 {sha256}; pass {way_out}"
        ) from error


def _verified(path: Path, sha256: str | None, url: str) -> Path:
    if not path.is_file():
        raise FileError.at(path, f"no such file; download {url} and save it there")
    if sha256 is not None and (found := hashed(path)) != sha256:
        raise FileError.at(
            path,
            f"has sha256 {found}, not {sha256}: it is not the file at {url}, or is "
            "damaged; delete it to download it again",
        )
    return path

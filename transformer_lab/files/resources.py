"""Where files are: those of the package, those of a learner, and downloaded ones.

Nothing here needs torch."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def resource(*parts: str) -> Path:
    """A file or folder of the repository, e.g. resource("data", "models", "shipped").

    Raises:
        FileNotFoundError: if it is missing; the message says where it was searched for.
    """
    top, *rest = parts
    places = [_PACKAGE.parent.joinpath(*parts), _PACKAGE.joinpath(f"_{top}", *rest)]
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(
        f"{'/'.join(parts)} is missing from {places[0]} and {places[1]}. Is the clone complete? "
        "`git checkout -- data notebooks` restores the files."
    )


def runs_folder() -> Path:
    """Where a notebook may write: $TRANSFORMER_LAB_RUNS, the checkout's runs/, or ./runs."""
    chosen = os.environ.get("TRANSFORMER_LAB_RUNS")
    if chosen:
        return Path(chosen)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "transformer_lab" / "lessons").is_dir() and (folder / "notebooks").is_dir():
            return folder / "runs"
    return here / "runs"


def cache_folder() -> Path:
    """Where downloaded files are kept: ``$TRANSFORMER_LAB_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("TRANSFORMER_LAB_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("transformer-lab"))

"""Where the files that come with the package are: in the clone, or in the installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource(*parts: str) -> Path:
    """A file or folder of the repository, e.g. resource("data", "models", "manual").

    Raises:
        FileNotFoundError: saying where it was looked for.
    """
    top, *rest = parts
    places = [_PACKAGE.parent.joinpath(*parts), _PACKAGE.joinpath(f"_{top}", *rest)]
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(
        f"{'/'.join(parts)} is not there; looked in {places[0]} and {places[1]}. Is the clone "
        "complete? `git checkout -- data notebooks` brings the files back."
    )

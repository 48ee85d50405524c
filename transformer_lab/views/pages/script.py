"""plotly's script from the installed package. Nothing here imports plotly."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def plotly_script() -> bytes:
    """plotly.min.js of the installed plotly, gzipped.

    Raises:
        ValueError: if plotly is not installed, or has no script.
    """
    spec = find_spec("plotly")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / "package_data" / "plotly.min.js"
        if file.is_file():
            return gzip.compress(file.read_bytes(), 9, mtime=0)
    raise ValueError("plotly’s script is not installed; pip install plotly brings it")

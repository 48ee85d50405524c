"""What the frames of one page share, stored in that page once.

Imports neither torch nor ipywidgets, like `export`.
"""

from __future__ import annotations

import hashlib
import re

MODEL, ENGINE = "model", "engine"  # names of blocks, for views/engine/client.js
SHARED = "shared-"  # before a checksum: the name by which a frame requests it from its page
_TRAVELS = re.compile(
    rf'(<template data-block="(?:{ENGINE}|{MODEL})" data-info="[^"]*"(?: data-gzip=1)? data-sum="\d+")>([A-Za-z0-9+/=]+)<'
)


class Commons:
    """What the frames of one page share: models, by checksum, and the engine that runs them."""

    def __init__(self):
        self._there: set[str] = set()

    def take(self, text: str) -> tuple[str, str]:
        """Take the shared parts out of a frame's page.

        Returns that page, which requests them from the page around it, and the elements that the
        page around it does not have yet.
        """
        found: list[str] = []

        def hollow(match: re.Match[str]) -> str:
            name = SHARED + hashlib.sha256(match[2].encode("ascii")).hexdigest()[:32]
            if name not in self._there:
                self._there.add(name)
                found.append(f'<script type="text/plain" id="tl-{name}">{match[2]}</script>')
            return f'{match[1]} data-around="{name}"><'

        return _TRAVELS.sub(hollow, text), "".join(found)

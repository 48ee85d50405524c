"""Find the sentences and paragraphs of a text from its tokens as they are shown."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

Span = tuple[int, int]

SPACES = " \u00b7\u0120\u2581"  # a space, as views show it, and as two kinds of vocabulary write it
BREAKS = "\n\u21b5\u010a"
ENDS = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019\u00bb)\]]*$")


def sentences(tokens: Sequence[str]) -> list[Span]:
    """Return (start, end), as in slices, of each sentence; together they cover every token.

    A sentence ends at a full stop (or ! or ?) before a space, a line break or the end of the text,
    and at a line break. If no token holds a space (words alone), it ends at any full stop that no
    digit or closing quote follows.
    """
    spaced = any(token[:1] in SPACES for token in tokens if token)

    def ends(at: int) -> bool:
        token, following = tokens[at], tokens[at + 1 : at + 2]
        if _breaks(token):
            return not (following and _breaks(following[0]))  # empty lines belong to what is above
        if not ENDS.search(token.strip(SPACES)) or not following or not following[0]:
            return False
        first = following[0][0]
        if first in SPACES:
            return True
        # A break that follows belongs to this sentence, and ends it.
        return not spaced and not first.isdigit() and first not in BREAKS and not _closes(first)

    return _spans(len(tokens), ends)


def paragraphs(tokens: Sequence[str]) -> list[Span]:
    """Return the same of each paragraph: an empty line ends it; in a text without any, every line
    break.
    """
    joined = [sum(token.count(b) for b in BREAKS) for token in tokens]

    def empty(at: int) -> bool:
        return joined[at] > 1 or (joined[at] == 1 and at > 0 and joined[at - 1] >= 1)

    lines = any(map(empty, range(len(tokens))))

    def ends(at: int) -> bool:
        more = at + 1 < len(tokens) and _breaks(tokens[at + 1])
        return (empty(at) if lines else joined[at] > 0) and not more

    return _spans(len(tokens), ends)


def _breaks(token: str) -> bool:
    """Whether a token ends a line."""
    return token.rstrip(SPACES).endswith(tuple(BREAKS))


def _closes(first: str) -> bool:
    return first in "\"'\u201d\u2019\u00bb)]"


def _spans(count: int, ends: Callable[[int], bool]) -> list[Span]:
    edges = [0, *(at + 1 for at in range(count - 1) if ends(at)), count]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]

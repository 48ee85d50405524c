"""Why a head looks at a key, in words and numbers. The counterpart of why/words.js."""

from __future__ import annotations

from dataclasses import dataclass

from ..shared.messages import fixed, quoted, short


@dataclass(frozen=True)
class Why:
    """What a sentence is made from. `mean` is the mean score of the row before biases; `key_part`
    and `query_part` are the largest part of each side, (name, value), where sources are known;
    `dimension` the largest product, (dimension, value)."""

    name: str
    query: str
    key: str
    weight: float
    scaled: float
    score: float | None  # None: the query may not look at the key
    mean: float | None
    above: bool
    dimension: tuple[int, float]
    key_part: tuple[str, float] | None
    query_part: tuple[str, float] | None


def signed(x: float, decimals: int = 2) -> str:
    return f"{'−' if x < 0 else '+'}{fixed(abs(x), decimals)}"


def plain(x: float, decimals: int = 2) -> str:
    return f"{'−' if x < 0 else ''}{fixed(abs(x), decimals)}"


def why_sentence(why: Why) -> str:
    start = f"{why.name}: {quoted(why.query)}"
    if why.score is None:
        return (
            f"{start} may not look at {quoted(why.key)}: their score, {plain(why.scaled)}, "
            "counts for nothing."
        )
    text = f"{start} gives {short(why.weight)} of its weight to {quoted(why.key)}. "
    text += f"Their score is {plain(why.score)}"
    if why.mean is not None:
        apart = why.scaled - why.mean
        side = "below" if apart < 0 else "above"
        text += f" (before any bias {fixed(abs(apart))} {side} the row’s mean)"
    return f"{text}. {_largest(why)}"


def _largest(why: Why) -> str:
    of = "that difference" if why.above else "it"
    if why.key_part is None or why.query_part is None:
        dimension, value = why.dimension
        return f"Dimension {dimension} gives {signed(value)} of {of}, the most of all."
    (key, key_value), (query, query_value) = why.key_part, why.query_part
    return (
        f"On the key’s side {key} gives {signed(key_value)} of {of}; "
        f"on the query’s side {query} gives {signed(query_value)}."
    )

"""How a logit comes together, in words and numbers. The counterpart of flow/words.js."""

from __future__ import annotations

from dataclasses import dataclass

from ..shared.messages import fixed, quoted, short
from ..shared.words import moved


@dataclass(frozen=True)
class FlowSaid:
    """What a sentence is made from: `best` is the edge that carries most, (layer, head, key, query,
    value); `rest` what the edges that are not shown bring together; `answer` the likeliest token now."""

    token: str
    against: str | None
    at: str
    position: int
    logit: float
    best: tuple[int, int, int, int, float] | None
    best_names: tuple[str, str]
    shown: int
    n: int
    rest: float
    cuts: int
    before: float
    after: float
    answer: tuple[str, float]


def with_sign(x: float) -> str:
    told = fixed(abs(x))
    return f"{'−' if x < 0 and float(told) else '+'}{told}"


def flow_sentence(said: FlowSaid) -> str:
    above = "" if said.against is None else f" above {quoted(said.against)}"
    what = f"{quoted(said.token)}{above} after {quoted(said.at)} ({said.position})"
    if said.best is None:
        text = f"{what}: no head carries anything toward its logit."
    else:
        layer, head, key, query, value = said.best
        source, target = said.best_names
        way = (
            f"at {quoted(source)} ({key}) itself"
            if key == query
            else f"from {quoted(source)} ({key}) to {quoted(target)} ({query})"
        )
        text = (
            f"{what}: of what heads carry toward its logit ({with_sign(said.logit)}), layer {layer}, head "
            f"{head} brings most, {with_sign(value)} {way}. {said.shown} of {said.n} edges are shown; the "
            f"others together bring {with_sign(said.rest)}."
        )
    if not said.cuts:
        return text
    name, probability = said.answer
    now = "" if name == said.token else f"; now {quoted(name)} is likeliest ({short(probability)})"
    return (
        f"With {said.cuts} edge{'s' * (said.cuts > 1)} cut, P({quoted(said.token)}) "
        f"{moved(short(said.before), short(said.after))}{now}. {text}"
    )

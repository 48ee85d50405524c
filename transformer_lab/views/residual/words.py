"""What a residual view shows, in words and numbers. The counterpart of residual/words.js."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...circuits import BlockShare
from ..shared.words import fixed, quoted, short


@dataclass(frozen=True)
class Answer:
    """What the logit lens says of one token: the model's answer there, how likely it is in the end,
    and the first row from which on it is the likeliest."""

    token: str
    probability: float
    settled: int
    here: bool  # whether the model says what stands at the token rather than what comes next


def size(x: float) -> str:
    """A length to about three digits."""
    if x >= 100 or x == 0:
        return fixed(x, 0)
    return fixed(x, 1 if x >= 10 else 2)


def cosine(x: float) -> str:
    text = fixed(abs(x))
    text = text[1:] if text.startswith("0.") else text
    return f"{'−' if x < 0 else '+'}{text}"


def place(part: str, layer: int) -> str:
    """ "layer 2’s MLP"; of a model whose blocks are known whole, "the block of layer 2"."""
    return f"the block of layer {layer}" if part == "block" else f"layer {layer}’s {part}"


def residual_sentence(
    name: str,
    tokens: Sequence[str],
    norms: Tensor,
    shares: BlockShare | None,
    token: int | None,
    answer: Answer | None = None,
) -> str:
    """norms [layer + 1, position]; `token` is what is chosen, or None for the typical token."""
    of_one = (lambda x: x[..., token]) if token is not None else _median
    layers = len(norms) - 1
    first, last = float(of_one(norms)[0]), float(of_one(norms)[-1])
    who = "A typical token" if token is None else f"{quoted(tokens[token])} ({token})"
    text = f"{who}: the stream’s length goes from {size(first)} to {size(last)} over {layers} "
    text += "layer" if layers == 1 else "layers"
    text += " (medians)" if token is None else ""
    if shares is not None:
        share = of_one(shares.share)
        part, layer = divmod(int(share.argmax()), layers)
        text += (
            f"; most is added by {place(shares.parts[part], layer)}, "
            f"{size(float(share[part, layer]))} times as long as the stream"
        )
        text += f", cosine {cosine(float(of_one(shares.cosine)[part, layer]))}"
    text = f"{name}{text}."
    return text if answer is None else f"{text} {answer_sentence(answer, layers)}"


def answer_sentence(answer: Answer, layers: int) -> str:
    what = "here" if answer.here else "next"
    start = f"The model’s answer {what} is {quoted(answer.token)} ({short(answer.probability)})"
    if answer.settled > layers:
        return f"{start}."
    if answer.settled == layers:
        return f"{start}, the likeliest only after the last layer."
    where = "the start" if answer.settled == 0 else f"layer {answer.settled - 1}"
    return f"{start}, the likeliest from {where} on."


def _median(x: Tensor) -> Tensor:
    """Over the last axis; of an even number, the lower of the two in the middle."""
    return torch.median(x, dim=-1).values

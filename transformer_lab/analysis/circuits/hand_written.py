"""An induction circuit with hand-written weights, each of which has a reason.

It is the smallest model with a known right answer on which measures can be tested, and it shows how
two layers of attention copy: [A][B] … [A] → [B].
"""

from __future__ import annotations

from typing import Any

from ...adapters.interrupts import no_grad
from ...config import ModelConfig
from ...model import Transformer
from ...positions import Learned

THROUGH = ("keys", "values")


@no_grad()
def induction_by_hand(
    vocab_size: int = 48,
    n_ctx: int = 96,
    *,
    through: str = "keys",
    n_layers: int = 2,
    sharpness: float = 30.0,
) -> Transformer:
    """Return an attention-only decoder, two heads per layer, that continues what it has seen
    before.

    The stream has dimensions for each fact, one-hot: the token, its position, the token before and
    the token before that one. The last two are empty until layer 0 fills them.

    through="keys" is the usual circuit. Head (0, 0) attends one token back and records that token.
        Both heads of layer 1 attend to positions whose "token before" is their own token, that is,
        just after an earlier occurrence, and write the token there into the prediction. Either is
        enough: switch one off and nothing changes.
    through="values" needs two hops. Head (0, 1) attends two tokens back. Layer 1 attends to
        positions whose "token before that" is its own, one too far, and copies their "token
        before". No head attends to the token that is predicted.

    Args:
        n_layers: 1 leaves out the layer that copies; one layer cannot do it.
        sharpness: score of a match over that of any other key; attention is then nearly one-hot.

    Raises:
        ValueError: for another `through`, or other than one or two layers.
    """
    if through not in THROUGH:
        raise ValueError(f"through must be one of {', '.join(THROUGH)}, got {through!r}")
    if n_layers not in (1, 2):
        raise ValueError(f"n_layers must be 1 or 2, got {n_layers}; the circuit has two layers")
    width, d_head = 3 * vocab_size + n_ctx, max(vocab_size, n_ctx) + 1
    config = ModelConfig(
        vocab_size=vocab_size,
        n_layers=n_layers,
        n_heads=2,
        d_model=width,
        d_head=d_head,
        n_ctx=n_ctx,
        positions=Learned(),
        norm="rms",
        norm_affine=False,
        bias=False,
        attention_only=True,
    )
    model: Any = Transformer(config).eval()
    for parameter in model.parameters():
        parameter.zero_()
    token = range(vocab_size)
    place = range(vocab_size, vocab_size + n_ctx)
    before = range(place.stop, place.stop + vocab_size)
    before_that = range(before.stop, before.stop + vocab_size)
    for i in token:
        model.embedding.weight[i, token[i]] = 1  # also the head: it reads the token's dimension
    for i in range(n_ctx):
        model.positions.weight[i, place[i]] = 1

    first = model.decoder.blocks[0].attention
    unit = (width / 2) ** 0.5  # what the norm makes of a 1 beside one other 1
    _look_back(first, 0, 1, place, sharpness, unit)
    _copy(first, 0, token, before, 1 / unit)
    if through == "values":
        _look_back(first, 1, 2, place, sharpness, unit)
        _copy(first, 1, token, before_that, 1 / unit)
    if n_layers == 1:
        return model

    second = model.decoder.blocks[1].attention
    facts = 3 if through == "keys" else 4
    unit = (width / facts) ** 0.5
    sought, source = (before, token) if through == "keys" else (before_that, before)
    for head in (0, 1):
        _look_for(second, head, token, sought, place, facts - 2, sharpness, unit)
        _copy(second, head, source, token, 8 / unit)  # far above the 1 of the token itself
    return model


def _look_back(attention, head, by, place, sharpness, unit) -> None:
    """Match each query's position with the position `by` tokens before it."""
    start, strength = head * attention.d_head, _strength(attention, sharpness, unit)
    for i in range(len(place)):
        attention.query.weight[start + i, place[i]] = strength
        if i + by < len(place):
            attention.key.weight[start + i + by, place[i]] = strength


def _look_for(attention, head, asked, sought, place, n_unfilled, sharpness, unit) -> None:
    """Match each query's token with a fact about the key's. The first positions have no token
    before them, so they are excluded.
    """
    start, strength = head * attention.d_head, _strength(attention, sharpness, unit)
    for i in range(len(asked)):
        attention.query.weight[start + i, asked[i]] = strength
        attention.key.weight[start + i, sought[i]] = strength
    refuse = start + attention.d_head - 1
    for position in place:  # every query has one position: a constant
        attention.query.weight[refuse, position] = strength
    for i in range(n_unfilled):
        attention.key.weight[refuse, place[i]] = -2 * strength


def _copy(attention, head, source, target, strength) -> None:
    start = head * attention.d_head
    for i in range(len(source)):
        attention.value.weight[start + i, source[i]] = 1
        attention.out.weight[target[i], start + i] = strength


def _strength(attention, sharpness: float, unit: float) -> float:
    return (sharpness * attention.d_head**0.5) ** 0.5 / unit

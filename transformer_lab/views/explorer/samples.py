"""Sample texts to start with, each checked on the model before it is offered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .runs import Reading, Runs
from .singles import ranked_heads

if TYPE_CHECKING:
    from ...text_model import TextModel

SAMPLES = Path(__file__).with_name("samples.json")
MOST = 3
FRESH = 0.5  # of the largest score: enough for a head that no other sample uses


def samples_of(model: TextModel) -> list[dict[str, Any]]:
    """At most three texts whose next token (or mask) this model predicts as expected, each with the
    head that matters most for it.

    Returns:
        dicts with "label", "text" and, if effects could be measured, "layer" and "head".

    Raises:
        ModelIsTraining: while the model is being trained.
    """
    runs, samples = Runs(model), []
    for candidate in json.loads(SAMPLES.read_text("utf-8")):
        if candidate["kind"] != model.kind or len(samples) == MOST:
            continue
        reading = _read(runs, candidate["text"])
        if reading is None or _first_guess(runs, reading) != candidate["expects"].strip():
            continue
        used = {(sample.get("layer"), sample.get("head")) for sample in samples}
        place = _responsible(runs, reading, used)
        samples.append({"label": candidate["label"], "text": reading.text, **place})
    return samples


def _read(runs: Runs, text: str) -> Reading | None:
    """Read a text with the model; None if that is not possible, or a word is unknown."""
    model = runs.text_model
    if model.kind == "encoder":
        mask = model.tokenizer.mask_id
        if mask is None:
            return None
        text = text.replace("[MASK]", model.tokenizer.tokens([mask])[0])
    try:
        model.encode(text)
    except Exception:  # tokenizers raise different errors for an unknown word
        return None
    try:
        reading = runs.read(text)
    except ValueError:
        return None
    known = reading.trace.logits is not None and runs.positions(reading)
    return reading if known and model.tokenizer.unk_id not in reading.ids.tolist() else None


def _first_guess(runs: Runs, reading: Reading) -> str:
    outcome = runs.compare(reading.trace, None, runs.first_position(reading))
    return outcome.rows[0].token.strip("· ")  # as displayed, with a dot for a space


def _responsible(runs: Runs, reading: Reading, used: set[tuple[int, int]]) -> dict[str, int]:
    """The most important head, or the best that no other sample uses if it has at least half its
    score."""
    ranked = ranked_heads(runs, reading, reading.trace.kinds[0], runs.first_position(reading))
    fresh = [one for one in ranked if one[0] >= FRESH * ranked[0][0] and one[1:] not in used]
    return dict(zip(("layer", "head"), (fresh or ranked)[0][1:], strict=True)) if ranked else {}

"""Labels of a text model's heads, as an Explorer shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ... import heads
from ...heads.measures import MEASURES
from ..shared.codecs import shown_text

if TYPE_CHECKING:
    from ...text_model import TextModel
    from ...tracing.trace import Trace


def labels_of(
    model: TextModel, trace: Trace, progress: Callable[[int, int], None] | None = None
) -> dict[str, list[list[dict[str, Any]]]]:
    """kind -> [layer][head] of {"tag": one or two words or "", "short": the same for a
    thumbnail, "sentence": the evidence, "score": of the label, or of the nearest one}.

    `progress` is that of `heads.labels`. Cross-attention has no labels; a model whose context is
    too short for the probes has empty ones.
    """
    labels: dict[str, list[list[dict[str, Any]]]] = {}
    for kind in trace.kinds:
        if kind == "cross":
            continue
        try:
            table = heads.labels(model, kind=kind, ablation=False, progress=progress)
        except ValueError:
            empty = {"tag": "", "short": "", "sentence": _why_none(model), "score": None}
            layers, n_heads = trace.n_layers(kind), trace.n_heads(kind)
            labels[kind] = [[empty] * n_heads for _ in range(layers)]
            continue
        labels[kind] = [[_shown(label) for label in row] for row in table]
    return labels


def _why_none(model: TextModel) -> str:
    limit = f" reads at most {model.n_ctx} tokens, too few" if model.n_ctx else " cannot be given"
    return f"No label: this model{limit} for the random texts that heads are named by."


def _shown(label: Any) -> dict[str, Any]:
    tag = label.name or ""
    short = MEASURES[tag].tag if tag else ""
    sentence = shown_text(label.sentence)
    return {"tag": tag, "short": short, "sentence": sentence, "score": round(label.score, 4)}

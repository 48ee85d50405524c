"""Labels of a text model's heads, as an Explorer shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import heads
from .codecs import shown_text

if TYPE_CHECKING:
    from ..text_model import TextModel
    from ..trace import Trace


def labels_of(model: TextModel, trace: Trace) -> dict[str, list[list[dict[str, str]]]]:
    """kind -> [layer][head] of {"tag": one or two words or "", "sentence": the evidence}.

    Cross-attention has no labels. A model whose context is too short for the probes has none.
    """
    found: dict[str, list[list[dict[str, str]]]] = {}
    for kind in trace.kinds:
        if kind == "cross":
            continue
        try:
            table = heads.labels(model, kind=kind, ablation=False)
        except ValueError:
            empty = {"tag": "", "sentence": _why_none(model)}
            layers, n_heads = trace.n_layers(kind), trace.n_heads(kind)
            found[kind] = [[empty] * n_heads for _ in range(layers)]
            continue
        found[kind] = [[_shown(one) for one in row] for row in table]
    return found


def _why_none(model: TextModel) -> str:
    limit = f" reads at most {model.n_ctx} tokens, too few" if model.n_ctx else " cannot be given"
    return f"No label: this model{limit} for the random texts that heads are named by."


def _shown(label: Any) -> dict[str, str]:
    return {"tag": label.name or "", "sentence": shown_text(label.sentence)}

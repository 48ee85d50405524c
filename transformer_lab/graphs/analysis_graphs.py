"""Export the functions of `analyses` as graphs, into a module of the page's engine.

python -m transformer_lab.graphs.analysis_graphs
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from . import analyses
from .functions import function_graph

FILE = Path(__file__).parent.parent / "views" / "engine" / "analysis_graphs.js"


def examples() -> dict[str, tuple[Callable[..., analyses.Results], dict[str, Tensor]]]:
    """The functions by name, with inputs to trace them with."""
    generator = torch.Generator().manual_seed(0)

    def r(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    scale, ids = torch.tensor(0.4), torch.arange(3)
    row = dict(query=r(7), scale=scale)
    table = {
        analyses.likely: dict(logits=r(3, 50), answers=ids),
        analyses.drawn_from: dict(
            logits=r(50), temperature=scale, top_k=torch.tensor(3), top_p=torch.tensor(0.9)
        ),
        analyses.outcome: dict(before=r(50), after=r(50)),
        analyses.token_logit: dict(logits=r(3, 50), token=ids),
        analyses.token_log_probability: dict(logits=r(3, 50), token=ids),
        analyses.logit_difference: dict(logits=r(3, 50), token=ids, against=ids + 1),
        analyses.answer_changes: dict(before=r(50), after=r(50), watched=torch.tensor(3)),
        analyses.chances: dict(logits=r(50)),
        analyses.pooled: dict(states=r(5, 8), weights=r(5)),
        analyses.turned: dict(before=r(8), after=r(8)),
        analyses.state_changes: dict(before=r(5, 8), after=r(5, 8)),
        analyses.lengths: dict(x=r(5, 8)),
        analyses.shares: dict(added=r(5, 8), stream=r(5, 8)),
        analyses.adds_up: {name: r(5, 8) for name in ("before", "attention", "mlp", "after")},
        analyses.sums: dict(x=r(5, 8), y=r(5, 8)),
        analyses.alike: dict(x=r(8), y=r(8), room=torch.tensor(1e-4)),
        analyses.attention_row: dict(row, keys=r(5, 7), scores=r(5), softcap=torch.tensor(2.0)),
        analyses.score_products: dict(row, key=r(7), others=r(5, 7)),
        analyses.written: dict(z=r(4, 7), w_o=r(4, 7, 8)),
        analyses.walk_facts: dict(
            {name: r(5) for name in ("dots", "scaled", "weights", "scores", "bias")},
            values=r(5, 7),
            z=r(7),
            stream=r(8),
            out=r(8),
            hidden=r(9),
        ),
        analyses.value_norms: dict(values=r(4, 5, 7), w_o=r(4, 7, 8)),
        analyses.carried: dict(
            before=r(4, 6, 5),
            after=r(4, 6, 5),
            before_lengths=r(4, 5),
            after_lengths=r(4, 5),
            own=torch.arange(6),
        ),
        analyses.moved: dict(first=r(4, 6, 5), second=r(4, 6, 5), both=torch.arange(6) > 2),
        analyses.patch_distances: dict(maps=r(4, 6, 6), at=r(6, 2), patches=r(6)),
        analyses.codes: dict(weights=r(6, 5)),
        analyses.thumbnails: dict(maps=r(4, 40, 50)),
    }
    return {function.__name__: (function, given) for function, given in table.items()}


def script() -> str:
    """The graphs as the JavaScript module that the engine includes."""
    lines = [
        f"  {name}: {json.dumps(function_graph(*of).description(), separators=(',', ':'))},"
        for name, of in examples().items()
    ]
    top = "// graphs/analyses.py, exported by python -m transformer_lab.graphs.analysis_graphs"
    typed = '/** @type {Record<string, import("./graph.js").Description>} */'
    return "\n".join([top, typed, "export const ANALYSES = {", *lines, "};", ""])


if __name__ == "__main__":
    FILE.write_text(script(), "utf-8")
    print(f"wrote {FILE}")

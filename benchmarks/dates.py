"""Dates in 12 locales to ISO 8601, character by character.

Held-out days never occur in training, in any locale. Bar: exact ≥ 0.99 in ≤ 90 s.
"""

import transformer_lab as tl

from .report import at_least, at_most
from .training import MODERN, config_for, seeds, trained


def run(options):
    data = tl.datasets.dates()
    for seed in seeds(options):
        config = config_for(data, "encoder-decoder", n_layers=2, n_ctx=64)
        model, clock = trained(
            lambda config=config: tl.Transformer(config),
            data.batches(64, seed=seed),
            seed=seed,
            steps=900,
            **MODERN,
        )
        common = dict(seconds=clock.cpu, seed=seed)
        held_out = data.epoch(250)
        yield at_least("dates, exact", tl.exact_match(model, held_out), 0.99, **common)
        yield at_most("dates, CPU time of training", clock.cpu, 90, unit="s", **common)
        layer, head, hit = tl.grade_heads(model, data, held_out[:2]).best()
        yield at_least(
            "dates, digits whose cross-attention attends to their source",
            hit,
            None,
            note=f"layer {layer} head {head}",
            **common,
        )

"""Match reports of about 50 words to a summary of 11.

Bars: all copied words (teams, goals, first scorer) right ≥ 0.95, in ≤ 3 min.
"""

import transformer_lab as tl

from .report import at_least, at_most
from .training import MODERN, config_for, seeds, trained


def made(data, seed):
    config = config_for(data, "encoder-decoder", n_layers=2, n_ctx=80, positions="rotary")
    return trained(
        lambda: tl.Transformer(config), data.batches(64, seed=seed), seed=seed, steps=500, **MODERN
    )


def run(options):
    data = tl.datasets.reports()
    for seed in seeds(options):
        model, clock = made(data, seed)
        common = dict(seconds=clock.cpu, seed=seed)
        held_out = data.epoch(250)
        # The frame of the summary is always the same, so all slots right is all words right.
        yield at_least(
            "reports, all copied words right", tl.exact_match(model, held_out), 0.95, **common
        )
        yield at_most("reports, CPU time of training", clock.cpu, 180, unit="s", **common)
        layer, head, hit = tl.grade_heads(model, data, held_out).best()
        yield at_least(
            "reports, copied words that attend to a correct source",
            hit,
            None,
            note=f"layer {layer} head {head}",
            **common,
        )

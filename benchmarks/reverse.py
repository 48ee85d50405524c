"""Reverse 3 to 10 letters: exact ≥ 0.99, and one head on the anti-diagonal ≥ 0.97.

With zero_init the encoder adds nothing at first, so cross-attention learns to attend to letters before
the encoder can move them elsewhere. Otherwise one seed of two ended up right but unaligned.
"""

import transformer_lab as tl

from .report import at_least
from .training import MODERN, config_for, seeds, trained


def made(data, seed):
    config = config_for(data, "encoder-decoder", n_heads=2, n_ctx=16)
    return trained(
        lambda: tl.Transformer(config), data.batches(64, seed=seed), seed=seed, steps=500, **MODERN
    )


def run(options):
    data = tl.datasets.reverse()
    for seed in seeds(options):
        model, clock = made(data, seed)
        common = dict(seconds=clock.cpu, seed=seed)
        held_out = data.epoch(250)
        yield at_least("reverse, exact", tl.exact_match(model, held_out), 0.99, **common)
        _, head, hit = tl.grade_heads(model, data, held_out).best()
        yield at_least(
            "reverse, anti-diagonal", hit, 0.97, note=f"cross-attention head {head}", **common
        )

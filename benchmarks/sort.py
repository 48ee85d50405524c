"""Sort 8 different numbers below 50 with one attention layer: exact ≥ 0.99, a head on the next larger ≥ 0.7."""

import transformer_lab as tl

from .report import at_least
from .training import MODERN, config_for, seeds, trained


def made(data, seed):
    config = config_for(data, "decoder", n_heads=2, attention_only=True, n_ctx=32)
    batches = data.batches(64, kind="decoder", seed=seed)
    return trained(lambda: tl.Transformer(config), batches, seed=seed, steps=500, **MODERN)


def run(options):
    data = tl.datasets.sort()
    for seed in seeds(options):
        model, clock = made(data, seed)
        common = dict(seconds=clock.cpu, seed=seed)
        held_out = data.epoch(250, kind="decoder")
        yield at_least("sort, exact", tl.exact_match(model, held_out), 0.99, **common)
        _, head, hit = tl.grade_heads(model, data, held_out).best()
        yield at_least(
            "sort, attends to the next larger number", hit, 0.7, note=f"head {head}", **common
        )

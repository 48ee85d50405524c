"""The cost of switching off every head, one at a time: ≤ 1.1 × (heads × one forward pass).

The shipped model and GPT-2-small's shape, ours and transformers' (with random weights; the arithmetic
is the same). Passes and sweeps take turns, so that anything else on the machine slows both alike; the
medians of their CPU times are compared. The baseline is the model's own plain pass, which a sweep by
hand would need once per head.
"""

import statistics

import torch

import transformer_lab as tl

from .report import Clock, at_most
from .trace_cost import our_model, their_model

TURNS = 3


def run(options):
    shipped = tl.shipped("manual").model
    cases = (
        ("shipped model, 64 tokens", lambda: shipped, 64, 10),
        ("GPT-2-small shape, ours, 128 tokens", our_model, 128, 3),
        ("GPT-2-small shape, transformers, 128 tokens", their_model, 128, 3),
    )
    for name, build, length, passes in cases:
        torch.manual_seed(options.seed)
        model = build()
        text = torch.randint(1, model.config.vocab_size, (1, length))
        with Clock() as whole:
            one, sweep, n_heads = measure(model, text, passes)
        yield at_most(
            f"sweep over all heads / (heads × one pass), CPU time, {name}",
            sweep / (n_heads * one),
            1.1,
            unit="×",
            note=f"{sweep:.3g} s for {n_heads} heads, {1e3 * one:.3g} ms a pass",
            seconds=whole.cpu,
            seed=options.seed,
        )


@torch.no_grad()
def measure(model, text, passes):
    """(CPU seconds of a pass, of a sweep, how many heads)."""
    clocks: dict[str, list[float]] = {"pass": [], "sweep": []}
    options = dict(use_cache=False) if hasattr(model.config, "use_cache") else {}
    model(text, **options)  # warm up
    for _ in range(TURNS):
        with Clock() as clock:
            for _ in range(passes):
                model(text, **options)
        clocks["pass"].append(clock.cpu / passes)
        with Clock() as clock:
            sweep = tl.sweep_heads(model, text)
        clocks["sweep"].append(clock.cpu)
    one, whole = (statistics.median(clocks[name]) for name in ("pass", "sweep"))
    return one, whole, sweep.values.numel()

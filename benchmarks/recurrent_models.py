"""Reverse 20 letters: a GRU with and without Bahdanau's attention, and a transformer, equal steps.

Each model trains with the recipe that suits it: AdamW for the GRUs, the modern one for the transformer.

Reported without a bar: it shows what attention gains when otherwise everything must pass through one
state.
"""

import transformer_lab as tl

from .report import at_least
from .training import MODERN, config_for, trained


def run(options):
    data = tl.datasets.reverse(length=(10, 20))
    recurrent = dict(kind="encoder-decoder", vocab_size=data.vocab_size, d_model=64, cell="gru")
    models = {
        "GRU": lambda: tl.Recurrent(tl.RecurrentConfig(attention="none", **recurrent)),
        "GRU with Bahdanau's attention": lambda: tl.Recurrent(tl.RecurrentConfig(**recurrent)),
        "transformer": lambda: tl.Transformer(
            config_for(data, "encoder-decoder", n_ctx=32, positions="learned")
        ),
    }
    held_out = data.epoch(250)
    for name, make in models.items():
        model, clock = trained(
            make,
            data.batches(64, seed=options.seed),
            seed=options.seed,
            steps=600,
            **(MODERN if name == "transformer" else dict(lr=3e-3)),
        )
        common = dict(seconds=clock.cpu, seed=options.seed)
        note = f"{model.n_parameters():,} parameters"
        if name != "GRU":
            note += f"; best head attends to the source: {tl.grade_heads(model, data, held_out[:1]).best()[2]:.3f}"
        yield at_least(
            f"reverse 10–20, letters right: {name}",
            tl.accuracy(model, held_out),
            None,
            note=note,
            **common,
        )

"""Questions about stories, answered by the place of the answer: one fact ≥ .98, two facts ≥ .90.

≤ 3 min of training each. The attention of the question is compared with the supporting sentences.
"""

import transformer_lab as tl

from .report import at_least, at_most
from .training import MODERN, config_for, trained, two_seeds

RECIPES = {
    1: dict(bar=0.98, layers=2, steps=500),
    2: dict(bar=0.90, layers=3, steps=900),
}


def run(options):
    for facts, recipe in RECIPES.items():
        data = tl.datasets.stories(facts=facts)
        name = f"stories with {facts} fact{'s' * (facts > 1)}"
        for seed in two_seeds(options):
            config = config_for(data, "encoder", n_layers=recipe["layers"], head=False)
            model, clock = trained(
                lambda config=config: tl.SpanReader(tl.Transformer(config)),
                data.batches(64, seed=seed), seed=seed, steps=recipe["steps"], **MODERN,
            )  # fmt: skip
            told = dict(seconds=clock.cpu, seed=seed)
            held_out = data.epoch(250)
            exact = tl.exact_match(model, held_out)
            yield at_least(f"{name}, exact span", exact, recipe["bar"], **told)
            yield at_most(f"{name}, CPU time of training", clock.cpu, 180, unit="s", **told)
            grades = tl.grade_heads(model, data, held_out[:4], pool=True)
            layer, head, hit = grades.best()
            yield at_least(
                f"{name}, questions that look most at a supporting sentence", hit, None,
                note=f"layer {layer} head {head}", **told,
            )  # fmt: skip

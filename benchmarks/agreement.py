"""Subject–verb agreement with 64 labels: pretrained on unlabelled sentences, or trained from scratch.

Nouns of the other number come between subject and verb. Encoder, classifier, labels and fine-tuning
are the same; the pretrained encoder has read 20,000 sentences with masked words first. Bar: a gain
of ≥ 15 points.
"""

import torch

import transformer_lab as tl

from .report import at_least
from .training import MODERN, config_for, seeds, trained


def run(options):
    for seed in seeds(options):
        data = tl.datasets.agreement(seed=seed)
        config = config_for(data, "encoder", n_layers=2, n_ctx=32)
        sentences = data.unlabelled.batches(128, seed=seed).masked(data.tokenizer)
        encoder, reading = trained(
            lambda config=config: tl.Transformer(config), sentences, seed=seed, steps=900, **MODERN
        )
        torch.manual_seed(seed)
        fresh = tl.Transformer(config)
        held_out, right = data.labelled.epoch(250), {}
        for name, start in (("pretrained", encoder), ("from scratch", fresh)):
            model, clock = trained(
                lambda start=start: tl.Classifier(start, 2, pool="mean"),
                data.labelled.batches(32, seed=seed),
                seed=seed,
                steps=100,
                lr=1e-3,
            )
            right[name] = tl.accuracy(model, held_out)
            yield at_least(
                f"agreement with 64 labels, {name}, accuracy",
                right[name],
                None,
                seconds=clock.cpu,
                seed=seed,
            )
        gain = right["pretrained"] - right["from scratch"]
        yield at_least(
            "agreement, gain from pretraining",
            100 * gain,
            15,
            unit="points",
            seconds=reading.cpu,
            seed=seed,
        )

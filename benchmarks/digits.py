"""Handwritten digits with a small Vision Transformer: ≥ 0.97 of the held-out digits, in a minute."""

import torch
from torch import nn

import transformer_lab as tl

from .report import at_least
from .training import seeds, trained


class Linear(nn.Module):
    """The control: no attention, ten weights per pixel."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.linear(pixel_values.flatten(1))


def vision_transformer() -> tl.PictureClassifier:
    encoder = tl.ModelConfig(
        kind="encoder",
        vocab_size=1,
        head=False,
        n_layers=2,
        n_heads=4,
        d_model=64,
        n_ctx=17,
        positions="learned",
        dropout=0.1,
    )
    return tl.PictureClassifier(tl.Transformer(encoder), 10, size=(8, 8), patch=2, pool="mean")


def run(options):
    for seed in seeds(options):
        data = tl.datasets.digits(seed=seed)
        batches = data.batches(64, noise=0.15, seed=seed)
        recipe = dict(seed=seed, steps=1500, label_smoothing=0.1)
        for name, make, bar in (
            ("digits, held-out accuracy", vision_transformer, 0.97),
            ("digits, held-out accuracy of a linear layer (control)", Linear, None),
        ):
            model, clock = trained(make, batches, **recipe)
            right = tl.accuracy(model, data.epoch(360))
            note = f"{len(data.held_out)} images"
            yield at_least(name, right, bar, seconds=clock.cpu, seed=seed, note=note)

"""A SpectrogramView as numbers for files."""

from __future__ import annotations

import numpy as np

from ..shared.exports import Array, Numbers
from .figure import SoundScene


def sound_numbers(scene: SoundScene, features: np.ndarray, who: str) -> Numbers:
    """What is chosen over time, every head's, and the spectrogram."""
    weights = scene.weights.astype(np.float32)
    axes = {
        "seconds": [i * scene.step for i in range(len(weights))],
        "frame_seconds": [i * scene.hop for i in range(features.shape[1])],
    }
    found = [
        Array("weight", weights, ("seconds",), f"attention weight of the chosen word: {who}"),
        Array(
            "every_head", scene.rows, ("layer", "head", "seconds"), "attention weight of each head"
        ),
        Array(
            "spectrogram", features, ("band", "frame_seconds"), "log-mel, as the model was given it"
        ),
    ]
    return Numbers(found, axes)

"""Inputs beside or instead of text, as a processor would make them: images with their placeholders
among the tokens, and audio. The form that a model accepts is found by trying."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from transformer_lab.adapters.model_inputs import PIXELS, placeholder
from transformer_lab.adapters.speech import FEATURES, heard_by, sound_of
from transformer_lab.adapters.structure import parameters_of

from .sizes import WIDTH

SAMPLES, FRAMES = 4000, 96
BINS = ("num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim", "mel_bins")
TOLD = re.compile(
    r"features:? *\(?\[?(\d+)"
)  # the number of vectors of an image, from a model's error message
BEFORE = 4  # words before an image
MOST = 40  # tokens per image


def chance(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tiled(given: dict[str, Tensor], n: int) -> dict[str, Tensor]:
    """The inputs repeated n times along the batch."""
    return {k: x if n == 1 else x.repeat(n, *[1] * (x.dim() - 1)) for k, x in given.items()}


# -- audio ----------------------------------------------------------------------------------------


def sounds_for(model: Any, target: Tensor | None) -> tuple[str, Tensor, Tensor] | None:
    """(input name, one sound, another) for a model of speech; None for other models."""
    sound = sound_of(model)
    if sound is not None:
        size = (1, sound.bins, sound.frames)
        return FEATURES, chance(*size, seed=3), chance(*size, seed=4)
    names = heard_by(model)
    if not names:
        return None
    both = {} if target is None else {"decoder_input_ids": target}
    sizes = [(1, SAMPLES)]
    for bins in (*_bins(model.config), 16, 80, 128):
        longest = getattr(model.config, "max_length", None)
        sizes += [(1, n, bins) for n in (FRAMES, longest) if isinstance(n, int) and n > bins]
    for name in sorted(names, reverse=True):
        for size in sizes:
            try:
                model(**{name: chance(*size, seed=3)}, **both)
            except Exception:
                continue
            return name, chance(*size, seed=3), chance(*size, seed=4)
    return names[0], chance(*sizes[0], seed=3), chance(*sizes[0], seed=4)


def _bins(config: Any) -> Iterator[int]:
    inner = [config, *(getattr(config, n, None) for n in getattr(config, "sub_configs", ()) or ())]
    for one in inner:
        for name in BINS:
            if isinstance(found := getattr(one, name, None), int):
                yield found


# -- images among tokens --------------------------------------------------------------------------


class Sight:
    """An image beside a text: `beside` holds the inputs of a trace for one text, `n` is the number of
    tokens that represent the image."""

    def __init__(self, model: Any, beside: dict[str, Tensor], n: int):
        self.wanted, self.beside, self.n = placeholder(model), beside, n
        self.named = parameters_of(model)

    def among(self, text: Tensor) -> Tensor:
        """A text with the image's tokens in it."""
        assert self.wanted is not None
        held = torch.full((len(text), self.n), self.wanted)
        return torch.cat((text[:, :BEFORE], held, text[:, BEFORE:]), 1)

    def given(self, ids: Tensor) -> dict[str, Tensor]:
        """The inputs of a trace beside these ids."""
        found = tiled(self.beside, len(ids))
        if "token_type_ids" in self.named:  # 0 for tokens that all may attend to
            found["token_type_ids"] = (ids == self.wanted).long()
        return found

    def known(self, ids: Tensor) -> dict[str, Tensor]:
        """The same for the model itself, which needs its placeholders marked."""
        found = self.given(ids)
        if "mm_token_type_ids" in self.named:
            found["mm_token_type_ids"] = (ids == self.wanted).int()
        return found


@torch.no_grad()
def sight_for(model: Any, text: Tensor) -> Sight | None:
    """An image that a model of text and images accepts; None if none was found."""
    if placeholder(model) is None:
        return None
    for beside in _forms(model):
        waiting, tried = [1], set()
        while waiting:
            tried.add(n := waiting.pop(0))
            found = Sight(model, beside, n)
            try:
                plain = _said(model, found, text)
            except Exception as error:
                told = TOLD.search(str(error))
                # Some messages give the number of vectors, others the number of values.
                several = [] if told is None else [int(told[1]), int(told[1]) // WIDTH]
                waiting += [n for n in several if 0 < n <= MOST and n not in tried]
                continue
            pixels = found.beside[PIXELS]
            found.beside[PIXELS] = pixels.flip(-1)
            if not torch.equal(_said(model, found, text), plain):
                return found
            break
    return None


def _said(model: Any, sight: Sight, text: Tensor) -> Tensor:
    ids = sight.among(text)
    return model(input_ids=ids, **sight.known(ids)).logits


def _forms(model: Any) -> Iterator[dict[str, Tensor]]:
    """The forms in which a model's processor might pass images."""
    named = parameters_of(model)
    vision = getattr(model.config, "vision_config", None) or model.config
    told = partial(_number, vision)
    channels = told("num_channels", "in_channels", "in_chans", otherwise=3)
    patch, frames = told("patch_size", otherwise=4), told("temporal_patch_size", otherwise=2)
    merged = told("spatial_merge_size", "merge_kernel_size", otherwise=2)
    rows, columns = 2 * merged, 3 * merged
    n, of_patch = rows * columns, channels * patch**2
    shapes = (n, frames * of_patch), (n, of_patch), (n, channels, patch, patch)
    for grid in [n for n in ("image_grid_thw", "grid_thws") if n in named]:
        more = {"image_merge_sizes": torch.tensor([merged])} if "image_merge_sizes" in named else {}
        for shape in shapes:
            yield {PIXELS: chance(*shape, seed=7), grid: torch.tensor([[1, rows, columns]]), **more}
    if "spatial_shapes" in named:
        shape = torch.tensor([[rows, columns]])
        found = {PIXELS: chance(1, n, of_patch, seed=7), "spatial_shapes": shape}
        yield found | {"pixel_attention_mask": torch.ones(1, n, dtype=torch.long)}
    size = told("image_size", otherwise=4 * patch)
    square = (channels, size, size)
    for shape in ((1, *square), (1, 1, *square), (1, 2, *square)):
        sizes = torch.tensor([[size, size]])
        yield {PIXELS: chance(*shape, seed=7)}
        if "pixel_attention_mask" in named and len(shape) == 5:
            mask = torch.ones(1, shape[1], size, size, dtype=torch.long)
            yield {PIXELS: chance(*shape, seed=7), "pixel_attention_mask": mask}
        for name in [n for n in ("image_sizes", "target_sizes", "tgt_sizes") if n in named]:
            yield {PIXELS: chance(*shape, seed=7), name: sizes}
            yield {PIXELS: chance(*shape, seed=7), name: sizes // patch}


def _number(config: Any, *names: str, otherwise: int) -> int:
    found = (getattr(config, n, None) for n in names)
    found = (n[0] if isinstance(n, list | tuple) and n else n for n in found)
    return next((n for n in found if isinstance(n, int) and n), otherwise)

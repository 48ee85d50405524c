"""Inputs for the models, and measures of the difference between two outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import transformer_lab as tl

from .sizes import WORDS

LENGTH, SHORT, TARGET = 12, 9, 7  # tokens of a text, of a padded text, of a target
LOGITS, MAPS = (
    1e-4,
    1e-4,
)  # larger differences are wrong: relative to the largest logit, and of a weight
SEEN = 1e-5  # a smaller effect proves nothing


def text_of(length: int, seed: int) -> Tensor:
    return torch.randint(4, 90, (1, length), generator=torch.Generator().manual_seed(seed))


def two(target: Tensor | None) -> Tensor | None:
    return None if target is None else target.expand(2, -1)


def pixels_of(config: Any, seed: int, frames: int = 0) -> Tensor:
    """A random image [batch, channel, height, width], or with frames before the channels."""
    inner = getattr(config, "vision_config", None) or config
    size = getattr(inner, "image_size", None) or 16
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    channels = getattr(inner, "num_channels", None) or 3
    shape = (1, frames, channels, height, width) if frames else (1, channels, height, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def logits_of(output: Any) -> Tensor:
    """The output of a pass: logits, or the final hidden states."""
    for name in ("logits", "prediction_logits", "last_hidden_state"):
        found = getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    raise ValueError(f"{type(output).__name__} has neither logits nor states")


def said(trace: Any) -> Tensor | None:
    """The model's output in a trace: logits of tokens or of classes."""
    return trace.logits if trace.logits is not None else getattr(trace, "answers", None)


def relative(found: Tensor, truth: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    if found.shape != truth.shape:
        return float("inf")
    return ((found - truth).abs().max() / truth.abs().max().clamp(min=1e-9)).item()


def typical(found: Tensor, truth: Tensor) -> float:
    """The same for the median token: in 16 bits a few tokens may choose another expert."""
    off = (found - truth).abs().amax(-1).median()
    return (off / truth.abs().max().clamp(min=1e-9)).item()


def an_edge(weights: Tensor) -> tuple[int, int] | None:
    """The (query, key) of the largest weight that is not its whole row, to an earlier key if there is
    one."""
    fit = weights.where((weights > 0.02) & (weights < 0.9), 0.0)
    earlier = fit.tril(-1)
    fit = earlier if earlier.max() > 0 else fit
    if not fit.max() > 0:
        return None
    query, key = divmod(int(fit.argmax()), weights.shape[1])
    return query, key


def attention_settings(model: Any) -> dict[str, str]:
    """The attention setting of every config in a model."""
    found: dict[str, str] = {}

    def walk(name: str, config: Any) -> None:
        found[name] = str(getattr(config, "_attn_implementation", None))
        for inner in getattr(config, "sub_configs", None) or ():
            if hasattr(getattr(config, inner, None), "to_dict"):
                walk(f"{name}.{inner}", getattr(config, inner))

    walk("config", model.config)
    for path, module in model.named_modules():
        if hasattr(module, "config") and hasattr(module.config, "to_dict"):
            found[f"{path or 'the model'}'s config"] = str(
                getattr(module.config, "_attn_implementation", None)
            )
    return found


def told_layers(config: Any, kind: str, both: bool) -> int | None:
    """The number of layers according to the config."""
    inner = config.get_text_config(encoder=True) if both and kind == "encoder" else None
    inner = inner or config.get_text_config()
    names = ["num_hidden_layers"]
    if both:
        side = "encoder" if kind == "encoder" else "decoder"
        names = [f"{side}_layers", *(["num_decoder_layers"] if side == "decoder" else []), *names]
    for name in names:
        found = getattr(inner, name, None)
        if isinstance(found, int):
            return found
    return None


def reader(model: Any) -> Any:
    """A text model of plain words."""
    from transformer_lab.tokenizers import SPECIAL, WordTokenizer

    words = [f"w{i}" for i in range(WORDS - len(SPECIAL))]
    return tl.TextModel(model, WordTokenizer((*SPECIAL, *words)))


def texts(both: bool) -> tuple[str, ...]:
    words = " ".join(f"w{i}" for i in (3, 8, 5, 21, 3, 8, 40))
    return (words, "w4 w6 w11") if both else (words,)

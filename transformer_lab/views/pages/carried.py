"""A model that travels in a page: its weights, its tokenizers and the engine that runs them there."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from ...files.models import describe, model_tensors
from ...model import Transformer
from ...tokenizers import BPETokenizer, CharTokenizer, WordTokenizer
from ..shared.modules import VIEWS, join_modules
from .export import Block, block_text

if TYPE_CHECKING:
    from ...text_model import TextModel

MODEL, ENGINE = "model", "engine"  # names of blocks, for views/engine/client.js
_LARGEST_HALF = torch.finfo(torch.float16).max


@dataclass(frozen=True)
class Carried:
    """What `packedOf` of views/engine/client.js reads.

    about: name, config and tokenizers, as JSON.
    weights: the bytes of a model.safetensors.
    rounded: by how much a weight was changed at most, to make it 16 bits wide.
    """

    about: bytes = field(repr=False)
    weights: bytes = field(repr=False)
    rounded: float

    @property
    def blocks(self) -> tuple[Block, Block]:
        """The engine, and the model that it runs."""
        parts = [self.about, self.weights]
        engine = Block(ENGINE, {}, [engine_script().encode()])
        return engine, Block(MODEL, {"checksums": [zlib.crc32(part) for part in parts]}, parts)

    @property
    def size(self) -> int:
        """How many bytes longer a page is that carries it, the engine with it."""
        return sum(len(block_text(block)) for block in self.blocks)


def why_not(model: TextModel) -> str:
    """Why a model cannot travel in a page, as the end of a sentence; "" where it can."""
    if type(model.model) is not Transformer:
        return f"a {type(model.model).__name__} does not run in a page; a tl.Transformer does"
    for tokenizer in (model.tokenizer, model.target_tokenizer):
        if not isinstance(tokenizer, CharTokenizer | WordTokenizer | BPETokenizer):
            return (
                f"a {type(tokenizer).__name__} does not run in a page; the tokenizers of "
                "transformer_lab.tokenizers do"
            )
    return ""


def carried(model: TextModel) -> Carried:
    """A text model as a page holds it. Weights are rounded to 16 bits; a tensor with a number that
    they cannot hold keeps its 32.

    Raises:
        ValueError: for a model that cannot travel, or with weights that are not finite.
    """
    if why := why_not(model):
        raise ValueError(f"{model.name} cannot travel in a page: {why}")
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().float() for name, t in model_tensors(model.model).items()}
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{model.name} cannot travel: {name} has values that are not finite")
    narrow = {name: _halved(tensor).contiguous() for name, tensor in tensors.items()}
    rounded = max(float((narrow[n].float() - t).abs().max()) for n, t in tensors.items())
    about: dict[str, Any] = {
        "name": model.name,
        "config": describe(model.model),
        "tokenizer": model.tokenizer.to_dict(),
    }
    if model.target_tokenizer is not model.tokenizer:
        about["targetTokenizer"] = model.target_tokenizer.to_dict()
    return Carried(json.dumps(about, allow_nan=False).encode("ascii"), save(narrow), rounded)


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    fits = not tensor.numel() or float(tensor.abs().max()) <= _LARGEST_HALF
    return tensor.half() if fits else tensor


@cache
def engine_script() -> str:
    """The engine as the source of a Web Worker."""
    return join_modules(VIEWS / "engine" / "worker.js")

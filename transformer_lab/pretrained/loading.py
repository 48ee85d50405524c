"""Load our own `Transformer` by name or from a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..adapters.classes import saved_class
from ..adapters.lookup import hugging_face_of
from ..arguments import said_by
from ..files.paths import FileError, as_path
from ..model import Transformer
from .bert import BERT
from .conversion import Family, convert
from .gpt2 import GPT2
from .llama import LLAMA
from .marian import MARIAN
from .weights import load_hugging_face, load_hugging_face_tokenizer
from .wheels import WHEELS, load_wheel

# transformers' model_type -> how to convert it to ours
FAMILIES: dict[str, Family] = {"gpt2": GPT2, "bert": BERT, "llama": LLAMA, "marian": MARIAN}


def load(source: str | Path | nn.Module, *, allow_missing: bool = False) -> Transformer:
    """Our own `Transformer` with pretrained weights, in eval mode.

    Args:
        source: a name in `WHEELS` ("minilm", "smollm2-135m"), a folder that transformers'
            save_pretrained wrote, a name on the Hugging Face hub, or a live transformers model
            (its weights are copied). Its family must be in `FAMILIES`.
        allow_missing: weights that a folder or the hub's file does not hold stay random; the
            model's `random_weights` lists their names, and every view of it says so.

    Raises:
        FileError: for another family, an option that our model lacks, a damaged file, or a
            tensor that would be left over or left out, is of another shape or is not finite,
            naming it.
        ModelNotInstalled: for a wheel that is not installed.
        FileNotFoundError: when there is no such folder or hub name, or no network.
    """
    if isinstance(source, nn.Module):
        theirs = hugging_face_of(source)
        if theirs is None:
            raise FileError(
                "source must be a transformers model, a folder or a name, got a "
                f"{type(source).__name__}"
            )
        return convert(theirs, FAMILIES)
    if str(source) in WHEELS:
        return convert(load_wheel(str(source))[0], FAMILIES)
    with _hub_errors(source):
        theirs = load_hugging_face(
            source, saved_class, allow_missing=allow_missing, dtype=torch.float32
        )
    return convert(theirs, FAMILIES)


def load_tokenizer(source: str | Path) -> Any:
    """The transformers tokenizer that belongs to `load(source)`. Errors as there."""
    if str(source) in WHEELS:
        return load_wheel(str(source))[1]
    with _hub_errors(source):
        return load_hugging_face_tokenizer(source)


@contextmanager
def _hub_errors(source: str | Path) -> Iterator[None]:
    """Turn errors of finding a model into one sentence."""
    folder = as_path(source, "source")
    try:
        if folder.is_dir() and not (folder / "config.json").exists():
            raise FileNotFoundError("config.json is missing")
        yield
    except FileError:
        raise
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{str(source)!r} is not a folder with a model and could not be fetched from the "
            f"Hugging Face hub ({said_by(error)}); give a folder that holds "
            f"config.json and the weights, or one of {', '.join(WHEELS)}"
        ) from error

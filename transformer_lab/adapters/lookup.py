"""The only place that maps a model to its adapter."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..attention import Tapped
from .hugging_face import HuggingFaceNetwork
from .network import Network, lacking
from .own_network import OurNetwork
from .structure import is_hugging_face
from .wrappers import unwrapped

WAY_OUT = (
    "give a transformer_lab.Transformer, a Hugging Face model, a TextModel, or a tl.Network "
    "written for your model"
)


def network_of(model: Any) -> Network:
    """The adapter of a model.

    Args:
        model: one of ours, a Hugging Face model, a `TextModel`, one of them wrapped by
            `torch.compile`, DistributedDataParallel or PEFT, or a `Network` already.

    Raises:
        ValueError: for any other model, naming what it lacks.
    """
    if isinstance(model, OurNetwork | HuggingFaceNetwork):
        return model
    if isinstance(model, Network):
        return _complete(model)
    inner = unwrapped(model)
    if isinstance(inner, Network):
        return _complete(inner)
    if is_hugging_face(inner):
        return HuggingFaceNetwork(inner)
    if isinstance(inner, nn.Module) and isinstance(inner, Tapped):
        return OurNetwork(inner)
    if not isinstance(inner, nn.Module):
        raise ValueError(f"model is a {type(model).__name__}, which cannot be traced; {WAY_OUT}")
    raise ValueError(
        f"{type(inner).__name__} has no attention that can be traced or edited: it lacks "
        f"{', '.join(lacking(inner))}; {WAY_OUT}"
    )


def _complete(network: Network) -> Network:
    missing = lacking(network)
    if missing:
        raise ValueError(
            f"{type(network).__name__} is a tl.Network that lacks {', '.join(missing)}; see "
            "tl.Network for what each must return"
        )
    return network


def transformer_of(model: Any, otherwise: str = "") -> Any:
    """Our `Transformer` inside a model; None for another model.

    Raises:
        ValueError: instead of None, if `otherwise` is given, which says what to pass.
    """
    inner = unwrapped(model)
    known = isinstance(inner, Network | Tapped) or is_hugging_face(inner)
    found = network_of(inner).transformer if known else None
    if found is None and otherwise:
        raise ValueError(f"model is a {type(inner).__name__}; {otherwise}")
    return found


def hugging_face_of(model: Any) -> Any:
    """The transformers model inside a model; None for another."""
    inner = unwrapped(model)
    return inner if is_hugging_face(inner) else None


def revision_of(model: Any) -> str | None:
    """The commit on the hub that a model's files come from; None if unknown."""
    found = getattr(getattr(model, "config", None), "_commit_hash", None)
    return found if isinstance(found, str) else None

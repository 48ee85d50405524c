"""Whether a page takes its model along, and what it says about that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.utils.parametrize import is_parametrized

from .carried import Carried, carried, why_not

if TYPE_CHECKING:
    from torch import nn

    from ...text_model import TextModel

UNASKED = 16 * 2**20  # bytes of weights, in 16 bits, up to which a model travels by itself
MOST = 200 * 2**20


def carry(
    model: TextModel, wanted: bool | None, stale: bool, lacks: str = "reads no other text"
) -> tuple[Carried | None, str]:
    """What a page takes along, and else why not, in a sentence.

    Args:
        wanted: as `model` of `save_html`.
        stale: whether the weights have changed since the text was read.
        lacks: what a page without it does not do.

    Raises:
        ValueError: for a model that is wanted in the page and cannot travel, or is too large.
    """
    if wanted is False:
        return None, ""
    why = why_not(model) or _changed(model.model)
    if stale:
        why = "its weights have changed since this text was read; read it again"
    size = 2 * sum(weight.numel() for weight in model.model.parameters())
    if not why and size > MOST:
        why = f"it has {_mb(size)} in 16 bits, and a page takes at most {_mb(MOST)} along"
    if wanted and why:
        raise ValueError(
            f"model=True: {model.name} cannot travel in a page: {why}; leave model out, and the "
            "page holds what was computed"
        )
    if not why and size > UNASKED and wanted is None:
        return None, (
            f"The model is not in this page, so it {lacks}: it has {_mb(size)}; "
            "save_html(path, model=True) takes it along."
        )
    try:
        found = None if why else carried(model)
    except ValueError as error:
        if wanted:
            raise
        found, why = None, str(error)
    told = f"The model is not in this page, so it {lacks}: {why}."
    return found, "" if found else told


def _changed(model: nn.Module) -> str:
    """What somebody added to a model, that a page would not know of."""
    for name, module in model.named_modules():
        where = name or "the model"
        hooks = ("_forward_hooks", "_forward_pre_hooks")
        if any(getattr(module, kind) for kind in hooks):
            return f"{where} has hooks, which no page can run"
        known = type(module).__module__.split(".")[0] in ("torch", "transformer_lab")
        if not known or "forward" in vars(module) or is_parametrized(module):
            return f"{where} was changed by other code, which no page can run"
    return ""


def _mb(size: int) -> str:
    return f"{size / 2**20:.0f} MB"

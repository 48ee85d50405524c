"""What is put around a model without changing what it is: it is taken off here, and nowhere else."""

from __future__ import annotations

from typing import Any

from torch import nn

_COMPILED = "_orig_mod"  # where torch.compile keeps the module


def unwrapped(model: Any) -> Any:
    """The model itself: of a TextModel, and without what `bare` takes off.

    Raises:
        ValueError: as `bare`.
    """
    return bare(of_text_model(model))


def of_text_model(model: Any) -> Any:
    """What a TextModel or an ImageModel reads with; others are returned as they are."""
    with_text, with_pictures = hasattr(model, "tokenizer"), hasattr(model, "prepare")
    return model.model if hasattr(model, "model") and (with_text or with_pictures) else model


def bare(model: Any) -> Any:
    """The module inside what `torch.compile` returned, DistributedDataParallel, DataParallel or a
    PEFT model, whose adapters are inside it and go on acting.

    Raises:
        ValueError: for a PEFT model whose adapter is not in the model (prompts, prefixes).
    """
    while True:
        inner = _inside(model)
        if inner is model:
            return model
        model = inner


def is_compiled(model: Any) -> bool:
    """Whether some of it runs as compiled code, which calls no hooks that are hung on it later."""
    inner = of_text_model(model)
    if not isinstance(inner, nn.Module):
        return False
    left, seen = [inner], {id(inner)}  # asked at every edit: `modules` takes three times as long
    while left:
        module = left.pop()
        if _COMPILED in module._modules or getattr(module, "_compiled_call_impl", None) is not None:
            return True
        for child in module._modules.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                left.append(child)
    return False


def _inside(model: Any) -> Any:
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        return model.module
    if isinstance(model, nn.Module) and _COMPILED in model._modules:
        return model._modules[_COMPILED]
    if any(c.__name__ == "PeftModel" for c in type(model).__mro__):
        if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
            raise ValueError(
                f"{type(model).__name__} learned a prompt, which is put in front of the model and "
                "not into it: give the model itself, or an adapter such as LoRA"
            )
        peft: Any = model
        return peft.get_base_model()
    return model

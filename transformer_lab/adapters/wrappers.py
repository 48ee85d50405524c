"""The only place that removes what wraps a model without changing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from ..files.random_weights import caution
from .module_lists import every_module

if TYPE_CHECKING:
    from ..tracing.trace import Trace

_COMPILED = "_orig_mod"  # where torch.compile keeps the module


class ModelWithProcessor:
    """A model with what prepares its input: the base of `TextModel` and `ImageModel`."""

    model: Any
    name: str
    tokenizer: Any = None  # of texts; an image processor is an ImageModel's own
    target_tokenizer: Any = None

    @property
    def random_weights(self) -> tuple[str, ...]:
        """Names of the weights that were not in the file and are random; see `from_pretrained`."""
        return tuple(getattr(self.model, "random_weights", ()))

    def read(self, given: Any, target: Any) -> tuple[Any, Any, dict[str, Any]]:
        """A text or an image as the model's inputs: token ids, the decoder's input, further inputs.

        Raises:
            ValueError: for one that it cannot read.
        """
        raise NotImplementedError

    def trace(self, given: Any, target: Any = None, **options: Any) -> Trace:
        """Run the model and record what its attention computed; see `tl.trace`."""
        raise NotImplementedError

    def check_saved(self) -> None:
        """Raise ValueError for random weights, which a saved folder could not record."""
        if self.random_weights:
            raise ValueError(
                f"{self.name} has {caution(self)}, and a saved folder could not record that. Once "
                "they are trained, or to save them as they are, set model.model.random_weights = "
                "()"
            )


def unwrapped(model: Any) -> Any:
    """The model itself, without its processor and the wrappers that `bare` removes.

    Raises:
        ValueError: as `bare`.
    """
    return bare(without_processor(model))


def without_processor(model: Any) -> Any:
    """The model of a `TextModel` or an `ImageModel`; others are returned as they are."""
    return model.model if isinstance(model, ModelWithProcessor) else model


def bare(model: Any) -> Any:
    """The module inside a compiled, DistributedDataParallel, DataParallel or PEFT model. PEFT's
    adapters are inside it, and stay active.

    Raises:
        ValueError: for a PEFT model whose adapter is not in the model (prompts, prefixes).
    """
    while True:
        inner = _inside(model)
        if inner is model:
            return model
        model = inner


def is_compiled(model: Any) -> bool:
    """Whether some of it runs as compiled code, which does not call hooks registered later."""
    inner = without_processor(model)
    return isinstance(inner, nn.Module) and any(
        _COMPILED in module._modules or getattr(module, "_compiled_call_impl", None) is not None
        for module in every_module(inner)
    )


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

"""Transformer Lab: train a transformer, trace it, and see and touch its heads.

`import transformer_lab as tl` loads nothing: each name below is loaded when it is first used, so
torch, plotting, Jupyter and Hugging Face cost nothing until they are needed.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# public name -> module that defines it
_NAMES = {
    "ModelConfig": "config",
    "attend": "attention",
    "Attention": "attention",
    "AttentionCall": "attention",
    "Tap": "attention",
    "Rotary": "positions",
    "Sinusoidal": "positions",
    "Learned": "positions",
    "ALiBi": "positions",
    "NoPositions": "positions",
    "Relative": "positions",
    "Transformer": "model",
    "pick_device": "model",
    "Recurrent": "recurrent",
    "RecurrentConfig": "recurrent",
    "Classifier": "readers",
    "SpanReader": "readers",
    "accuracy": "grading",
    "exact_match": "grading",
    "grade_heads": "grading",
    "train": "train",
    "Step": "train",
    "TrainingStopped": "train",
    "evaluate": "objective",
    "Run": "run",
    "save_model": "checkpoint",
    "load_model": "checkpoint",
    "generate": "generate",
    "TextModel": "text_model",
    "shipped": "text_model",
    "Trace": "trace",
    "trace": "trace",
    "MemoryBudgetError": "trace",
    "edit": "edit",
    "ablate": "edit",
    "knock_out": "edit",
    "scale": "edit",
    "patch": "edit",
    "skip": "edit",
    "mean_of": "reference",
    "sweep_heads": "sweep",
    "sweep_groups": "sweep",
    "sweep_edges": "sweep",
    "explore": "explore",
}
_MODULES = (
    "circuits",
    "datasets",
    "heads",
    "tokenizers",
    "views",
    "lessons",
    "hub",
    "pretrained",
    "probes",
)

if TYPE_CHECKING:
    from . import circuits, datasets, hub, lessons, tokenizers, views
    from .attention import Attention, AttentionCall, Tap, attend
    from .checkpoint import load_model, save_model
    from .config import ModelConfig
    from .edit import ablate, edit, knock_out, patch, scale, skip
    from .grading import accuracy, exact_match, grade_heads
    from .model import Transformer, pick_device
    from .objective import evaluate
    from .positions import ALiBi, Learned, NoPositions, Relative, Rotary, Sinusoidal
    from .readers import Classifier, SpanReader
    from .recurrent import Recurrent, RecurrentConfig
    from .reference import mean_of
    from .run import Run
    from .sweep import sweep_edges, sweep_groups, sweep_heads
    from .text_model import TextModel, shipped
    from .trace import MemoryBudgetError, Trace, trace
    from .train import Step, TrainingStopped, train


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _NAMES:
        value = getattr(import_module(f".{_NAMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"transformer_lab has no {name!r}; it has {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [*_NAMES, *_MODULES]


class _Package(ModuleType):
    """`tl.trace` is the function, though a module `transformer_lab.trace` exists: Python binds
    a module in its package when it is imported, and that binding is left out where a public
    name is the same."""

    def __setattr__(self, name, value):
        if not (name in _NAMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

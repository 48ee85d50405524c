"""Transformer Lab: train a transformer, trace it, and see and touch its heads.

`import transformer_lab as tl` loads nothing: each name below is loaded when it is first used, so
torch, plotting, Jupyter and Hugging Face cost nothing until they are needed.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Threads that wait for work sleep, rather than spin on a core that somebody else needs: with two
# kernels on two cores a step took seconds instead of a tenth of one. OpenMP reads this when torch is
# loaded, so it holds where this package is imported first, as the lessons do.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# public name -> module that defines it
_NAMES = {
    "ModelConfig": "config",
    "attend": "attention",
    "Attention": "attention",
    "AttentionCall": "attention",
    "Tap": "attention",
    "Site": "attention",
    "Network": "hub.network",
    "NamedNetwork": "hub.named",
    "Output": "hub.network",
    "Rotary": "positions",
    "Sinusoidal": "positions",
    "Learned": "positions",
    "ALiBi": "positions",
    "NoPositions": "positions",
    "Relative": "positions",
    "Transformer": "model",
    "pick_device": "model",
    "Recurrent": "recurrent",
    "RecurrentConfig": "config",
    "Classifier": "readers",
    "PictureClassifier": "readers",
    "SpanReader": "readers",
    "accuracy": "training.marks",
    "exact_match": "training.marks",
    "grade_heads": "training.marks",
    "bleu": "training.translations",
    "Bleu": "training.translations",
    "train": "training.loop",
    "Step": "training.state",
    "TrainingStopped": "training.loop",
    "evaluate": "training.objective",
    "Run": "training.run",
    "save_model": "files.models",
    "load_model": "files.models",
    "generate": "writing",
    "TextModel": "text_model",
    "shipped": "text_model",
    "ImageModel": "pictures.image_model",
    "Trace": "tracing.trace",
    "trace": "tracing.running",
    "Logit": "tracing.gradients",
    "MemoryBudgetError": "tracing.maps",
    "edit": "edits.hanging",
    "ablate": "edits.makers",
    "knock_out": "edits.makers",
    "scale": "edits.makers",
    "patch": "edits.makers",
    "skip": "edits.makers",
    "steer": "edits.makers",
    "mean_of": "edits.reference",
    "estimate_effects": "edits.estimates",
    "sweep_heads": "edits.sweep",
    "sweep_groups": "edits.sweep",
    "sweep_edges": "edits.sweep",
    "patching_grid": "desk.patching",
    "path_patch": "desk.paths",
    "study": "studies.running",
    "report": "reports.report",
    "edge_scores": "desk.edge_scores",
    "circuit": "desk.edge_scores",
    "Circuit": "desk.circuit_scores",
    "head_table": "heads.table",
    "HeadTable": "heads.table",
    "explore": "exploring",
    "compare_runs": "views.runs.curves",
    "to_plotly": "views.measured",
}
# public module -> where it is
_MODULES = {
    "circuits": "circuits",
    "datasets": "datasets",
    "heads": "heads",
    "tokenizers": "tokenizers",
    "views": "views",
    "lessons": "lessons",
    "hub": "hub",
    "pretrained": "pretrained",
    "probes": "heads.probes",
}

if TYPE_CHECKING:
    from . import circuits, datasets, heads, hub, lessons, tokenizers, views
    from .attention import Attention, AttentionCall, Site, Tap, attend
    from .config import ModelConfig, RecurrentConfig
    from .desk.circuit_scores import Circuit
    from .desk.edge_scores import circuit, edge_scores
    from .desk.patching import patching_grid
    from .desk.paths import path_patch
    from .edits.estimates import estimate_effects
    from .edits.hanging import edit
    from .edits.makers import ablate, knock_out, patch, scale, skip, steer
    from .edits.reference import mean_of
    from .edits.sweep import sweep_edges, sweep_groups, sweep_heads
    from .files.models import load_model, save_model
    from .heads import probes
    from .heads.table import HeadTable, head_table
    from .hub.named import NamedNetwork
    from .hub.network import Network, Output
    from .model import Transformer, pick_device
    from .pictures.image_model import ImageModel
    from .positions import ALiBi, Learned, NoPositions, Relative, Rotary, Sinusoidal
    from .readers import Classifier, PictureClassifier, SpanReader
    from .recurrent import Recurrent
    from .reports.report import report
    from .studies.running import study
    from .text_model import TextModel, shipped
    from .tracing.gradients import Logit
    from .tracing.maps import MemoryBudgetError
    from .tracing.running import trace
    from .tracing.trace import Trace
    from .training.loop import TrainingStopped, train
    from .training.marks import accuracy, exact_match, grade_heads
    from .training.objective import evaluate
    from .training.run import Run
    from .training.state import Step
    from .training.translations import Bleu, bleu
    from .views.measured import to_plotly
    from .views.runs.curves import compare_runs


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f".{_MODULES[name]}", __name__)
    if name in _NAMES:
        value = getattr(import_module(f".{_NAMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"transformer_lab has no {name!r}; it has {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [*_NAMES, *_MODULES]

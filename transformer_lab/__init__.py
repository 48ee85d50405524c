"""Transformer Lab: train a transformer, trace it, and see and touch its heads.

`import transformer_lab as tl` loads nothing: each name below is loaded when it is first used, so
torch, plotting, Jupyter and Hugging Face cost nothing until they are needed.
"""

import os
import sys
from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING

from .files.waiting import waiting as _waiting

__version__ = "0.1.0"

# Make idle threads sleep instead of spinning on a core that another process needs: with two kernels
# on two cores, a step took seconds instead of a tenth of one. OpenMP reads this when torch is
# loaded, so it only works if this package is imported first, as in the lessons.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# verb -> public name -> the module that defines it, or the module itself
_API = {
    "train": {
        "ModelConfig": "config",
        "Transformer": "model",
        "RecurrentConfig": "config",
        "Recurrent": "recurrent",
        "Rotary": "positions",
        "Sinusoidal": "positions",
        "Learned": "positions",
        "ALiBi": "positions",
        "Relative": "positions",
        "NoPositions": "positions",
        "Classifier": "readers",
        "PictureClassifier": "readers",
        "SpanReader": "readers",
        "pick_device": "model",
        "train": "training.loop",
        "Step": "training.state",
        "TrainingStopped": "training.loop",
        "Run": "training.run",
        "watching": "training.watching",
        "evaluate": "training.objective",
        "accuracy": "training.scores",
        "exact_match": "training.scores",
        "bleu": "training.bleu",
        "Bleu": "training.bleu",
        "datasets": "datasets",
        "tokenizers": "tokenizers",
    },
    "look": {
        "TextModel": "text_model",
        "ImageModel": "pictures.image_model",
        "shipped": "text_model",
        "trace": "tracing.running",
        "Trace": "tracing.trace",
        "Logit": "tracing.gradients",
        "MemoryBudgetError": "tracing.maps",
        "generate": "writing",
        "heads": "heads",
        "circuits": "analysis.circuits",
        "inputs": "heads.inputs",
        "probe": "heads.probe",
        "head_table": "heads.table",
        "HeadTable": "heads.table",
        "grade_heads": "training.scores",
    },
    "touch": {
        "edit": "edits.interventions",
        "ablate": "edits.constructors",
        "knock_out": "edits.constructors",
        "scale": "edits.constructors",
        "patch": "edits.constructors",
        "skip": "edits.constructors",
        "steer": "edits.constructors",
        "mean_of": "edits.mean_activations",
    },
    "measure": {
        "sweep_heads": "edits.sweep",
        "sweep_groups": "edits.sweep",
        "sweep_edges": "edits.sweep",
        "estimate_effects": "edits.estimates",
        "patching_grid": "analysis.patching.patching_grid",
        "path_patch": "analysis.patching.path_patching",
        "edge_scores": "analysis.patching.edge_scores",
        "circuit": "analysis.patching.edge_scores",
        "Circuit": "analysis.patching.circuit_scores",
        "study": "analysis.studies.run",
    },
    "show": {
        "explore": "exploring",
        "views": "views",
        "to_plotly": "views.measured",
        "compare_runs": "views.runs.curves",
        "lessons": "lessons",
    },
    "save": {
        "save_model": "files.models",
        "load_model": "files.models",
        "report": "analysis.reports.report",
        "pretrained": "pretrained",
    },
    "extend": {
        "adapters": "adapters",
        "attend": "attention",
        "Attention": "attention",
        "Dictionary": "blocks",
        "AttentionCall": "attention",
        "Site": "attention",
        "Tap": "attention",
        "Network": "adapters.network",
        "NamedNetwork": "adapters.named_network",
        "Output": "adapters.network",
    },
}
_MODULES = {
    "datasets",
    "tokenizers",
    "heads",
    "circuits",
    "inputs",
    "views",
    "lessons",
    "pretrained",
    "adapters",
    "watching",
}
_RENAMED = {"probes": "inputs"}  # old name -> new name, for one release
_NAMES = {name: module for names in _API.values() for name, module in names.items()}
__all__ = [*_NAMES]  # type: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from . import adapters, datasets, heads, lessons, tokenizers, views
    from .adapters.named_network import NamedNetwork
    from .adapters.network import Network, Output
    from .analysis import circuits
    from .analysis.patching.circuit_scores import Circuit
    from .analysis.patching.edge_scores import circuit, edge_scores
    from .analysis.patching.patching_grid import patching_grid
    from .analysis.patching.path_patching import path_patch
    from .analysis.reports.report import report
    from .analysis.studies.run import study
    from .attention import Attention, AttentionCall, Site, Tap, attend
    from .blocks import Dictionary
    from .config import ModelConfig, RecurrentConfig
    from .edits.constructors import ablate, knock_out, patch, scale, skip, steer
    from .edits.estimates import estimate_effects
    from .edits.interventions import edit
    from .edits.mean_activations import mean_of
    from .edits.sweep import sweep_edges, sweep_groups, sweep_heads
    from .files.models import load_model, save_model
    from .heads import inputs
    from .heads.probe import probe
    from .heads.table import HeadTable, head_table
    from .model import Transformer, pick_device
    from .pictures.image_model import ImageModel
    from .positions import ALiBi, Learned, NoPositions, Relative, Rotary, Sinusoidal
    from .readers import Classifier, PictureClassifier, SpanReader
    from .recurrent import Recurrent
    from .text_model import TextModel, shipped
    from .tracing.gradients import Logit
    from .tracing.maps import MemoryBudgetError
    from .tracing.running import trace
    from .tracing.trace import Trace
    from .training import watching
    from .training.bleu import Bleu, bleu
    from .training.loop import TrainingStopped, train
    from .training.objective import evaluate
    from .training.run import Run
    from .training.scores import accuracy, exact_match, grade_heads
    from .training.state import Step
    from .views.measured import to_plotly
    from .views.runs.curves import compare_runs


def __getattr__(name: str):
    if name in _NAMES:
        with _waiting("Loading PyTorch") if "torch" not in sys.modules else nullcontext():
            module = import_module(f".{_NAMES[name]}", __name__)
        value = module if name in _MODULES else getattr(module, name)
        globals()[name] = value
        return value
    if name in _RENAMED:
        from warnings import warn

        message = f"tl.{name} is now tl.{_RENAMED[name]}; the next release drops the old name"
        warn(message, FutureWarning, stacklevel=2)
        return __getattr__(_RENAMED[name])
    from difflib import get_close_matches

    known = {known.lower(): known for known in _NAMES}
    near = [known[match] for match in get_close_matches(name.lower(), known, 3, 0.5)]
    hint = f"did you mean {' or '.join(near)}?" if near else "help(tl) lists its names"
    raise AttributeError(f"transformer_lab has no {name!r}; {hint}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _by_verb() -> str:
    """Public names, one paragraph per verb."""
    from textwrap import fill

    return "\n".join(
        fill(f"{verb:<8} {', '.join(names)}", 96, initial_indent="    ", subsequent_indent=" " * 13)
        for verb, names in _API.items()
    )


__doc__ = f"""{__doc__}
Six names are enough to begin: TextModel, trace, edit, ablate, explore and train.

{_by_verb()}
"""

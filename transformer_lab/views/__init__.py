"""Views: one Python class and one ES module each, with a still picture for where no script runs."""

from importlib import import_module
from typing import TYPE_CHECKING

_NAMES = {
    "View": "base",
    "HeadView": "head_view",
    "CompareView": "compare_view",
    "Explorer": "explorer",
    "MixView": "mix_view",
    "PositionView": "position_view",
    "ResidualView": "residual_view",
    "RunView": "run_view",
    "TrainingView": "training_view",
    "WhyView": "why_view",
    "clean_notebook": "export",
    "notebook_to_html": "export",
}

if TYPE_CHECKING:
    from .base import View
    from .compare_view import CompareView
    from .explorer import Explorer
    from .export import clean_notebook, notebook_to_html
    from .head_view import HeadView
    from .mix_view import MixView
    from .position_view import PositionView
    from .residual_view import ResidualView
    from .run_view import RunView
    from .training_view import TrainingView
    from .why_view import WhyView

__all__ = [
    "CompareView",
    "Explorer",
    "HeadView",
    "MixView",
    "PositionView",
    "ResidualView",
    "RunView",
    "TrainingView",
    "View",
    "WhyView",
    "clean_notebook",
    "notebook_to_html",
]


def __getattr__(name: str):
    # Loaded at first use: nbconvert imports views.export alone, and needs no torch for it.
    if name in _NAMES:
        return getattr(import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"transformer_lab.views has no {name!r}; it has {', '.join(__all__)}")

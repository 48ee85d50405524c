"""Exploring a model: in this notebook, in a new one, or as a page."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from .text_model import TextModel

EXAMPLES = {
    "shipped": "for key in self.keys:\n    if key not in self.",
    "decoder": "When Mary and John went to the store, John gave a drink to",
    "encoder": "The animal didn't cross the street because it was too tired.",
    "encoder-decoder": "The animal didn't cross the street because it was too tired.",
}


def example_text(model: TextModel) -> str:
    """A text that has something to show, for a model of this kind."""
    return EXAMPLES["shipped" if model.name == "manual" else model.kind]


def is_at_hand(model: str) -> bool:
    """Whether a model of this name costs no download: it came along, is installed, or is a path."""
    from .hub_models import is_a_path
    from .pretrained.wheels import WHEELS

    return model in ("shipped", *WHEELS) or Path(model).is_dir() or is_a_path(model)


def explore(model: TextModel, text: str | None = None, target: str | None = None) -> Any:
    """Type a text, look at the heads, switch them off and see the predictions change.

    Args:
        model: a `TextModel`, such as `tl.shipped()` or `tl.TextModel.from_pretrained("gpt2")`.
        text: what it reads; an example that fits the model, if left out.
        target: what an encoder-decoder writes; by default its own greedy answer.

    Returns:
        a `tl.views.Explorer`.
    """
    if not isinstance(model, TextModel):
        raise ValueError(
            f"model is a {type(model).__name__}; explore takes a TextModel: "
            "tl.TextModel(model, tokenizer), or tl.TextModel.from_pretrained(name)"
        )
    from .views import Explorer

    return Explorer(model, example_text(model) if text is None else text, target)


def write_notebook(model: str, text: str | None, target: str | None, folder: Path) -> Path:
    """A small notebook with the explorer of a model; an existing one is not overwritten."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    given = ["model"]
    given += [repr(text)] if text is not None else []
    given += [f"target={target!r}"] if target is not None else []
    cells = [
        new_markdown_cell(
            "# What do the heads look at, and does it matter?\n\nRun the cells (Shift-Enter, or Run "
            "▸ Run All Cells). Type a text, click a head, switch it off: the predictions before and "
            "after stand side by side.",
            id="title",
        ),
        new_code_cell(
            f"import transformer_lab as tl\n\nmodel = tl.TextModel.from_pretrained({model!r})\n"
            f"view = tl.explore({', '.join(given)})\nview",
            id="explore",
        ),
        new_markdown_cell(
            "## The same in Python\n\nWhat you chose and changed above can be read and set here.",
            id="python",
        ),
        new_code_cell("print(view.code)\nprint(view.sentence)", id="code"),
        new_code_cell(
            "view.edits = [tl.ablate(layer=0, head=0, kind=view.kind)]  # look above\nview.effect",
            id="ablate",
        ),
    ]
    notebook = new_notebook(cells=cells)
    notebook.metadata.kernelspec = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    path = folder / "explore.ipynb"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"explore-{number}.ipynb"
    nbformat.write(notebook, path)
    return path


def notebook_folder() -> Path:
    """runs/explore here, or a temporary folder where nothing can be written."""
    folder = Path("runs", "explore")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="transformer-lab-"))

"""Looking at the heads of a model: in this notebook, in a new one, or as a page."""

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


def explore(model: TextModel, text: str | None = None, target: str | None = None) -> Any:
    """The heads of a model on a text, as a view.

    Args:
        model: a `TextModel`, such as `tl.shipped()` or `tl.TextModel.from_pretrained("gpt2")`.
        text: what it reads; an example that fits the model, if left out.
        target: what an encoder-decoder writes; by default its own greedy answer.
    """
    if not isinstance(model, TextModel):
        raise ValueError(
            f"model is a {type(model).__name__}; explore takes a TextModel: "
            "tl.TextModel(model, tokenizer), or tl.TextModel.from_pretrained(name)"
        )
    from .views import HeadView

    return HeadView(model.trace(example_text(model) if text is None else text, target))


def write_notebook(model: str, text: str | None, target: str | None, folder: Path) -> Path:
    """A small notebook that shows the heads of a model; an existing one is not overwritten."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    inputs = [f"text = {text!r}" if text is not None else "text = example_text(model)"]
    inputs += [f"target = {target!r}"] if target is not None else []
    traced = "model.trace(text, target)" if target is not None else "model.trace(text)"
    cells = [
        new_markdown_cell(
            "# What do the heads look at?\n\nRun the cells (Shift-Enter, or Run ▸ Run All Cells), "
            "then hover a token and click a head. Change `text` and run again.",
            id="title",
        ),
        new_code_cell(
            "import transformer_lab as tl\n"
            + ("from transformer_lab.explore import example_text\n" if text is None else "")
            + f"\nmodel = tl.TextModel.from_pretrained({model!r})\n"
            + "\n".join(inputs),
            id="model",
        ),
        new_code_cell(f"trace = {traced}\nview = tl.views.HeadView(trace)\nview", id="heads"),
        new_markdown_cell(
            "## Does the head matter?\n\nThe head that you chose above is switched off, and the "
            "model predicts again.",
            id="question",
        ),
        new_code_cell(
            "def show(trace):\n"
            "    if trace.logits is None:\n"
            '        return "this model has no head that predicts tokens"\n'
            '    return ", ".join(f"{token} {p:.2f}" for token, p in trace.predictions())\n'
            "\n"
            "with tl.edit(model, tl.ablate(view.layer, view.head, kind=view.kind)):\n"
            f"    without = {traced}\n"
            "\n"
            'print("with   ", show(trace))\n'
            'print(f"without layer {view.layer}, head {view.head}:", show(without))',
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

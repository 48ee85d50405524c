"""Save every view of a notebook as a page while its kernel runs: with every head, and with the
model that the lesson trained if a page can embed it.

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
        names: what the notebook defined, searched for text models and tokenizers.
    """
    for name, view in list(_instances.items()):
        # Views that plotly draws share its script in the book.
        if not isinstance(view, View) or "plotly" in getattr(view, "_needs", ()):
            continue
        find_reader(getattr(view, "trace", None), names)
        with suppress(ValueError):  # a view that cannot be saved stays as the notebook has it
            view.save_html(Path(folder) / f"{name}.html")


def find_reader(trace: Any, names: dict[str, Any]) -> None:
    """Give a trace of token ids a matching `TextModel`, so that its page takes other texts.

    It must name these tokens as the trace does, and encode their text as these ids.
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
    """Text models of a model: those of the notebook, and ones made with its tokenizers."""
    found = [x for name, x in list(names.items()) if not name.startswith("_")]
    yield from (x for x in found if isinstance(x, tl.TextModel) and x.model is model)
    for one in found:
        tokenizer = getattr(one, "tokenizer", None) or one
        if isinstance(one, type) or not all(hasattr(tokenizer, x) for x in ("encode", "decode")):
            continue
        other = getattr(one, "target_tokenizer", None)
        with suppress(ValueError):  # the vocabulary does not fit
            yield tl.TextModel(model, tokenizer, "model", target_tokenizer=other)


def reads_the_same(reader: tl.TextModel, trace: Any) -> bool:
    """Whether a text model encodes the text of a trace's tokens as these ids, and names match."""
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

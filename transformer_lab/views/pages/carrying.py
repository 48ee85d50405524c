"""Decide whether a page embeds its model, and write its note about that."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.parametrize import is_parametrized

from ...adapters.hooks import foreign_hooks, hooked_everywhere, is_edited
from ...adapters.interrupts import no_grad
from ...adapters.lookup import network_of
from ...adapters.model_inputs import PIXELS
from ...files.models import model_tensors
from ...files.waiting import note
from ...graphs.export import GraphError
from ...graphs.process import ExportFailed
from .carried import Carried, carried, is_ours, why_no_other_text, why_not
from .pictures import PictureModel
from .precision import BITS, check_precision, packed_size

if TYPE_CHECKING:
    from ...text_model import TextModel
    from ...tracing.trace import Trace
    from .carried import Travelling

UNASKED = 16 * 2**20  # up to this many bytes of weights, a model is embedded by default
MOST = 200 * 2**20  # largest model that can be embedded


def carry(
    model: Travelling,
    wanted: bool | None,
    stale: bool,
    traces: Sequence[Trace],
    lacks: str = "it reads no other text",
    precision: str = "auto",
    written: bool = False,
) -> tuple[Carried | None, str]:
    """The model that a page embeds; or None, and why not, in a sentence.

    Args:
        wanted: as `model` in `save_html`.
        stale: whether the weights have changed since the text was read.
        traces: of the texts on the page.
        lacks: what a page without the model cannot do, as a clause.
        precision: as in `save_html`.
        written: as in `carried`.

    Raises:
        ValueError: for a requested model that cannot be embedded or is too large, an unknown
            precision, or a precision for a model that is left out.
    """
    if _left_out(wanted, precision):
        return None, ""
    why = why_not(model) or _changed(model)
    if stale:
        why = f"its weights have changed since this {_read(model)} was read, or it was edited then; read it again"
    size = 0
    if not why:
        precision, size, why = _fitting(model, precision)
    cannot = (
        f"model=True: {model.name} cannot travel in a page: {{}}; leave model out, and the page "
        "holds what was computed"
    )
    if wanted and why:
        raise ValueError(cannot.format(why))
    if not why and (size > UNASKED or not is_ours(model)) and wanted is None:
        return None, (
            f"This page is a snapshot without its model, so {lacks}; "
            f"save_html(path, model=True) includes it ({_mb(size)})."
        )
    failed = False
    try:
        if not why and size > UNASKED:
            announce(model, size, precision)
        found = None if why else carried(model, precision, traces, written)
    except ValueError as error:
        failed = isinstance(error, ExportFailed)  # out of memory or time: save the page without
        if wanted and not failed:
            whole = not isinstance(error, GraphError)  # which is the end of a sentence
            raise ValueError(str(error) if whole else cannot.format(error)) from error
        found, why = None, str(error)
    notice = f"This page is a snapshot without its model, so {lacks}: {why}."
    if wanted and failed:
        warnings.warn(notice, stacklevel=2)
    return found, "" if found else notice


def announce(model: Travelling, size: int, precision: str) -> None:
    """Print to stderr what writing a large page takes."""
    numbers = sum(t.numel() for t in model_tensors(model.model).values())
    seconds, memory = size / 16e6, (4 * 2 * numbers + 2 * size) / 2**30
    line = (
        f"Writing {model.name} into the page: {_mb(size)} in {BITS[precision]} bits, about "
        f"{seconds:.0f} s and {memory:.1f} GB of memory."
    )
    note(line)


def for_readers(notice: str) -> str:
    """The notice of `carry` for a page: without the way out, which only its author can use."""
    reason, _, way_out = notice.partition("; ")
    return f"{reason}." if way_out else notice


def _left_out(wanted: bool | None, precision: str) -> bool:
    """Whether the model is to be left out.

    Raises:
        ValueError: for an unknown precision, or a precision for a model that is left out.
    """
    check_precision(precision)
    if wanted is False and precision != "auto":
        raise ValueError(
            f"precision={precision!r} applies to a model that travels, and model=False leaves it out; "
            "give one of them"
        )
    return wanted is False


def _fitting(model: Travelling, precision: str) -> tuple[str, int, str]:
    """The precision to embed a model in, its size in bytes, and why that is too large, or ""."""
    tensors = model_tensors(model.model)
    sizes = {one: packed_size(tensors, one) for one in BITS}
    if precision == "auto":
        precision = "float16" if sizes["float16"] <= MOST else "int8"
    size = sizes[precision]
    if size <= MOST:
        return precision, size, ""
    why = (
        f"it has {_mb(size)} in {BITS[precision]} bits, and a page takes at most {_mb(MOST)} along"
    )
    fits = [one for one in BITS if sizes[one] <= MOST]
    if fits:
        why += f" (precision={fits[0]!r} makes it {_mb(sizes[fits[0]])})"
    return precision, size, why


def precision_unasked(model: TextModel) -> tuple[str, str]:
    """The highest precision in which a model is small enough to be embedded by default.

    Or "", and why there is none, as the end of a sentence.
    """
    if why := why_not(model) or why_no_other_text(model) or _changed(model):
        return "", why
    tensors = model_tensors(model.model)
    sizes = {one: packed_size(tensors, one) for one in ("float32", "float16")}
    fits = next((one for one, size in sizes.items() if size <= UNASKED), "")
    if fits:
        return fits, ""
    least = min(sizes.values())
    return "", f"{model.name} has {_mb(least)}, and up to {_mb(UNASKED)} are kept in a page"


def carry_traces(
    traces: Sequence[Trace], wanted: bool | None, precision: str = "auto", written: bool = False
) -> tuple[Carried | None, str]:
    """As `carry`, for a view of traces: they must all be of one `TextModel`, unchanged since.

    Raises:
        ValueError: for a requested model that cannot be embedded, or is too large.
    """
    model = reader_of(traces)
    if _left_out(wanted, precision):
        return None, ""
    if model is None:
        if wanted:
            raise ValueError(
                "model=True: what is shown was not read by one TextModel, so no page could read "
                "another text; trace with model.trace(text), or leave model out"
            )
        return None, _read_by_none(traces)
    stale = is_stale(model, traces)
    return carry(model, wanted, stale, traces, precision=precision, written=written)


def _read_by_none(traces: Sequence[Trace]) -> str:
    """Why a page of traces that no single `TextModel` made takes no other text, in a sentence.

    "" if there are no traces.
    """
    networks = {id(one.network.module): one.network for one in traces if one.network is not None}
    if not traces:
        return ""
    if not networks:
        why = "its maps were kept without the model"
    elif len(networks) > 1:
        why = "several models are on view"
    elif traces[0].tokens is None:
        read = "an image" if PIXELS in traces[0].given else "audio"
        why = f"the model was given {read}"
    else:
        why = "the model was given token ids, and no tokenizer that makes them of a text"
    return f"This page is a snapshot without its model, so it reads no other text: {why}."


def reader_of(traces: Sequence[Trace]) -> TextModel | None:
    """The `TextModel` that read all of these texts; None if there is none, or several."""
    models = {id(trace.text_model): trace.text_model for trace in traces}
    return next(iter(models.values())) if len(models) == 1 else None


def is_stale(model: TextModel, traces: Sequence[Trace]) -> bool:
    """Whether a model's answers now differ from the traces: it has learned, or was edited."""
    return not all(_same_again(model, trace) for trace in traces)


def _same_again(model: TextModel, trace: Trace) -> bool:
    """Whether the model now gives the same answers as in the trace."""
    target = None if trace.target is None else trace.target[0]
    with no_grad():
        now = model.trace_ids(trace.tokens[0], target)
    pairs = [(now.logits, trace.logits)]
    if trace.logits is None:
        pairs = [
            (now.residual_norms(k), trace.residual_norms(k)) for k in trace.kinds if k != "cross"
        ]
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs)


def _changed(model: Travelling) -> str:
    """Why a model cannot be embedded as it is now: it is being edited, or runs other code's hooks
    or methods. Those may act on some texts only, so that no comparison would show them."""
    module = network_of(model.model).module
    if is_edited(module):
        return "it is being edited, and would travel without the edit; save the page when the block of tl.edit has ended"
    if hooked_everywhere():
        return "torch has hooks on every module, which no page can run"
    for name, part in module.named_modules():
        where = name or "the model"
        if foreign_hooks(part):
            return f"{where} has hooks, which no page can run"
        strange = is_ours(model) and (
            type(part).__module__.split(".")[0] not in ("torch", "transformer_lab")
            or is_parametrized(part)
        )
        if strange or "forward" in vars(part):
            return f"{where} was changed by other code, which no page can run"
    return ""


def _read(model: Travelling) -> str:
    return "image" if isinstance(model, PictureModel) else "text"


def _mb(size: int) -> str:
    return f"{size / 2**20:.0f} MB"

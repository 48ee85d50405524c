"""The model for the page of a live view, so that it keeps working if the kernel is busy or gone."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from ..shared.weights import weights_mark
from .carried import carried, engine_script, graph_at_hand, has_every_graph
from .carrying import precision_unasked
from .commons import ENGINE
from .tokenizers import packed_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...text_model import TextModel

NO_MODEL = "the page cannot run this model"


def mark_of(model: TextModel, version: bytes, written: bool = False) -> tuple[str, str]:
    """A name for the model with these weights, so that the views of a page share it.

    Or "", and why the page cannot have it, as the end of a sentence.

    Args:
        version: of its weights, as returned by `weights_mark`.
        written: as in `carried`.
    """
    precision, why = precision_unasked(model)
    if not precision:
        return "", why
    sides = [packed_tokenizer(x) for x in (model.tokenizer, model.target_tokenizer)]
    written = written or has_every_graph(model)  # then all views of a page share one model
    identity = json.dumps([model.name, repr(model.model.config), sides, written]).encode()
    return hashlib.sha256(version + identity).hexdigest()[:24], ""


def part_of(
    model: TextModel | None,
    mark: str,
    part: str,
    send: Callable[[dict[str, Any]], Any],
    written: bool = False,
) -> tuple[dict[str, Any], list[bytes]]:
    """Answer a request for the engine, or for the model that it runs, as a saved page holds them.

    While another process exports the model, the answer has "later"; a message "standby" follows.

    Args:
        mark: as returned by `mark_of`.
        send: sends a message to the page.
        written: as in `carried`.

    Raises:
        ValueError: if the page cannot have it.
    """
    if not mark or model is None:
        raise ValueError(NO_MODEL)
    if part == ENGINE:
        return {"type": "standby", "info": {"mark": mark}}, [engine_script().encode()]
    if not graph_at_hand(model, lambda: send({"type": "standby"}), written):
        return {"type": "standby", "info": {"mark": mark, "later": True}}, []
    _, block = carried(model, precision_unasked(model)[0], written=written).blocks
    return {"type": "standby", "info": {"mark": mark, **block.info}}, block.buffers


def answer_standby(
    question: Mapping[str, Any],
    model: TextModel | None,
    why_not: Callable[[], str],
    as_read: Callable[[], Mapping[str, Any]],
    send: Callable[[dict[str, Any]], Any],
    written: bool = False,
) -> tuple[dict[str, Any], list[bytes]]:
    """Answer a page that asks whether it can have the model, or requests its parts.

    Args:
        model: the one that computed what is shown; None if no `TextModel` did.
        why_not: why the page cannot compute what is shown, as the end of a sentence; or "".
        as_read: what the page's engine needs to know about it.
        send: sends a message to the page about what is ready later.
        written: as in `carried`.

    Raises:
        ValueError: for a part of a model that the page cannot have.
    """
    if model is None:
        mark, why = "", "what is shown was not read by one TextModel"
    else:
        mark, why = mark_of(model, weights_mark(model.network.module), written)
    if "part" in question:
        return part_of(model, mark, str(question["part"]), send, written)
    if not why and (why := why_not()):
        mark = ""
    about = {"mark": mark, "why": why, **(as_read() if mark else {})}
    return {"type": "standby", "about": about}, []

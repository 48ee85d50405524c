"""`tl.trace`: one forward pass, recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..adapters.interrupts import no_grad, together
from ..adapters.lookup import network_of
from ..adapters.network import NEEDS_TARGET, AdapterError, ChangedError, Inputs, Network, Output
from ..adapters.patches import Patches
from ..adapters.wrappers import ModelWithProcessor
from ..arguments import shown
from ..attention import Site
from ..files.waiting import waiting
from ..tokenizers import PositionName
from .gradients import as_logit, recorded_with_gradients
from .maps import GivenMaps
from .recording import PartsTap, Recorder, watching_parts, what_to_keep
from .trace import Trace

PIXELS = "pixel_values"
_IDS = "give token ids, whole numbers: [position] or [batch, position]"


def trace(
    model: Any,
    tokens: Any = None,
    target: Any = None,
    *,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    labels: Sequence | None = None,
    target_labels: Sequence | None = None,
    keep: str | None = None,
    gradients: Any = None,
    budget_mib: float = 1024,
    **given: Any,
) -> Trace:
    """Run the model once and record what its attention computed.

    Args:
        model: our `Transformer`, any Hugging Face model, a `TextModel` (then give text), an
            `ImageModel` (then an image), or a `tl.Network` of your own.
            A model in training mode is not changed: a copy of it is traced, without dropout.
        tokens: int64 [batch, position] or [position]; text for a TextModel; None for a model
            that reads images or audio.
        target: the decoder's input, for an encoder-decoder.
        mask, target_mask: bool, True for real tokens.
        labels, target_labels: labels of the tokens (a list of strings, or one list for each text of
            the batch); the token ids by default. Image tokens are labelled by their patch.
        keep: "all" also keeps values, what attention and feed-forward add, and the residual stream;
            "maps" only norms and what the patterns need. None: "all" if values, heads' outputs and
            the residual stream take less than 64 MiB; if only queries, keys and values do, these
            three; else "maps".
        gradients: the number to differentiate, see `Trace.gradient`: a token (its logit at each
            text's last token), a pair of tokens (their logit difference), a
            `tl.Logit(token, against, position)`, or a function from logits [batch, position, vocab]
            to one number; for a classifier, classes take the place of tokens. Every pattern is then
            computed whole.
        budget_mib: limit for the patterns with their graph and gradients.
        given: further inputs under the model's own names, such as `pixel_values`, float [batch,
            channel, height, width] or without the batch, as its image processor returns them. A
            model that reads text and images together needs one placeholder among the tokens for
            each part of the image, as its processor inserts them. Whisper reads `input_features`,
            float [batch, mel bin, frame], and a target; other speech models `input_values` or
            `input_features`, as their feature extractor returns them. Positions are labelled by
            their time, if known.

    Raises:
        ValueError: for empty or too long texts, tokens outside the vocabulary, pixels of another
            size or type than the model takes, or a model with no attention, with the way out;
            if gradients are requested and cannot be computed.
        MemoryBudgetError: if gradients take more than budget_mib.
    """
    if keep not in (None, "all", "maps"):
        raise ValueError(f"keep must be 'all', 'maps' or None, got {keep!r}")
    more = {} if gradients is None else dict(gradients=gradients, budget_mib=budget_mib)
    if isinstance(model, ModelWithProcessor) and not given:
        return model.trace(tokens, target, keep=keep, **more)
    network = network_of(model)
    inputs = inputs_for(network, tokens, target, mask, target_mask, given)
    network = network.evaluated()
    parts = keep == "all"  # by default, a trace must cost no more than the pass
    keep = keep or what_to_keep(network, inputs)
    network.check(inputs)
    seen = _labels("labels", labels, inputs.tokens)
    written = _labels("target_labels", target_labels, inputs.target)
    of = None if gradients is None else as_logit(gradients)
    with waiting(f"Running {network.name}"):
        try:
            recorder, output, found = _run(network, inputs, keep, of, budget_mib, parts)
        except ChangedError:
            recorder, output, found = _run(network, inputs, keep, of, budget_mib, parts)
    patches = network.patches(inputs) if inputs.given else None
    if inputs.tokens is None:
        patches, seen, places = _places(network, inputs, recorder, patches, labels)
        written = places if inputs.target is None else written
    elif inputs.given:
        patches, seen = _pictured(network, inputs, patches, seen)
    return Trace(
        network,
        recorder,
        **vars(inputs),
        labels=seen,
        target_labels=written,
        patches=patches,
        logits=output.logits,
        answers=output.answers,
        name=network.name,
        **found,
    )


def _run(
    network: Network, inputs: Inputs, keep: str, of: Any, budget_mib: float, parts: bool
) -> tuple[Recorder, Output, dict[str, Any]]:
    """Run one pass; return its recorder, its output and further arguments of Trace."""
    if of is None:
        recorder, output, note = _recorded(network, inputs, keep, parts)
        return recorder, output, dict(note=note)
    recorder, output, found, scalar = recorded_with_gradients(network, inputs, keep, of, budget_mib)
    note = _note(network, recorder, inputs)
    return recorder, output, dict(gradients=found, scalar=scalar, note=note)


def _said(network: Network, recorder: Recorder) -> str:
    """A note on the layers that were not recorded, and why."""
    met = {*recorder.calls, *recorder.left_out}
    return " ".join(filter(None, (network.missing(met), recorder.what_was_left_out())))


def _note(network: Network, recorder: Recorder, inputs: Inputs) -> str | None:
    return " ".join(filter(None, (network.remarks(inputs), _said(network, recorder)))) or None


def inputs_for(
    network: Network,
    tokens: Any,
    target: Any = None,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    given: Mapping[str, Any] | None = None,
) -> Inputs:
    """Check the inputs of a network and move them to its device.

    Raises:
        ValueError: for inputs that it cannot read.
    """
    more = network.more_inputs(tokens, {n: x for n, x in (given or {}).items() if x is not None})
    ids, target_ids = token_ids("tokens", tokens), token_ids("target", target)
    if ids is None and not more:
        raise ValueError(f"there are no tokens to read; {_IDS}")
    in_vocabulary(network, ids, target_ids)
    if ids is not None and network.kind == "encoder-decoder" and target_ids is None:
        raise ValueError(NEEDS_TARGET.format(name=network.name))
    masks = _mask_for("mask", mask, ids), _mask_for("target_mask", target_mask, target_ids)
    moved: list[Any] = [
        None if x is None else x.to(network.device) for x in (ids, target_ids, *masks)
    ]
    return Inputs(*moved, given=more)


def _mask_for(name: str, mask: Any, ids: Tensor | None) -> Tensor | None:
    """Return a mask [batch, position] like its tokens; for one text, [position] is accepted too.

    Raises:
        ValueError: if a two-dimensional mask has another shape.
    """
    if mask is None or ids is None:
        return mask
    mask = torch.as_tensor(mask)
    mask = mask[None] if mask.dim() == 1 else mask
    if mask.dim() == 2 and mask.shape != ids.shape:
        raise ValueError(
            f"{name} must be as large as its tokens, {list(ids.shape)}, True for a real token, got "
            f"{list(mask.shape)}"
        )
    return mask


def _places(
    network: Network,
    inputs: Inputs,
    recorder: Recorder,
    patches: Patches | None,
    labels: Sequence | None,
) -> tuple[Patches | None, list[list[str]], list[list[str]]]:
    """Patch positions, and labels for the positions of encoder and decoder, for inputs without
    tokens.

    Raises:
        ValueError: if attention is not over one whole image or audio clip, the same in all layers.
    """
    batch, longest = len(inputs.first), {"encoder": 1, "decoder": 1}
    for kind, calls in recorder.calls.items():
        shapes = {(call.shape[0], *call.shape[2:]) for call in calls.values()}
        read, parts = ("image", "patch") if PIXELS in inputs.given else ("audio", "position")
        for layer, call in calls.items():
            if call.shape[0] != batch:
                raise ValueError(
                    f"layer {layer} of {network.name} attends within {call.shape[0] // batch} "
                    f"windows of {call.shape[2]} positions each, so there is no single map of the "
                    f"{read}"
                )
        if len(shapes) > 1 or any(kind != "cross" and q != k for _, q, k in shapes):
            text = ", ".join(f"{q} × {k}" for _, q, k in sorted(shapes))
            raise ValueError(
                f"the layers of {network.name} see the {read} at different sizes (maps of "
                f"{text}), so one {parts} is not the same in all of them"
            )
        sides = ("decoder", "encoder") if kind == "cross" else (kind, kind)
        for side, n in zip(sides, shapes.pop()[1:], strict=True):
            longest[side] = n
    side = "encoder" if "encoder" in recorder.calls else "decoder"
    if patches is not None and len(patches.labels) != longest[side]:
        patches = None
    names: dict[str, list[str]] = {
        side: [f"position {i}" for i in range(n)] for side, n in longest.items()
    }
    if patches is not None:
        names[side] = list(patches.labels)
    heard = network.heard(inputs)
    if heard is not None and len(heard) == longest["encoder"]:
        names["encoder"] = heard
    names = {side: [*map(PositionName, own)] for side, own in names.items()}
    seen, written = ([names[s]] * batch for s in ("encoder", "decoder"))
    if labels is not None:
        found = _labels("labels", labels, torch.empty(batch, longest[side]))
        seen, written = (found, written) if side == "encoder" else (seen, found)
    return patches, seen, written


def _pictured(
    network: Network, inputs: Inputs, patches: Patches | None, seen: list[list[str]]
) -> tuple[Patches | None, list[list[str]]]:
    """Patch positions among the tokens, and labels for the tokens: image tokens are labelled by
    their patch, or numbered if it is not known."""
    held = network.pictured(inputs)
    if held is None:
        return patches, seen
    counts = held.cumsum(-1).tolist()
    named = [
        [
            PositionName(f"image part {n}") if here else label
            for label, here, n in zip(*row, strict=True)
        ]
        for row in zip(seen, held.tolist(), counts, strict=True)
    ]
    if patches is not None:
        first, end = patches.start, patches.start + patches.n
        cells = [*map(PositionName, patches.labels[first:end])]
        named = [[*row[:first], *cells, *row[end:]] for row in named]
        if len(named) == 1:
            before, after = tuple(named[0][:first]), tuple(named[0][end:])
            patches = replace(patches, before=before, after=after)
    return patches, named


def _recorded(
    network: Network, inputs: Inputs, keep: str, parts: bool
) -> tuple[Recorder, Output, str | None]:
    """Record one pass; if attention does not go through the attention interface, the model's own
    patterns, with a note."""
    recorder, reason = Recorder(network, keep, inputs), ""
    try:
        with together(
            no_grad(),
            network.tapping(recorder),
            network.watching_stream(recorder),
            watching_parts(network, recorder, PartsTap(recorder)) if parts else nullcontext(),
        ):
            output = network.run(inputs)
        recorder.finish()
        reason = _said(network, recorder)
        if recorder.calls:
            return recorder, output, _note(network, recorder, inputs)
    except ChangedError:
        raise
    except AdapterError as error:
        reason = str(error)
    reason = reason.rstrip(".") or "it made no call to it"
    recorder, output = _given(network, inputs, keep, reason)
    note = (
        "These maps are the model's own eager ones, all computed at once: its attention does not "
        f"go through the attention interface ({reason}), so edits are not available."
    )
    return recorder, output, note


def _given(network: Network, inputs: Inputs, keep: str, reason: str) -> tuple[Recorder, Output]:
    recorder = Recorder(network, keep)
    try:
        output, maps = network.own_maps(inputs)
    except AdapterError as error:
        none = reason.startswith("no module of")
        what = f"has no attention to trace: {reason}" if none else f"cannot be traced: {reason}"
        raise ValueError(f"{network.name} {what}; and {error}") from None
    for kind, found in maps.items():
        recorder.calls[kind] = {i: GivenMaps(m, Site(kind, i)) for i, m in found.items()}
    return recorder, output


def token_ids(name: str, tokens: Any) -> Tensor | None:
    """Convert token ids to int64 [batch, position]; None stays None.

    Raises:
        ValueError: if they are not token ids, naming the argument.
    """
    if tokens is None:
        return None
    if isinstance(tokens, str):
        raise ValueError(
            f"{name} is text; give token ids, or trace a TextModel, which has a tokenizer"
        )
    try:
        ids = torch.as_tensor(tokens)
    except (TypeError, ValueError, RuntimeError):  # a dict, text, rows of several lengths …
        raise ValueError(f"{name} cannot be {shown(tokens)}; {_IDS}") from None
    if ids.dim() == 1:
        ids = ids[None]
    if ids.dim() != 2 or ids.shape[1] == 0 or ids.shape[0] == 0:
        raise ValueError(
            f"{name} must hold at least one token, as [position] or [batch, position], got shape "
            f"{list(ids.shape)}"
        )
    if (
        ids.is_quantized
        or ids.dtype.is_floating_point
        or ids.dtype.is_complex
        or ids.dtype == torch.bool
    ):
        raise ValueError(f"token ids must be whole numbers, got {name} of type {ids.dtype}")
    if ids.is_meta or ids.layout != torch.strided:
        kind = "meta device" if ids.is_meta else f"layout {ids.layout}"
        raise ValueError(f"{name} is a tensor of the {kind}; {_IDS}")
    return ids.long()


def in_vocabulary(network: Network, tokens: Tensor | None, target: Tensor | None) -> None:
    """Check that all token ids are in the vocabulary.

    Raises:
        ValueError: for an id that the model has no embedding for.
    """
    size, target_size = network.vocabulary
    for name, ids, limit in (("tokens", tokens, size), ("target", target, target_size)):
        if ids is not None and limit and not 0 <= int(ids.min()) <= int(ids.max()) < limit:
            bad = int(ids.max()) if int(ids.max()) >= limit else int(ids.min())
            raise ValueError(
                f"{name} holds {bad}, outside the vocabulary of {limit} tokens (0 … {limit - 1})"
            )


def _labels(name: str, labels: Sequence | None, ids: Tensor | None) -> Any:
    if ids is None:
        return None
    if labels is None:
        return [[str(i) for i in row] for row in ids.tolist()]
    try:
        rows: list[Any] = list(labels)
        rows = [rows] if all(isinstance(x, str) for x in rows) else [list(row) for row in rows]
    except TypeError:
        rows = [[labels]]
    if not all(isinstance(label, str) for row in rows for label in row):
        raise ValueError(
            f"{name} must be strings, a list of them or one list for each text, got {shown(labels)}"
        )
    if [len(r) for r in rows] != [ids.shape[1]] * len(ids):
        raise ValueError(
            f"{name} must have {ids.shape[1]} labels for each of the {len(ids)} texts, got "
            f"{[len(r) for r in rows]}"
        )
    return rows

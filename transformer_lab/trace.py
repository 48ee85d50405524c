"""What one forward pass did: queries and keys now, maps when somebody looks.

A trace costs a forward pass. It keeps references to queries and keys (memory grows with the
number of tokens N), and computes softmax(q·kᵀ·scale + bias) for the layer and head asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import hub
from .attention import AttentionCall, Site
from .recording import GivenMaps, Recorder, output_weight, value_norms, what_to_keep

KINDS = ("encoder", "decoder", "cross")


class MemoryBudgetError(MemoryError):
    """Materialising this many maps would take more memory than was allowed."""


class TraceError(ValueError):
    """The trace does not hold what was asked for."""


def trace(
    model: Any,
    tokens: Any,
    target: Any = None,
    *,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    labels: Sequence | None = None,
    target_labels: Sequence | None = None,
    keep: str | None = None,
) -> Trace:
    """Run the model once and keep what its attention did.

    Args:
        model: our `Transformer`, any Hugging Face model, or a `TextModel` (then give text).
            A model in training mode is not touched: a copy of it is traced, without dropout.
        tokens: int64 [batch, position] or [position]; text for a TextModel.
        target: the decoder's input, for an encoder-decoder.
        mask, target_mask: bool, True for real tokens.
        labels, target_labels: what to show for each token (a list of strings, or one a text of
            the batch); the token ids by default.
        keep: "all" keeps values and the residual stream as well; "maps" only what the maps need,
            and norms. None: "all" while the stream is under 64 MiB.

    Raises:
        ValueError: for empty or too long texts, tokens outside the vocabulary, or a model with
            no attention, saying what would do.
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile
    model = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    if keep not in (None, "all", "maps"):
        raise ValueError(f"keep={keep!r} is not known; choose 'all', 'maps' or None")
    if hasattr(model, "tokenizer") and hasattr(model, "trace"):  # a TextModel
        return model.trace(tokens, target, keep=keep)
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model is a {type(model).__name__}; trace takes a transformer_lab.Transformer, a "
            "Hugging Face model or a TextModel"
        )
    tokens, target = _ids("tokens", tokens), _ids("target", target)
    _in_vocabulary(model, tokens, target)
    device = next(model.parameters()).device
    move = lambda x: None if x is None else x.to(device)  # noqa: E731
    tokens, target, mask, target_mask = map(move, (tokens, target, mask, target_mask))
    if model.training:
        model = _frozen_copy(model)
    if keep is None and hasattr(model, "config"):
        keep = what_to_keep(model, tokens, target)
    keep = keep or "all"
    details = dict(
        tokens=tokens, target=target, mask=mask, target_mask=target_mask,
        labels=_labels("labels", labels, tokens), target_labels=_labels("target_labels", target_labels, target),
    )  # fmt: skip
    if hub.is_hugging_face(model):
        return _trace_hugging_face(model, keep, details)
    if not hasattr(model, "add_tap"):
        raise ValueError(
            f"{type(model).__name__} has no attention that can be traced; give a "
            "transformer_lab.Transformer or a Hugging Face model"
        )
    recorder, network = Recorder(model, keep), cast(Any, model)
    network.add_tap(recorder)
    try:
        with torch.no_grad():
            output = network(tokens, target, mask=mask, target_mask=target_mask)
    finally:
        network.remove_tap(recorder)
    logits = output if getattr(getattr(model, "config", None), "head", True) else None
    return Trace(model, recorder, logits=logits, name=type(model).__name__, **details)


def _trace_hugging_face(model: Any, keep: str, details: dict) -> Trace:
    given = {name: details[name] for name in ("tokens", "target", "mask", "target_mask")}
    inputs = hub.inputs_of(**given, model=model)
    if details["target"] is None and getattr(model.config, "is_encoder_decoder", False):
        raise ValueError("an encoder-decoder needs target, the decoder's input")
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit and details["tokens"].shape[1] > limit:
        raise ValueError(
            f"the text has {details['tokens'].shape[1]} tokens but this model's context is "
            f"{limit}; shorten it"
        )
    recorder, name, reason = Recorder(model, keep), model.config.name_or_path, "it never called it"
    try:
        hub.add_tap(model, recorder)
        try:
            with torch.no_grad(), hub.watching_blocks(model, recorder):
                output = model(**inputs)
        finally:
            hub.remove_tap(model, recorder)
    except hub.SeamError as error:
        recorder.calls, reason = {}, str(error)
    except (IndexError, RuntimeError) as error:  # RoBERTa's last positions, a long target …
        if "out of bounds" not in str(error) and "out of range" not in str(error):
            raise
        raise ValueError(
            f"{type(model).__name__} has no embedding for one of these tokens or positions "
            f"({details['tokens'].shape[1]} tokens); shorten the text"
        ) from error
    note = None
    if not recorder.calls:
        output, recorder = _eager(model, inputs, keep, details["tokens"])
        note = (
            "These maps are the model's own eager ones, all computed at once: its attention does "
            f"not go through the seam ({reason}), so edits are not available."
        )
    logits = getattr(output, "logits", None)
    if logits is None:
        logits = getattr(output, "prediction_logits", None)
    return Trace(
        model, recorder, logits=logits, name=name or type(model).__name__, note=note, **details
    )


def _eager(model, inputs, keep, tokens) -> tuple[Any, Recorder]:
    config = model.config
    layers = getattr(config, "num_hidden_layers", 1)
    heads = getattr(config, "num_attention_heads", 1)
    _within_budget(len(tokens) * layers * heads * tokens.shape[1] ** 2, 1024, "shorten the text")
    try:
        output, maps = hub.eager_maps(model, inputs)
    except hub.SeamError as error:
        raise ValueError(f"{type(model).__name__} has no attention to trace: {error}") from None
    recorder = Recorder(model, keep)
    for kind, found in maps.items():
        recorder.calls[kind] = [GivenMaps(m, Site(kind, i)) for i, m in enumerate(found)]
    return output, recorder


class Trace:
    """What one forward pass did. Made by `trace`; axes are [batch, layer, head, query, key].

    `kind` is "encoder", "decoder" or "cross"; where a trace holds several, the first of
    decoder, encoder is meant unless one is named. Layers and heads count from 0.
    """

    def __init__(
        self, model, recorder: Recorder, *, tokens, target, mask, target_mask, labels,
        target_labels, logits, name, note=None,
    ):  # fmt: skip
        if not recorder.calls:
            raise ValueError(f"{name} has no attention to trace")
        self.tokens, self.target, self.logits = tokens, target, logits
        self.mask, self.target_mask = mask, target_mask
        self.model_name, self.note = name, note
        self.budget_mib = 1024
        self._model, self._calls = model, recorder.calls
        self._labels = {"encoder": labels, "decoder": labels if target is None else target_labels}
        self._masks = {"encoder": mask, "decoder": mask if target is None else target_mask}
        self._special: dict[str, list[list[bool]]] = {}
        self._norms, self._streams = recorder.norms, recorder.streams
        self._value_norms, self._heads = recorder.value_norms, recorder.heads
        self._versions = {
            id(c): _version(output_weight(model, c)) for cs in self._calls.values() for c in cs
            if c.value is not None
        }  # fmt: skip
        self._vocabulary = None  # id -> string, set by TextModel

    # -- what there is --------------------------------------------------------------------------

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind in KINDS if kind in self._calls)

    @property
    def batch_size(self) -> int:
        return self.tokens.shape[0]

    def n_layers(self, kind: str | None = None) -> int:
        return len(self._calls[self._kind(kind)])

    def n_heads(self, kind: str | None = None) -> int:
        return self._calls[self._kind(kind)][0].n_heads

    def d_head(self, kind: str | None = None) -> int | None:
        call = self._calls[self._kind(kind)][0]
        return None if isinstance(call, GivenMaps) else call.query.shape[-1]

    def shape(self, kind: str | None = None) -> tuple[int, int]:
        """(queries, keys)."""
        return self._calls[self._kind(kind)][0].shape[2:]

    def causal(self, kind: str | None = None) -> bool:
        """Whether a query never looks at later keys."""
        return self._kind(kind) == "decoder"

    def query_tokens(self, kind: str | None = None, batch: int = 0) -> list[str]:
        kind = self._kind(kind)
        return self._labels["decoder" if kind == "cross" else kind][self._batch(batch)]

    def key_tokens(self, kind: str | None = None, batch: int = 0) -> list[str]:
        kind = self._kind(kind)
        return self._labels["encoder" if kind == "cross" else kind][self._batch(batch)]

    def special(self, kind: str | None = None, batch: int = 0, side: str = "key") -> list[bool]:
        """True for tokens such as [CLS] and for padding; side is "key" or "query"."""
        kind = self._kind(kind)
        if kind == "cross":
            kind = "encoder" if side == "key" else "decoder"
        labels = self._labels[kind][self._batch(batch)]
        flags = self._special.get(kind)
        flags = list(flags[batch]) if flags else [False] * len(labels)
        mask = self._masks[kind]
        if mask is not None:
            flags = [f or not real for f, real in zip(flags, mask[batch].tolist(), strict=True)]
        return flags

    # -- maps -----------------------------------------------------------------------------------

    def pattern(
        self, layer: int, head: int | None = None, *, kind: str | None = None, batch: int = 0
    ) -> Tensor:
        """Attention weights, fp32 [query, key], or [head, query, key] with no head named.

        Rows sum to 1; a query that may look at nothing has a row of 0.

        Raises:
            TraceError: for a layer, head or kind that is not there.
            MemoryBudgetError: when all heads together pass `budget_mib`.
        """
        call = self._call(layer, head, kind, batch)
        if head is None:
            self._guard(call, call.n_heads)
        return call.pattern(batch, slice(None) if head is None else head)

    def scores(
        self, layer: int, head: int | None = None, *, kind: str | None = None, batch: int = 0
    ) -> Tensor:
        """Scores before the softmax, −inf where masked; axes and errors as in `pattern`."""
        call = self._call(layer, head, kind, batch)
        if head is None:
            self._guard(call, call.n_heads)
        return call.scores(batch, slice(None) if head is None else head)

    def patterns(
        self, *, kind: str | None = None, batch: int = 0, budget_mib: float = 256
    ) -> Tensor:
        """All maps of one kind at once: [layer, head, query, key].

        Raises:
            MemoryBudgetError: when they take more than budget_mib, saying how much and what to
                do instead.
        """
        calls = self._calls[self._kind(kind)]
        self._guard(calls[0], len(calls) * calls[0].n_heads, budget_mib)
        self._batch(batch)
        return torch.stack([call.pattern(batch) for call in calls])

    def queries_keys(
        self, layer: int, head: int, *, kind: str | None = None, batch: int = 0
    ) -> tuple[Tensor, Tensor, float] | None:
        """(q [query, d_head], k [key, d_head], scale) where the map is exactly
        softmax(scale · q·kᵀ), with the causal mask where `causal`; None where a padding mask, a
        bias, a softcap or an edit makes it something else."""
        call = self._call(layer, head, kind, batch)
        if isinstance(call, GivenMaps) or call.bias is not None or call.softcap is not None:
            return None
        if any(head in range(call.n_heads)[cut.heads] for cut in call.cuts):
            return None
        if call.causal != self.causal(kind) and call.shape[2] > 1:
            return None
        group = call.n_heads // call.key.shape[1]
        return call.query[batch, head].float(), call.key[batch, head // group].float(), call.scale

    def thumbnails(self, size: int = 32, *, kind: str | None = None, batch: int = 0) -> Tensor:
        """Every map made small by max-pooling: [layer, head, ≤ size, ≤ size].

        One head at a time is computed. Above 1024 queries, 8 · size of them spread over the text
        stand for all.
        """
        layers = []
        for call in self._calls[self._kind(kind)]:
            _, _, n_query, n_key = call.shape
            rows = None
            if n_query > 1024:
                rows = torch.linspace(0, n_query - 1, 8 * size).round().long()
            small = (min(size, n_query), min(size, n_key))
            heads = [
                F.adaptive_max_pool2d(call.pattern(batch, head, rows)[None], small)[0]
                for head in range(call.n_heads)
            ]
            layers.append(torch.stack(heads))
        return torch.stack(layers)

    # -- values ---------------------------------------------------------------------------------

    @property
    def value_note(self) -> str:
        """What `value_norms` are for this model."""
        calls = next(iter(self._calls.values()))
        if isinstance(calls[0], GivenMaps):
            return "not known: the model gives maps only"
        if output_weight(self._model, calls[0]) is None:
            return "‖value‖ (the output projection was not found)"
        return "‖value · W_O‖"

    def value_norms(
        self, layer: int, head: int | None = None, *, kind: str | None = None, batch: int = 0
    ) -> Tensor | None:
        """How long the vector is that a key would add to the stream at weight 1: [key], or
        [head, key]; None where the model gives maps only.

        Raises:
            TraceError: when the weights have changed since the trace was made.
        """
        kind = self._kind(kind)
        call = self._call(layer, head, kind, batch)
        if isinstance(call, GivenMaps):
            return None
        norms = self._value_norms[kind][layer]
        if norms is None:
            if self._versions[id(call)] != _version(output_weight(self._model, call)):
                raise TraceError(
                    "the model's weights have changed since this trace; trace again for value norms"
                )
            norms = self._value_norms[kind][layer] = value_norms(self._model, call)
        return norms[batch] if head is None else norms[batch, head]

    def value_weighted(
        self, layer: int, head: int | None = None, *, kind: str | None = None, batch: int = 0
    ) -> Tensor | None:
        """pattern × value_norms: how much each key adds, rather than how much it is looked at.
        Axes as in `pattern`. Source: Kobayashi et al. 2020."""
        norms = self.value_norms(layer, head, kind=kind, batch=batch)
        if norms is None:
            return None
        return self.pattern(layer, head, kind=kind, batch=batch) * norms[..., None, :]

    # -- residual stream and predictions ----------------------------------------------------------

    def residual(self, kind: str | None = None, batch: int = 0) -> dict[str, Tensor]:
        """name -> [layer, position, d_model]: the residual stream before ("resid_pre") and after
        ("resid_post") every block and, for our own models, in its middle ("resid_mid") with what
        attention and feed-forward added ("attn_out", "mlp_out", "cross_out").

        Raises:
            TraceError: when it was not kept, saying how to keep it.
        """
        kind = "decoder" if self._kind(kind) == "cross" else self._kind(kind)
        found = {
            n: torch.stack(xs)[:, self._batch(batch)]
            for (k, n), xs in self._streams.items()
            if k == kind
        }
        if not found:
            raise TraceError(
                "this trace kept the stream's norms only; use trace(..., keep='all') to keep it whole"
                if self._norms
                else "the residual stream of this model is not known"
            )
        return found

    def residual_norms(self, kind: str | None = None, batch: int = 0) -> Tensor:
        """L2 norm of the residual stream, [layer + 1, position]: row 0 before the first block,
        row l + 1 after block l. Source: Elhage et al. 2021."""
        kind = "decoder" if self._kind(kind) == "cross" else self._kind(kind)
        if kind not in self._norms:
            raise TraceError("the residual stream of this model is not known")
        return torch.stack(self._norms[kind])[:, self._batch(batch)]

    def activation(self, what: str, layer: int, *, kind: str | None = None) -> Tensor:
        """What passed at one place, for the whole batch: "z", each head's output before W_O,
        [batch, head, query, d_head]; or a name of `residual`, [batch, position, d_model].

        Raises:
            TraceError: when it was not kept, saying how to keep it.
        """
        kind = self._kind(kind)
        if what != "z" and kind == "cross":
            kind = "decoder"
        found = self._heads.get(kind) if what == "z" else self._streams.get((kind, what))
        if not found:
            if all(isinstance(call, GivenMaps) for call in self._calls[kind]):
                raise TraceError("the model gave its own maps only, so no values are known")
            if not self._heads and not self._streams:
                raise TraceError(
                    f"this trace kept maps only, not {what}; use trace(..., keep='all') to keep it"
                )
            raise TraceError(f"{what} of this model's {kind} is not known")
        if not 0 <= layer < len(found):
            raise TraceError(f"layer={layer} is outside 0 … {len(found) - 1}")
        return found[layer]

    def predictions(
        self, position: int = -1, k: int = 5, batch: int = 0
    ) -> list[tuple[str, float]]:
        """The k likeliest tokens at a position (of the target, for an encoder-decoder) and their
        probabilities: what comes next, or for a masked model what stands there.

        Raises:
            TraceError: when the model has no head that predicts tokens.
        """
        if self.logits is None:
            raise TraceError(f"{self.model_name} has no head that predicts tokens")
        n = self.logits.shape[1]
        if not -n <= position < n:
            raise TraceError(f"position={position} is outside the {n} tokens")
        probabilities = self.logits[self._batch(batch), position].float().softmax(-1)
        best = probabilities.topk(min(k, len(probabilities)))
        return [
            (self.name_token(i), p)
            for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def name_with(self, tokenizer: Any, special: dict[str, list[list[bool]]]) -> None:
        """Show predicted tokens as this tokenizer does; `special` flags [CLS] and its like."""
        self._vocabulary = lambda token_id: tokenizer.tokens([token_id])[0]
        self._special = special

    def name_token(self, token_id: int) -> str:
        """What to show for a token of the vocabulary."""
        return str(token_id) if self._vocabulary is None else self._vocabulary(token_id)

    def kept_bytes(self) -> int:
        """Memory that this trace holds for its maps: queries, keys, values, biases and norms; the
        residual stream where it was kept. The logits are the model's output and not counted."""
        tensors = [t for cs in self._calls.values() for c in cs for t in _tensors(c)]
        tensors += [t for ts in self._value_norms.values() for t in ts if t is not None]
        kept = (*self._norms.values(), *self._streams.values(), *self._heads.values())
        tensors += [t for ts in kept for t in ts]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(storages.values())

    def __repr__(self) -> str:
        parts = [
            f"{kind}: {self.n_layers(kind)} layers × {self.n_heads(kind)} heads, "
            f"{self.shape(kind)[0]} × {self.shape(kind)[1]} tokens"
            for kind in self.kinds
        ]
        return f"<Trace of {self.model_name}; {'; '.join(parts)}>"

    # -- inside -----------------------------------------------------------------------------------

    def _kind(self, kind: str | None) -> str:
        if kind is None:
            return "decoder" if "decoder" in self._calls else self.kinds[0]
        if kind not in self._calls:
            raise TraceError(f"kind={kind!r} is not in this trace; it has {', '.join(self.kinds)}")
        return kind

    def _batch(self, batch: int) -> int:
        if not -self.batch_size <= batch < self.batch_size:
            raise TraceError(f"batch={batch} is outside the {self.batch_size} texts of this trace")
        return batch

    def _call(self, layer: int, head: int | None, kind: str | None, batch: int) -> AttentionCall:
        calls = self._calls[self._kind(kind)]
        self._batch(batch)
        if not 0 <= layer < len(calls):
            raise TraceError(f"layer={layer} is outside 0 … {len(calls) - 1}")
        call = calls[layer]
        if head is not None and not 0 <= head < call.n_heads:
            raise TraceError(f"head={head} is outside 0 … {call.n_heads - 1}")
        return call

    def _guard(self, call: AttentionCall, n_maps: int, budget_mib: float | None = None) -> None:
        budget = self.budget_mib if budget_mib is None else budget_mib
        way = "ask for one map with pattern(layer, head), or thumbnails(), or raise the budget"
        _within_budget(n_maps * call.shape[2] * call.shape[3], budget, way)


def _within_budget(n_weights: int, budget_mib: float, way_out: str) -> None:
    mib = n_weights * 4 / 2**20
    if mib > budget_mib:
        raise MemoryBudgetError(
            f"these maps take {mib:,.0f} MiB, more than the budget of {budget_mib:,.0f} MiB; {way_out}"
        )


def _tensors(call) -> list[Tensor]:
    fields = ("query", "key", "value", "bias", "maps")
    return [t for t in (getattr(call, f, None) for f in fields) if t is not None]


def _version(weight: Tensor | None) -> int | None:
    return None if weight is None else weight._version


def _frozen_copy(model: Any) -> Any:
    """The model as it is now, for looking at while it trains on: its mode is never switched.
    Edits in force hold for the copy too."""
    return copy.deepcopy(model).eval()


def _ids(name: str, tokens: Any) -> Tensor | None:
    if tokens is None:
        return None
    if isinstance(tokens, str):
        raise ValueError(
            f"{name} is text; give token ids, or trace a TextModel, which has a tokenizer"
        )
    ids = torch.as_tensor(tokens)
    if ids.dim() == 1:
        ids = ids[None]
    if ids.dim() != 2 or ids.shape[1] == 0 or ids.shape[0] == 0:
        raise ValueError(
            f"{name} has shape {list(ids.shape)}; give at least one token: [position] or "
            "[batch, position]"
        )
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise ValueError(f"{name} has type {ids.dtype}; token ids are whole numbers")
    return ids.long()


def _in_vocabulary(model: Any, tokens: Tensor, target: Tensor | None) -> None:
    size = getattr(model.config, "vocab_size", None) if hasattr(model, "config") else None
    target_size = getattr(getattr(model, "config", None), "target_vocab_size", None) or size
    for name, ids, limit in (("tokens", tokens, size), ("target", target, target_size)):
        if ids is not None and limit and not 0 <= int(ids.min()) <= int(ids.max()) < limit:
            bad = int(ids.max()) if int(ids.max()) >= limit else int(ids.min())
            raise ValueError(
                f"{name} holds {bad}, outside the vocabulary of {limit} tokens (0 … {limit - 1})"
            )


def _labels(name: str, labels: Sequence | None, ids: Tensor | None) -> list[list[str]] | None:
    if ids is None:
        return None
    if labels is None:
        return [[str(i) for i in row] for row in ids.tolist()]
    rows = [list(labels)] if labels and isinstance(labels[0], str) else [list(r) for r in labels]
    if [len(r) for r in rows] != [ids.shape[1]] * len(ids):
        raise ValueError(
            f"{name} has {[len(r) for r in rows]} labels; there are {len(ids)} texts of "
            f"{ids.shape[1]} tokens"
        )
    return rows

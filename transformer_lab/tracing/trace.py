"""The record of one forward pass; attention patterns are computed lazily, on access.

A trace costs a forward pass. It keeps references to queries and keys (memory grows with the
number of tokens N), and computes softmax(q·kᵀ·scale + bias) for the requested layer and head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from ..adapters.linear import times_written
from ..adapters.network import Network, no_heads
from ..arguments import AtLeast, shown, wrong
from ..attention import Site
from .calls import Calls, TraceError, take
from .gradients import OF_HEADS
from .maps import GivenMaps
from .recording import Recorder, value_norms


class Trace(Calls):
    """The record of one forward pass, returned by `trace`; axes are [batch, layer, head, query, key].

    `kind` is "encoder", "decoder" or "cross"; by default the decoder if the trace has one, else the
    first kind that it has. Layers and heads count from 0; a layer's number is that of its module in
    the model, and layers without attention are numbered too.

    Attributes:
        tokens, target, mask, target_mask: the inputs; `given` holds those that are not tokens, by
            name.
        logits: of tokens, [batch, position, vocab]; `answers` of classes, [batch, class]. None if
            the model has no such head.
        scalar: the number whose gradients were taken, summed over the texts; None without
            gradients.
        patches: the positions of an image's patches (`adapters.patches.Patches`); None if there are
            none or they are not known.
    """

    def __init__(
        self,
        network: Network | None,
        recorder: Recorder,
        *,
        tokens,
        target,
        mask,
        target_mask,
        labels,
        target_labels,
        logits,
        name,
        note=None,
        given=None,
        answers=None,
        patches=None,
        gradients=None,
        scalar=None,
    ):
        if not recorder.calls:
            raise ValueError(f"{name} has no attention to trace")
        self.tokens, self.target, self.logits = tokens, target, logits
        self.mask, self.target_mask = mask, target_mask
        self.given, self.answers, self.patches = dict(given or {}), answers, patches
        self.model_name, self.note = name, note
        # Names of weights that no file contained; every view of the trace reports them.
        self.random_weights = tuple(
            () if network is None else getattr(network.module, "random_weights", ())
        )
        super().__init__(network, recorder.calls, recorder.left_out)
        self._gradients: dict[tuple[str, str], dict[int, Tensor]] = gradients or {}
        self.scalar: float | None = scalar
        own = target_labels is not None
        self._labels = {"encoder": labels, "decoder": target_labels if own else labels}
        self._masks = {"encoder": mask, "decoder": mask if target is None else target_mask}
        self._special: dict[str, list[list[bool]]] = {}
        if patches is not None and tokens is None:
            flags = [patches.place(i) is None for i in range(len(patches.labels))]
            self._special = {kind: [flags] * self.batch_size for kind in ("encoder", "decoder")}
        self._norms, self._streams = recorder.norms, recorder.streams
        self._value_norms, self._heads = recorder.value_norms, recorder.heads
        self._parts, self._unknown = recorder.parts, recorder.unknown
        self._versions = {
            id(call): _version(self._weight(call))
            for calls in self._calls.values()
            for call in calls.values()
            if not isinstance(call, GivenMaps)
        }
        self._vocabulary = None  # id -> string, set by TextModel
        # The TextModel that made the trace, if one did, and its input: text and target.
        self.text_model: Any = None
        self.words: tuple[str, str | None] | None = None
        # name -> (start, end) of a text's named segments; see `heads.named_segments`.
        self.segments: dict[str, tuple[int, int]] = {}

    @classmethod
    def of_maps(
        cls,
        maps: Mapping[str, Tensor],
        *,
        tokens: Tensor | None,
        target: Tensor | None,
        name: str,
        labels: list[list[str]] | None,
        target_labels: list[list[str]] | None,
    ) -> Trace:
        """Return a trace of one text's stored patterns, kind -> [layer, head, query, key]; tokens
        and target are [1, position]."""
        recorder = Recorder(None, "maps")
        for kind, found in maps.items():
            recorder.calls[kind] = {
                i: GivenMaps(m[None], Site(kind, i)) for i, m in enumerate(found)
            }
        return cls(
            None,
            recorder,
            tokens=tokens,
            target=target,
            mask=None,
            target_mask=None,
            labels=labels,
            target_labels=target_labels,
            logits=None,
            name=name,
        )

    def begin_with(self, before: Trace) -> None:
        """Fill in what this trace lacks, its pass having begun in a later block, from one of a
        whole pass over the same text with the same `keep`."""
        for kind, rows in before._norms.items():
            # The first residual that it saw is not the one before the first block.
            attends = kind in before.kinds and 0 in before.attending(kind)
            if attends and 0 not in self._calls.get(kind, {}):
                self._norms[kind] = {**self._norms.get(kind, {}), 0: rows[0]}
        for name in ("_value_norms", "_norms", "_streams", "_heads", "_parts"):
            take(getattr(self, name), getattr(before, name))
        self._unknown = {**before._unknown, **self._unknown}
        self._versions = {**before._versions, **self._versions}
        self.note = before.note
        self.take_calls(before)

    # -- what there is --------------------------------------------------------------------------

    @property
    def model(self) -> Any:
        """The module that ran; None for stored patterns."""
        return None if self.network is None else self.network.module

    def query_tokens(self, kind: str | None = None, batch: int = 0) -> list[str]:
        kind = self.kind(kind)
        return self._labels["decoder" if kind == "cross" else kind][self.text(batch)]

    def key_tokens(self, kind: str | None = None, batch: int = 0) -> list[str]:
        kind = self.kind(kind)
        return self._labels["encoder" if kind == "cross" else kind][self.text(batch)]

    def special(self, kind: str | None = None, batch: int = 0, side: str = "key") -> list[bool]:
        """True for tokens such as [CLS] and for padding; side is "key" or "query"."""
        kind = self.kind(kind)
        if kind == "cross":
            kind = "encoder" if side == "key" else "decoder"
        labels = self._labels[kind][self.text(batch)]
        flags = self._special.get(kind)
        flags = list(flags[batch]) if flags else [False] * len(labels)
        mask = self._masks[kind]
        if mask is not None:
            flags = [f or not real for f, real in zip(flags, mask[batch].tolist(), strict=True)]
        return flags

    # -- values ---------------------------------------------------------------------------------

    @property
    def value_note(self) -> str:
        """A description of what `value_norms` measures for this model."""
        call = self._any_call(self.kinds[0])
        if isinstance(call, GivenMaps):
            return "not known: the model gives attention maps only"
        if self._weight(call) is None:
            return "‖value‖ (the output projection was not found)"
        gated = any(self.gated(i, kind) for kind in self.kinds for i in self.attending(kind))
        return f"‖value · W_O‖{', before the gate or norm that comes between' if gated else ''}"

    def gated(self, layer: int, kind: str | None = None) -> bool:
        """Whether there is a gate or a norm between a layer's heads and W_O (Qwen3-Next): what a
        key adds then also depends on the query, not only on its value times W_O."""
        kind = self.kind(kind)
        return self.network is not None and self.network.stands_between(Site(kind, layer))

    def value_norms(
        self, layer: int, head: int | None = None, *, kind: str | None = None, batch: int = 0
    ) -> Tensor | None:
        """Norm of the vector that each key would add to the residual stream at weight 1: [key], or
        [head, key]; None if the model returns patterns only. A gate or norm between heads and W_O
        is left out, as `value_note` says.

        Raises:
            TraceError: if the weights have changed since the trace was made.
        """
        kind = self.kind(kind)
        call = self.call(layer, head, kind=kind, batch=batch)
        if isinstance(call, GivenMaps):
            return None
        norms = self._value_norms[kind][layer]
        if norms is None:
            self.output_weight(layer, kind=kind)  # refuses weights that have changed
            norms = self._value_norms[kind][layer] = value_norms(self.network, call)
        return norms[batch] if head is None else norms[batch, head]

    def output_weight(self, layer: int, *, kind: str | None = None) -> Tensor | None:
        """W_O [head · d_head, d_model] of a layer, as it was when the trace was made; None if it is
        not known.

        Raises:
            TraceError: if the weights have changed since, or are sharded over processes.
        """
        call = self.call(layer, kind=kind)
        weight = self._weight(call)
        if hasattr(weight, "full_tensor"):
            raise TraceError(
                f"layer={layer}: its output weights are sharded over processes (a DTensor), so value "
                "norms must be computed during the pass: trace with keep='maps'"
            )
        if weight is not None and self._versions.get(id(call)) != _version(weight):
            raise TraceError(
                "the model's weights have changed since this trace; trace again for value norms"
            )
        return weight

    def value_weighted(
        self, layer: int, head: int | None = None, *, kind: str | None = None, batch: int = 0
    ) -> Tensor | None:
        """pattern × value_norms: how much each key adds, rather than how much it is attended to.
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
            TraceError: if it was not kept, saying how to keep it.
        """
        kind = self._stream_kind(kind)
        found = {
            n: torch.stack([layers[i] for i in sorted(layers)])[:, self.text(batch)]
            for (k, n), layers in self._streams.items()
            if k == kind and n != "gates"
        }
        if not found:
            raise TraceError(
                "this trace kept the stream's norms only; use trace(..., keep='all') to keep it whole"
                if self._norms
                else "the residual stream of this model could not be recorded"
            )
        return found

    def residual_norms(self, kind: str | None = None, batch: int = 0) -> Tensor:
        """L2 norm of the residual stream, [layer + 1, position]: row 0 before the first block,
        row l + 1 after block l. Source: Elhage et al. 2021."""
        kind = self._stream_kind(kind)
        if kind not in self._norms:
            raise TraceError(
                f"the residual stream of {self.model_name}'s {kind} could not be recorded"
            )
        rows = self._norms[kind]
        return torch.stack([rows[i] for i in sorted(rows)])[:, self.text(batch)]

    def activation(self, what: str, layer: int, *, kind: str | None = None) -> Tensor:
        """An activation of one layer, for the whole batch: "z", each head's output before W_O,
        [batch, head, query, d_head]; "q", "k", "v" and "pattern", see `of_attention`; a name of
        `residual`, [batch, position, d_model] ("attn_out", "cross_out" and "mlp_out" of a Hugging
        Face model only if keep="all" was requested, see `gradient`); or "gates", the probability
        of each expert that a token was routed to and 0 for the others, [batch, position, expert],
        or the activation of each feature of a `tl.Dictionary`.

        Raises:
            TraceError: if it was not kept, saying how to keep it.
        """
        kind = self.kind(kind)
        if what in OF_HEADS and what != "z":
            return self.of_attention(what, layer, kind=kind)
        if what != "z" and kind == "cross":
            kind = "decoder"
        place = (kind, what)
        found = self._heads.get(kind) if what == "z" else self._streams.get(place)
        found = found or self._parts.get(place)
        if not found:
            if all(isinstance(call, GivenMaps) for call in self._calls[kind].values()):
                raise TraceError(
                    f"{self.model_name} gave attention maps only, so what={what!r} is not available"
                )
            if not self._heads and not any(name != "gates" for _, name in self._streams):
                raise TraceError(
                    f"this trace kept maps only, not {what}; use trace(..., keep='all') to keep it"
                )
            why = f": {self._unknown[place]}" if place in self._unknown else ""
            raise TraceError(f"what={what!r} of {self.model_name}'s {kind} is not available{why}")
        layers = self.layers(kind)
        if not 0 <= layer < len(layers):
            raise TraceError(f"layer={layer} is outside 0 … {len(layers) - 1}")
        if layer not in found:
            raise TraceError(
                no_heads(layers[layer], layers)
                if what == "z"
                else f"layer={layer} has no {what}: it is {layers[layer].what}"
            )
        return found[layer]

    def gradient(
        self,
        what: str,
        layer: int,
        head: int | None = None,
        *,
        kind: str | None = None,
        batch: int | None = 0,
    ) -> Tensor:
        """The gradient of the number requested by `trace(..., gradients=…)` with respect to an
        activation, with its shape.

        Args:
            what: "z", each head's output before W_O, [head, query, d_head]; "pattern", its weights,
                [head, query, key] (each weight by itself, though a row sums to 1); "q", "k", "v",
                [head, position, d_head], as they enter attention (keys and values shared by several
                heads, once); or a part of the residual stream, [position, d_model]: "resid_pre",
                "resid_post" and, where they can be identified, "attn_out", "cross_out", "mlp_out",
                "resid_mid". Of a Hugging Face model attn_out, cross_out and mlp_out are the output
                of the part's last linear layer, before any norm that follows it.
            head: one head; its axis is dropped.
            batch: which text; None: all, with their axis first.

        Raises:
            TraceError: if no gradients were requested, or what, layer, head or text does not exist.
        """
        if not self._gradients:
            raise TraceError("this trace has no gradients; use trace(..., gradients=token)")
        of_heads = what in OF_HEADS
        kind = self.kind(kind)
        side = kind if of_heads or kind != "cross" else "decoder"
        found = self._gradients.get((what, side))
        if found is None:
            known = ", ".join(sorted({w for w, k in self._gradients if k in (kind, side)}))
            raise TraceError(f"what must be one of {known} for a gradient, got {what!r}")
        layers = self.layers(kind)
        if not 0 <= layer < len(layers):
            raise TraceError(f"layer={layer} is outside 0 … {len(layers) - 1}")
        if layer not in found:
            raise TraceError(
                no_heads(layers[layer], layers)
                if of_heads
                else f"the gradient of {what} in layer={layer} is not available"
            )
        x = found[layer]
        if head is not None:
            if not of_heads:
                raise TraceError(
                    f"{what} belongs to the whole stream, not to a head; leave out head={head}"
                )
            if not 0 <= head < x.shape[1]:
                raise TraceError(f"head={head} is outside 0 … {x.shape[1] - 1} of {what}")
            x = x[:, head]
        return x if batch is None else x[self.text(batch)]

    def predictions(
        self, position: int = -1, k: int = 5, batch: int = 0
    ) -> list[tuple[str, float]]:
        """The k likeliest tokens at a position (of the target, for an encoder-decoder) and their
        probabilities: of the next token, or for a masked model of the token at that position.

        Raises:
            TraceError: if the model has no head that predicts tokens, or k is below 1.
        """
        if wrong(k, Annotated[int, AtLeast(1)]):
            raise TraceError(f"k must be a whole number of at least 1, got {shown(k)}")
        if self.logits is None:
            instead = "; its answers are in trace.answers" if self.answers is not None else ""
            raise TraceError(f"{self.model_name} has no head that predicts tokens{instead}")
        n = self.logits.shape[1]
        if not -n <= position < n:
            raise TraceError(f"position={position} is outside the {n} tokens (−{n} … {n - 1})")
        probabilities = self.logits[self.text(batch), position].float().softmax(-1)
        best = probabilities.topk(min(k, len(probabilities)))
        return [
            (self.name_token(i), p)
            for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def name_with(self, tokenizer: Any, special: dict[str, list[list[bool]]]) -> None:
        """Show predicted tokens as this tokenizer does; `special` flags tokens such as [CLS]."""
        self._vocabulary = lambda token_id: tokenizer.tokens([token_id])[0]
        self._special = special

    def name_token(self, token_id: int) -> str:
        """The label of a token of the vocabulary."""
        return str(token_id) if self._vocabulary is None else self._vocabulary(token_id)

    def kept_bytes(self) -> int:
        """Memory in bytes that this trace holds: queries, keys, values, biases, norms and, if kept,
        the residual stream. The logits are the model's output and not counted."""
        tensors = [t for cs in self._calls.values() for c in cs.values() for t in _tensors(c)]
        tensors += [t for ts in self._value_norms.values() for t in ts.values() if t is not None]
        kept = (*self._norms.values(), *self._streams.values(), *self._heads.values())
        kept = (*kept, *self._parts.values())
        kept = (*kept, *self._gradients.values())
        tensors += [t for ts in kept for t in ts.values()]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(storages.values())

    def __repr__(self) -> str:
        parts = [
            f"{kind}: {self._count(kind)} × {self.n_heads(kind)} heads, "
            f"{self.shape(kind)[0]} × {self.shape(kind)[1]} {self._unit}"
            for kind in self.kinds
        ]
        return f"<Trace of {self.model_name}; {'; '.join(parts)}>"

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _unit(self) -> str:
        return "tokens" if self.tokens is not None or not self.given else "positions"

    def _count(self, kind: str) -> str:
        having, all_of_them = len(self.attending(kind)), self.n_layers(kind)
        return f"{having} of {all_of_them} layers" if having < all_of_them else f"{having} layers"

    def _stream_kind(self, kind: str | None) -> str:
        return "decoder" if self.kind(kind) == "cross" else self.kind(kind)

    def _weight(self, call: Any) -> Tensor | None:
        return None if self.network is None else self.network.output_weight(call)


def _tensors(call: Any) -> list[Tensor]:
    fields = ("query", "key", "value", "bias", "sinks", "maps", "of_row", "of_column")
    return [t for t in (getattr(call, f, None) for f in fields) if t is not None]


def _version(weight: Tensor | None) -> int | None:
    # A weight composed of several (LoRA adapters) counts how often those have changed.
    return None if weight is None else getattr(weight, "made_of", times_written(weight))

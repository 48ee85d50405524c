"""Mean outputs of heads over other texts, for mean ablation.

A zero is an output that a head never gives. Held at its mean, a head still writes what it always
writes, and loses only what depends on this text.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..adapters.interrupts import no_grad, together
from ..adapters.network import Inputs, Network
from ..adapters.wrappers import ModelWithProcessor
from ..attention import AttentionCall, Site, Tap
from .interventions import tapping, uncompiled
from .kinds import EditError
from .passes import evaluated, read


@dataclass(frozen=True, eq=False)
class Reference:
    """Each head's mean z over the real tokens of a set of texts; made by `mean_of`.

    Attributes:
        means: kind -> layer -> [head, d_head].
        n_tokens: kind -> how many queries the mean is over.
    """

    means: dict[str, dict[int, Tensor]]
    n_tokens: dict[str, int]

    def vectors(self, site: Site, head: int | None = None) -> Tensor:
        """Mean z of one layer, [head, d_head], or of one of its heads, [1, d_head]."""
        found = self.means[site.kind][site.layer]
        return found if head is None else found[head : head + 1]

    def check(self, kind: str, n_layers: int, n_heads: int | None) -> None:
        """Check that these means fit a model.

        Raises:
            EditError: if they are those of another model.
        """
        found = self.means.get(kind)
        if found is None:
            raise EditError(
                f"the reference means are for {', '.join(self.means)}, not for kind={kind!r}"
            )
        heads = max(mean.shape[0] for mean in found.values())
        if max(found) >= n_layers or n_heads not in (None, heads):
            raise EditError(
                f"the reference means come from a model with {1 + max(found)} layers of {heads} "
                f"heads; this model's {kind} has {n_layers} of {n_heads}"
            )

    def __repr__(self) -> str:
        parts = [
            f"{kind}: {len(self.means[kind])} layers, {n} tokens"
            for kind, n in self.n_tokens.items()
        ]
        return f"<Reference of {'; '.join(parts)}>"


def mean_of(model: Any, texts: Any, *, most: int | None = None) -> Reference:
    """Return each head's mean z over texts, for `tl.ablate(layer, head, value=tl.mean_of(…))`.

    Args:
        model: a `Transformer`, a Hugging Face model or a `TextModel`; edits in force apply.
        texts: several texts (for a TextModel), token ids ([position] or [batch, position]) or
            batches of a dataset; for an encoder-decoder pairs (source, target), or batches; for an
            ImageModel images, and for other models that read images dicts of their inputs.
        most: how many of them to read at most; needed for an endless stream.

    Raises:
        EditError: for no texts, or a model whose attention does not go through the attention
            interface.
        ValueError: for a text that the model cannot read.
    """
    one = isinstance(texts, str | Tensor | Mapping) or hasattr(texts, "tokens")
    if one or _is_a_picture(model, texts):
        texts = [texts]
    batch = getattr(texts, "batch", None)
    if callable(batch):
        if most is None:
            raise EditError("texts is an endless stream of batches; say how many to read: most=20")
        texts = map(batch, itertools.count())
    network, tap = evaluated(model), _Means()
    with together(no_grad(), uncompiled(network), tapping(network, tap)):
        for item in itertools.islice(texts, most):
            tap.inputs = _inputs(model, network, item)
            if network.hidden(tap.inputs) is None:
                network.run(tap.inputs)
    if not tap.sums:
        raise EditError(
            "texts holds no text; give at least one"
            if tap.inputs is None
            else f"the attention of {network.name} does not go through the attention interface"
        )
    means = {
        kind: {
            i: (torch.cat(list(layers[i].values()), -1) / tap.counts[kind, i]).float()
            for i in sorted(layers)
        }
        for kind, layers in tap.sums.items()
    }
    return Reference(means, {kind: int(tap.counts[kind, min(means[kind])]) for kind in means})


def _is_a_picture(model: Any, texts: Any) -> bool:
    """Whether `texts` is one image for an ImageModel, which may be an array."""
    reads_pictures = isinstance(model, ModelWithProcessor) and model.tokenizer is None
    return reads_pictures and not isinstance(texts, list | tuple)


class _Means(Tap):
    """Sum the heads' outputs over real tokens, in the thread that made it."""

    records = True

    def __init__(self):
        self.owner, self.inputs = threading.get_ident(), None
        self.sums: dict[str, dict[int, dict[int, Tensor]]] = {}  # kind -> layer -> part
        self.counts: dict[tuple[str, int], float] = {}

    inputs: Inputs | None

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if threading.get_ident() != self.owner or call.site is None or self.inputs is None:
            return z
        kind, layer = call.site.kind, call.site.layer
        mask = self.inputs.mask if kind == "encoder" else self.inputs.output_mask
        real = z.new_ones(len(z), z.shape[2]) if mask is None else mask.to(z)
        # Summed in fp64, so that the mean does not depend on the order of the texts.
        total = torch.einsum("bhqd,bq->hd", z.float(), real.float()).cpu().double()
        parts = self.sums.setdefault(kind, {}).setdefault(layer, {})
        parts[call.part] = parts[call.part] + total if call.part in parts else total
        if call.part == 0:
            self.counts[kind, layer] = self.counts.get((kind, layer), 0.0) + float(real.sum())
        return z


def _inputs(model: Any, network: Network, item: Any) -> Inputs:
    if hasattr(item, "tokens"):  # a batch of a dataset
        names = ("target_in", "mask", "target_mask")
        target, mask, target_mask = (getattr(item, name, None) for name in names)
        return read(model, network, item.tokens, target, mask, target_mask)
    if isinstance(item, Mapping):
        names = ("tokens", "target", "mask", "target_mask")
        given = {name: x for name, x in item.items() if name not in names}
        return read(model, network, *(item.get(name) for name in names), given=given)
    pair = isinstance(item, tuple) and item and not isinstance(item[0], int)
    if not pair:
        return read(model, network, item)
    both = network.kind == "encoder-decoder"
    return read(model, network, item[0], item[1] if both and len(item) > 1 else None)

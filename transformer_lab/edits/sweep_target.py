"""The target of a sweep: a model, its input, and which prediction is measured."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..adapters.network import Inputs
from ..adapters.patches import Patches
from ..adapters.wrappers import ModelWithProcessor
from ..tracing.gradients import as_token_id
from .interventions import editable, heads_in, kind_in
from .kinds import EditError
from .passes import evaluated, read


class SweepTarget:
    """A model and its input, with the position and token whose prediction is measured."""

    def __init__(self, model, tokens, target, mask, target_mask, kind, token, position, given):
        self.network = evaluated(model)
        self.inputs = read(model, self.network, tokens, target, mask, target_mask, given)
        self.kind = kind_in(editable(self.network), kind)
        self.tokenizers = _tokenizers(model)
        if position is None:
            position = -1 if target is not None else _first_mask(model, self.inputs)
        if token is not None and not isinstance(token, Tensor):
            token = as_token_id("token", token, getattr(model, "token_id", None))
        self.token, self.places = token, _places(self.inputs, position)

    @property
    def heads(self) -> list[int]:
        """Number of heads of each layer.

        Raises:
            EditError: if that is not known.
        """
        found = heads_in(self.network, self.kind)
        if None in found:
            raise EditError(f"the number of heads in {self.network.name} cannot be determined")
        return [n or 0 for n in found]

    @property
    def n_tokens(self) -> tuple[int, int]:
        """Number of (queries, keys) of this kind of attention.

        Raises:
            EditError: if it is not known before a pass.
        """
        heard = self.network.heard(self.inputs)
        if heard is not None:
            n = self.inputs.n_outputs
            return {"encoder": (len(heard),) * 2, "cross": (n, len(heard))}.get(self.kind, (n, n))
        if self.inputs.tokens is None:
            if self.patches is None:
                raise EditError(
                    f"the positions of the patches of {self.network.name} are not known"
                )
            n = len(self.patches.labels)
            return n, n
        source = self.inputs.tokens.shape[1]
        if self.kind == "encoder":
            return source, source
        return self.inputs.n_outputs, source if self.kind == "cross" else self.inputs.n_outputs

    @property
    def patches(self) -> Patches | None:
        return self.network.patches(self.inputs)

    def key_labels(self) -> list[str]:
        if self.patches is not None:
            return list(self.patches.labels)
        heard = self.network.heard(self.inputs)
        if heard is not None and self.kind != "decoder":
            return heard
        target = self.inputs.target if self.kind == "decoder" else None
        own = target is not None
        ids = (self.inputs.tokens if target is None else target)[0].tolist()
        return (
            [str(i) for i in ids] if self.tokenizers is None else self.tokenizers[own].tokens(ids)
        )


def _places(inputs: Inputs, position: int) -> Tensor:
    """Position at which each text's prediction is measured, [batch]."""
    n, batch, mask = inputs.n_outputs, len(inputs.first), inputs.output_mask
    device = inputs.first.device
    if isinstance(position, bool) or not isinstance(position, int) or not -n <= position < n:
        raise EditError(f"position={position!r} is outside the {n} tokens (−{n} … {n - 1})")
    if position >= 0:
        return torch.full((batch,), position, device=device)
    if mask is None:
        return torch.full((batch,), n + position, device=device)
    ends = n - mask.flip(1).long().argmax(1)  # one after the last real token
    return (ends + position).clamp(min=0)


def _first_mask(model: Any, inputs: Inputs) -> int:
    """Return the position of the text's first mask token for a masked TextModel, −1 for others."""
    mask_id = getattr(getattr(model, "tokenizer", None), "mask_id", None)
    if mask_id is None or model.kind != "encoder":
        return -1
    ids = inputs.tokens[0].tolist()
    return ids.index(mask_id) if mask_id in ids else -1


def _tokenizers(model: Any) -> tuple[Any, Any] | None:
    if not isinstance(model, ModelWithProcessor) or model.tokenizer is None:
        return None
    return model.tokenizer, model.target_tokenizer

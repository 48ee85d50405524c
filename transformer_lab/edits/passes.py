"""Passes of a model over one text or batch, whatever the model: plain, and from where a change
begins."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ..adapters.interrupts import no_grad, together
from ..adapters.lookup import network_of
from ..adapters.network import Inputs, Network
from ..adapters.wrappers import ModelWithProcessor
from ..attention import Tap
from ..tracing.running import inputs_for
from .block_cache import KeptBlocks
from .interventions import tapping, uncompiled
from .kinds import EditError


def evaluated(model: Any) -> Network:
    """The network of a model or TextModel, in evaluation mode: one in training is left alone, and
    a copy of it returned.

    Raises:
        ValueError: for what is no model.
    """
    return network_of(model).evaluated()


def read(
    model: Any,
    network: Network,
    tokens: Any,
    target: Any = None,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    given: Mapping[str, Any] | None = None,
) -> Inputs:
    """What the network of the model is to read; text is for a TextModel, a picture for an
    ImageModel.

    Raises:
        ValueError: for what the model cannot read.
    """
    if isinstance(model, ModelWithProcessor):
        tokens, target, more = model.read(tokens, target)
        given = {**(given or {}), **more}
    return inputs_for(network, tokens, target, mask, target_mask, given)


class Passes:
    """One clean pass of a model over `inputs`, kept so that others can begin in the middle.

    While it is `open`, `tap` is on the model and sees the passes of this thread only.

    Args:
        budget_mib: for what is kept; where it is not enough nothing is kept, and every pass
            begins at the beginning.
        states: take the final states of a model that has no head, for a measure of one's own.
        places: [batch], the positions that are asked about; None: all of them.
    """

    def __init__(
        self,
        network: Network,
        inputs: Inputs,
        tap: Tap,
        *,
        budget_mib: float = 256,
        states: bool = False,
        places: Tensor | None = None,
    ):
        self.network, self.inputs, self.tap, self.states = network, inputs, tap, states
        self.places = None if places is None else places.unique()
        self.kept = KeptBlocks(network, budget_mib)
        self.by_states = False  # whether `outputs` are final states
        self.cut = False  # whether they are of `places` alone

    def open(self) -> AbstractContextManager[None]:
        """While open, the tap is on the model."""
        return together(no_grad(), uncompiled(self.network), tapping(self.network, self.tap))

    def clean(self) -> Tensor:
        """Make the clean pass, and keep what its blocks gave: see `outputs`."""
        with self.kept.keeping():
            clean = self.outputs()
        if not self.kept.block_of:
            raise EditError(
                f"the attention of {self.network.name} does not go through the attention "
                "interface, so it cannot be edited"
            )
        self.kept.check(self.outputs)
        return clean

    def outputs(self, copies: int = 1, start: int = 0) -> Tensor:
        """Final states [copies · batch, position, d_model] of our own models that have a head
        (`logits` makes the rest of it), logits of others; those of others at `places` alone, in their
        order, where that can be had.

        Args:
            copies: so many times the batch (our own models only).
            start: the first block, counted as they come in a pass, that is computed.
        """
        inputs = self.inputs if copies == 1 else self.inputs.copies(copies)
        with self.kept.replaying(start, copies, len(self.inputs.first)):
            found = self.network.hidden(inputs) if self.network.has_head else None
            if found is not None:
                self.by_states = True
                return found
            with self._at_places():
                given = self.network.run(inputs)
        found = given.answers if given.logits is None else given.logits
        if found is None and self.states:
            found = given.states
        if found is None:
            raise EditError(
                "this model has no head (in ours: head=False), so it makes no prediction to "
                "compare; measure its states with measure=lambda states: …"
            )
        found = found if found.dim() > 2 else found[:, None]
        if self.places is not None and found is given.logits:
            self.cut = found.shape[1] == len(self.places) != self.inputs.n_outputs
        return found

    def _at_places(self) -> Any:
        return nullcontext() if self.places is None else self.network.predicting_at(self.places)

    def at(self, outputs: Tensor, places: Tensor) -> Tensor:
        """Of what `outputs` gave, the row of each text's place [batch]: [batch, d_model or vocab]."""
        rows = torch.arange(len(outputs), device=outputs.device)
        if self.cut and self.places is not None:
            places = torch.searchsorted(self.places, places)
        return outputs[rows, places]

    def logits(self, outputs: Tensor) -> Tensor:
        """[…, vocab], in fp32, of some of what `outputs` gave."""
        return (self.network.logits(outputs) if self.by_states else outputs).float()

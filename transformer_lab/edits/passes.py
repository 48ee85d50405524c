"""Passes of any model over one text or batch: in full, or from the first block that changes."""

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
    """Return the network of a model or TextModel in evaluation mode; a copy if it is in training
    mode.

    Raises:
        ValueError: if it is not a model.
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
    """Return the inputs of the model's network; text needs a TextModel, an image an ImageModel.

    Raises:
        ValueError: for inputs that the model cannot read.
    """
    if isinstance(model, ModelWithProcessor):
        tokens, target, more = model.read(tokens, target)
        given = {**(given or {}), **more}
    return inputs_for(network, tokens, target, mask, target_mask, given)


class Passes:
    """One clean pass of a model over `inputs`, kept so that later ones can start in the middle.

    While it is `open`, `tap` is on the model and sees the passes of this thread only.

    Args:
        budget_mib: memory for what is kept; if it is not enough, nothing is kept and every pass
            runs in full.
        states: return the final states of a model that has no head, for a custom measure.
        places: [batch], the positions whose predictions are needed; None: all of them.
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
        self.cut = False  # whether they are only those at `places`

    def open(self) -> AbstractContextManager[None]:
        """Return a context in which the tap is on the model."""
        return together(no_grad(), uncompiled(self.network), tapping(self.network, self.tap))

    def clean(self) -> Tensor:
        """Run the clean pass and keep the outputs of its blocks; return its `outputs`."""
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
        """Return the final states [copies · batch, position, d_model] of our own models that have a
        head (`logits` does the rest), or the logits of other models: only those at `places`, in
        order, if the model can do that.

        Args:
            copies: how many copies of the batch to run (our own models only).
            start: the first block to compute, counted in the order of the pass.
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
        """Pick each text's row of `outputs` at `places` [batch]: [batch, d_model or vocab]."""
        rows = torch.arange(len(outputs), device=outputs.device)
        if self.cut and self.places is not None:
            places = torch.searchsorted(self.places, places)
        return outputs[rows, places]

    def logits(self, outputs: Tensor) -> Tensor:
        """Turn rows of `outputs` into logits […, vocab] in fp32."""
        return (self.network.logits(outputs) if self.by_states else outputs).float()

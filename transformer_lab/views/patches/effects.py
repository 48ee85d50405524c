"""How ablated heads and cut edges change a model's answer to an image.

The answer is the classes or the next token, or the image's embedding if the model has neither.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...adapters.network import Inputs, Output
from ...graphs import analyses
from ..shared.codecs import shown_text
from ..shared.messages import messages
from ..shared.passes import Effect, Passes, changed
from .data import Seen

say = messages("patches")


class Effects(Passes[Effect]):
    """Passes over one image with edits, compared with the pass without."""

    def __init__(self, seen: Seen):
        self.seen = seen
        trace = seen.trace
        self.writes = trace.logits is not None  # tokens, which are then treated as classes
        self.has_classes = seen.network.has_classes or self.writes
        inputs = Inputs(trace.tokens, mask=trace.mask, given=dict(trace.given))
        super().__init__(seen.network, inputs, trace, trace.kind())

    @property
    def unit(self) -> str:
        """What `size` is, in words."""
        if self.has_classes:
            return say("unit", name=self._name(int(self.before.argmax())))
        return f"cosine distance of {self.what}"

    @property
    def what(self) -> str:
        """What serves as the embedding, in words."""
        patches = self.seen.trace.patches
        assert patches is not None
        if "[CLS]" in patches.before:
            return "[CLS]'s final state"
        return "the patches' mean final state"

    def read(self, output: Output) -> Tensor:
        """Probabilities of classes or of the next token, or the embedding."""
        if self.writes:
            assert output.logits is not None
            return output.logits[0, -1].float().softmax(-1).cpu()
        if self.has_classes:
            assert output.answers is not None
            return output.answers[0].float().softmax(-1).cpu()
        return self._embedded(output)

    def effect(self, after: Tensor) -> Effect:
        if self.has_classes:
            return changed(self.before, after, self._name)
        return self._embedding(after)

    # -- inside -----------------------------------------------------------------------------------

    def _embedded(self, output: Output) -> Tensor:
        patches = self.seen.trace.patches
        if output.states is None or patches is None:
            raise ValueError(
                f"{self.seen.network.name} gives neither classes nor final states to compare"
            )
        states, grid = output.states[0].float().cpu(), (patches.rows, patches.columns)
        if states.dim() == 3:  # a grid of patches, channels first or last
            states = states.flatten(1).T if states.shape[1:] == grid else states.flatten(0, 1)
        return analyses.pooled(states, torch.tensor(self.pool))["state"]

    @property
    def pool(self) -> list[float]:
        """The weight of each position's final state in the embedding."""
        patches = self.seen.trace.patches
        assert patches is not None
        if "[CLS]" in patches.before:
            return [float(label == "[CLS]") for label in patches.labels]
        return [0.0 if i in patches.others else 1 / patches.n for i in range(len(patches.labels))]

    @property
    def names(self) -> list[str]:
        """Names of classes or tokens; empty if the answer is an embedding."""
        return [self._name(i) for i in range(len(self.before))] if self.has_classes else []

    def _name(self, i: int) -> str:
        if self.writes:
            return shown_text(f"token {self.seen.trace.name_token(i)}")
        names = getattr(self.seen.network.module.config, "id2label", None) or {}
        return shown_text(str(names.get(i, i)))

    def _embedding(self, after: Tensor) -> Effect:
        found = analyses.turned(self.before.double(), after.double())
        cosine, (before, after) = float(found["cosine"]), found["lengths"].tolist()
        facts = {"what": self.what, "cosine": cosine, "before": before, "after": after}
        return Effect(max(0.0, 1 - cosine), facts=facts)

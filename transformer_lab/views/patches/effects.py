"""What a model says of a picture when heads are switched off or edges cut: classes or the token that
comes next, or where it has neither, its embedding."""

from __future__ import annotations

import torch
from torch import Tensor

from ...adapters.network import Inputs, Output
from ..shared.codecs import shown_text
from ..shared.passes import Effect, Passes, changed
from .data import Seen


class Effects(Passes[Effect]):
    """Passes over one picture with edits in force, beside the pass without."""

    def __init__(self, seen: Seen):
        self.seen = seen
        trace = seen.trace
        self.writes = trace.logits is not None  # tokens, which stand where classes do
        self.has_classes = seen.network.has_classes or self.writes
        inputs = Inputs(trace.tokens, mask=trace.mask, given=dict(trace.given))
        super().__init__(seen.network, inputs, trace, trace.kind())

    @property
    def unit(self) -> str:
        """What `size` is, in words."""
        if self.has_classes:
            return f"change of the probability of {self._name(int(self.before.argmax()))}"
        return f"cosine distance of {self.what}"

    @property
    def what(self) -> str:
        """What is called the embedding."""
        patches = self.seen.trace.patches
        assert patches is not None
        if "[CLS]" in patches.before:
            return "[CLS]'s final state"
        return "the patches' mean final state"

    def read(self, output: Output) -> Tensor:
        """Probabilities of classes or of the token after the last, or the embedding."""
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
        states = output.states[0].float().cpu()
        if "[CLS]" in patches.before:
            return states[patches.before.index("[CLS]")]
        return states[patches.start : patches.start + patches.n].mean(0)

    def _name(self, i: int) -> str:
        if self.writes:
            return shown_text(f"token {self.seen.trace.name_token(i)}")
        names = getattr(self.seen.network.module.config, "id2label", None) or {}
        return shown_text(str(names.get(i, i)))

    def _embedding(self, after: Tensor) -> Effect:
        cosine = float(torch.cosine_similarity(self.before.double(), after.double(), dim=0))
        norms = float(self.before.norm()), float(after.norm())
        sentence = (
            f"{self.what[0].upper()}{self.what[1:]} turns: cosine {cosine:.4f} with what it was, its "
            f"length goes from {norms[0]:.1f} to {norms[1]:.1f}."
        )
        rows = (("cosine with before", 1.0, cosine), ("length", *norms))
        return Effect(max(0.0, 1 - cosine), sentence, rows)

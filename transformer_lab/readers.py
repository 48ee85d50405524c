"""An encoder put to work: a class for the whole text, or the place of an answer in it.

Both are models like any other: `train` them with its default loss, `trace` them, edit them. The
encoder stays the object that was given, so what was pretrained is fine-tuned.

    encoder = tl.Transformer(config)                                   # kind="encoder"
    for step in tl.train(encoder, unlabelled.batches(64).masked(tokenizer), steps=2000): ...
    classifier = tl.Classifier(encoder, n_classes=2)
    for step in tl.train(classifier, labelled.batches(16), steps=200): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .attention import Tapped
from .config import ModelConfig
from .model import Transformer

POOLS = ("first", "mean")


@dataclass(frozen=True)
class ReaderConfig:
    """The encoder's configuration and what is put on top of it.

    n_outputs: classes of a `Classifier`; 2 for a `SpanReader` (first and last position).
    pool: what of the encoder a `Classifier` reads, see there; unused by a `SpanReader`.
    """

    encoder: ModelConfig
    n_outputs: int = 2
    pool: str = "first"

    head = False  # of tokens: there is none that predicts one

    def __post_init__(self):
        if self.encoder.kind != "encoder":
            raise ValueError(
                f"the encoder is of kind={self.encoder.kind!r}; give a Transformer of kind='encoder'"
            )
        if isinstance(self.n_outputs, bool) or not isinstance(self.n_outputs, int):
            raise ValueError(f"n_classes={self.n_outputs!r} must be a whole number of at least 2")
        if self.n_outputs < 2:
            raise ValueError(f"n_classes={self.n_outputs} must be at least 2")
        if self.pool not in POOLS:
            raise ValueError(f"pool={self.pool!r} is not known; choose one of {', '.join(POOLS)}")

    def __getattr__(self, name: str) -> Any:
        # d_model, n_layers, vocab_size and the like are those of the encoder.
        if name.startswith("_") or name == "encoder":
            raise AttributeError(name)
        return getattr(self.encoder, name)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return {
            "encoder": self.encoder.to_dict(), "n_outputs": self.n_outputs, "pool": self.pool
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ReaderConfig:
        unknown = sorted(set(values) - {"encoder", "n_outputs", "pool"})
        if unknown or "encoder" not in values:
            raise ValueError(f"unknown or missing option: {', '.join(unknown) or 'encoder'}")
        return cls(**{**values, "encoder": ModelConfig.from_dict(values["encoder"])})


class Reader(Tapped, nn.Module):
    """What a `Classifier` and a `SpanReader` share. Neither is made of a configuration alone
    except by `load_model`, which fills in the weights."""

    def __init__(self, encoder: Transformer | ReaderConfig, n_outputs: int, pool: str):
        super().__init__()
        if isinstance(encoder, ReaderConfig):
            self.config, encoder = encoder, Transformer(encoder.encoder)
        else:
            self.config = ReaderConfig(encoder.config, n_outputs, pool)
        self.encoder = encoder
        self.head = nn.Linear(self.config.d_model, self.config.n_outputs, device=encoder.device)
        nn.init.zeros_(self.head.weight)  # no preference before the first label is seen
        nn.init.zeros_(self.head.bias)

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    def n_parameters(self) -> int:
        """Trained numbers, those of the encoder's token head included."""
        return sum(p.numel() for p in self.parameters())

    def _states(self, tokens: Tensor, target: Tensor | None, mask: Tensor | None) -> Tensor:
        if target is not None:
            raise ValueError(f"a {type(self).__name__} takes no target; it reads tokens only")
        return self.encoder.hidden(tokens, mask=mask)

    def tapped(self) -> Iterator[nn.Module]:
        """Every module that a tap is hung on."""
        return self.encoder.tapped()


class Classifier(Reader):
    """A class for each text: a linear layer on the encoder's final states.

    Source: Devlin et al. 2019, section 3.2 (without their tanh layer).

    Args:
        encoder: a Transformer of kind "encoder", pretrained or not.
        n_classes: how many there are to choose from.
        pool: "first" reads the state of the first token (`<s>`, BERT's [CLS]); "mean" the mean
            over real tokens.
    """

    def __init__(
        self, encoder: Transformer | ReaderConfig, n_classes: int = 2, *, pool: str = "first"
    ):
        super().__init__(encoder, n_classes, pool)

    @property
    def n_outputs(self) -> int:
        return self.config.n_outputs

    def forward(
        self,
        tokens: Tensor,
        target: None = None,
        *,
        mask: Tensor | None = None,
        target_mask: None = None,
    ) -> Tensor:
        """tokens int64 [batch, position], mask bool of that shape -> logits [batch, class]."""
        states = self._states(tokens, target, mask)
        if self.config.pool == "first":
            return self.head(states[:, 0])
        if mask is None:
            return self.head(states.mean(1))
        real = mask[..., None].to(states.dtype)
        return self.head((states * real).sum(1) / real.sum(1).clamp(min=1))


class SpanReader(Reader):
    """Where the answer stands in a text: two scores a position, for the first and the last token
    of the answer. Source: Devlin et al. 2019, section 4.2.

    Args:
        encoder: a Transformer of kind "encoder"; it reads text and question in one row.
    """

    def __init__(self, encoder: Transformer | ReaderConfig):
        super().__init__(encoder, 2, "first")

    def forward(
        self,
        tokens: Tensor,
        target: None = None,
        *,
        mask: Tensor | None = None,
        target_mask: None = None,
    ) -> Tensor:
        """tokens int64 [batch, position], mask bool of that shape -> logits [batch, 2, position],
        −inf at padding. Targets are the two positions [batch, 2]."""
        logits = self.head(self._states(tokens, target, mask)).transpose(1, 2)
        return logits if mask is None else logits.masked_fill(~mask[:, None], float("-inf"))

    @torch.no_grad()
    def spans(self, tokens: Tensor, *, mask: Tensor | None = None, longest: int = 30) -> Tensor:
        """The likeliest span of each text, both ends included: int64 [batch, 2]. The last
        position is never before the first, and a span has at most `longest` tokens."""
        first, last = self(tokens, mask=mask).float().unbind(1)
        score = first[:, :, None] + last[:, None, :]
        n = score.shape[-1]
        fits = torch.ones(n, n, dtype=torch.bool, device=score.device).triu().tril(longest - 1)
        best = score.masked_fill(~fits, float("-inf")).flatten(1).argmax(-1)
        return torch.stack((best // n, best % n), -1)

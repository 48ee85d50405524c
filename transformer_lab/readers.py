"""Encoders with a head for a task: classify a text or an image, or find an answer in a text.

All are models like any other: `train` them with its default loss, `trace` them, edit them. The
encoder stays the object that you pass, so a pretrained one is fine-tuned.

    encoder = tl.Transformer(config)                                   # kind="encoder"
    for step in tl.train(encoder, unlabelled.batches(64).masked(tokenizer), steps=2000): ...
    classifier = tl.Classifier(encoder, n_classes=2)
    for step in tl.train(classifier, labelled.batches(16), steps=200): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adapters.interrupts import no_grad
from .arguments import check, check_fields, shown
from .attention import Tapped
from .config import LARGEST_SIZE, ModelConfig, check_known, check_table
from .model import Transformer

POOLS = ("first", "mean")


@dataclass(frozen=True)
class ReaderConfig:
    """The configuration of an encoder and of the head on top of it.

    n_outputs: classes of a `Classifier`; 2 for a `SpanReader` (first and last position).
    pool: which of the encoder's states a `Classifier` reads, see there; unused by a `SpanReader`.
    """

    encoder: ModelConfig
    n_outputs: int = 2
    pool: str = "first"

    head = False  # none that predicts tokens

    def __post_init__(self):
        # n_classes is the name of this field as a Classifier's argument.
        check("n_classes", self.n_outputs, int)
        check_fields(self)
        if self.encoder.kind != "encoder":
            raise ValueError(
                "the encoder must be a Transformer of kind='encoder', got "
                f"kind={self.encoder.kind!r}"
            )
        if not 2 <= self.n_outputs <= LARGEST_SIZE:
            raise ValueError(f"n_classes must be 2 … {LARGEST_SIZE}, got {self.n_outputs}")
        check_known("pool", self.pool, POOLS)

    def __getattr__(self, name: str) -> Any:
        # d_model, n_layers, vocab_size and so on are the encoder's.
        if name.startswith("_") or name == "encoder":
            raise AttributeError(name)
        return getattr(self.encoder, name)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return {"encoder": self.encoder.to_dict(), "n_outputs": self.n_outputs, "pool": self.pool}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ReaderConfig:
        check_table(values)
        unknown = sorted(set(map(str, values)) - {"encoder", "n_outputs", "pool"})
        if unknown or "encoder" not in values:
            raise ValueError(f"unknown or missing option: {', '.join(unknown) or 'encoder'}")
        return cls(**{**values, "encoder": ModelConfig.from_dict(values["encoder"])})


class Reader(Tapped, nn.Module):
    """What a `Classifier` and a `SpanReader` share. Only `load_model` builds one from a
    configuration alone; it fills in the weights."""

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
        """Number of parameters, including those of the encoder's token head."""
        return sum(p.numel() for p in self.parameters())

    def _states(self, tokens: Tensor, target: Tensor | None, mask: Tensor | None) -> Tensor:
        if target is not None:
            raise ValueError(f"a {type(self).__name__} reads tokens only; leave out target")
        return self.encoder.hidden(tokens, mask=mask)

    def tapped(self) -> Iterator[nn.Module]:
        """Every module that a hook is registered on."""
        return self.encoder.tapped()


class Classifier(Reader):
    """A text classifier: a linear layer on the encoder's final hidden states.

    Source: Devlin et al. 2019, section 3.2 (without their tanh layer).

    Args:
        encoder: a Transformer of kind "encoder", pretrained or not.
        n_classes: number of classes.
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
    """A reader that finds the answer in a text: two scores per position, for the first and the last
    token of the answer. Source: Devlin et al. 2019, section 4.2.

    Args:
        encoder: a Transformer of kind "encoder"; it reads text and question as one sequence.
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

    @no_grad()
    def spans(self, tokens: Tensor, *, mask: Tensor | None = None, longest: int = 30) -> Tensor:
        """The most probable span of each text, both ends included: int64 [batch, 2]. The last
        position is never before the first, and a span has at most `longest` tokens."""
        first, last = self(tokens, mask=mask).float().unbind(1)
        score = first[:, :, None] + last[:, None, :]
        n = score.shape[-1]
        fits = torch.ones(n, n, dtype=torch.bool, device=score.device).triu().tril(longest - 1)
        best = score.masked_fill(~fits, float("-inf")).flatten(1).argmax(-1)
        return torch.stack((best // n, best % n), -1)


@dataclass(frozen=True)
class PictureConfig:
    """The configuration of an encoder, and how images become its input.

    size: height and width of an image in pixels, both multiples of `patch`.
    channels: 1 for grey, 3 for red, green and blue.
    n_outputs, pool: as in `ReaderConfig`.
    """

    encoder: ModelConfig
    n_outputs: int
    size: tuple[int, int]
    patch: int
    channels: int = 1
    pool: str = "first"

    head = False  # none that predicts tokens

    def __post_init__(self):
        ReaderConfig(self.encoder, self.n_outputs, self.pool)  # refuses what does not fit
        pair = isinstance(self.size, tuple | list) and len(self.size) == 2
        if not pair or not all(type(n) is int for n in self.size):
            raise ValueError(
                f"size must be (height, width) in whole pixels, got {shown(self.size)}"
            )
        object.__setattr__(self, "size", tuple(self.size))
        for name in ("patch", "channels"):
            check(name, getattr(self, name), int)
        if self.patch < 1 or any(n < 1 or n % self.patch for n in self.size):
            raise ValueError(f"size must be a multiple of patch={self.patch}, got {self.size}")
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1, got {self.channels}")
        if self.encoder.n_ctx < self.n_patches + 1:
            raise ValueError(
                f"an image has {self.n_patches} patches and [CLS], but the encoder's context is "
                f"n_ctx={self.encoder.n_ctx}; set n_ctx={self.n_patches + 1} or more, or use "
                "larger patches"
            )

    @property
    def n_patches(self) -> int:
        return self.rows * self.columns

    @property
    def rows(self) -> int:
        return self.size[0] // self.patch

    @property
    def columns(self) -> int:
        return self.size[1] // self.patch

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "encoder":
            raise AttributeError(name)
        return getattr(self.encoder, name)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return {**vars(self), "encoder": self.encoder.to_dict(), "size": list(self.size)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PictureConfig:
        check_table(values)
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(map(str, values)) - known)
        missing = sorted({"encoder", "n_outputs", "size", "patch"} - set(values))
        if unknown or missing:
            raise ValueError(f"unknown or missing option: {', '.join(unknown + missing)}")
        return cls(**{**values, "encoder": ModelConfig.from_dict(values["encoder"])})


class PictureClassifier(Tapped, nn.Module):
    """An image classifier: a Vision Transformer. It cuts an image into patches, a linear layer
    turns each into a vector, [CLS] is put in front of them, and the encoder reads the result.

    Source: Dosovitskiy et al. 2021.

    Args:
        encoder: a Transformer of kind "encoder", built with head=False; its token embedding is not
            used, so vocab_size=1 is enough.
        n_classes: number of classes.
        size: (height, width) of the images, in pixels.
        patch: side of a patch, in pixels; it must divide both.
        channels: 1 for grey, 3 for colours.
        pool: "first" reads the state of [CLS]; "mean" the mean over all.
    """

    def __init__(
        self,
        encoder: Transformer | PictureConfig,
        n_classes: int = 2,
        *,
        size: tuple[int, int] = (8, 8),
        patch: int = 2,
        channels: int = 1,
        pool: str = "first",
    ):
        super().__init__()
        if isinstance(encoder, PictureConfig):
            self.config, encoder = encoder, Transformer(encoder.encoder)
        else:
            self.config = PictureConfig(encoder.config, n_classes, size, patch, channels, pool)
        config, device = self.config, encoder.device
        self.encoder = encoder
        self.patches = nn.Linear(config.channels * config.patch**2, config.d_model, device=device)
        self.cls = nn.Parameter(torch.zeros(config.d_model, device=device))
        self.head = nn.Linear(config.d_model, config.n_outputs, device=device)
        for zero in (self.head.weight, self.head.bias, self.patches.bias):
            nn.init.zeros_(zero)

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    @property
    def n_outputs(self) -> int:
        return self.config.n_outputs

    def n_parameters(self) -> int:
        """Number of parameters, including the encoder's token embedding."""
        return sum(p.numel() for p in self.parameters())

    def forward(self, pixel_values: Tensor) -> Tensor:
        """pixel_values float [batch, channel, height, width] -> logits [batch, class]."""
        self.check_pixels(pixel_values)
        side = self.config.patch
        cells = F.unfold(pixel_values, side, stride=side).transpose(1, 2)
        first = self.cls.expand(len(cells), 1, -1)
        states = self.encoder.encode_vectors(torch.cat((first, self.patches(cells)), 1))
        return self.head(states[:, 0] if self.config.pool == "first" else states.mean(1))

    def check_pixels(self, pixels: Any) -> None:
        """Check a batch of images.

        Raises:
            ValueError: if they are not float images of the model's channels and size.
        """
        wanted = [self.config.channels, *self.config.size]
        if not isinstance(pixels, Tensor) or not pixels.is_floating_point():
            found = str(pixels.dtype) if isinstance(pixels, Tensor) else type(pixels).__name__
            raise ValueError(f"pixel_values must be a float tensor [batch, *{wanted}], got {found}")
        if list(pixels.shape[1:]) != wanted or not len(pixels):
            raise ValueError(
                "pixel_values must have shape [batch, channel, height, width] with [channel, "
                f"height, width] = {wanted}, got {list(pixels.shape)}"
            )

    def tapped(self) -> Iterator[nn.Module]:
        """Every module that a hook is registered on."""
        return self.encoder.tapped()

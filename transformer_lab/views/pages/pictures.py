"""A vision model in a page, and how the page prepares another image for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...adapters.network import Inputs
from ...files.pictures import Preparing
from ...graphs import analyses
from ...graphs.export import Graph
from ...graphs.functions import function_graph
from ..shared.messages import messages

if TYPE_CHECKING:
    from ...pictures.image_model import ImageModel

say = messages("patches")

FILTERS = {2: "bilinear", 3: "bicubic"}
TRIED = (
    (61, 47),
    (150, 231),
    (90, 90),
)  # heights and widths of test images, prepared by the page and by the processor
WITHIN = 1.01  # largest difference between the two, in levels of 255


@dataclass(frozen=True, eq=False)
class PictureModel:
    """A model that reads one image, as a page embeds it.

    Args:
        model: a torch module. name: for people.
        pixels: float [1, channel, height, width], the image shown, as the model reads it.
        whole: the `ImageModel`, whose processor prepares other images; None if there is none.
        why: why it cannot be embedded, as the end of a sentence; or "".
    """

    model: Any
    name: str
    pixels: Tensor
    whole: ImageModel | None
    why: str = ""

    @property
    def inputs(self) -> Inputs:
        return Inputs(None, given={"pixel_values": self.pixels})

    def preparation(self) -> tuple[Graph | None, str]:
        """The graph that prepares another image, and a sentence about it; or None, and why.

        The graph maps "pixels" [3, height, width] to "pixel_values" and the image "seen".
        """
        if self.whole is None:
            return None, say("no_preparation", why="the model came without an image processor")
        try:
            recipe = recipe_of(self.whole.processor)
            graph = recipe.graph()
            apart = max(self._apart(graph, recipe, size) for size in TRIED)
        except ValueError as error:
            return None, say("no_preparation", why=str(error))
        if apart > WITHIN:
            why = f"its image processor does more than a page: they differ by {apart:.0f} of 255 levels"
            return None, say("no_preparation", why=why)
        return graph, recipe.sentence(apart)

    def _apart(self, graph: Graph, recipe: Recipe, size: tuple[int, int]) -> float:
        """The largest difference between a page's pixels and the processor's, in levels of 255."""
        from PIL import Image

        image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        assert self.whole is not None
        wanted = self.whole.prepare(Image.fromarray(image))
        found, _ = graph.run_all(torch.from_numpy(image).permute(2, 0, 1).float())
        if wanted.shape != found.shape or found.shape != self.pixels.shape:
            raise ValueError("its image processor gives images of another size")
        levels = (found - wanted).abs() * torch.tensor(recipe.std)[:, None, None] / recipe.factor
        return float(levels.max())


@dataclass(frozen=True)
class Recipe:
    """How to prepare an image: resize, crop, scale, normalise.

    Args:
        size: (height, width) after resizing; one number: the shorter side.
        crop: (height, width) of the centre that is kept.
        fill: whether the image is first cropped to the proportions of `crop`, then resized.
        cubic: bicubic instead of bilinear.
        factor, mean, std: (pixels · factor − mean) / std.
    """

    size: tuple[int, ...]
    crop: tuple[int, int]
    cubic: bool
    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fill: bool = False

    def sentence(self, apart: float) -> str:
        return say(
            "preparation",
            filter=FILTERS[3 if self.cubic else 2],
            fill=self.fill,
            short=str(self.size[0]) if len(self.size) == 1 else None,
            crop=None if self.size == self.crop else " × ".join(map(str, self.crop)),
            size=" × ".join(map(str, self.size)),
            factor=f"{self.factor:.6g}",
            mean=", ".join(f"{x:.4g}" for x in self.mean),
            std=", ".join(f"{x:.4g}" for x in self.std),
            apart=apart,
        )

    def graph(self) -> Graph:
        return function_graph(self._prepared, {"pixels": torch.zeros(3, 40, 50)})

    def _prepared(self, pixels: Tensor) -> dict[str, Tensor]:
        height, width = (torch.scalar_tensor(n) for n in pixels.shape[1:])
        if len(self.size) == 1:
            by = self.size[0] / torch.minimum(height, width)
            sizes = [(n * by + 1e-4).floor() for n in (height, width)]
        else:
            sizes = [torch.tensor(float(n)) for n in self.size]
        whole, middle = (height, width), (height, width)
        if self.fill:
            middle = (
                torch.minimum(height, width * self.crop[0] / self.crop[1]),
                torch.minimum(width, height * self.crop[1] / self.crop[0]),
            )
        rows, columns = (
            analyses.resizing(
                whole[axis],
                middle[axis],
                sizes[axis],
                torch.arange(pixels.shape[1 + axis]),
                torch.arange(self.crop[axis]) + ((sizes[axis] - self.crop[axis]) / 2).floor(),
                self.cubic,
            )
            for axis in (0, 1)
        )
        seen = analyses.resized(pixels, columns, rows)
        mean, std = (torch.tensor(x)[:, None, None] for x in (self.mean, self.std))
        return {"pixel_values": ((seen * self.factor - mean) / std)[None], "seen": seen}


def recipe_of(processor: Any) -> Recipe:
    """What an image processor does, read from its settings.

    Raises:
        ValueError: if a page cannot do the same, as the end of a sentence.
    """
    if isinstance(processor, Preparing):
        if processor.fit != "crop":
            raise ValueError("bars are put beside images of other proportions")
        size = (processor.height, processor.width)
        return Recipe(
            size, size, True, 1 / 255, processor.image_mean, processor.image_std, fill=True
        )

    def get(name: str) -> Any:
        return getattr(processor, name, None)

    size, crop = (_sides(get(name)) for name in ("size", "crop_size"))
    if not get("do_resize") or not size or get("resample") not in FILTERS:
        raise ValueError("its image processor does not resize in the bilinear or bicubic way")
    if not get("do_center_crop"):
        crop = size
    if len(crop) != 2 or (len(size) == 2 and crop > size):
        raise ValueError("its image processor keeps the proportions of an image")
    normal = get("do_normalize")
    mean, std = (
        tuple(float(x) for x in get(name)) if normal else (default,) * 3
        for name, default in (("image_mean", 0.0), ("image_std", 1.0))
    )
    factor = float(get("rescale_factor")) if get("do_rescale") else 1.0
    return Recipe(size, (crop[0], crop[1]), get("resample") == 3, factor, mean, std)


def _sides(size: Any) -> tuple[int, ...]:
    """(height, width), or (shorter side,); () for other kinds of size."""
    if isinstance(size, int):
        return (size,)
    given: Mapping[str, Any] = {k: v for k, v in dict(size or {}).items() if v is not None}
    if set(given) == {"height", "width"}:
        return (given["height"], given["width"])
    return (given["shortest_edge"],) if set(given) == {"shortest_edge"} else ()

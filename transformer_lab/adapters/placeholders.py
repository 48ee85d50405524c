"""Images among the tokens of a text: which tokens stand for an image, and for which patch of it.

Such a model (LLaVA, PaliGemma, Qwen-VL and their kin) reads one placeholder for every vector that
its image side computes, and puts the vectors in their place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .inline_attention import is_attention
from .model_inputs import PIXELS, patches_of, picture_tower, placeholder
from .network import Inputs
from .patches import Patches
from .structure import TOKENS, is_hugging_face, parameters_of
from .windows import has_windows

GRID = "image_grid_thw"  # of every image: frames, rows and columns, before some are merged
KINDS = "mm_token_type_ids"  # of every token: 0 for text, 1 for a part of an image, 2 of a video
MIXING = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.MaxPool2d,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.Unfold,
    nn.MultiheadAttention,
)


def read(model: Any, tokens: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The inputs beside tokens, with what the model needs to know of its placeholders.

    Raises:
        ValueError: for images without placeholders, and for placeholders without an image.
    """
    wanted = placeholder(model)
    if wanted is None or tokens is None or isinstance(tokens, str):
        return given
    ids, name = torch.as_tensor(tokens), type(model).__name__
    ids = ids[None] if ids.dim() == 1 else ids
    n = int((ids == wanted).sum())
    if PIXELS not in given:
        if n and "mm_encoder_outputs" not in given:
            raise ValueError(
                f"tokens holds {n} placeholder{'s' * (n > 1)} for an image (id {wanted}) but "
                f"there is no image: give {PIXELS}=… as well, as {name}'s processor makes it"
            )
        return given
    if not n:
        raise ValueError(
            f"{PIXELS} needs the placeholder {wanted} in tokens once for each part of the image, "
            f"as {name}'s processor writes them, and there is none"
        )
    known = parameters_of(model)
    for needed in (GRID, "token_type_ids"):  # without the latter PaliGemma's eager mask differs
        if needed in known and needed not in given:
            raise ValueError(f"{name} needs {needed} besides {PIXELS}; its processor makes both")
    if GRID in given:
        given = {**given, GRID: _told_grid(given[GRID], given[PIXELS])}
    if KINDS in known and KINDS not in given:
        kinds = (ids == wanted).int()
        film = getattr(model.config, "video_token_id", None)
        kinds = kinds if film is None else kinds + 2 * (ids == film).int()
        given = {**given, KINDS: kinds.to(given[PIXELS].device)}
    return given


def _told_grid(grid: Any, pixels: Tensor) -> Tensor:
    found = torch.as_tensor(grid, device=pixels.device)
    if found.dim() != 2 or found.shape[1] != 3:
        raise ValueError(
            f"{GRID} must have shape [image, 3] (frames, rows and columns), got {list(found.shape)}"
        )
    n = int(found.prod(-1).sum())
    if n != len(pixels):
        raise ValueError(
            f"{GRID} describes {n} patches but {PIXELS} has {len(pixels)}; give both as the same "
            "processor made them"
        )
    return found


def do_not_fit(model: Any, inputs: Inputs, error: Exception) -> str:
    """The message for a model that finds another number of placeholders than its images need; empty
    if something else is wrong."""
    held = standing(model, inputs)
    if held is None or PIXELS not in inputs.given or "do not match" not in str(error):
        return ""
    found = _grid(model, inputs)
    known = f"{len(held) * found[0] * found[1]} parts" if found else "another number of parts"
    n = int(held.sum())
    return (
        f"tokens holds {n} image placeholder{'s' * (n > 1)} (id {placeholder(model)}), but "
        f"{type(model).__name__} makes {known} of {PIXELS}: give one placeholder for each, as its "
        "processor writes them"
    )


def standing(model: Any, inputs: Inputs) -> Tensor | None:
    """Bool [batch, position]: the tokens that stand for an image; None if none do."""
    if inputs.tokens is None or PIXELS not in inputs.given:
        return None
    wanted = placeholder(model)
    if wanted is None:
        return None
    return inputs.tokens == wanted


def patches_among(model: Any, inputs: Inputs) -> Patches | None:
    """The positions of patches among tokens; None if unknown: each text must have one image, all at
    the same positions, with a vector for each patch, row by row."""
    held = standing(model, inputs)
    found = None if held is None else _grid(model, inputs)
    if held is None or found is None:
        return None
    n, first = found[0] * found[1], int(held[0].int().argmax())
    wanted = torch.zeros_like(held)
    wanted[:, first : first + n] = True
    if n != int(held[0].sum()) or not torch.equal(held, wanted):
        return None
    rows = zip(*inputs.tokens.tolist(), strict=True)
    names = [str(ids[0]) if len(set(ids)) == 1 else f"token {i}" for i, ids in enumerate(rows)]
    return Patches(*found, tuple(names[:first]), tuple(names[first + n :]))


def picture_of(model: Any, inputs: Inputs) -> Tensor | None:
    """Pixels [channel, height, width] of one image that is read as a list of patches (Qwen-VL):
    each holds its channels, frames, rows and columns, and those that are merged are adjacent."""
    pixels, grid = inputs.given.get(PIXELS), inputs.given.get(GRID)
    if not isinstance(pixels, Tensor) or not isinstance(grid, Tensor):
        return None
    made = [m for m in model.modules() if isinstance(m, nn.Conv3d)]
    merged = getattr(getattr(model.config, "vision_config", None), "spatial_merge_size", None)
    if len(made) != 1 or made[0].kernel_size != made[0].stride or not isinstance(merged, int):
        return None
    frames, high, wide = made[0].kernel_size
    size = made[0].in_channels, frames, high, wide
    if len(grid) != 1 or int(grid[0, 0]) != 1 or pixels.dim() != 2:
        return None
    rows, columns = (int(n) // merged for n in grid[0, 1:])
    if pixels.shape != (rows * columns * merged**2, made[0].in_channels * frames * high * wide):
        return None
    x = pixels.view(rows, columns, merged, merged, *size)[..., 0, :, :]  # the first of equal frames
    return x.permute(4, 0, 2, 5, 1, 3, 6).reshape(size[0], rows * merged * high, -1)


def _grid(model: Any, inputs: Inputs) -> tuple[int, int] | None:
    """Rows and columns of the vectors of each text's one image; None if unknown."""
    pixels, batch = inputs.given.get(PIXELS), len(inputs.tokens)
    grid, tower = inputs.given.get(GRID), picture_tower(model)
    if isinstance(grid, Tensor):
        merged = getattr(getattr(model.config, "vision_config", None), "spatial_merge_size", None)
        one = grid.dim() == 2 and len(grid) == batch and bool((grid == grid[0]).all())
        if not one or not isinstance(merged, int) or int(grid[0, 0]) != 1:
            return None
        return int(grid[0, 1]) // merged, int(grid[0, 2]) // merged
    if not tower or not isinstance(pixels, Tensor) or len(pixels) != batch:
        return None
    if "image_sizes" in inputs.given or _mixes(model, tower):
        return None
    side = model.get_submodule(tower)
    found = (
        None
        if any(map(has_windows, side.modules()))
        else patches_of(side, Inputs(given={PIXELS: pixels}))
    )
    return None if found is None else (found.rows, found.columns)


def _mixes(model: Any, tower: str) -> bool:
    """Whether a module between image side and text may make one vector of several patches."""
    towers = [tower + "."]
    towers += [
        f"{name}."
        for name, m in model.named_modules()
        if name
        and is_hugging_face(m)
        and TOKENS & parameters_of(m)
        and not tower.startswith(f"{name}.")
    ]
    between = [m for n, m in model.named_modules() if n and not f"{n}.".startswith(tuple(towers))]
    inside = [m for m in between if not any(m is p for p in _holding(model, tower))]
    return any(isinstance(m, MIXING) or is_attention(m) for m in inside)


def _holding(model: Any, tower: str) -> list[nn.Module]:
    parts = tower.split(".")
    return [model.get_submodule(".".join(parts[:i])) for i in range(len(parts))]

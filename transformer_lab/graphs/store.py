"""Cache descriptions of graphs: in memory, on disk, and one in the package.

A description depends on a model's structure and on the code that runs and exports it, not on the
numbers in its weights. It is keyed by a digest of these.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.metadata
import io
import json
import os
import threading
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..adapters.hugging_face import HuggingFaceNetwork
from ..adapters.network import Inputs, Network
from ..files.models import describe
from ..files.paths import FileError
from ..files.resources import cache_folder
from ..files.safefiles import committed, parse_json, read_bytes
from .export import Graph, Written
from .folding import MOST as FOLDED
from .rows import Growth
from .running import Program

SHIPPED = Path(__file__).with_name("shipped.json")  # of the model that comes with the package
MOST = 64 << 20  # bytes of all files in the folder
LARGEST = 64 << 20  # bytes of one description, before it is compressed
IN_MEMORY = 16
_UNSAID = ("_name_or_path", "transformers_version", "architectures")  # settings that change no pass

Entry = dict[str, Any]  # a description and its constants, as JSON

_known: dict[str, Entry] = {}  # by key, the last used last
_lock = threading.Lock()


def structure_of(network: Network, inputs: Inputs | None = None) -> dict[str, Any]:
    """What a description depends on, as JSON: the classes of a model, its config, the names,
    shapes, types and tying of its weights, the numbers of its small buffers, an image's shape."""
    module = network.module
    config = getattr(module, "config", None)
    if isinstance(network, HuggingFaceNetwork):
        settings = {name: x for name, x in module.config.to_dict().items() if name not in _UNSAID}
        settings["attention"] = getattr(module.config, "_attn_implementation", None)
    else:
        settings = describe(module)
    first: dict[int, str] = {}
    weights = [
        [name, list(x.shape), str(x.dtype).removeprefix("torch."), first.setdefault(id(x), name)]
        for of in (module.named_parameters, module.named_buffers)
        for name, x in of(remove_duplicate=False)
    ]
    # Results of these are computed when a graph is made, see `folded`.
    tables = {
        name: hashlib.sha256(_bytes(x)).hexdigest()
        for name, x in module.named_buffers()
        if x.numel() <= FOLDED
    }
    found = {
        "tables": tables,
        "class": class_name(module),
        "config_class": class_name(config),
        "config": settings,
        "modules": [[name, class_name(one)] for name, one in module.named_modules()],
        "weights": weights,
    }
    if inputs is not None and "pixel_values" in inputs.given:
        found["pixels"] = list(inputs.given["pixel_values"].shape)
    return json.loads(json.dumps(found, default=str))


def class_name(x: Any) -> str:
    return f"{type(x).__module__}:{type(x).__qualname__}"


def digest_of(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


@cache
def _code() -> str:
    """A digest of the code that makes a description: ours by its text, the rest by its version."""
    package = Path(__file__).parents[1]
    apart = {"views", "lessons"}  # no graph depends on these
    own = [
        file for file in package.rglob("*.py") if file.relative_to(package).parts[0] not in apart
    ]
    digest = hashlib.sha256(torch.__version__.encode())
    with suppress(importlib.metadata.PackageNotFoundError):
        digest.update(importlib.metadata.version("transformers").encode())
    for file in sorted(own):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def key_of(structure: Mapping[str, Any]) -> str:
    return digest_of(structure, _code())


# -- a graph as an entry, and back -----------------------------------------------------------------


def entry_of(graph: Graph, network: Network) -> Entry:
    """A graph as JSON, without the weights that the model has by the same names."""
    own = _tensors(network)
    return {
        **graph.description(),
        "fixed": graph.fixed,
        "lacking": dict(graph.lacking),
        "pairs": dict(graph.pairs),
        "walks": dict(graph.walks),
        "written": graph.written and asdict(graph.written),
        "constants": {
            name: {
                "shape": list(x.shape),
                "type": str(x.dtype).removeprefix("torch."),
                "data": base64.b64encode(_bytes(x)).decode("ascii"),
            }
            for name, x in graph.weights.items()
            if name not in own
        },
    }


def _bytes(x: Tensor) -> bytes:
    flat = x.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def graph_of(entry: Mapping[str, Any], network: Network) -> Graph:
    """The graph that an entry describes, over a model's weights.

    Raises:
        ValueError: for an entry that is damaged or belongs to another model.
    """
    try:
        own, constants = _tensors(network), entry["constants"]
        weights = {
            name: own[name].detach() if name in own else _constant(constants[name])
            for name in entry["weights"]
        }
        for name, about in entry["weights"].items():
            if list(weights[name].shape) != about["shape"]:
                raise ValueError(f"{name} has another shape")
        graph = Graph(
            inputs=tuple(entry["inputs"]),
            nodes=entry["nodes"],
            weights=weights,
            results=dict(entry["results"]),
            lengths={name: (ends[0], ends[1]) for name, ends in entry["lengths"].items()},
            lacking=dict(entry["lacking"]),
            pairs=dict(entry["pairs"]),
            walks=dict(entry["walks"]),
            tail=entry["tail"],
            growth=_growth(entry["growth"], entry["nodes"]),
            updates=dict(entry["updates"]),
            fixed=entry["fixed"],
            written=entry["written"] and Written(**entry["written"]),
        )
        Program(graph.nodes, graph.results)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:
        raise ValueError(f"the description of a graph is damaged: {error}") from None
    return graph


def _growth(entry: Mapping[str, Any] | None, nodes: list[list[Any]]) -> Growth | None:
    if entry is None:
        return None
    letters = {node[1]: x for node, x in zip(nodes, entry["letters"], strict=True)}
    return Growth(entry["input"], letters, dict(entry["axes"]))


def _tensors(network: Network) -> dict[str, Tensor]:
    module = network.module
    return dict(module.named_buffers(remove_duplicate=False)) | dict(
        module.named_parameters(remove_duplicate=False)
    )


def _constant(entry: Mapping[str, Any]) -> Tensor:
    dtype = getattr(torch, entry["type"])
    data = bytearray(base64.b64decode(entry["data"]))
    if not data:
        return torch.zeros(entry["shape"], dtype=dtype)
    return torch.frombuffer(data, dtype=dtype).reshape(entry["shape"])


# -- where entries are -------------------------------------------------------------------------------


def find(structure: Mapping[str, Any]) -> Entry | None:
    """The entry of a model of this structure: from memory, the package, or the cache folder."""
    key = key_of(structure)
    with _lock:
        entry = _known.pop(key, None)
    entry = entry or _shipped(structure) or _read(_file(key))
    if entry is not None:
        _remember(key, entry)
    return entry


def keep(structure: Mapping[str, Any], entry: Entry) -> None:
    """Keep an entry; in memory only if the cache folder cannot be written."""
    key = key_of(structure)
    _remember(key, entry)
    data = gzip.compress(json.dumps(entry).encode(), 6, mtime=0)
    with suppress(OSError):
        file = _file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        with committed(file) as temporary:
            temporary.write_bytes(data)
        _bound(file.parent, file)


def forget(structure: Mapping[str, Any]) -> None:
    """Drop an entry that does not fit its model."""
    key = key_of(structure)
    with _lock:
        _known.pop(key, None)
    with suppress(OSError):
        _file(key).unlink(missing_ok=True)


def _remember(key: str, entry: Entry) -> None:
    with _lock:
        _known[key] = entry
        while len(_known) > IN_MEMORY:
            del _known[next(iter(_known))]


def _file(key: str) -> Path:
    return cache_folder() / "graphs" / f"{key}.json.gz"


def _read(file: Path) -> Entry | None:
    """The entry in a file; None if there is none, or a damaged one, which the next one replaces."""
    try:
        data = read_bytes(file, limit=MOST)
        with gzip.open(io.BytesIO(data)) as stream:
            text = stream.read(LARGEST + 1)
        if len(text) > LARGEST:
            return None
        entry = parse_json(text, file.name)
    except (FileError, EOFError, OSError, ValueError, zlib.error):
        return None
    with suppress(OSError):
        os.utime(file)  # the last used is removed last
    return entry


def _bound(folder: Path, kept: Path) -> None:
    """Remove the files that were used least recently, until the rest are small enough together."""
    files = []
    for file in folder.glob("*.json.gz"):
        with suppress(OSError):
            files.append((file.stat().st_mtime, file.stat().st_size, file))
    total = sum(size for _, size, _ in files)
    for _, size, file in sorted(files):
        if total <= MOST:
            break
        if file != kept:
            file.unlink(missing_ok=True)
            total -= size


def is_shipped(structure: Mapping[str, Any]) -> bool:
    """Whether the entry of a model of this structure came with the package, complete."""
    return _shipped(structure) is not None


def _shipped(structure: Mapping[str, Any]) -> Entry | None:
    """The entry in the package, which any version of torch runs, if it is of this structure."""
    kept = _read_shipped()
    return kept["entry"] if kept.get("structure") == digest_of(structure) else None


@cache
def _read_shipped() -> dict[str, Any]:
    try:
        return parse_json(read_bytes(SHIPPED, limit=LARGEST), SHIPPED.name)
    except (FileError, OSError):
        return {}


def write_shipped(structure: Mapping[str, Any], entry: Entry) -> None:
    stored = {"structure": digest_of(structure), "entry": entry}
    text = json.dumps(stored, allow_nan=False, separators=(",", ":"))
    SHIPPED.write_text(text.replace('],["', '],\n["') + "\n", "utf-8")

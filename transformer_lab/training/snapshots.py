"""Attention patterns of a probe, saved while a model trains: one file per step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..files.paths import FileError
from ..files.safefiles import committed, read_tensors, write_tensors
from ..tracing.packing import WEIGHT_SCALE, pack_weights, unpack_weights
from ..tracing.running import trace
from ..tracing.trace import Trace


def write_snapshot(path: Path, model: nn.Module, probe: Any) -> None:
    """Save the model's attention patterns on a probe: token ids [position], or a pair of them."""
    source, target = probe if isinstance(probe, tuple) else (probe, None)
    device = next(model.parameters()).device
    parts = [_ids(part).to(device) for part in (source, target) if part is not None]
    traced = trace(model, *parts)
    # Copies: source and target may be parts of one tensor, which safetensors refuses.
    tensors = {"probe.source": _ids(source)[0].clone()}
    if target is not None:
        tensors["probe.target"] = _ids(target)[0].clone()
    for kind in traced.kinds:
        layers = [traced.pattern(i, kind=kind) for i in range(traced.n_layers(kind))]
        tensors[f"{kind}.pattern"] = pack_weights(torch.stack(layers))
    with committed(path) as temporary:
        write_tensors(temporary, tensors, {"scale": str(WEIGHT_SCALE)})


def read_snapshot(path: Path) -> tuple[dict[str, Tensor], tuple[Any, Tensor | None]]:
    """Read patterns, kind -> float32 [layer, head, query, key], and the probe's token ids: source
    and target.

    Raises:
        FileError: if it is damaged, or from a later version.
    """
    tensors, metadata = read_tensors(path)
    scale = metadata.get("scale", "255")
    if scale not in ("255", str(WEIGHT_SCALE)):
        raise FileError(
            f"{path} is from a later version of this package: its weights are scaled by {scale}"
        )
    read = unpack_weights if scale == str(WEIGHT_SCALE) else lambda codes: codes.float() / 255
    maps = {
        name.removesuffix(".pattern"): read(tensor)
        for name, tensor in tensors.items()
        if name.endswith(".pattern")
    }
    source, target = tensors.get("probe.source"), tensors.get("probe.target")
    if not _fit_together(maps, source, target):
        raise FileError(
            f"{path} has changed since it was written: its patterns do not match its probe. Delete it"
        )
    return maps, (source, target)


def trace_of_maps(
    maps: Mapping[str, Tensor],
    source: Tensor,
    target: Tensor | None = None,
    *,
    labels: Sequence[str] | None = None,
    target_labels: Sequence[str] | None = None,
    name: str = "",
) -> Trace:
    """A `Trace` of saved patterns: kind -> [layer, head, query, key]; source and target are token
    ids [position]."""
    ids = [None if part is None else part.reshape(1, -1).long() for part in (source, target)]
    names = [
        None
        if part is None
        else [list(given) if given is not None else [str(i) for i in part[0].tolist()]]
        for part, given in zip(ids, (labels, target_labels), strict=True)
    ]
    for what, part, shown in zip(("labels", "target_labels"), ids, names, strict=True):
        if part is not None and shown is not None and len(shown[0]) != part.shape[1]:
            raise ValueError(
                f"{what} has {len(shown[0])} names, but the probe has {part.shape[1]} tokens"
            )
    return Trace.of_maps(
        maps, tokens=ids[0], target=ids[1], labels=names[0], target_labels=names[1], name=name
    )


def _fit_together(maps: Mapping[str, Tensor], source: Any, target: Any) -> bool:
    """Whether these can be patterns of this probe: [layer, head, query, key] each."""
    if not maps or source is None:
        return False
    size = {"encoder": source.numel(), "decoder": source.numel()}
    if target is not None:
        size["decoder"] = target.numel()
    sides = {kind: (size[kind], size[kind]) for kind in size}
    sides["cross"] = (size["decoder"], size["encoder"])
    return all(
        kind in sides and layers.dim() == 4 and tuple(layers.shape[2:]) == sides[kind]
        for kind, layers in maps.items()
    )


def _ids(tokens: Any) -> Tensor:
    ids = torch.as_tensor(tokens)
    return ids if ids.dim() == 2 else ids[None]

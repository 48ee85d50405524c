"""Find the lists of modules that hold a model's layers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn


def every_module(model: nn.Module) -> list[nn.Module]:
    """Each module once, as from `model.modules()`, but in another order and in a third of the time,
    since every trace needs it several times."""
    found, seen = [model], {id(model)}
    for module in found:  # which grows meanwhile
        for child in module._modules.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                found.append(child)
    return found


def block_modules(model: Any) -> dict[str, nn.Module]:
    """path -> module of each member of an outermost ModuleList: the layers."""
    return {
        f"{path}.{i}": child
        for path, blocks in outermost_lists(model).items()
        for i, child in enumerate(blocks)
    }


def outermost_lists(model: Any) -> dict[str, list[nn.Module]]:
    """path -> layers of every ModuleList that is not inside another."""
    lists: dict[str, list[nn.Module]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not any(name.startswith(o + ".") for o in lists):
            lists[name] = _layers_in(module)
    return lists


def _layers_in(modules: nn.ModuleList) -> list[nn.Module]:
    """The layers of a list, including those in lists inside it (Funnel's blocks)."""
    return [
        layer
        for child in modules
        for layer in (_layers_in(child) if isinstance(child, nn.ModuleList) else [child])
    ]


def layers_of_stages(blocks: list[nn.Module], attention: Collection[nn.Module]) -> list[nn.Module]:
    """The layers inside stages, each of which has a list of layers itself (Swin's); blocks that are
    not stages are layers themselves."""
    found: list[nn.Module] = []
    for block in blocks:
        modules = list(block.modules())
        lists = [m for m in modules if isinstance(m, nn.ModuleList)]
        inside = [m for m in modules if m in attention] if lists else []
        stage = next((one for one in lists if _holds(one, inside)), None)
        found += [block] if stage is None else list(stage)
    return found


def _holds(layers: nn.ModuleList, attention: list[nn.Module]) -> bool:
    """Whether all of this attention is in these layers, and some in each."""
    held = [[m for m in attention if m in set(layer.modules())] for layer in layers]
    alone = any(layer in attention for layer in layers)
    return bool(attention) and not alone and all(held) and sum(map(len, held)) == len(attention)


def is_numbered(path: str) -> bool:
    """Whether the path leads through a list."""
    return any(part.isdigit() for part in path.split("."))

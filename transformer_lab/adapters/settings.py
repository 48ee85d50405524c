"""Set which attention function a Hugging Face model calls, and restore it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import repeat
from typing import Any

from torch import nn

from .interrupts import sheltered
from .structure import is_hugging_face

SETTING = "_attn_implementation_internal"  # setting the public one changes the configs inside too


class Settings:
    """The attention setting of every config in a model's modules, and in those configs.

    Args:
        names: module -> path, of the model's modules.
    """

    def __init__(self, names: Mapping[nn.Module, str]):
        self._names = names
        self._before = [(config, getattr(config, SETTING)) for config in _configs(names)]
        self._copies: dict[int, Any] = {}

    @property
    def before(self) -> tuple[Any, ...]:
        """The setting that each config had."""
        return tuple(setting for _, setting in self._before)

    @property
    def now(self) -> tuple[Any, ...]:
        """The setting that each config has."""
        return tuple(getattr(config, SETTING) for config, _ in self._before)

    def set_to(self, settings: Iterable[Any]) -> None:
        """Give each config its setting."""
        for (config, _), setting in zip(self._before, settings, strict=False):
            setattr(config, SETTING, setting)

    def restore(self) -> None:
        self.set_to(self.before)

    def extend(self, ours: Collection[str]) -> None:
        """Set every config that transformers does not reach, if its model has one of our settings:
        a layer that was deep-copied has its own config, and so its own setting."""
        models = {path: module for module, path in self._names.items() if is_hugging_face(module)}
        reached = {id(config) for config in _configs(models.values())}
        for module, path in self._names.items():
            config = vars(module).get("config")
            if id(config) in reached or not hasattr(config, SETTING):
                continue
            while path not in models:
                path = path.rpartition(".")[0]
            setting = getattr(models[path].config, SETTING, None)
            if setting in ours:
                setattr(config, SETTING, setting)

    def of_copies(self, config: Any) -> Any:
        """A config without our setting, the same object in every call."""
        before = [setting for other, setting in self._before if other is config]
        if not before:
            return config
        kind: Any = type(config)
        twin = self._copies.setdefault(id(config), kind.__new__(kind))
        fields = vars(config).items()
        vars(twin).update({n: self.of_copies(x) if hasattr(x, SETTING) else x for n, x in fields})
        setattr(twin, SETTING, before[0])
        return twin


def _configs(modules: Any) -> list[Any]:
    """Every config of these modules that has a setting, including those inside others."""
    waiting = [vars(m)["config"] for m in modules if "config" in vars(m)]
    found: dict[int, Any] = {}
    while waiting:
        config = waiting.pop()
        if id(config) not in found and hasattr(config, SETTING):
            found[id(config)] = config
            waiting += [getattr(config, name, None) for name in getattr(config, "sub_configs", ())]
    return list(found.values())


@sheltered
def quiet() -> Iterator[None]:
    """Silence transformers' log about settings that are restored a moment later. (This sets the
    level of handlers: setting a logger's empties the caches of all loggers, which takes as long as
    a tiny model's pass. Interrupting `logging` would leave its lock with this thread, and others
    would wait for ever.)"""
    log = logging.getLogger("transformers")
    handlers = [*log.handlers, *(logging.root.handlers if log.propagate else ())]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(max(handler.level, logging.ERROR))
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)


@sheltered
def eager(model: Any) -> Iterator[None]:
    """Make the model use eager attention, which returns patterns, while this is open."""
    settings = Settings({m: name for name, m in model.named_modules()})
    try:
        with suppress(ValueError, ImportError):  # it may have only one kind, which returns patterns
            model.set_attn_implementation("eager")
        settings.set_to(repeat("eager"))  # some read it although they refuse the change
        yield
    finally:
        settings.restore()

"""How a Hugging Face model is told which attention function to call, and how it is put back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


def attention_settings(modules: Iterable[Any]) -> list[tuple[Any, Any]]:
    """(config, its attention setting) of every config of a model's modules, those inside others too."""
    waiting = [m.config for m in modules if hasattr(m, "config")]
    found: dict[int, tuple[Any, Any]] = {}
    while waiting:
        config = waiting.pop()
        if id(config) not in found and hasattr(config, "_attn_implementation_internal"):
            found[id(config)] = config, config._attn_implementation_internal
            waiting += [getattr(config, name, None) for name in getattr(config, "sub_configs", ())]
    return list(found.values())


def restore(settings: list[tuple[Any, Any]]) -> None:
    # One by one: the public setting is handed on to the configs inside.
    for config, setting in settings:
        config._attn_implementation_internal = setting


@contextmanager
def quiet() -> Iterator[None]:
    """transformers logs about settings that are restored a moment later."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)

"""Get the graph of a model from the store, or from an export in another process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from ..adapters.hugging_face import HuggingFaceNetwork
from ..adapters.network import Inputs, Network
from ..adapters.own_network import OurNetwork
from ..files.waiting import note, waiting
from . import store
from .check import agrees, checked_graph
from .export import Graph, GraphError
from .process import STEPS, Export, ExportFailed, Unlike

DIFFERS = "its graph differs from the model"

_not_a_copy: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # module -> how a copy differs
_own: WeakKeyDictionary[Any, tuple[str, store.Entry]] = WeakKeyDictionary()  # if exported here
_failed: dict[str, str] = {}  # key -> why another process did not export it
_running: dict[tuple[str, bool], Export] = {}  # by key, and whether with attribution graphs
_lock = threading.Lock()


def _forked() -> None:
    """Forget the exports of the parent process, whose ends no thread of a fork hears of."""
    global _lock
    _lock = threading.Lock()
    _running.clear()


if hasattr(os, "register_at_fork"):  # POSIX
    os.register_at_fork(after_in_child=_forked)


def known_graph(
    network: Network, inputs: Inputs, written: bool = False, texts: Iterable[Inputs] = ()
) -> Graph | None:
    """The graph of a model if its description is in the store and fits the model as it is now; else
    None.

    Args:
        network: of a model in evaluation mode.
        inputs: a batch of one that it reads.
        written: only with the attribution graphs, see `checked_graph`.
        texts: on which it is compared as well.
    """
    structure = store.structure_of(network, inputs)
    key, entry = _own.get(network.module, ("", {}))
    found = entry if key == store.key_of(structure) else store.find(structure)
    if found is None or (written and inputs.tokens is not None and not found.get("written")):
        return None
    return _fitting(network, inputs, structure, found, texts)


def _exported_here(
    network: Network, inputs: Inputs, written: bool, texts: Iterable[Inputs]
) -> Graph:
    """The graph of a model that cannot be copied: this process exports it.

    Raises:
        GraphError: also if it differs from the model on one of the texts.
    """
    graph = checked_graph(network, inputs, written)
    if not agrees(graph, network, inputs, texts):
        raise GraphError(f"{DIFFERS} on the text of this page")
    key = store.key_of(store.structure_of(network, inputs))
    _own[network.module] = key, store.entry_of(graph, network)
    return graph


def at_hand(
    network: Network, inputs: Inputs, then: Callable[[], Any], written: bool = False
) -> bool:
    """Whether the graph of a model is known; if not, another process exports it, and `then` is
    called when that has ended.

    Raises:
        GraphError: for a model that no other process can export, or whose export has failed.
    """
    if known_graph(network, inputs, written) is not None:
        return True
    if not can_be_copied(network):
        raise GraphError("no other process can export it")
    if why := _failed.get(store.key_of(store.structure_of(network, inputs))):
        raise GraphError(why)
    start_export(network, inputs, written=written).then(then)
    return False


def _fitting(
    network: Network,
    inputs: Inputs,
    structure: dict[str, Any],
    entry: store.Entry,
    texts: Iterable[Inputs],
) -> Graph | None:
    """The graph of an entry, after a comparison with the model's own numbers."""
    own = _own.get(network.module, ("", None))[1] is entry
    if network.module in _not_a_copy and not own:
        return None
    try:
        graph = store.graph_of(entry, network)
        fits = agrees(graph, network, inputs, texts)
    except (RuntimeError, ValueError, LookupError, TypeError):  # from a damaged entry
        store.forget(structure)
        return None
    if fits:
        return graph
    if own:
        del _own[network.module]
    _not_a_copy[network.module] = DIFFERS
    return None


def can_be_copied(network: Network) -> bool:
    """Whether another process can make a model of this structure."""
    if type(network) not in (OurNetwork, HuggingFaceNetwork) or network.module in _not_a_copy:
        return False
    names = (store.class_name(network.module), store.class_name(network.module.config))
    return all(x.split(".")[0] in ("transformers", "transformer_lab") for x in names)


def start_export(network: Network, inputs: Inputs, nice: int = 10, written: bool = False) -> Export:
    """Export a copy of a model in another process, or return the export that is running.

    Args:
        nice, written: as in `Export`.
    """
    structure = store.structure_of(network, inputs)
    key = store.key_of(structure)
    with _lock:
        running = _running.get((key, written)) or _running.get((key, True))
        if running is None:
            read = {"tokens": inputs.tokens, "target": inputs.target}
            ids = {name: x.tolist() for name, x in read.items() if x is not None}
            running = _running[key, written] = Export(structure, ids, nice, written)
        else:
            return running
    running.then(lambda: _ended(key, written, running))
    return running


def _ended(key: str, written: bool, export: Export) -> None:
    try:
        store.keep(export.structure, export.entry())
        _failed.pop(key, None)
    except GraphError as error:
        _failed[key] = str(error)
    finally:  # until then, callers get this export and start no other
        with _lock:
            _running.pop((key, written), None)


def graph_of_model(
    network: Network,
    inputs: Inputs,
    about: Callable[[], str],
    written: bool = False,
    texts: Iterable[Inputs] = (),
) -> Graph:
    """The graph of a model, exported in another process if it is not known: a line says what that
    takes, a bar shows the progress, and Ctrl+C ends it.

    Args:
        network: of a model in evaluation mode.
        about: the line.
        written: as in `checked_graph`.
        texts: on which the graph is compared with the model as it is now, as well.

    Raises:
        ExportFailed: if the export ended without an answer, for lack of memory or time.
        GraphError: for a model that does not export, or whose graph differs from it.
    """
    for _ in range(2):  # once more if the model was changed meanwhile
        if (found := known_graph(network, inputs, written, texts)) is not None:
            return found
        if not can_be_copied(network):
            return _exported_here(network, inputs, written, texts)
        structure = store.structure_of(network, inputs)
        export = start_export(network, inputs, nice=0, written=written)
        wait_for(export, about())
        try:
            entry = export.entry()
        except Unlike as error:
            _not_a_copy[network.module] = str(error)
            return _exported_here(network, inputs, written, texts)
        if store.structure_of(network, inputs) != structure:
            continue
        found = _fitting(network, inputs, structure, entry, texts)
        return _exported_here(network, inputs, written, texts) if found is None else found
    raise ExportFailed("the model was changed while it was exported")


def wait_for(export: Export, line: str) -> None:
    """Wait for an export, and show its progress; an interrupt stops it."""
    try:
        note(line)
        with waiting("Exporting") as tell:
            while not export.done.wait(0.5):
                tell(export.n_steps, STEPS)
    except BaseException:
        export.stop()
        raise

"""Export a model that is described on standard input, for another process, or the shipped model.

python -m transformer_lab.graphs            what `process` starts
python -m transformer_lab.graphs shipped    write the graph of the shipped model into the package
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import Any

WAITS = 60.0  # seconds to wait for another request
UNLIKE = "unlike"  # the config makes another class or other weights: not exported here


def main() -> None:
    """Answer requests, one per line, until there is none for a while."""
    # Keep what libraries print out of the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # if memory runs out, this process is killed first
    with suppress(queue.Empty):
        while True:
            request = json.loads(requests.get(timeout=WAITS))
            with suppress(AttributeError, OSError):
                os.setpriority(os.PRIO_PROCESS, 0, request.get("nice", 0))
            print(json.dumps(_answer(request)), file=answers, flush=True)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return _exported(request)
    except MemoryError:
        return {"error": "there is not enough memory"}
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        refused = type(error).__name__ == "GraphError"
        return {"refused" if refused else "error": text[:500]}


def _read(requests: queue.Queue[str]) -> None:
    for line in sys.stdin:
        requests.put(line)
    os._exit(1)  # the parent, which keeps it open, is gone


def _step(name: str) -> None:
    print(f"step {name}", file=sys.stderr, flush=True)


def _exported(request: dict[str, Any]) -> dict[str, Any]:
    _step("reading transformer_lab")
    import torch

    from ..adapters.lookup import network_of
    from ..adapters.network import Inputs
    from .check import checked_graph
    from .store import digest_of, entry_of, structure_of

    torch.set_num_threads(1)
    wanted = request["structure"]
    _step("building a copy")
    try:
        module = _built(wanted)
    except MemoryError:
        raise
    except Exception as error:
        return {UNLIKE: f"{type(error).__name__}: {error}"[:200]}
    network = network_of(module)
    read = {name: torch.tensor(ids) for name, ids in request["inputs"].items()}
    given = {}
    if "pixels" in wanted:
        chance = torch.Generator().manual_seed(0)
        given["pixel_values"] = torch.randn(wanted["pixels"], generator=chance)
    inputs = Inputs(read.get("tokens"), read.get("target"), given=given)
    if digest_of(structure_of(network, inputs)) != digest_of(wanted):
        return {UNLIKE: "its config makes another model"}
    _step("exporting and comparing")
    graph = checked_graph(network, inputs, request["written"])
    return {"entry": entry_of(graph, network)}


def _built(structure: dict[str, Any]) -> Any:
    """A model of this structure with random weights, in evaluation mode."""
    import torch

    module_class, config_class = (_class(structure[name]) for name in ("class", "config_class"))
    fields = dict(structure["config"])
    for name in ("transformer_lab", "class"):
        fields.pop(name, None)
    attention = fields.pop("attention", None)
    given = {} if attention is None else {"attn_implementation": attention}
    config = config_class.from_dict(fields, **given)
    with _unfilled():
        module = module_class(config).eval()
    types = {name: getattr(torch, dtype) for name, _, dtype, _ in structure["weights"]}
    chance = torch.Generator().manual_seed(0)
    noise = torch.randn(1 << 20, generator=chance)
    for i, (name, x) in enumerate(module.named_parameters()):
        if name in types and x.dtype != types[name]:
            x.data = x.data.to(types[name])
        if x.is_floating_point():
            # Repeat one random piece: drawing new numbers would take longer than the export.
            start = (i * 7919) % (noise.numel() // 2)
            piece = noise[start : start + noise.numel() // 2]
            turns = -(-x.numel() // piece.numel())
            filled = piece.repeat(turns)[: x.numel()].reshape(x.shape)
            if x.dim() > 1:
                filled = filled / max(1, x.shape[-1]) ** 0.5
            else:
                filled = (0.0 if name.endswith("bias") else 1.0) + 0.1 * filled
            x.data.copy_(filled)
    for name, x in module.named_buffers():
        if name in types and x.dtype != types[name]:
            x.data = x.data.to(types[name])
    return module


def _unfilled() -> Any:
    """While open, skip random initialisation, which takes seconds; weights are filled afterwards.

    A tensor's own `normal_` fills in the mean: `trunc_normal_` redraws until all is in its
    bounds."""
    import torch

    from ..adapters.interrupts import Mode

    class Unfilled(Mode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            given = kwargs or {}
            if getattr(func, "__module__", "") == "torch.nn.init" and func.__name__ in _RANDOM:
                return args[0] if args else given.get("tensor")
            if func is torch.Tensor.normal_:
                return args[0].fill_(args[1] if len(args) > 1 else given.get("mean", 0.0))
            return func(*args, **given)

    return Unfilled()


_RANDOM = {
    "normal_",
    "uniform_",
    "trunc_normal_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "orthogonal_",
    "xavier_normal_",
    "xavier_uniform_",
}


def _class(name: str) -> Any:
    """A class of transformers or of ours, by its module and name."""
    module, _, path = name.partition(":")
    if module.split(".")[0] not in ("transformers", "transformer_lab") or "." in path:
        raise ValueError(f"{name} is not built here")
    return getattr(import_module(module), path)


def _write_shipped() -> None:
    import torch

    from ..adapters.lookup import network_of
    from ..adapters.network import Inputs
    from ..text_model import shipped
    from .check import checked_graph
    from .store import SHIPPED, entry_of, structure_of, write_shipped

    network = network_of(shipped("manual").model)
    graph = checked_graph(network, Inputs(torch.arange(8)[None]), written=True)
    write_shipped(structure_of(network), entry_of(graph, network))
    print(f"Wrote {SHIPPED}")


if __name__ == "__main__":
    _write_shipped() if sys.argv[1:] == ["shipped"] else main()

"""Whether an architecture travels in a page as its graph, checked in the page's engine under node."""

from __future__ import annotations

import base64
import copy
import json
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import transformer_lab as tl
from transformer_lab.adapters.lookup import network_of
from transformer_lab.adapters.network import Inputs
from transformer_lab.edits.interventions import tap_for
from transformer_lab.graphs.check import check_graph, texts_of_lengths
from transformer_lab.graphs.export import Graph, GraphError, answer_of, export_graph
from transformer_lab.graphs.operations import running_with

from .building import Architecture, NotBuilt, build
from .examine import Result, _quiet, told
from .measures import LOGITS, pixels_of, text_of

ANY, FIXED, NO = "any length", "fixed length", "no"
IMAGES = "its image size"
RUN = Path(__file__).parents[2] / "tests" / "graphs" / "run_graph.mjs"


def travels(one: Architecture) -> Result:
    """Check whether an architecture travels in a page. Raises nothing.

    The verdict is "any length", "its image size", "fixed length" or "no"; `why` says why it is not
    the first; errors: the largest difference in node, as a fraction of the largest logit.
    """
    started = time.perf_counter()
    result = Result(one.name, one.made, NO)
    with warnings.catch_warnings(), torch.random.fork_rng(), _quiet():
        warnings.simplefilter("ignore")
        try:
            result.verdict, result.why, result.errors["node"] = _travelled(build(one))
        except NotBuilt as error:
            result.why = f"not built: {error}"
        except GraphError as error:
            result.why = str(error)
        except Exception as error:
            result.why = told(error)
    result.seconds = round(time.perf_counter() - started, 1)
    return result


def _travelled(model: Any) -> tuple[str, str, float]:
    network = network_of(model)
    inputs = _read_by(model, network)
    graph = export_graph(network, inputs)
    worst = check_graph(graph, network, inputs)
    texts = texts_of_lengths(graph, network, inputs)
    texts = [texts[0], texts[-1]] if len(texts) > 1 else texts
    edits = _edits(graph, network)
    with tempfile.TemporaryDirectory() as folder:
        found = _in_node(Path(folder), graph, [js for js, _ in edits], texts)
    plain = copy.deepcopy(model).eval()
    if hasattr(plain, "set_attn_implementation"):
        plain.set_attn_implementation("eager")
    twin = network_of(plain)
    for text, answers in zip(texts, found, strict=True):
        wanted = [answer_of(twin.run(text))[1].detach()]
        wanted += [_edited(graph, network, edit, text) for _, edit in edits]
        for answer, truth in zip(answers, wanted, strict=True):
            size = max(1.0, float(truth.abs().max()))
            worst = max(worst, float(np.abs(answer - truth.numpy().ravel()).max()) / size)
    if not worst <= LOGITS:
        raise GraphError(f"its graph differs in node by {worst:.1e} of the largest logit")
    how = IMAGES if inputs.tokens is None else ANY if graph.any_length else FIXED
    return how, graph.fixed, float(f"{worst:.1e}")


def _read_by(model: Any, network: Any) -> Inputs:
    reads = getattr(model, "main_input_name", "input_ids")
    if reads == "pixel_values":
        return Inputs(None, given={"pixel_values": pixels_of(model.config, 3)})
    if reads not in ("input_ids", "decoder_input_ids"):
        raise GraphError("it reads audio")
    target = text_of(6, 5) if network.kind == "encoder-decoder" else None
    return Inputs(text_of(8, 3), target)


def _edits(graph: Graph, network: Any) -> list[tuple[dict[str, Any], Any]]:
    """Edits to check: a head ablated, and mlp_out skipped if the model has that point."""
    attends = [n[2] for n in graph.nodes if n[0] == "transformer_lab.attend"]
    kind, layer = attends[-1][8:10]
    heads = network.heads(kind)[layer] or 1
    head = heads - 1
    edits = [
        (dict(what="ablate", kind=kind, layer=layer, head=head), tl.ablate(layer, head, kind=kind))
    ]
    points = [n[2][1:] for n in graph.nodes if n[0] == "transformer_lab.point"]
    stack = "decoder" if kind == "cross" else kind
    of_mlp = [at for name, where, at in points if name == "mlp_out" and where == stack]
    if of_mlp:
        edits.append(
            (
                dict(what="skip", kind=stack, layer=of_mlp[-1], name="mlp_out"),
                tl.skip(of_mlp[-1], "mlp", kind=stack),
            )
        )
    return edits


def _edited(graph: Graph, network: Any, edit: Any, text: Inputs) -> Tensor:
    with running_with(tap_for(network, edit)):
        return graph.run(*_tensors(graph, text))


def _tensors(graph: Graph, text: Inputs) -> list[Tensor]:
    read = {"tokens": text.tokens, "target": text.target, **text.given}
    return [read[name] for name in graph.inputs]


def _in_node(
    folder: Path, graph: Graph, edits: list[dict[str, Any]], texts: list[Inputs]
) -> list[list[np.ndarray]]:
    """The answers of a page's engine for each text: without edits, then with each edit."""
    weights = [x.detach().float().contiguous().numpy().tobytes() for x in graph.weights.values()]
    (folder / "x.bin").write_bytes(b"".join(weights))
    description = json.loads(json.dumps(graph.description(), allow_nan=False))
    given = [
        {
            name: x[0].tolist()
            if name != "pixel_values"
            else {"shape": list(x.shape), "data": x.flatten().tolist()}
            for name, x in zip(graph.inputs, _tensors(graph, text), strict=True)
        }
        for text in texts
    ]
    case = dict(name="x", description=description, wasm=True, edits=edits, inputs=given)
    (folder / "cases.json").write_text(json.dumps([case]))
    subprocess.run(["node", str(RUN), str(folder)], check=True)
    (result,) = json.loads((folder / "results.json").read_text())
    if "error" in result:
        raise GraphError("in node: " + result["error"].splitlines()[0].removeprefix("Error: "))
    return [
        [
            np.frombuffer(base64.b64decode(x), np.float32)
            for x in (text["answer"], *(e["answer"] for e in text["edited"]))
        ]
        for text in result["texts"]
    ]

"""Whether an architecture travels in a page as its graph, with its edits: the page's engine, under node,
beside PyTorch."""

from __future__ import annotations

import base64
import copy
import json
import re
import subprocess
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import transformer_lab as tl
from transformer_lab.adapters.lookup import network_of
from transformer_lab.adapters.network import Inputs
from transformer_lab.edits.interventions import tap_for
from transformer_lab.edits.kinds import EditError
from transformer_lab.files.safefiles import write_tensors
from transformer_lab.graphs.check import check_graph, tensors_of, texts_of_lengths
from transformer_lab.graphs.export import Graph, GraphError, answer_of, export_graph
from transformer_lab.graphs.operations import running_with
from transformer_lab.views.pages.carried import config_of

from .building import Architecture, NotBuilt, build
from .examine import Result, _quiet, told
from .measures import LOGITS, pixels_of, text_of

ANY, FIXED, NO = "any length", "fixed length", "no"
IMAGES = "its image size"
RUN = Path(__file__).with_name("edited_passes.mjs")


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
    plain = copy.deepcopy(model).eval()
    if hasattr(plain, "set_attn_implementation"):
        plain.set_attn_implementation("eager")
    twin = network_of(plain)
    cases = [([], answer_of(twin.run(text))[1].detach(), text) for text in texts]
    cases += _edited(model, network, graph, texts[-1])
    with tempfile.TemporaryDirectory() as folder:
        found = _in_node(Path(folder), network, graph, inputs, cases)
    for (edits, truth, _), answer in zip(cases, found, strict=True):
        size = max(1.0, float(truth.abs().max()))
        apart = float(np.abs(answer - truth.numpy().ravel()).max()) / size
        if not apart <= LOGITS:
            what = f" with {json.dumps(edits)[:120]}" if edits else ""
            raise GraphError(f"the page differs{what} by {apart:.1e} of the largest logit")
        worst = max(worst, apart)
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


def _edited(
    model: Any, network: Any, graph: Graph, text: Inputs
) -> list[tuple[Any, Tensor, Inputs]]:
    """Edits as a page has them, and PyTorch's answers under each: every head off, one of each layer
    scaled, and for each kind of attention an edge cut and a head patched from the reversed text."""
    attends = {tuple(n[2][8:10]) for n in graph.nodes if n[0] == "transformer_lab.attend"}
    made: list[tuple[dict[str, Any], Any]] = []
    for kind, layer in sorted(attends):
        heads, at = network.heads(kind)[layer] or 1, dict(kind=kind, layer=layer)
        for head in range(heads):
            made.append((dict(edit="ablate", **at, head=head), tl.ablate(layer, head, kind=kind)))
        head = layer % heads
        made.append(
            (
                dict(edit="scale", **at, head=head, by=-1.5),
                tl.scale(layer, head, by=-1.5, kind=kind),
            )
        )
        if text.tokens is None:
            continue
        made.append(
            (
                dict(edit="knock_out", **at, head=head, query=2, key=1),
                tl.knock_out(layer, head, query=2, key=1, kind=kind),
            )
        )
        tokens, target = text.tokens.flip(1), None if text.target is None else text.target.flip(1)
        source = {"tokens": tokens[0].tolist()} | (
            {} if target is None else {"target": target[0].tolist()}
        )
        try:
            other = tl.trace(model, tokens, target)
        except ValueError:
            continue
        for what in ("z", "v"):
            if what == "v" and network.n_heads(kind) != heads:
                continue
            with suppress(EditError):  # there is no such thing in the layer
                patch = tl.patch(other, layer=layer, head=0, what=what, kind=kind)
                made.append((dict(edit="patch", **at, head=0, what=what, source=source), patch))
    points = [n[2][1:] for n in graph.nodes if n[0] == "transformer_lab.point"]
    made += [
        (dict(edit="skip", part="mlp", layer=at, kind=where), tl.skip(at, "mlp", kind=where))
        for name, where, at in points
        if name == "mlp_out"
    ]
    found = []
    for plain, edit in made:
        truth = _truth(model, network, graph, edit, text)
        if truth is not None:
            found.append(([plain], truth, text))
    return found


def _truth(model: Any, network: Any, graph: Graph, edit: Any, text: Inputs) -> Tensor | None:
    """The model's answer under an edit, or the graph's if the model allows no edits; None for one
    that fits nothing in it."""
    try:
        with torch.no_grad(), tl.edit(model, edit):
            return answer_of(network.run(text))[1].detach()
    except EditError as error:
        if "cannot be edited" not in str(error):
            return None
    with running_with(tap_for(network, edit)):
        return graph.run(*tensors_of(text, graph))


def _in_node(
    folder: Path,
    network: Any,
    graph: Graph,
    example: Inputs,
    cases: list[tuple[Any, Tensor, Inputs]],
) -> list[np.ndarray]:
    """The answers of a page's engine for each edited text."""
    weights = {name: x.detach().float().contiguous() for name, x in graph.weights.items()}
    write_tensors(folder / "model.safetensors", weights, {})
    told = [
        {
            "edits": edits,
            "inputs": {
                name: x[0].tolist()
                if name != "pixel_values"
                else {"shape": list(x.shape), "data": x.flatten().tolist()}
                for name, x in zip(graph.inputs, tensors_of(text, graph), strict=True)
            },
        }
        for edits, _, text in cases
    ]
    config = config_of(network, graph, example)
    about = dict(config=config, graph=graph.description(), cases=told)
    (folder / "model.json").write_text(json.dumps(about, allow_nan=False))
    done = subprocess.run(["node", str(RUN), str(folder)], capture_output=True, text=True)
    if done.returncode:
        errors = re.findall(r"^(?:\w*Error|\w+ \[Error\]): (.*)$", done.stderr, re.M)
        raise GraphError(f"in node: {errors[0] if errors else done.stderr[-200:]}")
    return [
        np.frombuffer(base64.b64decode(x), np.float32)
        for x in json.loads((folder / "answers.json").read_text())
    ]

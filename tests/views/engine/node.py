"""The page's engine under node: input files for the scripts in this folder, and their answers."""

import base64
import json
import subprocess
from pathlib import Path

import numpy as np

from transformer_lab.adapters.lookup import network_of
from transformer_lab.adapters.network import Inputs
from transformer_lab.files.safefiles import write_tensors
from transformer_lab.graphs.attribution import with_written
from transformer_lab.graphs.export import export_graph
from transformer_lab.views.pages.carried import config_of

CLOSE = 1e-4


def answers(script, folder, given):
    (folder / "given.json").write_text(json.dumps(given))
    node = ["node", Path(__file__).with_name(script), folder]
    done = subprocess.run(node, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "answers.json").read_text())


def exported(folder, name, model, ids, target=None, *, written=False):
    """A model's graph and text, with `written` also the graphs of sources; weights go to a file."""
    network, example = network_of(model), Inputs(ids, target)
    graph = export_graph(network, example)
    if written:
        graph = with_written(graph, network, example)
    weights = {name: x.float().contiguous() for name, x in graph.weights.items()}
    write_tensors(folder / f"{name}.safetensors", weights, {})
    inputs = {"tokens": ids[0].tolist()} | (
        {} if target is None else {"target": target[0].tolist()}
    )
    about = dict(name=name, graph=graph.description(), inputs=inputs)
    about["analyses"] = graph.written.graphs if written else {}
    return about | dict(config=config_of(network, graph, example, name))


def carried_files(folder, name, about, weights, info, **more):
    """Write a model as a page embeds it."""
    (folder / f"{name}.about").write_bytes(about)
    (folder / f"{name}.weights").write_bytes(weights)
    return dict(name=name, info=info, **more)


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4").copy()


def close(a, b, where):
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape, where
    assert np.allclose(a, b, rtol=0, atol=CLOSE * max(1.0, float(np.abs(b).max(initial=0)))), where

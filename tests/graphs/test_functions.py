"""A function of tensors as a graph: at other sizes, in the engine, and with gradients."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from transformer_lab.graphs.functions import function_graph

RUN = Path(__file__).with_name("run_function.mjs")


def shares(stream, added):
    return {
        "norm": added.norm(dim=-1),
        "cosine": torch.cosine_similarity(added, stream, -1, eps=1e-12),
        "likeliest": stream.log_softmax(-1).topk(3).values,
    }


def loss(x, y, w):
    with torch.enable_grad():
        w = w.detach().requires_grad_()
        found = F.cross_entropy(F.layer_norm(x, (8,)) @ w, y)
        (gradient,) = torch.autograd.grad(found, [w])
    return {"loss": found.detach(), "gradient": gradient}


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


CASES = [
    (shares, dict(stream=random(3, 5, 8), added=random(3, 5, 8)), dict(stream=random(4, 9, 6), added=random(4, 9, 6))),
    (loss, dict(x=random(6, 8), y=torch.arange(6) % 4, w=random(8, 4)), dict(x=random(9, 8), y=torch.arange(9) % 5, w=random(8, 5))),
]  # fmt: skip


@pytest.mark.parametrize(("function", "example", "other"), CASES)
def test_a_graph_gives_what_its_function_gives_at_another_size(function, example, other):
    graph = function_graph(function, example)
    assert graph.inputs == tuple(example)
    for given in (example, other):
        wanted = function(**given)
        assert list(graph.results) == list(wanted)
        for found, one in zip(graph.run_all(*given.values()), wanted.values(), strict=True):
            assert torch.allclose(found, one, atol=1e-6)


@pytest.mark.needs("node")
def test_the_engine_runs_it(tmp_path):
    table = []
    for function, example, other in CASES:
        given = {
            name: dict(shape=list(x.shape), data=x.flatten().tolist()) for name, x in other.items()
        }
        table.append(dict(description=function_graph(function, example).description(), given=given))
    (tmp_path / "cases.json").write_text(json.dumps(table))
    node = [shutil.which("node"), RUN, tmp_path / "cases.json"]
    out = subprocess.run(node, capture_output=True, text=True, check=True).stdout
    for (function, _, other), found in zip(CASES, json.loads(out), strict=True):
        for name, wanted in function(**other).items():
            shape, data = found[name]["shape"], found[name]["data"]
            assert np.allclose(np.reshape(data, shape), wanted.numpy(), atol=1e-6), name

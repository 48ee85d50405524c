"""A function of tensors as a graph: at other sizes, in the engine, and with gradients."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from transformer_lab.graphs.analyses import small
from transformer_lab.graphs.analysis_graphs import examples
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


def put(x, ids):
    """Histograms from the least to the largest number, which may be the same, and masks."""
    counts = {f"{n} bins": torch.histc(x, n) for n in (1, 4)}
    mask = torch.index_put(x, (x > 0,), torch.full((), 2.0))
    rows = torch.index_put(x, (ids > 1,), torch.full((1,), 3.0))
    return {**counts, "equal": torch.histc(ids * 0.0 + 2, 3), "mask": mask, "rows": rows}


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


CASES = [
    (
        shares,
        dict(stream=random(3, 5, 8), added=random(3, 5, 8)),
        dict(stream=random(4, 9, 6), added=random(4, 9, 6)),
    ),
    (put, dict(x=random(3, 8), ids=torch.arange(3)), dict(x=random(5, 6), ids=torch.arange(5))),
    (
        loss,
        dict(x=random(6, 8), y=torch.arange(6) % 4, w=random(8, 4)),
        dict(x=random(9, 8), y=torch.arange(9) % 5, w=random(8, 5)),
    ),
]


@pytest.mark.parametrize(("function", "example", "other"), CASES)
def test_a_graph_gives_what_its_function_gives_at_another_size(function, example, other):
    graph = function_graph(function, example)
    assert graph.inputs == tuple(example)
    for given in (example, other):
        wanted = function(**given)
        assert list(graph.results) == list(wanted)
        for found, one in zip(graph.run_all(*given.values()), wanted.values(), strict=True):
            assert torch.allclose(found, one, atol=1e-6)


def in_node(tmp_path, table):
    """The engine's outputs for (a graph or the name of an analysis, inputs)."""
    rows = []
    for graph, given in table:
        bits = {n: x.float().numpy().tobytes().hex() for n, x in given.items()}
        given = {n: dict(shape=list(x.shape), bits=bits[n]) for n, x in given.items()}
        which = dict(name=graph) if isinstance(graph, str) else dict(graph=graph.description())
        rows.append(dict(which, given=given))
    (tmp_path / "cases.json").write_text(json.dumps(rows))
    node = [shutil.which("node"), RUN, tmp_path / "cases.json"]
    out = subprocess.run(node, capture_output=True, text=True, check=True).stdout
    for found in json.loads(out):
        yield {
            name: torch.from_numpy(np.frombuffer(bytes.fromhex(x["bits"]), "f4").copy()).reshape(
                x["shape"]
            )
            for name, x in found.items()
        }


@pytest.mark.needs("node")
def test_the_engine_runs_it(tmp_path):
    table = [(function_graph(function, example), other) for function, example, other in CASES]
    for (function, _, other), found in zip(CASES, in_node(tmp_path, table), strict=True):
        for name, wanted in function(**other).items():
            assert torch.allclose(found[name], wanted, atol=1e-6), name


# Sizes that replace those of the examples: one row or token, and many.
TINY = {2: 2, 3: 1, 4: 1, 5: 1, 6: 2, 7: 2, 8: 3, 9: 2, 40: 3, 50: 6}
MANY = {2: 2, 3: 9, 4: 6, 5: 70, 6: 41, 7: 16, 8: 24, 9: 31, 40: 129, 50: 333}


def given_of(name, example, sizes, seed):
    """Random inputs of other sizes, with masked edges and with tokens missing from a text."""
    chance = torch.Generator().manual_seed(seed)
    given = {}
    for key, x in example.items():
        shape = [sizes[n] for n in x.shape]
        if x.dtype == torch.bool:
            given[key] = torch.arange(shape[0]) % 3 == 0
        elif not x.is_floating_point():
            given[key] = torch.randint(5, shape, generator=chance)
        else:
            given[key] = torch.randn(shape, generator=chance)
    if name == "attention_row":
        given["scores"][3:] = -torch.inf
        given["scores"][:1] = torch.finfo(torch.float32).min  # transformers' mask value
        given["softcap"] = torch.tensor(float(seed % 2) * 3)
    if name == "moved":
        given["second"][:, 1::2] = torch.nan
    if name == "outcome" and seed == 2:  # edits change nothing
        given["after"] = given["before"]
    if name in ("codes", "thumbnails"):
        given = {key: x.abs().clamp(max=1.5) / 1.5 for key, x in given.items()}
    if name == "patch_distances":
        given["maps"] = given["maps"].softmax(-1)
        given["patches"] = (torch.arange(given["patches"].shape[0]) % 3 != 1).float()
    if name == "drawn_from":
        given["temperature"] = given["temperature"].abs() + 0.3
        given["top_k"], given["top_p"] = given["top_k"] + 1, torch.tensor((1.0, 0.7, 0.4)[seed])
    if name == "alike" and seed == 1:
        given["x"] = given["y"] + 1e-6
    if name == "adds_up" and seed == 1:
        given["after"] = given["before"] + given["attention"] + given["mlp"]
    return given


def analyses():
    for name, (function, example) in examples().items():
        for seed, sizes in enumerate((TINY, MANY, MANY)):
            yield name, function, given_of(name, example, sizes, seed)


@pytest.mark.needs("node")
def test_the_engine_has_every_analysis_as_python_computes_it(tmp_path):
    """The package's file of graphs is up to date in its results."""
    cases = list(analyses())
    answers = in_node(tmp_path, [(name, given) for name, _, given in cases])
    for (name, function, given), found in zip(cases, answers, strict=True):
        wanted = function(**given)
        assert list(found) == list(wanted), name
        for key, x in wanted.items():
            room = 1e-5 * max(1.0, float(x.float().nan_to_num(0, 0, 0).abs().max()))
            torch.testing.assert_close(
                found[key], x.float(), atol=room, rtol=1e-5, msg=f"{name} {key}"
            )


@pytest.mark.parametrize("name", examples())
def test_every_analysis_can_be_exported_for_any_size(name):
    graph = function_graph(*examples()[name])
    for own, function, given in analyses():
        if own != name:
            continue
        for found, wanted in zip(
            graph.run_all(*given.values()), function(**given).values(), strict=True
        ):
            torch.testing.assert_close(found, wanted)


def test_small_maps_are_max_pooled_as_pytorch_does_it():
    for shape in ((2, 33, 64), (1, 5, 257), (3, 32, 1)):
        maps = random(*shape)
        size = [min(32, n) for n in shape[1:]]
        assert torch.equal(small(maps)["small"], F.adaptive_max_pool2d(maps, size))

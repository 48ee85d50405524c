"""Who wrote a score: the page's engine splits it as Python does, for every kind of model."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import transformer_lab as tl
from tests.views.engine.cases import models
from transformer_lab.files.models import describe, model_tensors
from transformer_lab.files.safefiles import write_tensors
from transformer_lab.views import WhyView
from transformer_lab.views.why.data import CellBytes
from transformer_lab.views.why.view import numbers_of

pytestmark = pytest.mark.needs("node")
HERE = Path(__file__).parent


def cells_of(model, n, n_target):
    """The first and the last layer of each kind; a later and an earlier query; a key that is not the best."""
    both = model.config.kind == "encoder-decoder"
    for kind in ("encoder", "decoder", "cross") if both else (model.config.kind,):
        queries = n if kind == "encoder" or not both else n_target
        keys = n if kind in ("encoder", "cross") or not both else n_target
        layers = len((model.encoder if kind == "encoder" else model.decoder).blocks)
        for layer, head in {(0, 1), (layers - 1, 2)}:
            for query, key in ((queries - 1, min(1, keys - 1)), (1, 0)):
                yield dict(kind=kind, layer=layer, head=head, query=query, key=key)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder, told, made = tmp_path_factory.mktemp("sources"), [], []
    for turn, (model, ids, target) in enumerate(models()):
        inputs = {"tokens": ids[0].tolist()}
        if target is not None:
            inputs["target"] = target[0].tolist()
        cells = list(cells_of(model, ids.shape[1], 0 if target is None else target.shape[1]))
        write_tensors(folder / f"model{turn}.safetensors", model_tensors(model), {})
        told.append(dict(name=f"model{turn}", config=describe(model), inputs=inputs, cells=cells))
        made.append((model, tl.trace(model, ids, target, keep="all"), cells))
    (folder / "models.json").write_text(json.dumps(told))
    node = ["node", str(HERE / "run_sources.mjs"), str(folder)]
    done = subprocess.run(node, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(zip(made, json.loads((folder / "results.json").read_text()), strict=True))


def test_a_score_is_split_by_who_wrote_it_as_python_splits_it(cases):
    split = 0
    for (model, trace, cells), results in cases:
        view = WhyView(trace)
        for cell, found in zip(cells, results, strict=True):
            where = (cell["kind"], cell["layer"], cell["head"], cell["query"], cell["key"])
            wanted = view._data.cell(*where)
            info, told = found["info"], f"{model.config} {cell}"
            assert wanted.info["why_no_sources"] == info["why_no_sources"] == "", told
            assert info["sources"] == wanted.info["sources"], told
            numbers = numbers_of(CellBytes(info, np.float32(found["numbers"]).tobytes()))
            for name, want in numbers_of(wanted)["splits"].items():
                have, size = numbers["splits"][name], max(1.0, abs(want["table"]).max())
                for side in ("query", "key"):
                    assert np.allclose(have[side], want[side], rtol=0, atol=1e-4 * size), told
                if info["splits"][name]["rows"] != wanted.info["splits"][name]["rows"]:
                    continue  # two parts as large as each other
                if info["splits"][name]["columns"] == wanted.info["splits"][name]["columns"]:
                    assert np.allclose(have["table"], want["table"], atol=1e-4 * size), told
                    split += 1
            assert set(info["splits"]) == set(wanted.info["splits"]), told
    assert split > 200

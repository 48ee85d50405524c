"""What Python gets from a view's scene.js: threads, forks, failures, and a missing engine."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.factories import small
from transformer_lab.views import CloudView, EmbeddingView, MixView
from transformer_lab.views.shared.javascript import JavaScriptError, call


def view():
    trace = tl.trace(small(sharpness=3.0), torch.arange(6)[None], labels=list("abcdef"), keep="all")
    return CloudView(trace, 1, 2)


@pytest.fixture
def module(tmp_path) -> Path:
    path = tmp_path / "module.js"
    path.write_text(
        "export const same = (...x) => x;\n"
        "export const twice = (x) => Float64Array.from(x, (y) => 2 * y);\n"
        "export const lost = () => ({ a: NaN, b: undefined, c: [Infinity] });\n"
        "export function fail() { throw new Error('three reasons'); }\n"
        "export const deep = (n) => deep(n + 1);\n"
    )
    return path


def test_values_cross_as_they_are(module):
    assert call(module, "same", 1, "“a” ", None, [True, {"b": 0.1}]) == [
        1,
        "“a” ",
        None,
        [True, {"b": 0.1}],
    ]
    (bytes_back,) = call(module, "same", bytes(range(256)))
    assert bytes_back.tobytes() == bytes(range(256))
    given = np.array([[0.1, np.nan], [-np.inf, 3e-39]], dtype="f4")
    (back,) = call(module, "same", given)
    assert back.dtype == np.float32 and np.array_equal(back, given.ravel(), equal_nan=True)
    assert call(module, "twice", given[:, 0]).tolist() == [2 * float(given[0, 0]), -np.inf]
    assert call(module, "lost") == {"a": None, "c": [None]}
    assert call(module, "same", module)[0] is not None  # what a module exports


def test_a_failure_is_an_error_of_python_and_the_engine_goes_on(module):
    with pytest.raises(JavaScriptError, match=r"^three reasons$"):
        call(module, "fail")
    with pytest.raises(JavaScriptError, match="call stack"):
        call(module, "deep", 0)
    assert call(module, "same", 2) == [2]


def test_every_thread_and_every_fork_has_an_engine_of_its_own():
    shown = view()
    said = shown.sentence
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: shown.sentence, range(64)))
    assert found == [said] * 64
    read, write = os.pipe()
    if not (child := os.fork()):
        os.write(write, shown.sentence.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 10_000).decode() == said == shown.sentence


def test_a_scene_that_throws_names_the_view_and_the_state(monkeypatch):
    shown = view()
    monkeypatch.setattr(shown, "_part_named", lambda name: ({}, [b""]))
    with pytest.raises(
        JavaScriptError, match=r"CloudView cannot show \{'kind': 'decoder', 'layer': 1"
    ):
        shown.sentence  # noqa: B018


def test_files_keep_whole_numbers_and_yes_or_no():
    trace = tl.trace(small(), torch.arange(3)[None], labels=list("abc"), keep="all")
    positions = EmbeddingView(trace).to_dict()["arrays"]["position"]["values"]
    assert positions == [0, 1, 2] and all(type(x) is int for x in positions)
    mixed = MixView(["a", "b"], [0, 1.5], [[0, 0], [1, 1]], hidden=[1])
    arrays = mixed.to_dict()["arrays"]
    assert arrays["hidden"]["values"] == [False, True]
    assert [type(x) for x in arrays["score"]["values"]] == [float, float]


def test_a_view_whose_traits_hold_everything_needs_no_answers():
    mixed = MixView(["a", "b"], [0, 0], [[0, 0], [1, 1]])
    assert mixed.weights == [0.5, 0.5]
    assert mixed.get_state().get("_answers", []) == []
    with pytest.raises(ValueError, match="MixView knows no 'plane'"):
        mixed._answer({"type": "block", "name": "plane"})


WITHOUT = """
import sys
sys.modules["quickjs"] = None
import json, torch
import transformer_lab as tl
from tests.factories import small
from transformer_lab.views import CloudView
view = CloudView(tl.trace(small(), torch.arange(6)[None], keep="all"), 1, 2)
data, _ = view._repr_mimebundle_()
found = {"kinds": [*data], "text": data["text/plain"], "answers": view._answers}
for name, use in {"sentence": lambda: view.sentence, "png": view.png, "file": view.to_dict}.items():
    try:
        use()
    except ImportError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


def test_without_the_engine_a_view_is_drawn_in_the_browser_and_the_rest_names_the_package():
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=root, capture_output=True, text=True, timeout=240
    )
    found = json.loads(run.stdout)
    assert "application/vnd.jupyter.widget-view+json" in found["kinds"]
    assert "image/png" not in found["kinds"] and found["answers"] == []
    assert found["text"].count("\n") == 0 and "pip install quickjs-ng" in found["text"]
    for name in ("sentence", "png", "file"):
        assert "pip install quickjs-ng" in found[name]

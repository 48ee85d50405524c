"""An image in a model: rows, effects and words against the model itself; the still image; pages."""

import json
import math
import re

import numpy as np
import pytest
import torch
import traitlets
from torch.testing import assert_close
from traitlets import TraitError

import transformer_lab as tl
from tests.factories import picture, vision
from tests.missing import package
from transformer_lab.edits.kinds import EditError
from transformer_lab.tracing.packing import unpack_weights
from transformer_lab.views import HeadView, ModelView, PatchView
from transformer_lab.views.patches import data
from transformer_lab.views.patches.view import others_name
from transformer_lab.views.shared.javascript import call
from transformer_lab.views.shared.messages import messages, percent
from transformer_lab.views.shared.modules import VIEWS

package("transformers")


@pytest.fixture(scope="module")
def model():
    return tl.ImageModel(
        vision(num_labels=3, id2label={0: "cat", 1: "dog", 2: "house"}), name="small"
    )


@pytest.fixture
def view(model):
    return PatchView(model, picture())


def test_rows_of_all_heads_are_those_of_the_trace(model, view):
    trace = model.trace(picture())
    for query in (0, 5):
        codes = torch.from_numpy(
            np.frombuffer(bytearray(view._data.packed(query)), "<u2").reshape(2, 2, 17)
        )
        for layer in range(2):
            assert_close(
                unpack_weights(codes[layer]), trace.pattern(layer)[:, query], atol=1e-5, rtol=0
            )
    assert (view.layer, view.head, view.query, view.kind) == (1, 0, 0, "encoder")
    view.selected = (5, None)
    view._page_state()  # its first screen
    assert (view._answers[0][0], view._answers_data) == ("rows/5", view._data.packed(5))


def test_the_sentence_says_what_is_seen(model, view):
    view.layer, view.head, view.selected = 1, 1, (6, None)
    row = model.trace(picture()).pattern(1, 1)[6]
    best = int(row[1:].argmax())
    told = view.sentence
    assert told.startswith(
        f"Layer 1, head 1: patch 2,2 attends most to patch {best // 4 + 1},{best % 4 + 1} ("
    )
    assert f"{percent(float(row[0]))} goes to [CLS]. Patches" in told
    far = float(tl.heads.patch_distance(view.trace)[1, 1])
    places = [(a // 4, a % 4) for a in range(16)]
    even = np.mean([math.dist(a, b) for a in places for b in places])
    assert f"{far:.1f} patches away on average ({even:.1f} if attention were uniform)." in told


def test_an_effect_is_that_of_the_edit(model, view):
    edits = [tl.ablate(1, 0), tl.knock_out(1, 1, query=0, key=3)]
    pixels = model.prepare(picture())
    with torch.no_grad():
        before = model.model(pixels).logits[0].softmax(-1)
        with tl.edit(model, *edits):
            after = model.model(pixels).logits[0].softmax(-1)
    view.edits = edits
    rows = {name: (a, b) for name, a, b in view.effect.rows}
    for i, name in enumerate(model.classes):
        assert rows[name] == pytest.approx((float(before[i]), float(after[i])), abs=1e-6)
    best = int(before.argmax())
    assert view.effect.size == pytest.approx(float(after[best] - before[best]), abs=1e-6)
    assert (
        "With layer 1, head 0 switched off and [CLS] → patch 1,3 cut in layer 1, head 1: P("
        in view.sentence
    )
    assert [e.code() for e in view.edits] == [e.code() for e in edits]
    view.edits = []
    assert view.effect is None
    with pytest.raises(EditError, match="head=9 is outside"):
        view.edits = [tl.ablate(0, 9)]


def test_where_there_are_no_classes_the_embedding_turns():
    bare = vision(head=False)
    model = tl.ImageModel(bare, name="bare")
    view = PatchView(model, picture(), layer=0)
    pixels = model.prepare(picture())
    with torch.no_grad():
        before = bare(pixels).last_hidden_state[0, 0]
        with tl.edit(bare, tl.ablate(0, 1)):
            after = bare(pixels).last_hidden_state[0, 0]
    values = view._answer({"type": "block", "name": "every/0"})[0]["info"]["values"]
    found = view.every_head()
    assert values == [found[0].tolist(), [None, None]]  # layer by layer, so it can be interrupted
    with pytest.raises(ValueError, match="layer 2 is outside 0 … 1"):
        view._answer({"type": "block", "name": "every/2"})
    cosine = float(torch.cosine_similarity(before.double(), after.double(), dim=0))
    assert float(found[0, 1]) == pytest.approx(1 - cosine, abs=1e-6)
    view.edits = [tl.ablate(0, 1)]
    assert f"[CLS]'s final state turns: cosine {cosine:.4f}" in view.sentence
    lengths = f"its length goes from {float(before.norm()):.1f} to {float(after.norm()):.1f}."
    assert lengths in view.sentence and not view.effect.rows
    assert view._every[0][1] == float(found[0, 1])


def test_pixels_do_where_there_is_no_image_model():
    view = PatchView(vision(), torch.randn(1, 3, 16, 16), head=1)
    assert "colours are stretched" in view._note
    with pytest.raises(ValueError, match="picture holds 2 pictures; give one"):
        PatchView(vision(), torch.randn(2, 3, 16, 16))


def test_it_stands_beside_the_other_views_of_its_trace(model, view):
    heads = HeadView(model.trace(picture()))
    assert heads.link == view.link
    assert heads.link != HeadView(model.trace(255 - picture())).link


def test_a_page_holds_every_row_and_what_every_head_does(view):
    page = view.to_html()
    names = re.findall(r'data-block="([^"]+)"', page)
    assert {f"rows/{i}" for i in range(1, 17)} | {"every"} < set(names)
    assert {f"effect/{layer}.{head}" for layer in (0, 1) for head in (0, 1)} < set(names)
    assert (
        json.loads(re.search(r'id="tl-state">(.*?)</script>', page, re.S)[1])["state"]["_live"]
        is False
    )
    assert "every" not in re.findall(r'data-block="([^"]+)"', view.to_html(effects=False))


def test_a_page_of_a_large_picture_holds_some_rows(view, monkeypatch):
    monkeypatch.setattr(data, "PAGE_BYTES", 5 * 2 * 2 * 2 * 17)
    assert view._data.kept() == [0, 3, 7, 11, 15]


def test_it_has_a_picture_for_where_no_script_runs(view):
    assert view.png().startswith(b"\x89PNG")
    view.fade = 0.0
    assert view.png().startswith(b"\x89PNG")
    with pytest.raises(traitlets.TraitError, match=r"fade=2.0 is outside 0 … 1"):
        view.fade = 2.0


def test_a_class_is_shown_as_text_only():
    hostile = "<img src=x onerror=alert(1)>"
    model = tl.ImageModel(vision(num_labels=2, id2label={0: hostile, 1: hostile}))
    view = PatchView(model, picture())
    view.edits = [tl.ablate(0, 0)]
    assert hostile not in view.to_html()


def test_questions_of_the_browser_are_answered_or_told(view):
    answer, buffers = view._answer({"type": "block", "name": "rows/4"})
    assert (answer["type"], len(buffers[0])) == ("block", 2 * 2 * 2 * 17)
    edits = [{"edit": "ablate", "layer": 0, "head": 0}]
    answer, _ = view._answer({"type": "block", "name": "effect/0.0", "edits": edits})
    assert answer["info"]["size"] == pytest.approx(float(view.every_head()[0, 0]))
    for name in ("rows/17", "rows/-1", "rows/x"):
        with pytest.raises(ValueError, match="outside 0 … 16"):
            view._answer({"type": "block", "name": name})
    with pytest.raises(ValueError, match="knows no"):
        view._answer({"type": "block", "name": "nothing"})
    for sent in ([1], [[]], [{"edit": "x"}], [{"edit": "ablate", "layer": 9, "head": 0}]):
        with pytest.raises(TraitError):
            view.set_trait("_edits", sent)
    assert view.edits == [] and view.sentence


@pytest.mark.badinput
def test_a_model_whose_patches_are_not_known():
    T = package("transformers")
    video = T.VideoMAEModel(
        T.VideoMAEConfig(
            image_size=16,
            patch_size=8,
            num_frames=2,
            tubelet_size=2,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        )
    ).eval()
    with pytest.raises(
        ValueError, match="the positions of the patches of VideoMAEModel are unknown"
    ):
        PatchView(video, torch.randn(1, 2, 3, 16, 16))


@pytest.mark.badinput
def test_explore_opens_it_for_a_picture(model):
    assert isinstance(tl.explore(model, picture()), PatchView)
    with pytest.raises(ValueError, match="small reads images: give one, and leave out target"):
        tl.explore(model)


def test_the_command_writes_a_page_of_a_picture(tmp_path):
    from click.testing import CliRunner
    from PIL import Image

    from transformer_lab.cli import main

    tl.ImageModel(vision()).save(tmp_path / "eyes")
    Image.fromarray(picture()).save(tmp_path / "p.png")
    given = ["explore", "--model", str(tmp_path / "eyes"), "--image", str(tmp_path / "p.png")]
    done = CliRunner().invoke(main, [*given, "--html", str(tmp_path / "x.html")])
    assert done.exit_code == 0, done.stderr
    assert 'data-block="rows/16"' in (tmp_path / "x.html").read_text("utf-8")
    both = CliRunner().invoke(main, [*given, "--text", "a"])
    assert (both.exit_code, both.stderr.count("\n")) == (2, 1)
    assert "--image and --text are for different kinds of model" in both.stderr


def test_what_goes_beyond_the_picture_is_told():
    labels = ["patch 1,1", "patch 1,2"]

    def sentence(codes, padded):
        grid = dict(labels=labels, start=0, rows=1, columns=2, others=None)
        values = call(VIEWS / "patches" / "scene.js", "lookValues", codes, grid, padded)
        place = dict(layer=0, head=1, query="patch 1,1", distance=None, even=None)
        return messages("patches")("sentence", **{**dict.fromkeys("abc"), **values}, **place)

    start = "Layer 0, head 1: patch 1,1 attends most to patch 1,1 (50%) and patch 1,2 (25%)"
    assert sentence([30000, 15000], False) == f"{start}."
    assert sentence([30000, 15000], True) == (
        f"{start}; 25% goes to the padding beyond the picture."
    )
    assert "padding" not in sentence([30000, 29999], True)


def test_what_is_not_a_patch_has_a_name():
    labels = ["[CLS]", "register 1", "register 2", "patch 1,1", "pad"]
    assert others_name(labels, 3, 1) == "[CLS], registers and pad"
    assert others_name(labels[:4], 3, 1) == "[CLS] and registers"
    assert others_name(labels[3:4], 0, 1) is None


def test_a_patch_has_the_same_name_in_every_view(model):
    trace = model.trace(picture())
    names = trace.key_tokens()
    assert names[2] == "patch 1,2"
    for view in (HeadView(trace), ModelView(trace)):
        assert names[2] in view.to_html() and "patch·" not in view.to_html()

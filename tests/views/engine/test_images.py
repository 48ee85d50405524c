"""The page's engine answers on an image model what PatchView says of it in Python."""

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.factories import picture, vision
from tests.missing import package
from tests.views.engine.node import answers, carried_files, close
from tests.views.engine.test_desk import same
from transformer_lab.graphs import obtaining
from transformer_lab.graphs.process import ExportFailed
from transformer_lab.views import PatchView
from transformer_lab.views.pages import carried, pictures
from transformer_lab.views.shared.javascript import call
from transformer_lab.views.shared.passes import OVERLAID

package("transformers")
EDITS = [tl.ablate(1, 0), tl.knock_out(0, 1, query=0, key=3), tl.scale(1, 1, by=0.5)]
NAMES = ("rows/5", "rows/0", "far", "effect/several", "every/1")
LEVEL = 1 / 255 / 0.25  # of a prepared image, at the smallest standard deviation


def dino():
    import transformers

    torch.manual_seed(0)
    sizes = dict(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4
    )
    return transformers.Dinov2Model(transformers.Dinov2Config(**sizes)).eval()


def own():
    torch.manual_seed(0)
    encoder = tl.Transformer(
        tl.ModelConfig(
            kind="encoder",
            vocab_size=1,
            head=False,
            n_layers=2,
            n_heads=2,
            d_model=16,
            n_ctx=17,
            positions="learned",
        )
    )
    model = tl.PictureClassifier(encoder, 4, size=(16, 16), patch=4, channels=3)
    for weight in model.parameters():
        weight.data += 0.2 * torch.randn_like(weight)
    return model.eval()


def views():
    import transformers

    clip = transformers.CLIPImageProcessor(
        size={"shortest_edge": 18}, crop_size={"height": 16, "width": 16}
    )
    yield PatchView(tl.ImageModel(vision(num_labels=7), clip, name="classes"), picture())
    yield PatchView(tl.ImageModel(dino(), name="states"), picture())
    yield PatchView(own(), torch.randn(1, 3, 16, 16))


@pytest.mark.needs("node")
def test_answers_are_those_of_python(tmp_path, monkeypatch):
    monkeypatch.setattr(obtaining, "can_be_copied", lambda _: False)
    image = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)
    models, wanted = [], []
    edits = [one.to_dict() for one in EDITS]
    for i, view in enumerate(views()):
        model, about = view._embedded._model, view._for_page()["about"]
        found = carried.carried(model, "float32")
        (_, block) = found.blocks
        pixels = {"shape": list(model.pixels.shape), "data": model.pixels.flatten().tolist()}
        about |= dict(grid=view._grid, every=[], edits=edits)
        names = [n for n in NAMES if n != "far" or view.kind == "encoder"]
        asked = [{"ask": "named", "of": [""], "name": n, "about": about} for n in names]
        questions = [{"ask": "read", "pixels": pixels}, *asked]
        if found.prepares:
            other = {"shape": [3, 37, 50], "data": image.transpose(2, 0, 1).flatten().tolist()}
            questions.append({"ask": "read", "pixels": other, "prepare": True})
        assert found.prepares is (i < 2)
        models.append(
            carried_files(tmp_path, f"x{i}", *block.buffers, block.info, questions=questions)
        )
        wanted.append((view, names))
    for (view, names), answer in zip(
        wanted, answers("run_desk.mjs", tmp_path, {"models": models})["answers"], strict=True
    ):
        found, other = answer["found"][1 : 1 + len(names)], answer["found"][1 + len(names) :]
        for name, one in zip(names, found, strict=True):
            told, data = view._answer({"type": "block", "name": name, "edits": edits})
            codes = np.frombuffer(b"".join(data), "<u2")
            close(one["numbers"], codes, name)
            same(told["info"], one["info"], (name,))
        view.edits = EDITS
        assert call(OVERLAID, "effectSentence", found[-2]["info"]) == view.effect.sentence
        if other:
            pixels = view.model.prepare(image).flatten().numpy()
            assert np.abs(np.array(other[0]["pixels"]) - pixels).max() < LEVEL


@pytest.mark.parametrize(
    ("processor", "why"),
    [
        (dict(resample=1), "does not resize in the bilinear or bicubic way"),
        (dict(size={"shortest_edge": 16}), "keeps the proportions of an image"),
        (dict(do_rescale=False), None),
    ],
)
def test_what_prepares_an_image_exactly_or_why_nothing_does(processor, why):
    import transformers

    sizes = dict(size={"height": 16, "width": 16}) | processor
    model = tl.ImageModel(vision(), transformers.ViTImageProcessor(**sizes), name="x")
    found, sentence = pictures.PictureModel(
        model.model, "x", torch.zeros(1, 3, 16, 16), model
    ).preparation()
    if why is None:
        assert found is not None and "× 1, minus 0.5" in sentence
        return
    assert found is None and why in sentence


def test_what_does_not_travel_says_why(monkeypatch):
    view = PatchView(tl.ImageModel(vision(), name="x"), picture())
    assert (
        'data-block="model"' not in view.to_html() and "save_html(path, model=True)" in view.stays
    )

    def failed(*_):
        raise ExportFailed("its export failed: no memory")

    with monkeypatch.context() as patch:
        patch.setattr(carried, "graph_of_model", failed)
        with pytest.warns(UserWarning, match="reads no other image: its export failed"):
            assert "its export failed: no memory" in view.to_html(model=True)
    with torch.no_grad():
        next(view.model.model.parameters()).mul_(-9)
    with pytest.raises(ValueError, match="its weights have changed since this image was read"):
        view.to_html(model=True)

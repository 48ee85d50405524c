"""The page's engine answers on an image model what PatchView says of it in Python."""

import re

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.factories import picture, vision
from tests.missing import package
from tests.views.engine.node import answers, carried_files, close
from transformer_lab.graphs import obtaining
from transformer_lab.graphs.process import ExportFailed
from transformer_lab.views import PatchView
from transformer_lab.views.pages import carried, pictures

package("transformers")
EDITS = [tl.ablate(1, 0), tl.knock_out(0, 1, query=0, key=3), tl.scale(1, 1, by=0.5)]
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
    for i, view in enumerate(views()):
        model, pool = view._embedded._model, view._effects.pool
        found = carried.carried(model, "float32")
        (_, block) = found.blocks
        pixels = {"shape": list(model.pixels.shape), "data": model.pixels.flatten().tolist()}
        at = [list(view.trace.patches.place(q) or (0, 0)) for q in range(17)]
        patches = [int(q > 0) for q in range(17)]
        heads = [2, 2]
        edits = [one.to_dict() for one in EDITS]
        questions = [
            {"ask": "read", "pixels": pixels},
            {"ask": "rows", "query": 5, "heads": heads},
            {"ask": "distances", "at": at, "patches": patches, "heads": heads},
            {"ask": "answerChange", "edits": edits, "pool": pool},
            {"ask": "answerChanges", "layer": 1, "heads": 2, "pool": pool},
        ]
        if found.prepares:
            other = {"shape": [3, 37, 50], "data": image.transpose(2, 0, 1).flatten().tolist()}
            questions.append({"ask": "read", "pixels": other, "prepare": True})
        assert found.prepares is (i < 2)
        models.append(
            carried_files(tmp_path, f"x{i}", *block.buffers, block.info, questions=questions)
        )
        wanted.append(view)
    for view, answer in zip(
        wanted, answers("run_desk.mjs", tmp_path, {"models": models})["answers"], strict=True
    ):
        _, rows, far, change, every, *other = answer["found"]
        close(rows, np.frombuffer(view._data.packed(5), "<u2"), "rows")
        close(far, tl.heads.patch_distance(view.trace).tolist(), "distances")
        view.edits = EDITS
        close(change["size"], view.effect.size, "size")
        close(every, view.every_head()[1].tolist(), "every head")
        if "listed" in change:
            found = [[row["before"], row["after"]] for row in change["listed"]]
            close(found, [row[1:] for row in view.effect.rows], "classes")
            names = [view._effects.names[row["id"]] for row in change["listed"]]
            assert names == [name for name, *_ in view.effect.rows]
        else:
            said = [float(x) for x in re.findall(r"\d+\.\d+", view.effect.sentence)]
            found, rounded = [change["cosine"], *change["lengths"]], [6e-5, 0.06, 0.06]
            assert (np.abs(np.subtract(found, said)) < rounded).all(), view.effect.sentence
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

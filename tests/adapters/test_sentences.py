"""Refusals as a reader sees them without context: argument, value, way out."""

import pytest
import torch

import transformer_lab as tl
from tests.missing import package

T = package("transformers")

from benchmarks.zoo.building import build, registered  # noqa: E402
from tests.adapters.families import tiny  # noqa: E402

TOKENS = torch.tensor([[5, 6, 7, 8, 9]])


def said(does) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        does()
    return str(error.value)


@pytest.fixture(scope="module")
def longformer():
    """A model whose heads cannot be seen in any layer."""
    return build(registered()["masked/longformer"])


@pytest.mark.badinput
@pytest.mark.parametrize(
    "does",
    [
        lambda m: tl.trace(m, TOKENS),
        lambda m: tl.sweep_edges(m, TOKENS, query=2, layer=0),
        lambda m: tl.sweep_edges(m, TOKENS, query=2),
        lambda m: tl.sweep_heads(m, TOKENS),
        lambda m: tl.edit(m, tl.ablate(0, 0)).__enter__(),
    ],
)
def test_a_model_without_heads_is_not_said_to_have_some(longformer, does):
    told = said(lambda: does(longformer))
    assert "-1" not in told and "−1" not in told and "in layers ;" not in told
    assert not told.endswith("in layers ")


@pytest.mark.badinput
def test_a_window_as_wide_as_the_text_is_no_map_of_it(longformer):
    """With five tokens and a window of five, its output is 5 × 5 but not indexed by tokens."""
    told = said(lambda: tl.trace(longformer, TOKENS))
    assert "have 5 columns for a shorter text too" in told


@pytest.mark.badinput
def test_a_film_is_asked_for_by_its_shape():
    model = build(registered()["vision/timesformer"])
    for pixels in (torch.zeros(1, 3, 16, 16), torch.zeros(3, 16, 16)):
        told = said(lambda pixels=pixels: tl.trace(model, pixel_values=pixels))
        assert told == (
            f"pixel_values must have shape [batch, frame, 3, 16, 16] for TimesformerModel, got {list(pixels.shape)}"
        )


@pytest.mark.badinput
@pytest.mark.parametrize("kind", ["VideoMAE", "Vivit"])
@pytest.mark.parametrize(
    "shape",
    [(1, 4, 3, 24, 24), (1, 6, 3, 16, 16), (1, 1, 3, 16, 16), (1, 4, 1, 16, 16), (0, 4, 3, 16, 16)],
)
def test_a_film_has_the_frames_and_pixels_that_its_places_are_for(kind, shape):
    patch = (
        dict(patch_size=4, tubelet_size=2) if kind == "VideoMAE" else dict(tubelet_size=[2, 4, 4])
    )
    config = getattr(T, f"{kind}Config")(
        image_size=16,
        num_frames=4,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=32,
        **patch,
    )
    model = getattr(T, f"{kind}Model")(config).eval()
    told = said(lambda: tl.trace(model, pixel_values=torch.zeros(shape)))
    assert told == (
        f"pixel_values must have shape [batch, 4 frames, 3, 16, 16] for {kind}Model, got {list(shape)}"
    )
    assert tl.trace(model, pixel_values=torch.zeros(1, 4, 3, 16, 16)).n_layers() == 1


@pytest.mark.badinput
def test_a_target_that_lacks_is_named():
    told = said(lambda: tl.trace(tiny("bart"), TOKENS))
    assert told.startswith("BartForConditionalGeneration is an encoder-decoder and needs target")


@pytest.mark.badinput
@pytest.mark.parametrize("name", ["llama", "t5", "falcon"])
@pytest.mark.parametrize(
    "does",
    [tl.trace, lambda m, *ids: tl.sweep_heads(m, *ids), lambda m, *ids: tl.head_table(m, *ids)],
)
def test_a_model_that_returns_tuples_is_refused(name, does):
    model = tiny(name)
    given = (TOKENS, TOKENS) if name == "t5" else (TOKENS,)
    model.config.return_dict = False
    assert "set model.config.return_dict = True" in said(lambda: does(model, *given))
    model.config.return_dict = True
    does(model, *given)

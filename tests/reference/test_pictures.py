"""Models that read pixels: patterns through the attention interface against the model's own, edits
against hooks, and refusals."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import bert
from tests.missing import package
from transformer_lab.adapters.patches import Patches
from transformer_lab.edits.kinds import EditError
from transformer_lab.tracing.trace import TraceError

T: Any = package("transformers")

SIZES: dict[str, Any] = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8
)
MLP = dict(SIZES, intermediate_size=48)
TEXT = dict(
    vocab_size=50,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=16,
    projection_dim=8,
)
MAKERS = {
    "vit": lambda: T.ViTForImageClassification(T.ViTConfig(num_labels=5, **MLP)),
    "vit-bare": lambda: T.ViTModel(T.ViTConfig(**MLP)),
    "deit": lambda: T.DeiTForImageClassificationWithTeacher(T.DeiTConfig(num_labels=5, **MLP)),
    "beit": lambda: T.BeitForImageClassification(
        T.BeitConfig(
            num_labels=5,
            use_relative_position_bias=True,
            use_absolute_position_embeddings=True,
            **MLP,
        )
    ),
    "dinov2": lambda: T.Dinov2ForImageClassification(
        T.Dinov2Config(num_labels=5, mlp_ratio=2, **SIZES)
    ),
    "dinov2-registers": lambda: T.Dinov2WithRegistersModel(
        T.Dinov2WithRegistersConfig(mlp_ratio=2, num_register_tokens=3, **SIZES)
    ),
    "dinov3": lambda: T.DINOv3ViTModel(T.DINOv3ViTConfig(num_register_tokens=4, **MLP)),
    "clip": lambda: T.CLIPVisionModel(T.CLIPVisionConfig(projection_dim=8, **MLP)),
    "siglip": lambda: T.SiglipVisionModel(T.SiglipVisionConfig(**MLP)),
    "yolos": lambda: T.YolosForObjectDetection(
        T.YolosConfig(num_detection_tokens=3, **MLP | dict(image_size=[32, 32]))
    ),
    "ijepa": lambda: T.IJepaModel(T.IJepaConfig(**MLP)),
}
BEFORE = {
    "deit": ("[CLS]", "[DIST]"),
    "siglip": (),
    "ijepa": (),
    "dinov2-registers": ("[CLS]", "register 1", "register 2", "register 3"),
    "dinov3": ("[CLS]", "register 1", "register 2", "register 3", "register 4"),
}
ANY_SIZE = ["dinov2", "dinov2-registers", "dinov3"]
EACH = pytest.mark.parametrize("name", MAKERS)


def made(name):
    torch.manual_seed(0)
    model = MAKERS[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def pixels(n=2, height=32, width=32, seed=0):
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def answer(output):
    return output.logits if "logits" in output else output.last_hidden_state


@EACH
@torch.no_grad()
def test_maps_and_answers_are_the_models_own(name, eager):
    model, x = made(name), pixels()
    plain = model(x)
    own = eager(model, pixel_values=x)
    trace = tl.trace(model, pixel_values=x)
    for batch in range(2):
        for layer in range(2):
            assert_close(trace.pattern(layer, batch=batch), own.attentions[layer][batch])
    found = trace.answers if trace.logits is None else trace.logits
    if found is not None:
        assert_close(found, answer(plain), rtol=1e-5, atol=1e-5)
    assert (trace.kinds, trace.tokens) == (("encoder",), None)
    beside = "head.attention (MultiheadAttention) attends outside the layers, and is not shown."
    assert trace.note == (beside if name == "siglip" else None)
    assert [layer.heads for layer in trace.network.layers("encoder")] == [4, 4]
    assert trace.given["pixel_values"].shape == x.shape


@EACH
def test_every_position_has_its_name(name):
    trace = tl.trace(made(name), pixel_values=pixels())
    before = BEFORE.get(name, ("[CLS]",))
    cells = [f"patch {i},{j}" for i in (1, 2, 3, 4) for j in (1, 2, 3, 4)]
    after = ["detection 1", "detection 2", "detection 3"] if name == "yolos" else []
    assert trace.query_tokens(batch=1) == trace.key_tokens() == [*before, *cells, *after]
    assert trace.patches == Patches(4, 4, before, tuple(after))
    assert trace.special() == [True] * len(before) + [False] * 16 + [True] * len(after)
    assert "positions" in repr(trace)


@pytest.mark.parametrize("name", ANY_SIZE)
def test_a_picture_that_is_wider_than_high(name, eager):
    model, x = made(name), pixels(1, 16, 40)
    trace, own = tl.trace(model, pixel_values=x[0]), eager(model, pixel_values=x)
    assert (trace.patches.rows, trace.patches.columns) == (2, 5)
    assert_close(trace.pattern(1), own.attentions[1][0])
    assert trace.query_tokens()[trace.patches.position(1, 4)] == "patch 2,5"


def test_another_size_by_interpolation(eager):
    model, x = made("vit"), pixels(1, 48, 32)
    more = dict(pixel_values=x, interpolate_pos_encoding=True)
    assert_close(tl.trace(model, **more).pattern(0), eager(model, **more).attentions[0][0])
    with pytest.raises(ValueError, match=r"32 × 32 pixels for \w+, got 48 × 32: resize it"):
        tl.trace(model, pixel_values=x)


# -- edits and sweeps ---------------------------------------------------------------------------------


def without(model, layer, head, x):
    """The answer with zeros in place of a head's input to W_O, by a hook."""
    names = dict(model.named_modules())
    last = {"vit": "o_proj", "dinov2": "o_proj"}
    found = [m for n, m in names.items() if n.endswith(last["vit"])]

    def zero(module, args):
        z = args[0].clone()
        z[..., 8 * head : 8 * head + 8] = 0
        return (z,)

    handle = found[layer].register_forward_pre_hook(zero)
    try:
        return answer(model(x))
    finally:
        handle.remove()


@pytest.mark.parametrize("name", ["vit", "dinov2"])
@torch.no_grad()
def test_a_sweep_of_heads_is_every_head_switched_off(name):
    model, x = made(name), pixels(1)
    sweep = tl.sweep_heads(model, pixel_values=x)
    before = model(x).logits.log_softmax(-1)[0]
    best = int(before.argmax())
    assert sweep.tokens == [best]
    for layer in range(2):
        for head in range(4):
            after = without(model, layer, head, x).log_softmax(-1)[0]
            assert_close(
                sweep.values[layer, head], after[best] - before[best], atol=1e-5, rtol=1e-4
            )
    with tl.edit(model, tl.ablate(1, 2)):
        assert_close(model(x).logits, without(model, 1, 2, x))


@torch.no_grad()
def test_edges_are_cut_and_where_nothing_is_predicted_states_are_measured():
    model, x = made("dinov2-registers"), pixels(1)
    clean = tl.trace(model, pixel_values=x)
    cls = clean.pattern(1)[:, 0]
    with tl.edit(model, tl.knock_out(1, query=0, key=5)):
        cut = tl.trace(model, pixel_values=x).pattern(1)[:, 0]
    expected = cls.clone()
    expected[:, 5] = 0
    assert_close(cut, expected / expected.sum(-1, keepdim=True))
    with pytest.raises(EditError, match=r"no head .*makes no prediction .* measure=lambda states"):
        tl.sweep_edges(model, pixel_values=x, query=0)
    whole = model(x).last_hidden_state
    sweep = tl.sweep_edges(
        model, pixel_values=x, layer=1, query=0, measure=lambda s: (s - whole)[:, 0].norm()
    )
    assert sweep.labels["key"][:5] == [
        "[CLS]",
        "register 1",
        "register 2",
        "register 3",
        "patch 1,1",
    ]
    assert (sweep.values > 0).all()


def test_the_mean_of_other_pictures_stands_in_for_a_head():
    model = made("vit")
    mean = tl.mean_of(model, [dict(pixel_values=pixels(1, seed=i)) for i in range(3)])
    traces = [tl.trace(model, pixel_values=pixels(1, seed=i)) for i in range(3)]
    own = torch.stack([t.activation("z", 0)[0, 1].mean(0) for t in traces]).mean(0)
    with tl.edit(model, tl.ablate(0, 1, value=mean)):
        z = tl.trace(model, pixel_values=pixels(1, seed=9)).activation("z", 0)[0, 1]
    assert_close(z, own.expand_as(z))


# -- how far away heads attend ---------------------------------------------------------------------


def test_distances_by_hand_and_in_a_head_that_looks_everywhere():
    patches = Patches(2, 3, ("[CLS]",))
    assert_close(patches.distances[0], torch.tensor([0, 1, 2, 1, 2**0.5, 5**0.5]))
    model = made("dinov3")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "q_proj" in name and "layer.0." in name:
                parameter.zero_()
    trace = tl.trace(model, pixel_values=pixels(1))
    far = tl.heads.patch_distance(trace)
    assert_close(far[0], trace.patches.distances.mean().expand(4))
    weights = trace.pattern(1, 3)[5:, 5:].double()
    weights /= weights.sum()
    rows = [
        [((a // 4 - b // 4) ** 2 + (a % 4 - b % 4) ** 2) ** 0.5 for b in range(16)]
        for a in range(16)
    ]
    assert_close(
        float(far[1, 3]), float((weights * torch.tensor(rows)).sum()), rtol=1e-5, atol=1e-6
    )


# -- refusals --------------------------------------------------------------------------------------

WRONG = {
    "no pixels": (dict(), r"reads images: give pixel_values=\[batch, 3, 32, 32\]"),
    "text": (dict(tokens=[1, 2]), "reads images, not text"),
    "words": (dict(tokens="a cat"), "reads images, not text"),
    "rank": (dict(pixel_values=torch.zeros(32, 32)), r"shape \[batch, 3.* got \[32, 32\]"),
    "empty": (dict(pixel_values=torch.zeros(0, 3, 32, 32)), r"got \[0, 3, 32, 32\]"),
    "channels": (dict(pixel_values=torch.zeros(1, 1, 32, 32)), r"got \[1, 1, 32, 32\], 1 channels"),
    "channels last": (dict(pixel_values=torch.zeros(1, 32, 32, 3)), r"\.permute\(0, 3, 1, 2\)"),
    "size": (dict(pixel_values=torch.zeros(1, 3, 24, 32)), "32 × 32 pixels for .* got 24 × 32"),
    "bytes": (
        dict(pixel_values=np.zeros((3, 32, 32), "uint8")),
        "must be floats, .* got type uint8",
    ),
    "whole": (
        dict(pixel_values=torch.zeros(3, 32, 32).long()),
        "must be floats, .* got type int64",
    ),
    "NaN": (
        dict(pixel_values=torch.full((3, 32, 32), torch.nan)),
        "must be a finite number, got NaN",
    ),
    "infinite": (dict(pixel_values=torch.full((3, 32, 32), torch.inf)), "not finite"),
    "a file": (dict(pixel_values="cat.jpg"), "got str; .*ImageModel"),
    "a name": (dict(pixel_value=torch.zeros(3, 32, 32)), "reads images: give pixel_values"),
    "one more": (
        dict(pixel_values=torch.zeros(3, 32, 32), colour=1),
        "takes no colour; it takes .*pixel_val",
    ),
}


@pytest.mark.badinput
@pytest.mark.parametrize("what", WRONG)
def test_what_no_vision_model_reads(what):
    given, said = WRONG[what]
    with pytest.raises(ValueError, match=said) as caught:
        tl.trace(made("vit"), **given)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.badinput
def test_a_size_that_leaves_pixels_out():
    with pytest.raises(ValueError, match="must divide into patches of 8 × 8 pixels, got 20 × 32"):
        tl.trace(made("dinov2"), pixel_values=torch.zeros(1, 3, 20, 32))


def test_other_types_of_numbers_are_right():
    model, x = made("vit"), pixels(1)
    want = tl.trace(model, pixel_values=x).pattern(0)
    for given in (x.double(), x[0].numpy(), x.double().numpy()):
        assert_close(tl.trace(model, pixel_values=given).pattern(0), want)
    half = made("vit").to(torch.bfloat16)
    assert tl.trace(half, pixel_values=x).pattern(0).shape == want.shape


@pytest.mark.badinput
def test_pixels_for_a_model_of_text():
    with pytest.raises(ValueError, match="BertModel reads text only; leave out pixel_values"):
        tl.trace(bert(), torch.tensor([1]), pixel_values=pixels())
    ours = tl.Transformer(tl.ModelConfig(vocab_size=9, n_layers=1, n_heads=1, d_model=8))
    with pytest.raises(ValueError, match="reads token ids alone; leave out pixel_values"):
        tl.trace(ours, pixel_values=pixels())


@pytest.mark.badinput
def test_two_towers_are_traced_one_at_a_time():
    clip = T.CLIPModel(
        T.CLIPConfig(text_config=TEXT, vision_config=dict(MLP, projection_dim=8), projection_dim=8)
    ).eval()
    for given in (
        dict(tokens=[[1, 2]]),
        dict(pixel_values=pixels()),
        dict(tokens=[[1]], pixel_values=pixels()),
    ):
        with pytest.raises(
            ValueError, match=r"two towers.*model\.text_model or model\.vision_model"
        ):
            tl.trace(clip, **given)
    assert tl.trace(clip.vision_model, pixel_values=pixels()).patches.n == 16
    assert tl.trace(clip.text_model, [1, 2, 3]).shape() == (3, 3)


@pytest.mark.badinput
def test_what_a_model_needs_besides_pixels_is_named():
    mae = T.ViTMAEModel(T.ViTMAEConfig(**MLP)).eval()
    with pytest.raises(ValueError, match=r"hides different patches in every pass, .*give noise"):
        tl.trace(mae, pixel_values=pixels(1))
    more = dict(pixel_values=pixels(1), noise=torch.rand(1, 16))
    one, two = tl.trace(mae, **more), tl.trace(mae, **more)
    assert torch.equal(one.pattern(1), two.pattern(1))
    assert one.query_tokens() == [f"position {i}" for i in range(5)]  # 4 of 16 patches are visible
    sizes = {k: v for k, v in MLP.items() if k != "image_size"}
    siglip = T.Siglip2VisionModel(T.Siglip2VisionConfig(num_patches=16, **sizes)).eval()
    with pytest.raises(ValueError, match="needs pixel_attention_mask, spatial_shapes besides pix"):
        tl.trace(siglip, pixel_values=torch.randn(1, 16, 192))
    parts = (
        T.ViTConfig(**MLP),
        T.BertConfig(**{k: v for k, v in TEXT.items() if k != "projection_dim"}),
    )
    both = T.VisionEncoderDecoderModel(
        T.VisionEncoderDecoderConfig.from_encoder_decoder_configs(*parts)
    ).eval()
    with pytest.raises(ValueError, match="needs decoder_input_ids besides pixel_values"):
        tl.trace(both, pixel_values=pixels(1))


def test_a_token_of_the_pooling_head_is_no_position():
    model = T.Aimv2VisionModel(T.Aimv2VisionConfig(**MLP)).eval()
    assert tl.trace(model, pixel_values=pixels(1)).patches == Patches(4, 4)


@pytest.mark.badinput
def test_layers_that_see_the_picture_at_different_sizes():
    model = T.SegformerModel(
        T.SegformerConfig(
            hidden_sizes=[8, 16, 16, 16],
            num_attention_heads=[1, 2, 2, 2],
            depths=[1, 1, 1, 1],
            decoder_hidden_size=16,
        )
    ).eval()
    with pytest.raises(ValueError, match="at different sizes"):
        tl.trace(model, pixel_values=pixels(1, 64, 64))


def test_what_compares_tokens_says_that_there_are_none():
    trace = tl.trace(made("vit"), pixel_values=pixels(1))
    with pytest.raises(ValueError, match=r"compares tokens, and .* read none"):
        tl.heads.duplicate_token(trace)
    with pytest.raises(TraceError, match=r"answers are in trace\.answers"):
        trace.predictions()
    with pytest.raises(TraceError, match="no head that predicts tokens"):
        tl.circuits.logit_lens(trace)
    with pytest.raises(ValueError, match=r"probes are texts, and .* no vocabulary of tokens"):
        tl.heads.labels(made("vit"))
    with pytest.raises(ValueError, match="reads images, not text: give pixel_values"):
        tl.circuits.qk_circuit(made("vit"), 1, 0)
    words = tl.trace(
        tl.Transformer(tl.ModelConfig(vocab_size=9, n_layers=1, n_heads=1, d_model=8)), [1]
    )
    with pytest.raises(TraceError, match="positions of the patches"):
        tl.heads.patch_distance(words)

"""Models that read text and images together: patterns over tokens against the model's own, which
token represents which patch, edits against hooks, and refusals."""

import inspect
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.missing import package
from transformer_lab.adapters.patches import Patches
from transformer_lab.views import PatchView

T: Any = package("transformers")

PLACEHOLDER = 60
TEXT: dict[str, Any] = dict(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    head_dim=8,
    num_attention_heads=4,
    num_key_value_heads=2,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    max_position_embeddings=128,
)
TOWER: dict[str, Any] = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    image_size=32,
    patch_size=8,
)
MROPE = dict(rope_type="default", mrope_section=[1, 1, 2], rope_theta=1e4)
QWEN = dict(
    depth=2,
    hidden_size=32,
    num_heads=4,
    patch_size=8,
    spatial_merge_size=2,
    temporal_patch_size=2,
    in_channels=3,
)
IDS = dict(
    image_token_id=PLACEHOLDER, video_token_id=61, vision_start_token_id=58, vision_end_token_id=59
)


def llava(**more):
    config = T.LlavaConfig(
        text_config=T.LlamaConfig(**TEXT),
        vision_config=T.CLIPVisionConfig(projection_dim=8, **TOWER),
        image_token_index=PLACEHOLDER,
        **more,
    )
    return T.LlavaForConditionalGeneration(config)


def paligemma():
    config = T.PaliGemmaConfig(
        text_config=T.GemmaConfig(**TEXT),
        vision_config=T.SiglipVisionConfig(vision_use_head=False, **TOWER),
        image_token_index=PLACEHOLDER,
        projection_dim=32,
    )
    return T.PaliGemmaForConditionalGeneration(config)


def gemma3():
    config = T.Gemma3Config(
        text_config=T.Gemma3TextConfig(sliding_window=64, query_pre_attn_scalar=8, **TEXT),
        vision_config=T.SiglipVisionConfig(vision_use_head=False, **TOWER),
        image_token_index=PLACEHOLDER,
        mm_tokens_per_image=4,
    )
    return T.Gemma3ForConditionalGeneration(config)


def llava_next():
    config = T.LlavaNextConfig(
        text_config=T.LlamaConfig(**TEXT),
        vision_config=T.CLIPVisionConfig(projection_dim=8, **TOWER),
        image_token_index=PLACEHOLDER,
        image_grid_pinpoints=[[32, 32]],
    )
    return T.LlavaNextForConditionalGeneration(config)


def smolvlm():
    config = T.SmolVLMConfig(
        text_config=T.LlamaConfig(**TEXT),
        vision_config=TOWER,
        image_token_id=PLACEHOLDER,
        scale_factor=2,
    )
    return T.SmolVLMForConditionalGeneration(config)


def qwen2():
    vision = dict(QWEN, embed_dim=32, mlp_ratio=2)
    text = dict(TEXT, rope_parameters=MROPE)
    config = T.Qwen2VLConfig(text_config=text, vision_config=vision, **IDS)
    return T.Qwen2VLForConditionalGeneration(config)


def qwen25():
    vision = dict(
        QWEN, out_hidden_size=32, intermediate_size=48, window_size=32, fullatt_block_indexes=[1]
    )
    text = dict(TEXT, rope_parameters=MROPE)
    config = T.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **IDS)
    return T.Qwen2_5_VLForConditionalGeneration(config)


def written(n, after=(7, 8, 9, 10)):
    return torch.tensor([[5, 6, *[PLACEHOLDER] * n, *after]])


def chance(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SQUARE = dict(tokens=written(16), pixel_values=chance(1, 3, 32, 32))
SEQUENCE = dict(  # two frames of 3 · 8 · 8 numbers per patch; four patches make one image part
    tokens=written(6), pixel_values=chance(24, 384), image_grid_thw=torch.tensor([[1, 4, 6]])
)
# name -> (constructor, input, (rows, columns) of its patches)
MODELS = {
    "llava": (llava, SQUARE, (4, 4)),
    "llava-full": (
        lambda: llava(vision_feature_select_strategy="full"),
        SQUARE | dict(tokens=written(17)),
        None,
    ),
    "paligemma": (
        paligemma,
        SQUARE | dict(token_type_ids=torch.tensor([[0] * 20 + [1, 1]])),
        (4, 4),
    ),
    "gemma3": (
        gemma3,
        SQUARE | dict(tokens=written(4), token_type_ids=(written(4) == PLACEHOLDER).long()),
        None,
    ),
    "two pictures": (llava, dict(tokens=written(32), pixel_values=chance(2, 3, 32, 32)), None),
    "llava-next": (  # the whole image, a crop, and an end token for each row
        llava_next,
        dict(
            tokens=written(36),
            pixel_values=chance(1, 2, 3, 32, 32),
            image_sizes=torch.tensor([[32, 32]]),
        ),
        None,
    ),
    "smolvlm": (smolvlm, dict(tokens=written(4), pixel_values=chance(1, 1, 3, 32, 32)), None),
    "qwen2-vl": (qwen2, SEQUENCE, (2, 3)),
    "qwen2.5-vl": (qwen25, SEQUENCE, (2, 3)),
}
EACH = pytest.mark.parametrize("name", MODELS)
PLACED = pytest.mark.parametrize("name", [name for name, (*_, grid) in MODELS.items() if grid])


def made(name):
    torch.manual_seed(0)
    model = MODELS[name][0]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model, dict(MODELS[name][1])


def as_it_reads(model, given):
    """The input under transformers' names."""
    found = {("input_ids" if n == "tokens" else n): x for n, x in given.items()}
    if "mm_token_type_ids" in inspect.signature(model.forward).parameters:
        found["mm_token_type_ids"] = (given["tokens"] == PLACEHOLDER).int()
    return found


@EACH
@torch.no_grad()
def test_maps_and_logits_are_the_models_own(name, eager):
    model, given = made(name)
    plain = model(**as_it_reads(model, given)).logits
    own = eager(model, **as_it_reads(model, given)).attentions
    trace = tl.trace(model, **given)
    assert trace.kinds == (trace.kind(),) and trace.n_layers() == 2
    for layer in range(2):
        assert_close(trace.pattern(layer), own[layer][0], rtol=0, atol=1e-4)
    assert_close(trace.logits, plain, rtol=1e-5, atol=1e-5)
    assert "attends to inputs other than the tokens, and is not shown" in trace.note
    assert not any(trace.special())


@EACH
def test_tokens_that_stand_for_a_picture_are_named(name):
    model, given = made(name)
    grid, trace = MODELS[name][2], tl.trace(model, **given)
    n = int((given["tokens"] == PLACEHOLDER).sum())
    cells = [f"image part {i}" for i in range(1, n + 1)]
    if grid:
        cells = [f"patch {r},{c}" for r in range(1, grid[0] + 1) for c in range(1, grid[1] + 1)]
        assert trace.patches == Patches(*grid, ("5", "6"), ("7", "8", "9", "10"))
    else:
        assert trace.patches is None
    assert trace.query_tokens() == ["5", "6", *cells, "7", "8", "9", "10"]
    words = ["a", "b", *["<image>"] * n, "c", "d", "e", "f"]
    assert tl.trace(model, labels=words, **given).key_tokens() == ["a", "b", *cells, *"cdef"]


@PLACED
@torch.no_grad()
def test_a_patch_is_where_it_is_said_to_be(name):
    """If the tower mixes no patches, changing one patch changes one token."""
    model, given = made(name)
    for path, parameter in model.named_parameters():
        if ("vision" in path or "visual" in path) and any(
            w in path for w in ("out_proj", "o_proj", "attn.proj")
        ):
            parameter.zero_()
    patches = tl.trace(model, **given).patches
    before = tl.trace(model, keep="all", **given).residual()["resid_pre"][0]
    for row, column in ((0, 1), (1, 2)):
        pixels = given["pixel_values"].clone()
        if pixels.dim() == 4:
            pixels[..., 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 1
        else:
            pixels[4 * (3 * row + column) :][:4] += 1
        after = tl.trace(model, keep="all", **given | dict(pixel_values=pixels)).residual()
        moved = (after["resid_pre"][0] - before).abs().amax(-1) > 1e-5
        assert moved.nonzero().flatten().tolist() == [patches.position(row, column)]


def without(model, layer, head, given):
    """Logits with zeros in place of a head's input to W_O, by a hook."""
    paths = [
        n
        for n, _ in model.named_modules()
        if ("language_model" in n or "text_model" in n) and n.endswith("o_proj")
    ]

    def zero(module, args):
        z = args[0].clone()
        z[..., 8 * head : 8 * head + 8] = 0
        return (z,)

    handle = model.get_submodule(paths[layer]).register_forward_pre_hook(zero)
    try:
        return model(**as_it_reads(model, given)).logits
    finally:
        handle.remove()


@EACH
@torch.no_grad()
def test_edits_are_of_the_text_and_true(name):
    model, given = made(name)
    query = given["tokens"].shape[1] - 1
    read = as_it_reads(model, given)
    with tl.edit(model, tl.ablate(0, 1)):  # the tower's first layer has a head 1 too
        assert_close(model(**read).logits, without(model, 0, 1, given), rtol=1e-5, atol=1e-5)
    clean = tl.trace(model, **given).pattern(0, 2)[query]
    with tl.edit(model, tl.knock_out(0, 2, query=query, key=3)):
        cut = tl.trace(model, **given).pattern(0, 2)[query]
    expected = clean.clone()
    expected[3] = 0
    assert_close(cut, expected / expected.sum())
    sweep = tl.sweep_heads(model, **given)
    before = model(**read).logits[0, -1].log_softmax(-1)
    best = int(before.argmax())
    after = without(model, 1, 3, given)[0, -1].log_softmax(-1)
    assert_close(sweep.values[1, 3], after[best] - before[best], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["llava", "qwen2-vl"])
@torch.no_grad()
def test_texts_in_a_batch_are_those_alone(name):
    """With padding on the left, which shifts one text's image by two tokens."""
    model, given = made(name)
    n = int((given["tokens"] == PLACEHOLDER).sum())
    given = given | dict(tokens=written(n, (8, 10)))
    padded = torch.cat([written(n), torch.tensor([[0, 0, *given["tokens"][0]]])])
    mask = padded != 0
    more = {k: torch.cat([x, x]) for k, x in given.items() if k != "tokens"}
    both, alone = tl.trace(model, padded, mask=mask, **more), tl.trace(model, **given)
    assert both.patches is None
    assert both.key_tokens(batch=1)[4] == "image part 1"
    for layer in range(2):
        assert_close(
            both.pattern(layer, batch=1)[:, 2:, 2:], alone.pattern(layer), rtol=0, atol=1e-5
        )


def test_text_alone_is_text_alone(eager):
    model, _ = made("llava")
    trace = tl.trace(model, [5, 6, 7])
    assert (trace.note, trace.patches) == (None, None)
    own = eager(model, input_ids=torch.tensor([[5, 6, 7]])).attentions
    assert_close(trace.pattern(1), own[1][0])


@pytest.mark.parametrize("name", ["llava", "paligemma", "qwen2-vl"])
def test_what_the_stream_says_is_that_of_the_text(name):
    """The logit lens, the parts of a logit and of a score, and a head's mean."""
    model, given = made(name)
    trace = tl.trace(model, keep="all", **given)
    last = int(trace.logits[0, -1].argmax())
    lens = tl.circuits.logit_lens(trace, k=1)
    assert int(lens.tokens[-1, -1, 0]) == last
    parts = tl.circuits.logit_attribution(trace, last)  # raises if the parts do not sum
    assert parts.logit == pytest.approx(float(trace.logits[0, -1, last]), rel=1e-4, abs=1e-4)
    query = given["tokens"].shape[1] - 1
    tl.circuits.score_by_source(trace, 1, 0, query=query, key=3)
    mean = tl.mean_of(model, [given])
    assert_close(mean.means[trace.kind()][1], trace.activation("z", 1)[0].mean(1))


@torch.no_grad()
def test_a_word_looks_at_the_picture_in_its_view():
    model, given = made("llava")
    read = as_it_reads(model, given)
    pixels, words = given["pixel_values"], ["a", "b", *[""] * 16, "is", "it", "a", "<cat>"]
    view = PatchView(model, pixels, tokens=given["tokens"], labels=words, layer=1, head=2)
    row = tl.trace(model, **given).pattern(1, 2)[view.query]
    best = int(row[2:18].argmax())
    told = view.sentence
    assert (view.query, view.trace.patches.start) == (21, 2)
    assert f"<cat> attends most to patch {best // 4 + 1},{best % 4 + 1} (" in told
    left = float(row.sum() - row[2:18].sum())
    assert f"; {100 * left:.0f}% goes to the text." in told
    before = model(**read).logits[0, -1].softmax(-1)
    best = int(before.argmax())
    view.edits = [tl.ablate(1, 2), tl.knock_out(0, 0, query=21, key=5)]
    with tl.edit(model, *view.edits):
        after = model(**read).logits[0, -1].softmax(-1)
    assert view.effect.size == pytest.approx(float(after[best] - before[best]), abs=1e-6)
    assert f"<cat> → patch 1,4 cut in layer 0, head 0: P(token {best})" in view.sentence
    assert "inputs other than the tokens" in view._note
    assert view.figure() is not None
    assert '"first": 21' in view.to_html() or '"first":21' in view.to_html()


@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl"])
def test_a_picture_that_is_read_as_a_list_of_patches_is_put_together(name):
    """Undo what the image processor does."""
    model, given = made(name)
    image = (torch.rand(32, 48, 3) * 255).byte()
    taken = T.Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, temporal_patch_size=2, do_resize=False, do_normalize=False
    )(images=image.numpy(), return_tensors="pt")
    assert torch.equal(taken["image_grid_thw"], given["image_grid_thw"])
    more = dict(image_grid_thw=taken["image_grid_thw"])
    view = PatchView(model, taken["pixel_values"], tokens=given["tokens"], given=more)
    low, high = image.min().float(), image.max().float()
    wanted = (image.float() - low) / (high - low) * 255
    assert_close(view._seen.picture.float(), wanted, atol=1, rtol=0)
    assert (view._grid["rows"], view._grid["columns"]) == (2, 3)
    assert "patch " in view.sentence


@pytest.mark.badinput
def test_a_view_of_a_picture_that_is_not_there(monkeypatch):
    model, given = made("qwen2-vl")
    pixels, tokens = given.pop("pixel_values"), given.pop("tokens")
    monkeypatch.setattr("transformer_lab.adapters.placeholders.picture_of", lambda *_: None)
    with pytest.raises(
        ValueError, match="patches one by one, and how they lie in a picture is not"
    ):
        PatchView(model, pixels, tokens=tokens, given=given)
    model, given = made("llava-full")
    with pytest.raises(ValueError, match=r"the positions of the patches of .* are unknown"):
        PatchView(model, given["pixel_values"], tokens=given["tokens"])


# -- refusals --------------------------------------------------------------------------------------

WRONG = {
    "no picture": ("llava", dict(pixel_values=None), "16 placeholders for an image .* give pixel"),
    "no place": ("llava", dict(tokens=[5, 7]), "needs the placeholder 60 .* there is none"),
    "too few": ("llava", dict(tokens=written(9)), "9 image placeholders .* makes 16 parts"),
    "too few parts": ("qwen2-vl", dict(tokens=written(5)), "5 image placeholders .* makes 6 parts"),
    "how many is not known": (
        "gemma3",
        dict(tokens=written(5), token_type_ids=torch.zeros(1, 11).long()),
        "5 image placeholders .* makes another number",
    ),
    "no text": ("llava", dict(tokens=None), r"give tokens too, .* 60 .* model\.\S*vision_tower"),
    "size": ("llava", dict(pixel_values=chance(1, 3, 32, 24)), "got 32 × 24: resize it$"),
    "NaN": (
        "llava",
        dict(pixel_values=chance(1, 3, 32, 32) * torch.nan),
        "must be a finite number, got NaN",
    ),
    "bytes": ("llava", dict(pixel_values=torch.zeros(3, 32, 32).byte()), "type uint8"),
    "which tokens": ("paligemma", dict(token_type_ids=None), "needs token_type_ids besides pixel"),
    "no grid": ("qwen2-vl", dict(image_grid_thw=None), "needs image_grid_thw besides pixel_values"),
    "grid": ("qwen2-vl", dict(image_grid_thw=[1, 4, 6]), r"shape \[image, 3\] .* got \[3\]"),
    "patches": (
        "qwen2-vl",
        dict(pixel_values=chance(20, 384)),
        "24 patches but pixel_values has 20",
    ),
}


@pytest.mark.badinput
@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_read(what):
    name, change, said = WRONG[what]
    model, given = made(name)
    with pytest.raises(ValueError, match=said) as caught:
        tl.trace(model, **given | change)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.badinput
def test_pictures_that_are_put_elsewhere_cannot_be_traced_yet():
    git = T.GitForCausalLM(
        T.GitConfig(
            vision_config=TOWER, **{k: v for k, v in TEXT.items() if k != "num_key_value_heads"}
        )
    )
    with pytest.raises(ValueError, match="text and images together, which cannot be traced yet"):
        tl.trace(git, [5, 6], pixel_values=chance(1, 3, 32, 32))

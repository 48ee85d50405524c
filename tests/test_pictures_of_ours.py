"""Our own Vision Transformer: reading, tracing, editing and saving."""

import pytest
import torch

import transformer_lab as tl
from tests.missing import package


def encoder(**options):
    sizes = dict(
        kind="encoder",
        vocab_size=1,
        head=False,
        n_layers=2,
        n_heads=2,
        d_model=16,
        n_ctx=17,
        positions="learned",
    )
    return tl.Transformer(tl.ModelConfig(**sizes | options))


def classifier(size=(8, 8), patch=2, channels=1, pool="first", **options):
    torch.manual_seed(0)
    model = tl.PictureClassifier(
        encoder(**options), 10, size=size, patch=patch, channels=channels, pool=pool
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("pool", ["first", "mean"])
@pytest.mark.parametrize(("size", "patch", "channels"), [((8, 8), 2, 1), ((6, 9), 3, 3)])
def test_patches_are_read_row_by_row(size, patch, channels, pool):
    model = classifier(size, patch, channels, pool)
    pixels = torch.randn(2, channels, *size)
    cells = [
        pixels[:, :, y : y + patch, x : x + patch].flatten(1)
        for y in range(0, size[0], patch)
        for x in range(0, size[1], patch)
    ]
    vectors = model.patches(torch.stack(cells, 1))
    vectors = torch.cat((model.cls.expand(2, 1, -1), vectors), 1)
    vectors = vectors + model.encoder.positions.embed(torch.arange(vectors.shape[1]))
    states = model.encoder.encoder(vectors, positions=(model.encoder.positions, None), bias=None)
    read = states[:, 0] if pool == "first" else states.mean(1)
    torch.testing.assert_close(model(pixels), model.head(read))


def test_its_trace_has_patches_and_answers():
    model = classifier((6, 9), 3, 3)
    pixels = torch.randn(2, 3, 6, 9)
    trace = tl.trace(model, pixel_values=pixels)
    assert (trace.patches.rows, trace.patches.columns) == (2, 3)
    assert trace.shape() == (7, 7)
    torch.testing.assert_close(trace.answers, model(pixels))
    torch.testing.assert_close(trace.pattern(1, 0).sum(-1), torch.ones(7))
    alone = tl.trace(model, pixel_values=pixels[1])
    torch.testing.assert_close(trace.pattern(1, 0, batch=1), alone.pattern(1, 0))


def test_a_head_that_is_off_changes_the_answer_as_its_weights_say():
    model = classifier()
    pixels = torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        with tl.edit(model, tl.ablate(layer=0, head=1)):
            off = model(pixels)
        model.encoder.encoder.blocks[0].attention.out.weight[:, 8:] = 0
    torch.testing.assert_close(off, model(pixels))
    assert (off - classifier()(pixels)).abs().max() > 1e-4


def test_it_is_looked_at_by_its_patches():
    view = tl.views.PatchView(classifier(), torch.rand(1, 1, 8, 8))
    assert "patch" in view.sentence


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model, pixels = classifier((6, 9), 3, 3), torch.randn(1, 3, 6, 9)
    tl.save_model(model, tmp_path / "m")
    loaded = tl.load_model(tmp_path / "m")
    assert loaded.config == model.config
    assert torch.equal(loaded(pixels), model(pixels))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(size=(8, 9)), r"size must be a multiple of patch=2, got \(8, 9\)"),
        (dict(patch=0), "multiple of patch=0"),
        (dict(size=8), r"size must be \(height, width\) .* got 8"),
        (dict(size=(8.0, 8)), "must be .height, width. in whole pixels"),
        (dict(channels=0), "channels must be at least 1, got 0"),
        (dict(size=(16, 16)), "64 patches and .CLS., but the encoder's context is n_ctx=17"),
        (dict(pool="last"), "pool must be one of .* got 'last'"),
    ],
)
def test_what_does_not_fit_is_named(options, said):
    with pytest.raises(ValueError, match=said):
        classifier(**options)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (torch.rand(1, 1, 8, 9), r"= \[1, 8, 8\], got \[1, 1, 8, 9\]"),
        (torch.rand(1, 3, 8, 8), r"\[channel, height, width\] = \[1, 8, 8\]"),
        (torch.ones(1, 1, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.rand(0, 1, 8, 8), r"got \[0, 1, 8, 8\]"),
        ([[1.0]], "list"),
    ],
)
def test_what_are_no_pictures_for_it_is_refused(pixels, said):
    for use in (classifier(), lambda x: tl.trace(classifier(), pixel_values=x)):
        with pytest.raises(ValueError, match=said):
            use(pixels)


def test_pixels_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="finite numbers only, got NaN or infinity"):
        tl.trace(classifier(), pixel_values=torch.full((1, 1, 8, 8), torch.nan))


def test_it_reads_pictures_alone():
    with pytest.raises(ValueError, match="reads images: give pixel_values alone"):
        tl.trace(classifier(), torch.arange(4))
    with pytest.raises(ValueError, match="encoder"):
        tl.PictureClassifier(
            tl.Transformer(
                tl.ModelConfig(vocab_size=1, n_layers=1, n_heads=1, d_model=8, n_ctx=17)
            ),
            10,
        )


@pytest.fixture
def digits():
    package("sklearn")
    return tl.datasets.digits()


def test_digits_are_learned(digits):
    model = classifier(pool="mean")
    before = tl.accuracy(model, digits.epoch(360))
    for _ in tl.train(model, digits.batches(64, noise=0.15), steps=120, lr=0.01):
        pass
    assert before < 0.3 and tl.accuracy(model, digits.epoch(100)) > 0.7


def test_batches_of_digits_depend_on_seed_and_step_alone(digits):
    one, other = digits.batches(8, noise=0.1, seed=3), digits.batches(8, noise=0.1, seed=4)
    for a, b in zip(one.batch(5), digits.batches(8, noise=0.1, seed=3).batch(5), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.batch(5)[0], one.batch(6)[0])
    assert not torch.equal(one.batch(5)[0], other.batch(5)[0])


def test_no_held_out_digit_is_trained_on(digits):
    assert (len(digits.train), len(digits.held_out)) == (1437, 360)
    assert float(digits.train.pixels.max()) == 1.0
    seen = {tuple(p.flatten().tolist()) for p in digits.train.pixels}
    assert not seen & {tuple(p.flatten().tolist()) for p in digits.held_out.pixels}
    with pytest.raises(ValueError, match="held_out=1797"):
        tl.datasets.digits(held_out=1797)
    with pytest.raises(ValueError, match=r"noise must be a standard deviation, 0 or more, got -1"):
        digits.batches(4, noise=-1.0)

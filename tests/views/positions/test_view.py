"""PositionView: its numbers against the modules that a model calls, and against the browser's."""

import json

import pytest
import torch
from torch.testing import assert_close
from traitlets import TraitError

import transformer_lab as tl
from tests.factories import small
from transformer_lab.positions import SCHEMES, relative_buckets, scheme
from transformer_lab.views import PositionView
from transformer_lab.views.positions.trial import tried
from transformer_lab.views.shared.javascript import call
from transformer_lab.views.shared.modules import VIEWS

RELATIVE = ("rotary", "alibi", "relative", "none")
ABSOLUTE = ("sinusoidal", "learned")
WORDS = ["the", "dog", "bit", "the", "man", "<b>&"]


MATH, SCHEMES_OF_VIEW = (VIEWS / "positions" / name for name in ("math.js", "schemes.js"))
SCHEME_WORDS = json.loads((VIEWS / "positions" / "schemes.json").read_text("utf-8"))


def noise(rows, columns, seed):
    """The random numbers of a head without a model, fp64 [row, column]."""
    cells = [[call(MATH, "noise", r, c, seed) for c in range(columns)] for r in range(rows)]
    return torch.tensor(cells, dtype=torch.float64)


def permutation(count, which):
    return call(MATH, "permutation", count, which)


def model_of(kind="encoder", positions="learned", **options):
    sizes = dict(vocab_size=12, n_heads=2, d_model=16, n_ctx=40) | options
    sharpened = ("query", "key", "positions")
    return small(kind, positions=positions, sharpness=6, sharpened=sharpened, **sizes)


def given(kind="encoder", positions="learned", **options):
    ids = torch.tensor([1, 2, 3, 1, 4, 5])
    return PositionView(model_of(kind, positions), text=ids, labels=WORDS, **options)


# -- closed forms, against the modules ------------------------------------------------------------


def test_the_products_of_sinusoids_depend_on_distance_alone_and_are_the_curve():
    view = PositionView("sinusoidal", d_model=32, base=300.0, length=40)
    table = view.encoding().double()
    module = scheme({"name": "sinusoidal", "base": 300.0}).build(
        d_model=32, n_heads=1, d_head=32, n_ctx=40
    )
    assert_close(table.float(), module.embed(torch.arange(40)), rtol=0, atol=2e-7)
    distances, values = view.by_distance()
    products = table @ table.T
    for distance, value in zip(distances.tolist(), values[0].tolist(), strict=True):
        along = products.diagonal(distance)
        assert_close(along, torch.full_like(along, value), rtol=0, atol=2e-5)


def test_the_mean_cosine_is_what_rotation_leaves_of_a_product():
    view = PositionView("rotary", d_model=32, n_heads=2, length=20)
    module = scheme("rotary").build(d_model=32, n_heads=2, d_head=16, n_ctx=20)
    ones = torch.ones(1, 1, 20, 16)
    turned = module.rotate(ones, torch.arange(20))[0, 0]
    products = turned @ turned.T / 16
    distances, values = view.by_distance()
    for distance, value in zip(distances.tolist(), values[0].tolist(), strict=True):
        along = products.diagonal(distance)
        assert_close(along, torch.full_like(along, value), rtol=0, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", ["alibi", "relative"])
def test_biases_are_those_of_the_module(name, causal):
    view = PositionView(name, n_heads=3, length=50, causal=causal)
    module = scheme(name).build(d_model=48, n_heads=3, d_head=16, n_ctx=50)
    if name == "relative":
        table = module.decoder if causal else module.encoder
        with torch.no_grad():
            table.weight.copy_(noise(32, 3, 3))
    positions = torch.arange(50)
    bias, shown = module.bias(positions, positions, causal)[0], view.encoding().float()
    seen = torch.ones(50, 50).tril().bool() if causal else torch.ones(50, 50).bool()
    if name == "alibi" and causal:  # the row's constant, to which softmax is invariant, is omitted
        bias = bias - bias.expand(3, 50, 50).diagonal(0, 1, 2)[..., None]
    assert_close(bias.expand(3, 50, 50)[:, seen], shown[:, seen])
    distances, values = view.by_distance()
    assert int(distances.max()) == (0 if causal else 49)
    assert_close(shown[:, 49, 40].double(), values[:, distances.tolist().index(-9)].double())


@pytest.mark.parametrize("name", SCHEMES)
def test_the_random_head_is_attention_with_the_scheme_in_it(name):
    view = PositionView(name, d_model=32, n_heads=2, length=40, shift=7, head=1)
    width, ids = view.width, view._words["ids"]
    module = scheme(name).build(d_model=width, n_heads=2, d_head=width, n_ctx=40)
    if name == "relative":
        with torch.no_grad():
            module.encoder.weight.copy_(noise(32, 2, 3))
    if name == "learned":
        with torch.no_grad():
            module.weight.copy_(0.5 * noise(40, width, 3))
    for first, found in zip((0, 7), view.weights(), strict=True):
        positions = torch.arange(first, first + 5)
        q, k = (noise(5, width, seed)[ids][None, None].float() for seed in (1, 2))
        added = module.embed(positions)
        q, k = (x if added is None else x + added for x in (q, k))
        q, k = module.rotate(q, positions), module.rotate(k, positions)
        bias = module.bias(positions, positions, False)
        scores = q @ k.mT / width**0.5
        scores = scores[0, 0] if bias is None else (scores + bias)[0, 1]
        assert_close(scores.softmax(-1).double(), found, rtol=0, atol=2e-6)


def test_moving_changes_absolute_positions_and_not_relative_ones():
    for name in RELATIVE:
        view = PositionView(name, shift=20)
        assert view.largest < 1e-9 and "changes no weight" in view.sentence
    for name in ABSOLUTE:
        view = PositionView(name, shift=20)
        assert view.largest > 0.05 and "positions count" in view.sentence


def test_shuffling_is_seen_by_all_but_a_model_without_positions():
    for name in SCHEMES:
        view = PositionView(name, test="shuffle", head=0)
        seen = view.largest > 0.05
        assert seen == (name != "none"), name
        view.shuffle = 3
        assert (view.largest > 0.05) == (name != "none")
    view = PositionView("none", test="shuffle", causal=True)
    assert view.largest > 0.05 and "only through the causal mask" in view.sentence


def test_shuffles_are_permutations_and_the_first_exchanges_two_words():
    assert permutation(5, 0) == [0, 4, 2, 3, 1]
    assert permutation(2, 0) == [1, 0]
    for which in range(6):
        order = permutation(7, which)
        assert sorted(order) == list(range(7))
        weights = torch.rand(7, 7)
        back = call(MATH, "putBack", weights[order][:, order], order)
        assert torch.equal(torch.tensor(back).view(7, 7), weights)


# -- a given model --------------------------------------------------------------------------------


def test_a_models_own_maps_are_shown_and_the_model_is_left_alone():
    model = model_of()
    ids = torch.tensor([[1, 2, 3, 1, 4, 5]])
    positions, output = model.positions, model(ids)
    view = PositionView(model, text=ids[0], labels=WORDS, layer=1, head=1, shift=4)
    assert model.positions is positions and torch.equal(model(ids), output)
    assert view.own and view.scheme == "learned" and view.link
    trace = tl.trace(model, ids)
    before, after = view.weights()
    assert torch.equal(before, trace.pattern(1, 1))
    assert torch.equal(view.encoding(), positions.weight[:40])
    rolled = model_of()
    with torch.no_grad():
        rolled.positions.weight.copy_(positions.weight.roll(-4, 0))
    assert_close(after, tl.trace(rolled, ids).pattern(1, 1))
    assert view.largest > 0.01


@pytest.mark.parametrize("positions", ["rotary", "alibi", "relative"])
@pytest.mark.parametrize("kind", ["encoder", "decoder", "encoder-decoder"])
def test_a_model_of_relative_positions_does_not_see_where_it_stands(kind, positions):
    view = given(kind, positions, shift=16)
    for layer in (0, 1):
        view.layer = layer
        assert view.largest < 5e-5
    assert "only distances count" in view.sentence
    view.test = "shuffle"
    assert view.largest > 1e-3


def test_a_model_without_its_positions_gives_shuffled_words_the_same_weights():
    view = given("encoder", test="shuffle")
    assert view.largest > 1e-3
    view.scheme = "none"
    for which in range(5):
        view.shuffle = which
        for layer in (0, 1):
            view.layer = layer
            assert view.largest < 5e-5
    assert "positions taken out" in view.sentence and "does not see the order" in view.sentence
    output = view._given["changes"]["none"]["shuffle"][0]["output"]
    assert output < 1e-5 < view._given["changes"]["own"]["shuffle"][0]["output"]


def test_a_decoder_without_positions_still_knows_some_of_the_order():
    view = given("decoder", test="shuffle")
    view.scheme = "none"
    assert view.largest > 1e-3 and "only through the causal mask" in view.sentence


def test_special_tokens_keep_their_place():
    found = tried(model_of(), torch.arange(6), list("^abcd$"), [True, *[False] * 4, True])
    assert len(set(found.orders)) > 1
    for order in found.orders:
        assert order[0] == 0 and order[5] == 5 and sorted(order) == list(range(6))


def test_trained_biases_are_shown():
    model = model_of("decoder", "relative")
    view = PositionView(model, length=30, head=1)
    expected = model.positions.bias(torch.arange(30), torch.arange(30), True)[0]
    assert_close(view.encoding().float(), expected)
    assert "as training left it" in view.sentence
    view.scheme = "learned"
    assert not view.own and "here random" in view.sentence


def test_a_text_model_is_read():
    tokenizer = tl.tokenizers.CharTokenizer.train("abcdef ")
    model = model_of(vocab_size=tokenizer.vocab_size)
    view = PositionView(tl.TextModel(model, tokenizer, "letters"), text="abc fed", head=1)
    assert view._given["words"] == ["a", "b", "c", "·", "f", "e", "d"]
    assert view.sentence.startswith("Learned")
    found = tl.trace(model, torch.tensor([tokenizer.encode("abc fed")]))
    assert torch.equal(view.weights()[0], found.pattern(0, 1))


# -- a number that T5 computes in fp32 --------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("count", "most"), [(32, 128), (16, 40), (32, 500)])
def test_buckets_are_t5s_on_every_distance(causal, count, most):
    distances = torch.arange(-600, 600)
    expected = relative_buckets(distances, causal=causal, buckets=count, max_distance=most)
    found = [call(MATH, "relativeBucket", int(d), causal, count, most) for d in distances]
    assert found == expected.tolist()


# -- a scheme unknown to the view -----------------------------------------------------------------


def test_a_scheme_without_a_formula_is_shown_by_what_was_measured(halving):
    view = given("decoder", halving, shift=8)
    before, after = view.weights()
    assert_close(before.sum(-1), torch.ones(6))
    assert float((before - after).abs().max()) < 1e-5  # only distances matter to it
    assert view.sentence.startswith("halving: what it does is measured on Transformer. Moving")
    assert view.encoding() is None and view.by_distance()[1].shape[0] == 0
    assert view.png()[:4] == b"\x89PNG"
    view.test = "shuffle"
    before, after = view.weights()
    assert view.largest == pytest.approx(float((before - after).abs().max())) and view.largest > 0
    view.scheme = "rotary"
    assert view.encoding() is not None
    view.scheme = halving


@pytest.mark.badinput
def test_a_scheme_without_a_formula_and_without_a_model_is_refused(halving):
    for make in (
        lambda: PositionView(halving),
        lambda: PositionView(SCHEMES[halving]()),
        lambda: PositionView(model_of("decoder", halving)),
    ):
        with pytest.raises(ValueError, match=r"'halving' has no formula .* text="):
            make()
    view = PositionView("alibi")
    with pytest.raises(TraitError, match="halving"):
        view.scheme = halving


def test_every_scheme_has_its_words_and_its_formula():
    formulas = call(SCHEMES_OF_VIEW, "schemeNames")
    assert set(formulas) == set(SCHEMES) == set(SCHEME_WORDS) - {"other"}


# -- figures and errors ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEMES)
def test_figure_and_page(name):
    view = PositionView(name, text="<script> $x$ dog </script>", test="shuffle")
    assert view.png()[:4] == b"\x89PNG"
    page = view.to_html()
    assert "<script> $x$" not in page and len(page) < 413_000


def test_figure_of_a_model():
    assert given().png()[:4] == b"\x89PNG"
    assert given("decoder", "relative", test="shuffle").png()[:4] == b"\x89PNG"


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PositionView("rope"), ["'rope'", "rotary"]),
        (lambda: PositionView(3), ["int", "Transformer"]),
        (lambda: PositionView(d_model=33), ["d_model=33", "even"]),
        (lambda: PositionView(length=5000), ["length=5000", "512"]),
        (lambda: PositionView(base=1), ["base=1", "10000"]),
        (lambda: PositionView(test="turn"), ["'turn'", "shuffle"]),
        (lambda: PositionView("alibi", head=4), ["head=4", "0 … 3"]),
        (lambda: PositionView(text="one"), ["1 words", "2 to 16"]),
        (lambda: PositionView(model_of(), text="the dog"), ["tokenizer", "TextModel"]),
        (lambda: PositionView(model_of(), text=[1] * 33), ["33 tokens", "32"]),
        (lambda: PositionView(model_of(), text=[1, 2], labels=["a"]), ["1 names", "2 tokens"]),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=r".+") as error:
        make()
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.badinput
def test_bad_states_are_refused():
    view = PositionView()
    for name, value in (("base", 0.5), ("length", 4000), ("scheme", "rope"), ("test", "no")):
        with pytest.raises(TraitError):
            setattr(view, name, value)


def test_a_head_that_only_other_schemes_have_is_not_looked_up_in_the_model():
    """Without positions the model's own heads are shown, whatever number the slider has."""
    config = tl.ModelConfig(
        vocab_size=12, n_layers=1, n_heads=2, d_model=16, n_ctx=48, positions="sinusoidal"
    )
    view = PositionView(tl.Transformer(config).eval(), text=torch.arange(6))
    view.scheme, view.n_heads = "alibi", 8
    view.scheme = "none"
    assert view.heads == 2
    assert view.sentence
    assert view.weights()[0].shape == (6, 6)

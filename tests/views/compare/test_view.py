"""CompareView: alignment, differences and sentences against hand-computed values."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close
from traitlets import TraitError

import transformer_lab as tl
from tests.factories import CountingBatches, small
from tests.missing import lacking
from tests.reference.test_hybrids import HYBRIDS
from transformer_lab.graphs.analyses import moved
from transformer_lab.views import CompareView
from transformer_lab.views.compare.data import align, spread
from transformer_lab.views.shared.messages import percent

PAIR = "the animal did not cross the street because it was too {}"
TIRED, WIDE = (PAIR.format(word).split() for word in ("tired", "wide"))
VOCABULARY = sorted({*TIRED, *WIDE, "<i>old", "very"})


choosing = partial(small, sharpness=3, vocab_size=20, n_heads=3, d_model=24, n_ctx=32)


def traced(model, words):
    ids = torch.tensor([VOCABULARY.index(word) for word in words])
    return tl.trace(model, ids, labels=words)


def held(view):
    """What came with the page: name -> numbers."""
    numbers = torch.frombuffer(bytearray(view._answers_data), dtype=torch.float32)
    names, _, sizes = zip(*view._answers, strict=True)
    return dict(zip(names, numbers.split([size // 4 for size in sizes]), strict=True))


# -- alignment --------------------------------------------------------------------------------------


def test_a_minimal_pair_stands_together():
    found = align(TIRED, WIDE)
    assert found.names == [*TIRED[:-1], "tired/wide"]
    assert found.first == found.second == list(range(12)) and found.both.all()


def test_a_token_more_is_a_gap():
    found = align(["a", "b", "c"], ["a", "very", "b", "c"])
    assert found.names == ["a", "very", "b", "c"]
    assert found.first == [0, -1, 1, 2] and found.second == [0, 1, 2, 3]
    assert found.both.tolist() == [True, False, True, True]


def test_one_word_for_two_stands_alone():
    found = align(["a", "x", "c"], ["a", "p", "q", "c"])
    assert found.names == ["a", "x", "p", "q", "c"]
    assert found.first == [0, 1, -1, -1, 2] and found.second == [0, -1, 1, 2, 3]


@pytest.mark.parametrize("seed", range(5))
def test_every_token_stands_once_and_in_order(seed):
    generator = torch.Generator().manual_seed(seed)
    texts = [[str(i) for i in torch.randint(0, 5, (n,), generator=generator)] for n in (9, 14)]
    found = align(*texts)
    for side, text in zip((found.first, found.second), texts, strict=True):
        assert [i for i in side if i >= 0] == list(range(len(text)))
    for i, j in zip(found.first, found.second, strict=True):
        assert i >= 0 or j >= 0


def test_maps_are_spread_and_compared():
    first = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    second = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0.25, 0.25, 0.5]])
    a, b = spread(first, [0, -1, 1], [0, -1, 1]), spread(second, [0, 1, 2], [0, 1, 2])
    assert a[1].isnan().all() and a[:, 1].isnan().all() and a[2, 2] == 0.75 and a[2, 0] == 0.25
    assert torch.equal(b, second)
    both = torch.tensor([True, False, True])
    # Row 0 is the same; row 2 gives .25, 0, .75 and .25, .25, .5: a quarter has moved.
    assert_close(moved(a, b, both)["moved"], torch.tensor(0.125))
    assert moved(a, a, both)["moved"] == 0
    far = torch.tensor([[0.0, 1.0], [0.75, 0.25]])
    assert_close(moved(first, far, torch.ones(2).bool())["moved"], torch.tensor((1 + 0.5) / 2))


# -- the view ---------------------------------------------------------------------------------------


def test_one_model_on_a_minimal_pair():
    model = choosing("encoder")
    a, b = traced(model, TIRED), traced(model, WIDE)
    view = CompareView(a, b, names=("tired", "wide"))
    grid = view.moved()
    assert grid[view.layer, view.head] == grid.max() > 0.01
    assert "differs most of all heads" in view.sentence
    best = f"{view.layer}, head {view.head} differs most"
    view.layer, view.head = 1, 2
    assert f"Layer {best}: " in view.sentence and "In layer 1, head 2 it is " in view.sentence
    first, second = view.maps()
    assert torch.equal(first, a.pattern(1, 2)) and torch.equal(second, b.pattern(1, 2))
    assert_close(view.difference(), second.double() - first.double())
    by_hand = (second - first).abs().sum(-1).div(2).mean()
    assert_close(grid[1, 2], by_hand)
    view.selected = (8, 1)
    x, y = (percent(float(weights[8, 1])) for weights in (first, second))
    assert view.sentence == f"Layer 1, head 2: “it” → “animal” is {x} in tired and {y} in wide."
    assert view.link  # the positions are the same
    assert view.png()[:4] == b"\x89PNG"


def test_texts_of_different_length_have_gaps():
    model = choosing()
    longer = ["the", "<i>old", *TIRED[1:]]
    a, b = traced(model, TIRED), traced(model, longer)
    view = CompareView(a, b, layer=0, head=1)
    kind = view._kinds["decoder"]
    assert kind["query_names"][:3] == ["the", "<i>old", "animal"] and kind["queries"] == 13
    assert kind["query_parts"][0][:3] == [0, -1, 1]
    first, second = view.maps()
    assert first[1].isnan().all() and first[:, 1].isnan().all()
    assert first[9, 2] == a.pattern(0, 1)[8, 1] and second[9, 2] == b.pattern(0, 1)[9, 2]
    assert view.link == ""
    view.selected = (9, 1)
    assert "is in B only" in view.sentence
    view.selected = (1, None)
    assert view.sentence.endswith("“<i>old” is in B only.")
    view.selected, view.layer = (9, None), 1
    assert "% of the attention of “it” moved in B. The largest change: “it” → “" in view.sentence
    view.selected = (3, 8)
    assert "which comes later" in view.sentence
    assert "<i>old" not in view.to_html()


def test_two_models_and_the_same_one():
    a, b = choosing(seed=0), choosing(seed=1)
    ids = torch.tensor([1, 2, 3, 4])
    view = CompareView.of_models(a, b, ids)
    assert view.moved().min() > 0.01
    assert view.link == tl.views.HeadView(tl.trace(a, ids)).link  # the tokens are the same
    alike = CompareView.of_models(a, a, ids)
    assert alike.moved().max() == 0
    assert alike.sentence == "A and B are alike: no head’s attention moved."
    longer = CompareView(tl.trace(a, ids), tl.trace(a, torch.cat((ids, ids[:1]))), names=("A", "B"))
    shared = (
        f"A and B are alike on the {len(ids)} tokens that both have: no head’s attention moved."
    )
    assert longer.sentence == shared


def test_text_models_and_checkpoints(tmp_path):
    tokenizer = tl.tokenizers.CharTokenizer.train("abcdef ")
    models = [
        tl.TextModel(choosing(vocab_size=tokenizer.vocab_size, seed=i), tokenizer, f"m{i}")
        for i in (0, 1)
    ]
    view = CompareView.of_models(*models, "abc fed")
    assert view._names == ["m0", "m1"] and view._kinds["decoder"]["key_names"][3] == "·"
    pair = CompareView.of_texts(models[0], "abc fed", "abd fed")
    assert pair._kinds["decoder"]["key_names"][2] == "c/d"

    probe = torch.arange(6)
    list(
        tl.train(
            choosing(),
            CountingBatches(),
            steps=8,
            run=tmp_path / "r",
            snapshot_every=4,
            probe=probe,
        )
    )
    run = tl.Run(tmp_path / "r")
    steps = CompareView.of_steps(run, 0, 8)
    assert steps._names == ["step 0", "step 8"] and steps._title == "r"
    assert torch.equal(steps.maps()[1], run.trace(8).pattern(steps.layer, steps.head))


def test_names_and_tokens_are_never_read_as_formulas():
    ids = torch.tensor([1, 2, 3])
    hostile = ["$\\frac$", "</script>", "\u202e\0"]
    traces = [tl.trace(choosing(seed=i), ids, labels=hostile) for i in (0, 1)]
    view = CompareView(*traces, names=("$\\frac$", "</script><script>x"), title="$\\q$")
    assert view.png()[:4] == b"\x89PNG"
    assert "</script><script>x" not in view.to_html()


def test_every_kind_of_an_encoder_decoder():
    model = choosing("encoder-decoder")
    a = tl.trace(model, torch.tensor([1, 2, 3]), torch.tensor([4, 5]))
    b = tl.trace(model, torch.tensor([1, 2, 6]), torch.tensor([4, 5, 7]))
    view = CompareView(a, b)
    assert set(view._kinds) == {"encoder", "decoder", "cross"}
    view.kind, view.layer, view.head = "cross", 1, 2
    first, second = view.maps()
    assert first.shape == second.shape == (3, 3)
    assert_close(second, b.pattern(1, 2, kind="cross"))
    assert view.sentence.startswith("Cross, layer")
    found = held(view)["cross/1/2"].reshape(2, 3, 3)
    assert_close(found, torch.stack([first, second]), equal_nan=True)


def test_many_heads_are_sent_one_by_one():
    model = choosing(n_heads=12, n_layers=6, n_ctx=100)
    ids = torch.arange(90) % 20
    view = CompareView(tl.trace(model, ids), tl.trace(model, ids.flip(0)), layer=2, head=5)
    assert [*held(view)] == ["decoder/2/5", "moved/decoder"]
    message, buffers = view._answer({"type": "block", "name": "decoder/1/3", "request": 1})
    assert message["type"] == "block"
    numbers = torch.frombuffer(bytearray(buffers[0]), dtype=torch.float32)
    view.layer, view.head = 1, 3
    assert_close(
        numbers.reshape(2, *view.maps()[0].shape), torch.stack(view.maps()), equal_nan=True
    )
    assert 'data-block="decoder/5/11"' in view.to_html()


@pytest.mark.models
def test_minilms_it_does_not_flip():
    """The head that attends from "it" to "animal" still does so when the street is too wide."""
    from transformer_lab.pretrained import ModelNotInstalled

    try:
        model = tl.TextModel.from_pretrained("minilm")
    except (ModelNotInstalled, FileNotFoundError) as error:
        lacking("models", error)
    text = "The animal didn't cross the street because it was too {}."
    view = CompareView.of_texts(
        model, text.format("tired"), text.format("wide"), names=("tired", "wide"), layer=3, head=1
    )
    names = view._kinds["encoder"]["key_names"]
    it, animal, street = (names.index(word) for word in ("it", "animal", "street"))
    for weights in view.maps():
        assert weights[it, animal] > 1.5 * weights[it, street]
    view.selected = (it, animal)
    assert view.sentence == "Layer 3, head 1: “it” → “animal” is 68% in tired and 28% in wide."


# -- errors -----------------------------------------------------------------------------------------


@pytest.mark.badinput
def test_what_cannot_be_compared_is_refused():
    ids = torch.tensor([1, 2, 3])
    one = tl.trace(choosing(), ids)
    wide = tl.trace(choosing(n_layers=3), ids)
    encoder = tl.trace(choosing("encoder"), ids)
    other = tl.trace(choosing(), torch.tensor([4, 5]))
    for make, words in (
        (lambda: CompareView(choosing(), one), "a is a Transformer; give what"),
        (lambda: CompareView(one, wide), "2 layers × 3 heads and b has 3 × 3"),
        (lambda: CompareView(one, encoder), "nothing to compare"),
        (lambda: CompareView(one, other), "no token in common"),
        (lambda: CompareView(one, one, names=("A", "A")), "two different names"),
        (lambda: CompareView(one, one, kind="cross"), "kind='cross'"),
        (lambda: CompareView(one, one, layer=5), "layer=5 is outside 0 … 1"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
    with pytest.raises(TraitError, match="outside 0"):
        CompareView(one, one).selected = (9, 0)


@pytest.mark.badinput
def test_texts_that_are_too_long_are_refused():
    model = choosing(n_ctx=300)
    long = tl.trace(model, torch.arange(260) % 20)
    with pytest.raises(ValueError, match=r"260 tokens; up to 256 .* tl\.views\.HeadView"):
        CompareView(long, long)


def test_a_layer_without_attention_is_left_out():
    torch.manual_seed(0)
    model = HYBRIDS["lfm2"][0]().eval()
    ids = torch.arange(3, 11)
    view = CompareView(*(tl.trace(model, i, labels=list("abcdefgh")) for i in (ids, ids.flip(0))))
    assert view.moved().isnan().all(1).tolist() == [True, False, True, False]
    assert view.layer in (1, 3) and "differs most of all heads" in view.sentence
    view.layer = 0
    assert view.shown[1] == 1 and view.to_dict()["arrays"]["moved"]["values"][0][0] is None
    assert view._scene().panels[0][0].mark.square


def test_heads_of_a_deep_model_are_no_specks():
    a, b = (tl.trace(choosing(n_layers=15), torch.arange(5) + i) for i in (0, 1))
    assert CompareView(a, b)._scene().panels[0][0].mark.square is False

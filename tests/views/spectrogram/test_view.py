"""A sound in a model: rows, effects and words against the model itself; the still image; pages."""

import io
import re
from itertools import combinations_with_replacement

import numpy as np
import pytest
import torch
import traitlets
from torch.testing import assert_close

import transformer_lab as tl
from tests.missing import package
from tests.sounds import RATE, TARGET, WORDS, chirp, tokenizer, tone, whisper
from transformer_lab.edits.kinds import EditError
from transformer_lab.views import HeadView, SpectrogramView
from transformer_lab.views.shared.javascript import call
from transformer_lab.views.shared.messages import percent
from transformer_lab.views.shared.modules import VIEWS
from transformer_lab.views.spectrogram import data
from transformer_lab.views.spectrogram.data import shades

T = package("transformers")
SHOWN = ["<start>", "one", "·two", "·three", "."]


@pytest.fixture(scope="module")
def model():
    return whisper(sharpness=6)


@pytest.fixture
def view(model):
    return SpectrogramView(model, chirp(), sampling_rate=RATE, target=TARGET, labels=WORDS)


def cut(first, last, query=1, **place):
    place = place or dict(layer=1, head=0)
    return [tl.knock_out(query=query, key=k, kind="cross", **place) for k in range(first, last + 1)]


def test_rows_of_all_heads_are_those_of_the_trace(view):
    for query in (1, 4):
        rows = np.frombuffer(view._data.packed(query), "<f4").reshape(2, 2, 50)
        for layer in range(2):
            assert_close(
                torch.from_numpy(rows[layer].copy()),
                view.trace.pattern(layer, kind="cross")[:, query],
            )
    assert (view.layer, view.head, view.query, view.kind) == (1, 0, 1, "cross")
    view.selected = (3, None)
    view._page_state()  # its first screen
    assert (view._answers[0][0], view._answers_data) == ("rows/3", view._data.packed(3))


def shortest(row):
    """The shortest interval that holds half of a row, by exhaustive search."""
    held = {
        (a, b): float(row[a : b + 1].double().sum())
        for a, b in combinations_with_replacement(range(len(row)), 2)
    }
    half = {run: weight for run, weight in held.items() if weight >= 0.5 * float(row.sum())}
    length = min(b - a for a, b in half)
    return max((weight, run) for run, weight in half.items() if run[1] - run[0] == length)


@pytest.mark.parametrize("mean", ["", "layer", "all"])
def test_the_time_that_is_told_is_that_of_the_weights(view, mean):
    for query in range(5):
        for layer, head in ((0, 0), (1, 1)):
            view.layer, view.head, view.selected, view.mean = layer, head, (query, None), mean
            maps = view.trace.patterns(kind="cross")[:, :, query]
            row = {"": maps[layer, head], "layer": maps[layer].mean(0), "all": maps.mean((0, 1))}[
                mean
            ]
            weight, (first, last) = shortest(row)
            begin, end = max(0, 0.02 * first - 0.01), 0.02 * last + 0.01
            told = f"{begin:.2f}–{end:.2f} s ({percent(weight)})"
            assert told in view.sentence
            who = {
                "": f"Layer {layer}, head {head}: “",
                "layer": f"Mean of layer {layer}’s 2 heads: “",
                "all": "Mean of all 4 heads: “",
            }[mean]
            assert view.sentence.startswith(who + SHOWN[query])
            after = row[41:].sum()  # the sound ends at 0.82 s
            assert f"; {percent(float(after))} goes to the silence after 0.82 s." in view.sentence


def test_a_chosen_time_is_told_and_must_be_one(view):
    view.span = (3, 9)
    held = float(view.trace.pattern(1, 0, kind="cross")[1, 3:10].sum())
    assert f"The chosen 0.05–0.19 s holds {percent(float(held))}" in view.sentence
    for wrong in ((9, 3), (-1, 2), (3, 50)):
        with pytest.raises(traitlets.TraitError, match=r"two of the positions 0 … 49"):
            view.span = wrong
    with pytest.raises(traitlets.TraitError, match="mean"):
        view.mean = "some"


def test_what_comes_next_is_the_models_own(model, view):
    probabilities = view.trace.logits[0].softmax(-1)
    assert f"Next comes “·two” ({percent(float(probabilities[1, 6]))}" in view.sentence
    view.selected = (4, None)
    best = int(probabilities[4].argmax())
    told = f"Most likely next: “{best}” ({percent(float(probabilities[4, best]))}"
    assert told in view.sentence


def test_an_effect_is_that_of_the_edit_at_every_word(model, view):
    edits = [tl.ablate(0, 1, kind="cross"), *cut(34, 37)]
    given = dict(view.trace.given, decoder_input_ids=torch.tensor([TARGET]))
    with torch.no_grad():
        before = model(**given).logits[0].softmax(-1)
        with tl.edit(model, *edits):
            after = model(**given).logits[0].softmax(-1)
    before, after = before.numpy(), after.numpy()
    view.edits = edits
    for query, then in enumerate([5, 6, 9, 12, int(before[4].argmax())]):
        view.selected = (query, None)
        found = view.effect
        assert found.size == pytest.approx(
            float(after[query, then] - before[query, then]), abs=1e-6
        )
        name, *numbers = found.rows[0]
        assert numbers == pytest.approx([before[query, then], after[query, then]], abs=1e-6)
        assert name == (f"“{SHOWN[query + 1]}”" if query < 4 else f"“{then}”")
    view.selected = (1, None)
    assert (
        "With layer 0, head 1 switched off and “one” → 0.67–0.75 s cut in layer 1, head 0: P(“·two”)"
        in view.sentence
    )
    assert [e.code() for e in view.edits] == [e.code() for e in edits]
    view.edits = []
    assert view.effect is None
    with pytest.raises(EditError, match="head=9 is outside"):
        view.edits = [tl.ablate(0, 9, kind="cross")]


def test_a_head_tried_alone_is_that_head_switched_off(view):
    found = view.every_head()
    for layer, head in ((0, 0), (1, 1)):
        view.edits = [tl.ablate(layer, head, kind="cross")]
        assert float(found[layer, head]) == pytest.approx(view.effect.size, abs=1e-7)
    assert np.shape(view._every) == (5, 2, 2)


def test_the_spectrogram_is_what_the_model_was_given(view):
    from PIL import Image

    bands = np.array(Image.open(io.BytesIO(view._picture)))
    x = view.trace.given["input_features"][0]
    assert bands.shape == (40, 100)
    expected = 255 * (x - x.min()) / (x.max() - x.min())
    assert np.abs(bands[::-1] - expected.numpy()).max() <= 0.5 + 1e-3
    rising = bands[:, 5:75].argmax(0)  # the highest band first, and the chirp rises
    assert (np.diff(rising.astype(int)) <= 0).all() and rising[0] - rising[-1] > 20


@pytest.mark.parametrize("shown", [0.3, 0.82, 1.0])
@pytest.mark.parametrize("width", [7, 50, 333])
def test_a_column_shows_the_largest_weight_of_its_time(shown, width):
    weights = np.random.default_rng(0).random(50)
    scene = VIEWS / "spectrogram" / "scene.js"
    found = call(scene, "weightColumns", weights.tolist(), shown, 0.02, width)
    for x, value in enumerate(found):
        begin, end = x * shown / width, (x + 1) * shown / width
        over = [
            w
            for i, w in enumerate(weights)
            if 0.02 * i - 0.01 < end - 1e-9 and 0.02 * i + 0.01 > begin + 1e-9
        ]
        assert value == (max(over) if over else weights[-1])


def test_it_stands_beside_the_other_views_of_its_trace(view):
    trace = tl.trace(view.trace.model, target=TARGET, target_labels=WORDS, **view.trace.given)
    again = SpectrogramView(trace)
    assert HeadView(trace).link == view.link == again.link
    assert again.sentence == view.sentence
    assert repr(SpectrogramView(trace, title="Mine")).startswith("<SpectrogramView: Layer 1")


def test_frames_do_where_there_is_no_wave(model, view):
    again = SpectrogramView(
        model, input_features=view.trace.given["input_features"][0], target=TARGET
    )
    assert again._picture == view._picture
    assert again._sound["words"] == [str(i) for i in TARGET]


def test_a_pipeline_or_processor_brings_words(model):
    class Speech:  # like transformers.pipeline("automatic-speech-recognition")
        tokenizer, feature_extractor = tokenizer(), T.WhisperFeatureExtractor(feature_size=40)

    Speech.model = model
    given = dict(sampling_rate=RATE, text="one two")
    for view in (
        SpectrogramView(Speech(), chirp(), **given),
        SpectrogramView(model, chirp(), **given, processor=Speech()),
    ):
        assert view._sound["words"] == ["<s>", "one", "two"]
        assert view.query == 1 and "Next comes “two”" in view.sentence
        view.selected = (2, None)
        assert "Most likely next: “" in view.sentence
    own = SpectrogramView(model, chirp(), sampling_rate=RATE, processor=Speech())
    assert own.trace.target[0, 0] == 1 and own._sound["words"][0] == "<s>"


def test_a_model_that_writes_no_words_is_looked_at():
    view = SpectrogramView(whisper(head=False), tone(), sampling_rate=RATE, target=TARGET)
    assert "comes" not in view.sentence and view._unit == ""
    for ask in (view.every_head, lambda: setattr(view, "edits", [tl.ablate(0, 0, kind="cross")])):
        with pytest.raises(ValueError, match="WhisperModel has no head that writes words"):
            ask()
    with pytest.raises(ValueError, match="has no head"):
        view._answer({"type": "block", "name": "every"})
    assert "every" not in re.findall(r'data-block="([^"]+)"', view.to_html())


def test_one_word_of_silence(model):
    view = SpectrogramView(model, np.zeros(160), sampling_rate=RATE, target=[1])
    assert view.query == 0 and view._sound["end"] == 1.0
    assert "silence" not in view.sentence and view.png().startswith(b"\x89PNG")


def test_a_page_holds_every_word_and_what_every_head_does(view, monkeypatch):
    names = re.findall(r'data-block="([^"]+)"', view.to_html())
    assert {"rows/0", "rows/2", "rows/3", "rows/4", "every"} < set(names)
    assert {f"effect/{layer}.{head}" for layer in (0, 1) for head in (0, 1)} < set(names)
    assert "every" not in re.findall(r'data-block="([^"]+)"', view.to_html(effects=False))
    monkeypatch.setattr(data, "PAGE_BYTES", 2 * 4 * 2 * 2 * 50)
    assert view._data.kept() == [1, 4]


def test_it_has_a_picture_for_where_no_script_runs(view):
    view.every_head()
    for mean, span, whole, fade in (("", None, False, 0.8), ("layer", (3, 9), True, 0.0)):
        view.mean, view.span, view.whole, view.fade = mean, span, whole, fade
        assert view.png().startswith(b"\x89PNG")
    axes = view.figure().axes
    assert axes[0].get_xlim() == axes[1].get_xlim() == (0, 1.0)
    assert axes[0].images[0].get_extent() == pytest.approx([-0.005, 0.995, -0.5, 39.5])
    assert axes[0].images[1].get_extent() == pytest.approx([-0.01, 0.99, -0.5, 39.5])


def test_a_word_is_shown_as_text_only(model):
    hostile = "<img src=x onerror=alert(1)>"
    view = SpectrogramView(
        model, chirp(), sampling_rate=RATE, target=[1, 5, 6], labels=[hostile] * 3
    )
    view.edits = [tl.ablate(0, 0, kind="cross")]
    assert hostile not in view.to_html()


def test_questions_of_the_browser_are_answered_or_told(view):
    answer, buffers = view._answer({"type": "block", "name": "rows/4"})
    assert (answer["type"], len(buffers[0])) == ("block", 4 * 2 * 2 * 50)
    edits = [one.to_dict() for one in cut(3, 4)]
    answer, _ = view._answer({"type": "block", "name": "effect/several", "edits": edits})
    view.edits = cut(3, 4)
    assert answer["info"]["at"][1]["size"] == view.effect.size
    for name in ("rows/5", "rows/-1", "rows/x"):
        with pytest.raises(ValueError, match="outside 0 … 4"):
            view._answer({"type": "block", "name": name})
    with pytest.raises(ValueError, match="knows no"):
        view._answer({"type": "block", "name": "nothing"})


def no_sound():
    return tl.shipped("manual").trace("for key in")


def two_sounds():
    x = torch.randn(2, 40, 100)
    return tl.trace(whisper(), input_features=x, target=torch.tensor([[1, 5], [1, 6]]))


def text_model():
    return tl.shipped("manual")


def image_model():
    from tests.factories import vision

    return tl.ImageModel(vision(), name="small")


def other_speech():
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    positions = dict(num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
    convolutions = dict(conv_dim=(16,), conv_kernel=(4,), conv_stride=(4,))
    return T.Wav2Vec2ForCTC(T.Wav2Vec2Config(vocab_size=9, **sizes, **positions, **convolutions))


WRONG = {
    "a trace of text": (no_sound, {}, "has no sound that Whisper heard; give one of tl.trace"),
    "two sounds": (two_sounds, {}, "the trace holds 2 sounds; trace one alone"),
    "more than a trace": (
        no_sound,
        dict(audio=chirp(), text="one"),
        "leave out audio, text, or give the model",
    ),
    "a text model": (
        text_model,
        dict(audio=chirp()),
        "does not hear log-mel frames, as Whisper does",
    ),
    "an image model": (image_model, {}, "does not hear log-mel frames"),
    "other speech": (
        other_speech,
        dict(audio=chirp(), sampling_rate=RATE),
        "does not hear log-mel frames, as Whisper does",
    ),
    "nothing": (whisper, {}, r"hears sound: give audio, .* or input_features=\[batch, 40, 100\]"),
    "text alone": (whisper, dict(audio="one two"), "audio must be samples, .* got a string"),
    "both": (whisper, dict(audio=chirp(), input_features=1), "both given; leave one out"),
    "two texts": (
        whisper,
        dict(audio=chirp(), sampling_rate=RATE, text="a", target=[1]),
        "text and target are both given",
    ),
    "rate": (
        whisper,
        dict(audio=chirp(), sampling_rate=8000),
        "sampling_rate must be .* got 8000: resample",
    ),
    "NaN": (
        whisper,
        dict(input_features=torch.full((40, 100), torch.nan)),
        "must be finite, got NaN",
    ),
    "bands": (whisper, dict(input_features=torch.zeros(80, 100)), "80 mel bins|80, 100"),
    "vocabulary": (
        whisper,
        dict(audio=chirp(), sampling_rate=RATE, target=[99]),
        "outside the vocabulary of 32",
    ),
    "labels": (
        whisper,
        dict(audio=chirp(), sampling_rate=RATE, target=[1, 5], labels=["a"]),
        "target_labels must have 2 labels .* got .1.",
    ),
    "no model": (lambda: 3, {}, "model is a int"),
}


@pytest.mark.badinput
@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_shown(what):
    make, given, said = WRONG[what]
    with pytest.raises(ValueError, match=said) as caught:
        SpectrogramView(make(), **given)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_shades_of_silence_are_black():
    assert not shades(torch.zeros(3, 4)).any()

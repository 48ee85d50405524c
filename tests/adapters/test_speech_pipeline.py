"""From a waveform to Whisper's input, and to the words that it writes: against transformers' own
feature extractor and plain passes; and refusals."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.missing import package
from tests.sounds import RATE, chirp, tokenizer, tone, whisper
from transformer_lab.adapters.speech import FRAME_SECONDS, band_hertz, sound_of
from transformer_lab.adapters.speech_pipeline import extractor_of, frames_of, written_ids
from transformer_lab.adapters.tokenizer import HuggingFaceTokenizer

T: Any = package("transformers")


@pytest.fixture(scope="module")
def model():
    return whisper()


@pytest.fixture(scope="module")
def sound(model):
    return sound_of(model)


def test_frames_are_those_of_the_feature_extractor(sound):
    own = T.WhisperFeatureExtractor(feature_size=40, chunk_length=1)
    expected = own(chirp(), sampling_rate=RATE, return_tensors="pt")["input_features"]
    assert expected.shape == (1, 40, 100)
    for wave in (chirp(), torch.from_numpy(chirp()), chirp().astype(np.float64), chirp()[None]):
        for processor in (None, own, SimpleNamespace(feature_extractor=own)):
            assert_close(frames_of("small", sound, wave, RATE, processor), expected)


@pytest.mark.parametrize("hertz", [300.0, 1000.0, 3000.0])
def test_a_tone_is_where_it_sounds(sound, hertz):
    """In time and in frequency, by the view's names for both."""
    frames = frames_of("small", sound, tone(hertz, 0.3, 0.5), RATE, None)[0]
    bands = torch.tensor(band_hertz(sound.bins))
    loudest = bands[frames[:, 40].argmax()]
    assert abs(loudest - hertz) <= bands.diff().max()
    assert abs(loudest - hertz) == (bands - hertz).abs().min()
    loud = (frames.amax(0) > frames.max() - 0.5).nonzero().flatten() * FRAME_SECONDS
    assert 0.28 < float(loud[0]) <= 0.31 and 0.49 <= float(loud[-1]) < 0.52
    assert 0.5 <= sound.heard(frames) <= 0.53  # a window reaches 12.5 ms beyond its middle


def test_bands_are_those_of_the_filters():
    for bins in (80, 128):
        filters = T.WhisperFeatureExtractor(feature_size=bins).mel_filters  # [frequency, band]
        hertz = np.linspace(0, 8000, len(filters))
        middle = (filters * hertz[:, None]).sum(0) / filters.sum(0)
        assert np.abs(middle - band_hertz(bins)).max() < 40  # one frequency bin of the filters


def test_positions_reach_half_a_step_to_both_sides(sound):
    assert (sound.positions, sound.stride, sound.seconds) == (50, 2, 1.0)
    assert sound.span(0, 0) == (0.0, 0.01)
    assert sound.span(21, 28) == (0.41, 0.57)
    ends = [sound.span(i, i) for i in range(50)]
    assert all(a[1] == b[0] for a, b in pairwise(ends))
    assert all(a <= float(x[:-2]) <= b for (a, b), x in zip(ends, sound.labels, strict=True))


def test_silence_has_no_end(sound):
    assert sound.heard(torch.zeros(40, 100)) == 1.0
    assert sound.heard(torch.randn(40, 100)) == 1.0


@torch.no_grad()
def test_what_it_writes_by_itself_is_its_likeliest_word_each_time(sound):
    model = whisper(eos_token_id=30)
    x = frames_of("small", sound, chirp(), RATE, None)
    found, ids = written_ids("small", model, x, None, None), [1]
    while ids[-1] != 30 and len(ids) < 16:
        logits = model(input_features=x, decoder_input_ids=torch.tensor([ids])).logits
        ids.append(int(logits[0, -1].argmax()))
    assert found == (ids[:-1] if ids[-1] == 30 else ids) and len(found) > 3
    ends = whisper(eos_token_id=found[3])
    stopped = written_ids("small", ends, x, None, None)
    assert stopped == found[: found.index(found[3])]


def test_a_text_becomes_ids_without_the_end(model):
    words = HuggingFaceTokenizer(tokenizer())
    assert written_ids("small", model, torch.zeros(0), "two one", words) == [1, 6, 5]


WRONG: dict[str, tuple[Any, Any, str]] = {
    "text": ("speech.wav", RATE, "audio must be samples, .* got a string"),
    "nothing": (None, RATE, "audio must be .* got NoneType without numbers"),
    "object": (object(), RATE, "audio must be .* got object without numbers"),
    "words": (["a", "b"], RATE, "audio must be .* got list without numbers"),
    "ragged": ([[1.0], [1.0, 2.0]], RATE, "audio must be .* got list without numbers"),
    "truth": (np.ones(9, bool), RATE, "without numbers"),
    "complex": (np.ones(9, complex), RATE, "without numbers"),
    "stereo": (np.zeros((2, 800)), RATE, r"2 channels; small takes one: give audio.mean\(0\)"),
    "stereo last": (np.zeros((800, 2)), RATE, r"2 channels; small takes one: give audio.mean\(1\)"),
    "batch": (np.zeros((2, 3, 800)), RATE, r"shape \[2, 3, 800\]; give one waveform"),
    "number": (np.float64(1), RATE, r"shape \[\]; give one waveform"),
    "empty": (np.zeros(0), RATE, "audio has no samples"),
    "16 bits": (np.zeros(800, np.int16), RATE, r"type int16: give audio / 32768"),
    "loud": (np.full(800, 2e4), RATE, "between −1 and 1 .* got 20000"),
    "NaN": (np.full(800, np.nan), RATE, "sample of audio must be .* got NaN"),
    "infinite": (
        np.full(800, np.inf),
        RATE,
        "sample of audio must be .* got samples that are not finite",
    ),
    "long": (np.zeros(RATE + 1), RATE, r"audio lasts 1.00 s, .* audio\[:16000\]"),
    "no rate": (chirp(), None, "sampling_rate must be the samples per second .* got None"),
    "rate of text": (
        chirp(),
        "16000",
        "sampling_rate must be the samples per second .* got '16000'",
    ),
    "rate": (
        chirp(),
        44100,
        r"must be 16,000 Hz for small, got 44100: .*resample_poly\(audio, 160, 441\)",
    ),
    "odd rate": (chirp(), 1.5, "sampling_rate must be .* got 1.5: resample the audio first"),
    "no number": (
        chirp(),
        float("nan"),
        "sampling_rate must be .* got nan: resample the audio first",
    ),
}


@pytest.mark.badinput
@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_wave(sound, what):
    audio, rate, said = WRONG[what]
    with pytest.raises(ValueError, match=said) as caught:
        frames_of("small", sound, audio, rate, None)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


@pytest.mark.badinput
def test_what_makes_no_frames(sound):
    with pytest.raises(ValueError, match=r"processor must be .* got str"):
        extractor_of("whisper", sound)
    with pytest.raises(
        ValueError, match=r"frames of 5 ms at 16,000 Hz, and Whisper needs .* of 10 ms"
    ):
        extractor_of(T.WhisperFeatureExtractor(hop_length=80), sound)
    with pytest.raises(ValueError, match="turn a waveform into frames, got Tok"):
        extractor_of(tokenizer(), sound)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one", "text='one' needs the tokenizer of small: give processor"),
        (" ", "needs the tokenizer"),
        (["one"], "text must be a string, .* got list"),
    ],
)
def test_a_text_needs_a_tokenizer(model, text, said):
    with pytest.raises(ValueError, match=said):
        written_ids("small", model, torch.zeros(0), text, None)


@pytest.mark.badinput
def test_what_can_write_nothing(sound):
    with pytest.raises(
        ValueError, match="text is empty; leave it out, and small transcribes the audio"
    ):
        written_ids("small", whisper(), torch.zeros(0), " ", HuggingFaceTokenizer(tokenizer()))
    x = frames_of("small", sound, chirp(), RATE, None)
    with pytest.raises(ValueError, match="WhisperModel has no head that predicts words"):
        written_ids("small", whisper(head=False), x, None, None)

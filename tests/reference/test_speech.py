"""Whisper: patterns of encoder, decoder and cross-attention against the model's own, the times of
positions, edits against hooks, and refusals."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.missing import package
from transformer_lab.adapters.speech import FRAME_SECONDS, HERTZ

T: Any = package("transformers")

BINS, FRAMES = 8, 20
SIZES: dict[str, Any] = dict(
    vocab_size=64,
    num_mel_bins=BINS,
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=48,
    decoder_ffn_dim=48,
    max_source_positions=FRAMES // 2,
    max_target_positions=16,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    decoder_start_token_id=1,
)
TIMES = [f"0.{2 * i:02} s" for i in range(10)]
WRITTEN = torch.tensor([[1, 5, 6, 9], [1, 7, 5, 5]])


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = T.WhisperForConditionalGeneration(T.WhisperConfig(**SIZES)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def sound(n=2, seed=0):
    return torch.randn(n, BINS, FRAMES, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_maps_and_logits_are_the_models_own(model, eager):
    x = sound()
    plain = model(input_features=x, decoder_input_ids=WRITTEN).logits
    own = eager(model, input_features=x, decoder_input_ids=WRITTEN)
    trace = tl.trace(model, input_features=x, target=WRITTEN)
    assert trace.kinds == ("encoder", "decoder", "cross") and trace.note is None
    for kind in trace.kinds:
        for layer in range(2):
            for batch in range(2):
                assert_close(
                    trace.pattern(layer, kind=kind, batch=batch),
                    own[f"{kind}_attentions"][layer][batch],
                    rtol=0,
                    atol=1e-5,
                )
    assert_close(trace.logits, plain, rtol=1e-5, atol=1e-5)
    stream = trace.residual("encoder", batch=1)["resid_pre"]
    assert_close(stream[1], own.encoder_hidden_states[1][1], rtol=1e-4, atol=1e-5)


def test_positions_are_named_by_their_time(model):
    trace = tl.trace(model, input_features=sound()[0], target=WRITTEN[0])
    assert trace.key_tokens("cross") == trace.query_tokens("encoder") == TIMES
    assert trace.query_tokens("cross") == trace.key_tokens("decoder") == ["1", "5", "6", "9"]
    words = ["<start>", "a", "b", "c"]
    named = tl.trace(model, input_features=sound()[0], target=WRITTEN[0], target_labels=words)
    assert named.query_tokens("cross") == words
    assert trace.predictions(-1, 1)[0][0] == str(int(trace.logits[0, -1].argmax()))


@torch.no_grad()
def test_a_position_is_when_it_is_said_to_be(model):
    """A click in one frame of 10 ms moves exactly the positions within 25 ms of it."""
    before = tl.trace(model, input_features=sound(1), target=WRITTEN[:1]).residual("encoder")
    for frame, nearest in ((8, [4]), (9, [4, 5])):
        x = sound(1)
        x[..., frame] += 3
        after = tl.trace(model, input_features=x, target=WRITTEN[:1]).residual("encoder")
        moved = (after["resid_pre"][0] - before["resid_pre"][0]).norm(dim=-1)
        times = torch.tensor([float(name.removesuffix(" s")) for name in TIMES])
        reach = (times - frame * FRAME_SECONDS).abs() < 0.025  # of the two convolutions
        assert torch.equal(moved > 1e-6, reach)
        assert [i for i in nearest if moved[i] > 1e-6] == nearest


def test_frames_are_as_far_apart_as_the_feature_extractor_makes_them():
    maker = T.WhisperFeatureExtractor()
    assert maker.hop_length / maker.sampling_rate == FRAME_SECONDS
    assert maker.sampling_rate == HERTZ


def without(model, path, head, x):
    """Logits with zeros in place of a head's input to W_O, by a hook."""

    def zero(module, args):
        z = args[0].clone()
        z[..., 8 * head : 8 * head + 8] = 0
        return (z,)

    handle = model.get_submodule(f"model.{path}.out_proj").register_forward_pre_hook(zero)
    try:
        return model(input_features=x, decoder_input_ids=WRITTEN[:1]).logits
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("encoder", "encoder.layers.1.self_attn"),
        ("decoder", "decoder.layers.1.self_attn"),
        ("cross", "decoder.layers.1.encoder_attn"),
    ],
)
@torch.no_grad()
def test_edits_and_sweeps_are_true(model, kind, path):
    x, read = sound(1), dict(input_features=sound(1), target=WRITTEN[:1])
    with tl.edit(model, tl.ablate(1, 2, kind=kind)):
        edited = model(input_features=x, decoder_input_ids=WRITTEN[:1]).logits
    assert_close(edited, without(model, path, 2, x), rtol=1e-5, atol=1e-5)
    clean = tl.trace(model, **read)
    with tl.edit(model, tl.knock_out(0, 1, query=3, key=2, kind=kind)):
        cut = tl.trace(model, **read).pattern(0, 1, kind=kind)[3]
    expected = clean.pattern(0, 1, kind=kind)[3].clone()
    expected[2] = 0
    assert_close(cut, expected / expected.sum())
    before = clean.logits[0, -1].log_softmax(-1)
    best = int(before.argmax())
    heads = tl.sweep_heads(model, kind=kind, **read)
    after = without(model, path, 2, x)[0, -1].log_softmax(-1)
    assert_close(heads.values[1, 2], after[best] - before[best], atol=1e-5, rtol=1e-4)
    edges = tl.sweep_edges(model, layer=0, head=1, query=3, kind=kind, **read)
    assert edges.labels["key"] == (["1", "5", "6", "9"] if kind == "decoder" else TIMES)
    with tl.edit(model, tl.knock_out(0, 1, query=3, key=2, kind=kind)):
        after = model(input_features=x, decoder_input_ids=WRITTEN[:1]).logits
    change = after[0, -1].log_softmax(-1)[best] - before[best]
    assert_close(edges.values[2], change, atol=1e-5, rtol=1e-4)


def test_what_the_stream_says(model):
    """The logit lens, the parts of a logit and of a score, and a head's mean."""
    given = dict(input_features=sound(1), target=WRITTEN[:1])
    trace = tl.trace(model, keep="all", **given)
    last = int(trace.logits[0, -1].argmax())
    assert int(tl.circuits.logit_lens(trace, k=1).tokens[-1, -1, 0]) == last
    parts = tl.circuits.logit_attribution(trace, last)  # raises if the parts do not sum
    assert parts.logit == pytest.approx(float(trace.logits[0, -1, last]), rel=1e-4, abs=1e-4)
    tl.circuits.score_by_source(trace, 1, 0, query=3, key=2)
    mean = tl.mean_of(model, [given])
    for kind in trace.kinds:
        assert_close(mean.means[kind][1], trace.activation("z", 1, kind=kind)[0].mean(1))


def test_gradients_of_cross_attention(model):
    trace = tl.trace(model, input_features=sound(1), target=WRITTEN[:1], gradients=5)
    found = trace.gradient("pattern", 0, 1, kind="cross")
    assert found.shape == (4, 10) and float(found.abs().max()) > 0


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no target": (
        dict(target=None),
        "needs target besides input_features: the ids .* begin with 1",
    ),
    "text": (dict(tokens=[1, 2]), "reads audio, not text: give input_features"),
    "nothing": (dict(input_features=None), r"reads audio: give input_features=\[batch, 8, 20\]"),
    "a wave": (
        dict(input_features=torch.zeros(16000)),
        r"log-mel frames .* 16,000 Hz .* has shape \[16000\]",
    ),
    "waves": (dict(input_features=torch.zeros(1, 16000)), "log-mel frames .*resample"),
    "bins": (dict(input_features=torch.zeros(1, 4, 20)), "4 mel bins; use its own feature"),
    "bins last": (dict(input_features=torch.zeros(1, 20, 8)), r"\.transpose\(1, 2\)"),
    "frames": (
        dict(input_features=torch.zeros(1, 8, 7)),
        r"must have 20 frames of 10 ms .*\(0.2 s\), got 7: pad",
    ),
    "whole": (dict(input_features=torch.zeros(1, 8, 20).short()), "reads floats .* has type int16"),
    "NaN": (dict(input_features=torch.full((1, 8, 20), torch.nan)), "must be finite, got NaN"),
    "infinite": (dict(input_features=torch.full((8, 20), -torch.inf)), "not finite"),
    "a file": (dict(input_features="speech.wav"), "must be a float tensor .* got str"),
    "rate": (dict(sampling_rate=8000), "takes no sampling_rate; it takes .*input_features"),
    "pixels": (dict(pixel_values=torch.zeros(1, 3, 8, 8)), "takes no pixel_values"),
    "vocabulary": (dict(target=[64]), "target holds 64, outside the vocabulary of 64"),
    "two texts": (
        dict(target=WRITTEN),
        "target and input_features must hold the same number of texts, got 2 and 1",
    ),
    "long": (dict(target=[1] * 17), r"no embedding for one of these .*\(17 tokens\)"),
}


@pytest.mark.badinput
@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_read(model, what):
    change, said = WRONG[what]
    given = dict(input_features=sound(1), target=WRITTEN[:1]) | change
    with pytest.raises(ValueError, match=said) as caught:
        tl.trace(model, **given)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


# -- other speech models ---------------------------------------------------------------------------

WIDE: dict[str, Any] = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48
)
WAVE: dict[str, Any] = dict(
    WIDE,
    conv_dim=(16, 16),
    conv_kernel=(8, 4),
    conv_stride=(4, 4),
    num_feat_extract_layers=2,
    num_conv_pos_embeddings=4,
    num_conv_pos_embedding_groups=2,
    vocab_size=9,
)
WRITES: dict[str, Any] = dict(vocab_size=64, pad_token_id=0, bos_token_id=1, eos_token_id=2)
TALKING: dict[str, Any] = dict(
    WRITES,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=48,
    decoder_ffn_dim=48,
    decoder_start_token_id=1,
)
# name -> (constructor, shape of the input)
OTHERS: dict[str, Any] = {
    "wav2vec2": (lambda: T.Wav2Vec2ForCTC(T.Wav2Vec2Config(**WAVE)), (2, 200)),
    "hubert": (lambda: T.HubertModel(T.HubertConfig(**WAVE)), (2, 200)),
    "sew": (lambda: T.SEWForCTC(T.SEWConfig(squeeze_factor=2, **WAVE)), (2, 200)),
    "wav2vec2-bert": (
        lambda: T.Wav2Vec2BertForCTC(
            T.Wav2Vec2BertConfig(feature_projection_input_dim=8, vocab_size=9, **WIDE)
        ),
        (2, 12, 8),
    ),
    "spectrogram": (
        lambda: T.ASTForAudioClassification(
            T.ASTConfig(max_length=24, num_mel_bins=16, num_labels=3, **WIDE)
        ),
        (2, 24, 16),
    ),
    "speech2text": (
        lambda: T.Speech2TextForConditionalGeneration(
            T.Speech2TextConfig(d_model=32, input_feat_per_channel=8, conv_channels=16, **TALKING)
        ),
        (2, 40, 8),
    ),
    "moonshine": (
        lambda: T.MoonshineForConditionalGeneration(
            T.MoonshineConfig(
                hidden_size=32,
                intermediate_size=48,
                encoder_num_hidden_layers=2,
                decoder_num_hidden_layers=2,
                encoder_num_attention_heads=4,
                decoder_num_attention_heads=4,
                decoder_start_token_id=1,
                **WRITES,
            )
        ),
        (2, 3000),
    ),
}


def heard(name):
    """A model and its input, under the model's own name for it."""
    torch.manual_seed(0)
    make, shape = OTHERS[name]
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model, {model.main_input_name: torch.randn(shape)}


@pytest.mark.parametrize("name", OTHERS)
@torch.no_grad()
def test_maps_and_edits_of_other_speech_are_the_models_own(name, eager):
    model, given = heard(name)
    both = model.config.is_encoder_decoder
    target = dict(decoder_input_ids=WRITTEN) if both else {}
    run = lambda: model(**given, **target)[0]  # noqa: E731
    plain, own = run(), eager(model, **given, **target)
    trace = tl.trace(model, target=WRITTEN if both else None, **given)
    names = {"encoder": "encoder_attentions" if both else "attentions"}
    names |= {kind: f"{kind}_attentions" for kind in ("decoder", "cross")}
    assert trace.kinds == (("encoder", "decoder", "cross") if both else ("encoder",))
    for kind in trace.kinds:
        assert trace.n_layers(kind) == 2
        for layer in range(2):
            for batch in range(2):
                found = trace.pattern(layer, kind=kind, batch=batch)
                assert_close(found, own[names[kind]][layer][batch], rtol=0, atol=1e-5)
    said = trace.answers if trace.logits is None else trace.logits
    if said is not None:
        assert_close(said, plain, rtol=1e-4, atol=1e-5)
    last = (".out_proj", ".o_proj", ".linear_out")
    found = [
        m
        for n, m in model.named_modules()
        if "layer" in n and "decoder." not in n and n.endswith(last)
    ]
    handle = found[1].register_forward_pre_hook(lambda _m, args: (_without(args[0], 2),))
    truth = run()
    handle.remove()
    with tl.edit(model, tl.ablate(1, 2, kind="encoder")):
        assert_close(run(), truth, rtol=1e-4, atol=1e-5)
    assert (truth - plain).abs().max() > 1e-4


def _without(z, head):
    z = z.clone()
    z[..., 8 * head : 8 * head + 8] = 0
    return z


@torch.no_grad()
def test_a_position_of_a_wave_is_when_it_is_said_to_be():
    """The last position's time is the end of the wave."""
    for name, step in (("hubert", 16), ("sew", 32)):
        model, given = heard(name)
        x = given["input_values"][:1]
        labels = tl.trace(model, input_values=x).query_tokens()
        assert float(labels[-1].split()[0]) == pytest.approx(len(labels) * step / HERTZ, abs=0.01)
    model, given = heard("wav2vec2-bert")
    trace = tl.trace(model, input_features=given["input_features"][0])
    assert trace.query_tokens()[:2] == ["position 0", "position 1"]


UNHEARD: dict[str, Any] = {
    "text": (
        "wav2vec2",
        dict(tokens=[1, 2]),
        r"reads audio, not text: give input_values=\[batch, samp",
    ),
    "nothing": ("wav2vec2", {}, "reads audio: give input_values=.*a waveform at 16,000 Hz"),
    "frames": (
        "wav2vec2",
        dict(input_values=torch.zeros(1, 5, 8)),
        r"Wav2Vec2.* has shape \[1, 5, 8\]",
    ),
    "bytes": (
        "wav2vec2",
        dict(input_values=torch.zeros(200).short()),
        "reads floats.* has type int16",
    ),
    "words": (
        "wav2vec2",
        dict(input_values="a.wav"),
        "reads input_values=.* input_values is a str",
    ),
    "NaN": (
        "wav2vec2",
        dict(input_values=torch.full((200,), torch.nan)),
        "must be finite, got NaN",
    ),
    "short": ("wav2vec2", dict(input_values=torch.zeros(3)), r"cannot read .*shape \[1, 3\] \("),
    "no target": (
        "speech2text",
        dict(input_features=torch.zeros(40, 8)),
        "needs target besides input_f",
    ),
    "bins": (
        "speech2text",
        dict(input_features=torch.zeros(40, 9), target=[1]),
        "cannot read input_f",
    ),
}


@pytest.mark.badinput
@pytest.mark.parametrize("what", UNHEARD)
def test_what_other_speech_does_not_read(what):
    name, given, said = UNHEARD[what]
    with pytest.raises(ValueError, match=said) as caught:
        tl.trace(heard(name)[0], **given)
    assert "\n" not in str(caught.value)

"""The logit lens and direct logit attribution, against the models' own logits."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small
from transformer_lab.analysis.circuits import logit_attribution, logit_lens, unembedding
from transformer_lab.tracing.trace import TraceError

build = partial(small, noise=0.1, n_layers=3)


def traced(kind="decoder", **options):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 50, (2, 7), generator=generator)
    target = torch.randint(1, 50, (2, 5), generator=generator) if "-" in kind else None
    return tl.trace(build(kind, **options), tokens, target)


OURS = {
    "plain": dict(),
    "modern": dict(norm="rms", logit_softcap=3.0, tie_head=False, norm_affine=False),
    "bert": dict(kind="encoder", norm_first=False, head_transform=True, head_bias=True),
    "both": dict(kind="encoder-decoder", positions=tl.Sinusoidal()),
}


@pytest.mark.parametrize("options", OURS.values(), ids=OURS)
def test_the_last_row_is_the_models_own(options):
    trace = traced(**options)
    kind = "decoder" if "decoder" in trace.kinds else "encoder"
    read = unembedding(trace)
    for batch in (0, 1):
        last = trace.residual(kind, batch)["resid_post"][-1]
        assert_close(read(last), trace.logits[batch], rtol=0, atol=1e-5)
        lens = logit_lens(trace, batch=batch)
        own = trace.logits[batch].softmax(-1)
        assert_close(lens.probabilities[-1], own.topk(5).values, rtol=0, atol=1e-6)
        assert torch.equal(lens.answer, own.argmax(-1))
        assert torch.equal(lens.tokens[-1, :, 0], lens.answer)
        assert not lens.answer_rank[-1].any()
        assert lens.tokens.shape == (4, own.shape[0], 5)
        assert (lens.answer_probability[0] - lens.answer_probability[-1]).abs().max() > 0.01


def test_rows_are_the_stream_after_each_block_read_by_the_final_norm_and_head():
    trace = traced()
    model = trace.model
    lens = logit_lens(trace, k=3, answer=7, positions=[6, 2], batch=1)
    streams = trace.residual(batch=1)
    streams = torch.cat((streams["resid_pre"][:1], streams["resid_post"]))[:, [6, 2]]
    with torch.no_grad():
        expected = model.head(model.decoder.norm(streams)).softmax(-1)
    assert_close(lens.probabilities, expected.topk(3).values)
    assert_close(lens.answer_probability, expected[..., 7])
    assert torch.equal(lens.answer_rank, (expected > expected[..., 7:8]).sum(-1))
    assert lens.top(2, 1)[0][0] == str(int(expected[2, 1].argmax()))


def test_when_an_answer_has_settled():
    trace = tl.shipped("manual").trace("for key in self.keys:\n    if key not in self.")
    lens = logit_lens(trace, positions=[14])
    assert lens.name(int(lens.answer[0])) == "key"
    row = lens.settled(0)
    assert (lens.answer_rank[row:, 0] == 0).all()
    assert lens.answer_rank[row - 1, 0] > 0


def test_long_vocabularies_are_read_in_pieces(monkeypatch):
    trace = traced()
    whole = logit_lens(trace)
    monkeypatch.setattr("transformer_lab.analysis.circuits.lens.CHUNK_MIB", 0)
    assert_close(logit_lens(trace).probabilities, whole.probabilities)


HUGGING_FACE = [
    "gpt2",
    "llama",
    "gemma2",
    "opt",
    "gpt-neox",
    "bert",
    "bert-pretraining",
    "roberta",
    "distilbert",
    "electra",
    "albert",
    "marian",
    "bart",
    "t5",
]


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_hugging_face_models_are_read_with_no_name_known(name, tiny):
    model = tiny(name)
    both = model.config.is_encoder_decoder
    tokens, target = torch.arange(3, 11), torch.arange(4, 9) if both else None
    trace = tl.trace(model, tokens, target)
    lens = logit_lens(trace)
    own = trace.logits[0].softmax(-1)
    assert_close(lens.probabilities[-1], own.topk(5).values, rtol=0, atol=1e-5)
    assert lens.tokens.shape[0] == trace.n_layers() + 1
    assert (lens.answer_probability[0] - lens.answer_probability[-1]).abs().max() > 1e-4
    with torch.no_grad():  # no hooks remain
        again = tl.trace(model, tokens, target)
    assert torch.equal(again.logits, trace.logits)


def test_what_has_no_lens_says_why():
    with pytest.raises(TraceError, match="no head that predicts"):
        logit_lens(tl.trace(build(head=False), torch.arange(6)))
    with pytest.raises(TraceError, match="keep='all'"):
        logit_lens(tl.trace(build(), torch.arange(6), keep="maps"))
    trace = traced()
    with pytest.raises(ValueError, match=r"answer=50 is outside the 50 tokens"):
        logit_lens(trace, answer=50)
    with pytest.raises(ValueError, match=r"positions must be some of the 7 .* got \[7\]"):
        logit_lens(trace, positions=[7])
    with torch.no_grad():
        trace.model.head.weight.mul_(1.5)
    with pytest.raises(TraceError, match="weights have changed"):
        logit_lens(trace)


ATTRIBUTED = {
    "plain": dict(positions=tl.Learned(), head_bias=True),
    "rms": dict(norm="rms", tie_head=False, n_kv_heads=2),
    "modern": dict(norm="rms", norm_affine=False, embedding_norm=True, qk_norm=True, bias=False),
    "attention-only": dict(attention_only=True, positions=tl.NoPositions()),
    "encoder": dict(kind="encoder", positions=tl.Sinusoidal()),
    "both": dict(kind="encoder-decoder", positions=tl.Sinusoidal()),
    "alibi": dict(positions=tl.ALiBi()),
    "norm-last": dict(norm_first=False, head_bias=True),
    "norm-last-both": dict(kind="encoder-decoder", norm_first=False, norm="rms"),
}


@pytest.mark.parametrize("options", ATTRIBUTED.values(), ids=ATTRIBUTED)
def test_attributions_sum_to_the_logit(options):
    trace = traced(**options)
    for batch, token, position in ((0, 9, 4), (1, None, -1)):
        found = logit_attribution(trace, token, position, batch=batch)
        assert found.logit == pytest.approx(
            float(trace.logits[batch, position, found.token]), abs=1e-4
        )
        assert found.model_logit == pytest.approx(found.logit, abs=1e-4)
        names = [s.name for s in found.sources]
        assert len(set(names)) == len(names) == len(found.values)
        assert {"token embedding", "biases", "layer 2, head 3"} <= set(names)
        assert ("layer 1, MLP" in names) == (not trace.model.config.attention_only)
        assert found.ranked(1)[0][1] == pytest.approx(
            float(found.values[found.values.abs().argmax()])
        )
        apart = logit_attribution(trace, found.token, position, against=3, batch=batch)
        other = logit_attribution(trace, 3, position, batch=batch)
        assert_close(apart.values, found.values - other.values, rtol=0, atol=1e-4)
    assert found.token == int(trace.logits[1, -1].argmax())


def test_a_heads_part_is_what_its_output_adds():
    """Compare with the head's z through W_O, the norm's scale and the unembedding."""
    trace = traced(attention_only=True)
    model, position = trace.model, 4
    found = logit_attribution(trace, 9, position)
    at = [s.name for s in found.sources].index("layer 1, head 2")
    call = trace.call(1, kind="decoder")
    z = trace.pattern(1, 2)[position] @ call.value[0, 2]
    added = z @ model.decoder.blocks[1].attention.out.weight[:, 16:24].T
    x = trace.residual()["resid_post"][-1, position]
    norm = model.decoder.norm
    scaled = (added - added.mean()) / (x.var(correction=0) + norm.eps).sqrt() * norm.weight
    assert float(found.values[at]) == pytest.approx(
        float(scaled.detach() @ model.head.weight[9].detach()), abs=1e-5
    )


def test_a_softcap_squeezes_the_sum():
    trace = traced(logit_softcap=3.0, tie_head=False)
    found = logit_attribution(trace, 9, 4)
    own = float(trace.logits[0, 4, 9])
    assert found.softcap == 3.0
    assert found.model_logit == pytest.approx(own)
    assert 3 * float(torch.tensor(found.logit / 3).tanh()) == pytest.approx(own, abs=1e-4)
    assert abs(found.logit) > abs(own)


def test_logits_that_are_no_sum_are_refused_with_the_reason():
    for options, message in (
        (dict(head_transform=True), "more than norms and linear layers"),
        (OURS["bert"], "more than norms and linear layers"),
    ):
        with pytest.raises(ValueError, match=message):
            logit_attribution(traced(**options))
    with pytest.raises(TraceError, match="no head that predicts"):
        logit_attribution(traced(head=False))
    with pytest.raises(ValueError, match=r"token=50 is outside"):
        logit_attribution(traced(), 50)
    with pytest.raises(ValueError, match=r"position=7 is outside the 7 tokens"):
        logit_attribution(traced(), 5, 7)

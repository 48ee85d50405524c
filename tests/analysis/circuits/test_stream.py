"""The residual stream as the sum of everything written to it."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small
from tests.missing import package
from transformer_lab.analysis.circuits import block_share, score_by_source, stream_norms
from transformer_lab.analysis.circuits.sources import parts_of
from transformer_lab.tracing.trace import TraceError

build = partial(small, noise=0.1, n_layers=3)


def traced(kind="decoder", padded=True, **options):
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 5:] = not padded
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 50, (2, 7), generator=generator)
    target = torch.randint(1, 50, (2, 5), generator=generator) if "-" in kind else None
    return tl.trace(build(kind, **options), tokens, target, mask=mask)


def test_norms_are_of_the_stream_before_and_after_every_block():
    trace = traced("encoder-decoder")
    for kind, tokens in (("encoder", 7), ("decoder", 5)):
        norms = stream_norms(trace, kind=kind, batch=1)
        streams = trace.residual(kind, 1)
        assert norms.shape == (4, tokens)
        assert_close(norms[0], streams["resid_pre"][0].norm(dim=-1))
        assert_close(norms[1:], streams["resid_post"].norm(dim=-1))
    assert_close(stream_norms(trace, kind="cross"), stream_norms(trace, kind="decoder"))


@pytest.mark.parametrize("kind", ["decoder", "encoder", "encoder-decoder"])
def test_before_plus_parts_is_after(kind):
    trace = traced(kind)
    for name in set(trace.kinds) - {"cross"}:
        s = trace.residual(name)
        added = sum(s[part] for part in ("attn_out", "cross_out", "mlp_out") if part in s)
        assert_close(s["resid_pre"] + added, s["resid_post"], rtol=0, atol=1e-5)
        assert added.abs().max() > 0.1


@pytest.mark.parametrize("norm_first", [True, False])
def test_shares_and_cosines_are_of_the_stream_that_is_added_to(norm_first):
    trace = traced("encoder-decoder", norm_first=norm_first)
    found = block_share(trace, kind="decoder")
    assert found.parts == ("attention", "cross-attention", "MLP")
    assert not found.note
    s = trace.residual("decoder")
    # Cross-attention is added to the stream after self-attention; the MLP to the middle of the
    # block.
    middle = s["resid_pre"] + s["attn_out"]
    if not norm_first:
        blocks = trace.model.decoder.blocks
        with torch.no_grad():
            middle = torch.stack([b.norm1(x) for b, x in zip(blocks, middle, strict=True)])
    pairs = (
        (s["attn_out"], s["resid_pre"]),
        (s["cross_out"], middle),
        (s["mlp_out"], s["resid_mid"]),
    )
    for part, (added, stream) in enumerate(pairs):
        assert_close(found.norm[part], added.norm(dim=-1))
        assert_close(found.share[part], added.norm(dim=-1) / stream.norm(dim=-1))
        dot = (added * stream).sum(-1) / (added.norm(dim=-1) * stream.norm(dim=-1))
        assert_close(found.cosine[part], dot, rtol=0, atol=1e-5)
    assert found.cosine.abs().max() <= 1.0001


def test_an_attention_only_model_has_one_part():
    found = block_share(traced(attention_only=True))
    assert found.parts == ("attention",)


def test_a_trace_of_norms_only_says_what_to_do():
    trace = tl.trace(build(), torch.arange(6), keep="maps")
    assert stream_norms(trace).shape == (4, 6)
    with pytest.raises(TraceError, match="keep='all'"):
        block_share(trace)


def test_of_hugging_face_models_only_the_whole_block_is_known():
    transformers = package("transformers")
    config = transformers.GPT2Config(n_layer=3, n_head=4, n_embd=32, vocab_size=100)
    trace = tl.trace(transformers.GPT2LMHeadModel(config).eval(), torch.arange(6))
    found = block_share(trace)
    assert found.parts == ("block",)
    assert "attention and MLP are counted together" in found.note
    s = trace.residual()
    assert_close(found.norm[0], (s["resid_post"] - s["resid_pre"]).norm(dim=-1))


OPTIONS = {
    "learned": dict(positions=tl.Learned(), token_types=2),
    "sinusoidal-rms": dict(positions=tl.Sinusoidal(), norm="rms", n_kv_heads=2),
    "modern": dict(
        positions=tl.Rotary(),
        norm="rms",
        norm_affine=False,
        embedding_norm=True,
        qk_norm=True,
        activation="relu2",
        bias=False,
    ),
    "embedding-norm": dict(positions=tl.Learned(), embedding_norm=True),
    "attention-only": dict(attention_only=True, positions=tl.NoPositions()),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", ["decoder", "encoder", "encoder-decoder"])
def test_sources_add_up_to_the_keys_of_every_layer(kind, options):
    trace = traced(kind, **options)
    parts, rows = parts_of(trace, 1), [4, 1]
    for site in set(trace.kinds) - {"cross"}:
        for layer in range(3):
            call = trace.call(layer, kind=site)
            sources, values = parts.of_head(site, layer, 3, "key", rows)
            key = call.key[1, 3 // (4 // call.key.shape[1]), rows]
            assert_close(values.sum(0), key, rtol=0, atol=2e-5)
            names = [source.name for source in sources]
            assert len(set(names)) == len(names) and names[-1] == "biases"
            assert ("layer 0, head 3" in names) == (layer > 0)


def test_parts_that_do_not_add_up_are_refused():
    trace = traced()
    with torch.no_grad():
        trace.model.embedding.weight[:, :9].add_(1)
    with pytest.raises(TraceError, match="weights have changed"):
        score_by_source(trace, 1, 0, 3, 2)
    model = build()
    with tl.edit(model, tl.ablate(layer=0, head=1)):
        edited = tl.trace(model, torch.arange(6))
    with pytest.raises(TraceError, match="traced under edits"):
        score_by_source(edited, 2, 0, 3, 2)

"""The Transformer: masking, padding, parameter counts, taps and compilation."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small
from transformer_lab import ALiBi, Learned, ModelConfig, NoPositions, Rotary, Sinusoidal, Tap
from transformer_lab.attention import Attention
from transformer_lab.blocks import Block

SCHEMES = [Rotary(), Sinusoidal(), Learned(), ALiBi(), NoPositions()]
EACH_SCHEME = pytest.mark.parametrize("positions", SCHEMES, ids=lambda p: p.name)


build = partial(small, noise=0.05, n_ctx=32)


def tokens(*shape, seed=0):
    return torch.randint(1, 50, shape, generator=torch.Generator().manual_seed(seed))


@EACH_SCHEME
@torch.no_grad()
def test_a_decoder_does_not_see_what_comes_later(positions):
    model, text = build(positions=positions), tokens(1, 9)
    changed = text.clone()
    changed[0, 5:] = (changed[0, 5:] + 7) % 50
    before, after = model(text), model(changed)
    assert_close(before[:, :5], after[:, :5], rtol=0, atol=1e-6)
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@EACH_SCHEME
@torch.no_grad()
def test_an_encoder_sees_both_ways(positions):
    model, text = build("encoder", positions=positions), tokens(1, 9)
    changed = text.clone()
    changed[0, 8] = (changed[0, 8] + 7) % 50
    assert not torch.allclose(model(text)[:, 0], model(changed)[:, 0])


@torch.no_grad()
def test_the_decoder_of_two_sees_the_source_and_its_own_past():
    model, source, target = build("encoder-decoder"), tokens(1, 7), tokens(1, 5, seed=1)
    before = model(source, target)
    changed = target.clone()
    changed[0, 3] = (changed[0, 3] + 7) % 50
    assert_close(model(source, changed)[:, :3], before[:, :3], rtol=0, atol=1e-6)
    other = source.clone()
    other[0, 6] = (other[0, 6] + 7) % 50
    assert not torch.allclose(model(other, target)[:, 0], before[:, 0])


@pytest.mark.parametrize("kind", ["decoder", "encoder", "encoder-decoder"])
@EACH_SCHEME
@torch.no_grad()
def test_padding_on_either_side_is_no_padding(kind, positions):
    model, text = build(kind, positions=positions), tokens(1, 6)
    target = tokens(1, 5, seed=1) if kind == "encoder-decoder" else None
    alone = model(text, target)
    filler = torch.full((1, 3), 49)
    for left in (True, False):
        padded = torch.cat((filler, text) if left else (text, filler), 1)
        mask = padded != 49
        mask[:, slice(3, None) if left else slice(0, 6)] = True
        out = model(padded, target, mask=mask)
        if target is None:
            out = out[:, 3:] if left else out[:, :6]
        assert_close(out, alone, rtol=0, atol=2e-6)


@torch.no_grad()
def test_a_padded_target_is_a_shorter_target():
    model, source, target = build("encoder-decoder"), tokens(1, 6), tokens(1, 5, seed=1)
    padded = torch.cat((torch.full((1, 2), 49), target), 1)
    mask = torch.tensor([[False] * 2 + [True] * 5])
    out = model(source, padded, target_mask=mask)[:, 2:]
    assert_close(out, model(source, target), rtol=0, atol=2e-6)


@torch.no_grad()
def test_without_positions_an_encoder_is_equivariant_to_order():
    model, text = build("encoder", positions=NoPositions()), tokens(1, 8)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    assert_close(model(text[:, order]), model(text)[:, order], rtol=0, atol=1e-6)
    model = build("encoder")
    assert not torch.allclose(model(text[:, order]), model(text)[:, order])


def test_a_tied_head_is_the_embedding_and_counts_once():
    tied, untied = build(), build(tie_head=False)
    assert tied.head.weight is tied.embedding.weight
    assert untied.n_parameters() - tied.n_parameters() == 50 * 32


def test_a_model_without_a_head_gives_hidden_states():
    model, text = build("encoder", head=False), tokens(1, 5)
    assert torch.equal(model(text), model.hidden(text))
    with pytest.raises(ValueError, match="built with head=False"):
        model.logits(model(text))


@torch.no_grad()
def test_the_logit_softcap_is_its_formula():
    model, text = build(), tokens(1, 5)
    logits = model(text)
    model.config = model.config.replace(logit_softcap=0.1)
    assert_close(model(text), 0.1 * torch.tanh(logits / 0.1))


@torch.no_grad()
def test_zero_init_starts_as_the_identity():
    torch.manual_seed(0)
    model = tl.Transformer(ModelConfig.modern(vocab_size=50, d_model=32, n_layers=2))
    assert not model(tokens(1, 5)).any()
    stream = tl.trace(model.eval(), tokens(1, 5)).residual()
    assert torch.equal(stream["resid_pre"][0], stream["resid_post"][1])


def paper_count(vocab, d, d_ff, n=6):
    """Vaswani et al. 2017, counted by hand: attention has 4 matrices with biases, feed-forward 2,
    every sublayer a LayerNorm; source, target and head share the embedding."""
    attention, feed_forward, norm = 4 * (d * d + d), 2 * d * d_ff + d_ff + d, 2 * d
    return vocab * d + n * (3 * attention + 2 * feed_forward + 5 * norm)


@pytest.mark.parametrize(
    ("config", "stated", "within"),
    [(ModelConfig.paper_base(), 65e6, 0.03), (ModelConfig.paper_big(), 213e6, 0.01)],
    ids=["base", "big"],
)
def test_the_papers_models_have_the_papers_size(config, stated, within):
    """All trained parameters count: the shared embedding once, positions not at all. The paper
    gives the vocabulary as "about 37,000" and rounds, so its counts are met to 3 % and 1 %."""
    with torch.device("meta"):
        count = tl.Transformer(config).n_parameters()
    assert count == paper_count(config.vocab_size, config.d_model, config.d_ff)
    assert abs(count / stated - 1) < within


# -- taps ------------------------------------------------------------------------------------------


class Count(Tap):
    def __init__(self):
        self.sites, self.streams = [], []

    def on_attention(self, call):
        self.sites.append((call.site.kind, call.site.layer))
        return call

    def on_stream(self, name, site, x):
        self.streams.append(name)
        return x


def test_a_tap_sees_every_site_once():
    model, tap = build("encoder-decoder"), Count()
    model.add_tap(tap)
    model(tokens(1, 6), tokens(1, 4))
    model.remove_tap(tap)
    assert sorted(tap.sites) == [(k, i) for k in ("cross", "decoder", "encoder") for i in (0, 1)]
    assert tap.streams.count("resid_post") == 4
    model(tokens(1, 6), tokens(1, 4))
    assert len(tap.sites) == 6


@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder"])
def test_taps_survive_compilation(kind):
    """Forward hooks registered after torch.compile are never called; a tap must be."""
    torch._dynamo.reset()
    model, text = build(kind, n_layers=1), tokens(2, 6)
    target = tokens(2, 4, seed=1) if kind == "encoder-decoder" else None
    expected = tl.trace(model, text, target)
    compiled = torch.compile(model, backend="eager")  # captures graphs, needs no compiler
    with torch.no_grad():
        assert_close(compiled(text, target), expected.logits, rtol=0, atol=1e-6)
        tap = Count()
        model.add_tap(tap)
        assert_close(compiled(text, target), expected.logits, rtol=0, atol=1e-6)
        model.remove_tap(tap)
        assert len(tap.sites) == (1 if target is None else 3)
        with tl.edit(compiled, tl.ablate(0, 1)):
            edited = compiled(text, target)
        with tl.edit(model, tl.ablate(0, 1)):
            assert_close(edited, model(text, target), rtol=0, atol=1e-6)
        assert not torch.allclose(edited, expected.logits)
        assert_close(compiled(text, target), expected.logits, rtol=0, atol=1e-6)
    trace = tl.trace(compiled, text, target)
    for kind in expected.kinds:
        maps = [t.pattern(0, kind=kind) for t in (trace, expected)]
        assert_close(*maps, rtol=0, atol=1e-6)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("kind", "inputs", "words"),
    [
        ("decoder", (tokens(1, 33),), ["33 tokens", "n_ctx=32"]),
        ("decoder", (tokens(6),), ["tokens", "[6]", "ids[None]"]),
        ("decoder", (torch.zeros(1, 4),), ["tokens", "float", "whole numbers"]),
        ("decoder", (tokens(1, 0),), ["tokens", "empty"]),
        ("decoder", (tokens(1, 4), tokens(1, 4)), ["'decoder'", "no target"]),
        ("encoder-decoder", (tokens(1, 4),), ["target"]),
        ("encoder-decoder", (tokens(1, 4), tokens(4)), ["target", "[4]"]),
    ],
)
def test_inputs_that_do_not_fit_are_named(kind, inputs, words):
    with pytest.raises(ValueError, match=r".+") as error:
        build(kind)(*inputs)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.badinput
def test_a_mask_that_does_not_fit_is_named():
    with pytest.raises(
        ValueError, match=r"mask of tokens must be bool \[1, 4\].*got torch.bool \[1, 5\]"
    ):
        build()(tokens(1, 4), mask=torch.ones(1, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"mask of tokens .*True for real.*float32"):
        build()(tokens(1, 4), mask=torch.ones(1, 4))
    with pytest.raises(ValueError, match="no encoder"):
        build().encode(tokens(1, 4))


@pytest.mark.badinput
def test_a_device_that_is_not_here_lists_those_that_are():
    assert tl.pick_device("cpu") == torch.device("cpu")
    assert tl.pick_device().type in ("cpu", "cuda", "mps")
    with pytest.raises(ValueError, match=r"auto, .*cpu on this machine, got 'tpu'"):
        tl.pick_device("tpu")


@pytest.mark.parametrize("kind", ["encoder", "decoder", "encoder-decoder"])
def test_taps_are_hung_on_every_attention_and_block_there_is(kind):
    model = tl.Transformer(
        tl.ModelConfig(vocab_size=9, kind=kind, n_layers=2, d_model=8, n_heads=2)
    )
    every = [m for m in model.modules() if isinstance(m, Attention | Block)]
    assert [*map(id, model.tapped())] == [*map(id, every)]

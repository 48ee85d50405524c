"""What heads add to logits, against W_O, the frozen norm and the unembedding by hand."""

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small
from tests.missing import package
from transformer_lab.analysis.circuits import head_lens

TEXT = torch.tensor([5, 9, 12, 6, 7, 3])


def gpt2():
    T = package("transformers")
    torch.manual_seed(0)
    model = T.GPT2LMHeadModel(
        T.GPT2Config(vocab_size=50, n_layer=2, n_head=4, n_embd=32, n_positions=16)
    )
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def ends(model):
    """W_O [layer, head · d_head, d_model], the final norm and the unembedding."""
    if hasattr(model, "decoder"):
        blocks = model.decoder.blocks
        return [b.attention.out.weight.T for b in blocks], model.decoder.norm, model.head.weight
    blocks = model.transformer.h
    return [b.attn.c_proj.weight for b in blocks], model.transformer.ln_f, model.lm_head.weight


@pytest.mark.parametrize("make", [lambda: small(noise=0.2), gpt2])
@torch.no_grad()
def test_a_heads_value_is_its_output_through_the_norm_as_it_was(make):
    model = make()
    trace = tl.trace(model, TEXT, keep="all")
    lens = head_lens(trace, [4, 8], position=3)
    outs, norm, unembed = ends(model)
    stream = trace.residual()["resid_post"][-1, 3]
    scale = (stream.var(correction=0) + norm.eps).rsqrt()
    for layer, head in ((0, 1), (1, 3)):
        z = trace.activation("z", layer)[0, head, 3]
        wrote = z @ outs[layer][8 * head : 8 * head + 8]
        by_hand = unembed[[4, 8]] @ ((wrote - wrote.mean()) * scale * norm.weight)
        assert_close(lens.values[layer, head], by_hand, rtol=1e-4, atol=1e-5)
    assert lens.position == 3 and lens.values.shape == (2, 4, 2)
    assert_close(lens.values.sum((0, 1)) + lens.rest, lens.logits, rtol=0, atol=1e-4)
    assert_close(lens.logits, trace.logits[0, 3, [4, 8]], rtol=0, atol=1e-4)
    assert_close(lens.of(4, 8), lens.values[..., 0] - lens.values[..., 1])
    best = lens.top(4, 1)[0]
    assert best[2] == float(lens.values[best[0], best[1], 0])
    assert abs(best[2]) == float(lens.values[..., 0].abs().max())


def test_the_likeliest_are_asked_by_default_and_cross_attention_by_its_name():
    trace = tl.trace(small(noise=0.2), TEXT)
    assert list(head_lens(trace, k=2).tokens) == trace.logits[0, -1].topk(2).indices.tolist()
    both = tl.trace(small("encoder-decoder", noise=0.2), TEXT, TEXT[:4])
    own, cross = head_lens(both, 7), head_lens(both, 7, kind="cross")
    assert not torch.equal(own.values, cross.values) and not cross.values.isnan().any()
    total = own.rest - cross.values.sum((0, 1))
    assert_close(total, cross.rest - own.values.sum((0, 1)), rtol=1e-4, atol=1e-4)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(tokens=[]), "tokens must hold at least one token id, got \\[\\]"),
        (dict(tokens=99), "token=99 is outside the 50"),
        (dict(tokens=4, position=9), "position=9"),
        (dict(position=9), "position=9 is outside the 6"),
        (dict(tokens=4, kind="cross"), "kind='cross'"),
    ],
)
def test_what_is_not_there_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        head_lens(tl.trace(small(), TEXT), **options)
    with pytest.raises(ValueError, match=r"token must be one of .* got 3"):
        head_lens(tl.trace(small(), TEXT), 4).of(3)

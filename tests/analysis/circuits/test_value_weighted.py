"""Value-weighted vectors sum to the attention layer's output without its bias."""

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import maps_only
from tests.missing import package
from transformer_lab.analysis import circuits
from transformer_lab.tracing.trace import TraceError

TOKENS = torch.tensor([[3, 7, 1, 3, 9, 2], [4, 4, 0, 2, 8, 8]])


def noisy(model):
    for p in model.parameters():
        p.data += 0.2 * torch.randn_like(p)
    return model.eval()


def ours(**fields):
    torch.manual_seed(0)
    return noisy(tl.Transformer(tl.ModelConfig(vocab_size=20, n_layers=2, d_model=32, **fields)))


@pytest.mark.parametrize(
    "fields",
    [{}, dict(kind="encoder", norm_first=False), dict(n_kv_heads=2), dict(positions="alibi")],
)
def test_they_sum_to_our_layers_output_less_its_bias(fields):
    model = ours(**fields)
    trace = tl.trace(model, TOKENS)
    blocks = (model.decoder or model.encoder).blocks
    for layer, block in enumerate(blocks):
        expected = trace.residual(batch=1)["attn_out"][layer] - block.attention.out.bias
        vectors = [circuits.contributions(trace, layer, q, batch=1) for q in range(6)]
        assert_close(torch.stack(vectors).sum((1, 2)), expected, rtol=1e-5, atol=1e-5)
        norms = torch.stack(vectors).norm(dim=-1).transpose(0, 1)
        found = circuits.value_weighted_norms(trace, layer, batch=1)
        assert_close(found, norms, rtol=1e-4, atol=1e-5)
        assert_close(
            circuits.value_weighted_norms(trace, layer, 1, batch=1), norms[1], rtol=1e-4, atol=1e-5
        )
        assert_close(circuits.layer_output(trace, layer, batch=1), expected, rtol=1e-5, atol=1e-5)
        by_head = circuits.layer_output(trace, layer, batch=1, by_head=True)
        assert_close(by_head.sum(0), expected, rtol=1e-5, atol=1e-5)
        assert_close(by_head[2], torch.stack(vectors)[:, 2].sum(1), rtol=1e-5, atol=1e-5)


def test_across_an_encoder_decoder():
    model = ours(kind="encoder-decoder")
    trace = tl.trace(model, TOKENS, TOKENS[:, :4])
    for layer, block in enumerate(model.decoder.blocks):
        expected = trace.residual("cross")["cross_out"][layer] - block.cross.out.bias
        found = circuits.contributions(trace, layer, 3, kind="cross")
        assert found.shape == (4, 6, 32)
        assert_close(found.sum((0, 1)), expected[3], rtol=1e-5, atol=1e-5)


def test_they_sum_to_a_hugging_face_layers_output_less_its_bias():
    transformers = package("transformers")
    torch.manual_seed(0)
    gpt2 = transformers.GPT2Config(n_layer=2, n_head=4, n_embd=32, vocab_size=20)
    llama = transformers.LlamaConfig(
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=32,
        intermediate_size=48,
        vocab_size=20,
    )
    for model, path, name in (
        (transformers.GPT2LMHeadModel(gpt2), "transformer.h.1.attn", "c_proj"),
        (transformers.LlamaForCausalLM(llama), "model.layers.1.self_attn", "o_proj"),
    ):
        noisy(model)
        attention, seen = model.get_submodule(path), []
        hook = attention.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out[0]))
        trace = tl.trace(model, TOKENS)
        hook.remove()
        bias = getattr(attention, name).bias
        expected = seen[0][0] if bias is None else seen[0][0] - bias
        assert_close(circuits.layer_output(trace, 1), expected, rtol=1e-4, atol=1e-5)
        one = circuits.contributions(trace, 1, 4)
        assert_close(one.sum((0, 1)), expected[4], rtol=1e-4, atol=1e-5)
        row = circuits.value_weighted_norms(trace, 1)[:, 4]
        assert_close(one.norm(dim=-1), row, rtol=1e-4, atol=1e-5)


@pytest.mark.badinput
def test_a_model_that_gives_maps_only_says_so():
    trace = maps_only()
    with pytest.raises(TraceError, match="maps only"):
        circuits.value_weighted_norms(trace, 0)
    with pytest.raises(TraceError, match="maps only"):
        circuits.contributions(trace, 0, 0)


@pytest.mark.badinput
def test_bad_input():
    model = ours()
    trace = tl.trace(model, TOKENS, keep="maps")
    with pytest.raises(TraceError, match="keep='all'"):
        circuits.contributions(trace, 0, 0)
    trace = tl.trace(model, TOKENS)
    with pytest.raises(ValueError, match=r"query=6 is outside the 6 tokens"):
        circuits.contributions(trace, 0, 6)
    trace.budget_mib = 0.001
    with pytest.raises(tl.MemoryBudgetError):
        circuits.contributions(trace, 0, 3)
    trace.budget_mib = 1024
    with torch.no_grad():
        model.decoder.blocks[0].attention.out.weight.add_(1)
    with pytest.raises(TraceError, match="weights have changed"):
        circuits.contributions(trace, 0, 3)

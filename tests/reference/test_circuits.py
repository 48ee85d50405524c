"""Circuits of Hugging Face models, against their own scores and against the same weights in
ours."""

import re

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.missing import package
from tests.reference.test_parts import of
from transformer_lab.adapters.sources import PartsError
from transformer_lab.analysis import circuits

T = package("transformers")
TOKENS = torch.tensor([[5, 6, 7, 8, 9, 5, 6]])
SCORED = [
    "llama",
    "qwen3",
    "gpt-neox",
    "gemma2",
    "phi3",
    "cohere",
    "olmo2",
    "granite",
    "mixtral",
    "deepseek-v3",
    "gpt-neox-sequential",
    "gemma3",
]


@pytest.mark.parametrize("name", SCORED)
def test_layer_0_scores_every_pair_as_the_circuit_says(name, tiny):
    model = of(tiny, name)
    trace, ids = tl.trace(model, TOKENS), TOKENS[0].tolist()
    call = trace.call(0)
    for head in (0, 3):
        group = call.n_heads // call.key.shape[1]
        raw = call.query[0, head] @ call.key[0, head // group].T * call.scale
        for distance in (0, 1, 4):
            circuit = circuits.qk_circuit(model, 0, head, distance=distance)
            assert circuit.note is None
            for query in range(distance, 7):
                found = circuit.row(ids[query])[ids[query - distance]]
                assert_close(found, raw[query, query - distance], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
def test_they_are_those_of_the_same_weights_in_ours(name, tiny):
    theirs = tiny(name)
    ours = tl.pretrained.load(theirs)
    for layer, head in ((0, 1), (2, 3)):
        for distance in (0, 3):
            a, b = (circuits.qk_circuit(m, layer, head, distance=distance) for m in (theirs, ours))
            assert_close(a.left @ a.right, b.left @ b.right, rtol=1e-3, atol=1e-3)
            assert a.note == b.note
        a, b = (circuits.ov_circuit(m, layer, head) for m in (theirs, ours))
        assert_close(a.left @ a.right, b.left @ b.right, rtol=1e-3, atol=1e-3)
        assert a.note == b.note
        assert a.copying_score == pytest.approx(b.copying_score, abs=1e-3)
        assert a.copying_random == pytest.approx(b.copying_random, abs=1e-3)
    for kind in "QKV":
        for distance in (0, 3):
            a, b = (circuits.compositions(m, kind, distance=distance) for m in (theirs, ours))
            assert_close(a.values, b.values, rtol=1e-3, atol=1e-4, equal_nan=True)
        assert (a.random_mean, a.random_std) == (b.random_mean, b.random_std)
        one = circuits.composition(theirs, (0, 1), (2, 3), kind, distance=3)
        assert one.score == pytest.approx(float(b.values[2, 3, 0, 1]), abs=1e-4)


def alone(model, layer):
    """Reduce the model's streams to tokens and what this layer's cross-attention adds."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            own = re.search(
                rf"decoder\.(layers|block)\.{layer}\..*(encoder_attn|EncDecAttention)", name
            )
            writes = re.search(r"(out_proj|fc2|\.o|\.wo)\.(weight|bias)$", name)
            if (writes and not own) or "embed_positions" in name:
                p.zero_()
    return model


@pytest.mark.parametrize("name", ["bart", "t5", "marian"])
def test_cross_attention_scores_and_adds_what_the_circuits_say(name, tiny):
    model = alone(tiny(name), 0)
    source, target = torch.tensor([[7, 5, 9, 8, 6]]), torch.tensor([[3, 11, 4]])
    trace = tl.trace(model, source, target)
    call = trace.call(0, kind="cross")
    for head in (0, 3):
        circuit = circuits.qk_circuit(model, 0, head, kind="cross")
        raw = call.query[0, head] @ call.key[0, head].T * call.scale
        found = (circuit.left @ circuit.right)[target[0]][:, source[0]]
        assert_close(found, raw, rtol=1e-3, atol=1e-3 * float(raw.abs().max()))
        ov = circuits.ov_circuit(model, 0, head, kind="cross")
        values = call.value[0, head] - ov.left[source[0]]
        assert_close(values, values[:1].expand_as(values), rtol=1e-3, atol=1e-4)  # the values' bias
        assert ov.right.shape[1] == model.config.vocab_size and abs(ov.copying_score) <= 1
    # A head's output as logits: by the circuit's right factor, and measured.
    by_circuit = trace.activation("z", 0, kind="cross")[0, 3, -1] @ ov.right
    measured = []
    for token in (3, 40, 77):
        split = circuits.logit_attribution(trace, token, against=9)
        measured.append(dict(split.ranked())["layer 0, cross head 3"])
    ratio = torch.tensor(measured) / (by_circuit[[3, 40, 77]] - by_circuit[9])
    assert (ratio > 0).all()
    assert_close(ratio, ratio[:1].expand(3), rtol=1e-3, atol=1e-4)


def test_cross_circuits_are_those_of_the_same_weights_in_ours(tiny):
    theirs = tiny("marian")
    ours = tl.pretrained.load(theirs)
    for layer, head in ((0, 1), (1, 2)):
        for make in (circuits.qk_circuit, circuits.ov_circuit):
            a, b = (make(m, layer, head, kind="cross") for m in (theirs, ours))
            assert_close(a.left @ a.right, b.left @ b.right, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["qwen3", "gemma2-capped", "phi3", "granite", "mixtral", "olmo2"])
def test_ov_is_what_values_add_to_the_logits(name, tiny):
    """Compare with `logit_attribution`, with the final norm's scale frozen."""
    model = of(tiny, name)
    trace = tl.trace(model, TOKENS)
    last = len(trace.layers()) - 1
    call, head = trace.call(last), 2
    values = call.value[0, head // (call.n_heads // call.value.shape[1])]
    weight = trace.output_weight(last).unflatten(0, (call.n_heads, -1))[head]
    z = trace.activation("z", last)[0, head, -1]
    circuit = circuits.ov_circuit(model, last, head)
    # The head's output at the last token as logits: by the circuit's right factor, and measured.
    name_of = f"layer {last}, head {head}"
    by_circuit = z @ circuit.right
    measured = []
    for token in (3, 40, 77):
        split = circuits.logit_attribution(trace, token, against=9)
        measured.append(dict(split.ranked())[name_of])
    found = torch.stack([by_circuit[t] - by_circuit[9] for t in (3, 40, 77)])
    measured = torch.tensor(measured)
    # Up to the norm's scale, which is positive and the same for all tokens.
    ratio = measured / found
    assert (ratio > 0).all()
    assert_close(ratio, ratio[:1].expand(3), rtol=5e-3, atol=1e-4)
    assert values.shape[-1] == weight.shape[0] == circuit.left.shape[1]


def test_an_adapter_and_its_circuit(tiny):
    from tests.reference.test_parts import Adapted

    model = tiny("llama")
    plain = circuits.qk_circuit(model, 1, 2)
    model.model.layers[1].self_attn.q_proj = Adapted(model.model.layers[1].self_attn.q_proj)
    q = model.model.layers[1].self_attn.q_proj
    adapted = circuits.qk_circuit(model, 1, 2)
    with torch.no_grad():
        q.base_layer.weight.add_(q.b @ q.a)
    model.model.layers[1].self_attn.q_proj = q.base_layer
    merged = circuits.qk_circuit(model, 1, 2)
    assert_close(adapted.left, merged.left, rtol=1e-4, atol=1e-5)
    assert (adapted.left - plain.left).abs().max() > 1e-3


def test_nothing_is_left_behind(tiny):
    model = tiny("bert")
    before = tl.trace(model, TOKENS).logits
    circuits.ov_circuit(model, 1, 2)
    circuits.compositions(model, "K")
    assert not any("forward" in vars(m) for m in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(tl.trace(model, TOKENS).logits, before)


def test_a_text_model_names_its_tokens():
    model = tl.shipped("manual")
    assert circuits.qk_circuit(model, 0, 1).best(5, 1)[0][0]


class Squashed(torch.nn.Module):
    """Not a norm, though in a norm's place: it squashes each number by itself."""

    def forward(self, x):
        return torch.tanh(x)


class NotANorm(Squashed):
    pass


def test_what_is_no_norm_in_a_norms_place_is_refused(tiny):
    model = tiny("llama")
    model.model.layers[1].input_layernorm = NotANorm()
    with pytest.raises(PartsError, match="more than norms and linear layers"):
        circuits.composition(model, (0, 1), (1, 2), "K")


@pytest.mark.badinput
def test_what_has_no_circuit_says_why(tiny):
    model = tiny("llama")
    with pytest.raises(ValueError, match=r"layer=3 is outside 0 … 2"):
        circuits.qk_circuit(model, 3, 0)
    with pytest.raises(ValueError, match=r"head=4 is outside 0 … 3"):
        circuits.ov_circuit(model, 0, 4)
    with pytest.raises(ValueError, match="kind='encoder' is not in this model; it has decoder"):
        circuits.qk_circuit(model, 0, 0, kind="encoder")
    with pytest.raises(ValueError, match="stack='cross' is not in this model; it has decoder"):
        circuits.compositions(tiny("bart"), "K", stack="cross")
    lfm = of(tiny, "lfm2")
    with pytest.raises(ValueError, match="layer=0 has no heads: it is a convolution"):
        circuits.qk_circuit(lfm, 0, 0)
    assert circuits.qk_circuit(lfm, 1, 0).left.shape[0] == 100
    from tests.reference.test_parts import Mine, mine

    class Bare(Mine):
        blocks = tl.Network.blocks

    with pytest.raises(PartsError, match="were not found"):
        circuits.qk_circuit(mine(network=Bare), 0, 0)

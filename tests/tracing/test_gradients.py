"""Gradients through a trace, against finite differences."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import transformer_lab as tl
from tests.factories import OwnNetwork, own, small
from tests.missing import package
from transformer_lab.adapters.lookup import network_of
from transformer_lab.adapters.network import Inputs
from transformer_lab.tracing.trace import TraceError

TOKENS = torch.tensor([[5, 6, 7, 8, 9, 5], [0, 0, 11, 12, 13, 14]])
MASK = torch.tensor([[1] * 6, [0, 0, 1, 1, 1, 1]]).bool()
TARGET = torch.tensor([[3, 4, 9, 8], [4, 4, 6, 2]])


def theirs(name):
    transformers = package("transformers")
    sizes = dict(num_hidden_layers=2, num_attention_heads=4, hidden_size=32, intermediate_size=64)
    ids = dict(vocab_size=50, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    both = dict(
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        d_model=32,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        decoder_start_token_id=0,
    )
    torch.manual_seed(0)
    makers = {
        "gpt2": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(n_layer=2, n_head=4, n_embd=32, **ids)
        ),
        "gpt-neox": lambda: transformers.GPTNeoXForCausalLM(
            transformers.GPTNeoXConfig(**sizes, **ids)
        ),
        "bert": lambda: transformers.BertForMaskedLM(
            transformers.BertConfig(**sizes, vocab_size=50)
        ),
        "bart": lambda: transformers.BartForConditionalGeneration(
            transformers.BartConfig(**both, **ids)
        ),
        "llama": lambda: transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**sizes, **ids, num_key_value_heads=2)
        ),
        "gemma2": lambda: transformers.Gemma2ForCausalLM(
            transformers.Gemma2Config(
                **sizes, **ids, num_key_value_heads=2, head_dim=8, attn_logit_softcapping=2.0
            )
        ),
    }
    model = makers[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


OURS = {
    "ours": dict(noise=0.2),
    "ours-modern": dict(noise=0.2, n_kv_heads=2, norm="rms", qk_norm=True),
    "ours-both": dict(kind="encoder-decoder", noise=0.2),
    "ours-encoder": dict(kind="encoder", noise=0.2, norm_first=False),
}
NAMES = [*OURS, "mine", "gpt2", "gpt-neox", "bert", "bart", "llama", "gemma2"]
# Their norms always compute in fp32, which limits the differences.
ROUGH = ("llama", "gemma2")


def model_of(name):
    if name in OURS:
        return small(**OURS[name])
    return own() if name == "mine" else theirs(name)


class Nudge(tl.Tap):
    """Add a small change to what passes at one site."""

    wants_maps = True

    def __init__(self, what, site, move):
        self.what, self.site, self.move = what, site, move

    def _moved(self, what, site, x):
        return x + self.move if (what, site) == (self.what, self.site) else x

    def on_attention(self, call):
        names = dict(q="query", k="key", v="value")
        if self.what not in names:
            return call
        field = names[self.what]
        return dataclasses.replace(
            call, **{field: self._moved(self.what, call.site, getattr(call, field))}
        )

    def on_map(self, call, weights):
        return self._moved("pattern", call.site, weights)

    def on_heads(self, call, z):
        return self._moved("z", call.site, z)

    def on_stream(self, name, site, x):
        return self._moved(name, site, x)


def difference(network, inputs, scalar, what, site, direction, step):
    values = []
    for sign in (1, -1):
        tap = Nudge(what, site, sign * step * direction)
        stream = [] if what in ("z", "pattern", "q", "k", "v") else [what]
        changing = network.changing_stream(tap, stream, site.kind, site.layer)
        with torch.no_grad(), network.tapping(tap), changing:
            values.append(float(scalar(network.run(inputs).logits)))
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_what_a_small_step_does(name):
    model = model_of(name)
    (model.module if name == "mine" else model).double()
    network = network_of(model)
    both = network.kind == "encoder-decoder"
    mask = None if name == "mine" else MASK
    inputs = Inputs(TOKENS, TARGET if both else None, mask)
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(2, inputs.n_outputs, 50, generator=generator, dtype=torch.float64)

    if inputs.output_mask is not None:  # padding does not count
        weights = weights * inputs.output_mask[..., None]

    def scalar(logits):
        return (logits * weights).sum()

    trace = tl.trace(model, TOKENS, inputs.target, mask=mask, gradients=scalar)
    assert trace.scalar == pytest.approx(float((trace.logits * weights).sum()))
    seen, step, room = set(), *((1e-3, 5e-3) if name in ROUGH else (1e-5, 1e-5))
    for kind in trace.kinds:
        names = ["z", "pattern", "q", "k", "v"]
        if kind != "cross" and name != "mine":
            names += ["resid_pre", "resid_post", "attn_out", "mlp_out"]
        elif kind == "cross":
            names += ["cross_out"]
        for what in names:
            for layer in (0, 1):
                found = trace.gradient(what, layer, kind=kind, batch=None)
                assert found.dtype == torch.float64
                direction = torch.randn(found.shape, generator=generator, dtype=torch.float64)
                site = tl.Site("decoder" if what == "cross_out" else kind, layer)
                expected = difference(network, inputs, scalar, what, site, direction, step)
                size = max(abs(expected), float(found.norm()))
                assert abs(float((found * direction).sum()) - expected) < room * size, (what, layer)
                seen.add(what)
                assert found.abs().max() > 0 or (kind, layer) == ("encoder", 1)
    assert seen >= {"z", "pattern", "q", "k", "v"}


@pytest.mark.parametrize("name", NAMES)
def test_the_pass_is_the_models_own_and_nothing_is_left(name):
    model = model_of(name)
    module = model.module if name == "mine" else model
    for number, parameter in enumerate(module.parameters()):
        parameter.requires_grad_(number % 2 == 0)
    before = [(p.requires_grad, p.grad) for p in module.parameters()]
    target = TARGET if network_of(model).kind == "encoder-decoder" else None
    plain = tl.trace(model, TOKENS, target)
    trace = tl.trace(model, TOKENS, target, gradients=7)
    assert_close(trace.logits, plain.logits, rtol=1e-5, atol=1e-5)
    assert [(p.requires_grad, p.grad) for p in module.parameters()] == before
    assert not trace.logits.requires_grad
    assert not any(t.requires_grad for t in trace.call(0).__dict__.values() if torch.is_tensor(t))
    assert not any(m._forward_hooks for m in module.modules())
    for what in ("pattern", "z"):
        whole = trace.gradient(what, 1, batch=None)
        assert whole.shape[:2] == (2, trace.n_heads())
        assert torch.equal(trace.gradient(what, 1, 1, batch=1), whole[1, 1])
    assert trace.gradient("pattern", 1, 0).shape == trace.pattern(1, 0).shape
    assert trace.gradient("z", 1, batch=None).shape == trace.activation("z", 1).shape
    module.requires_grad_(False)
    frozen = tl.trace(model, TOKENS, target, gradients=7)
    for what in ("pattern", "z", "q"):
        assert_close(frozen.gradient(what, 0), trace.gradient(what, 0))
    if name != "mine":
        assert_close(frozen.gradient("resid_pre", 0), trace.gradient("resid_pre", 0))


def test_what_they_may_be_of():
    model = small(noise=0.2)
    whole = tl.trace(model, TOKENS, mask=MASK, gradients=lambda logits: logits[:, -1, 9].sum())
    for of in (9, torch.tensor(9), tl.Logit(9), tl.Logit(9, position=5)):
        found = tl.trace(model, TOKENS, mask=MASK, gradients=of)
        assert_close(found.gradient("z", 0, batch=None), whole.gradient("z", 0, batch=None))
    pair = tl.trace(model, TOKENS, mask=MASK, gradients=(9, 4))
    other = tl.trace(model, TOKENS, mask=MASK, gradients=4)
    difference = whole.gradient("pattern", 0) - other.gradient("pattern", 0)
    assert_close(pair.gradient("pattern", 0), difference)
    assert pair.scalar == pytest.approx(
        float((pair.logits[:, -1, 9] - pair.logits[:, -1, 4]).sum())
    )


def test_the_last_token_is_the_last_real_one():
    model, right = small(noise=0.2), torch.tensor([[5, 6, 7, 8], [9, 5, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()
    found = tl.trace(model, right, mask=mask, gradients=9)
    alone = tl.trace(model, right[1:, :2], gradients=9)
    assert found.gradient("z", 1, 0, batch=1)[2:].abs().max() == 0
    assert_close(found.gradient("z", 1, 0, batch=1)[:2], alone.gradient("z", 1, 0))


def test_texts_of_a_text_model():
    model = tl.shipped("manual")
    trace = model.trace("for key in self.", gradients="key")
    token = model.tokenizer.encode("key")
    assert len(token) == 1
    assert trace.scalar == pytest.approx(float(trace.logits[0, -1, token[0]]))
    assert torch.isfinite(trace.gradient("z", 0)).all()
    with pytest.raises(ValueError, match=r"is \d+ tokens for"):
        model.trace("for key", gradients="for key in self")
    same = tl.trace(model, "for key in self.", gradients=tl.Logit("key"))
    assert same.scalar == pytest.approx(trace.scalar)


def test_under_an_edit():
    model = small(noise=0.2)
    with tl.edit(model, tl.ablate(layer=0, head=1), tl.knock_out(layer=1, head=2, query=4, key=2)):
        trace = tl.trace(model, TOKENS, gradients=9)
        plain = tl.trace(model, TOKENS)
    assert_close(trace.logits, plain.logits)
    assert_close(trace.pattern(1, 2), plain.pattern(1, 2))
    # The head is ablated at z: its pattern has no effect, its output would.
    assert trace.gradient("pattern", 0, 1).abs().max() == 0
    assert trace.gradient("z", 0, 1).abs().max() > 0


def test_a_model_in_training_mode_is_left_alone():
    model = small(noise=0.2, dropout=0.5).train()
    one, two = (tl.trace(model, TOKENS, gradients=9) for _ in range(2))
    assert model.training
    assert_close(one.gradient("z", 0), two.gradient("z", 0), rtol=0, atol=0)


def test_half_precision_is_rough_and_says_the_same():
    model = small(noise=0.2)
    single = tl.trace(model, TOKENS, gradients=9).gradient("pattern", 1)
    for dtype in (torch.bfloat16, torch.float16):
        found = tl.trace(small(noise=0.2).to(dtype), TOKENS, gradients=9).gradient("pattern", 1)
        assert float((found - single).norm() / single.norm()) < 0.05


@pytest.mark.badinput
def test_what_has_none_says_why():
    model = small()
    for of, message in (
        ("key", "token='key' is text; give a token id"),
        (50, "token=50 is outside the 50 tokens"),
        ((3, -1), "against=-1 is outside the 50 tokens"),
        (tl.Logit(3, position=6), "position=6 is outside the 6 tokens"),
        (2.5, "gradients=2.5 is not understood"),
        (True, "gradients=True is not understood"),
        ((1, 2, 3), r"gradients=\(1, 2, 3\) is not understood"),
        (lambda logits: logits[0, 0], r"must return one number .* got \[50\]"),
        (lambda logits: 3.0, "must return one number .* got float"),
        (lambda logits: torch.tensor(1.0), "no gradient reaches the heads"),
    ):
        with pytest.raises(ValueError, match=message):
            tl.trace(model, TOKENS, gradients=of)
    with pytest.raises(ValueError, match="no head that predicts tokens"):
        tl.trace(small(head=False), TOKENS, gradients=3)
    with pytest.raises(tl.MemoryBudgetError, match="raise budget_mib"):
        tl.trace(model, TOKENS, gradients=3, budget_mib=0.001)
    with torch.inference_mode(), pytest.raises(ValueError, match=r"torch\.inference_mode"):
        tl.trace(model, TOKENS, gradients=3)
    with pytest.raises(TraceError, match="gradients=token"):
        tl.trace(model, TOKENS).gradient("z", 0)
    trace = tl.trace(model, TOKENS, gradients=3)
    for place, message in (
        (("w", 0), r"what must be one of .*pattern.* got 'w'"),
        (("z", 2), r"layer=2 is outside 0 … 1"),
        (("z", 0, 4), r"head=4 is outside 0 … 3"),
        (("resid_post", 0, 1), "belongs to the whole stream"),
    ):
        with pytest.raises(TraceError, match=message):
            trace.gradient(*place)
    with pytest.raises(TraceError, match="batch=2 is outside"):
        trace.gradient("z", 0, batch=2)


def test_reentrant_checkpoints_are_refused_and_the_others_are_not():
    class Checkpointed(OwnNetwork):
        reentrant = True

        def run(self, inputs):
            x = self.module[0](inputs.tokens)
            for layer in self.module[1:3]:
                x = checkpoint(layer, x, use_reentrant=self.reentrant)
            return tl.Output(logits=self.module[3](x))

    network = Checkpointed(own().module)
    with pytest.raises(ValueError, match="use_reentrant=True"):
        tl.trace(network, TOKENS, gradients=3)


def test_a_models_own_maps_have_none():
    transformers = package("transformers")
    config = transformers.LongformerConfig(
        attention_window=4,
        num_hidden_layers=2,
        num_attention_heads=4,
        hidden_size=32,
        intermediate_size=32,
        vocab_size=50,
        max_position_embeddings=40,
    )
    model = transformers.LongformerForMaskedLM(config).eval()
    with pytest.raises(ValueError, match="does not go through the attention interface"):
        tl.trace(model, TOKENS, gradients=3)


def test_of_a_class_of_a_picture():
    transformers = package("transformers")
    torch.manual_seed(0)
    sizes = dict(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=16,
        patch_size=4,
        num_labels=3,
    )
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**sizes)).eval()
    trace = tl.trace(model, pixel_values=torch.randn(2, 3, 16, 16), gradients=(2, 0))
    assert trace.answers is not None and not trace.answers.requires_grad
    assert trace.scalar == pytest.approx(float((trace.answers[:, 2] - trace.answers[:, 0]).sum()))
    assert trace.gradient("pattern", 0, 1).shape == trace.pattern(0, 1).shape
    assert trace.gradient("pattern", 1, 1, batch=1)[0].abs().max() > 0
    with pytest.raises(ValueError, match="token=3 is outside the 3"):
        tl.trace(model, pixel_values=torch.randn(2, 3, 16, 16), gradients=3)

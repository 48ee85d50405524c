"""Models whose own code computes attention: their patterns, logits and edits are exact too."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import transformer_lab as tl
from tests.missing import package
from transformer_lab.adapters.lookup import network_of

T = package("transformers")
T.logging.set_verbosity_error()

BERT = dict(
    vocab_size=60,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=40,
)
BART = dict(
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=48,
    decoder_ffn_dim=48,
)
FALCON = dict(
    vocab_size=60,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    attn_implementation="sdpa",
)
# class -> (its config, kinds)
MODELS = {
    "BloomForCausalLM": (dict(vocab_size=60, hidden_size=32, n_layer=2, n_head=4), "decoder"),
    "FalconForCausalLM": (FALCON, "decoder"),
    "GPTNeoForCausalLM": (
        dict(
            vocab_size=60,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            window_size=3,
            attention_types=[[["global", "local"], 1]],
            max_position_embeddings=40,
        ),
        "decoder",
    ),
    "MptForCausalLM": (dict(vocab_size=60, d_model=32, n_layers=2, n_heads=4), "decoder"),
    "XGLMForCausalLM": (
        dict(vocab_size=60, d_model=32, ffn_dim=48, num_layers=2, attention_heads=4),
        "decoder",
    ),
    "MegatronBertForCausalLM": (dict(BERT, is_decoder=True), "decoder"),
    "DebertaV2ForMaskedLM": (
        dict(BERT, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=8),
        "encoder",
    ),
    "MPNetForMaskedLM": (BERT, "encoder"),
    "SqueezeBertForMaskedLM": (dict(BERT, embedding_size=32), "encoder"),
    "XLMWithLMHeadModel": (dict(vocab_size=60, emb_dim=32, n_layers=2, n_heads=4), "encoder"),
    "XLNetLMHeadModel": (
        dict(vocab_size=60, d_model=32, n_layer=2, n_head=4, d_inner=48),
        "encoder",
    ),
    "FunnelForMaskedLM": (
        dict(
            vocab_size=60,
            block_sizes=[2],
            num_decoder_layers=1,
            d_model=32,
            n_head=4,
            d_head=8,
            d_inner=48,
        ),
        "encoder",
    ),
    "FSMTForConditionalGeneration": (
        dict(BART, langs=["en", "de"], src_vocab_size=60, tgt_vocab_size=60),
        "encoder decoder cross",
    ),
}
TEXT = torch.tensor([[30, 31, 32, 33, 34, 35, 36], [40, 41, 42, 43, 44, 45, 46]])
TARGET = torch.tensor([[33, 34, 35, 36], [43, 44, 45, 46]])


def build(name):
    torch.manual_seed(0)
    kind = getattr(T, name)
    return kind(kind.config_class(**MODELS[name][0])).eval()


def read(model, **more):
    both = dict(decoder_input_ids=TARGET) if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model(TEXT, use_cache=False, **both, **more)


def traced(model, keep="maps"):
    return tl.trace(model, TEXT, TARGET if model.config.is_encoder_decoder else None, keep=keep)


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    model = build(request.param)
    model.wanted = MODELS[request.param][1].split()
    return model


def test_maps_are_the_models_own_and_nothing_is_changed(model):
    plain = read(model).logits
    trace = traced(model)
    assert trace.note is None and list(trace.kinds) == sorted(
        model.wanted, key=tl.attention.KINDS.index
    )
    if not isinstance(model, T.FalconForCausalLM):  # it passes other strides to its fused kernel
        assert torch.equal(trace.logits, plain)
    assert_close(trace.logits, plain, atol=1e-6, rtol=1e-5)
    if isinstance(model, T.SqueezeBertForMaskedLM):
        return  # it returns scores
    config = {**model.config.to_dict(), "attn_implementation": "eager"}
    eager = type(model)(T.AutoConfig.for_model(**config)).eval()
    eager.load_state_dict(model.state_dict())
    output = read(eager, output_attentions=True)
    for kind in trace.kinds:
        own = output[f"{kind}_attentions" if len(trace.kinds) > 1 else "attentions"]
        assert len(own) == trace.n_layers(kind)
        for layer, maps in enumerate(own):
            for batch in (0, 1):
                found = trace.pattern(layer, kind=kind, batch=batch)
                assert_close(found, maps[batch].float(), atol=1e-6, rtol=1e-5)
    if trace.kinds == ("decoder",):
        assert not trace.pattern(1).triu(1).any()


def without_head(model, kind, layer, head):
    """The logits if W_O reads nothing from a head: the reference for an ablation."""
    if isinstance(model, T.XLNetLMHeadModel):
        rows = model.transformer.layer[layer].rel_attn.o.data[:, head]
    elif isinstance(model, T.SqueezeBertForMaskedLM):
        rows = model.transformer.encoder.layers[layer].post_attention.conv1d.weight.data[
            :, head * 8 : head * 8 + 8
        ]
    else:
        trace = traced(model, "all")
        weight = trace.output_weight(layer, kind=kind)
        d_head = weight.shape[0] // 4
        rows = weight[head * d_head : (head + 1) * d_head]
    kept = rows.clone()
    rows.zero_()
    try:
        return read(model).logits
    finally:
        rows.copy_(kept)


def test_an_ablation_is_what_it_says_in_a_pass_and_in_a_sweep(model):
    target = TARGET if model.config.is_encoder_decoder else None
    for kind in model.wanted:
        truth = without_head(model, kind, 1, 2)
        with tl.edit(model, tl.ablate(1, 2, kind=kind)):
            assert_close(read(model).logits, truth, atol=2e-6, rtol=1e-5)
        sweep = tl.sweep_heads(model, TEXT[:1], target if target is None else target[:1], kind=kind)
        before, after = (
            x[0, -1].log_softmax(-1)[sweep.tokens[0]] for x in (read(model).logits, truth)
        )
        assert abs(float(sweep.values[1, 2] - (after - before))) < 1e-5


def test_an_edge_is_cut_before_the_softmax(model):
    for kind in model.wanted:
        before = traced(model).pattern(0, 1, kind=kind)
        with tl.edit(model, tl.knock_out(0, 1, query=3, key=1, kind=kind)):
            trace = traced(model, "all")
        wanted = before.clone()
        wanted[3, 1] = 0
        wanted[3] /= wanted[3].sum()
        assert_close(trace.pattern(0, 1, kind=kind), wanted)
        values = trace.call(0, kind=kind).value
        assert_close(
            trace.activation("z", 0, kind=kind)[0, 1], wanted @ values[0, 1 % values.shape[1]]
        )
        assert not torch.equal(trace.logits, read(model).logits)


def test_gradients_of_heads_and_maps_are_those_of_small_changes(model):
    target = TARGET[:1] if model.config.is_encoder_decoder else None
    of = tl.Logit(3)
    trace = tl.trace(model, TEXT[:1], target, gradients=of, keep="all")

    def logit(*edits):
        with tl.edit(model, *edits):
            return tl.trace(model, TEXT[:1], target).logits[0, -1, 3].double()

    for kind in model.wanted:
        z = trace.activation("z", 1, kind=kind)
        wanted = (trace.gradient("z", 1, kind=kind) * z[0])[2].sum()
        up, down = (logit(tl.scale(1, 2, by=1 + by, kind=kind)) for by in (0.05, -0.05))
        assert_close(wanted.double(), (up - down) / 0.1, atol=2e-5, rtol=0.02)
        # z is the pattern times the values, so both gradients must agree.
        assert trace.gradient("pattern", 1, kind=kind).shape == trace.pattern(1, kind=kind).shape
        whole = (trace.gradient("pattern", 1, kind=kind) * trace.pattern(1, kind=kind))[2].sum()
        assert_close(whole, wanted, atol=1e-7, rtol=1e-4)


def test_nothing_is_left_behind(model):
    settings = [m.config._attn_implementation for m in model.modules() if hasattr(m, "config")]
    traced(model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert settings == [
        m.config._attn_implementation for m in model.modules() if hasattr(m, "config")
    ]


def test_padding_is_seen_as_padding():
    mask = torch.tensor([[True] * 7, [False] * 3 + [True] * 4])
    for name in ("BloomForCausalLM", "GPTNeoForCausalLM"):
        model = build(name)
        trace = tl.trace(model, TEXT, mask=mask)
        assert not trace.pattern(1, batch=1)[:, 3:, :3].any()
        alone = tl.trace(model, TEXT[1:, 3:])
        assert_close(trace.logits[1, 3:], alone.logits[0], atol=1e-5, rtol=1e-4)
        assert_close(trace.pattern(1, batch=1)[:, 3:, 3:], alone.pattern(1), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    model = build("BloomForCausalLM").to(dtype)
    plain = read(model).logits
    trace = traced(model)
    assert torch.equal(trace.logits, plain)
    assert_close(trace.pattern(1).sum(-1), torch.ones(4, 7))
    with tl.edit(model, tl.ablate(0, 1)):
        edited = read(model).logits
    assert edited.dtype == dtype
    assert_close(edited, without_head(model, "decoder", 0, 1), atol=2e-2, rtol=2e-2)


def test_the_direction_is_what_the_model_does_and_not_its_name():
    for config, kind in ((dict(BERT, is_decoder=True), "decoder"), (BERT, "encoder")):
        model = T.MegatronBertForCausalLM(T.MegatronBertConfig(**config)).eval()
        network = network_of(model)
        assert network.kinds == (kind,) and network.kind == kind
        assert tl.trace(model, TEXT).kinds == (kind,)
    for causal in (False, True):
        sizes = dict(vocab_size=60, emb_dim=32, n_layers=2, n_heads=4, causal=causal)
        model = T.XLMWithLMHeadModel(T.XLMConfig(**sizes)).train()
        torch.manual_seed(5)
        assert network_of(model).kind == ("decoder" if causal else "encoder")
        drawn = torch.rand(1)
        torch.manual_seed(5)
        assert torch.equal(drawn, torch.rand(1))  # the training's random state is untouched


def test_attention_in_a_form_of_its_own_is_refused_with_what_it_does():
    sizes = dict(BERT, num_landmarks=4, segment_means_seq_len=8, conv_kernel_size=3)
    model = T.NystromformerForMaskedLM(T.NystromformerConfig(**sizes)).eval()
    text = TEXT[:, torch.arange(8) % 7]
    try:
        said = tl.trace(model, text).note
    except ValueError as error:  # its own patterns are refused too
        said = str(error)
    assert "NystromformerSelfAttention has 4 queries" in said
    with pytest.raises(tl.edits.kinds.EditError), tl.edit(model, tl.ablate(0, 0)):
        model(text)


def test_a_model_of_ones_own_that_writes_its_attention_out():
    class OwnAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(16, 16) for _ in range(4))

        def forward(self, x):
            q, k, v = (f(x).unflatten(-1, (2, 8)).transpose(1, 2) for f in (self.q, self.k, self.v))
            weights = (q @ k.mT / 8**0.5).softmax(-1)
            return self.o((weights @ v).transpose(1, 2).flatten(2))

    class Model(T.PreTrainedModel):
        config_class = T.PretrainedConfig

        def __init__(self, config):
            super().__init__(config)
            self.embed, self.head = nn.Embedding(60, 16), nn.Linear(16, 60)
            self.layers = nn.ModuleList([OwnAttention(), OwnAttention()])
            self.post_init()

        def forward(self, input_ids=None, attention_mask=None, **_):
            x = self.embed(input_ids)
            for layer in self.layers:
                x = x + layer(x)
            return T.modeling_outputs.CausalLMOutput(logits=self.head(x))

    torch.manual_seed(0)
    model = Model(T.PretrainedConfig(vocab_size=60, hidden_size=16)).eval()
    trace = tl.trace(model, TEXT, keep="all")
    assert trace.kinds == ("encoder",) and trace.n_layers() == 2 and trace.n_heads() == 2
    assert torch.equal(trace.logits, model(TEXT).logits)
    assert_close(trace.pattern(0).sum(-1), torch.ones(2, 7))
    with tl.edit(model, tl.ablate(1, 0)):
        assert not tl.trace(model, TEXT, keep="all").activation("z", 1)[:, 0].any()

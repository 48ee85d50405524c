"""Scores and logits of Hugging Face models split by source: the parts sum to them, or are
refused."""

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.adapters import families
from tests.factories import OwnLayer, OwnNetwork, own
from tests.missing import package
from tests.reference.conftest import _DECODER, _ENCODER, _IDS, _VOCAB
from tests.reference.test_hybrids import HYBRIDS, noisy
from transformer_lab.adapters.sources import Parts, PartsError, Split
from transformer_lab.analysis.circuits import logit_attribution, score_by_source
from transformer_lab.tracing.trace import TraceError

T = package("transformers")
TOKENS = torch.tensor([[5, 6, 7, 8, 9, 5, 6], [0, 0, 11, 12, 13, 14, 15]])
MASK = torch.tensor([[1] * 7, [0, 0, 1, 1, 1, 1, 1]]).bool()
TARGET = torch.tensor([[3, 4, 9, 8, 20], [4, 4, 6, 30, 31]])

MORE = {
    "gpt-neox-sequential": lambda: T.GPTNeoXForCausalLM(
        T.GPTNeoXConfig(use_parallel_residual=False, **_ENCODER, **_IDS)
    ),
    "gemma2-capped": lambda: T.Gemma2ForCausalLM(
        T.Gemma2Config(head_dim=8, sliding_window=4, final_logit_softcapping=3.0, **_DECODER)
    ),
    "gemma3": lambda: T.Gemma3ForCausalLM(
        T.Gemma3TextConfig(head_dim=8, sliding_window=4, **_DECODER)
    ),
    "granite": lambda: T.GraniteForCausalLM(
        T.GraniteConfig(
            residual_multiplier=0.3,
            embedding_multiplier=7.0,
            logits_scaling=5.0,
            attention_multiplier=0.4,
            **_DECODER,
        )
    ),
    "phi3": lambda: T.Phi3ForCausalLM(T.Phi3Config(**_DECODER)),
    "olmo2": lambda: T.Olmo2ForCausalLM(T.Olmo2Config(**_DECODER)),
    "cohere": lambda: T.CohereForCausalLM(
        T.CohereConfig(logit_scale=0.3, use_qk_norm=True, **_DECODER)
    ),
    "mixtral": lambda: T.MixtralForCausalLM(
        T.MixtralConfig(num_local_experts=3, num_experts_per_tok=2, **_DECODER)
    ),
    "opt-350m": lambda: T.OPTForCausalLM(
        T.OPTConfig(
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            ffn_dim=64,
            word_embed_proj_dim=16,
            max_position_embeddings=64,
            do_layer_norm_before=False,
            **_VOCAB,
            **_IDS,
        )
    ),
    "deepseek-v3": lambda: T.DeepseekV3ForCausalLM(
        T.DeepseekV3Config(
            q_lora_rank=12,
            kv_lora_rank=8,
            qk_rope_head_dim=4,
            qk_nope_head_dim=8,
            v_head_dim=8,
            n_routed_experts=4,
            n_group=2,
            topk_group=1,
            num_experts_per_tok=2,
            first_k_dense_replace=1,
            moe_intermediate_size=16,
            **{**_DECODER, "num_key_value_heads": 4},
        )
    ),
    "lfm2": lambda: T.Lfm2ForCausalLM(
        T.Lfm2Config(full_attn_idxs=[1], block_multiple_of=8, **_DECODER)
    ),
    "whisper-decoder": lambda: T.WhisperForCausalLM(
        T.WhisperConfig(
            d_model=32,
            encoder_layers=1,
            encoder_attention_heads=2,
            decoder_layers=3,
            decoder_attention_heads=4,
            decoder_ffn_dim=64,
            encoder_ffn_dim=64,
            max_target_positions=64,
            **_VOCAB,
            **_IDS,
        )
    ),
    "modernbert": lambda: T.ModernBertForMaskedLM(
        T.ModernBertConfig(
            global_attn_every_n_layers=2,
            local_attention=4,
            cls_token_id=1,
            sep_token_id=2,
            **_ENCODER,
            **_IDS,
        )
    ),
}
BOTH = ("marian", "bart", "t5")
CAUSAL = ("gpt2", "llama", "qwen3", "mistral", "gpt-neox", "gemma2", "opt")
SUM = [*CAUSAL, *BOTH, *(name for name in MORE if name != "modernbert")]
MASKED = ("bert", "roberta", "distilbert", "electra", "albert", "modernbert")


def of(tiny, name):
    if name not in MORE:
        return tiny(name)
    torch.manual_seed(0)
    model = MORE[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def traced(model, **options):
    target = TARGET if model.config.is_encoder_decoder else None
    return tl.trace(model, TOKENS, target, mask=MASK, **options)


def raw_score(trace, layer, head, kind, batch, query, key):
    call = trace.call(layer, kind=kind)
    q = call.query[batch, head, query]
    k = call.key[batch, head // (call.n_heads // call.key.shape[1]), key]
    return float(q @ k * call.scale), float(q.norm() * k.norm() * call.scale)


@pytest.mark.parametrize("name", [*SUM, *MASKED])
def test_scores_are_sums_of_their_sources(name, tiny):
    trace = traced(of(tiny, name))
    for kind in trace.kinds:
        layers = trace.attending(kind)
        for layer, head, batch in ((layers[0], 1, 0), (layers[-1], 3, 1)):
            query, key = 4, 3
            raw, size = raw_score(trace, layer, head, kind, batch, query, key)
            found = score_by_source(trace, layer, head, query, key, kind=kind, batch=batch)
            assert abs(found.total - raw) < 1e-3 * size
            names = [s.name for s in found.key_sources]
            assert len(set(names)) == len(names)
            stack = "encoder " if kind == "cross" else ""
            assert f"{stack}token embedding" in names and f"{stack}biases" in names
            if kind == "cross":
                assert "layer 0, head 2" in [s.name for s in found.query_sources]
            assert (f"{stack}layer 0, head 0" in names) == (
                kind == "cross" or (layer > 0 and 0 in layers)
            )
            sizes = dict(found.ranked("query"))
            assert any(abs(v) > 1e-3 * size for n, v in sizes.items() if n != "biases")
            above = score_by_source(
                trace, layer, head, query, key, kind=kind, batch=batch, above_mean=True
            )
            row = trace.scores(layer, head, kind=kind, batch=batch)[query]
            reach = row > torch.finfo(row.dtype).min / 2  # transformers masks keys with this number
            rows = [
                raw_score(trace, layer, head, kind, batch, query, k)[0]
                for k in range(len(reach))
                if reach[k]
            ]
            assert abs(above.total - (raw - sum(rows) / len(rows))) < 2e-3 * size


@pytest.mark.parametrize("name", SUM)
def test_logits_are_sums_of_their_sources(name, tiny):
    trace = traced(of(tiny, name), keep="maps")
    for batch, token, position in ((0, 9, 3), (1, None, -1)):
        found = logit_attribution(trace, token, position, batch=batch)
        own = float(trace.logits[batch, position, found.token])
        assert found.model_logit == pytest.approx(own)
        cap = found.softcap
        whole = found.logit if cap is None else cap * float(torch.tensor(found.logit / cap).tanh())
        assert whole == pytest.approx(own, abs=1e-3 * max(1, abs(own)))
        apart = logit_attribution(trace, found.token, position, against=4, batch=batch)
        other = logit_attribution(trace, 4, position, batch=batch)
        assert_close(apart.values, found.values - other.values, rtol=1e-3, atol=1e-3)
    assert {s.part for s in found.sources} >= {"token", "head", "mlp", "biases"}
    assert "layer 1, MLP" in [s.name for s in found.sources]


def test_what_stands_before_a_masked_models_logits_is_no_sum(tiny):
    for name in MASKED:
        with pytest.raises(PartsError, match="more than norms and linear layers"):
            logit_attribution(traced(of(tiny, name)), 9, 3)


def test_a_part_is_what_its_weights_say(tiny):
    """Compare with a Llama head computed from its weights."""
    model = tiny("llama")
    trace = tl.trace(model, TOKENS[:1])
    layer0, layer2, last = model.model.layers[0], model.model.layers[2], 6
    z = trace.activation("z", 0)[0, 2, last]
    wrote = layer0.self_attn.o_proj.weight[:, 16:24] @ z
    x = trace.activation("resid_post", 2)[0, last]
    norm = model.model.norm
    read = wrote / (x.square().mean() + norm.variance_epsilon).sqrt() * norm.weight
    found = dict(logit_attribution(trace, 9).ranked())
    assert found["layer 0, head 2"] == pytest.approx(
        float((read @ model.lm_head.weight[9]).detach()), abs=1e-4
    )
    # On a score at the first token, where nothing is rotated.
    x = trace.activation("resid_pre", 2)[0, 0]
    z = trace.activation("z", 0)[0, 2, 0]
    norm = layer2.input_layernorm
    wrote = layer0.self_attn.o_proj.weight[:, 16:24] @ z
    read = wrote / (x.square().mean() + norm.variance_epsilon).sqrt() * norm.weight
    k = layer2.self_attn.k_proj.weight[:8] @ read
    score = score_by_source(trace, 2, 1, 4, 0)
    at = [s.name for s in score.key_sources].index("layer 0, head 2")
    q = trace.call(2).query[0, 1, 4]
    assert float(score.by_key()[at]) == pytest.approx(
        float((q @ k).detach() * trace.call(2).scale), abs=1e-4
    )


def test_norms_after_adding_rescale_what_was_written_before(tiny):
    """BERT's first head as layer 1 reads it: through both norms of layer 0, with frozen scales."""
    model = tiny("bert")
    trace = tl.trace(model, TOKENS[:1])
    layer = model.bert.encoder.layer[0]
    seen = {}
    hooks = [
        part.LayerNorm.register_forward_pre_hook(lambda m, a, name=name: seen.update({name: a[0]}))
        for name, part in (("first", layer.attention.output), ("second", layer.output))
    ]
    tl.trace(model, TOKENS[:1])
    for hook in hooks:
        hook.remove()
    wrote = layer.attention.output.dense.weight[:, :8] @ trace.activation("z", 0)[0, 0, 3]
    for name, norm in (
        ("first", layer.attention.output.LayerNorm),
        ("second", layer.output.LayerNorm),
    ):
        scale = (seen[name][0, 3].var(correction=0) + norm.eps).sqrt()
        wrote = (wrote - wrote.mean()) / scale * norm.weight
    k = model.bert.encoder.layer[1].attention.self.key.weight[8:16] @ wrote
    call = trace.call(1)
    score = score_by_source(trace, 1, 1, 5, 3)
    at = [s.name for s in score.key_sources].index("layer 0, head 0")
    expected = float((call.query[0, 1, 5] @ k).detach() * call.scale)
    assert float(score.by_key()[at]) == pytest.approx(expected, abs=1e-4)


def test_nothing_is_left_behind(tiny):
    model = tiny("llama")
    before = {n: (p.requires_grad, p.grad) for n, p in model.named_parameters()}
    trace = tl.trace(model, TOKENS[:1])
    with torch.inference_mode():
        score_by_source(trace, 2, 1, 4, 0)
    logit_attribution(trace)
    assert {n: (p.requires_grad, p.grad) for n, p in model.named_parameters()} == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    again = tl.trace(model, TOKENS[:1])
    assert torch.equal(again.logits, trace.logits)


def test_what_changed_since_the_trace_is_refused(tiny):
    model = tiny("llama")
    trace = tl.trace(model, TOKENS)
    with tl.edit(model, tl.ablate(layer=0, head=1)):
        edited = tl.trace(model, TOKENS)
        name, value = "layer 0, head 1", dict(logit_attribution(edited).ranked())
        assert value[name] == 0  # inside the edit, parts are those of the edited run
    for split in (logit_attribution, lambda t: score_by_source(t, 2, 1, 4, 0)):
        split(trace)
        with pytest.raises(TraceError, match="traced under edits"):
            split(_fresh(edited))
    fresh = tl.trace(model, TOKENS)
    with torch.no_grad():
        model.model.layers[0].self_attn.v_proj.weight.mul_(1.3)
    with pytest.raises(TraceError, match="weights have changed"):
        logit_attribution(fresh)


def _fresh(trace):
    """Return the trace with its cached parts dropped."""
    from transformer_lab.analysis.circuits import sources

    sources._parts.pop(trace, None)
    return trace


class Gated(OwnLayer):
    """z is multiplied by a gate that reads the stream, so it is not a sum over sources."""

    def __init__(self, number):
        super().__init__(number)
        self.gate = torch.nn.Linear(8, 8)

    def mixed(self, x):
        return self.qkv(x) * self.gate(x).sigmoid().repeat(1, 1, 3)


class Mine(OwnNetwork):
    def blocks(self, kind=None):
        return list(self.module[1:3])


def mine(layer=OwnLayer, network=Mine):
    return own(layer, network, vocabulary=9)


def test_a_network_of_ones_own_whose_blocks_are_known():
    trace = tl.trace(mine(), torch.tensor([1, 2, 3]))
    found = logit_attribution(trace, 4)
    assert found.logit == pytest.approx(float(trace.logits[0, -1, 4]), abs=1e-5)
    assert [s.name for s in found.sources] == [
        "token embedding",
        "layer 0, head 0",
        "layer 0, head 1",
        "layer 1, head 0",
        "layer 1, head 1",
        "biases",
    ]
    score = score_by_source(trace, 1, 1, 2, 1)
    assert score.total == pytest.approx(score.scaled, abs=1e-5)


class Skewed(Parts):
    """The real parts, scaled up by `slip`."""

    def __init__(self, parts, slip):
        self.parts, self.slip = parts, slip

    def of_head(self, *place):
        split = self.parts.of_head(*place)
        return Split(split.sources, split.values * (1 + self.slip))


@pytest.mark.parametrize("slip", [0.0, 4e-4, 8e-4, 1.5e-3])
def test_parts_that_miss_a_score_by_more_than_a_thousandth_are_refused(slip):
    class Off(Mine):
        def parts(self, inputs):
            return Skewed(super().parts(inputs), slip)

    trace = tl.trace(mine(network=Off), torch.tensor([1, 2, 3]))
    if slip < 5e-4:  # `slip` applies to queries and to keys
        score = score_by_source(trace, 1, 1, 2, 1)
        assert abs(score.total - score.scaled) <= 1e-3 * abs(score.scaled)
        return
    with pytest.raises(TraceError, match=r"sum to|add up"):
        score_by_source(trace, 1, 1, 2, 1)


def test_a_gate_on_the_way_is_refused():
    trace = tl.trace(mine(Gated), torch.tensor([1, 2, 3]))
    with pytest.raises(PartsError, match="do not sum to the queries"):
        score_by_source(trace, 1, 1, 2, 1)
    logit_attribution(trace, 4)  # needs no split of the heads' inputs


def test_a_network_that_does_not_tell_its_blocks():
    class Bare(Mine):
        blocks = tl.Network.blocks

    trace = tl.trace(mine(network=Bare), torch.tensor([1, 2, 3]))
    with pytest.raises(PartsError, match="layers of Sequential were not found"):
        logit_attribution(trace, 4)


class Adapted(torch.nn.Module):
    """A linear layer with a low-rank update, as adapter libraries wrap one."""

    def __init__(self, base):
        super().__init__()
        self.base_layer = base
        self.a = torch.nn.Parameter(0.3 * torch.randn(2, base.in_features))
        self.b = torch.nn.Parameter(0.3 * torch.randn(base.out_features, 2))

    def forward(self, x):
        return self.base_layer(x) + x @ self.a.T @ self.b.T


def test_of_an_adapted_layer_its_effective_weight_counts(tiny):
    model = tiny("llama")
    for layer in model.model.layers:
        layer.self_attn.o_proj = Adapted(layer.self_attn.o_proj)
        layer.self_attn.q_proj = Adapted(layer.self_attn.q_proj)
        layer.mlp.down_proj = Adapted(layer.mlp.down_proj)
    trace = tl.trace(model, TOKENS)
    out = model.model.layers[1].self_attn.o_proj
    whole = (out.base_layer.weight + out.b @ out.a).T.detach()
    assert_close(trace.output_weight(1), whole, rtol=1e-5, atol=1e-6)
    assert "W_O" in trace.value_note
    found = logit_attribution(trace)
    assert found.logit == pytest.approx(found.model_logit, abs=1e-4)
    score = score_by_source(trace, 2, 1, 4, 1)
    assert score.total == pytest.approx(score.scaled, abs=1e-4)
    with torch.no_grad():
        out.a.add_(0.1)
    with pytest.raises(TraceError, match="weights have changed"):
        trace.value_norms(1)


def test_patches_of_a_picture_are_not_called_biases():
    sizes = dict(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=16,
        patch_size=8,
    )
    torch.manual_seed(0)
    model = T.ViTModel(T.ViTConfig(**sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    pixels = torch.randn(2, 3, 16, 16)
    trace = tl.trace(model, pixel_values=pixels)
    one, two = (score_by_source(trace, 1, 2, 3, 4, batch=batch) for batch in (0, 1))
    for found in (one, two):
        assert found.total == pytest.approx(found.scaled, abs=1e-4)
        assert [s.name for s in found.key_sources] == [
            "rest of the embedding",
            *(f"layer 0, head {i}" for i in range(4)),
            "layer 0, MLP",
            "biases",
        ]
    of_biases = [float(x.parts[-1, -1]) for x in (one, two)]
    assert abs(of_biases[0]) > 1e-3


def test_biases_are_the_same_whatever_the_text(tiny):
    """In pre-norm families this holds only up to the norm's scale."""
    model = tiny("bert")
    seen = []
    for tokens in (TOKENS[0], TOKENS[0].flip(0) + 20):
        trace = tl.trace(model, tokens[None])
        first = score_by_source(trace, 0, 1, 4, 3)
        names = [s.name for s in first.key_sources]
        assert names == [
            "token embedding",
            "segment embedding",
            "position embedding",
            "rest of the embedding",
            "biases",
        ]
        seen.append(float(first.parts[-1, -1]))
    assert seen[0] == pytest.approx(seen[1], rel=1e-4)


SUMMED = ["falcon", "gpt_oss", "deepseek_v32", "minimax_m3", "nllb_moe", "granite_swa"]
NO_SUM = ["diffllama", "axk2", "hy_v4"]  # patterns with several parts, gates


@pytest.mark.parametrize("name", [*SUMMED, *NO_SUM])
def test_of_unusual_attention_the_parts_sum_or_are_refused(name):
    model = families.tiny(name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    trace = traced(model)
    kind = trace.kinds[-1]
    place = (trace, trace.attending(kind)[-1], 1, 4, 3)
    if name in NO_SUM:
        for split in (lambda: score_by_source(*place, kind=kind), lambda: logit_attribution(trace)):
            with pytest.raises(PartsError):
                split()
        return
    raw, size = raw_score(trace, place[1], 1, kind, 0, 4, 3)
    assert abs(score_by_source(*place, kind=kind).total - raw) < 1e-3 * size
    found = logit_attribution(trace)
    assert found.logit == pytest.approx(found.model_logit, abs=1e-3)


@pytest.mark.parametrize("name", ["jamba", "nemotron-h", "recurrent-gemma", "qwen3-next"])
def test_of_hybrids_too(name):
    torch.manual_seed(0)
    trace = traced(noisy(HYBRIDS[name][0]()))
    if name == "qwen3-next":  # its heads' outputs are gated
        with pytest.raises(PartsError, match="more than norms"):
            logit_attribution(trace)
        return
    found = logit_attribution(trace)
    cap = found.softcap
    assert (cap is not None) == (name == "recurrent-gemma")
    whole = found.logit if cap is None else cap * float(torch.tensor(found.logit / cap).tanh())
    assert whole == pytest.approx(found.model_logit, abs=1e-3)
    assert "layer 0, mixer" in [s.name for s in found.sources]

"""Wrappers around or inside a model: adapters, quantized weights, offloaded weights, half
precision; and streams that are not what they seem."""

import copy
import json

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.testing import assert_close

import transformer_lab as tl
from benchmarks.zoo.building import build, registered
from tests.adapters import sharding
from tests.factories import small
from tests.missing import package
from tests.training.processes import two
from transformer_lab.edits.kinds import EditError

T = package("transformers")
TEXT = torch.arange(10, 18)[None]


def llama():
    torch.manual_seed(0)
    sizes = dict(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
    )
    return T.LlamaForCausalLM(T.LlamaConfig(**sizes)).eval()


class Adapted(nn.Module):
    """A linear layer with a low-rank adapter, as PEFT's looks from outside; `stretched` rescales
    the rows of the sum, as DoRA does."""

    def __init__(self, layer, stretched=False):
        super().__init__()
        self.base_layer, self.stretched = layer, stretched
        self.lora_A = nn.ModuleDict({"a": nn.Linear(layer.in_features, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"a": nn.Linear(2, layer.out_features, bias=False)})
        self.active_adapters, self.disable_adapters, self.merged = ["a"], False, False

    def get_delta_weight(self, name):
        return 2.0 * self.lora_B[name].weight @ self.lora_A[name].weight

    def whole(self):
        if self.disable_adapters:
            return self.base_layer.weight
        weight = self.base_layer.weight + self.get_delta_weight("a")
        return weight / weight.norm(dim=1, keepdim=True) if self.stretched else weight

    def forward(self, x):
        return nn.functional.linear(x, self.whole())


@pytest.mark.parametrize("stretched", [False, True])
@pytest.mark.parametrize("off", [False, True])
def test_an_adapter_on_the_output_projection_is_part_of_it(stretched, off):
    model, plain = llama(), llama()
    for adapted, other in zip(model.model.layers, plain.model.layers, strict=True):
        adapted.self_attn.o_proj = layer = Adapted(adapted.self_attn.o_proj, stretched)
        layer.disable_adapters = off
        other.self_attn.o_proj.weight.data = layer.whole().detach()
    trace, wanted = tl.trace(model, TEXT, keep="all"), tl.trace(plain, TEXT, keep="all")
    assert_close(trace.logits, wanted.logits)
    assert trace.value_note == wanted.value_note == "‖value · W_O‖"
    assert_close(trace.value_norms(1), wanted.value_norms(1))
    answers = []
    for one in (model, plain):
        with tl.edit(one, tl.skip(1)):
            answers.append(one(TEXT).logits)
    assert_close(*answers)
    assert not torch.allclose(answers[0], trace.logits, atol=1e-3)
    again = tl.trace(model, TEXT, keep="all")
    with torch.no_grad():
        model.model.layers[1].self_attn.o_proj.lora_B["a"].weight.add_(1)
    with pytest.raises(tl.tracing.trace.TraceError, match="have changed"):
        again.value_norms(1)


@pytest.mark.filterwarnings("ignore:.*quanti")
def test_dynamic_int8_is_traced_and_edited():
    model = torch.ao.quantization.quantize_dynamic(llama(), {nn.Linear}, dtype=torch.qint8)
    trace = tl.trace(model, TEXT, keep="all")
    assert torch.equal(trace.logits, model(TEXT).logits)
    near = tl.trace(llama(), TEXT, keep="all")
    assert_close(trace.value_norms(1), near.value_norms(1), atol=0.02, rtol=0.05)
    with tl.edit(model, tl.skip(1)):
        assert not torch.equal(model(TEXT).logits, trace.logits)
    with pytest.raises(EditError, match="Linear layers, whose kernel is made for inference"):
        tl.estimate_effects(model, TEXT)


class CodedLinear(nn.Module):
    """A linear layer that stores its weight as codes, as quantization libraries do. Its kernel may
    be for inference only, and may round its input too."""

    def __init__(self, layer, kernel=False, rounds=False):
        super().__init__()
        self.in_features, self.kernel, self.rounds = layer.in_features, kernel, rounds
        self.scale = float(layer.weight.detach().abs().max()) / 127
        codes = (layer.weight.detach() / self.scale).round().to(torch.int8)
        self.weight = nn.Parameter(codes, requires_grad=False)

    def whole(self):
        return self.weight.float() * self.scale

    def forward(self, x):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.kernel):
            return nn.functional.linear((5 * x).round() / 5 if self.rounds else x, self.whole())


def coded(plain, **how):
    """A model with coded layers, and a plain one with the weights that the codes stand for."""
    model = copy.deepcopy(plain)
    for block, other in zip(model.model.layers, plain.model.layers, strict=True):
        for part, names in (("self_attn", "qkvo"), ("mlp", ("gate", "up", "down"))):
            for name in names:
                layer = CodedLinear(getattr(getattr(block, part), f"{name}_proj"), **how)
                setattr(getattr(block, part), f"{name}_proj", layer)
                getattr(getattr(other, part), f"{name}_proj").weight.data = layer.whole()
    return model, plain


def test_weights_in_codes_are_those_that_they_stand_for():
    model, plain = coded(llama())
    trace, expected = (tl.trace(one, TEXT, keep="all", gradients=3) for one in (model, plain))
    assert_close(trace.logits, expected.logits)
    assert_close(trace.value_norms(1), expected.value_norms(1))
    assert_close(trace.gradient("z", 0), expected.gradient("z", 0))
    estimates = (tl.estimate_effects(one, TEXT).values for one in (model, plain))
    assert_close(*estimates, atol=1e-5, rtol=1e-4)
    circuits = (tl.circuits.ov_circuit(one, 1, 2).row(7) for one in (model, plain))
    assert_close(*circuits)
    with torch.no_grad():
        model.model.layers[1].self_attn.o_proj.weight.add_(1)
    with pytest.raises(tl.tracing.trace.TraceError, match="have changed"):
        trace.output_weight(1)


@pytest.mark.badinput
def test_a_kernel_for_inference_gives_no_gradients():
    """Refused, since they could be 0 only because later layers stop gradients."""
    model, plain = coded(llama(), kernel=True)
    assert_close(tl.trace(model, TEXT).logits, tl.trace(plain, TEXT).logits)
    assert_close(tl.sweep_heads(model, TEXT).values, tl.sweep_heads(plain, TEXT).values)
    for refused in (
        lambda: tl.trace(model, TEXT, gradients=3),
        lambda: tl.estimate_effects(model, TEXT),
        lambda: tl.circuits.logit_attribution(tl.trace(model, TEXT, keep="all"), 3),
        lambda: tl.edge_scores(model, TEXT, TEXT.flip(1), by="eap"),
    ):
        with pytest.raises(ValueError, match="because of its CodedLinear layers, whose kernel"):
            refused()


@pytest.mark.badinput
def test_weights_of_a_layer_that_rounds_what_it_reads_are_not_told():
    model, _ = coded(llama(), rounds=True)
    trace = tl.trace(model, TEXT, keep="all")
    assert trace.value_note == "‖value‖ (the output projection was not found)"
    assert_close(trace.value_norms(1)[0], trace.call(1).value[0, 0].norm(dim=-1))
    with pytest.raises(ValueError, match="W_O"):
        tl.circuits.ov_circuit(model, 1, 2)


def test_weights_that_are_fetched_when_they_are_used(tmp_path):
    accelerate = package("accelerate")
    plain = tl.trace(llama(), TEXT, keep="all")
    for kept in (
        accelerate.cpu_offload(copy.deepcopy(llama()), execution_device="cpu"),
        accelerate.disk_offload(copy.deepcopy(llama()), str(tmp_path), execution_device="cpu"),
    ):
        assert all(p.is_meta for p in kept.parameters())
        trace = tl.trace(kept, TEXT, keep="all")
        assert torch.equal(trace.logits, plain.logits)
        assert_close(trace.value_norms(1), plain.value_norms(1))
        sweep = tl.sweep_heads(kept, TEXT)
        assert_close(sweep.values, tl.sweep_heads(llama(), TEXT).values)


@pytest.mark.badinput
def test_a_model_without_numbers_is_refused():
    with torch.device("meta"):
        model = T.LlamaForCausalLM(llama().config)
    for kind in (model, small().to("meta")):
        for run in (tl.trace, tl.sweep_heads, tl.estimate_effects):
            with pytest.raises(ValueError, match="are on the meta device"):
                run(kind, TEXT)


@pytest.mark.parametrize("build", [small, llama])
def test_a_model_made_in_inference_mode_is_traced_and_gives_no_gradients(build):
    model = build()
    with torch.inference_mode():
        quick = build()
        quick.load_state_dict(model.state_dict())
    trace, expected = tl.trace(quick, TEXT), tl.trace(model, TEXT)
    assert_close(trace.value_norms(1), expected.value_norms(1))
    assert_close(tl.sweep_heads(quick, TEXT).values, tl.sweep_heads(model, TEXT).values)
    for refused in (
        lambda: tl.trace(quick, TEXT, gradients=3),
        lambda: tl.estimate_effects(quick, TEXT),
    ):
        with pytest.raises(ValueError, match="inference_mode"):
            refused()
    if build is llama:  # whose weights are read
        with pytest.raises(ValueError, match="inference_mode"):
            tl.circuits.logit_attribution(trace, 3)


def test_value_norms_of_weights_that_are_sharded_are_taken_in_the_pass():
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = small()
        expected = tl.trace(model, TEXT)
        norms = expected.value_norms(1)
        for block in model.decoder.blocks:
            fsdp.fully_shard(block, mesh=init_device_mesh("cpu", (1,)), reshard_after_forward=True)
        trace = tl.trace(model, TEXT)
        assert_close(trace.pattern(1, 0), expected.pattern(1, 0))
        with pytest.raises(ValueError, match="keep='maps'"):
            trace.value_norms(1)
        assert_close(tl.trace(model, TEXT, keep="maps").value_norms(1), norms)
        for circuit in (tl.circuits.ov_circuit, tl.circuits.qk_circuit):
            with pytest.raises(ValueError, match="FSDP keeps in parts; give the model as it was"):
                circuit(model, 1, 1)
        edges = [llama(), llama()]
        for part in (*edges[1].model.layers, edges[1]):
            fsdp.fully_shard(part, mesh=init_device_mesh("cpu", (1,)))
        asked = dict(metric=4, n=5, draws=0)
        with pytest.raises(EditError, match=r"no gradient reaches .* give by='exact'"):
            tl.circuit(edges[1], TEXT[0], TEXT[0].flip(0), **asked)
        alone = [tl.circuit(m, TEXT[0], TEXT[0].flip(0), by="exact", **asked).alone for m in edges]
        assert alone[0] == pytest.approx(alone[1], abs=1e-5)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_traced_as_it_runs(dtype):
    model = llama().to(dtype)
    trace = tl.trace(model, TEXT, keep="all")
    assert trace.logits.dtype == dtype
    assert_close(trace.pattern(1).sum(-1), torch.ones(4, 8))
    with tl.edit(model, tl.ablate(1, 2)):
        assert model(TEXT).logits.dtype == dtype


@pytest.mark.parametrize("make", [llama, lambda: build(registered()["causal/bloom"])])
def test_generation_under_edits_is_that_without_a_cache(make):
    model = make()
    with tl.edit(model, tl.ablate(1, 2), tl.knock_out(0, 1, query=7, key=2)):
        options = dict(max_new_tokens=6, do_sample=False, pad_token_id=0)
        kept, anew = (model.generate(TEXT, use_cache=cache, **options) for cache in (True, False))
    assert torch.equal(kept, anew)


@pytest.mark.parametrize("n_texts", [1, 8])
def test_a_stream_that_has_its_positions_first_is_not_taken_for_another(n_texts):
    model = build(registered()["causal/xlnet"])
    text = torch.arange(8 * n_texts).reshape(n_texts, 8) % 60
    trace = tl.trace(model, text, keep="all")
    with pytest.raises(tl.tracing.trace.TraceError, match="stream"):
        trace.residual_norms()
    other = tl.trace(build(registered()["causal/gpt2"]), text, keep="all")
    with (
        pytest.raises(EditError, match="batch, position"),
        tl.edit(model, tl.patch(other, 0, what="resid_pre")),
    ):
        model(text)


def test_a_mask_that_lets_a_beginning_see_itself_is_not_called_causal():
    model = llama()
    assert tl.trace(model, TEXT).causal()
    prefix = torch.ones(8, 8).tril().bool()
    prefix[:3, :3] = True
    bias = torch.zeros(1, 1, 8, 8).masked_fill(~prefix, torch.finfo(torch.float32).min)
    trace = tl.trace(model, TEXT, attention_mask=bias)
    assert trace.pattern(0)[:, 0, 2].min() > 0
    assert not trace.causal()


@pytest.mark.needs("peft")
def test_adapters_of_peft_itself():
    """LoRA, switched on and off, and a prompt, which comes before the model."""
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "o_proj"], init_lora_weights=False)
    model = peft.get_peft_model(llama(), lora).eval()
    trace = tl.trace(model, TEXT, keep="all")
    whole = copy.deepcopy(model).merge_and_unload().eval()
    wanted = tl.trace(whole, TEXT, keep="all")
    with torch.no_grad():
        assert_close(trace.logits, model(TEXT).logits)
    for layer in trace.attending():
        assert_close(trace.pattern(layer), wanted.pattern(layer))
        assert_close(trace.value_norms(layer), wanted.value_norms(layer))
    answers = []
    for one in (model, whole):
        with tl.edit(one, tl.ablate(1, 0)), torch.no_grad():
            answers.append(one(TEXT).logits)
    assert_close(*answers)
    with model.disable_adapter():
        assert_close(tl.trace(model, TEXT).logits, tl.trace(llama(), TEXT).logits)
    prompt = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    with pytest.raises(ValueError, match="learned a prompt, which is put in front of the model"):
        tl.trace(peft.get_peft_model(llama(), prompt), TEXT)


@pytest.mark.timeout(240)
def test_a_model_spread_over_two_processes_is_measured_as_in_one(tmp_path):
    two(sharding.__file__, tmp_path / "two.json", seconds=110)
    found, alone = json.loads((tmp_path / "two.json").read_text()), sharding.measured()
    for name, values in found.items():
        assert_close(torch.tensor(values), torch.tensor(alone[name]), atol=1e-5, rtol=0)

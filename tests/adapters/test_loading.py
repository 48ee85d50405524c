"""Options that `from_pretrained` passes on to transformers; the result is as exact as eager."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

import transformer_lab as tl
from tests.hostile.hub_folders import words
from tests.missing import QUANTIZATION, package
from transformer_lab.adapters.lookup import network_of
from transformer_lab.adapters.network import Inputs
from transformer_lab.graphs.check import check_graph
from transformer_lab.graphs.export import export_graph
from transformer_lab.pretrained import weights

transformers = package("transformers")
ROOT = Path(__file__).parents[2]
TEXT = "the keys w0 w1 w2 w3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write a small Llama as Hugging Face's libraries do."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=52,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    path = tmp_path_factory.mktemp("hub") / "llama"
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    words().save_pretrained(path)
    return path


def int8():
    from torchao.quantization import Int8WeightOnlyConfig

    return transformers.TorchAoConfig(Int8WeightOnlyConfig())


def offloaded(folder):
    """Keep its second layer and its head on disk until they are used."""
    package("accelerate")
    here = ("embed_tokens", "norm", "rotary_emb", "layers.0")
    return {f"model.{part}": "cpu" for part in here} | {"model.layers.1": "disk", "lm_head": "cpu"}


def adapted(model):
    """Add LoRA to the queries and the output projection."""
    peft = package("peft")
    torch.manual_seed(1)
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "o_proj"], init_lora_weights=False)
    return peft.get_peft_model(model, lora).eval()


def sharded(parts):
    def wrap(model):
        from torch.distributed.fsdp import fully_shard

        for part in parts(model):
            fully_shard(part, mesh=init_device_mesh("cpu", (1,)))
        return model

    return wrap


WAYS = {  # name -> (options, tolerance at this precision)
    "as it is": (lambda folder: {}, 1e-5),
    "float16": (lambda folder: {"dtype": "float16"}, 2e-3),
    "bfloat16": (lambda folder: {"dtype": torch.bfloat16}, 2e-2),
    "offloaded": (lambda folder: {"device_map": offloaded(folder)}, 1e-5),
}
WRAPS = {  # name -> (wrapper, whether eager attention is measured through it too)
    "LoRA": (adapted, True),
    "compiled": (lambda model: torch.compile(model, backend="eager"), False),
    "DDP": (lambda model: nn.parallel.DistributedDataParallel(model), False),
    "FSDP2, whole": (sharded(lambda model: [model]), False),
    "FSDP2, by block": (sharded(lambda model: [*model.model.layers, model]), False),
}
WHY_NOT = {
    "bfloat16": "it computes in bfloat16, and a page in float32",
    "offloaded": "are not in memory",
    "FSDP2, whole": "FSDP keeps its weights in parts; give the model as it was before",
    "FSDP2, by block": "FSDP keeps its weights in parts; give the model as it was before",
}
BITS = {}
if find_spec("bitsandbytes"):  # in a separate process: see below
    BITS[8] = transformers.BitsAndBytesConfig(load_in_8bit=True)
    BITS[4] = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32
    )
if find_spec("torchao"):
    WAYS["int8"] = lambda folder: {"quantization_config": int8()}, 1e-5
    WHY_NOT["int8"] = "its weights are quantized; a page quantizes them"


@pytest.fixture
def one_process():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def without_head(model, layer, head):
    """Zero a head's part of the output projection's input, by a hook in transformers' own pass."""

    def silence(module, args):
        size = model.config.head_dim
        args[0][..., head * size : (head + 1) * size] = 0

    return model.model.layers[layer].self_attn.o_proj.register_forward_pre_hook(silence)


@pytest.mark.needs("torchao")
def test_quantized_weights_in_a_process_with_their_libraries():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    command += ["-k", "int8 and (maps or travel) or bits"]
    env = {**os.environ, "PYTHONPATH": str(QUANTIZATION)}
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert re.search(r"^4 passed, \d+ deselected", run.stdout, re.MULTILINE), run.stdout[-3000:]


@pytest.mark.parametrize("n", BITS)
@pytest.mark.filterwarnings("ignore")
def test_bits_and_bytes_on_a_cpu(folder, n):
    """Its 4-bit kernel gives gradients on some processors only; elsewhere they are refused."""
    model = tl.TextModel.from_pretrained(folder, quantization_config=BITS[n], device_map="cpu")
    eager = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", quantization_config=BITS[n], device_map="cpu"
    ).eval()
    ids = torch.tensor([model.tokenizer.encode(TEXT)])
    trace, token = model.trace(TEXT, keep="all"), int(ids[0, -1])
    with torch.no_grad():
        plain = eager(ids, output_attentions=True)
        with without_head(eager, 1, 2):
            wanted = eager(ids).logits
    assert (trace.logits - plain.logits).abs().max() <= 1e-5
    for layer, pattern in enumerate(plain.attentions):
        assert (trace.pattern(layer) - pattern[0]).abs().max() <= 1e-5
    with tl.edit(model, tl.ablate(1, 2)):
        edited = model.trace(TEXT).logits
    assert (edited - wanted).abs().max() <= 1e-5 < (edited - trace.logits).abs().max()
    sweep = tl.sweep_heads(model.model, ids[:, :-1], token=token)
    change = likely(wanted, token) - likely(plain.logits, token)
    assert abs(sweep.values[1, 2] - change) <= 9e-5
    read = eager.model.embed_tokens(ids).detach().requires_grad_()
    some = eager.model.layers[0].self_attn.q_proj(read).sum()
    if torch.autograd.grad(some, read, allow_unused=True)[0] is not None:
        slope = slope_of(eager, ids, token)
        effects = tl.estimate_effects(model.model, ids[:, :-1], token=token)
        assert abs(effects.values[1, 2] + slope) <= 9e-5 + 0.05 * abs(slope)
    else:
        with pytest.raises(ValueError, match="Linear4bit layers, whose kernel is made for infer"):
            tl.estimate_effects(model.model, ids)
    weight = trace.output_weight(1)  # None if a layer rounds its input as well
    if weight is not None:
        z = torch.randn(9, 64)
        assert (z @ weight - eager.model.layers[1].self_attn.o_proj(z)).abs().max() <= 1e-3
    assert n == 4 or weight is None


@pytest.mark.parametrize("way", [*WAYS, *WRAPS])
@pytest.mark.filterwarnings("ignore")
def test_maps_edits_sweeps_gradients_and_circuits_are_those_of_eager_attention(
    folder, way, tmp_path, one_process
):
    options, apart = WAYS.get(way, WAYS["as it is"])
    wrap, both = WRAPS.get(way, (lambda model: model, False))
    more = {"offload_folder": tmp_path / "off"} if way == "offloaded" else {}
    model = tl.TextModel.from_pretrained(folder, **options(folder))
    model = tl.TextModel(wrap(model.model), model.tokenizer)
    eager = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", **options(folder), **more
    ).eval()
    wrapped = wrap(eager) if both else eager  # LoRA acts inside the model
    ids = torch.tensor([model.tokenizer.encode(TEXT)])
    trace = model.trace(TEXT, keep="all")
    with torch.no_grad():
        plain = eager(ids, output_attentions=True)
        assert (trace.logits - plain.logits).abs().max() <= apart
        for layer, wanted in enumerate(plain.attentions):
            assert (trace.pattern(layer) - wanted[0]).abs().max() <= apart
        with without_head(eager, 1, 2):
            wanted = eager(ids).logits
    with tl.edit(model, tl.ablate(1, 2)), torch.no_grad():
        edited, called = model.trace(TEXT).logits, model.model(ids).logits
    assert (edited - wanted).abs().max() <= apart < (edited - trace.logits).abs().max()
    assert (called - wanted).abs().max() <= apart
    token = int(ids[0, -1])
    sweep = tl.sweep_heads(model.model, ids[:, :-1], token=token)
    assert (
        abs(sweep.values[1, 2] - (likely(wanted, token) - likely(plain.logits, token))) <= 9 * apart
    )
    effects = tl.estimate_effects(model.model, ids[:, :-1], token=token)
    slope = slope_of(eager, ids, token)
    assert abs(effects.values[1, 2] + slope) <= 9 * apart + 0.05 * abs(slope)
    found = model.trace(TEXT, gradients=token).gradient("z", 1)
    wanted = gradient_of(eager, ids, token)
    assert (found.transpose(0, 1).flatten(1) - wanted).abs().max() <= 9 * apart * wanted.abs().max()
    whole = transformers.LlamaForCausalLM.from_pretrained(folder).eval()
    if both:
        whole = wrapped.merge_and_unload()
    elif way not in ("offloaded", *WRAPS):
        state = {
            n: p.dequantize() if way == "int8" and hasattr(p, "scale") else p
            for n, p in model.model.named_parameters()
        }
        whole.load_state_dict({n: p.detach().float() for n, p in state.items()}, strict=False)
    circuits = [
        tl.circuits.ov_circuit(tl.TextModel(m, model.tokenizer), 1, 2) for m in (model.model, whole)
    ]
    rows = [circuit.row(7).float() for circuit in circuits]
    assert (rows[0] - rows[1]).abs().max() <= 9 * apart * rows[1].abs().max()


def likely(logits, token):
    """The log-probability of a token at the position before the last."""
    return float(logits[0, -2].float().log_softmax(-1)[token])


def gradient_of(eager, ids, token):
    """Gradient of a token's last logit by the heads' outputs in layer 1, from transformers' own
    pass: [query, head · d_head]."""
    kept = []

    def keep(module, args):
        kept.append(args[0].detach().requires_grad_())
        return (kept[0],)

    with eager.model.layers[1].self_attn.o_proj.register_forward_pre_hook(keep):
        eager(ids).logits[0, -1, token].backward()
    return kept[0].grad[0]


def slope_of(eager, ids, token):
    """Derivative of the log-probability by the scale of head 1.2, from transformers' own pass."""
    size = torch.ones((), requires_grad=True)

    def scaled(module, args):
        z = args[0]
        return (torch.cat([z[..., :32], z[..., 32:48] * size.to(z), z[..., 48:]], -1),)

    with eager.model.layers[1].self_attn.o_proj.register_forward_pre_hook(scaled):
        eager(ids).logits[0, -2].float().log_softmax(-1)[token].backward()
    return float(size.grad)


def test_a_subfolder_is_a_model_of_its_own(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "outer" / "inner")
    assert tl.TextModel.from_pretrained(tmp_path / "outer", subfolder="inner").kind == "decoder"


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("name", "options", "error", "why"),
    [
        (None, {"nice": 1}, TypeError, "there is no option 'nice'; there are dtype, device_map"),
        (None, {"dtype": "int8"}, ValueError, "dtype must be one of auto, float32.*, got int8"),
        (None, {"dtype": torch.int8}, ValueError, "dtype must be one of"),
        (
            None,
            {"revision": "main"},
            ValueError,
            "a revision is of a model on the hub, and .* is a folder",
        ),
        (
            None,
            {"subfolder": "x"},
            FileNotFoundError,
            "x does not hold a model: config.json is missing",
        ),
        (None, {"device": "auto", "device_map": "cpu"}, ValueError, "or a device_map, not both"),
        (
            "shipped",
            {"revision": "main"},
            ValueError,
            "revision is for models of Hugging Face's; 'shipped'",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(folder, name, options, error, why):
    with pytest.raises(error, match=why):
        tl.TextModel.from_pretrained(name or folder, **options)


@pytest.mark.badinput
def test_more_weights_than_there_is_memory_and_a_missing_library(folder, monkeypatch):
    free = type("Memory", (), {"available": 100_000})
    with monkeypatch.context() as patch:
        patch.setattr("psutil.virtual_memory", lambda: free)
        with pytest.raises(
            weights.FileError, match=r"weights, which take 0.0 GiB in float32, and 0.0 GiB are"
        ):
            tl.TextModel.from_pretrained(folder)
    if not transformers.utils.is_bitsandbytes_available():
        config = transformers.BitsAndBytesConfig(load_in_8bit=True)
        with pytest.raises(ImportError, match="requires bitsandbytes"):
            tl.TextModel.from_pretrained(folder, quantization_config=config)


@pytest.mark.parametrize("way", WHY_NOT)
def test_a_model_that_cannot_travel_stays_explorable(folder, way, one_process):
    options, _ = WAYS.get(way, WAYS["as it is"])
    model = tl.TextModel.from_pretrained(folder, **options(folder))
    model = tl.TextModel(WRAPS[way][0](model.model), model.tokenizer) if way in WRAPS else model
    view = tl.explore(model, TEXT, layer=1, head=2)
    view.edits = [tl.ablate(1, 2)]
    assert "layer 1, head 2" in view.sentence
    with pytest.raises(ValueError, match=WHY_NOT[way]):
        view.save_html("never.html", model=True)


@pytest.mark.parametrize("way", sorted({*WRAPS} - {*WHY_NOT}))
def test_what_travels_gives_the_same_in_a_page(folder, way, one_process):
    """Compare the graph that a page runs with the model under eager attention."""
    model = tl.TextModel.from_pretrained(folder)
    network = network_of(WRAPS[way][0](model.model))
    inputs = Inputs(torch.tensor([model.tokenizer.encode(TEXT)]))
    assert check_graph(export_graph(network, inputs), network, inputs) <= 1e-4


def test_the_table_of_the_documentation_has_every_way():
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "loading.md").read_text("utf-8"), re.M)
    for way in (*WAYS, *WRAPS, "int8"):
        assert any(way in row for row in rows) or way == "as it is", way

"""The attention function that transformers calls: every family's patterns, logits and edits against
the model's own eager attention."""

import inspect
import re
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.adapters.families import T, eager, ours, text, tiny
from transformer_lab.adapters import attention_function, attention_interface
from transformer_lab.adapters.structure import Structure
from transformer_lab.attention import Site

MASKS = ["bigbird_pegasus", "pegasus_x", "nllb_moe"]
SPARSE = ["deepseek_v32", "glm_moe_dsa", "axk2", "minimax_m3"]
SINKS = ["gpt_oss", "granite_swa", "mimo_v2_flash", "flint", "hy_v4", "inkling2"]
OTHERS = ["diffllama", "gemma2", "mistral", "deepseek_v3", "t5"]
NEAR = dict(rtol=0, atol=2e-5)


def maps_of(output, kind):
    return getattr(output, {"cross": "cross_attentions"}.get(kind, f"{kind}_attentions"), None) or (
        output.attentions
    )


@pytest.mark.parametrize("left", [0, 3], ids=["whole", "padded"])
@pytest.mark.parametrize("name", [*MASKS, *SPARSE, *SINKS, *OTHERS])
def test_maps_and_logits_are_the_models_own(name, left):
    model = tiny(name)
    given = text(model, left=left)
    expected = eager(model, given)
    trace = tl.trace(model, **ours(given))
    both = model.config.is_encoder_decoder
    real = slice(None) if both else slice(left, None)
    assert_close(trace.logits[0], expected.logits[0], **NEAR)
    assert_close(trace.logits[1, real], expected.logits[1, real], **NEAR)
    for kind in trace.kinds:
        for layer in trace.attending(kind):
            own = maps_of(expected, kind)[layer]
            if name == "granite_swa":  # it applies sinks afterwards
                own = (
                    own
                    * torch.stack([1 - trace.to_nothing(layer, batch=i) for i in (0, 1)])[..., None]
                )
            rows = slice(left, None) if kind == "encoder" or not both else slice(None)
            assert_close(trace.pattern(layer, kind=kind), own[0], **NEAR)
            assert_close(trace.pattern(layer, kind=kind, batch=1)[:, rows], own[1, :, rows], **NEAR)


@pytest.mark.parametrize("name", [*MASKS, *SPARSE, *SINKS, *OTHERS])
@torch.no_grad()
def test_a_head_that_is_switched_off_is_switched_off(name):
    """Against zeroing it in the eager attention function, without the attention interface."""
    model = tiny(name)
    given = text(model)
    with tl.edit(model, tl.scale(layer=1, head=2, by=1.0)):
        same = model(**given).logits
    plain = model(**given).logits
    assert_close(same, plain, **NEAR)
    with tl.edit(model, tl.ablate(layer=1, head=2)):
        without = model(**given).logits
    assert not torch.allclose(without, plain, atol=1e-4)
    with without_head_2(model):
        assert_close(without, model(**given).logits, **NEAR)


class without_head_2:
    """Context in which the eager attention function zeroes head 2 of the decoder's second layer."""

    def __init__(self, model):
        self.model = model

    def __enter__(self):
        self.model.set_attn_implementation("eager")
        self.module = sys.modules[type(self.model).__module__]
        self.plain = self.module.eager_attention_forward
        structure = Structure(self.model)
        second = next(m for m in structure.attention if structure.site_of(m) == Site("decoder", 1))

        def without(module, *args, **kwargs):
            z, weights = self.plain(module, *args, **kwargs)
            if module is second:
                z = z.clone()
                z[:, :, 2] = 0
            return z, weights

        self.module.eager_attention_forward = without

    def __exit__(self, *_):
        self.module.eager_attention_forward = self.plain


@pytest.mark.parametrize("name", SINKS)
def test_what_rows_lack_goes_to_nothing(name):
    model = tiny(name)
    trace = tl.trace(model, **ours(text(model)))
    with_sinks = [layer for layer in trace.attending() if trace.has_sinks(layer)]
    assert with_sinks
    for layer in with_sinks:
        nothing = trace.to_nothing(layer)
        assert nothing.min() > 0
        assert_close(trace.pattern(layer).sum(-1) + nothing, torch.ones_like(nothing))
        assert_close(trace.to_nothing(layer, 2), nothing[2])
        assert trace.queries_keys(layer, 0) is None


@pytest.mark.badinput
@pytest.mark.parametrize(
    "name", ["head_mask", "cu_seq_lens_q", "relative_key", "attention_scale", "window_mask"]
)
def test_an_argument_that_is_not_known_is_refused_by_its_name(name):
    qkv = torch.zeros(3, 1, 1, 2, 2)
    attention_function.attention(torch.nn.Linear(1, 1), *qkv, None, **{name: None}, use_cache=False)
    with pytest.raises(
        attention_interface.AdapterError, match=rf"Linear passes {name}= to its attention"
    ):
        attention_function.attention(torch.nn.Linear(1, 1), *qkv, None, **{name: torch.zeros(1)})


@pytest.mark.badinput
def test_blocks_of_keys_without_their_size_are_refused():
    qkv = torch.zeros(3, 1, 1, 2, 2)
    blocks = torch.zeros(1, 1, 2, 1, dtype=torch.long)
    with pytest.raises(attention_interface.AdapterError, match="size of a block is not known"):
        attention_function.attention(torch.nn.Linear(1, 1), *qkv, None, block_indices=blocks)


def test_every_argument_of_every_installed_architecture_is_known():
    """Check the arguments that modelling files pass to the attention function."""
    known = (
        set(inspect.signature(attention_function.attention).parameters)
        | attention_function.HARMLESS
    )
    flash_only = {"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k"}
    unknown = {}
    for path in Path(T.__file__).parent.glob("models/*/modeling_*.py"):
        for call in re.findall(
            r"= attention_interface\((.*?)\n        +\)", path.read_text(), re.S
        ):
            names = set(re.findall(r"^\s+(\w+)=", call, re.M)) - known - flash_only
            if names:
                unknown[path.name] = names
    assert not unknown


class TestDifferentialAttention:
    """DiffLlama calls attention twice a layer, with one pattern and two halves of the values."""

    def test_a_trace_says_how_heads_belong_together(self):
        model = tiny("diffllama")
        trace = tl.trace(model, **ours(text(model)))
        assert trace.n_layers() == 2 and trace.n_heads() == 4
        assert "head h + 2" in trace.note and "differential" in trace.note

    def test_values_are_whole_and_no_output_projection_is_claimed(self):
        model = tiny("diffllama")
        given = ours(text(model))
        short = tl.trace(model, **given, keep="maps")
        whole = tl.trace(model, **given, keep="all")
        assert whole.activation("z", 0).shape == (2, 4, 9, 16)
        z = whole.pattern(0, batch=1) @ whole.call(0).value[1].repeat_interleave(2, 0)
        assert_close(whole.activation("z", 0)[1], z, **NEAR)
        assert "not found" in whole.value_note and whole.output_weight(0) is None
        assert_close(short.value_norms(1), whole.value_norms(1), **NEAR)

    @torch.no_grad()
    def test_every_edit_of_heads_knows_both_parts(self):
        model = tiny("diffllama")
        given = text(model)
        plain = model(**given).logits
        source = tl.trace(model, **ours(given), keep="all")
        with tl.edit(model, tl.patch(source, layer=1)):
            assert_close(model(**given).logits, plain, **NEAR)
        mean = tl.mean_of(model, given["input_ids"])
        assert mean.means["decoder"][1].shape == (4, 16)
        assert_close(mean.means["decoder"][1], source.activation("z", 1).mean((0, 2)), **NEAR)
        with tl.edit(model, tl.ablate(layer=1, value=mean)):
            held = model(**given).logits
        constant = mean.means["decoder"][1][None, :, None].expand(2, -1, 9, -1)
        source.activation("z", 1).copy_(constant)
        with tl.edit(model, tl.patch(source, layer=1)):
            assert_close(model(**given).logits, held, **NEAR)

    @torch.no_grad()
    def test_a_sweep_is_the_same_edits_one_by_one(self):
        model = tiny("diffllama")
        ids = text(model)["input_ids"][:1]
        sweep = tl.sweep_heads(model, ids)
        token = int(model(ids).logits[0, -1].argmax())
        for layer in range(2):
            for head in range(4):
                with tl.edit(model, tl.ablate(layer, head)):
                    alone = model(ids).logits[0, -1].log_softmax(-1)[token]
                found = sweep.baseline["log_prob"] + float(sweep.values[layer, head])
                assert abs(found - float(alone)) < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("alibi", [True, False])
def test_two_kinds_of_alibi_are_noted_with_the_one_that_is_followed(alibi):
    passes = {}
    for kind in ("sdpa", "eager"):
        model = tiny("falcon", alibi=alibi, attn_implementation=kind)
        given = text(model)
        passes[kind] = model(**given).logits
        trace = tl.trace(model, given["input_ids"])
        assert_close(trace.logits, passes[kind], rtol=1e-4, atol=1e-4)
        assert (trace.note is not None) == alibi
        assert not alibi or f"attn_implementation={kind!r}" in trace.note
    apart = float((passes["sdpa"] - passes["eager"]).abs().max())
    assert (apart > 0.1) == alibi


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "gpt_neo", "llama"])
def test_positions_that_skip_the_padding_are_noted(name):
    made = dict(vocab_size=64, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    models = {
        "gpt2": lambda: T.GPT2LMHeadModel(T.GPT2Config(n_layer=2, n_head=2, n_embd=16, **made)),
        "gpt_neo": lambda: T.GPTNeoForCausalLM(
            T.GPTNeoConfig(
                num_layers=2, num_heads=2, hidden_size=16, attention_types=[[["global"], 2]], **made
            )
        ),
        "llama": lambda: tiny("llama"),
    }
    torch.manual_seed(0)
    model = models[name]().eval()
    ids = torch.tensor([[0, 0, 5, 7, 5, 9], [3, 5, 7, 5, 9, 4]])
    mask = ids > 0
    alone = model(ids, attention_mask=mask.long()).logits
    trace = tl.trace(model, ids, mask=mask)
    assert "counted from each text's first real token, as `generate` does" in trace.note
    one = tl.trace(model, ids[:1, 2:]).logits  # what the note promises: as if without padding
    assert_close(trace.logits[:1, 2:], one, rtol=1e-4, atol=1e-4)
    apart = float(((trace.logits - alone) * mask[..., None]).abs().max())
    assert (apart > 1e-3) == (name != "llama")
    counted = (mask.long().cumsum(-1) - 1).clamp(min=0)
    for notes in (
        tl.trace(model, ids[1:]),
        tl.trace(model, ids[:1].flip(1), mask=mask[:1].flip(1)),
        tl.trace(model, ids, mask=mask, position_ids=counted),
    ):
        assert notes.note is None

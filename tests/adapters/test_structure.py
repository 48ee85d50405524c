"""The structure of a Hugging Face model: its stacks, their layers, kinds, and omissions."""

import copy
import gc
import weakref
from functools import cache

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from benchmarks.zoo.building import build, registered
from tests.missing import package
from transformer_lab.adapters import causality
from transformer_lab.adapters.attention_function import NAME
from transformer_lab.adapters.causality import structure_of
from transformer_lab.adapters.lookup import network_of
from transformer_lab.edits.kinds import EditError

T = package("transformers")
T.logging.set_verbosity_error()
TEXT = torch.arange(10, 22)[None]


@cache
def model(name):
    return build(registered()[name])


def traced(name, **options):
    made = model(name)
    return tl.trace(made, TEXT, TEXT[:, :7] if made.config.is_encoder_decoder else None, **options)


def labels(trace, kind=None):
    return [layer.label for layer in trace.layers(kind)]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["causal/roberta", "causal/xmod", "causal/whisper"])
def test_padding_moves_no_text(name, side):
    """RoBERTa's relatives count positions from pad_token_id; Whisper takes them in **kwargs."""
    made, n = model(name), 5
    pad = torch.full((1, 12 - n), made.config.pad_token_id or 0)
    real = torch.ones(1, n, dtype=torch.bool)
    parts = (pad, TEXT[:, :n]) if side == "left" else (TEXT[:, :n], pad)
    masks = (pad > pad.max(), real) if side == "left" else (real, pad > pad.max())
    trace = tl.trace(made, torch.cat(parts, 1), mask=torch.cat(masks, 1))
    here = slice(-n, None) if side == "left" else slice(0, n)
    alone = tl.trace(made, TEXT[:, :n])
    assert_close(trace.logits[:, here], alone.logits, atol=1e-5, rtol=1e-4)
    assert_close(trace.pattern(1)[:, here, here], alone.pattern(1), atol=1e-6, rtol=1e-4)


def test_a_model_inside_that_hands_on_its_inputs_is_no_tower():
    """Whisper's decoder alone is in a wrapper whose main input is declared as audio frames."""
    name = "causal/whisper"
    (stack,) = network_of(model(name)).structure.stacks
    assert (stack.kind, stack.path) == ("decoder", "model.decoder.layers")
    stream = traced(name, keep="all").residual()
    assert len(stream["resid_post"]) == len(stack.blocks)
    with tl.edit(model(name), tl.skip(1, "mlp")):
        skipped = traced(name, keep="all").residual()
    alike = [
        torch.equal(a, b) for a, b in zip(stream["resid_post"], skipped["resid_post"], strict=True)
    ]
    assert alike[0] and not alike[1]


def test_stacks_that_take_turns_are_counted_by_turn():
    made = model("causal/hrm_text")
    trace = traced("causal/hrm_text", keep="all")
    assert trace.note is None and trace.n_layers() == made.config.num_hidden_layers == 16
    assert_close(trace.logits, made(TEXT).logits, atol=1e-6, rtol=1e-5)
    with tl.edit(made, tl.ablate(9, 1)):
        edited = traced("causal/hrm_text", keep="all")
    zeros = [i for i in range(16) if not edited.activation("z", i)[:, 1].any()]
    assert zeros == [9]
    assert_close(edited.pattern(8), trace.pattern(8))
    assert not torch.allclose(edited.pattern(10), trace.pattern(10))


def test_a_block_that_attends_twice_is_two_layers():
    made = model("causal/longcat_flash")
    trace = traced("causal/longcat_flash", keep="all")
    assert trace.note is None and trace.n_layers() == made.config.num_hidden_layers
    for layer in (2, 3):
        with tl.edit(made, tl.ablate(layer, 1)):
            edited = traced("causal/longcat_flash", keep="all")
        zeros = [i for i in range(4) if not edited.activation("z", i)[:, 1].any()]
        assert zeros == [layer]
        block = made.model.layers[1]
        weight = block.self_attn[layer - 2].o_proj.weight
        width = weight.shape[1] // 4
        kept = weight.data[:, width : 2 * width].clone()
        weight.data[:, width : 2 * width] = 0
        assert_close(edited.logits, made(TEXT).logits, atol=1e-6, rtol=1e-5)
        weight.data[:, width : 2 * width] = kept
    with pytest.raises(tl.edits.kinds.EditError, match="several times"), tl.edit(made, tl.skip(0)):
        made(TEXT)


def test_attention_whose_mask_alone_is_causal_is_a_decoders():
    assert network_of(model("causal/bigbird_pegasus")).kinds == ("decoder",)
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    text = T.CLIPTextModel(T.CLIPTextConfig(vocab_size=60, max_position_embeddings=20, **sizes))
    assert network_of(text.eval()).kinds == ("decoder",)
    assert not tl.trace(text, TEXT).pattern(0).triu(1).any()


def test_stacks_of_one_kind_are_named_and_patches_left_out():
    trace = traced("causal/blt")
    local = [i for i, label in enumerate(labels(trace)) if "model.local_" in label]
    whole = [i for i, label in enumerate(labels(trace)) if "model.global_" in label]
    assert all("queries and" in labels(trace)[i] for i in whole)
    assert set(local) <= set(trace.attending()) and not set(whole) & set(trace.attending())
    made, eager = model("causal/blt"), {}
    hooks = [
        m.register_forward_hook(lambda _, args, out, n=n: eager.update({n: out[1]}))
        for n, m in made.named_modules()
        if n.endswith("self_attn")
    ]
    made.set_attn_implementation("eager")
    made(TEXT, use_cache=False)
    made.set_attn_implementation("sdpa")
    for hook in hooks:
        hook.remove()
    for layer in trace.layers():
        if layer.heads:
            assert_close(trace.pattern(layer.number), eager[f"{layer.where}.self_attn"][0])
    assert "queries and" in trace.note and "edits are not available" not in trace.note
    assert_close(
        trace.logits, model("causal/blt")(TEXT, use_cache=False).logits, atol=1e-6, rtol=1e-5
    )
    tl.views.HeadView(trace)


@pytest.mark.parametrize(
    ("name", "kind", "n"),
    [
        ("causal/phi4_multimodal", "decoder", 2),
        ("causal/gemma3", "decoder", 4),
        ("causal/got_ocr2", "decoder", 2),
    ],
)
def test_towers_for_other_inputs_are_no_layers_of_the_text(name, kind, n):
    network = network_of(model(name))
    assert network.kinds == (kind,) and len(network.layers(kind)) == n
    trace = traced(name)
    assert trace.attending() == list(range(n)) and trace.note is None  # the tower did not run


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("seq2seq/longt5", "The encoder's attention is not shown: LongT5LocalAttention"),
        ("seq2seq/led", "The encoder's attention is not shown: LEDEncoderSelfAttention"),
        ("seq2seq/t5gemma2", "it has 7 queries and 19 keys, and the text gives 7 and 7"),
        (
            "masked/funnel",
            "The attention of layers 4, 5, 6, 7, 8, 9, 10, 11 (encoder) is not shown",
        ),
    ],
)
def test_what_is_not_shown_is_said(name, words):
    trace = traced(name)
    assert words in trace.note
    view = tl.views.HeadView(trace)
    assert words.split(":")[0] in str(view.get_state())
    plain = dict(decoder_input_ids=TEXT[:, :7]) if len(network_of(model(name)).kinds) == 3 else {}
    assert_close(trace.logits, model(name)(TEXT, **plain).logits, atol=1e-6, rtol=1e-5)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("masked/reformer", "LocalSelfAttention does not sum its values"),
        ("causal/rwkv", "no softmax over keys was found in its RwkvSelfAttention"),
        ("masked/yoso", "no softmax over keys was found in its YosoSelfAttention"),
        ("masked/longformer", "LongformerSelfAttention does not sum its values"),
        ("masked/perceiver", "Perceiver"),
        (
            "causal/mamba",
            "no attention to trace: no module of MambaForCausalLM is an attention layer",
        ),
    ],
)
def test_what_has_no_map_of_tokens_is_refused_with_the_reason(name, words):
    with pytest.raises(ValueError, match=words):
        traced(name)


@pytest.mark.parametrize("name", ["causal/fuyu", "causal/gemma3", "causal/gemma4"])
def test_the_vocabulary_is_that_of_the_text_model_inside(name):
    made = model(name)
    rows = len(made.get_input_embeddings().weight)
    assert getattr(made.config, "vocab_size", None) is None
    assert network_of(made).vocabulary == (rows, rows)
    with pytest.raises(ValueError, match=f"tokens holds {rows}, outside the vocabulary of {rows}"):
        tl.trace(made, [[3, rows]])


def test_ids_that_stand_for_an_image_are_not_refused():
    made = copy.deepcopy(model("causal/gemma3"))
    made.config.image_token_id = len(made.get_input_embeddings().weight)
    assert network_of(made).vocabulary == (None, None)


def test_the_kind_of_own_maps_is_what_they_show():
    assert traced("causal/cpmant").kinds == ("encoder",)


def test_what_is_kept_is_not_changed_by_what_the_model_does_next():
    """Nyströmformer adds to z in place."""
    made = model("masked/nystromformer")
    trace = traced("masked/nystromformer", keep="all")
    with tl.edit(made, tl.patch(trace)):
        assert_close(made(TEXT).logits, trace.logits, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["causal/mpt", "causal/moshi", "causal/dbrx", "causal/blt"])
def test_the_attention_setting_comes_back_in_every_config(name):
    made = model(name)

    def settings(config):
        inner = [getattr(config, n, None) for n in getattr(config, "sub_configs", ())]
        return [config._attn_implementation, *(settings(c) for c in inner if c is not None)]

    before = settings(made.config)
    traced(name)
    with pytest.raises(IndexError), tl.edit(made, tl.ablate(0, 0)):
        made(TEXT + 10_000, use_cache=False)
    assert settings(made.config) == before


def test_a_context_below_0_is_no_limit():
    made = model("causal/xlnet")
    assert made.config.max_position_embeddings == -1
    assert network_of(made).n_ctx is None
    assert tl.trace(made, TEXT).note is None


@pytest.mark.parametrize("name", ["causal/dory", "causal/inkling2_loop_text"])
def test_layers_that_run_several_times_are_counted_as_they_run(name):
    """Blocks 1 and 2 of four run twice: layer 3 is block 1 again, and layer 5 the last block."""
    made = model(name)
    trace, sweep = traced(name, keep="all"), tl.sweep_heads(made, TEXT)
    assert trace.n_layers() == len(trace.attending()) == len(sweep.values) == 6
    blocks, plain = network_of(made).blocks("decoder"), trace.logits
    for layer, block in enumerate((0, 1, 2, 1, 2, 3)):
        assert trace.call(layer).module in set(blocks[block].modules())
        with tl.edit(made, tl.ablate(layer, 1)):
            edited = traced(name, keep="all")
        zeros = [i for i in range(6) if not edited.activation("z", i)[:, 1].any()]
        assert zeros == [layer]
        moved = edited.logits[0, -1].log_softmax(-1) - plain[0, -1].log_softmax(-1)
        assert_close(sweep.values[layer, 1], moved[sweep.tokens[0]], atol=1e-5, rtol=1e-3)
    with pytest.raises(EditError, match="layer=6 is outside 0 … 5"), tl.edit(made, tl.ablate(6)):
        pass


def llama(**options):
    sizes = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4)
    torch.manual_seed(0)
    config = T.LlamaConfig(vocab_size=30, num_key_value_heads=4, **sizes | options)
    return T.LlamaForCausalLM(config).eval()


class Recurs(torch.nn.Module):
    """A block without attention."""

    def forward(self, hidden_states, **_):
        return hidden_states


class Wrapped(torch.nn.Module):
    """A block inside another module, as sharding and adapters wrap it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


def replaced(model):
    model.model.layers[0] = Recurs()


def appended(model):
    model.model.layers.append(Recurs())
    model.config.num_hidden_layers = 3


def wrapped(model):
    model.model.layers[1] = Wrapped(model.model.layers[1])


def swapped(model):
    first, second = model.model.layers
    model.model.layers[0], model.model.layers[1] = second, first


def another_class(model):
    attention = model.model.layers[0].self_attn
    attention.__class__ = type("Inner", (type(attention),), {})


def looks_ahead(model):
    for block in model.model.layers:
        block.self_attn.is_causal = False


def another_config(model):
    model.config.get_text_config().num_attention_heads = 2


@pytest.mark.parametrize(
    "change",
    [replaced, appended, wrapped, swapped, another_class, looks_ahead, another_config],
    ids=lambda change: change.__name__,
)
def test_a_structure_is_read_off_again_once_the_model_has_changed(change, monkeypatch):
    made, read = llama(), []
    plain = causality._read_off
    monkeypatch.setattr(causality, "_read_off", lambda m: read.append(m) or plain(m))
    before = structure_of(made)
    for _ in range(2):
        tl.trace(made, TEXT)
    made.set_attn_implementation("sdpa")  # unchanged
    assert structure_of(made).names == before.names and len(read) == 1
    change(made)
    kept, fresh = structure_of(made), plain(made)
    assert len(read) == 2
    assert [*kept.names.items()] == [*fresh.names.items()]
    assert (kept.kinds, kept.causal, kept.attention) == (fresh.kinds, fresh.causal, fresh.attention)
    (kept_stack,), (fresh_stack,) = kept.stacks, fresh.stacks
    assert kept_stack.blocks == fresh_stack.blocks
    for kind in kept.kinds:
        assert kept.layers(kind) == fresh.layers(kind)
    again = structure_of(made)
    assert len(read) == 2 and [*again.names.items()] == [*fresh.names.items()]
    assert again.stack_of.keys() == fresh.stack_of.keys() and again.apart == fresh.apart


def test_transformers_is_asked_once_for_the_attention_interface(monkeypatch):
    made, asked = llama(), []
    plain = T.PreTrainedModel.set_attn_implementation

    def set_attention(model, to):
        asked.append(to)
        plain(model, to)

    monkeypatch.setattr(T.PreTrainedModel, "set_attn_implementation", set_attention)
    logits, *again = [tl.trace(made, TEXT).logits for _ in range(3)]
    assert asked == [NAME] and made.config._attn_implementation == "sdpa"
    assert all(torch.equal(logits, other) for other in again)
    with tl.edit(made, tl.ablate(0, 0)):
        assert not torch.equal(made(TEXT).logits, logits)
    assert asked == [NAME]
    made.set_attn_implementation("eager")  # another setting is set again, and restored
    tl.trace(made, TEXT)
    assert asked == [NAME, "eager", NAME] and made.config._attn_implementation == "eager"


def test_what_is_kept_of_a_structure_keeps_no_model_and_nothing_of_a_pass():
    made = llama()
    one = structure_of(made)
    one.unseen[tl.Site("decoder", 0)] = "it was not there"
    one.met.add(made.model.layers[0].self_attn)
    other = structure_of(made)
    assert (other.unseen, other.met, other.model) == ({}, set(), made)
    tl.trace(made, TEXT)
    gone = weakref.ref(made)
    del made, one, other
    gc.collect()
    assert gone() is None

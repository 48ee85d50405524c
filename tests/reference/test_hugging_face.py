"""Traces of Hugging Face models against the models' own eager patterns, and edits in them."""

import threading

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from transformer_lab.adapters import attention_interface, structure
from transformer_lab.edits.kinds import EditError

MASKED = ["bert", "bert-bare", "roberta", "distilbert", "electra", "albert"]
CAUSAL = ["gpt2", "llama", "qwen3", "mistral", "gpt-neox", "gemma2", "opt"]
BOTH = ["marian", "bart", "t5"]
FALL_BACK = ["bloom", "deberta"]
THROUGH_THE_SEAM = pytest.mark.parametrize("name", [*MASKED, *CAUSAL, *BOTH])
# Values at padded positions are meaningless, so only real rows are compared.
PADDING = {"none": None, "right": slice(6, 9), "left": slice(0, 3)}


def inputs(model, padding="none"):
    """(our arguments, theirs): a batch of two, the second padded."""
    tokens = torch.randint(3, 90, (2, 9))
    mask = None
    if PADDING[padding] is not None:
        mask = torch.ones_like(tokens, dtype=torch.bool)
        mask[1, PADDING[padding]] = False
        tokens[~mask] = model.config.pad_token_id or 0
    ours, theirs = dict(tokens=tokens, mask=mask), dict(input_ids=tokens)
    if mask is not None:
        theirs["attention_mask"] = mask.long()
        if (
            padding == "left"
            and not model.config.is_encoder_decoder
            and model.config.model_type != "opt"
        ):
            theirs["position_ids"] = (mask.long().cumsum(-1) - 1).clamp(min=0)
    if model.config.is_encoder_decoder:
        ours["target"] = theirs["decoder_input_ids"] = torch.randint(3, 90, (2, 5))
    return ours, theirs


def maps_of(output, trace):
    if len(trace.kinds) == 1:
        return {trace.kinds[0]: output.attentions}
    return dict(
        encoder=output.encoder_attentions,
        decoder=output.decoder_attentions,
        cross=output.cross_attentions,
    )


def real_rows(trace, kind, batch):
    mask = (
        trace.target_mask
        if kind in ("decoder", "cross") and trace.target is not None
        else trace.mask
    )
    return slice(None) if mask is None else mask[batch]


def output_of(output, trace):
    for name in ("logits", "prediction_logits", "last_hidden_state"):
        if name in output:
            return output[name]
    raise AssertionError(list(output))


@pytest.mark.parametrize(
    ("name", "padding"),
    [(name, p) for name in [*MASKED, *CAUSAL, *BOTH] for p in ("none", "right")]
    + [(name, "left") for name in CAUSAL],
)
def test_maps_and_outputs_are_the_models_own(tiny, eager, name, padding):
    model = tiny(name)
    ours, theirs = inputs(model, padding)
    expected = eager(model, **theirs)
    settings = [m.config._attn_implementation for m in model.modules() if hasattr(m, "config")]
    trace = tl.trace(model, **ours)
    note = "Positions are counted from each text's first real token" if padding == "left" else ""
    assert (trace.note or "")[: len(note) or None] == note
    for kind, maps in maps_of(expected, trace).items():
        assert trace.n_layers(kind) == len(maps)
        for layer, own in enumerate(maps):
            for batch in range(2):
                rows = real_rows(trace, kind, batch)
                lazy = trace.pattern(layer, kind=kind, batch=batch)
                assert_close(lazy[:, rows], own[batch][:, rows], rtol=0, atol=1e-5)
    if trace.logits is not None:
        for batch in range(2):
            rows = real_rows(trace, "decoder" if len(trace.kinds) > 1 else trace.kinds[0], batch)
            own = output_of(expected, trace)[batch][rows]
            assert_close(trace.logits[batch][rows], own, rtol=0, atol=1e-5)
    after = [m.config._attn_implementation for m in model.modules() if hasattr(m, "config")]
    assert after == settings


@THROUGH_THE_SEAM
def test_the_stream_is_the_models_hidden_states(tiny, eager, name):
    model = tiny(name)
    ours, theirs = inputs(model)
    expected = eager(model, **theirs)
    trace = tl.trace(model, **ours)
    kind = trace.kinds[0]
    hidden = (
        expected.encoder_hidden_states
        if model.config.is_encoder_decoder
        else expected.hidden_states
    )
    stream = trace.residual(kind)
    assert len(stream["resid_pre"]) == len(hidden) - 1
    for layer, state in enumerate(hidden[:-1]):  # the last one comes after the final norm
        assert_close(stream["resid_pre"][layer], state[0], rtol=0, atol=1e-5)
    norms = trace.residual_norms(kind)
    assert_close(norms[:-1], torch.stack(hidden)[:-1, 0].norm(dim=-1), rtol=0, atol=1e-4)


def edits(kind):
    return {
        "ablate": tl.ablate(1, 2, kind=kind),
        "ablate to mean": tl.ablate(0, 0, kind=kind, value="mean"),
        "knock out": tl.knock_out(0, 1, query=3, key=1, kind=kind),
    }


@THROUGH_THE_SEAM
@torch.no_grad()
def test_every_edit_changes_the_output_and_is_gone_afterwards(tiny, name):
    model = tiny(name)
    ours, theirs = inputs(model)
    before = output_of(model(**theirs), None)
    for kind in tl.trace(model, **ours).kinds:
        for what, edit in edits(kind).items():
            with tl.edit(model, edit):
                during = output_of(model(**theirs), None)
            assert not torch.allclose(during, before, atol=1e-5), (kind, what)
            assert torch.equal(output_of(model(**theirs), None), before)
    assert not model.__dict__.get(attention_interface.SESSION)


@THROUGH_THE_SEAM
@torch.no_grad()
def test_an_edge_is_cut_where_it_was_said_and_nowhere_else(tiny, name):
    model = tiny(name)
    ours, _ = inputs(model)
    before = tl.trace(model, **ours)
    for kind in before.kinds:
        last = before.n_layers(kind) - 1
        with tl.edit(model, tl.knock_out(last, 1, query=3, key=1, kind=kind)):
            after = tl.trace(model, **ours)
        for layer in range(last):
            assert_close(after.pattern(layer, kind=kind), before.pattern(layer, kind=kind))
        expected = before.pattern(last, kind=kind).clone()
        expected[1, 3, 1] = 0
        expected[1, 3] /= expected[1, 3].sum()
        assert_close(after.pattern(last, kind=kind), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["gpt2", "bert", "llama"])
@torch.no_grad()
def test_zeroing_every_head_is_no_attention_but_for_the_output_bias(tiny, name):
    model = tiny(name)
    _, theirs = inputs(model)
    with tl.edit(model, tl.ablate()):
        ablated = model(**theirs).logits
    for path, parameter in model.named_parameters():
        if path.endswith(("attn.c_proj.weight", "attention.output.dense.weight", "o_proj.weight")):
            parameter.zero_()
    assert_close(ablated, model(**theirs).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FALL_BACK)
@pytest.mark.parametrize("padding", ["none", "right"])
def test_models_that_never_call_the_seam_give_their_own_maps(
    tiny, eager, name, padding, monkeypatch
):
    # As if attention in the model's own code went undetected.
    monkeypatch.setattr(structure, "has_own_attention", lambda module: False)
    model = tiny(name)
    ours, theirs = inputs(model, padding)
    expected = eager(model, **theirs)
    trace = tl.trace(model, **ours)
    assert "edits are not available" in trace.note
    for layer, own in enumerate(expected.attentions):
        for batch in range(2):
            assert torch.equal(trace.pattern(layer, batch=batch), own[batch])
            assert torch.equal(trace.pattern(layer, 2, batch=batch), own[batch, 2])
    assert_close(trace.logits, expected.logits, rtol=0, atol=1e-5)
    assert trace.value_norms(0) is None
    with (
        pytest.raises(EditError, match=r"cannot be edited|changed nothing"),
        tl.edit(model, tl.ablate(0, 0)),
    ):
        model(**theirs)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_the_models_own_setting_comes_back_even_after_an_error(tiny, implementation):
    model = tiny("gpt2")
    model.set_attn_implementation(implementation)
    handle = model.transformer.h[1].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tl.trace(model, torch.tensor([[1, 2, 3]]))
    with pytest.raises(ZeroDivisionError), tl.edit(model, tl.ablate(0, 0)):
        model(torch.tensor([[1, 2, 3]]))
    handle.remove()
    assert model.config._attn_implementation == implementation
    assert not any(attention_interface.SESSION in m.__dict__ for m in model.modules())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    tl.trace(model, torch.tensor([[1, 2, 3]]))


@pytest.mark.parametrize("name", ["gpt2", "t5", "albert"])
def test_a_model_in_training_is_not_touched(tiny, name):
    model = tiny(name)
    ours, _ = inputs(model)
    expected = tl.trace(model, **ours)
    model.train()
    random_state = torch.get_rng_state()
    trace = tl.trace(model, **ours)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(m.training for m in model.modules())
    for kind in trace.kinds:
        assert torch.equal(trace.pattern(1, kind=kind), expected.pattern(1, kind=kind))


def test_a_training_model_is_traced_with_its_edits(tiny):
    model = tiny("gpt2").train()
    with tl.edit(model, tl.knock_out(1, 0, key=0)):
        trace = tl.trace(model, torch.tensor([[1, 2, 3, 4]]))
    assert not trace.pattern(1, 0)[:, 0].any()
    assert trace.pattern(1, 1)[:, 0].all()


def test_layers_that_share_their_weights_are_edited_one_by_one(tiny):
    model, text = tiny("albert"), torch.randint(3, 90, (1, 9))
    for cut in range(3):
        with tl.edit(model, tl.knock_out(cut, 0, key=0)):
            trace = tl.trace(model, text)
        looked = [bool(trace.pattern(layer, 0)[:, 0].any()) for layer in range(3)]
        assert looked == [layer != cut for layer in range(3)]


def test_values_are_weighted_by_the_models_own_output_projection(tiny):
    for name, weight in (
        ("gpt2", lambda m: m.transformer.h[1].attn.c_proj.weight),
        ("llama", lambda m: m.model.layers[1].self_attn.o_proj.weight.T),
        ("bert", lambda m: m.bert.encoder.layer[1].attention.output.dense.weight.T),
    ):
        model, seen = tiny(name), {}

        class Keep(tl.Tap):
            def on_attention(self, call, seen=seen):
                seen[call.site.layer] = call.value
                return call

        text, keep = torch.randint(3, 90, (1, 9)), Keep()
        attention_interface.add_tap(model, keep)
        with torch.no_grad():
            model(text)
        attention_interface.remove_tap(model, keep)
        trace = tl.trace(model, text)
        assert trace.value_note == "‖value · W_O‖"
        value = seen[1][0].repeat_interleave(4 // seen[1].shape[1], 0)
        expected = (value @ weight(model).unflatten(0, (4, 8))).norm(dim=-1)
        assert_close(trace.value_norms(1), expected, rtol=1e-4, atol=1e-6)


def test_two_threads_may_trace_one_model_at_once(tiny):
    model = tiny("gpt2")
    texts = [torch.randint(3, 90, (1, n)) for n in (5, 8, 11, 14)]
    alone = [tl.trace(model, text).patterns() for text in texts]
    found = [None] * len(texts)

    def work(i):
        for _ in range(5):
            found[i] = tl.trace(model, texts[i]).patterns()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own, expected in zip(found, alone, strict=True):
        assert_close(own, expected, rtol=0, atol=1e-6)
    assert model.config._attn_implementation == "sdpa"


@torch.no_grad()
def test_edits_hold_while_a_model_writes_with_its_cache(tiny):
    model, text = tiny("llama"), torch.randint(3, 90, (1, 5))
    options = dict(max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)
    plain = model.generate(text, **options)
    with tl.edit(model, tl.ablate(1)):
        edited = model.generate(text, **options)
        by_hand = text
        for _ in range(8):
            by_hand = torch.cat((by_hand, model(by_hand).logits[:, -1:].argmax(-1)), 1)
    assert torch.equal(edited, by_hand)
    assert not torch.equal(edited, plain)


@pytest.mark.badinput
def test_what_cannot_be_traced_is_named(tiny):
    with pytest.raises(ValueError, match="needs target"):
        tl.trace(tiny("t5"), torch.tensor([[1, 2]]))
    with pytest.raises(ValueError, match=r"1100 tokens.*context is 1024"):
        tl.trace(tiny("gpt2"), torch.ones(1, 1100, dtype=torch.long))
    with pytest.raises(ValueError, match=r"999.*100 tokens"):
        tl.trace(tiny("gpt2"), torch.tensor([[999]]))
    # RoBERTa reserves its first positions for padding: 511 of its 512 can be used.
    with pytest.raises(ValueError, match=r"no embedding.*512 tokens.*shorten"):
        tl.trace(tiny("roberta"), torch.ones(1, 512, dtype=torch.long) * 3)


@pytest.mark.badinput
def test_a_model_of_images_is_named():
    from transformers import ViTConfig, ViTModel

    model = ViTModel(ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
    with pytest.raises(ValueError, match="ViTModel reads images, not text: give pixel_values"):
        tl.trace(model.eval(), torch.tensor([[1, 2, 3]]))


@pytest.mark.badinput
def test_a_model_with_no_attention_is_named():
    from transformers import MambaConfig, MambaForCausalLM

    model = MambaForCausalLM(MambaConfig(vocab_size=100, hidden_size=16, num_hidden_layers=1))
    with pytest.raises(ValueError, match="MambaForCausalLM has no attention"):
        tl.trace(model.eval(), torch.tensor([[1, 2, 3]]))

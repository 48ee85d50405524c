"""The attention interface of a Hugging Face model: sites, taps, and restoring settings."""

import logging

import pytest
import torch

from tests.missing import package
from transformer_lab.adapters import attention_interface, structure
from transformer_lab.adapters import module_lists as lists
from transformer_lab.adapters.settings import quiet
from transformer_lab.attention import Tap

T = package("transformers")
T.logging.set_verbosity_error()


class Count(Tap):
    def __init__(self, records=False):
        self.records, self.sites, self.order = records, [], []

    def on_attention(self, call):
        self.sites.append((call.site.kind, call.site.layer))
        self.order.append(self.records)
        return call


def gpt2(**options):
    torch.manual_seed(0)
    sizes = dict(vocab_size=50, n_layer=2, n_head=2, n_embd=16)
    return T.GPT2LMHeadModel(T.GPT2Config(**{**sizes, **options})).eval()


def bart():
    torch.manual_seed(0)
    sizes = {
        f"{side}_{what}": 2
        for side in ("encoder", "decoder")
        for what in ("layers", "attention_heads")
    }
    return T.BartForConditionalGeneration(
        T.BartConfig(vocab_size=50, d_model=16, encoder_ffn_dim=16, decoder_ffn_dim=16, **sizes)
    ).eval()


TEXT = torch.tensor([[3, 4, 5, 6]])


def test_a_transformers_model_is_known_without_importing_transformers():
    assert structure.is_hugging_face(gpt2())
    assert not structure.is_hugging_face(torch.nn.Linear(2, 2))


def test_every_layer_is_a_site():
    model, tap = gpt2(), Count()
    attention_interface.add_tap(model, tap)
    model(TEXT)
    attention_interface.remove_tap(model, tap)
    assert tap.sites == [("decoder", 0), ("decoder", 1)]


def test_the_three_kinds_of_an_encoder_decoder_are_told_apart():
    model, tap = bart(), Count()
    attention_interface.add_tap(model, tap)
    model(TEXT, decoder_input_ids=TEXT)
    attention_interface.remove_tap(model, tap)
    decoder = [("decoder", 0), ("cross", 0), ("decoder", 1), ("cross", 1)]
    assert tap.sites == [("encoder", 0), ("encoder", 1), *decoder]


def test_recording_comes_after_editing_and_the_last_tap_closes_the_seam():
    model = gpt2()
    recording, editing = Count(records=True), Count()
    order = []
    for tap in (recording, editing):
        tap.order = order
        attention_interface.add_tap(model, tap)
    model(TEXT)
    assert order == [False, True] * 2
    attention_interface.remove_tap(model, recording)
    assert model.config._attn_implementation == attention_interface.NAME
    model(TEXT)
    attention_interface.remove_tap(model, editing)
    assert model.config._attn_implementation == "sdpa"
    assert (len(recording.sites), len(editing.sites)) == (2, 4)
    attention_interface.remove_tap(model, editing)  # twice does no harm
    model(TEXT)
    assert len(editing.sites) == 4


def test_a_tapped_model_trains_as_before():
    model = gpt2(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0).train()
    gradients = []
    for tap in (None, Count()):
        model.zero_grad()
        if tap:
            attention_interface.add_tap(model, tap)
        model(TEXT, labels=TEXT).loss.backward()
        if tap:
            attention_interface.remove_tap(model, tap)
        gradients.append(model.transformer.h[0].attn.c_attn.weight.grad.clone())
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


def test_blocks_are_the_outermost_lists():
    assert list(lists.block_modules(gpt2())) == ["transformer.h.0", "transformer.h.1"]
    names = [f"model.{side}.layers.{i}" for side in ("encoder", "decoder") for i in (0, 1)]
    assert list(lists.block_modules(bart())) == names


@pytest.mark.badinput
def test_a_model_without_softmax_attention_is_refused_and_left_alone():
    model = T.RwkvModel(T.RwkvConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2)).eval()
    before = model.config._attn_implementation
    with pytest.raises(
        attention_interface.AdapterError, match="no softmax over keys was found in its Rwkv"
    ):
        attention_interface.add_tap(model, Count())
    assert model.config._attn_implementation == before
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_quiet_keeps_transformers_warnings_back_while_it_is_open():
    log, whole, told = logging.getLogger("transformers.x"), logging.getLogger("transformers"), []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    whole.addHandler(handler)
    T.logging.set_verbosity_warning()
    try:
        with quiet():
            log.warning("of a setting that is restored")
            log.error("an error")
        log.warning("of something else")
    finally:
        T.logging.set_verbosity_error()
        whole.removeHandler(handler)
    assert told == ["an error", "of something else"]

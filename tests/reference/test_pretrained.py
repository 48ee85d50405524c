"""GPT-2, BERT, Llama and Marian in our own Transformer, against transformers' own."""

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from transformer_lab import pretrained
from transformer_lab.files.paths import FileError
from transformer_lab.pretrained import FAMILIES
from transformer_lab.pretrained.conversion import translate
from transformer_lab.writing import sampling_distribution

DECODERS = ["gpt2", "gpt2-bare", "llama", "llama-tied"]
ENCODERS = ["bert", "bert-bare", "bert-pretraining"]
EVERY = [*DECODERS, *ENCODERS, "marian"]
EACH = pytest.mark.parametrize("name", EVERY)
# Absolute below 1, relative above. Llama's rotary angles are fp32 in the reference as well.
TOLERANCE = {torch.float32: 1.5e-6, torch.float64: 4e-15}
LLAMA_FP64 = 1e-6


def inputs(model):
    mask = torch.ones(2, 20, dtype=torch.bool)
    mask[1, 15:] = False
    ours = dict(tokens=torch.randint(3, 90, (2, 20)), mask=mask)
    theirs = dict(input_ids=ours["tokens"], attention_mask=mask.long())
    if model.config.is_encoder_decoder:
        ours["target"] = theirs["decoder_input_ids"] = torch.randint(3, 90, (2, 6))
    return ours, theirs


@EACH
@pytest.mark.parametrize("dtype", TOLERANCE, ids=["fp32", "fp64"])
def test_logits_maps_and_hidden_states_are_theirs(tiny, eager, name, dtype):
    theirs = tiny(name).to(dtype)
    ours = pretrained.load(theirs)
    given, their_inputs = inputs(theirs)
    expected = eager(theirs, **their_inputs)
    trace = tl.trace(ours, **given, keep="all")
    with torch.no_grad():
        output = ours(**given)
    tolerance = TOLERANCE[dtype]
    if dtype == torch.float64 and name.startswith("llama"):
        tolerance = LLAMA_FP64

    def close(actual, reference, tolerance=tolerance):
        assert_close(actual, reference, rtol=tolerance, atol=tolerance)

    both = theirs.config.is_encoder_decoder
    real = torch.ones(2, 6, dtype=torch.bool) if both else given["mask"]
    reference = next(
        expected[n] for n in ("logits", "prediction_logits", "last_hidden_state") if n in expected
    )
    assert output.dtype == dtype
    close(output[real], reference[real])

    if both:
        maps = dict(
            encoder=expected.encoder_attentions,
            decoder=expected.decoder_attentions,
            cross=expected.cross_attentions,
        )
        hidden = dict(
            encoder=expected.encoder_hidden_states, decoder=expected.decoder_hidden_states
        )
    else:
        kind = ours.config.kind
        maps, hidden = {kind: expected.attentions}, {kind: expected.hidden_states}
    for kind, layers in maps.items():
        rows = given["mask"] if kind == "encoder" or not both else real
        for layer, own in enumerate(layers):
            for batch in range(2):
                lazy = trace.pattern(layer, kind=kind, batch=batch)[:, rows[batch]]
                close(lazy, own[batch][:, rows[batch]].float(), 5e-7)  # maps are fp32
    for kind, states in hidden.items():
        rows = given["mask"] if kind == "encoder" or not both else real
        for batch in range(2):
            stream = trace.residual(kind, batch)["resid_pre"]
            for layer, state in enumerate(states[:-1]):
                close(stream[layer][rows[batch]], state[batch][rows[batch]])


@EACH
def test_left_padding_and_gradients_agree_too(tiny, name):
    theirs = tiny(name)
    ours = pretrained.load(theirs)
    given, kwargs = inputs(theirs)
    if name in DECODERS:
        given["mask"] = given["mask"].flip(1)
        kwargs["attention_mask"] = given["mask"].long()
        kwargs["position_ids"] = (given["mask"].long().cumsum(-1) - 1).clamp(min=0)
    output = theirs(**kwargs)
    reference = next(
        output[n] for n in ("logits", "prediction_logits", "last_hidden_state") if n in output
    )
    actual = ours(**given)
    real = slice(None) if theirs.config.is_encoder_decoder else given["mask"]
    target = torch.randn_like(reference)
    assert_close(actual[real], reference[real], rtol=2e-6, atol=2e-6)
    (reference * target)[real].sum().backward()
    (actual * target)[real].sum().backward()
    theirs_gradient = theirs.get_input_embeddings().weight.grad
    # transformers gives the padding embedding no gradient.
    rows = [i for i in range(100) if i != theirs.config.pad_token_id]
    assert_close(ours.embedding.weight.grad[rows], theirs_gradient[rows], rtol=1e-4, atol=1e-4)


@EACH
def test_every_tensor_of_theirs_is_in_the_table_and_every_row_is_used(tiny, name):
    theirs = tiny(name)
    family = FAMILIES[theirs.config.model_type]
    state = {
        k.removeprefix(f"{theirs.base_model_prefix}."): v for k, v in theirs.state_dict().items()
    }
    found = translate(state, family)
    left_out = {k for k in state if k in family.unused}
    assert {their_name for their_name, _, _ in found} | left_out == set(state)
    ours = pretrained.load(theirs)
    filled = {our_name for _, our_name, _ in found}
    assert {n for n, _ in ours.named_parameters()} <= filled


def test_the_weights_are_copies(tiny):
    theirs = tiny("gpt2")
    ours = pretrained.load(theirs)
    before = theirs.transformer.wte.weight.clone()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
    assert torch.equal(theirs.transformer.wte.weight, before)
    assert ours.head.weight is ours.embedding.weight


@pytest.mark.parametrize("name", ["gpt2", "bert", "bert-bare", "llama", "marian"])
def test_a_folder_loads_as_the_live_model(tiny, name, tmp_path, capfd):
    theirs = tiny(name)
    theirs.save_pretrained(tmp_path)
    capfd.readouterr()
    from_folder, live = pretrained.load(tmp_path), pretrained.load(theirs)
    assert "Loading" not in capfd.readouterr().err, "no progress bar of transformers"
    assert from_folder.config == live.config
    for (name_a, a), (name_b, b) in zip(
        from_folder.named_parameters(), live.named_parameters(), strict=True
    ):
        assert name_a == name_b
        assert torch.equal(a, b)


def test_our_config_and_weights_go_round(tiny):
    """A converted model is a Transformer like any other."""
    ours = pretrained.load(tiny("llama"))
    twin = tl.Transformer(tl.ModelConfig.from_dict(ours.config.to_dict())).eval()
    twin.load_state_dict(ours.state_dict())
    text = torch.randint(3, 90, (1, 9))
    assert torch.equal(twin(text), ours(text))


# -- generation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_greedy_text_is_theirs(tiny, name):
    theirs = tiny(name)
    text = torch.randint(3, 90, (2, 6))
    expected = theirs.generate(
        text, max_new_tokens=15, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    assert torch.equal(
        tl.generate(pretrained.load(theirs), text, max_new_tokens=15), expected[:, 6:]
    )


def test_beams_without_a_length_penalty_are_theirs(tiny):
    """The two penalties differ; without one, both score Σ log p."""
    theirs = tiny("gpt2")
    text = torch.randint(3, 90, (3, 6))
    expected = theirs.generate(
        text,
        max_new_tokens=6,
        num_beams=4,
        do_sample=False,
        length_penalty=0.0,
        eos_token_id=None,
        pad_token_id=0,
    )
    found = tl.generate(
        pretrained.load(theirs), text, max_new_tokens=6, beams=4, length_penalty=0.0
    )
    assert torch.equal(found, expected[:, 6:])


def test_translations_are_theirs(tiny):
    theirs = tiny("marian")
    text = torch.randint(3, 90, (2, 6))
    settings = theirs.generation_config
    settings.forced_eos_token_id = settings.bad_words_ids = None
    expected = theirs.generate(
        text, max_new_tokens=12, do_sample=False, num_beams=1, eos_token_id=None
    )
    found = tl.generate(pretrained.load(theirs), text, bos_id=0, max_new_tokens=12)
    assert torch.equal(found, expected[:, 1:])


@pytest.mark.parametrize(
    "options", [dict(top_k=5), dict(top_p=0.7), dict(temperature=0.6, top_k=9, top_p=0.5)]
)
def test_sampling_distributions_are_theirs(options):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = 3 * torch.randn(4, 50)
    warped = TemperatureLogitsWarper(options.get("temperature", 1.0))(None, logits)
    if "top_k" in options:
        warped = TopKLogitsWarper(options["top_k"])(None, warped)
    if "top_p" in options:
        warped = TopPLogitsWarper(options["top_p"])(None, warped)
    assert_close(sampling_distribution(logits, **options), warped.softmax(-1), rtol=0, atol=1e-6)


# -- bad input --------------------------------------------------------------------------------------


@pytest.mark.badinput
def test_what_our_model_cannot_be_is_named(tiny):
    from transformers import LlamaConfig, LlamaForCausalLM

    with pytest.raises(FileError, match=r"gpt2, bert, llama, marian.*'opt'"):
        pretrained.load(tiny("opt"))
    with pytest.raises(FileError, match="Linear"):
        pretrained.load(torch.nn.Linear(2, 2))
    sizes = dict(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    scaled = LlamaConfig(**sizes, rope_scaling=dict(rope_type="linear", factor=2.0, rope_theta=1e4))
    with pytest.raises(FileError, match=r"rope_type must be 'default' .* got 'linear'"):
        pretrained.load(LlamaForCausalLM(scaled))
    with pytest.raises(FileError, match=r"attention_bias must be .* got True"):
        pretrained.load(LlamaForCausalLM(LlamaConfig(**sizes, attention_bias=True)))


@pytest.mark.badinput
def test_a_tensor_left_over_or_missing_or_of_another_shape_is_named(tiny):
    extra = tiny("gpt2")
    extra.transformer.h[1].adapter = torch.nn.Linear(2, 2)
    with pytest.raises(FileError, match=r"no counterpart.*h\.1\.adapter\.weight"):
        pretrained.load(extra)
    missing = tiny("gpt2")
    del missing.transformer.h[1].mlp.c_fc.bias
    with pytest.raises(
        FileError, match=r"no tensor was found for .*blocks\.1\.feed_forward\.up\.bias"
    ):
        pretrained.load(missing)
    other = tiny("gpt2")
    other.transformer.wpe = torch.nn.Embedding(7, 32)
    with pytest.raises(FileError, match=r"wpe\.weight has shape \[7, 32\].*\[1024, 32\]"):
        pretrained.load(other)
    untied = tiny("gpt2")
    untied.lm_head.weight = torch.nn.Parameter(torch.randn(100, 32))
    with pytest.raises(FileError, match=r"lm_head\.weight differs"):
        pretrained.load(untied)


@pytest.mark.badinput
def test_a_folder_that_is_no_model_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for source in (tmp_path, "no/such-model-anywhere"):
        with pytest.raises(
            FileNotFoundError, match=r"not a folder with a model.*config\.json.*minilm"
        ):
            pretrained.load(source)
        with pytest.raises(FileNotFoundError, match="not a folder with a model"):
            pretrained.load_tokenizer(source)

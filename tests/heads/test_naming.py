"""Labels of hand-written heads, and none in random models. Real ones: reference/test_wheels.py."""

import json
import threading

import pytest
import torch

import transformer_lab as tl
from tests.factories import small
from tests.missing import package
from transformer_lab import heads
from transformer_lab.analysis import circuits
from transformer_lab.heads import evidence, naming
from transformer_lab.heads.measures import MEASURES


def names(table):
    return [[one.name for one in row] for row in table]


# -- known answers ---------------------------------------------------------------------------------


def test_a_circuit_written_by_hand_gets_its_labels_and_its_effects():
    found = heads.labels(circuits.induction_by_hand())
    assert names(found) == [["previous token", None], ["induction", "induction"]]
    previous, one, other = found[0][0], *found[1]
    for label in (previous, one, other):
        assert label.score > 0.99 and label.second > 0.99 and label.twin < 0.1
        assert (label.lag, label.second_lag) == (24, 37)
        assert label.alone.loss[0] < 0.01, "it copies without a fault"
    assert previous.alone.loss[1] > 3, "nothing else looks back"
    # Two heads do the same: ablating one costs nothing, ablating both does.
    assert one.alone.loss[1] < 0.01 and other.alone.loss[1] < 0.01
    assert one.group.n_heads == 2 and one.group.loss[1] > 3
    assert one.group == other.group
    assert previous.control.n_heads == 1 and previous.control.value < 0.01
    assert found[0][1].alone is None


def test_a_copy_in_two_hops_is_told_from_induction():
    found = heads.labels(circuits.induction_by_hand(through="values"))
    assert names(found) == [["previous token", None], ["two-hop induction"] * 2]
    assert found[1][0].scores["induction"] < 0.01
    assert found[1][0].group.loss[1] > 3 > found[1][0].alone.loss[1]


def test_a_head_that_passes_on_what_an_induction_head_found_is_none():
    """Attending to its own token, it reaches an induction head's find in two hops."""
    model = circuits.induction_by_hand()
    deep = tl.Transformer(model.config.replace(n_layers=3)).eval()
    deep.load_state_dict(model.state_dict(), strict=False)
    third, first = deep.decoder.blocks[2].attention, model.decoder.blocks[0].attention
    third.query.weight.data = 20 * first.query.weight.data
    third.key.weight.data = 20 * first.query.weight.data  # its own position, not the one before
    third.out.weight.data.zero_()
    found = heads.labels(deep, ablation=False)
    assert found[2][0].name == "self token"
    trace = tl.inputs.repeated(deep).trace(deep)
    assert heads.two_hop_induction(trace)[2, 0] > 0.9, "and yet the two hops are there"
    assert found[2][0].scores["two-hop induction"] < 0.5


def test_one_layer_has_no_induction_head():
    found = heads.labels(circuits.induction_by_hand(n_layers=1))
    assert names(found) == [["previous token", None]]


@pytest.mark.parametrize("positions", ["rotary", "learned", "alibi", "relative", "none"])
@pytest.mark.parametrize("kind", ["decoder", "encoder", "encoder-decoder"])
def test_random_models_get_no_label(kind, positions):
    torch.manual_seed(1)
    config = tl.ModelConfig(
        vocab_size=100, kind=kind, n_layers=3, n_heads=8, d_model=64, positions=positions
    )
    for stack in ("encoder", "decoder"):
        if stack in kind.split("-"):
            found = heads.labels(tl.Transformer(config), kind=stack)
            assert names(found) == [[None] * 8] * 3
            assert "no label: the nearest is" in found[0][0].sentence


def test_a_pattern_that_comes_with_the_architecture_is_no_label():
    """With 64 heads ALiBi's first slope is .92: most of a token's attention is on itself."""
    torch.manual_seed(0)
    config = tl.ModelConfig(vocab_size=100, n_layers=1, n_heads=64, d_model=128, positions="alibi")
    found = heads.labels(tl.Transformer(config), ablation=False)
    first = found[0][0]
    assert first.score > first.bar and first.second > first.bar, "it passes the bar"
    assert first.twin > 0.5 and first.name is None, "and so does its twin"


def test_a_trick_that_counts_is_found_out_at_the_second_lag():
    """A head that attends 23 tokens back is a perfect induction head at lag 24 alone."""
    model = circuits.induction_by_hand(n_layers=1)
    key = model.decoder.blocks[0].attention.key.weight
    key.data[: model.config.d_head] = key.data[: model.config.d_head].roll(22, 0)
    label = heads.label(model, 0, 0)
    assert label.nearest == "previous token" or label.scores["induction"] > 0.9
    assert label.scores["induction"] > 0.9
    assert label.name is None


def test_a_label_that_most_heads_have_is_none():
    """Every head is made to attend to the first token, and one far more than the others."""
    model = circuits.induction_by_hand(n_layers=2)
    d_head, place = model.config.d_head, model.config.vocab_size
    for block in model.decoder.blocks:
        for weight in (block.attention.query.weight, block.attention.key.weight):
            weight.data.zero_()
        for head in (0, 1):
            row = head * d_head
            block.attention.query.weight.data[row, place : place + model.config.n_ctx] = 1
            strength = {(0, 0): 1.0, (0, 1): 0.33}.get((block.site.layer, head), 0.5)
            block.attention.key.weight.data[row, place] = strength
    found = heads.labels(model, ablation=False)
    scores = torch.tensor([[one.scores["first token"] for one in row] for row in found])
    assert (scores > 0.5).all(), "each would pass by itself"
    assert names(found) == [["first token", None], [None, None]]


# -- evidence ---------------------------------------------------------------------------------------


def test_the_evidence_is_what_a_trace_and_an_edit_say():
    model = tl.shipped("manual")
    label = heads.label(model, 2, 2)
    probe = tl.inputs.repeated(model, lag=24, seed=0)
    trace = probe.trace(model)
    score = torch.stack([heads.induction(trace, batch=b)[2, 2] for b in range(4)]).mean()
    assert label.score == pytest.approx(score.item(), abs=1e-6)
    before = model.model(probe.tokens).log_softmax(-1)
    with torch.no_grad(), tl.edit(model.model, tl.ablate(2, 2)):
        after = model.model(probe.tokens).log_softmax(-1)
    kl = (before.exp() * (before - after)).sum(-1).mean()
    assert label.alone.value == pytest.approx(kl.item(), rel=1e-4)
    following = after[:, :-1].gather(-1, probe.tokens[:, 1:, None])[..., 0]
    assert label.alone.loss[1] == pytest.approx(
        -following[probe.repeated[:, :-1]].mean().item(), rel=1e-4
    )


def test_the_shipped_model():
    found = heads.labels(tl.shipped("manual"))
    assert names(found)[2][2] == "induction" and names(found)[1][2] == "previous token"
    label = found[2][2]
    assert label.score == pytest.approx(0.92, abs=0.05) and label.twin < 0.1
    assert label.group.loss[1] > label.alone.loss[1] > label.alone.loss[0] + 1
    assert label.control.loss[1] < label.alone.loss[0] + 1
    assert sum(name is not None for row in names(found) for name in row) <= 8, "half at most"
    one = heads.label(tl.shipped("manual"), 2, 2)
    assert one == label


def test_a_sentence_holds_the_numbers_and_a_dict_is_json():
    label = heads.label(tl.shipped("manual"), 2, 2)
    sentence = label.sentence
    assert sentence.startswith("attends to the token after earlier occurrences: 0.9")
    for number in (label.twin, label.second):
        assert f"{number:.2f}" in sentence
    for effect in (label.alone, label.group, label.control):
        assert f"{effect.loss[0]:.2f} → {effect.loss[1]:.2f}" in sentence
    assert label.short == f"induction {label.score:.2f}"
    told = json.loads(json.dumps(label.to_dict()))
    assert told["alone"]["value"] == label.alone.value and told["sentence"] == sentence
    none = heads.label(tl.shipped("manual"), 0, 2)
    assert none.name is None and none.short == "" and "a label needs" in none.sentence


def test_what_was_measured_on_is_said(monkeypatch):
    label = heads.label(tl.shipped("manual"), 2, 2)
    assert label.on == label.alone.on == "4 texts of random tokens repeated after 24"
    assert label.second_on == "4 texts of random tokens repeated after 37"
    texts = ["def f(x):", "return x", "def g(x):", "return y"]
    on_texts = heads.labels(tl.shipped("manual"), texts=texts, ablation=False)[0][2]
    assert "texts" in MEASURES[on_texts.nearest].on
    assert on_texts.on.startswith("2 texts of ") and on_texts.second_lag is None
    assert "punctuation" in on_texts.scores
    monkeypatch.setattr(evidence, "LARGEST_OUTPUT", 130_000)  # two texts of 60 tokens
    assert heads.label(tl.shipped("manual"), 2, 2).alone.on.startswith("2 texts")
    monkeypatch.setattr(evidence, "LARGEST_TWIN", 1000)
    alone = heads.label(tl.shipped("manual"), 2, 2)
    assert alone.name == "induction" and alone.twin is None
    assert "random twin not measured" in alone.sentence


def test_a_model_in_training_is_left_as_it_is():
    model = circuits.induction_by_hand().train()
    state = torch.get_rng_state()
    assert names(heads.labels(model))[1] == ["induction"] * 2
    assert model.training and torch.equal(torch.get_rng_state(), state)
    text_model = tl.shipped("manual")
    text_model.model.train()
    assert heads.label(text_model, 2, 2).name == "induction"
    assert text_model.model.training


# -- every kind of model ----------------------------------------------------------------------------


def test_a_model_that_predicts_nothing_is_measured_by_its_final_states():
    bare = circuits.induction_by_hand()
    config = bare.config.replace(head=False)
    model = tl.Transformer(config).eval()
    model.load_state_dict({k: v for k, v in bare.state_dict().items() if "head" not in k})
    label = heads.label(model, 1, 0)
    assert label.name == "induction"
    assert label.alone.loss is None and "final hidden states" in label.alone.measure
    assert "final states change by" in label.sentence
    probe = tl.inputs.repeated(model)
    with torch.no_grad():
        before = model(probe.tokens)
        with tl.edit(model, tl.ablate(1, 0)):
            after = model(probe.tokens)
    assert label.alone.value == pytest.approx(((after - before).norm() / before.norm()).item())


def test_both_stacks_of_an_encoder_decoder():
    torch.manual_seed(0)
    config = tl.ModelConfig(vocab_size=60, kind="encoder-decoder", n_layers=1, positions="none")
    model = tl.Transformer(config).eval()
    for stack in (model.encoder, model.decoder):  # a token attends to itself, and its earlier copy
        attention = stack.blocks[0].attention
        attention.key.weight.data = attention.query.weight.data.clone() * 400
        attention.query.weight.data *= 4
    encoder = heads.labels(model, kind="encoder")
    decoder = heads.labels(model)
    assert {one.kind for one in encoder[0]} == {"encoder"}
    assert {one.kind for one in decoder[0]} == {"decoder"}
    for one in (*encoder[0], *decoder[0]):
        # In a repeat, half of it goes to the earlier copy; the other half stays.
        assert one.scores["duplicate token"] == pytest.approx(0.5, abs=0.1)
        assert one.scores["self token"] > 0.5


FAMILIES = {
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", dict(n_layer=2, n_head=4, n_embd=32)),
    "bert": ("BertForMaskedLM", "BertConfig", dict(intermediate_size=64)),
    "bert-bare": ("BertModel", "BertConfig", dict(intermediate_size=64)),
    "llama": ("LlamaForCausalLM", "LlamaConfig", dict(intermediate_size=64, num_key_value_heads=2)),
    "marian": (
        "MarianMTModel",
        "MarianConfig",
        dict(
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            d_model=32,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            decoder_start_token_id=0,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        ),
    ),
    "bloom": ("BloomForCausalLM", "BloomConfig", dict(n_layer=2, n_head=4)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_hugging_face_models_of_many_families(family, monkeypatch):
    transformers = package("transformers")
    torch.manual_seed(0)
    model_class, config_class, sizes = FAMILIES[family]
    if family != "marian":
        sizes = dict(num_hidden_layers=2, num_attention_heads=4, hidden_size=32, **sizes)
    config = getattr(transformers, config_class)(vocab_size=100, **sizes)
    model = getattr(transformers, model_class)(config).eval()
    assert names(heads.labels(model)) == [[None] * 4] * 2, "it is untrained"
    # Without a bar every head gets a label, and so its effect.
    monkeypatch.setattr(naming, "BAR", -1.0)
    monkeypatch.setattr(naming, "ABOVE", -1.0)
    label = heads.label(model, 1, 2)
    assert label.alone.value > 0, "switching it off changes something"
    assert (label.alone.loss is not None) == (family in ("gpt2", "llama", "bloom"))
    assert ("final hidden states" in label.alone.measure) == (family == "bert-bare")


@pytest.mark.badinput
def test_bad_input():
    model = circuits.induction_by_hand()
    with pytest.raises(ValueError, match="head=2 is outside 0 … 1"):
        heads.label(model, 0, 2)
    with pytest.raises(ValueError, match="kind='cross' attends to another text"):
        heads.labels(model, kind="cross")
    with pytest.raises(ValueError, match="kind='encoder' is not in this model"):
        heads.labels(model, kind="encoder")
    with pytest.raises(ValueError, match="texts need a tokenizer"):
        heads.labels(model, texts=["one", "two"])
    with pytest.raises(ValueError, match="at least two texts"):
        heads.labels(tl.shipped("manual"), texts="one")
    short = tl.Transformer(tl.ModelConfig(vocab_size=20, n_ctx=8, d_model=16))
    with pytest.raises(ValueError, match="context of 8 tokens is too short"):
        heads.labels(short)


def test_a_twin_that_is_made_beside_is_the_same_and_leaves_no_thread(monkeypatch):
    model = small(n_ctx=64)
    expected = tl.heads.labels(model, ablation=False)
    monkeypatch.setattr(evidence, "SMALL_TWIN", 0)
    state = torch.get_rng_state()
    assert tl.heads.labels(model, ablation=False) == expected
    assert torch.equal(torch.get_rng_state(), state)
    before = threading.active_count()
    with pytest.raises(ValueError, match="kind='encoder' is not in this model"):
        tl.heads.labels(model, kind="encoder")
    assert threading.active_count() == before

    def broken(network, seed):
        raise MemoryError("no room")

    monkeypatch.setattr(evidence, "random_twin", broken)
    with pytest.raises(MemoryError, match="no room"):
        tl.heads.labels(model, ablation=False)


def test_naming_asks_for_no_predictions():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=50, n_layer=2, n_head=2, n_embd=16, n_positions=128)
    model = transformers.GPT2LMHeadModel(config).eval()
    rows = []
    model.lm_head.register_forward_hook(lambda _, args, out: rows.append(out.shape[1]))
    tl.heads.labels(model, ablation=False)
    assert rows == [1, 1]  # one position per probe; the twin is another model

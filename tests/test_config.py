"""Model configurations: derived fields, rejected values, writing and reading back."""

import dataclasses
import json

import pytest

from transformer_lab import ALiBi, Learned, ModelConfig, Rotary, Sinusoidal


def test_sizes_are_derived():
    config = ModelConfig(vocab_size=100, d_model=96, n_heads=6)
    assert (config.d_head, config.n_kv_heads, config.d_ff) == (16, 6, 384)
    assert ModelConfig(vocab_size=100, d_model=96, activation="swiglu").d_ff == 256


def test_replace_derives_again():
    config = ModelConfig(vocab_size=100, d_model=64, n_heads=4).replace(d_model=128)
    assert (config.d_head, config.d_ff) == (32, 512)
    assert ModelConfig(vocab_size=100, d_ff=99).replace(dropout=0.1).d_ff == 99


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(vocab_size=100),
        ModelConfig.modern(vocab_size=100, positions=Rotary(500.0)),
        ModelConfig.paper_base(),
        ModelConfig(vocab_size=100, kind="encoder", positions="alibi", pad_id=0, head=False),
        ModelConfig(vocab_size=100, positions=Sinusoidal(halves=True), n_kv_heads=2),
        ModelConfig(vocab_size=100, n_experts=8, experts_per_token=1),
    ],
    ids=lambda c: c.kind,
)
def test_a_config_comes_back_from_json(config):
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_positions_go_by_name_or_object():
    assert ModelConfig(vocab_size=9, positions="learned").positions == Learned()
    assert ModelConfig(vocab_size=9, positions=ALiBi()).positions == ALiBi()


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig(vocab_size=9).d_model = 3


def test_modern_lets_given_fields_win():
    assert ModelConfig.modern(vocab_size=9, activation="gelu").activation == "gelu"
    assert ModelConfig.modern(vocab_size=9).logit_softcap == 15.0


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(d_model=130, n_heads=4), ["d_model must", "got 130", "n_heads=4", "try d_model=128"]),
        (dict(n_heads=4, n_kv_heads=3), ["n_heads must", "got 4", "n_kv_heads=3"]),
        (dict(n_layers=0), ["n_layers must", "got 0", "at least 1"]),
        (dict(n_ctx=1.5), ["n_ctx must", "got 1.5", "whole number"]),
        (dict(kind="seq2seq"), ["'seq2seq'", "encoder-decoder"]),
        (dict(norm="batch"), ["'batch'", "layer", "rms"]),
        (dict(activation="tanh"), ["'tanh'", "gelu", "swiglu"]),
        (dict(positions="rope"), ["'rope'", "rotary"]),
        (dict(dropout=1.0), ["dropout must", "got 1.0", "below 1"]),
        (dict(target_vocab_size=5), ["target_vocab_size=5", "encoder-decoder"]),
        (dict(experts_per_token=2), ["experts_per_token=2 needs n_experts", "n_experts=8"]),
        (dict(n_experts=2, experts_per_token=3), ["at most n_experts=2", "got 3"]),
        (dict(n_experts=2, attention_only=True), ["n_experts=2", "attention_only=True"]),
        (dict(balance_loss=-1.0), ["balance_loss must", "got -1.0"]),
        (dict(pad_id=100), ["pad_id must", "got 100", "vocab_size=100"]),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_a_shape_that_cannot_be_is_named(options, words):
    with pytest.raises(ValueError, match=r".+") as error:
        ModelConfig(**{"vocab_size": 100, **options})
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.badinput
def test_an_unknown_option_lists_the_known_ones():
    with pytest.raises(TypeError, match=r"no option 'heads'; did you mean 'n_heads'\?"):
        ModelConfig(vocab_size=9, heads=3)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ValueError, match=r"'n_head'; did you mean 'n_heads'\?"):
        ModelConfig.from_dict({"vocab_size": 9, "n_head": 3})
    with pytest.raises(ValueError, match="vocab_size"):
        ModelConfig.from_dict({})

"""The recurrent models match their papers' equations, and behave like a Transformer."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl
from transformer_lab.recurrent import (
    Recurrent,
    RecurrentConfig,
    dependent_steps,
    layer_cost,
    path_length,
)


def make(seed=0, **fields):
    torch.manual_seed(seed)
    model = Recurrent(RecurrentConfig(vocab_size=23, d_model=16, **fields))
    for p in model.parameters():  # zero biases hide bugs
        p.data += 0.1 * torch.randn_like(p)
    return model.eval()


def ids(*shape, seed=1):
    return torch.randint(23, shape, generator=torch.Generator().manual_seed(seed))


def lstm_by_hand(cell, x, h, c):
    """The LSTM's equations, one position after another."""
    out = []
    for t in range(x.shape[1]):
        gates = F.linear(x[:, t], cell.weight_ih_l0, cell.bias_ih_l0)
        gates = gates + F.linear(h, cell.weight_hh_l0, cell.bias_hh_l0)
        i, f, g, o = gates.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        out.append(h)
    return torch.stack(out, 1), h, c


def test_language_model_is_the_lstm_of_the_paper():
    model, tokens = make(), ids(3, 7)
    zero = torch.zeros(3, 16)
    states, _, _ = lstm_by_hand(model.decoder, model.embedding(tokens), zero, zero)
    torch.testing.assert_close(model(tokens), states @ model.embedding.weight.T)


def test_bahdanau_is_the_attention_of_the_paper():
    model, source, target = make(kind="encoder-decoder"), ids(2, 5), ids(2, 4, seed=2)
    memory, (h, _) = model.encoder(model.embedding(source))
    h = torch.tanh(model.bridge(torch.cat((h[0], h[1]), -1)))
    c, maps, outs = torch.zeros_like(h), [], []
    W, U, v = model.attention.query, model.attention.key, model.attention.score.weight[0]
    for t in range(4):
        scores = torch.stack([torch.tanh(W(h) + U(memory[:, j])) @ v for j in range(5)], -1)
        weights = scores.softmax(-1)
        context = sum(weights[:, j, None] * memory[:, j] for j in range(5))
        x = torch.cat((model.embedding(target[:, t]), context), -1)
        _, h, c = lstm_by_hand(model.decoder, x[:, None], h, c)
        outs.append(torch.tanh(model.mix(torch.cat((h, context), -1))))
        maps.append(weights)
    expected = torch.stack(outs, 1) @ model.embedding.weight.T
    torch.testing.assert_close(model(source, target), expected, atol=1e-5, rtol=1e-5)

    trace = tl.trace(model, source, target)
    assert trace.kinds == ("cross",)
    assert (trace.n_layers("cross"), trace.n_heads("cross")) == (1, 1)
    for batch in range(2):
        seen = trace.pattern(0, 0, kind="cross", batch=batch)
        torch.testing.assert_close(seen, torch.stack(maps, 1)[batch])
    torch.testing.assert_close(trace.logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("attention", ["bahdanau", "none"])
def test_padding_changes_nothing(cell, attention):
    model = make(kind="encoder-decoder", cell=cell, attention=attention, n_layers=2)
    source, target = ids(2, 6), ids(2, 4, seed=2)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    together = model(source, target, mask=mask)
    for row, n in enumerate((6, 4)):
        alone = model(source[row : row + 1, :n], target[row : row + 1])
        torch.testing.assert_close(together[row], alone[0])


def test_left_padding_changes_nothing_in_a_language_model():
    model, tokens = make(n_layers=2), ids(1, 5)
    padded = torch.cat((torch.zeros(1, 3, dtype=torch.long), tokens), 1)
    mask = torch.arange(8)[None] >= 3
    torch.testing.assert_close(model(padded, mask=mask)[:, 3:], model(tokens))


def test_position_t_depends_on_no_later_token():
    model, tokens = make(), ids(1, 6)
    changed = tokens.clone()
    changed[0, 4] = (changed[0, 4] + 1) % 23
    difference = (model(tokens) - model(changed)).abs().amax(-1)[0]
    assert (difference[:4] == 0).all()
    assert (difference[4:] > 0).all()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"cell": "gru", "n_layers": 2},
        {"kind": "encoder-decoder"},
        {"kind": "encoder-decoder", "attention": "none", "cell": "gru"},
    ],
)
def test_generation_with_the_kept_state_equals_reading_anew(fields):
    model, tokens = make(**fields), ids(2, 5)
    options = dict(max_new_tokens=8)
    if model.config.kind == "encoder-decoder":
        options["bos_id"] = 1
    cached = tl.generate(model, tokens, **options)
    assert torch.equal(cached, tl.generate(model, tokens, cached=False, **options))
    beams = tl.generate(model, tokens, beams=3, **options)
    assert torch.equal(beams, tl.generate(model, tokens, beams=3, cached=False, **options))


def test_left_padded_prompts_are_continued_as_if_alone():
    model, tokens = make(), ids(1, 5)
    padded = torch.cat((ids(1, 2, seed=5), tokens), 1)
    mask = torch.arange(7)[None] >= 2
    alone = tl.generate(model, tokens, max_new_tokens=6)
    assert torch.equal(tl.generate(model, padded, mask=mask, max_new_tokens=6), alone)


def test_edits_reach_bahdanaus_map():
    model, source, target = make(kind="encoder-decoder"), ids(1, 5), ids(1, 4, seed=2)
    before = tl.trace(model, source, target)
    with tl.edit(model, tl.knock_out(layer=0, head=0, query=2, key=3, kind="cross")):
        after = tl.trace(model, source, target)
    old, new = (t.pattern(0, 0, kind="cross") for t in (before, after))
    torch.testing.assert_close(new[:2], old[:2])  # steps before the cut
    assert new[2, 3] == 0
    expected = old[2].clone()
    expected[3] = 0
    torch.testing.assert_close(new[2], expected / expected.sum())
    assert not torch.allclose(new[3], old[3])  # and the next state differs
    with tl.edit(model, tl.ablate(layer=0, head=0, kind="cross")):
        blind = model(source, target)
    assert not torch.allclose(blind, before.logits)
    torch.testing.assert_close(model(source, target), before.logits)


@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder"])
def test_save_and_load(tmp_path, kind):
    model = make(kind=kind, cell="gru", n_layers=2)
    tl.save_model(model, tmp_path)
    again = tl.load_model(tmp_path)
    assert again.config == model.config
    inputs = (ids(2, 5),) if kind == "decoder" else (ids(2, 5), ids(2, 4))
    assert torch.equal(again(*inputs), model(*inputs))


def test_reversing_is_learned_with_attention():
    torch.manual_seed(0)
    data = tl.datasets.reverse(length=(3, 5), vocab=8, size=2000, held_out=100)
    config = RecurrentConfig(
        kind="encoder-decoder", vocab_size=data.vocab_size, d_model=32, cell="gru"
    )
    model = Recurrent(config)
    *_, last = tl.train(model, data.batches(32), steps=150, lr=1e-2)
    assert last.loss < 0.5


def test_table_1():
    n, d, k = 700, 512, 3
    assert layer_cost("self-attention", length=n, d_model=d) == layer_cost(
        "self-attention", length=n, d_model=d, kernel=9
    )
    assert layer_cost("self-attention", length=n, d_model=d).operations == n * n * d
    assert layer_cost("recurrent", length=n, d_model=d).operations == n * d * d
    assert layer_cost("convolutional", length=n, d_model=d).operations == k * n * d * d
    paths = {
        layer: layer_cost(layer, length=n, d_model=d).path_length
        for layer in ("self-attention", "recurrent", "convolutional")
    }
    assert paths == {
        "self-attention": 1,
        "recurrent": n,
        "convolutional": math.ceil(math.log(n, 3)),
    }
    steps = layer_cost("recurrent", length=n, d_model=d).dependent_steps
    assert steps == n
    assert layer_cost("self-attention", length=n, d_model=d).dependent_steps == 1
    # Equal work if the text's length equals d_model.
    assert (
        layer_cost("self-attention", length=d, d_model=d).operations
        == layer_cost("recurrent", length=d, d_model=d).operations
    )


def test_steps_and_paths_of_whole_models():
    transformer = tl.ModelConfig(vocab_size=9, n_layers=4, d_model=16)
    lstm = RecurrentConfig(vocab_size=9, n_layers=4, d_model=16)
    assert [dependent_steps(transformer, n) for n in (1, 1000)] == [4, 4]
    assert [dependent_steps(lstm, n) for n in (1, 1000)] == [4, 1003]
    assert [path_length(transformer, n) for n in (1, 1000)] == [1, 1]
    assert [path_length(lstm, n) for n in (1, 1000)] == [1, 1000]
    blind = RecurrentConfig(vocab_size=9, kind="encoder-decoder", attention="none")
    assert path_length(blind, 30) == 60
    assert path_length(blind.replace(attention="bahdanau"), 30) == 1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"cell": "rnn"}, "lstm, gru"),
        ({"d_model": 0}, "d_model must .* got 0"),
        ({"attention": "bahdanau"}, "encoder-decoder"),
        ({"kind": "encoder"}, "kind must be one of .* got 'encoder'"),
        ({"kind": "encoder-decoder", "d_model": 15}, "d_model must be even.* got 15"),
    ],
)
def test_a_wrong_configuration_is_named(fields, says):
    with pytest.raises(ValueError, match=says):
        RecurrentConfig(vocab_size=9, **fields)


def test_a_wrong_input_is_named():
    model = make(kind="encoder-decoder")
    with pytest.raises(ValueError, match="needs target"):
        model(ids(1, 3))
    with pytest.raises(ValueError, match="n_ctx=2048"):
        model(ids(1, 2049), ids(1, 3))
    with pytest.raises(ValueError, match="unknown model option 'depth'"):
        RecurrentConfig.from_dict({"vocab_size": 9, "depth": 2})


def test_equal_surface():
    """A recurrent model has all that `train`, `trace`, `edit` and `generate` use."""
    used = [
        "config",
        "device",
        "n_parameters",
        "n_outputs",
        "hidden",
        "encode",
        "decode",
        "logits",
        "tapped",
        "add_tap",
        "remove_tap",
        "embedding",
    ]
    model = make(kind="encoder-decoder")
    assert all(hasattr(model, name) for name in used)
    assert isinstance(model, nn.Module)
    assert model.n_parameters() == sum(p.numel() for p in set(model.parameters()))

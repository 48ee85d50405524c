"""Sweeps: every number equals that of its single edit, and costs less than a pass."""

import copy
import json
import math
import threading

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small
from transformer_lab import ALiBi, Learned, NoPositions, Relative, Rotary, Sinusoidal
from transformer_lab.blocks import Block, FeedForward
from transformer_lab.edits.kinds import EditError
from transformer_lab.edits.sweep import LOGIT_MEASURES

ARCHITECTURES = {
    "decoder": dict(kind="decoder", positions=Rotary()),
    "decoder-grouped": dict(kind="decoder", n_kv_heads=2, norm="rms", activation="swiglu"),
    "decoder-attention-only": dict(kind="decoder", attention_only=True),
    "decoder-alibi": dict(kind="decoder", positions=ALiBi()),
    "decoder-learned-softcap": dict(kind="decoder", positions=Learned(), logit_softcap=15.0),
    "decoder-no-positions": dict(kind="decoder", positions=NoPositions()),
    "encoder": dict(kind="encoder", positions=Learned(), norm_first=False, head_transform=True),
    "encoder-relative": dict(kind="encoder", positions=Relative()),
    "encoder-decoder": dict(kind="encoder-decoder", positions=Sinusoidal(), norm_first=False),
    "encoder-decoder-alibi": dict(kind="encoder-decoder", positions=ALiBi(), n_decoder_layers=3),
}
EACH = pytest.mark.parametrize("name", ARCHITECTURES)


def build(name="decoder", **options):
    return small(**{"noise": 0.2, "n_ctx": 32, **ARCHITECTURES[name], **options})


def texts(model, padded=True):
    """Arguments of a pass over two texts, the second one shorter."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 50, (2, 7), generator=generator)
    given = dict(tokens=tokens)
    if padded:
        given["mask"] = torch.arange(7) < torch.tensor([[7], [5]])
    if model.config.kind == "encoder-decoder":
        given["target"] = torch.randint(1, 50, (2, 5), generator=generator)
        if padded:
            given["target_mask"] = torch.arange(5) < torch.tensor([[5], [4]])
    return given


def last(given):
    mask = given.get("target_mask", given.get("mask"))
    n = given.get("target", given["tokens"]).shape[1]
    return mask.sum(1) - 1 if mask is not None else torch.tensor([n - 1, n - 1])


def kinds(model):
    kind = model.config.kind
    return ("encoder", "decoder", "cross") if kind == "encoder-decoder" else (kind,)


def n_keys(given, kind):
    return given["target" if kind == "decoder" and "target" in given else "tokens"].shape[1]


def by_hand(model, given, edits, places, chosen=None):
    """{measure: change}, the mean over the texts, by two whole passes."""
    batch = torch.arange(2)

    def log_probs():
        return model(**given)[batch, places].float().log_softmax(-1)

    before = log_probs()
    with tl.edit(model, *edits):
        after = log_probs()
    token = before.argmax(-1) if chosen is None else torch.tensor([chosen] * 2)
    old, new = before[batch, token], after[batch, token]
    return {
        "log_prob": (new - old).mean(),
        "probability": (new.exp() - old.exp()).mean(),
        "kl": (before.exp() * (before - after)).sum(-1).mean(),
    }


def check(sweep, model, given, places, chosen=None):
    cells = zip(sweep.edits, *(sweep.measures[m].flatten() for m in LOGIT_MEASURES), strict=True)
    n = 0
    for edits, *found in cells:
        if not edits:
            assert all(math.isnan(x) for x in found)
            continue
        expected = by_hand(model, given, edits, places, chosen)
        for name, value in zip(LOGIT_MEASURES, found, strict=True):
            assert float(value) == pytest.approx(float(expected[name]), abs=1e-5), (edits, name)
        assert abs(expected["log_prob"]) > 1e-5, edits
        n += 1
    return n


@EACH
@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_every_number_is_that_of_its_own_edit(name, padded):
    model = build(name)
    given = texts(model, padded)
    places = last(given)
    for kind in kinds(model):
        n_layers = 3 if kind != "encoder" and "encoder-decoder-alibi" in name else 2
        heads = tl.sweep_heads(model, **given, kind=kind)
        assert heads.axes == ("layer", "head") and heads.values.shape == (n_layers, 4)
        assert heads.positions == places.tolist()
        assert check(heads, model, given, places) == n_layers * 4
        edges = tl.sweep_edges(model, **given, kind=kind, layer=1, head=2, query=3)
        assert check_values(edges, model, given, places) == (
            4 if kind == "decoder" else n_keys(given, kind)
        )
    assert not any("forward" in m.__dict__ or getattr(m, "taps", ()) for m in model.modules())


@EACH
@torch.no_grad()
def test_every_edge_of_a_row(name):
    model = build(name)
    given = texts(model, padded=False)
    places = last(given)
    for kind in kinds(model):
        for where in (dict(layer=1, head=2), dict(layer=0), dict(head=1), dict()):
            sweep = tl.sweep_edges(model, **given, kind=kind, query=3, **where)
            n = check_values(sweep, model, given, places)
            assert sweep.axes == ("key",) and len(sweep.values) == n_keys(given, kind)
            assert n == (4 if kind == "decoder" else n_keys(given, kind))


def check_values(sweep, model, given, places):
    n = 0
    for edits, found in zip(sweep.edits, sweep.values, strict=True):
        if not edits:
            assert math.isnan(found)
            continue
        expected = by_hand(model, given, edits, places)["log_prob"]
        assert float(found) == pytest.approx(float(expected), abs=1e-5), edits
        n += 1
    return n


@torch.no_grad()
def test_keys_that_a_mask_hides_have_no_edge():
    model = build("encoder")
    given = texts(model)
    one = {name: x[1:] for name, x in given.items()}
    sweep = tl.sweep_edges(model, **one, layer=1, head=2, query=3, position=3)
    assert sweep.values.isnan().tolist() == [False] * 5 + [True] * 2
    assert sweep.to_dict()["measures"]["kl"][5:] == [None, None]
    assert json.dumps(sweep.to_dict(), allow_nan=False)


@torch.no_grad()
def test_groups_are_switched_off_together():
    model = build()
    given = texts(model)
    layers = tl.sweep_groups(model, **given)
    assert layers.labels == {"group": ["layer 0", "layer 1"]}
    assert check(layers, model, given, last(given)) == 2
    named = {"early and late": [(0, 1), (1, 2)], "one": [(1, 3)]}
    sweep = tl.sweep_groups(model, **given, groups=named)
    assert sweep.labels == {"group": ["early and late", "one"]}
    assert check(sweep, model, given, last(given)) == 2
    again = tl.sweep_groups(model, **given, groups=list(named.values()))
    assert again.labels["group"] == ["0.1, 1.2", "1.3"]
    assert torch.equal(again.values, sweep.values)


@pytest.mark.parametrize("value", ["mean", "reference", "vector"])
@torch.no_grad()
def test_heads_may_be_held_at_something(value):
    model = build("encoder-decoder")
    given = texts(model)
    if value == "reference":
        value = tl.mean_of(model, [((given["tokens"] * 3) % 49 + 1, given["target"])])
    if value == "vector":
        value = torch.ones(8)
    for kind in kinds(model):
        sweep = tl.sweep_heads(model, **given, kind=kind, value=value)
        check(sweep, model, given, last(given))


@torch.no_grad()
def test_a_chosen_token_at_a_chosen_place():
    model = build()
    given = texts(model, padded=False)
    sweep = tl.sweep_heads(model, **given, token=7, position=2)
    check(sweep, model, given, torch.tensor([2, 2]), chosen=7)
    assert sweep.tokens == [7, 7] and sweep.positions == [2, 2]
    clean = model(**given)[:, 2].log_softmax(-1)[:, 7]
    assert sweep.baseline["log_prob"] == pytest.approx(float(clean.mean()), abs=1e-5)
    assert sweep.baseline["probability"] == pytest.approx(float(clean.exp().mean()), abs=1e-5)
    assert tl.sweep_heads(model, **given, position=-2).positions == [5, 5]


@torch.no_grad()
def test_a_measure_of_ones_own():
    model = build()
    given = texts(model)
    shapes = []

    def difference(logits):
        shapes.append(logits.shape)
        return logits[0, 3, 7] - logits[1, 2, 9]

    sweep = tl.sweep_heads(model, **given, measure=difference)
    assert set(shapes) == {(2, 7, 50)}
    clean = difference(model(**given))
    assert sweep.baseline == {"measure": pytest.approx(float(clean), abs=1e-5)}
    for (edit,), value in zip(sweep.edits, sweep.values.flatten(), strict=True):
        with tl.edit(model, edit):
            change = difference(model(**given)) - clean
        assert float(value) == pytest.approx(float(change), abs=1e-5)
    kl = tl.sweep_heads(model, **given, measure="kl")
    assert torch.equal(kl.values, kl.measures["kl"]) and kl.measure == "kl"


@torch.no_grad()
def test_edits_in_force_hold_for_the_clean_pass_and_all_others():
    model = build()
    given = texts(model)
    alone = tl.sweep_heads(model, **given).values
    held = torch.randn(2, 1, 1, 8)  # fits only this batch of two, so no copies can share a pass
    for edit in (tl.ablate(0, 1), tl.skip(1, "mlp"), tl.ablate(0, 1, value=held)):
        with tl.edit(model, edit):
            sweep = tl.sweep_heads(model, **given)
            assert (sweep.values - alone).abs().max() > 1e-4
            for layer, head in ((0, 2), (1, 3)):
                expected = by_hand(model, given, [tl.ablate(layer, head)], last(given))
                found = sweep.values[layer, head]
                assert float(found) == pytest.approx(float(expected["log_prob"]), abs=1e-5)


@torch.no_grad()
def test_layers_before_the_edit_are_not_computed_again():
    model, computed = build(n_layers=3), []
    given = texts(model)
    handles = [
        m.register_forward_hook(lambda module, args, out: computed.append(len(out)))
        for m in model.modules()
        if isinstance(m, FeedForward)
    ]
    tl.sweep_heads(model, **given)
    # Two texts go through three layers once, and four copies of them from the edit's layer on.
    assert computed == [2] * 4 + [8] * 6  # clean, and the last layer again as a check
    computed.clear()
    tl.sweep_heads(model, **given, budget_mib=0.001)  # nothing cached, nothing shared
    assert computed == [2] * 3 * 13
    computed.clear()
    roomy = tl.sweep_heads(model, **given, budget_mib=0.1).values
    assert max(computed) == 4 and sum(computed) == 2 * 3 + 8 * 6
    for handle in handles:
        handle.remove()
    assert_close(roomy, tl.sweep_heads(model, **given).values, rtol=0, atol=1e-5)


@torch.no_grad()
def test_hooks_of_ones_own_act_once_even_those_that_change_in_place():
    model = build(n_layers=3)
    given = texts(model, padded=False)

    def shift(block, args):
        args[0].add_(1.0)

    first, second, third = model.decoder.blocks
    first.register_forward_hook(lambda block, args, output: 0.5 * output)
    second.register_forward_pre_hook(shift)
    third.register_forward_pre_hook(shift)
    sweep = tl.sweep_heads(model, **given)
    assert check(sweep, model, given, last(given)) == 12


def test_a_model_in_training_is_left_alone():
    model = build(dropout=0.5)
    given = texts(model)
    expected = tl.sweep_heads(model, **given).values
    model.train()
    state = torch.get_rng_state()
    assert torch.equal(tl.sweep_heads(model, **given).values, expected)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(m.training for m in model.modules())


def test_other_threads_compute_meanwhile_and_all_is_put_back():
    model = build(n_layers=3)
    given = texts(model)
    with torch.no_grad():
        clean = model(**given)
    expected, wrong, stop = tl.sweep_heads(model, **given).values, [], threading.Event()

    def work():
        while not stop.is_set():
            with torch.no_grad():
                if not torch.equal(model(**given), clean):
                    wrong.append("a pass")
            if not torch.allclose(tl.sweep_heads(model, **given).values, expected, atol=1e-5):
                wrong.append("a sweep")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        if not torch.allclose(tl.sweep_heads(model, **given).values, expected, atol=1e-5):
            wrong.append("the first thread's sweep")
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not any("forward" in m.__dict__ or getattr(m, "taps", ()) for m in model.modules())


def test_progress_is_told_and_may_end_the_sweep():
    model = build()
    given, told = texts(model), []
    tl.sweep_heads(model, **given, progress=lambda *done: told.append(done))
    assert told == [(4, 8), (8, 8)]

    def enough(done, total):
        copies.append(copy.deepcopy(model))  # made before or while blocks are replayed
        raise KeyboardInterrupt

    copies = []
    with pytest.raises(KeyboardInterrupt):
        tl.sweep_heads(model, **given, progress=enough)
    for left in (model, *copies[:0]):
        assert not any("forward" in m.__dict__ or getattr(m, "taps", ()) for m in left.modules())


@torch.no_grad()
def test_a_model_copied_in_the_middle_of_a_replay_computes_for_itself():
    model = build()
    given, copies = texts(model), []
    handle = model.decoder.blocks[1].register_forward_pre_hook(
        lambda *_: copies.append(copy.deepcopy(model))
    )
    tl.sweep_heads(model, **given)
    handle.remove()
    late = copies[-1]
    assert "forward" in late.decoder.blocks[0].__dict__, "it was copied while replayed"
    for block in late.decoder.blocks:
        block._forward_pre_hooks.clear()
        block.taps = block.attention.taps = ()
    assert torch.equal(late(**given), model(**given))
    for parameter in model.parameters():
        parameter.add_(0.1)
    assert not torch.allclose(late(**given), model(**given))


def test_the_largest_changes_come_first_and_are_said():
    model = build()
    sweep = tl.sweep_heads(model, **texts(model))
    top = sweep.top(3)
    order = sweep.values.flatten().abs().sort(descending=True).values[:3]
    assert [abs(effect.value) for effect in top] == order.tolist()
    where = top[0].where
    assert float(sweep.values[where["layer"], where["head"]]) == top[0].value == sweep.best().value
    assert repr(top[0].edits[0]) == f"tl.ablate(layer={where['layer']}, head={where['head']})"
    assert repr(sweep).startswith("<Sweep of log_prob over 2 layers × 4 heads (decoder); clean ")
    assert f"layer {where['layer']} head {where['head']} {top[0].value:+.3g}" in repr(sweep)
    again = json.loads(json.dumps(sweep.to_dict()))
    assert_close(torch.tensor(again["measures"]["log_prob"]), sweep.values)
    assert again["axes"] == ["layer", "head"] and again["labels"]["head"] == ["0", "1", "2", "3"]


@torch.no_grad()
def test_text_models_are_given_text_and_label_their_keys():
    shipped = tl.shipped("manual")
    text = "for key in keys:"
    trace = shipped.trace(text)
    sweep = tl.sweep_heads(shipped, text)
    assert [shipped.tokenizer.tokens(sweep.tokens)[0]] == [trace.predictions(k=1)[0][0]]
    assert sweep.baseline["probability"] == pytest.approx(trace.predictions(k=1)[0][1], abs=1e-5)
    effect = sweep.best()
    with tl.edit(shipped, *effect.edits):
        after = shipped.trace(text).logits[0, -1].log_softmax(-1)[sweep.tokens[0]]
    assert effect.value == pytest.approx(float(after) - sweep.baseline["log_prob"], abs=1e-5)
    edges = tl.sweep_edges(shipped, text, layer=0, head=0, query=5)
    assert edges.labels["key"] == trace.key_tokens()
    assert edges.values[:6].isfinite().all()


def test_a_token_may_be_given_as_text():
    model, text = tl.shipped("manual"), "for key in self."
    token = model.token_id(" in")
    for ask in (tl.sweep_heads, tl.estimate_effects):
        assert torch.equal(
            ask(model, text, token=" in").values, ask(model, text, token=token).values
        )
    trace = model.trace(text, keep="all")
    flow = tl.views.FlowView(trace, token=" in")
    attribution = tl.circuits.logit_attribution(trace, " in", against=token + 1)
    assert (flow.token, attribution.token, attribution.against) == (token, token, token + 1)
    flow.close()


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, t: tl.sweep_heads(m, t, kind="cross"), ["'cross'", "decoder"]),
        (lambda m, t: tl.sweep_heads(m, t, measure="loss"), ["'loss'", "log_prob"]),
        (lambda m, t: tl.sweep_heads(m, t, position=7), ["position=7", "7 tokens"]),
        (lambda m, t: tl.sweep_heads(m, t, token=50), ["token=50", "50 tokens"]),
        (lambda m, t: tl.sweep_heads(m, t, token=" in"), ["' in' is text", "use a TextModel"]),
        (lambda m, t: tl.sweep_heads(m, t, value="noise"), ["'noise'", "mean"]),
        (lambda m, t: tl.sweep_edges(m, t, query=7), ["query=7", "0 … 6"]),
        (lambda m, t: tl.sweep_edges(m, t, query=3, layer=2), ["layer=2", "0 … 1"]),
        (lambda m, t: tl.sweep_edges(m, t, query=3, head=4), ["head=4", "0 … 3"]),
        (lambda m, t: tl.sweep_groups(m, t, groups=[[]]), ["at least one head", "(layer, head)"]),
        (
            lambda m, t: tl.sweep_groups(m, t, groups={"a": [3]}),
            ["must be a pair (layer, head), got 3"],
        ),
        (lambda m, t: tl.sweep_groups(m, t, groups=[[(0, 9)]]), ["head=9", "0 … 3"]),
        (lambda m, t: tl.sweep_heads(build(head=False), t), ["no head", "head=False"]),
        (lambda m, t: tl.sweep_heads(torch.nn.Linear(2, 2), t), ["Linear"]),
        (
            lambda m, t: tl.sweep_heads(tl.Recurrent(tl.RecurrentConfig(vocab_size=50)), t),
            ["no attention"],
        ),
    ],
)
def test_what_cannot_be_swept_is_named(call, words):
    model = build()
    with pytest.raises((EditError, ValueError)) as error:
        call(model, texts(model, False)["tokens"])
    assert all(word in str(error.value) for word in words), error.value
    assert not any("forward" in m.__dict__ or getattr(m, "taps", ()) for m in model.modules())


@torch.no_grad()
def test_readers_are_swept_by_what_they_answer():
    encoder, text = build("encoder-relative"), torch.randint(1, 50, (2, 7))
    reader = tl.Classifier(encoder, 3).eval()
    for parameter in reader.head.parameters():
        parameter.normal_()
    sweep = tl.sweep_heads(reader, text)
    before = reader(text).log_softmax(-1)
    with tl.edit(reader, tl.ablate(1, 2)):
        after = reader(text).log_softmax(-1)
    batch, top = torch.arange(2), before.argmax(-1)
    assert sweep.tokens == top.tolist() and sweep.positions == [0, 0]
    change = (after[batch, top] - before[batch, top]).mean()
    assert float(sweep.values[1, 2]) == pytest.approx(float(change), abs=1e-5) != 0
    spans = tl.SpanReader(encoder).eval()
    with pytest.raises(EditError, match=r"SpanReader gives \[2, 2, 7\].*measure="):
        tl.sweep_heads(spans, text)
    spans.head.weight.normal_()
    assert tl.sweep_heads(spans, text, measure=lambda x: x[0, 0, 3]).values.abs().min() > 1e-6


def test_recurrent_encoder_decoders_are_swept_too():
    model = tl.Recurrent(
        tl.RecurrentConfig(vocab_size=20, kind="encoder-decoder", d_model=8)
    ).eval()
    text = torch.randint(1, 20, (2, 5)), torch.randint(1, 20, (2, 4))
    sweep = tl.sweep_heads(model, *text)
    given = dict(zip(("tokens", "target"), text, strict=True))
    with torch.no_grad():
        assert check(sweep, model, given, torch.tensor([3, 3])) == 1
    assert isinstance(model.decoder, torch.nn.LSTM) and not isinstance(model, Block)

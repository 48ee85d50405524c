"""Edits and sweeps in Hugging Face models of many families; each kind of edit against its
definition."""

import copy
import io
import pickle
import threading

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from transformer_lab.adapters import attention_interface, structure
from transformer_lab.adapters import model_inputs as reading
from transformer_lab.adapters import module_lists as lists
from transformer_lab.adapters.lookup import network_of
from transformer_lab.adapters.network import Inputs
from transformer_lab.edits.kinds import EditError

MASKED = ["bert", "bert-pretraining", "roberta", "distilbert", "electra", "albert"]
CAUSAL = ["gpt2", "llama", "qwen3", "mistral", "gpt-neox", "gemma2", "opt"]
BOTH = ["marian", "bart", "t5"]
SUM_THEN_NORM = [*MASKED, "marian", "bart"]
EACH = pytest.mark.parametrize("name", [*MASKED, *CAUSAL, *BOTH])


def texts(model, seed=0, padded=False):
    """(tokens, target, mask): a batch of two, optionally with the second padded."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, 90, (2, 9), generator=generator)
    target = None
    if model.config.is_encoder_decoder:
        target = torch.randint(3, 90, (2, 5), generator=generator)
    mask = None
    if padded:
        mask = torch.ones_like(tokens, dtype=torch.bool)
        mask[1, 6:] = False
    return tokens, target, mask


def run(model, given):
    tokens, target, mask = given
    output = model(**reading.inputs_of(Inputs(tokens, target, mask), model))
    return next(output[n] for n in ("logits", "prediction_logits") if n in output)


def kinds(model):
    if model.config.is_encoder_decoder:
        return ("encoder", "decoder", "cross")
    return list(network_of(model).kinds)


def is_clean(model):
    return not any(
        m._forward_hooks
        or m._forward_pre_hooks
        or attention_interface.SESSION in m.__dict__
        or "forward" in m.__dict__
        for m in model.modules()
    )


def edits(model, kind, other):
    reference = tl.mean_of(model, [tuple(x[:1] for x in texts(model, 5)[:2] if x is not None)])
    found = {
        "zero": tl.ablate(1, 2, kind=kind),
        "zero in every layer": tl.ablate(kind=kind),
        "mean of other texts": tl.ablate(0, 1, kind=kind, value=reference),
        "cut": tl.knock_out(1, query=3, key=1, kind=kind),
        "cut everywhere": tl.knock_out(query=4, key=3, kind=kind),
        "scale": tl.scale(1, 2, by=0.5, kind=kind),
        "skip attention": tl.skip(1, kind=kind),
        "skip attention everywhere": tl.skip(kind=kind),
        "patch": tl.patch(other, 1, 2, kind=kind),
        "patch a place": tl.patch(other, 0, position=3, kind=kind),
    }
    if kind != "cross":
        found |= {
            "skip mlp": tl.skip(1, "mlp", kind=kind),
            "skip mlp everywhere": tl.skip(None, "mlp", kind=kind),
            "stream before": tl.patch(other, 1, position=2, kind=kind, what="resid_pre"),
            "stream after": tl.patch(other, 0, kind=kind, what="resid_post"),
        }
    return found


@EACH
@torch.no_grad()
def test_every_edit_changes_the_output_and_is_gone_afterwards(tiny, name):
    model = tiny(name)
    given = texts(model)
    before = run(model, given)
    other = tl.trace(model, *texts(model, 1)[:2], keep="all")
    for kind in kinds(model):
        for what, edit in edits(model, kind, other).items():
            with tl.edit(model, edit):
                during = run(model, given)
            assert not torch.allclose(during, before, atol=1e-4), (kind, what)
            assert during.isfinite().all()
            assert torch.equal(run(model, given), before)
    assert is_clean(model)


@EACH
@torch.no_grad()
def test_a_run_patched_into_itself_changes_nothing(tiny, name):
    model = tiny(name)
    given = texts(model)
    before = run(model, given)
    own = tl.trace(model, *given[:2], keep="all")
    for kind in kinds(model):
        patches = [tl.patch(own, kind=kind), tl.patch(own, 1, 2, kind=kind, position=[1, 3])]
        if kind != "cross":
            patches += [tl.patch(own, kind=kind, what=w) for w in ("resid_pre", "resid_post")]
        for patch in patches:
            with tl.edit(model, patch):
                assert_close(run(model, given), before, rtol=0, atol=2e-6)


@EACH
@torch.no_grad()
def test_the_stream_of_another_run_is_that_run_from_there_on(tiny, name):
    model = tiny(name)
    kind = kinds(model)[0]
    other = tl.trace(model, *texts(model, 1)[:2], keep="all")
    with tl.edit(model, tl.patch(other, 1, kind=kind, what="resid_pre")):
        found = tl.trace(model, *texts(model)[:2], keep="all")
    last = other.n_layers(kind) - 1
    stream = [t.activation("resid_post", last, kind=kind) for t in (found, other)]
    assert_close(*stream, rtol=0, atol=2e-5)


@EACH
@torch.no_grad()
def test_a_layer_of_which_all_is_skipped_leaves_the_stream_as_it_was(tiny, name):
    """Except for the norms after each sum, in post-norm models."""
    model = tiny(name)
    for kind in kinds(model):
        if kind == "cross":
            continue
        parts = [tl.skip(1, kind=kind), tl.skip(1, "mlp", kind=kind)]
        parts += [tl.skip(1, kind="cross")] if len(kinds(model)) == 3 and kind == "decoder" else []
        with tl.edit(model, *parts):
            trace = tl.trace(model, *texts(model)[:2], keep="all")
        x, after = (trace.activation(n, 1, kind=kind) for n in ("resid_pre", "resid_post"))
        if name in SUM_THEN_NORM:
            layer = blocks(model, kind)[1 if name != "albert" else 0]
            norms = [m for m in layer.modules() if isinstance(m, torch.nn.LayerNorm)]
            if name == "albert":  # modules() does not list its norms in order of use
                norms = [layer.albert_layers[0].attention.LayerNorm, norms[0]]
            assert len(norms) == len(parts)
            for norm in norms:
                x = norm(x)
        assert_close(after, x, rtol=0, atol=1e-6)


def blocks(model, kind):
    found = list(lists.block_modules(model).items())
    side = "decoder." if kind == "decoder" else "encoder."
    return [m for path, m in found if len(kinds(model)) == 1 or side in path]


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "t5", "opt", "gemma2"])
@torch.no_grad()
def test_zeroing_every_head_and_its_output_bias_is_skipping_attention(tiny, name):
    model = tiny(name)
    given = texts(model)
    own = ("attn.c_proj.bias", "attention.output.dense.bias", "out_proj.bias", "o_proj.bias")
    for path, parameter in model.named_parameters():
        if path.endswith(own):
            parameter.zero_()
    for kind in kinds(model):
        with tl.edit(model, tl.ablate(kind=kind)):
            ablated = run(model, given)
        with tl.edit(model, tl.skip(kind=kind)):
            assert_close(run(model, given), ablated, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "t5"])
@torch.no_grad()
def test_scaling_by_one_is_nothing_and_by_zero_is_ablation(tiny, name):
    model = tiny(name)
    given = texts(model)
    for kind in kinds(model):
        with tl.edit(model, tl.scale(1, 2, by=1, kind=kind)):
            assert_close(run(model, given), run(model, given), rtol=0, atol=1e-6)
        with tl.edit(model, tl.scale(1, 2, by=0, kind=kind)):
            scaled = run(model, given)
        with tl.edit(model, tl.ablate(1, 2, kind=kind)):
            assert torch.equal(run(model, given), scaled)


@torch.no_grad()
def test_layers_that_share_their_weights_are_changed_one_by_one(tiny):
    model = tiny("albert")
    given = texts(model)
    other = tl.trace(model, texts(model, 1)[0], keep="all")
    for make in (tl.skip, lambda i: tl.patch(other, i, what="resid_post")):
        clean = tl.trace(model, given[0], keep="all")
        for layer in range(3):
            with tl.edit(model, make(layer)):
                found = tl.trace(model, given[0], keep="all")
            same = [
                torch.allclose(*(t.activation("resid_post", i) for t in (found, clean)), atol=1e-5)
                for i in range(3)
            ]
            assert same == [i < layer for i in range(3)]


@torch.no_grad()
def test_a_window_that_hides_an_edge_leaves_nothing_to_cut(tiny):
    model = tiny("mistral")  # attends to 4 tokens
    with (
        pytest.raises(EditError, match=r"tl.knock_out\(query=8, key=1\) changed nothing in 1 forw"),
        tl.edit(model, tl.knock_out(query=8, key=1)),
    ):
        run(model, texts(model))


@pytest.mark.parametrize("name", ["gpt2", "t5"])
@torch.no_grad()
def test_a_compiled_model_is_edited(tiny, name):
    """Compiled code never calls hooks that are registered later."""
    torch._dynamo.reset()
    model = tiny(name)
    given = texts(model)
    compiled = torch.compile(model, backend="eager")
    inputs = reading.inputs_of(Inputs(*given), model)
    before = compiled(**inputs).logits
    other = tl.trace(model, *texts(model, 1)[:2], keep="all")
    for edit in (tl.skip(1), tl.skip(0, "mlp"), tl.patch(other, 1, what="resid_pre")):
        with tl.edit(model, edit):
            expected = run(model, given)
        with tl.edit(compiled, edit):
            assert_close(compiled(**inputs).logits, expected, rtol=0, atol=1e-6)
        assert_close(compiled(**inputs).logits, before, rtol=0, atol=1e-6)
    torch._dynamo.reset()


@torch.no_grad()
def test_all_is_put_back_after_an_error_and_from_many_threads(tiny):
    model = tiny("gpt2")
    given = texts(model)
    settings = [m.config._attn_implementation for m in model.modules() if hasattr(m, "config")]
    other = tl.trace(model, texts(model, 1)[0], keep="all")
    made = [
        tl.skip(1),
        tl.patch(other, 1, what="resid_pre"),
        tl.scale(0, 1, by=2),
        tl.skip(0, "mlp"),
    ]

    def work(i):
        for _ in range(5):
            with torch.no_grad(), tl.edit(model, made[i], this_thread=True):
                found[i] = run(model, given)

    found = {}
    for i in range(4):
        work(i)
    alone, found = found, {}
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        assert_close(found[i], alone[i], rtol=0, atol=1e-5)
    assert is_clean(model)
    for edit in made:
        with pytest.raises(ZeroDivisionError), tl.edit(model, edit):
            raise ZeroDivisionError
    with pytest.raises(EditError, match="texts"), tl.edit(model, made[1]):
        model(torch.ones(3, 9, dtype=torch.long))  # fails in the middle of a pass
    assert is_clean(model)
    after = [m.config._attn_implementation for m in model.modules() if hasattr(m, "config")]
    assert after == settings


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
def test_a_copy_of_an_edited_model_is_not_edited(tiny, name):
    model = tiny(name)
    given = texts(model)
    plain, file = run(model, given), io.BytesIO()
    with tl.edit(model, tl.skip(1), tl.skip(0, "mlp")):
        assert not torch.equal(run(model, given), plain)
        torch.save(model, file)
        twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        layer = copy.deepcopy(next(m for m in model.modules() if hasattr(m, "is_causal")))
    file.seek(0)
    for twin in (*twins, torch.load(file, weights_only=False)):
        assert is_clean(twin)
        assert torch.equal(run(twin, given), plain)
        assert len({id(m.config) for m in twin.modules() if hasattr(m, "config")}) == 1
    assert layer.config._attn_implementation == model.config._attn_implementation


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
def test_a_layer_that_was_copied_is_traced_and_edited(tiny, name):
    """The copy has a config of its own, which transformers does not find."""
    model = tiny(name)
    layers = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList))
    n = len(layers)
    layers.append(copy.deepcopy(layers[0]))
    model.config.num_hidden_layers = n + 1
    for module in layers[-1].modules():
        if hasattr(module, "layer_idx"):
            module.layer_idx = n
    given = texts(model)
    trace = tl.trace(model, given[0])
    assert len(trace.attending()) == n + 1 and trace.note is None
    assert tl.sweep_heads(model, given[0]).values[n].isfinite().all()
    plain = run(model, given)
    with tl.edit(model, tl.ablate(n)):
        assert not torch.equal(run(model, given), plain)
    assert torch.equal(run(model, given), plain) and is_clean(model)


def test_a_training_model_is_traced_with_its_skipped_layer(tiny):
    model = tiny("gpt2").train()
    with tl.edit(model, tl.skip(1), tl.skip(1, "mlp")):
        trace = tl.trace(model, texts(model)[0], keep="all")
    assert torch.equal(*(trace.activation(n, 1) for n in ("resid_pre", "resid_post")))


@pytest.mark.badinput
def test_what_cannot_be_edited_is_named(tiny, monkeypatch):
    # As if attention in the model's own code went undetected.
    monkeypatch.setattr(structure, "has_own_attention", lambda module: False)
    model = tiny("bloom")
    own = tl.trace(model, texts(model)[0], keep="all")
    with pytest.raises(EditError, match="maps only"):
        tl.patch(own, 1)
    with pytest.raises(EditError, match="cannot be edited"), tl.edit(model, tl.skip(0)):
        model(texts(model)[0])
    with pytest.raises(EditError, match="cannot be edited"):
        tl.sweep_heads(model, texts(model)[0])
    assert is_clean(model)
    model = tiny("t5")
    with pytest.raises(EditError, match=r"layer=2 .* 0 … 1"), tl.edit(model, tl.skip(2)):
        pass
    model = tiny("bert")
    model.bert.encoder.layer[1].output.dense = torch.nn.Sequential(torch.nn.Identity())
    with (
        pytest.raises(EditError, match=r"the mlp of its layer bert.encoder.layer.1 was not found"),
        tl.edit(model, tl.skip(1, "mlp")),
    ):
        pass
    assert is_clean(model)


# -- sweeps -----------------------------------------------------------------------------------------


def by_hand(model, given, edit, kind, places):
    """(Δ log-prob of the clean top token, KL): means over the texts."""
    batch = torch.arange(2)
    before = run(model, given)[batch, places].float().log_softmax(-1)
    with tl.edit(model, edit):
        after = run(model, given)[batch, places].float().log_softmax(-1)
    top = before.argmax(-1)
    kl = (before.exp() * (before - after)).sum(-1).mean()
    return float((after[batch, top] - before[batch, top]).mean()), float(kl)


@EACH
@torch.no_grad()
def test_a_sweep_is_the_same_edits_one_by_one(tiny, name):
    model = tiny(name)
    given = texts(model, padded=True)
    places = torch.tensor([8, 5]) if given[1] is None else torch.tensor([4, 4])
    for kind in kinds(model):
        sweep = tl.sweep_heads(model, *given[:2], mask=given[2], kind=kind)
        assert sweep.positions == places.tolist()
        for layer in range(sweep.values.shape[0]):
            for head in (0, 3):
                edit = tl.ablate(layer, head, kind=kind)
                log_prob, kl = by_hand(model, given, edit, kind, places)
                assert sweep.values[layer, head] == pytest.approx(log_prob, abs=1e-5)
                assert sweep.measures["kl"][layer, head] == pytest.approx(kl, abs=1e-5)
        query = 4
        edges = tl.sweep_edges(model, *given[:2], mask=given[2], kind=kind, layer=1, query=query)
        for key in (1, 4):
            log_prob, _ = by_hand(model, given, edges.edits[key][0], kind, places)
            if name == "mistral" and key == 1:
                continue
            assert edges.values[key] == pytest.approx(log_prob, abs=1e-5)
    assert is_clean(model)


@pytest.mark.parametrize("name", ["gpt2", "t5", "albert"])
@torch.no_grad()
def test_a_sweep_computes_no_layer_that_an_edit_cannot_reach(tiny, name):
    model, computed = tiny(name), [0]
    given = texts(model)
    ends = [
        m for m in model.modules() if type(m).__name__ in ("GPT2MLP", "T5LayerFF", "AlbertLayer")
    ]
    handles = [
        m.register_forward_hook(lambda *_: computed.__setitem__(0, computed[0] + 1)) for m in ends
    ]
    tl.sweep_heads(model, *given[:2])
    for handle in handles:
        handle.remove()
    layers = {
        # The clean pass; its last layer again, to see whether passes may begin there; each layer's
        # heads together; and in the first two layers one head alone, as a check.
        "gpt2": 3 + 1 + (3 + 2 + 1) + (3 + 2),
        "t5": 5 + 1 + (2 + 1) + 2,  # the encoder's three layers once
        "albert": 3 + 3 + 3,  # one layer run three times: its runs cannot be told apart
    }
    assert computed[0] == layers[name]

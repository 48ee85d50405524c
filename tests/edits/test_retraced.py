"""A trace under edits that begins at the first edited block equals the whole pass's bit for bit,
and computes no block before it."""

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.adapters.families import T, ours, text, tiny
from tests.edits.scenes import ARCHITECTURES, build, inputs, kinds, other_run
from tests.reference.test_hybrids import HYBRIDS, noisy
from transformer_lab.adapters.lookup import network_of
from transformer_lab.edits.edited_traces import Retraced
from transformer_lab.edits.kinds import EditError

WIDTH = 32  # of every stream here
FAMILIES = ["llama", "gemma2", "gpt_oss", "diffllama", "falcon", "squeezebert", "t5", "bart"]


def retraced(model, given, keep="all", **options):
    make = lambda: tl.trace(model, **given, keep=keep)  # noqa: E731
    return Retraced(network_of(model), make, **options), make


def edits_of(trace, kind, layer, other):
    """An edit of every kind at one layer; other: a trace of another text."""
    heads = trace.heads_of(layer, kind)
    found = [
        tl.ablate(layer, heads - 1, kind=kind),
        tl.ablate(layer, 0, kind=kind, value="mean"),
        tl.scale(layer, by=0.5, kind=kind),
        tl.knock_out(layer, 0, query=3, key=1, kind=kind),
        tl.patch(other, layer, 0, kind=kind),
        tl.skip(layer, kind=kind),
    ]
    if kind != "cross":
        vector = torch.linspace(-1, 1, WIDTH)
        found += [
            tl.steer(vector, layer, what=what, kind=kind) for what in ("resid_pre", "resid_post")
        ]
        found.append(tl.skip(layer, "mlp", kind=kind))
    return found


def same(found, wanted):
    """Assert that two traces agree, bit for bit."""
    exactly = dict(rtol=0, atol=0)
    assert_close(found.logits, wanted.logits, equal_nan=True, **exactly)
    assert found.kinds == wanted.kinds and found.note == wanted.note
    for kind in wanted.kinds:
        assert found.layers(kind) == wanted.layers(kind)
        assert found.attending(kind) == wanted.attending(kind)
        for layer in wanted.attending(kind):
            for batch in range(wanted.batch_size):
                place = dict(kind=kind, batch=batch)
                assert_close(
                    found.pattern(layer, **place), wanted.pattern(layer, **place), **exactly
                )
                norms = found.value_norms(layer, **place), wanted.value_norms(layer, **place)
                assert_close(*norms, **exactly)
            assert_close(
                found.activation("z", layer, kind=kind),
                wanted.activation("z", layer, kind=kind),
                **exactly,
            )
        assert_close(told(found.residual, kind), told(wanted.residual, kind), **exactly)
        assert_close(told(found.residual_norms, kind), told(wanted.residual_norms, kind), **exactly)
        for what in ("attn_out", "mlp_out", "cross_out"):
            for layer in range(wanted.n_layers(kind)):
                part = lambda trace: trace.activation(what, layer, kind=kind)  # noqa: B023, E731
                assert_close(told(part, found), told(part, wanted), **exactly)


def told(ask, of):
    """The result, or an empty tensor if it is refused."""
    try:
        return ask(of)
    except ValueError:
        return torch.zeros(0)


def check(model, given, other, every_kind):
    again, make = retraced(model, given)
    began = 0
    for kind in every_kind:
        for layer in again.trace.attending(kind):
            for edit in edits_of(again.trace, kind, layer, other):
                try:
                    with tl.edit(model, edit):
                        wanted = make()
                except EditError:  # not in this family
                    continue
                found = again.under([edit])
                same(found, wanted)
                first = dict(layer=min(found.attending(found.kinds[0])), kind=found.kinds[0])
                began += found.call(**first) is again.trace.call(**first)
    return began


@torch.no_grad()
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_of_our_models(name):
    model = build(name)
    given = dict(zip(("tokens", "target"), inputs(model), strict=False))
    assert check(model, given, other_run(model), kinds(model)) > 0


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_of_other_families(name):
    model = tiny(name)
    given = ours(text(model))
    other = tl.trace(model, **{n: x.flip(1) for n, x in given.items()}, keep="all")
    # SqueezeBERT runs its layers without calling them, so nothing of them is cached.
    assert (check(model, given, other, other.kinds) > 0) == (name != "squeezebert")


@torch.no_grad()
@pytest.mark.parametrize("name", ["lfm2", "jamba", "recurrent-gemma", "qwen3-next", "zamba"])
def test_of_hybrids(name):
    model = noisy(HYBRIDS[name][0]())
    given = dict(tokens=torch.arange(3, 10)[None])
    other = tl.trace(model, given["tokens"] + 9, keep="all")
    check(model, given, other, other.kinds)


def gemma3n(shared):
    torch.manual_seed(0)
    config = T.Gemma3nTextConfig(
        vocab_size=64,
        vocab_size_per_layer_input=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        hidden_size_per_layer_input=8,
        laurel_rank=4,
        num_kv_shared_layers=shared,
        activation_sparsity_pattern=[0.0] * 4,
        max_position_embeddings=64,
        pad_token_id=0,
        layer_types=["sliding_attention", "full_attention"] * 2,
        bos_token_id=1,
        eos_token_id=2,
    )
    return T.Gemma3nForCausalLM(config).eval()


@torch.no_grad()
@pytest.mark.parametrize("shared", [0, 2])
def test_layers_that_read_from_earlier_ones_beside_the_stream_are_computed_whole(shared):
    """Gemma 3n's last layers reuse keys and values of earlier ones."""
    model, tokens = gemma3n(shared), torch.arange(3, 10)[None]
    again, _ = retraced(model, dict(tokens=tokens))
    before = model(tokens).logits[0, -1].log_softmax(-1)
    sweep = tl.sweep_heads(model, tokens)
    for layer in range(4):
        with tl.edit(model, tl.ablate(layer, 1)):
            wanted = model(tokens).logits
        found = again.under([tl.ablate(layer, 1)])
        assert_close(found.logits, wanted, rtol=0, atol=0)
        assert (found.call(0) is again.trace.call(0)) == (layer > 0 and not shared)
        effect = wanted[0, -1].log_softmax(-1) - before
        assert_close(sweep.values[layer, 1], effect[before.argmax()], rtol=0, atol=1e-5)


def block_calls(model):
    made = []
    for i, block in enumerate(model.blocks if hasattr(model, "blocks") else model.decoder.blocks):
        block.feed_forward.register_forward_hook(lambda *_, i=i: made.append(i))
    return made


def test_edits_go_on_from_the_last_ones():
    """One head more or fewer, reordered, all layers, steering: always equal to the whole pass."""
    model = build(n_layers=4)
    again, make = retraced(model, dict(tokens=inputs(model)[0]))
    off = [tl.ablate(layer, layer % 3) for layer in range(4)]
    steer = tl.steer(torch.linspace(-1, 1, WIDTH), 1)
    half, double = tl.scale(2, 1, by=0.5), tl.ablate(2, 1, value="mean")
    made = block_calls(model)
    found = {}
    for name, edits in {
        "one": off[:1],
        "two": [off[0], off[2]],
        "three": [off[0], off[2], tl.ablate(3, 1)],
        "the same anew": [tl.ablate(0, 0), tl.ablate(2, 2), tl.ablate(3, 1)],
        "less": off[:1],
        "other": [half, double],
        "turned": [double, half],
        "wide": [tl.ablate(head=1)],
        "wide and one": [tl.ablate(head=1), off[3]],
        "steered": [steer],
        "steered and one": [steer, off[3]],
        "none of it": [off[3]],
        "cut": [tl.knock_out(1, 0, query=4, key=2), off[3]],
        "cut and held": [tl.knock_out(1, 0, query=4, key=2), tl.ablate(2, 3, value="mean"), off[3]],
    }.items():
        made.clear()
        after = again.under(edits)
        found[name] = min(made, default=None)
        with tl.edit(model, *edits):
            same(after, make())
    assert found == {
        "one": 0,
        "two": 2,
        "three": 3,
        "the same anew": 3,
        "less": 2,
        "other": 2,
        "turned": 2,
        "wide": 0,
        "wide and one": 0,
        "steered": 1,
        "steered and one": 1,
        "none of it": 3,
        "cut": 1,
        "cut and held": 2,
    }


class TestWhatIsComputed:
    def test_the_blocks_from_the_first_edited_one_on(self):
        model = build(n_layers=4)
        made = block_calls(model)
        again, _ = retraced(model, dict(tokens=inputs(model)[0]))
        again.under([tl.ablate(1, 0)])  # the first recomputes the last block, as a check
        assert made == [0, 1, 2, 3, 3, 1, 2, 3]
        made.clear()
        again.under([tl.ablate(3, 0), tl.ablate(2, 1)])
        assert made == [2, 3]
        made.clear()
        again.under([tl.ablate(head=0), tl.ablate(2, 1)])
        assert made == [0, 1, 2, 3]
        made.clear()
        again.under([tl.ablate(3, 0)], whole=True)
        assert made == [0, 1, 2, 3]

    def test_nothing_is_kept_beyond_the_budget(self):
        model = build(n_layers=3)
        again, make = retraced(model, dict(tokens=inputs(model)[0]), budget_mib=0.001)
        made = block_calls(model)
        same(again.under([tl.ablate(2, 0)]), wanted_under(model, make, tl.ablate(2, 0)))
        assert made[:3] == [0, 1, 2]

    def test_what_others_edit_meanwhile_is_in_it(self):
        model = build(n_layers=3)
        again, make = retraced(model, dict(tokens=inputs(model)[0]))
        with tl.edit(model, tl.ablate(0, 1)):
            found = again.under([tl.ablate(2, 0)])
            wanted = wanted_under(model, make, tl.ablate(2, 0))
        same(found, wanted)
        with tl.edit(model, tl.ablate(0, 1)):
            edited, _ = retraced(model, dict(tokens=inputs(model)[0]))
        same(edited.under([tl.ablate(2, 0)]), wanted_under(model, make, tl.ablate(2, 0)))

    def test_a_compiled_model_is_computed_whole(self):
        model = build(n_layers=3)
        compiled = torch.compile(model, backend="eager")
        again = Retraced(network_of(compiled), lambda: tl.trace(compiled, inputs(model)[0]))
        assert again.trace.n_layers() == 3

    def test_an_edit_that_fits_nothing_is_refused(self):
        again, _ = retraced(build(), dict(tokens=inputs(build())[0]))
        with pytest.raises(EditError, match="layer=9 is outside"):
            again.under([tl.ablate(9, 0)])


def wanted_under(model, make, edit):
    with tl.edit(model, edit):
        return make()

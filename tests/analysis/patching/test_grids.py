"""Patching grids against hand-written hooks, single edits and small steps."""

import csv
import io
import json

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.analysis.patching.scenes import (
    CLEAN,
    CORRUPTED,
    MODELS,
    PAIR,
    difference,
    gpt2,
    logits,
    ours,
    slope,
)
from transformer_lab.edits.kinds import EditError
from transformer_lab.edits.sites import OF_HEADS

SITES = ("resid_pre", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern")
EACH = pytest.mark.parametrize("name", MODELS)


def grid(model, clean=CLEAN, corrupted=CORRUPTED, **options):
    options = {"metric": PAIR, "sites": SITES, **options}
    return tl.patching_grid(model, clean, corrupted, **options)


@EACH
@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_an_exact_cell_is_the_edit_made_by_hand(name, direction):
    model = MODELS[name]()
    into, source = (CORRUPTED, CLEAN)[:: 1 if direction == "denoising" else -1]
    trace, base = tl.trace(model, source, keep="all"), difference(logits(model, into))
    found = grid(model, by="exact", direction=direction)
    assert list(found) == list(SITES)
    for site, one in found.items():
        assert one.into == pytest.approx(base) and not one.estimated
        assert one.source == pytest.approx(difference(logits(model, source)))
        shape = (3, 4 if site in ("z", "q", "pattern") else one.values.shape[1])
        assert one.values.shape == (shape if site in OF_HEADS else (3, len(CLEAN)))
        for layer, place in ((0, 0), (1, 1), (2, one.values.shape[1] - 1)):
            where = dict(head=place) if site in OF_HEADS else dict(position=place)
            with tl.edit(model, tl.patch(trace, layer, what=site, **where)):
                by_hand = difference(logits(model, into)) - base
            assert float(one.exact[layer, place]) == pytest.approx(by_hand, abs=1e-6), site
            with tl.edit(model, found.edit_of(site, layer, place)):
                assert difference(logits(model, into)) - base == pytest.approx(by_hand, abs=1e-9)
    last = found["resid_post"].recovered[-1]
    assert_close(last, torch.tensor([0.0] * 5 + [1.0]), rtol=0, atol=1e-5)


def modules(name, model):
    """Layer 1's block, its output projection and its MLP."""
    if name == "ours":
        block = model.decoder.blocks[1]
        return block, block.attention.out, block.feed_forward
    if name == "gpt2":
        block = model.transformer.h[1]
        return block, block.attn.c_proj, block.mlp
    block = model.model.layers[1]
    return block, block.self_attn.o_proj, block.mlp


@EACH
@torch.no_grad()
def test_heads_and_stream_are_what_hooks_on_the_modules_give(name):
    model = MODELS[name]()
    block, out, mlp = modules(name, model)
    seen, base = {}, difference(logits(model, CORRUPTED))
    handles = [
        out.register_forward_pre_hook(lambda m, a: seen.update(z=a[0].clone())),
        block.register_forward_pre_hook(lambda m, a: seen.update(resid=a[0].clone())),
        mlp.register_forward_hook(lambda m, a, x: seen.update(mlp=x.clone())),
    ]
    logits(model, CLEAN)
    for handle in handles:
        handle.remove()
    found = grid(model, sites=["z", "resid_pre", "mlp_out"], by="exact")

    def put(x, what, *at):
        x = x.clone()
        where = (slice(None), *at)
        x[where] = seen[what][where]
        return x

    for i in range(4):
        head = slice(None), slice(8 * i, 8 * i + 8)
        before = lambda m, a, h=head: (put(a[0], "z", *h), *a[1:])  # noqa: E731
        stream = lambda m, a, i=i: (put(a[0], "resid", i), *a[1:])  # noqa: E731
        after = lambda m, a, x, i=i: put(x, "mlp", i)  # noqa: E731
        for site, hang in (
            ("z", lambda hook=before: out.register_forward_pre_hook(hook)),
            ("resid_pre", lambda hook=stream: block.register_forward_pre_hook(hook)),
            ("mlp_out", lambda hook=after: mlp.register_forward_hook(hook)),
        ):
            handle = hang()
            by_hand = difference(logits(model, CORRUPTED)) - base
            handle.remove()
            assert float(found[site].exact[1, i]) == pytest.approx(by_hand, abs=1e-6), site


@EACH
def test_an_estimate_is_the_slope_at_which_a_patch_begins(name):
    model = MODELS[name]()
    room = 1e-4 if name == "llama" else 1e-5  # its norms are always in fp32
    runs = [tl.trace(model, tokens, keep="all") for tokens in (CLEAN, CORRUPTED)]
    found = grid(model)
    for site, one in found.items():
        assert one.estimated and one.exact.isnan().all()
        for layer, place in ((0, 2), (2, 1)):
            place = min(place, one.values.shape[1] - 1)
            clean, corrupted = (run.activation(site, layer).double() for run in runs)
            expected = slope(model, CORRUPTED, site, layer, place, clean - corrupted)
            assert float(one.estimate[layer, place]) == pytest.approx(
                expected, rel=1e-3, abs=room
            ), site


def test_the_estimates_of_a_layers_heads_sum_to_that_of_its_attention():
    """W_O is linear, so the slope through it is the sum of the heads' slopes."""
    found = grid(ours(), sites=["attn_out", "z"])
    assert_close(found["z"].estimate.sum(1), found["attn_out"].estimate.sum(1))


def test_cells_are_measured_where_they_are_asked_for_beside_their_estimates():
    model = gpt2()
    passes = []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    found = grid(model, sites=["z", "mlp_out"])
    assert len(passes) == 2  # two forward passes (and one backward)
    some = found.measure([("z", 2, 3), ("mlp_out", 0, 4)])
    whole = grid(model, sites=["z", "mlp_out"], by="exact")
    for site, layer, place in (("z", 2, 3), ("mlp_out", 0, 4)):
        cell = some[site].cell(layer, place)
        assert cell.exact == pytest.approx(whole[site].cell(layer, place).exact, abs=1e-6)
        assert cell.estimate == found[site].cell(layer, place).estimate and cell.value == cell.exact
        assert (~some[site].exact.isnan()).sum() == 1
    assert found["z"].exact.isnan().all() and some["z"].estimated
    more = some.measure("z")
    assert_close(more["z"].exact, whole["z"].exact, rtol=0, atol=1e-6)
    assert not more["z"].estimated and more["mlp_out"].estimated
    assert more.top(1)[0].value == max((c.value for g in more.values() for c in g.top(1)), key=abs)


def test_little_memory_and_a_function_of_ones_own_give_the_same():
    model, tokens = gpt2(), (CLEAN, CORRUPTED)
    both = [x[None].repeat(2, 1) for x in tokens]
    both[1][1, 2] = 20
    for options in (
        dict(budget_mib=0.01),
        dict(metric=lambda x: x[0, -1, PAIR[0]] - x[0, -1, PAIR[1]]),
        dict(metric=tl.Logit(*PAIR, position=5)),
    ):
        expected = grid(model, sites=["z"], by="exact")
        if "budget_mib" not in options:
            assert_close(
                grid(model, sites=["z"], **options)["z"].estimate,
                grid(model, sites=["z"])["z"].estimate,
            )
        found = grid(model, sites=["z"], by="exact", **options)
        assert_close(found["z"].exact, expected["z"].exact, rtol=0, atol=1e-6)
    batch = grid(model, *both, sites=["z", "resid_pre"], by="both")
    alone = [
        grid(model, *pair, sites=["z", "resid_pre"], by="both") for pair in zip(*both, strict=True)
    ]
    for site in batch:
        for which in ("exact", "estimate"):
            mean = sum(getattr(one[site], which) for one in alone) / 2
            assert_close(getattr(batch[site], which), mean, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("position", [-1, 3])
def test_one_token_is_its_log_probability_and_a_logit_is_a_logit(position):
    model = ours()
    at = logits(model, CORRUPTED)[0, position]
    logit = tl.Logit(4, position=position)
    assert grid(model, metric=logit, sites="z")["z"].into == pytest.approx(float(at[4]))
    if position == -1:
        found = grid(model, metric=4, sites="z")["z"]
        assert found.into == pytest.approx(float(at.log_softmax(-1)[4]), abs=1e-6)
        assert found.metric == "log-probability of “4”"
        best = [int(logits(model, x)[0, -1].argmax()) for x in (CLEAN, CORRUPTED)]
        if best[0] != best[1]:
            found = grid(model, metric=None, sites="z")["z"]
            assert found.metric == f"logit of “{best[0]}” − logit of “{best[1]}”"


class TestWords:
    """With the shipped model."""

    clean, corrupted = (f"for {w} in self.{w}s:\n    if {w} not in self." for w in ("key", "item"))

    def test_it_finds_the_head_that_copies(self):
        found = tl.patching_grid(tl.shipped("manual"), self.clean, self.corrupted, by="both")
        assert found["z"].metric == "logit of “key” − logit of “item”"
        assert found["z"].top(1)[0][:3] == ("z", 2, 2) and found["z"].recovered.max() > 0.5
        assert "·item ← ·key" in found["resid_pre"].labels["position"]
        both = torch.stack([found["z"].estimate.flatten(), found["z"].exact.flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.95

    def test_what_is_no_single_token_is_told(self):
        with pytest.raises(
            EditError, match=r"'not_a_key' is \d tokens for shipped; give one token"
        ):
            tl.patching_grid(
                tl.shipped("manual"), self.clean, self.corrupted, metric=("not_a_key", "item")
            )

    def test_prompts_are_aligned_by_words_and_it_is_said(self):
        model = tl.shipped("manual")
        longer = self.clean.replace("self.keys", "self.dictionary_keys")
        n, m = len(model.encode(longer)), len(model.encode(self.clean))
        assert n > m
        with pytest.raises(EditError, match=rf"clean has {n} tokens and corrupted has {m}.*align"):
            tl.patching_grid(model, longer, self.clean, metric=("key", "item"))
        for direction in ("denoising", "noising"):
            found = tl.patching_grid(
                model,
                longer,
                self.clean,
                metric=("key", "item"),
                align="words",
                by="both",
                sites=["resid_pre", "z", "v"],
                direction=direction,
            )
            assert "word by word" in found["z"].aligned
            assert len(found["resid_pre"].labels["position"]) == 10
            assert found["resid_pre"].recovered[-1, -1] > 0.5
        with pytest.raises(EditError, match=r"pattern cannot be patched.*depend on their position"):
            tl.patching_grid(
                model, longer, self.clean, metric=("key", "item"), align="words", sites="pattern"
            )
        with pytest.raises(EditError, match=r"clean has 10 words and corrupted has 11"):
            tl.patching_grid(model, longer, self.clean + " x", metric=("a", "b"), align="words")


def test_only_pairs_of_places_are_patched():
    model = ours()
    pairs = [(1, 0), (5, 4)]
    found = grid(model, CLEAN, CORRUPTED[:5], align=pairs, sites=["z", "mlp_out"], by="both")
    trace, base = tl.trace(model, CLEAN, keep="all"), difference(logits(model, CORRUPTED[:5]))
    for edit, value in (
        (tl.patch(trace, 1, 2, position=pairs), found["z"].exact[1, 2]),
        (tl.patch(trace, 1, position=[(5, 4)], what="mlp_out"), found["mlp_out"].exact[1, 1]),
    ):
        with tl.edit(model, edit):
            by_hand = difference(logits(model, CORRUPTED[:5])) - base
        assert float(value) == pytest.approx(by_hand, abs=1e-6)
    assert not found["z"].estimate.isnan().any()


def test_a_grid_is_written_drawn_and_told(tmp_path):
    found = grid(ours(), sites=["z", "mlp_out"]).measure([("z", 1, 2)])
    lines = list(csv.reader(io.StringIO(found.csv())))
    assert lines[0] == ["site", "layer", "axis", "place", "label", "exact", "estimate"]
    assert len(lines) == 1 + 3 * 4 + 3 * 6
    cell = next(line for line in lines if line[:2] == ["z", "1"] and line[3] == "2")
    assert float(cell[5]) == found["z"].cell(1, 2).exact
    assert found["z"].to_csv(tmp_path / "z.csv").read_text("utf-8") == found["z"].csv()
    read = json.loads(found.to_json(tmp_path / "grids.json").read_text("utf-8"))
    assert read["grids"]["z"]["exact"][1][2] == pytest.approx(found["z"].cell(1, 2).exact)
    assert read["grids"]["z"]["exact"][0][0] is None and read["grids"]["z"]["metric"]
    assert json.loads(found["z"].to_json(tmp_path / "z.json").read_text("utf-8"))["site"] == "z"
    figure = found.figure()
    assert [a.get_title("left") for a in figure.axes if a.get_title("left")] == [
        "z by layer and head",
        "mlp_out by layer and position",
    ]
    drawn = tl.to_plotly(found["mlp_out"])
    assert drawn.data[0].z.shape == (3, 6) and "mlp_out" in repr(drawn)
    assert "≈" in repr(found["z"]) and "Some of the changes are estimated" in found["z"].sentence


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(corrupted=CLEAN[:5]), ["clean has 6 tokens", "corrupted has 5", 'align="words"']),
        (dict(corrupted=CLEAN[:5], align="words"), ["TextModel", "pairs of positions"]),
        (dict(corrupted=CLEAN[:5], align="letters"), ["align must", "got 'letters'", '"words"']),
        (dict(align=[(0, 9)]), ["(0, 9)", "6 tokens"]),
        (dict(align=[(0, 1, 2)]), ["must hold pairs of positions, got (0, 1, 2)"]),
        (dict(align=[]), ["at least one pair"]),
        (dict(corrupted=CLEAN.repeat(2, 1)), ["same number of texts, got 1 and 2"]),
        (dict(direction="up"), ["direction must", "noising, got 'up'"]),
        (dict(by="guess"), ["by must", "attribution", "got 'guess'"]),
        (dict(sites="hook_result"), ["hook_result", "resid_pre"]),
        (
            dict(sites=["blocks.1.attn.hook_z"]),
            ["must name sites of all layers", "got ['blocks.1.attn.hook_z']"],
        ),
        (dict(sites=[]), ["must name sites", "got []"]),
        (dict(metric=(" Mary", " John")), ["' Mary' is text", "TextModel"]),
        (dict(metric=(4, 99)), ["token=99", "50 tokens"]),
        (dict(metric=1.5), ["metric=1.5", "a pair of tokens"]),
        (dict(metric=lambda x: x[0, 0]), ["got shape [50]", "one number"]),
        (dict(metric=tl.Logit(4, position=9)), ["position=9", "6 tokens"]),
        (dict(corrupted=CLEAN, metric=None), ["both prompts predict", "metric=(answer, wrong)"]),
        (dict(kind="cross"), ["kind='cross'", "decoder"]),
    ],
)
def test_what_cannot_be_compared_is_named(options, words):
    with pytest.raises(ValueError, match=r".+") as error:
        grid(ours(), **options)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


@pytest.mark.badinput
def test_a_site_or_cell_that_is_not_there_is_named():
    found = tl.patching_grid(gpt2(), CLEAN, CORRUPTED, metric=PAIR)
    assert list(found) == ["resid_pre", "attn_out", "mlp_out", "z"]
    without = tl.patching_grid(ours(attention_only=True), CLEAN, CORRUPTED, metric=PAIR)
    assert list(without) == ["resid_pre", "attn_out", "z"] and "mlp_out" in without.missing
    for ask, words in (
        (lambda: found["q"], "site must be one of .* got 'q'"),
        (lambda: without["mlp_out"], "site must be one of .* got 'mlp_out'.*is not available"),
        (lambda: found.measure([("z", 3, 0)]), "layer=3 is outside 0 … 2"),
        (lambda: found.measure([("mlp_out", 0, 6)]), "position=6 is outside 0 … 5"),
        (lambda: grid(ours(attention_only=True)), "mlp_out cannot be patched"),
        (
            lambda: tl.patching_grid(gpt2(), CLEAN, CORRUPTED, metric=PAIR, sites="resid_mid"),
            "resid_mid cannot be patched",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            ask()
    two = tl.patching_grid(gpt2(), CLEAN, CLEAN, metric=PAIR, sites="z")["z"]
    with pytest.raises(ValueError, match="nothing to recover"):
        two.recovered  # noqa: B018


@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
def test_each_side_of_an_encoder_decoder_has_its_grids(kind):
    model = ours(kind="encoder-decoder")
    target = torch.tensor([1, 7, 3, 9])
    both = dict(target=target, kind=kind, sites=["z", "v", "attn_out"], by="both", align=None)
    found = grid(model, **both)
    trace = tl.trace(model, CLEAN, target, keep="all")

    def value(*edits):
        with torch.no_grad(), tl.edit(model, tl.scale(by=1), *edits):
            return difference(model(CORRUPTED[None], target[None]))

    base = value()
    n = len(CLEAN) if kind == "encoder" else len(target)
    assert found["attn_out"].exact.shape == (3, n)
    for site, layer, place, where in (
        ("z", 1, 2, dict(head=2)),
        ("v", 1, 2, dict(head=2)),
        ("attn_out", 0, n - 1, dict(position=n - 1)),
    ):
        by_hand = value(tl.patch(trace, layer, what=site, kind=kind, **where)) - base
        assert float(found[site].exact[layer, place]) == pytest.approx(by_hand, abs=1e-6)
        assert not found[site].estimate.isnan().any()
    if kind == "decoder":  # the first layer reads the target alone, which is the same in both runs
        assert found["z"].exact[0].abs().max() == 0
    with pytest.raises(EditError, match=r"mlp_out cannot be patched.*not to 'cross'"):
        grid(model, **(both | dict(kind="cross", sites="mlp_out")))


def test_a_model_is_asked_at_the_place_that_is_named():
    model = ours(kind="encoder")
    found = grid(model, metric=PAIR, position=2, sites=["z", "resid_pre"], by="both")
    trace = tl.trace(model, CLEAN, keep="all")
    with tl.edit(model, tl.patch(trace, 1, 3)):
        by_hand = difference(logits(model, CORRUPTED), 2)
    expected = by_hand - difference(logits(model, CORRUPTED), 2)
    assert float(found["z"].exact[1, 3]) == pytest.approx(expected, abs=1e-6)


@torch.no_grad()
def test_two_pictures_are_told_apart_by_their_class():
    encoder = ours(kind="encoder", head=False, vocab_size=1, n_ctx=17).float()
    eyes = tl.PictureClassifier(encoder, 5).eval()
    torch.nn.init.normal_(eyes.head.weight)
    clean, corrupted = torch.rand(2, 1, 1, 8, 8)
    found = tl.patching_grid(
        eyes,
        dict(pixel_values=clean),
        dict(pixel_values=corrupted),
        metric=(1, 2),
        by="both",
        sites=["z", "resid_pre"],
    )
    trace = tl.trace(eyes, pixel_values=clean, keep="all")
    base = eyes(pixel_values=corrupted)[0]
    with tl.edit(eyes, tl.patch(trace, 1, 3)):
        by_hand = eyes(pixel_values=corrupted)[0] - base
    assert float(found["z"].exact[1, 3]) == pytest.approx(float(by_hand[1] - by_hand[2]), abs=1e-5)
    assert found["z"].into == pytest.approx(float(base[1] - base[2]), abs=1e-5)
    assert found["resid_pre"].labels["position"][:2] == ["[CLS]", "patch 1,1"]
    assert not found["z"].estimate.isnan().any()

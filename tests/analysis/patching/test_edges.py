"""Edge scores and runs of circuits, against a pass edge by edge, path patching and differences."""

import pytest
import torch

import transformer_lab as tl
from tests.analysis.patching.circuits import by_hand, random_mask
from tests.analysis.patching.scenes import (
    CLEAN,
    CORRUPTED,
    MODELS,
    PAIR,
    difference,
    logits,
    noisy,
    ours,
)
from tests.factories import small
from tests.missing import package
from transformer_lab.analysis.patching.edge_graph import EdgeGraph
from transformer_lab.edits.kinds import EditError

EACH = pytest.mark.parametrize("name", MODELS)


def scores_of(model, **options):
    return tl.edge_scores(model, CLEAN, CORRUPTED, **{"metric": PAIR, **options})


def neox():
    """A model whose MLPs read the layer's input, in parallel with its heads."""
    T = package("transformers")
    torch.manual_seed(0)
    config = T.GPTNeoXConfig(
        vocab_size=50,
        num_hidden_layers=2,
        num_attention_heads=4,
        hidden_size=32,
        intermediate_size=48,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=0,
    )
    return noisy(T.GPTNeoXForCausalLM(config))


@pytest.mark.parametrize("make", [*MODELS.values(), neox, lambda: ours(attention_only=True)])
def test_with_all_edges_it_is_the_clean_run_and_with_none_the_corrupted_one(make):
    model = make()
    scores = scores_of(model, by="eap")
    every = scores.graph.every
    both = scores.passes.metrics([every, torch.zeros_like(every)])
    runs = [difference(logits(model, tokens)) for tokens in (CLEAN, CORRUPTED)]
    assert both == pytest.approx(runs, abs=1e-5)
    assert [scores.clean, scores.corrupted] == pytest.approx(runs, abs=1e-5)
    assert abs(runs[0] - runs[1]) > 0.05


def test_circuits_are_what_a_run_by_hand_gives():
    model = ours()
    passes = scores_of(model, by="eap").passes
    masks = [random_mask(passes.graph, seed, share) for seed, share in enumerate((0.1, 0.5, 0.9))]
    found = passes.metrics(masks)
    for mask, value in zip(masks, found, strict=True):
        live = set(passes.graph.names(mask))
        expected = by_hand(model, CLEAN, CORRUPTED, lambda name, live=live: float(name in live))
        assert value == pytest.approx(expected, abs=1e-5)
    assert len({round(value, 3) for value in found}) == 3
    alone = [passes.metrics([mask])[0] for mask in masks]
    assert alone == pytest.approx(found, abs=1e-6)


def test_exact_edges_are_what_brute_force_gives():
    model = ours(n_layers=2)
    graph = (scores := scores_of(model, by="exact")).graph
    whole = by_hand(model, CLEAN, CORRUPTED, lambda name: 1.0)
    for name in graph.names(graph.every):
        without = by_hand(model, CLEAN, CORRUPTED, lambda n, name=name: float(n != name))
        edge = scores.edge(name)
        assert edge.exact == pytest.approx(whole - without, abs=1e-5) and edge.estimate is None
    assert scores.exact[graph.every].abs().max() > 0.1


@EACH
def test_an_exact_edge_is_a_path_of_length_one(name):
    model = MODELS[name]()
    edges = {
        "a0.h1->a2.h1<q>": ((0, 1), (2, 1, "q")),
        "a1.h3->a2.h0<k>": ((1, 3), (2, 0, "k")),
        "m0->a1.h2<v>": ((0, "mlp_out"), (1, 2, "v")),
        "a2.h1->logits": ((2, 1), "logits"),
    }
    scores = scores_of(model, by="eap").measure(edges)
    for edge, (sender, receiver) in edges.items():
        path = tl.path_patch(
            model,
            CLEAN,
            CORRUPTED,
            metric=PAIR,
            sender=sender,
            receiver=receiver,
            direction="noising",
        )
        assert scores.edge(edge).exact == pytest.approx(-path.value, abs=1e-5)


@pytest.mark.parametrize("make", [*MODELS.values(), neox])
def test_eap_is_the_slope_of_each_edge(make):
    scores = scores_of(make(), by="eap")
    graph, step = scores.graph, 1e-3
    for name in ("input->a0.h1<v>", "a0.h1->a1.h1<q>", "a0.h0->a1.h2<k>", "m0->m1", "m1->logits"):
        masks = [graph.every.double() for _ in range(2)]
        for mask, by in zip(masks, (-step, step), strict=True):
            mask[graph.place(name)] += by
        low, high = scores.passes.metrics(masks)
        expected = (high - low) / (2 * step)
        assert scores.edge(name).estimate == pytest.approx(expected, abs=1e-3)


def test_eap_ig_is_the_mean_of_slopes_on_the_way_from_the_corrupted_embeddings():
    model, step = ours(n_layers=2), 1e-3
    scores = scores_of(model, by="eap-ig", steps=3)
    for name in ("input->a1.h0<v>", "a0.h1->a1.h1<k>", "a1.h2->m1", "m0->logits"):
        slopes = []
        for share in (1 / 3, 2 / 3, 1.0):
            low, high = (
                by_hand(model, CLEAN, CORRUPTED, share=share, push={name: by})
                for by in (-step, step)
            )
            slopes.append((high - low) / (2 * step))
        assert scores.edge(name).estimate == pytest.approx(sum(slopes) / 3, abs=1e-5)
        assert abs(slopes[0] - slopes[-1]) > 1e-3
    assert scores.by == "eap-ig" and scores.steps == 3
    one = scores_of(model, by="eap-ig", steps=1)
    assert torch.equal(one.estimate.nan_to_num(), scores_of(model, by="eap").estimate.nan_to_num())


def test_little_memory_and_batches_are_the_same_arithmetic():
    model = ours(n_layers=2)
    found, few = (scores_of(model, by="exact", budget_mib=b) for b in (512, 0.01))
    torch.testing.assert_close(found.values, few.values, equal_nan=True, rtol=0, atol=1e-5)
    two = [torch.stack((x, x.roll(1))) for x in (CLEAN, CORRUPTED)]
    both = tl.edge_scores(model, *two, metric=PAIR, by="eap")
    single = [tl.edge_scores(model, *(x[i] for x in two), metric=PAIR, by="eap") for i in (0, 1)]
    mean = (single[0].values + single[1].values) / 2
    torch.testing.assert_close(both.values, mean, equal_nan=True, rtol=0, atol=1e-5)


def test_edges_of_parallel_layers_are_those_that_are_there():
    graph = scores_of(neox(), by="eap").graph
    assert graph.parallel and not scores_of(ours(n_layers=2), by="eap").graph.parallel
    assert "a0.h0->m0" not in graph.names(graph.every) and graph.place("a0.h0->m1")


@pytest.mark.parametrize("seed", range(3))
def test_no_edge_of_a_circuit_dangles(seed):
    graph = EdgeGraph((3, 2, 4))
    scores = torch.randn(graph.every.shape, generator=torch.Generator().manual_seed(seed))
    for n in (30, 61, graph.n_edges - 1):
        mask = graph.best(scores, n)
        assert int(mask.sum()) == n and torch.equal(graph.connected(mask), mask)
        drawn = graph.at_random(n, torch.Generator().manual_seed(seed))
        assert int(drawn.sum()) == n and torch.equal(graph.connected(drawn), drawn)
    few = graph.above(scores, 1.0)
    assert torch.equal(graph.connected(few), few) and scores[few].abs().min() >= 1
    lonely = graph.mask(["input->a0.h0<q>", "a0.h1->logits", "input->m1", "m1->logits"])
    assert graph.names(graph.connected(lonely)) == ["input->m1", "m1->logits"]


def test_names_and_counts_of_edges():
    graph = EdgeGraph((2, 2))
    assert graph.writers == ["input", "a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1"]
    assert graph.n_edges == 6 * 1 + 3 + 6 * 4 + 6 + 7
    names = graph.names(graph.every)
    assert torch.equal(graph.mask(names), graph.every) and len(set(names)) == graph.n_edges
    assert [
        graph.layer_of(graph.place(n)[0]) for n in ("input->m0", "m0->a1.h1<v>", "m1->logits")
    ] == [0, 1, 2]


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(by="ig"), ["by must be one of", "eap-ig", "got 'ig'"]),
        (dict(steps=0), ["steps must", "at least 1, got 0"]),
        (dict(metric=None, corrupted=CLEAN), ["both prompts predict", "metric=(answer, wrong)"]),
        (dict(corrupted=CORRUPTED[:-1]), ["clean has 6 tokens and corrupted has 5", "same length"]),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(options, words):
    given = dict(metric=PAIR, corrupted=CORRUPTED) | options
    with pytest.raises(EditError) as error:
        tl.edge_scores(ours(n_layers=2), CLEAN, given.pop("corrupted"), **given)
    assert all(word in str(error.value) for word in words), error.value
    assert "align" not in str(error.value)


@pytest.mark.badinput
def test_models_whose_edges_are_not_known_are_refused():
    with pytest.raises(EditError, match="does not add up"):
        scores_of(small(norm_first=False, noise=0.2))
    with pytest.raises(EditError, match=r"edge scores need a decoder; .* is an encoder"):
        tl.edge_scores(small("encoder"), CLEAN, CORRUPTED, metric=PAIR)

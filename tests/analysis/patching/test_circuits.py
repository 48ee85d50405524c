"""Circuits: those a model was built with are found and keep the answer; random ones do not."""

import json

import pytest
import torch

import transformer_lab as tl
from tests.analysis.patching.circuits import by_hand
from tests.analysis.patching.scenes import CLEAN, CORRUPTED, PAIR, ours
from transformer_lab.edits.kinds import EditError


def repeated(low, high, seed=0, half=24, again=12):
    """(a text that repeats itself, the same with another token before the answer, the answer)."""
    chance = torch.Generator().manual_seed(seed)
    tokens = (low + torch.randperm(high - low, generator=chance))[: half + 1]
    clean = torch.cat((tokens[:half], tokens[:again]))
    corrupted = clean.clone()
    corrupted[again - 1] = tokens[half]
    return clean, corrupted, int(tokens[again])


def test_the_circuit_that_was_built_by_hand_is_found():
    model = tl.circuits.induction_by_hand()
    clean, corrupted, answer = repeated(0, 48)
    found = tl.circuit(model, clean, corrupted, metric=answer, n=4)
    assert {"input->a0.h0<v>", "a0.h0->a1.h0<k>", "a1.h0->logits"} <= set(found.edges) or {
        "input->a0.h0<v>",
        "a0.h0->a1.h1<k>",
        "a1.h1->logits",
    } <= set(found.edges)
    both = [
        "input->a0.h0<v>",
        "a0.h0->a1.h0<k>",
        "a0.h0->a1.h1<k>",
        "a1.h0->logits",
        "a1.h1->logits",
    ]
    named = tl.circuit(model, clean, corrupted, metric=answer, edges=both)
    assert named.faithfulness > 0.99 and named.lost > 0.99
    assert (
        sum(named.random_faithfulness) / 5 < 0.5
    )  # five random edges of 29 may include the circuit


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_shipped_model_finds_its_own_induction_heads(seed):
    model = tl.shipped("manual").model
    clean, corrupted, answer = repeated(100, 1000, seed)
    found = tl.circuit(model, clean, corrupted, metric=answer, n=24)
    assert len(found.edges) <= 0.1 * found.n_edges
    assert {"a1.h2->a2.h2<k>", "input->a0.h1<v>", "a0.h1->a1.h2<v>"} <= set(found.edges)
    assert "a2.h2" in found.nodes and found.faithfulness > 0.9 and found.lost > 0.9
    assert max(found.random_faithfulness) < 0.3 and len(found.controls) == 5
    assert sum(found.random_lost) / 5 < 0.5


def test_what_a_circuit_keeps_and_leaves_is_what_a_run_by_hand_gives():
    model = ours(n_layers=2)
    found = tl.circuit(model, CLEAN, CORRUPTED, metric=PAIR, n=25, draws=2)
    kept = set(found.edges)
    alone = by_hand(model, CLEAN, CORRUPTED, lambda name: float(name in kept))
    without = by_hand(model, CLEAN, CORRUPTED, lambda name: float(name not in kept))
    assert [found.alone, found.without] == pytest.approx([alone, without], abs=1e-5)
    between = found.clean - found.corrupted
    assert found.faithfulness == pytest.approx((alone - found.corrupted) / between, abs=1e-4)
    assert found.lost == pytest.approx((found.clean - without) / between, abs=1e-4)
    assert len(kept) == 25 and len(found.controls) == 2
    assert found.controls[0] != found.controls[1]
    scores = tl.edge_scores(model, CLEAN, CORRUPTED, metric=PAIR)
    listed = [scores.edge(name).score for name in found.edges]
    assert list(found.scores) == pytest.approx(listed)
    again = scores.circuit(25, draws=2, seed=1)
    assert again.edges == found.edges and again.controls != found.controls
    least = min(abs(score) for score in found.scores)
    assert len(scores.circuit(threshold=least, draws=0).edges) >= 25 - 5


def test_the_sentence_has_every_number_beside_its_control():
    found = tl.circuit(ours(n_layers=2), CLEAN, CORRUPTED, metric=PAIR, n=25, draws=3)
    said = found.sentence
    assert f"25 of {found.n_edges} edges" in said and "in 3 draws" in said
    for values in (
        [found.faithfulness],
        [found.lost],
        found.random_faithfulness,
        found.random_lost,
    ):
        mean = f"{sum(values) / len(values):.2f}".replace("-0.00", "0.00").replace("-", "−")
        assert mean in said, (mean, said)
    assert (
        "random"
        not in tl.circuit(ours(n_layers=2), CLEAN, CORRUPTED, metric=PAIR, n=25, draws=0).sentence
    )


def test_json_and_python_make_the_circuit_again(tmp_path):
    model = ours(n_layers=2)
    for metric in (PAIR, 4, tl.Logit(4), tl.Logit(4, against=8, position=3)):
        found = tl.circuit(model, CLEAN, CORRUPTED, metric=metric, n=12, draws=2, seed=3)
        read = tl.Circuit.from_json(found.to_json(tmp_path / "circuit.json"))
        assert read.to_dict() == found.to_dict() and read.sentence == found.sentence
        names = {}
        exec(read.to_python(), names)
        again = names["circuit_of"](model)
        assert again.edges == found.edges and again.controls == found.controls
        numbers = [again.alone, again.without, again.clean, again.corrupted]
        assert numbers == [found.alone, found.without, found.clean, found.corrupted]
    told = json.loads((tmp_path / "circuit.json").read_text("utf-8"))
    assert told["clean"] == CLEAN.tolist() and told["computed"]["of"][0]["class"] == "Transformer"
    assert told["computed"]["versions"]["torch"] == torch.__version__ and told["seed"] == 3


def test_texts_are_kept_as_texts():
    reader = tl.shipped("manual")
    texts = ("the cat sat on the mat", "the dog sat on the mat")
    scores = tl.edge_scores(reader, *texts, metric=5, by="eap")
    found = scores.circuit(40, draws=1)
    assert (found.question.clean, found.question.corrupted) == texts
    assert found.to_dict()["computed"]["of"][0]["model"] == reader.name
    told = scores.to_dict()
    assert len(told["edges"]) == len(told["estimate"]) == found.n_edges
    assert json.loads(json.dumps(told)) == told and told["exact"] == [None] * found.n_edges


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(), ["one of n, threshold and edges"]),
        (dict(n=5, threshold=0.1), ["one of n, threshold and edges"]),
        (dict(n=5, edges=["input->logits"]), ["one of n, threshold and edges"]),
        (dict(n=0), ["n must be at least 1, got 0", "no edges keeps nothing"]),
        (dict(n=2.5), ["n must be at least 1, got 2.5"]),
        (dict(n=10**6), ["number of edges in the model, got 1000000", "leaves some out"]),
        (
            dict(threshold=1e9),
            ["threshold must", "got 1000000000.0", "no path", "largest score is"],
        ),
        (dict(threshold=0.0), ["threshold must", "got 0.0", "every edge scores that high"]),
        (dict(edges=[]), ["edges must connect", "got []", "circuit is empty"]),
        (dict(edges=["a0.h0->a1.h0<k>"]), ["circuit is empty"]),
        (dict(edges=["a0.h9->logits"]), ["'a0.h9->logits' is not in this model", "2 layers"]),
        (dict(edges=["a1.h0->a0.h0<k>"]), ["goes backwards"]),
        (dict(edges="input->logits"), ["edges must be a list of names, got 'input->logits'"]),
        (dict(edges=[3]), ["edge 3 is not in this model"]),
        (dict(n=5, draws=-1), ["draws must", "got -1"]),
        (dict(n=5, seed="0"), ["seed must", "got '0'"]),
        (dict(n=5, corrupted=CLEAN), ["both runs have the same", "nothing for a circuit to keep"]),
    ],
)
def test_what_is_no_circuit_is_refused_in_a_sentence(options, words):
    corrupted = options.pop("corrupted", CORRUPTED)
    with pytest.raises(EditError) as error:
        tl.circuit(ours(n_layers=2), CLEAN, corrupted, metric=PAIR, by="eap", **options)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.badinput
def test_every_edge_by_name_and_no_file_are_refused(tmp_path):
    scores = tl.edge_scores(ours(n_layers=2), CLEAN, CORRUPTED, metric=PAIR, by="eap")
    with pytest.raises(EditError, match="edges must leave some edges out, got all"):
        scores.circuit(edges=scores.graph.names(scores.graph.every))
    with pytest.raises(ValueError, match="this circuit is damaged: it has no 'what'"):
        tl.Circuit.from_dict({})
    (tmp_path / "no.json").write_text("{")
    for path in (tmp_path / "no.json", tmp_path / "none.json"):
        with pytest.raises(ValueError, match=r"is not readable JSON|cannot be read"):
            tl.Circuit.from_json(path)

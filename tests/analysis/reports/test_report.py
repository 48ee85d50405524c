"""Reports of every kind of result: reproduced, and what they say of one that differs."""

import json

import pytest
import torch
from click.testing import CliRunner

import transformer_lab as tl
from tests.factories import small
from transformer_lab.analysis.reports.report import described
from transformer_lab.analysis.reports.reproduce import again
from transformer_lab.cli import main

TEXT = "the list of the list of"
PAIR = ("the list of keys", "the name of keys")
IDS = torch.tensor([5, 9, 5, 9, 5])


def table(model):
    return tl.head_table(model, TEXT).where("layer > 1").sorted("induction")


def measured(model):
    return tl.patching_grid(model, *PAIR, metric=(" in", " of")).measure([("z", 1, 1)])


FINDINGS = {
    "grids": measured,
    "one grid": lambda m: measured(m)["z"],
    "exact": lambda m: tl.patching_grid(m, *PAIR, metric=tl.Logit(" in"), sites="z", by="exact"),
    "a path": lambda m: tl.path_patch(m, *PAIR, metric=" in", sender=(1, 2)),
    "paths": lambda m: tl.path_patch(m, *PAIR, metric=" in", receiver=[(2, 2, "k"), (2, 1)]),
    "sweep": lambda m: tl.sweep_heads(m.model, IDS, value="mean"),
    "groups": lambda m: tl.sweep_groups(m, TEXT, groups={"a": [(0, 1), (1, 2)]}),
    "edges": lambda m: tl.sweep_edges(m, TEXT, query=4, measure="kl"),
    "estimates": lambda m: tl.estimate_effects(m, TEXT),
    "heads": table,
    "circuit": lambda m: tl.circuit(m, *PAIR, metric=(" in", " of"), n=12, draws=2, seed=3),
    "circuit of scores": lambda m: tl.edge_scores(m, *PAIR, metric=" in", by="eap").circuit(
        threshold=0.05, draws=1
    ),
    "edges by name": lambda m: tl.circuit(
        m, *PAIR, metric=" in", edges=["input->a0.h1<v>", "a0.h1->logits"], draws=1
    ),
    "study": lambda m: tl.study(m, [TEXT, "def f(x)"], measure=["induction", "entropy"], seed=7),
    "study of pairs": lambda m: tl.study(
        m, [dict(zip(("clean", "corrupted"), PAIR, strict=True), answer=" in")], sites=["z"]
    ),
}


def leaves(value):
    """Numbers of nested values, in order."""
    if isinstance(value, dict):
        value = [value[name] for name in sorted(value)]
    if isinstance(value, list):
        return [x for one in value for x in leaves(one)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.fixture(scope="module")
def model():
    return tl.shipped("manual")


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_is_made_anew_from_its_file(model, tmp_path, name):
    found = FINDINGS[name](model)
    report = tl.report(found, tmp_path / "a.html")
    told = json.loads(report.json.read_text())
    assert told["model"]["loaded_from"] == "shipped" and len(told["model"]["weights"]) == 64
    assert told["sentence"] and told["metric"] and told["versions"]["torch"] == torch.__version__
    done = CliRunner().invoke(main, ["report", str(report.json)])
    assert done.exit_code == 0, done.output
    assert "Versions: the same." in done.stdout and "Numbers: all " in done.stdout
    result = again(report.json)
    assert result.same and result.compared > 2 and result.largest[0] < 1e-5
    names = {}
    exec(told["python"], names)
    tl.report(names["found"], tmp_path / "b")
    assert again(tmp_path / "b.json").same
    assert leaves(described(names["found"])["finding"]) == pytest.approx(
        leaves(told["finding"]), abs=1e-5
    )
    page = report.page.read_text()
    assert told["model"]["weights"] in page and "transformer-lab report a.json" in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")


def test_what_differs_is_told(model, tmp_path):
    file = tl.report(measured(model), tmp_path / "a").json
    told = json.loads(file.read_text())
    told["finding"]["grids"]["z"]["exact"][1][1] += 0.5
    told["finding"]["grids"]["z"]["estimate"][3][2] += 2e-5  # within the tolerance
    told["finding"]["grids"]["z"]["metric"] = "another"
    told["versions"]["torch"] = "1.0"
    told["model"]["weights"] = "0" * 64
    file.write_text(json.dumps(told))
    done = CliRunner().invoke(main, ["report", str(file)])
    assert done.exit_code == 1
    assert f"Versions: torch 1.0 then, {torch.__version__} now." in done.stdout
    assert "Weights: different (000000000000… then, " in done.stdout
    assert ": 2 values; " in done.stdout and "Different by more than 0.0001" in done.stdout
    assert "the largest difference is 0.5, at grids.z.exact[1, 1]" in done.stdout
    assert "grids.z.metric: 'another' then" in done.stdout
    strict = CliRunner().invoke(main, ["report", str(file), "--tolerance", "1e-6"])
    assert ": 3 values; " in strict.stdout and "grids.z.estimate[3, 2]" in strict.stdout


def test_other_weights_are_told_from_the_model_that_was_saved(tmp_path):
    model = tl.shipped("manual")
    found = tl.sweep_heads(model, TEXT)
    file = tl.report(found, tmp_path / "a").json
    with torch.no_grad():
        model.model.head.weight[0, 0] += 1
    with pytest.raises(
        ValueError, match="weights have changed since this was measured; measure it again"
    ):
        tl.report(found, tmp_path / "b")
    model.save(tmp_path / "other")
    done = CliRunner().invoke(main, ["report", str(file), "--model", str(tmp_path / "other")])
    assert done.exit_code == 1 and "Weights: different (" in done.stdout


def test_a_large_map_is_a_picture(model, tmp_path):
    text = "for key in keys: print(key) " * 10
    n = len(model.encode(text))
    found = tl.patching_grid(model, text, text.replace("key)", "k)"), metric=" in", align="words")
    wide = tl.patching_grid(
        model.model, torch.randint(1000, (250,)), torch.randint(1000, (250,)), metric=3
    )
    assert "data:image/png" in tl.report(wide, tmp_path / "wide").page.read_text()
    small_one = tl.report(found["z"], tmp_path / "small").page.read_text()
    assert n > 30 and "data:image/png" not in small_one and "<td style=" in small_one


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.badinput
def test_what_no_file_can_hold_is_refused(model, tmp_path):
    mine = tl.sweep_heads(model, TEXT, measure=lambda logits: logits.sum())
    with pytest.raises(
        ValueError, match=r"measure is a function of your own \(<lambda>\), which a report"
    ):
        tl.report(mine, tmp_path / "a")
    with tl.edit(model, tl.ablate(0, 0)):
        edited = tl.sweep_heads(model, TEXT)
    with pytest.raises(ValueError, match="edited when this was computed"):
        tl.report(edited, tmp_path / "a")
    with pytest.raises(ValueError, match="computed from a trace; give the model and its text"):
        tl.report(tl.head_table(model.trace(TEXT), named=False), tmp_path / "a")
    for other in (torch.ones(2), None, model.trace(TEXT)):
        with pytest.raises(
            ValueError,
            match=r"does not record how it was made; give the result of tl\.patching_grid",
        ):
            tl.report(other, tmp_path / "a")
    with pytest.raises(ValueError, match=r"the folder .* does not exist"):
        tl.report(tl.sweep_heads(model, TEXT), tmp_path / "no" / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.badinput
def test_a_model_in_memory_is_asked_for(tmp_path):
    model = small(vocab_size=60)
    file = tl.report(tl.sweep_heads(model, IDS), tmp_path / "a").json
    assert "FOLDER = ..." in json.loads(file.read_text())["python"]
    done = CliRunner().invoke(main, ["report", str(file)])
    assert (
        done.exit_code == 2
        and "only in memory; save the model, and give its folder with" in done.stderr
    )


def broken(name, value):
    def change(told):
        told[name] = value
        return json.dumps(told)

    return change


DAMAGED = {
    "not JSON": (lambda told: "{", "is not readable JSON"),
    "cut short": (lambda told: json.dumps(told)[:-40], "is not readable JSON"),
    "other JSON": (lambda told: '{"a": 1}', "is not a report; give a JSON file that tl.report"),
    "newer": (broken("transformer_lab_report", 2), "has format 2, but this package reads 1"),
    "no model": (broken("model", None), "is damaged: model must be an object, got None"),
    "half a model": (broken("model", {}), "is damaged: model has no 'name'"),
    "no steps": (broken("steps", {}), "is damaged: steps must be a list, got {}"),
    "a strange function": (
        broken("function", "system"),
        "is damaged: function must be 'circuit' or ",
    ),
    "a strange argument": (broken("arguments", {"charm": 1}), "cannot be computed again: "),
    "a strange value": (
        broken("arguments", {"clean": {"eval": "1"}}),
        "not an argument that a report",
    ),
    "a strange step": (
        broken("steps", [["__class__", 1]]),
        "it contains the unknown step '__class__'",
    ),
    "a step in pieces": (
        broken("steps", [[1]]),
        "is damaged: steps[0] must be as its schema says (minItems 2)",
    ),
    "a lost model": (
        lambda told: json.dumps({**told, "model": {**told["model"], "loaded_from": "./gone"}}),
        "the folder ./gone does not exist",
    ),
}


@pytest.mark.badinput
@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_file_is_said_in_a_line(model, tmp_path, what):
    file = tl.report(tl.patching_grid(model, *PAIR, metric=" in", sites="z"), tmp_path / "a").json
    change, said = DAMAGED[what]
    file.write_text(change(json.loads(file.read_text())))
    done = CliRunner().invoke(main, ["report", str(file)])
    assert done.exit_code == 2 and said in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == ""


@pytest.mark.badinput
def test_a_file_that_is_not_there(tmp_path):
    done = CliRunner().invoke(main, ["report", str(tmp_path / "none.json")])
    assert done.exit_code == 2 and "none.json cannot be read: No such file" in done.stderr


def test_words_of_a_page_are_words(tmp_path):
    """Text in a page is never markup."""
    model = tl.shipped("manual")
    model.name = '<b onclick="x()">'
    text = "</pre><script>alert(1)</script>"
    page = tl.report(tl.sweep_groups(model, text), tmp_path / "a").page.read_text()
    assert "<script" not in page and "<b onclick" not in page and "&lt;script&gt;" in page

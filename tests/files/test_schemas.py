"""The JSON Schemas of finding files: what the package writes fits them, without extra fields."""

import copy
import json
from pathlib import Path

import pytest
import torch
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

import transformer_lab as tl
from tests.every_view import VIEWS, made  # noqa: F401
from transformer_lab.analysis.reports.kinds import FUNCTIONS
from transformer_lab.files import schemas
from transformer_lab.files.paths import FileError

TEXT = "the list of the list of"
PAIR = ("the list of keys", "the name of keys")


def closed(schema):
    """The schema, with unnamed properties refused wherever it lists required ones."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: closed(part) for name, part in schema.items()}
    if "required" in schema and "properties" in schema:
        schema.setdefault("unevaluatedProperties", False)
    return schema


RESOURCES = {
    f"{kind}.json": Resource.from_contents(closed(schemas.schema(kind)))
    for kind in (*schemas.KINDS, schemas.SHARED)
}


def fits(value, kind):
    schemas.check(value, kind, "the file")
    registry = Registry().with_resources(RESOURCES.items())
    Draft202012Validator(RESOURCES[f"{kind}.json"].contents, registry=registry).validate(value)


@pytest.fixture(scope="module")
def findings():
    model = tl.shipped("manual")
    grids = tl.patching_grid(model, *PAIR, metric=(" in", " of"), sites=["z", "resid_pre"])
    circuit = tl.circuit(model, *PAIR, metric=(" in", " of"), n=12, draws=1)
    ids = torch.stack([model.encode(text).flatten() for text in PAIR])
    return {
        "grids": grids.measure([("z", 1, 1)]),
        "one grid": grids["z"],
        "a path": tl.path_patch(model, *PAIR, metric=" in", sender=(1, 2)),
        "paths": tl.path_patch(model, *PAIR, metric=" in", receiver=(2, 2, "k")),
        "heads of ids": tl.sweep_heads(model.model, ids[0], value="mean"),
        "groups": tl.sweep_groups(model, TEXT, groups={"a": [(0, 1), (1, 2)]}),
        "edges": tl.sweep_edges(model, TEXT, query=4, measure="kl"),
        "estimates": tl.estimate_effects(model, TEXT),
        "table": tl.head_table(model, TEXT),
        "no labels": tl.head_table(model, TEXT, named=False),
        "circuit": circuit,
        "circuit of ids": tl.circuit(
            model.model, ids[0], ids[1], metric=5, edges=["input->a0.h1<v>", "a0.h1->logits"]
        ),
        "study": tl.study(model, [TEXT, "def f(x)"], measure=["induction", "entropy"]),
        "study of pairs": tl.study(
            model, [dict(zip(("clean", "corrupted"), PAIR, strict=True), answer=" in")], sites=["z"]
        ),
    }


def test_every_report_fits_its_schema(findings, tmp_path):
    functions = set()
    for name, finding in findings.items():
        told = json.loads(tl.report(finding, tmp_path / name).json.read_text("utf-8"))
        fits(told, "report")
        functions.add(told["function"])
    assert (
        functions
        == set(FUNCTIONS)
        == set(schemas.schema("report")["properties"]["function"]["enum"])
    )


def test_every_file_of_a_result_fits_its_schema(findings, tmp_path):
    files = {
        "patching_grid": [
            findings["one grid"].to_json(tmp_path / "a.json"),
            findings["paths"].to_json(tmp_path / "b.json"),
        ],
        "patching_grids": [findings["grids"].to_json(tmp_path / "c.json")],
        "circuit": [
            findings[n].to_json(tmp_path / f"{n}.json") for n in ("circuit", "circuit of ids")
        ],
        "study": [findings[n].save(tmp_path / f"{n}.json") for n in ("study", "study of pairs")],
    }
    tl.study(tl.shipped("manual"), [TEXT, "def f(x)"], measure=["entropy"], out=tmp_path / "folder")
    files["study_folder"] = [tmp_path / "folder" / "study.json"]
    for kind, paths in files.items():
        for path in paths:
            fits(json.loads(path.read_text("utf-8")), kind)
    lines = (tmp_path / "folder" / "part-00000.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 3
    for line in lines:
        fits(json.loads(line), "study_line")
    assert {*files, "study_line", "report", "view"} == set(schemas.KINDS)


def test_the_documentation_names_every_schema():
    page = (Path(__file__).parents[2] / "docs" / "research.md").read_text("utf-8")
    for name in (*schemas.KINDS, schemas.SHARED):
        assert f"`{name}.json`" in page, name
        Draft202012Validator.check_schema(schemas.schema(name))


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_fits_its_schema(made, name, tmp_path):  # noqa: F811
    fits(json.loads(made(name).save(tmp_path / "a.json").read_text("utf-8")), "view")


def damaged(told, *path, value=None, without=False):
    told = copy.deepcopy(told)
    at = told
    for step in path[:-1]:
        at = at[step]
    if without:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return told


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("name", "kind", "path", "change", "sentence"),
    [
        ("grids", "report", ["model"], dict(value=None), "model must be an object, got None"),
        ("grids", "report", ["function"], dict(value=3), "function must be 'circuit' or .*, got 3"),
        (
            "circuit",
            "report",
            ["finding", "controls", 0, "alone"],
            dict(value="x"),
            r"finding.controls\[0\].alone must be a number, got 'x'",
        ),
        (
            "study",
            "report",
            ["finding", "measures", "entropy", "mean"],
            dict(without=True),
            "finding.measures.entropy has no 'mean'",
        ),
        (
            "groups",
            "report",
            ["finding", "measures", "kl", 0],
            dict(value={}),
            r"finding.measures.kl\[0\] must be a number or null or a list, got {}",
        ),
        (
            "circuit",
            "circuit",
            ["n_edges"],
            dict(value=0),
            r"n_edges must be as its schema says \(minimum 1\), got 0",
        ),
        ("circuit", "circuit", ["edges"], dict(without=True), "it has no 'edges'"),
        (
            "one grid",
            "patching_grid",
            ["direction"],
            dict(value="up"),
            "direction must be 'denoising' or 'noising'",
        ),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(
    findings, tmp_path, name, kind, path, change, sentence
):
    if kind == "report":
        told = json.loads(tl.report(findings[name], tmp_path / "a").json.read_text("utf-8"))
    else:
        told = findings[name].to_dict()
    with pytest.raises(FileError, match=f"^the file is damaged: {sentence}.*; copy it again$"):
        schemas.check(damaged(told, *path, **change), kind, "the file")


@pytest.mark.badinput
def test_lists_without_end_are_refused():
    told = []
    for _ in range(900):
        told = [told]
    with pytest.raises(FileError, match=r"values.x.*must be a number or null, got \[\["):
        schemas.check({"prompt": 0, "values": {"x": told}}, "study_line", "the line")

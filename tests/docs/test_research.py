"""docs/research.md: its code runs, and its claims hold, on its text and on others."""

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import transformer_lab as tl
from tests.missing import lacking
from transformer_lab.cli import main
from transformer_lab.pretrained.wheels import ModelNotInstalled

TEXT = (Path(__file__).parents[2] / "docs" / "research.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    names = {}
    for block in BLOCKS:
        exec(block, names)
    return names


def test_the_stream_is_carried_on_twice(found):
    stream = found["grids"]["resid_pre"]
    assert [int(row.argmax()) for row in stream.recovered] == [11, 11, 12, 35]
    assert stream.recovered.amax(1).min() > 0.9


def test_two_heads_do_it_the_second_by_its_keys(found):
    grids = found["grids"]
    z = grids["z"].recovered
    assert int(z[1].argmax()) == int(z[2].argmax()) == 2 and z[[1, 2], 2].min() > 0.9
    assert z[2, [0, 1, 3]].max() < 0.5 and z[1, [0, 1]].max() < 0.1 and z[0, 1] > 0.9
    assert grids["k"].recovered[2, 2] > 0.9 and grids["q"].recovered[2, 2].abs() < 0.1
    assert grids["v"].recovered[1, 2] > 0.9
    assert grids["z"].estimate[2, 2] > 1.5 * grids["z"].exact[2, 2]


def test_the_first_feeds_the_keys_of_the_second(found):
    paths, grids = found["paths"], found["grids"]
    whole = grids["z"].source - grids["z"].into
    assert paths.top(1)[0][:3] == ("z", 1, 2) and paths.exact[1, 2] > 0.9 * whole
    rest = paths.exact.clone()
    rest[1, 2:] = 0
    assert rest.nan_to_num().abs().max() < 0.4 and 0.5 * whole < paths.exact[1, 3]
    assert found["queries"].exact.nan_to_num().abs().max() < 0.35


def test_ten_edges_are_the_circuit(found):
    circuit, edges = found["circuit"], found["edges"]
    way = ["input->a0.h1<v>", "a0.h1->a1.h2<v>", "a0.h1->a1.h3<v>"]
    way += ["a1.h2->a2.h2<k>", "a1.h3->a2.h2<k>", "a2.h2->logits"]
    way += ["a2.h2->m2", "a2.h2->m3", "m2->logits", "m3->logits"]
    assert set(circuit.edges) == set(way) and circuit.n_edges == 479
    key = edges.measure(["a1.h2->a2.h2<k>"]).edge("a1.h2->a2.h2<k>")
    by_slope = tl.edge_scores(
        found["model"], found["clean"], found["corrupted"], metric=found["answer"], by="eap"
    ).circuit(10, draws=0)
    random = [circuit.random_faithfulness, circuit.random_lost]
    shares = [circuit.faithfulness, circuit.lost, *(sum(x) / len(x) for x in random)]
    shares += [edges.circuit(100, draws=0).faithfulness, by_slope.faithfulness, key.exact]
    section = TEXT.split("## The circuit")[1].split("\n## ")[0]
    for number in shares:
        told = f"{round(number, 2) + 0:.2f}".replace("-", "−")
        assert told in section, told
    assert f"{key.estimate:.1f}" in section


def test_on_many_prompts_three_heads_hold_and_one_does_not(found):
    many = found["many"]
    z, base = many["z"], [float(one.mean) for one in many.baselines.values()]
    whole = base[1] - base[0]
    assert f"differ by {whole:.1f} on average" in TEXT
    for head in ((2, 2), (0, 1), (1, 2)):
        assert z.low[head] > 0.75 * whole
    assert z.high[1, 3] < 0.3 * whole and z.quantile(0.5)[1, 3] < 0.95
    for head in ((2, 2), (0, 1), (1, 2), (1, 3)):
        told = "{:.1f} ({:.1f} to".format(*(float(x[head]) for x in (z.mean, z.low)))
        assert told in TEXT, told
        assert f"{float(z.high[head]):.1f})" in TEXT.replace("\n", "")


def test_one_edge_carries_the_answer_to_the_end(found):
    flow, view = found["flow"], found["view"]
    section = TEXT.split("## See it flow")[1].split("\n## ")[0]
    first, second, third = flow.top(3)
    assert (first[:4], second[:4], third[:4]) == ((2, 2, 35, 12), (0, 1, 12, 12), (0, 0, 12, 12))
    for edge in (first, second, third):
        assert f"+{edge[4]:.2f}" in section
    assert f"{flow.logit:.2f}" in section and f"{int((flow.edges != 0).sum()):,} edges" in section
    assert flow.edges[1, 2:].abs().max() < 0.2 * first[4]
    assert f"{view.found.before:.2f} to below 0.01" in section and view.found.after < 0.01


def test_scores_that_know_nothing_of_patching_agree(found):
    assert found["previous"].flatten().topk(2).indices.tolist() == [4 + 2, 4 + 3]
    assert found["previous"].flatten().sort().values[-3] < 0.1
    assert divmod(int(found["induction"].argmax()), 4) == (2, 2)


@pytest.mark.parametrize("seed", [1, 2])
def test_it_holds_on_other_tokens(found, seed):
    half = torch.randint(100, 1000, (24,), generator=torch.Generator().manual_seed(seed))
    clean = torch.cat((half, half[:12]))
    corrupted = clean.clone()
    corrupted[11] = 300
    paths = tl.path_patch(
        found["model"], clean, corrupted, metric=int(half[12]), receiver=(2, 2, "k"), via="mlp"
    )
    assert paths.top(1)[0][:3] == ("z", 1, 2) and paths.recovered[1, 2] > 0.8


def test_the_numbers_in_the_text_are_those_that_are_found(found):
    z, paths = found["grids"]["z"], found["paths"]
    heads = [z.exact[at] for at in ((0, 1), (1, 2), (1, 3), (2, 2))]
    ways = [paths.exact[1, 2], paths.exact[1, 3]]
    for number in (z.into, z.source, *heads, z.estimate[2, 2], *ways):
        told = f"{float(number):.1f}".replace("-", "−")
        assert told in TEXT, told


@pytest.fixture(scope="module")
def of_smollm2():
    (block,) = re.findall(r"```python smollm2\n(.*?)```", TEXT, re.DOTALL)
    names = {"tl": tl}
    try:
        exec(block, names)
    except ModelNotInstalled as error:
        lacking("models", error)
    return names


def test_one_head_of_smollm2_names_the_indirect_object(of_smollm2):
    names, z = of_smollm2, of_smollm2["names"]["z"]
    assert z.top(1)[0][1:3] == (23, 3) and int((~z.exact.isnan()).sum()) == 12
    assert divmod(int(names["lens"].argmax()), 9) == (23, 3)
    signs = [float(z.exact[at]) for at in ((29, 1), (29, 0), (24, 4))]
    assert signs[0] > 2 and signs[1] < -2 and signs[2] < -2
    for number in (z.exact[23, 3], z.source - z.into, names["ways"].value):
        assert f"{float(number):.1f}" in TEXT


def test_the_head_of_smollm2_names_others_too(of_smollm2):
    (block,) = re.findall(r"```python many\n(.*?)```", TEXT, re.DOTALL)
    names = {"tl": tl, "smol": of_smollm2["smol"]}
    exec(block, names)
    z, base = names["others"]["z"], names["others"].baselines.values()
    patched, source = (float(one.mean) for one in base)
    assert len(names["pairs"]) == 12 and f"{source - patched:.1f} between" in TEXT
    rows = names["others"].table().rows[:4]
    assert [(row.layer, row.place) for row in rows] == [(23, 3), (29, 1), (24, 4), (29, 0)]
    words = " ".join(TEXT.split()).replace("−", "-")
    for row in rows:
        assert f"{row.mean:.1f} ({row.low:.1f} to {row.high:.1f})" in words
    assert 2.4 < float(z.values[:, 23, 3].min()) < 2.5 and "in no pair less than 2.4" in TEXT


def test_the_finding_is_kept_and_made_anew(tmp_path, monkeypatch):
    (block,) = re.findall(r"```python report\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(block, {"tl": tl})
    done = CliRunner().invoke(main, ["report", "finding.json"])
    assert done.exit_code == 0 and "Numbers: all" in done.stdout, done.output

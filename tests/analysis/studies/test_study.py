"""A study against single prompts: in one process and in two, complete and resumed."""

import json

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small
from tests.training.processes import two as two_processes
from transformer_lab.analysis.studies.questions import PATCHED, SOURCE, Question
from transformer_lab.analysis.studies.spread import Spread
from transformer_lab.edits.effects import LOGIT_MEASURES

CHANCE = torch.Generator().manual_seed(0)
TEXTS = [torch.randint(50, (n,), generator=CHANCE).tolist() for n in (6, 9, 6, 6, 9)]
PAIRS = [
    {
        "clean": ids,
        "corrupted": [*ids[:2], (ids[2] + 1) % 50, *ids[3:]],
        "answer": i,
        "wrong": i + 7,
    }
    for i, ids in enumerate(TEXTS)
]


@pytest.fixture(scope="module")
def model():
    return small(noise=0.3, sharpness=2.0, n_layers=3)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_scores_are_those_of_each_text(model, batch_size):
    found = tl.study(model, TEXTS, measure=["previous_token", "entropy"], batch_size=batch_size)
    assert list(found) == ["previous token", "entropy"]
    for name in ("previous_token", "entropy"):
        own = torch.stack([getattr(tl.heads, name)(tl.trace(model, ids)) for ids in TEXTS])
        assert_close(found[name.replace("_", " ")].values, own, rtol=1e-4, atol=1e-5)
    assert found["entropy"].unit == "bits" and found["entropy"].axes == ("layer", "head")


@pytest.mark.parametrize("batch_size", [1, 4])
def test_effects_are_those_of_each_text(model, batch_size):
    rows = [{"clean": ids, "answer": i} for i, ids in enumerate(TEXTS)]
    for measure, one in (("effects", tl.sweep_heads), ("estimates", tl.estimate_effects)):
        found = tl.study(model, rows, measure=measure, batch_size=batch_size)
        prefix = "estimated " if measure == "estimates" else ""
        for name in LOGIT_MEASURES[: 3 if measure == "effects" else 2]:
            own = [one(model, r["clean"], token=r["answer"]).measures[name] for r in rows]
            assert_close(found[prefix + name].values, torch.stack(own), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("by", ["attribution", "exact"])
@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_patches_are_those_of_each_pair(model, by, batch_size, direction):
    options = dict(sites=["z", "resid_pre"], by=by, direction=direction)
    found = tl.study(model, PAIRS, at="last", batch_size=batch_size, **options)
    assert found["resid_pre"].labels["position"] == ["last"]
    for i, pair in enumerate(PAIRS):
        metric = (pair["answer"], pair["wrong"])
        own = tl.patching_grid(model, pair["clean"], pair["corrupted"], metric=metric, **options)
        assert_close(found["z"].values[i], own["z"].values, rtol=1e-3, atol=1e-5)
        last = own["resid_pre"].values[:, -1:]
        assert_close(found["resid_pre"].values[i], last, rtol=1e-3, atol=1e-5)
        assert float(found.baselines[PATCHED].values[i]) == pytest.approx(own["z"].into, abs=1e-5)
        assert float(found.baselines[SOURCE].values[i]) == pytest.approx(own["z"].source, abs=1e-5)


def test_every_position_of_prompts_of_one_length_stands_by_itself(model):
    pairs = [p for p in PAIRS if len(p["clean"]) == 6]
    found = tl.study(model, pairs, sites="resid_pre")["resid_pre"]
    assert found.values.shape == (3, 3, 6) and found.labels["position"] == list("012345")
    assert (found.values[:, 0, [0, 1, 3, 4, 5]].abs() < 1e-5).all()  # where nothing differs


def test_a_function_is_asked_of_every_prompt_by_itself(model):
    mine = lambda logits: logits[0, -1, 3]  # noqa: E731
    rows = [{"clean": p["clean"], "corrupted": p["corrupted"]} for p in PAIRS]
    found = tl.study(model, rows, sites="z", metric=mine)
    own = [tl.patching_grid(model, *r.values(), sites="z", metric=mine)["z"].values for r in rows]
    assert_close(found["z"].values, torch.stack(own), rtol=1e-4, atol=1e-6)


def test_words_are_paired_in_every_prompt():
    model = tl.shipped("manual")
    rows = [dict(clean="the list of keys", corrupted="the dictionary of keys", answer=" in")]
    own = tl.patching_grid(
        model, *list(rows[0].values())[:2], metric=" in", align="words", sites="z"
    )
    found = tl.study(model, rows, align="words", sites="z")
    assert_close(found["z"].values[0], own["z"].values)


def test_a_text_without_pairs_does_not_count(model):
    found = tl.study(model, [[1, 2, 3, 4], [5, 6, 5, 6], [7, 8, 7, 8]], measure="induction")
    assert found["induction"].n.unique().tolist() == [2] and "at least 2" in found.sentence
    with pytest.raises(ValueError, match="nothing was measured: induction: no prompt has"):
        tl.study(model, [[1, 2, 3, 4]], measure="induction")
    rest = tl.study(model, [[1, 2, 3, 4]], measure=["induction", "entropy"])
    assert list(rest) == ["entropy"] and "no prompt has" in rest.missing["induction"]
    with pytest.raises(ValueError, match="is not one of entropy: no prompt has"):
        rest["induction"]


def test_words_count_in_a_batch_too():
    model, texts = tl.shipped("manual"), ["def f(x): return x", "def g(y): return y"]
    found = tl.study(model, texts, measure="punctuation")["punctuation"]
    own = [tl.heads.punctuation(model.trace(text)) for text in texts]
    assert_close(found.values, torch.stack(own), rtol=1e-4, atol=1e-5)


# -- the numbers' meaning --------------------------------------------------------------------------


def spread(values, **options):
    labels = {"layer": ["0"], "head": [str(i) for i in range(values.shape[-1])]}
    return Spread("x", "share", ("layer", "head"), labels, values[:, None], **options)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    """4,000 means of 40 draws each; the percentile bootstrap is known to undercover slightly."""
    draws = torch.randn(40, 4000, generator=torch.Generator().manual_seed(3)).exp()  # skewed
    found, truth = spread(draws, level=0.9, resamples=1000), torch.tensor(0.5).exp()
    held = ((found.low <= truth) & (truth <= found.high)).float().mean()
    assert 0.82 < held < 0.92
    wide = spread(draws[:, :50], level=0.99)
    narrow = spread(draws[:, :50], level=0.5)
    assert (wide.high - wide.low > narrow.high - narrow.low).all()


def test_the_numbers_of_a_cell_are_those_of_its_prompts():
    values = torch.tensor([[1.0, 2.0], [3.0, torch.nan], [8.0, torch.nan]])
    found = spread(values)
    assert found.mean.tolist() == [[4.0, 2.0]] and found.n.tolist() == [[3, 1]]
    assert float(found.std[0, 0]) == pytest.approx(float(values[:, 0].std()))
    assert found.std.isnan().tolist() == found.low.isnan().tolist() == [[False, True]]
    assert float(found.quantile(0.5)[0, 0]) == 3.0
    again, other = spread(values), spread(values, seed=1)
    assert torch.equal(found.low[0, :1], again.low[0, :1])
    assert len({float(x.low[0, 0]) for x in (found, other, spread(values, resamples=50))}) > 1
    rows = list(found.rows())
    assert [row.n for row in rows] == [3, 1] and rows[0].quantiles[2] == 3.0


def test_a_study_is_a_table_a_picture_and_files(model, tmp_path):
    found = tl.study(model, TEXTS, measure=["entropy", "distance"])
    table = found.table()
    assert [row.measure for row in table] == ["entropy"] * 12 + ["distance"] * 12
    assert [abs(row.mean) for row in table][:12] == sorted(found["entropy"].mean.flatten())[::-1]
    lines = found.save(tmp_path / "a.csv").read_text().splitlines()
    assert len(lines) == 25 and lines[0].startswith("measure,layer,axis,place,label,n,mean,std,low")
    assert len(lines[1].split(",")) == len(lines[0].split(","))
    told = json.loads(found.save(tmp_path / "a.json").read_text())
    assert_close(torch.tensor(told["measures"]["entropy"]["mean"]), found["entropy"].mean)
    assert told["bootstrap"] == {"seed": 0, "resamples": 2000, "level": 0.95}
    assert len(found.figure().axes) == 4 and "<table>" in found._repr_html_()
    assert found.to_plotly().data[0].z.shape == (3, 4)
    with pytest.raises(ValueError, match=r"must end in \.csv or \.json, got .*; name a file"):
        found.save(tmp_path / "a.png")


# -- saved as they come ----------------------------------------------------------------------------


def counted(monkeypatch, after=None):
    """List the prompts computed from here on; interrupt the one `after` so many."""
    seen, of = [], Question.of

    def watch(self, batch):
        if after is not None and len(seen) >= after:
            raise KeyboardInterrupt
        seen.extend(one.index for one in batch)
        return of(self, batch)

    monkeypatch.setattr(Question, "of", watch)
    return seen


def test_an_interrupted_study_goes_on_and_computes_nothing_twice(model, tmp_path, monkeypatch):
    whole = tl.study(model, PAIRS, at="last")
    options = dict(at="last", out=tmp_path / "o", batch_size=2)
    with monkeypatch.context() as patch:
        first = counted(patch, after=3)
        with pytest.raises(KeyboardInterrupt):
            tl.study(model, PAIRS, **options)
    part = tmp_path / "o" / "part-00000.jsonl"
    part.write_bytes(part.read_bytes() + b'{"prompt": 4, "val')  # a kill in the middle of a line
    told = []
    with monkeypatch.context() as patch:
        second = counted(patch)
        found = tl.study(model, PAIRS, progress=lambda *done: told.append(done), **options)
    assert sorted(first + second) == [0, 1, 2, 3, 4] and 0 < len(second) < 5
    assert told[-1] == (len(second), len(second))
    with monkeypatch.context() as patch:
        third = counted(patch)
        again = tl.study(model, PAIRS, **options)
    assert third == []
    for name in whole:
        assert_close(found[name].values, whole[name].values, rtol=1e-4, atol=1e-6, equal_nan=True)
        assert torch.equal(again[name].values, found[name].values)
        assert again[name].labels == whole[name].labels
    assert list(again) == list(whole) and list(again.baselines) == list(whole.baselines)
    assert not list((tmp_path / "o").glob("*.lock"))


@pytest.mark.badinput
def test_a_folder_takes_one_question(model, tmp_path):
    out = tmp_path / "o"
    tl.study(model, TEXTS, measure="entropy", out=out)
    with pytest.raises(ValueError, match=r"holds a study of another question \(measures: "):
        tl.study(model, TEXTS, measure="distance", out=out)
    with pytest.raises(ValueError, match=r"holds a study of other prompts \(n: 5 then, 4 now"):
        tl.study(model, TEXTS[:4], measure="entropy", out=out)
    other = small(seed=1, n_layers=3)
    with pytest.raises(ValueError, match=r"holds a study of another model \(weights: "):
        tl.study(other, TEXTS, measure="entropy", out=out)
    with (
        pytest.raises(ValueError, match="an edit is active; end the edit"),
        tl.edit(model, tl.ablate(0, 0)),
    ):
        tl.study(model, TEXTS, measure="entropy", out=out)
    about = json.loads((out / "study.json").read_text())
    about["versions"]["torch"] = "1.0"
    (out / "study.json").write_text(json.dumps(about))
    with pytest.warns(UserWarning, match=r"started with other versions \(torch: 1.0 then"):
        tl.study(model, TEXTS, measure="entropy", out=out)
    about["transformer_lab_study"] = 99
    (out / "study.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="has format 99, but this package reads 1"):
        tl.study(model, TEXTS, measure="entropy", out=out)
    (out / "study.json").write_text("{")
    with pytest.raises(FileExistsError, match="is damaged or not from a study"):
        tl.study(model, TEXTS, measure="entropy", out=out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match=r"files that are not from a study \(thesis.txt\)"):
        tl.study(model, TEXTS, measure="entropy", out=tmp_path / "mine")


@pytest.mark.timeout(180)
def test_two_processes_give_the_numbers_of_one(tmp_path):
    folder, rows = tmp_path / "model", tmp_path / "pairs.jsonl"
    tl.shipped("manual").save(folder)
    words = ["the list", "the key", "a value", "the long name", "an object of a class"]
    rows.write_text(
        "".join(
            json.dumps({"clean": f"{w} is in", "corrupted": f"{w} is of", "answer": " the"}) + "\n"
            for w in words
        )
    )
    command = [
        *("-m", "transformer_lab", "study", str(rows), "--model", str(folder), "--last"),
        *("--out", str(tmp_path / "two"), "--save", str(tmp_path / "two.json")),
    ]
    told = two_processes(*command, seconds=160)
    assert told.count("mean over 5 prompts") == 1
    one = tl.study(tl.TextModel.from_pretrained(folder), rows, at="last")
    two = json.loads((tmp_path / "two.json").read_text())
    assert list(two["measures"]) == list(one)
    for name, spread in one.items():
        for numbers in ("mean", "std", "low", "high"):
            found = torch.tensor(two["measures"][name][numbers])
            assert_close(found, getattr(spread, numbers), rtol=1e-4, atol=1e-5)
    parts = sorted((tmp_path / "two").glob("part-*.jsonl"))
    kept = [
        [line["prompt"] for line in map(json.loads, part.open()) if "prompt" in line]
        for part in parts
    ]
    assert len(kept) == 2 and all(kept) and sorted(kept[0] + kept[1]) == [0, 1, 2, 3, 4]
    # One process continues after two.
    again = tl.study(tl.TextModel.from_pretrained(folder), rows, at="last", out=tmp_path / "two")
    assert_close(again["z"].values, one["z"].values, rtol=1e-4, atol=1e-5)

"""Every view as a file: the numbers are the view's, and the file describes them."""

import contextlib
import csv
import io
import json
import struct

import numpy as np
import pytest
import torch
import traitlets as t
from matplotlib.image import imread

import transformer_lab as tl
from tests.every_view import VIEWS
from tests.factories import small
from transformer_lab import views
from transformer_lab.views.shared import base


def head(view):
    shown = torch.stack([view.row(query) for query in range(len(view.trace.query_tokens()))])
    return {"weight": lowered(shown)}


def lowered(weights):
    """NaN where a decoder's token cannot attend."""
    shown = weights.double().numpy().copy()
    shown[np.triu(np.ones(shown.shape, dtype=bool), 1)] = np.nan
    return shown


def run(view):
    return {"loss": [line["loss"] for line in view.run.metrics()], "score": view.score()}


def compare(view):
    a, b = view.maps()
    return {
        "a": lowered(a),
        "b": lowered(b),
        "difference": lowered(view.difference()),
        "moved": view.moved(),
    }


def residual(view):
    shares = tl.circuits.block_share(view.trace)
    lens = tl.circuits.logit_lens(view.trace, positions=range(1, 13))
    return {
        "length": tl.circuits.stream_norms(view.trace),
        "share": shares.share,
        "cosine": shares.cosine,
        "answer": lens.answer_probability,
        "likeliest_probability": lens.probabilities[..., 0],
    }


def flow(view):
    found = tl.circuits.token_flow(view.trace)
    top = found.top(view.shown)
    names = ("layer", "head", "query", "key", "carried")
    parts = {name: [edge[i] for edge in top] for i, name in enumerate(names)}
    return parts | {"stream": found.stream, "stays": found.stays, "mlp": found.mlps}


def model(view):
    """Sizes and probabilities from a pass without the edits and one with them."""
    with tl.edit(view.trace.network, *view.edits):
        after = tl.trace(view.trace.network, view.trace.tokens, keep="all")
    rows = [int(name) for name, *_ in view._said["answers"]]
    both = [one.logits[0, -1].softmax(-1)[rows] for one in (view.trace, after)]
    return {
        "size": tl.circuits.stream_norms(view.trace),
        "size_edited": tl.circuits.stream_norms(after),
        "probability": both[0],
        "probability_edited": both[1],
    }


def cloud(received):
    """NaN for the points of queries; for those of keys the weights they receive."""
    return torch.cat([torch.full_like(received, torch.nan), received])


def embedding(view):
    at = view.coordinates()
    return {f"component_{i + 1}": at[:, i] for i in range(3)}


def patching(view):
    """The same grids, computed again."""
    again = tl.patching_grid(tl.shipped("manual"), *view.prompts, sites=["z", "k"], by="both")
    exact = again["k"].exact.clone()
    exact[view.grids["k"].exact.isnan()] = torch.nan
    return {
        "exact": again["z"].exact,
        "estimate": again["z"].estimate,
        "exact_k": exact,
        "estimate_k": again["k"].estimate,
    }


# Each view's numbers, computed independently of the file.
WANTED = {
    "HeadView": head,
    "Explorer": lambda view: {
        **head(view),
        "before": [row.before for row in view.effect.rows],
        "after": [row.after for row in view.effect.rows],
    },
    "ResidualView": residual,
    "FlowView": flow,
    "CloudView": lambda view: {"received": cloud(view.trace.pattern(1, 2).mean(0))},
    "WhyView": lambda view: {"weight": view.trace.pattern(1, 2)[8]},
    "BlockView": lambda view: {"x: x": view.trace.residual()["resid_pre"][1, 8]},
    "ModelView": model,
    "CompareView": compare,
    "PositionView": lambda view: {
        "before": view.weights()[0],
        "after": view.weights()[1],
        "by_distance": view.by_distance()[1],
    },
    "MixView": lambda view: {"weight": view.weights, "score": view.scores, "mixture": view.mixture},
    "PatchView": lambda view: {"weight": view.trace.pattern(view.layer, view.head)[view.query]},
    "SpectrogramView": lambda view: {"weight": view.trace.pattern(1, 0, kind="cross")[1]},
    "PatchingView": patching,
    "TrainingView": lambda view: {
        "training": [step.loss for step in view.history],
        "weight": lowered(torch.stack([view.row(q) for q in range(6)])),
    },
    "RunView": run,
    "EmbeddingView": embedding,
}

# Weights stored in a few bits; passes batched with others.
COARSE = {"PatchView": 2e-3, "PatchingView": 1e-4}
TABLES = {
    "HeadView": "query,query_token,key,key_token,weight,about",
    "Explorer": "query,query_token,key,key_token,weight,about",
    "ResidualView": "after,after_token,position,position_token,length,about",
    "FlowView": "edge,layer,head,query,key,carried,about",
    "CloudView": "point,point_token,side,x,y,received,about",
    "WhyView": "dimension,q,k,product,product_above_mean,about",
    "BlockView": "step,vector,number,value,about",
    "ModelView": "edge,kind,layer,head,query,key,carried,carried_edited,about",
    "CompareView": "query,query_token,key,key_token,a,b,difference,about",
    "PositionView": "query,query_token,key,key_token,before,after,about",
    "MixView": "word,word_token,score,hidden,weight,x,y,about",
    "PatchView": "key,key_token,row,column,weight,about",
    "SpectrogramView": "seconds,weight,about",
    "PatchingView": "layer,head,exact,estimate,exact_q,estimate_q,exact_k,estimate_k,exact_v,estimate_v,"
    "exact_pattern,estimate_pattern,about",
    "TrainingView": "curve,step,value,about",
    "RunView": "curve,step,value,about",
    "EmbeddingView": "point,point_token,component_1,component_2,component_3,position,length,kept,"
    "colour_token,about",
}


def numbers(values):
    return np.array(values, dtype=object).astype(np.float64)


@pytest.mark.parametrize("name", VIEWS)
def test_files_hold_the_numbers_of_the_view(made, name, tmp_path):
    view = made(name)
    told = json.loads(view.save(tmp_path / "v.json").read_text("utf-8"))
    assert told == json.loads(json.dumps(view.to_dict()))
    assert (told["view"], told["sentence"]) == (name, view.sentence)
    with np.load(view.save(tmp_path / "v.npz")) as kept:
        about = json.loads(str(kept["about"]))
        arrays = {key: kept[key] for key in kept.files if key != "about"}
    assert arrays.keys() == told["arrays"].keys()
    for key, one in told["arrays"].items():
        assert arrays[key].shape == tuple(len(told["axes"][axis]) for axis in one["axes"])
        assert one["means"] and about["arrays"][key] == {k: one[k] for k in ("axes", "means")}
        if arrays[key].dtype.kind == "f":
            # Shortest decimals restore every bit of a float.
            read = numbers(one["values"]).astype(arrays[key].dtype)
            np.testing.assert_array_equal(
                read, np.where(np.isfinite(arrays[key]), arrays[key], np.nan)
            )
        else:
            assert arrays[key].tolist() == one["values"]
    for key, wanted in WANTED[name](view).items():
        wanted = np.asarray(wanted.double() if torch.is_tensor(wanted) else wanted)
        np.testing.assert_allclose(arrays[key], wanted, rtol=1e-5, atol=COARSE.get(name, 1e-7))
    text = view.save(tmp_path / "v.csv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert text.split("\n")[0] == TABLES[name]
    assert json.loads(rows[0]["about"])["computed"] == about["computed"]
    assert {row["about"] for row in rows[1:]} == {""}
    columns = [c for c in rows[0] if c in arrays and arrays[c].dtype.kind == "f"]
    for column in columns:
        read = np.array([float(row[column] or "nan") for row in rows])
        whole = arrays[column].ravel()
        first = arrays[next(c for c in columns)].ravel()
        kept = whole if len(whole) == len(rows) else whole[~np.isnan(first)]
        np.testing.assert_array_equal(read.astype(whole.dtype), kept)


@pytest.mark.badinput
@pytest.mark.parametrize("name", VIEWS)
def test_a_page_knows_its_options(made, name):
    with pytest.raises(
        TypeError, match=f"^{name}.to_html has no option 'nonsense'; known: .*theme"
    ):
        made(name).to_html(nonsense=1)


@pytest.mark.badinput
@pytest.mark.parametrize("name", VIEWS)
def test_a_number_is_no_bool_and_in_its_range(made, name):
    """traitlets accepts True for 1. Any accepted value can be shown."""
    view = made(name)
    sentence = view.sentence
    for key, trait in view.traits(sync=True).items():
        if not isinstance(trait, (t.Int, t.Float)) or key[0] == "_":
            continue
        before = getattr(view, key)
        with pytest.raises(t.TraitError):
            setattr(view, key, True)
        for value in (-1, 10**9, float("nan"), float("inf")):
            with contextlib.suppress(t.TraitError):
                setattr(view, key, value)
            assert view.sentence, (key, value)
        setattr(view, key, before)
    assert view.sentence == sentence


@pytest.mark.parametrize("name", VIEWS)
def test_pictures_say_what_they_show(made, name, tmp_path, monkeypatch):
    view = made(name)
    svg, png = (
        view.save(tmp_path / "v.svg").read_bytes(),
        view.save(tmp_path / "v.PNG").read_bytes(),
    )
    assert b"<svg" in svg[:1000] and b"<dc:description>" in svg and b"&quot;" not in svg[:200]
    assert png[:4] == b"\x89PNG" and b"Description\0" in png
    assert svg == view.save(tmp_path / "w.svg").read_bytes()
    assert f'"view": "{name}"'.encode() in png
    width, height = struct.unpack(">II", png[16:24])
    assert width > 1000 and height > 300
    # In a notebook, also that they do not follow clicks; in files, which are made on request, not.
    figures, png_of = [], base.png_of
    monkeypatch.setattr(base, "png_of", lambda one: figures.append(one) or png_of(one))
    data, metadata = view._repr_mimebundle_()
    said, _, note = metadata["image/png"]["alt"].rpartition(f" {name}")
    assert said.endswith(view.sentence)
    assert note.endswith("as it was when the cell ran. Later clicks are not in this picture.")
    assert not any("Later clicks" in one.get_text() for one in view.figure().texts)
    (figure,) = figures
    (written,) = [one for one in figure.texts if one.get_text() == name + note]
    box = written.get_window_extent()
    assert box.y0 > 0 and not any(box.overlaps(axes.get_tightbbox()) for axes in figure.axes)
    assert data["text/plain"].startswith(f"<{name}: ")
    assert np.ptp(imread(io.BytesIO(data["image/png"]))) > 0.5 and len(data["image/png"]) < 400_000


def test_a_file_says_what_was_chosen_and_how_it_was_computed(tmp_path):
    model = tl.shipped("manual")
    view = views.Explorer(model, "for key in self.", edits=[tl.ablate(0, 1)], layer=1, head=2)
    view.selected, view._options = (3, None), {"hide_first": True, "weights": "value"}
    told = view.to_dict()
    assert {k: told["chosen"][k] for k in ("layer", "head", "selected", "hide_first")} == {
        "layer": 1,
        "head": 2,
        "selected": (3, None),
        "hide_first": True,
    }
    computed = told["computed"]
    assert computed["edits"] == ["tl.ablate(layer=0, head=1)"]
    (of,) = computed["of"]
    assert of["class"] == "Transformer" and of["token_ids"] == view.trace.tokens.tolist()
    assert of["tokens"] == [view.trace.key_tokens()] and of["numbers"] == "float32"
    assert computed["versions"]["torch"] == torch.__version__
    means = told["arrays"]["weight"]["means"]
    assert "length of what the value adds" in means and "keys at 0 are left out" in means
    assert all(row[0] is None for row in told["arrays"]["weight"]["values"])


@pytest.mark.parametrize(
    ("text", "name"), [(1, "weight"), ("mean", "weight"), ("spread", "spread")]
)
def test_the_text_that_is_on_view_is_the_one_in_the_file(text, name):
    trace = tl.trace(small(), torch.arange(10).view(2, 5))
    view = views.HeadView(trace, layer=1, head=2)
    view.text = text
    told = view.to_dict()
    assert told["chosen"]["text"] == text
    maps = trace.pattern(1, 2, batch=0).double(), trace.pattern(1, 2, batch=1).double()
    both = torch.stack(maps)
    wanted = both[1] if text == 1 else both.mean(0) if text == "mean" else both.std(0, correction=0)
    np.testing.assert_allclose(
        numbers(told["arrays"][name]["values"]), lowered(wanted), rtol=1e-4, atol=1e-6
    )


def test_a_revision_is_told_where_it_is_known():
    model = small()
    model.config = type("Config", (), {"_commit_hash": "a" * 40})()
    view = views.HeadView(tl.trace(small(), torch.arange(3)))
    assert view.to_dict()["computed"]["of"][0]["revision"] is None
    assert tl.adapters.lookup.revision_of(model) == "a" * 40


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "view.xls",
            r"ends in '\.xls', which is not known; choose \.csv, \.json, \.npz, \.svg, \.png or \.html",
        ),
        ("view", "has no ending; choose .csv"),
        ("no/v.csv", "the folder .*no' does not exist"),
        ("a_file/v.csv", "a_file' is a file, not a folder"),
        ("folder.json", "is a folder; name a file such as"),
    ],
)
def test_what_cannot_be_written_is_said_in_one_sentence(made, tmp_path, name, said):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "a_file").touch()
    with pytest.raises(ValueError, match=said) as caught:
        made("MixView").save(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_file", "folder.json"]


def test_a_file_that_was_there_outlives_a_failure(made, tmp_path, monkeypatch):
    view = made("MixView")
    path = view.save(tmp_path / "v.csv")
    whole = path.read_bytes()

    def broken(about, numbers):
        yield b"half"
        raise RuntimeError("no more")

    monkeypatch.setattr("transformer_lab.views.shared.exports._csv", broken)
    with pytest.raises(RuntimeError):
        view.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["v.csv"] and path.read_bytes() == whole


@pytest.mark.parametrize("n", [1, 400])
def test_any_length_and_any_token(n, tmp_path):
    odd = ['"', "a,b", "\n", "\ud800", "<b>", "=1+1", "\u202e"]
    shown = ['"', "a,b", "'\n", "?", "<b>", "'=1+1", "\u202e"]  # not a formula
    trace = tl.trace(small(n_ctx=400), torch.arange(n) % 50, labels=[odd[i % 7] for i in range(n)])
    view = views.HeadView(trace)
    for suffix in ("csv", "json", "npz", "svg"):
        assert view.save(tmp_path / f"v.{suffix}").stat().st_size
    with open(tmp_path / "v.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert len(rows) == n * (n + 1) // 2
    assert rows[-1][1] == shown[(n - 1) % 7]


@pytest.mark.parametrize("suffix", ["csv", "json", "npz", "svg", "png", "html"])
def test_a_browser_is_answered_with_the_file(made, suffix, monkeypatch):
    view, sent = made("HeadView"), []
    monkeypatch.setattr(type(view), "send", lambda self, *message: sent.append(message))
    view._on_question(view, {"type": "save", "as": suffix, "request": 7}, [])
    ((message, (file,)),) = sent
    assert message == {"type": "save", "request": 7} and len(file) > 500
    view._on_question(view, {"type": "save", "as": "xls", "request": 8}, [])
    assert sent[1][0]["type"] == "error" and "choose .csv" in sent[1][0]["message"]

"""Bits per weight in a page: accuracy of the weights, effect on answers, and which is chosen."""

import re

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load

import transformer_lab as tl
from tests.factories import small
from tests.views.pages.test_carrying import blocks_of, state_of
from transformer_lab.cli import main
from transformer_lab.files.models import model_tensors
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import CompareView, Explorer, HeadView, WhyView
from transformer_lab.views.pages import carrying
from transformer_lab.views.pages.carried import carried
from transformer_lab.views.pages.precision import packed, packed_size, unpacked

WORDS = "the animal did not cross the street because it was too tired"


def text_model(kind="decoder", **options):
    tokenizer = WordTokenizer.train(WORDS)
    model = small(kind, vocab_size=tokenizer.vocab_size, noise=0.3, sharpness=3.0, **options)
    return tl.TextModel(model, tokenizer, f"own {kind}")


def in_eight_bits(model):
    """The model with its matrices rounded to 8 bits, by an independent loop over rows."""
    again = tl.Transformer(model.model.config).eval()
    wanted = {}
    for name, t in model_tensors(model.model).items():
        rows = [t]
        if t.dim() == 2 and t.shape[1] >= 16:
            steps = [float(row.abs().max()) / 127 for row in t]
            rows = [torch.round(row / s) * torch.tensor(s) for row, s in zip(t, steps, strict=True)]
            t = torch.stack(rows)
        wanted[name] = t
    again.load_state_dict(wanted, strict=False)
    return tl.TextModel(again, model.tokenizer, model.name)


def test_rows_in_8_bits_are_within_half_a_step():
    tensors = {name: t.float() for name, t in model_tensors(text_model().model).items()}
    tensors["empty_rows"] = torch.zeros(3, 32)
    kept = packed(tensors, "int8")
    again = unpacked(kept)
    assert list(again) == list(tensors)
    assert sum(t.numel() * t.element_size() for t in kept.values()) == packed_size(tensors, "int8")
    wide = 0
    for name, t in tensors.items():
        if t.dim() < 2:
            assert kept[name].dtype == torch.float32 and torch.equal(again[name], t)
            continue
        wide += t.numel()
        assert kept[name].dtype == torch.int8 and int(kept[name].min()) >= -127
        step = t.abs().amax(1, keepdim=True) / 127
        assert bool(((again[name] - t).abs() <= step * 0.5001).all())
    assert wide > 0.8 * sum(t.numel() for t in tensors.values())
    found = carried(text_model(), "int8")
    dtypes = {n: t.dtype for n, t in load(found.weights).items()}
    learned = packed({k: v for k, v in tensors.items() if k != "empty_rows"}, "int8")
    assert dtypes.items() >= {n: t.dtype for n, t in learned.items()}.items()
    tables = {n: dtype for n, dtype in dtypes.items() if n not in learned}  # of positions
    assert set(tables.values()) <= {torch.float32}


def told_numbers(sentence):
    found = re.fullmatch(
        r"Weights in 8 bits: over (\d+) positions? of the saved text the top prediction’s probability changes "
        r"by at most (\d\.\d{3}); (\d+) of (\d+) top predictions? differs?\.",
        sentence,
    )
    return int(found[1]), float(found[2]), int(found[3]), int(found[4])


@pytest.mark.parametrize("kind", ["decoder", "encoder", "encoder-decoder"])
def test_a_page_says_what_8_bits_change_of_its_text(kind):
    model = text_model(kind)
    ids = model.encode(WORDS)
    if kind == "encoder":
        ids[3] = model.tokenizer.mask_id
    one = model.trace(WORDS) if kind == "encoder-decoder" else model.trace_ids(ids)
    view = HeadView(one)
    state = state_of(view.to_html(precision="int8"))
    target = None if one.target is None else one.target[0]
    other = in_eight_bits(model).trace_ids(one.tokens[0], target)
    a, b = one.logits[0].softmax(-1), other.logits[0].softmax(-1)
    if kind == "encoder":
        at = one.tokens[0] == model.tokenizer.mask_id
        a, b = a[at], b[at]
    top = a.argmax(-1)
    change = float((a - b)[torch.arange(len(a)), top].abs().max())
    positions, largest, differ, of = told_numbers(state["_carried"]["note"])
    assert (positions, of) == (len(a), len(a)) and (kind == "encoder") == (len(a) == 1)
    assert differ == int((b.argmax(-1) != top).sum())
    assert change - 1e-6 <= largest <= change + 1.1e-3 and change > 1e-4
    assert view.carried.note == state["_carried"]["note"]
    assert state_of(view.to_html())["_carried"]["note"] == ""


def test_a_model_with_no_head_is_told_by_its_states():
    model = text_model("encoder", head=False)
    view = HeadView(model.trace(WORDS))
    view.to_html(precision="int8")
    a, b = (m.model(view.trace.tokens)[0].detach() for m in (model, in_eight_bits(model)))
    moved = float(((a - b).norm(dim=-1) / a.norm(dim=-1)).max())
    share = re.search(r"moves by at most (\d+\.\d)% of its length", view.carried.note)[1]
    assert 100 * moved - 1e-3 <= float(share) <= 100 * moved + 0.11


def test_the_change_is_measured_without_dropout_and_leaves_the_model_alone():
    model = text_model(dropout=0.5)
    trace = model.trace(WORDS)
    told = carried(model, "int8", [trace]).note
    before = {n: t.clone() for n, t in model_tensors(model.model).items()}
    model.model.train()
    assert carried(model, "int8", [trace]).note == told and model.model.training
    assert all(torch.equal(before[n], t) for n, t in model_tensors(model.model).items())


def test_every_view_of_texts_says_it():
    model = text_model()
    views = [
        WhyView(model.trace(WORDS)),
        CompareView.of_texts(model, WORDS, "the street was too tired because"),
        tl.views.PatchingView(model, "the animal was tired", "the street was tired"),
    ]
    counts = [
        told_numbers(state_of(v.to_html(precision="int8"))["_carried"]["note"]) for v in views
    ]
    one, two = (len(model.encode(text)) for text in (WORDS, "the street was too tired because"))
    assert [count[0] for count in counts] == [one, one + two, 8]


def test_auto_is_16_bits_and_8_for_what_is_too_large_in_them(monkeypatch):
    view = Explorer(text_model(), WORDS, layer=0, head=0)
    view.to_html()
    assert view.carried.precision == "float16" and view.carried.bits == 16
    view.to_html(precision="float32")
    assert view.carried.precision == "float32" and view.carried.rounded == 0
    tensors = model_tensors(view.text_model.model)
    monkeypatch.setattr(carrying, "MOST", packed_size(tensors, "float16") - 1)
    view.to_html(model=True)
    assert view.carried.precision == "int8" and view.carried.note
    with pytest.raises(ValueError, match=r"in 16 bits, and a page takes .*precision='int8' makes"):
        view.to_html(model=True, precision="float16")
    monkeypatch.setattr(carrying, "MOST", packed_size(tensors, "int8") - 1)
    with pytest.raises(ValueError, match=r"it has 0 MB in 8 bits, and a page takes at most 0 MB"):
        view.to_html(model=True)
    assert "model" not in blocks_of(view.to_html()) and "in 8 bits" in view.stays


def test_a_wrong_precision_is_refused():
    view = Explorer(text_model(), WORDS, layer=0, head=0)
    with pytest.raises(
        ValueError, match="precision='int4' is not known; choose one of auto, float32"
    ):
        view.to_html(precision="int4")
    for one in (view, HeadView(view.trace)):
        with pytest.raises(ValueError, match="model=False leaves it out; give one of them"):
            one.to_html(model=False, precision="int8")


def test_the_command_line_writes_8_bits_and_says_what_they_change(tmp_path):
    page = tmp_path / "heads.html"
    result = CliRunner().invoke(
        main,
        ["explore", "--text", "def f(x): return x", "--precision", "int8", "--html", str(page)],
    )
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "MiB, weights in 8 bits): another text, masks, edits and generation need only" in said
    told = state_of(page.read_text("utf-8"))["_carried"]["note"]
    assert said.endswith(told) and told_numbers(told)[0] == len(
        tl.shipped("manual").encode("def f(x): return x")
    )
    wrong = CliRunner().invoke(main, ["explore", "--precision", "int8"])
    assert wrong.exit_code and "name its file with --html" in wrong.output

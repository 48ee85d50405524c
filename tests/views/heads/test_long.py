"""Long texts: every token is shown, and a browser receives exactly Python's numbers."""

import json

import numpy as np
import pytest
import torch

import transformer_lab as tl
from transformer_lab.tracing.weights import as_shown
from transformer_lab.views import HeadView
from transformer_lab.views.heads import data as head_data
from transformer_lab.views.heads import long

N = 600


@pytest.fixture
def view(long_trace, monkeypatch):
    """Treat 600 tokens as very many: tiles of 32 cells, stored cells of 4 × 4 weights or more."""
    monkeypatch.setattr(head_data, "LONGEST_BY_SCORES", 500)
    monkeypatch.setattr(long, "TILE", 32)
    monkeypatch.setattr(long, "SIDE", 150)
    return HeadView(long_trace, layer=2, head=5)


def unpacked(data, *shape):
    codes = np.frombuffer(data, "<u2").reshape(shape)
    return torch.from_numpy(np.where(codes == 0, 0, (codes + 0.5) / 60_000)).float()


def asked(view, name):
    message, buffers = view._answer({"type": "block", "name": name})
    return message["info"], buffers


def near(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=0, atol=2 / 60_000)


def test_the_whole_text_is_told_and_no_map_is_sent(view):
    told = view._kinds["decoder"]
    assert (told["queries"], told["all_queries"], len(told["query_tokens"])) == (N, N, N)
    assert view._first["name"] == "decoder/2/5" and told["long"]["tile"] == 32
    state = [len(v) for v in view.get_state().values() if isinstance(v, bytes)]
    assert sum(state) < 40_000  # thumbnails and one tile
    first = view._first
    assert (first["name"], first["level"], first["base"]) == ("decoder/2/5", 5, 2)
    whole = view.trace.pattern(2, 5)
    assert first["most"] == pytest.approx(float(whole.max()), rel=1e-4)
    near(unpacked(view._maps, 19, 19)[3, 2], whole[96:128, 64:96].max())
    best = whole[1:].flatten().topk(64).values  # the first token can only attend to itself
    near(torch.tensor([w for _, _, w in first["strongest"]]), best)


def test_tiles_rows_and_peaks_are_those_of_the_map(view):
    whole = view.trace.pattern(2, 5)
    for level in range(5):
        size = 2**level
        _, (most, share) = asked(view, f"decoder/2/5||tile/{level}/0/0")
        part = whole[: 32 * size, : 32 * size]
        rows = -(-min(N, 32 * size) // size)
        padded = torch.nn.functional.pad(
            part, (0, rows * size - part.shape[1], 0, rows * size - len(part))
        )
        cells = padded.view(rows, size, rows, size)
        near(unpacked(most, rows, rows), cells.amax((1, 3)))
        held = torch.tensor([min(size, N - size * i) for i in range(rows)])
        near(unpacked(share, rows, rows), cells.sum((1, 3)) / held[:, None])
    info, (row,) = asked(view, "decoder/2/5||row/411")
    near(unpacked(row, N), whole[411])
    assert info == {"nothing": 0.0}
    _, (column,) = asked(view, "decoder/2/5||column/17")
    near(unpacked(column, N), whole[:, 17])
    info, _ = asked(view, "decoder/2/5||peak/5/4/1")
    part = whole[128:160, 32:64]
    assert info["weight"] == pytest.approx(float(part.max()), rel=1e-4)
    assert float(whole[info["query"], info["key"]]) == pytest.approx(info["weight"], rel=1e-4)
    info, _ = asked(view, "decoder/2/5||strongest/100/200/50/90")
    near(
        torch.tensor([w for *_, w in info["strongest"]]),
        whole[100:200, 50:90].flatten().topk(64).values,
    )
    info, _ = asked(view, "decoder/2/5||strongest/100/140/50/90")  # few enough to be listed
    told = {}
    for query, key, weight in info["strongest"]:
        assert float(whole[query, key]) == pytest.approx(weight, abs=1e-6)
        told.setdefault(query, weight)
    assert told == pytest.approx(
        dict(enumerate(whole[100:140, 50:90].amax(1).tolist(), 100)), abs=1e-6
    )
    weights = [w for *_, w in info["strongest"]]
    assert weights == sorted(weights, reverse=True)
    for name, message in (
        ("decoder/2/5||nonsense/1", "a long text has no 'nonsense/1'"),
        ("decoder/2/99", "head=99 is outside 0 … 7"),
        ("decoder/2/5||tile/11/0/0", "level=11 is outside 0 … 10"),
    ):
        with pytest.raises(ValueError, match=message):
            asked(view, name)


def test_sentences_give_to_sentences_what_their_tokens_do(view):
    """Of words with a full stop every 13 tokens."""
    starts = view._kinds["decoder"]["long"]["groups"]["sentences"]
    assert starts == [list(range(0, N, 13))] * 2
    assert "paragraphs" not in view._kinds["decoder"]["long"]["groups"]
    _, (found,) = asked(view, "decoder/2/5||groups/sentences")
    whole, count = view.trace.pattern(2, 5), len(starts[0])
    sums = torch.zeros(count, count)
    of = torch.arange(N) // 13
    for i in range(count):
        rows = whole[of == i]
        sums[i] = torch.zeros(count).index_add_(0, of, rows.mean(0))
    near(unpacked(found, count, count), sums)


def test_hidden_keys_and_value_lengths_are_in_every_level(view):
    whole = as_shown(view.trace.pattern(2, 5), [0])
    info, (most, _) = asked(view, "decoder/2/5|f|")
    assert info["scale"] == 1
    near(unpacked(most, 19, 19)[5, 0], whole[160:192, :32].max())
    norms = view.trace.value_norms(2, 5)
    info, (most, _) = asked(view, "decoder/2/5|v|tile/0/1/1") or None
    view._options = {"hide_first": True, "weights": "value"}
    wanted = whole * norms
    info, (most, _) = asked(view, "decoder/2/5|fv|")
    scale = float(norms.max())
    assert info["scale"] == pytest.approx(scale)
    near(unpacked(most, 19, 19)[7, 3], wanted[224:256, 96:128].max() / scale)
    torch.testing.assert_close(view.row(300), wanted[300])
    assert "weight × value length" in view.sentence


def test_it_says_what_a_whole_map_would_say(view, long_trace, monkeypatch):
    monkeypatch.undo()
    usual = HeadView(long_trace, layer=2, head=5)
    assert usual.heads.__class__ is not view.heads.__class__
    assert view.sentence.startswith(usual.sentence.partition(" On average")[0])
    for selected in ((411, 12), (411, None), (12, 411), (None, 17)):
        view.selected = usual.selected = selected
        assert view.sentence == usual.sentence
    view.selected = usual.selected = None
    for one in (view, usual):
        one.mark((300, 340), (20, 60))
    assert view.sentence == usual.sentence
    with pytest.raises(ValueError, match="share tokens"):
        view.mark((10, 30), (20, 40))


def test_pictures_and_numbers_are_of_cells(view):
    assert view.png()[:4] == b"\x89PNG"
    told = view.to_dict()
    found = np.array(told["arrays"]["weight"]["values"], dtype=float)
    assert found.shape == (19, 19)
    assert told["axes"]["query"][1] == "32–63" and told["axes"]["key"][-1] == "576–599"
    assert "largest weight of 32 × 32" in told["arrays"]["weight"]["means"]
    whole = view.trace.pattern(2, 5)
    assert found[4, 4] == pytest.approx(float(whole[128:160, 128:160].max()), rel=1e-4)
    assert np.isnan(found[4, 5])
    assert view.to_plotly().data[0].z.shape == (19, 19)
    view.mark((300, 340), (20, 60))
    assert np.array(view.to_dict()["arrays"]["weight"]["values"]).shape == (2, 2)


def test_a_page_holds_the_head_down_to_a_stated_level(view):
    view.selected = (411, 12)
    state = view._page_state()
    assert state["_note"].endswith(
        "This page holds layer 2, head 5 down to tiles of 4 × 4 weights, and no other head; "
        "save_html(layers=[…]) keeps the overviews of more."
    )
    names = {block.name for block in view._blocks()}
    assert {n for n in names if "tile" in n} == {
        f"decoder/2/5||tile/{level}/{i}/{j}"
        for level, count in ((4, 2), (3, 3), (2, 5))
        for i in range(count)
        for j in range(count)
    }
    assert {
        "decoder/2/5||row/411",
        "decoder/2/5||column/12",
        "decoder/2/5||groups/sentences",
    } < names
    more = {block.name for block in view._blocks(layers=[1])}
    assert {f"decoder/1/{head}" for head in range(8)} < more
    assert "the others down to tiles of 32 × 32 weights" in view._page_state(layers=[1])["_note"]
    assert json.dumps(view._page_state()["_first"], allow_nan=False)


def test_of_a_batch_each_text_and_no_average(monkeypatch):
    monkeypatch.setattr(head_data, "LONGEST_BY_SCORES", 40)
    torch.manual_seed(0)
    model = tl.Transformer(tl.ModelConfig(vocab_size=9, n_layers=1, n_heads=2, d_model=8, n_ctx=64))
    trace = tl.trace(model.eval(), torch.randint(0, 9, (2, 50)))
    view = HeadView(trace)
    assert view._texts["why"] == "they are too long for whole maps"
    view.text = 1
    near(unpacked(asked(view, "decoder/0/1||row/44")[1][0], 50), trace.pattern(0, 1, batch=1)[44])

import numpy as np
import torch

from transformer_lab.views.heads import data as head_data
from transformer_lab.views.heads.data import HeadData


def decode_weights(data, shape):
    codes = np.frombuffer(data, "<u2").reshape(shape)
    return np.where(codes == 0, 0, (codes + 0.5) / 60_000)


def test_all_maps_of_all_kinds_lie_where_the_manifest_says(translation):
    data = HeadData(translation)
    kinds, maps, norms = data.kinds(), data.maps(), data.norms()
    assert list(kinds) == ["encoder", "decoder", "cross"]
    for kind, told in kinds.items():
        shape = (told["queries"], told["keys"])
        for layer in range(told["layers"]):
            for head in range(told["heads"]):
                place, size = layer * told["heads"] + head, 2 * shape[0] * shape[1]
                start = told["maps"] + place * size
                found = decode_weights(maps[start : start + size], shape)
                wanted = translation.pattern(layer, head, kind=kind).numpy()
                np.testing.assert_allclose(found, wanted, atol=1.6 / 60_000)
                start = told["norms"] + place * 4 * shape[1]
                found = np.frombuffer(norms[start : start + 4 * shape[1]], "<f4")
                wanted = translation.value_norms(layer, head, kind=kind).numpy()
                np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert kinds["encoder"]["special"] == [12]  # padding
    assert kinds["cross"]["query_tokens"][1] == "L'"
    assert not kinds["cross"]["same"]


def test_long_texts_send_queries_and_keys_and_say_how_exact_they_are(long_trace):
    data = HeadData(long_trace)
    assert not data.all_maps
    sent = data.head("decoder", 2, 5)
    d = sent.info["d"]
    assert sent.info["encoding"] == "scores16"
    assert len(sent.data) == 2 * 2 * 600 * d
    numbers = torch.from_numpy(np.frombuffer(sent.data, "<f2").astype(np.float32))
    q, k = numbers.view(2, 600, d)
    later = torch.ones(600, 600).triu(1).bool()
    ours = (q @ k.T).masked_fill(later, -torch.inf).softmax(-1)
    error = (ours - long_trace.pattern(2, 5)).abs().max()
    # Measured on 64 of the rows; the others are similar.
    assert error <= 4 * sent.info["error"]


def test_heads_too_sharp_for_half_precision_go_in_single(long_trace, monkeypatch):
    monkeypatch.setattr(head_data, "HALF_ERROR", 1e-9)
    sent = HeadData(long_trace).head("decoder", 0, 0)
    assert sent.info["encoding"] == "scores32"
    assert len(sent.data) == 4 * 2 * 600 * sent.info["d"]


def test_without_queries_and_keys_a_long_text_is_cut_and_said_so(long_trace, monkeypatch):
    monkeypatch.setattr(head_data, "LONGEST_BY_MAPS", 500)
    monkeypatch.setattr(type(long_trace), "queries_keys", lambda *a, **k: None)
    data = HeadData(long_trace)
    told = data.kinds()["decoder"]
    assert (told["queries"], told["all_queries"]) == (500, 600)
    sent = data.head("decoder", 1, 1)
    found = decode_weights(sent.data, (500, 500))
    np.testing.assert_allclose(found, long_trace.pattern(1, 1)[:500, :500], atol=1.6 / 60_000)

"""A head's circuits against the model itself, dense matrices and hand-computed values."""

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.missing import package
from transformer_lab.analysis import circuits
from transformer_lab.analysis.circuits import token_circuits

IDS = torch.tensor([[3, 7, 1, 3, 9, 2]])


# -- QK ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        dict(n_kv_heads=2, norm="rms"),
        dict(qk_norm=True, embedding_norm=True),
        dict(norm_first=False, kind="encoder"),
        dict(positions="none", scale_embedding=True),
    ],
)
def test_layer_0_scores_every_pair_as_the_circuit_says(ours, fields):
    model = ours(**fields)
    trace = tl.trace(model, IDS)
    ids = IDS[0].tolist()
    for head in range(4):
        scores = trace.scores(0, head)
        for query in range(6):
            for key in range(query + 1):
                circuit = circuits.qk_circuit(model, 0, head, distance=query - key)
                expected = circuit.row(ids[query])[ids[key]]
                assert_close(scores[query, key], expected, rtol=1e-4, atol=1e-4)
    assert circuit.note is None


def test_of_a_hugging_face_model_loaded_as_ours(ours):
    transformers = package("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=32,
        intermediate_size=48,
        vocab_size=20,
    )
    theirs = transformers.LlamaForCausalLM(config).eval()
    for p in theirs.parameters():
        p.data += 0.3 * torch.randn_like(p)
    scores = tl.trace(theirs, IDS).scores(0, 3)
    circuit = circuits.qk_circuit(tl.pretrained.load(theirs), 0, 3, distance=2)
    for query in range(2, 6):
        expected = scores[query, query - 2]
        found = circuit.row(int(IDS[0, query]))[IDS[0, query - 2]]
        assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_cross_attention_scores_target_tokens_against_source_tokens(ours):
    model = ours(kind="encoder-decoder", target_vocab_size=12, positions="none")
    circuit = circuits.qk_circuit(model, 1, 2, kind="cross")
    assert (len(circuit.left), circuit.right.shape[1]) == (12, 20)
    cross, block = model.decoder.blocks[1].cross, model.decoder.blocks[1]
    query = cross.query(block.norm2(model.target_embedding.weight))[:, 16:24]
    key = cross.key(model.encoder.norm(model.embedding.weight))[:, 16:24]
    assert_close(circuit.left @ circuit.right, query @ key.T / 8**0.5, rtol=1e-4, atol=1e-4)


def test_the_top_pairs_are_those_of_the_whole_matrix(ours, monkeypatch):
    circuit = circuits.qk_circuit(ours(), 1, 1)
    whole = circuit.left @ circuit.right
    best = whole.flatten().topk(7)
    for rows in (2**24, 45):  # all at once, and two rows at a time
        monkeypatch.setattr(token_circuits, "_ROWS", rows)
        ids, scores = circuit.top_ids(7)
        assert_close(scores, best.values)
        assert torch.equal(ids[:, 0] * 20 + ids[:, 1], best.indices)
    assert circuit.best(4, 1)[0][0] == str(int(whole[4].argmax()))


# -- OV ---------------------------------------------------------------------------------------------


def by_the_model(model, head):
    """Logits that each token adds when attended to, from a trace: v_j · W_O through gains, centring
    and unembedding, [token, vocab], up to a constant for all tokens (the value bias)."""
    trace = tl.trace(model, torch.arange(20)[None])
    vectors = circuits.contributions(trace, 0, 19)[head] / trace.pattern(0, head)[19][:, None]
    norm = model.decoder.norm
    if isinstance(norm, torch.nn.LayerNorm):
        vectors = vectors - vectors.mean(-1, keepdim=True)
    return (vectors * norm.weight) @ model.head.weight.T


@pytest.mark.parametrize("fields", [{}, dict(norm="rms", n_kv_heads=2, tie_head=False)])
def test_ov_is_what_values_add_to_the_logits(ours, fields):
    model = ours(n_ctx=32, **fields)
    for head in (1, 2):
        circuit = circuits.ov_circuit(model, 0, head)
        expected = by_the_model(model, head).detach()
        found = circuit.left @ circuit.right
        assert_close(found - found[:1], expected - expected[:1], rtol=1e-3, atol=1e-3)
        dense = torch.linalg.eigvals(found.double())
        score = dense.real.sum() / dense.abs().sum()
        assert circuit.copying_score == pytest.approx(score.item(), abs=1e-4)


def test_a_random_head_does_not_copy(ours):
    mean, std = circuits.ov_circuit(ours(), 1, 0, samples=64).copying_random
    assert abs(mean) < 3 * std / 8, "the mean of 64 is within three standard errors of 0"


def test_what_stands_in_for_a_head_is_said(ours):
    bare = ours(head=False)
    assert "no head" in circuits.ov_circuit(bare, 0, 0).note
    both = ours(kind="encoder-decoder", target_vocab_size=12)
    assert "encoder predicts no tokens" in circuits.ov_circuit(both, 0, 0, kind="encoder").note
    cross = circuits.ov_circuit(both, 0, 0, kind="cross")
    assert cross.note is None and cross.copying_score is None
    assert (len(cross.left), cross.right.shape[1]) == (20, 12)


@pytest.mark.badinput
def test_bad_input(ours):
    model = ours()
    with pytest.raises(ValueError, match=r"head=4 is outside 0 … 3"):
        circuits.qk_circuit(model, 0, 4)
    with pytest.raises(ValueError, match="kind='cross' is not in this model"):
        circuits.ov_circuit(model, 0, 0, kind="cross")
    with pytest.raises(ValueError, match="distance=9999"):
        circuits.qk_circuit(model, 0, 0, distance=9999)
    with pytest.raises(ValueError, match="no attention that can be traced"):
        circuits.qk_circuit(torch.nn.Linear(2, 2), 0, 0)
    with pytest.raises(ValueError, match="token=20 is outside"):
        circuits.qk_circuit(model, 0, 0).row(20)

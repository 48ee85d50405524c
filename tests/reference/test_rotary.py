"""Rotary pairs of Hugging Face models, inferred from the effect of their positions."""

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.missing import package
from tests.reference.conftest import _DECODER, _IDS, _VOCAB
from tests.reference.test_parts import of
from transformer_lab.analysis.circuits import score_by_dimension

T = package("transformers")
TOKENS = torch.tensor([[5, 6, 5, 6, 9, 5, 6]])  # 6 after 5, three times

OTHERS = {
    "gptj": lambda: T.GPTJForCausalLM(
        T.GPTJConfig(n_embd=32, n_layer=2, n_head=4, rotary_dim=4, n_positions=64, **_VOCAB, **_IDS)
    ),
    "glm": lambda: T.GlmForCausalLM(T.GlmConfig(head_dim=8, partial_rotary_factor=0.5, **_DECODER)),
}
HALVES = [0, 1, 2, 3, 0, 1, 2, 3]


def made(name, tiny):
    if name not in OTHERS:
        return of(tiny, name)
    torch.manual_seed(0)
    model = OTHERS[name]().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("llama", HALVES),
        ("qwen3", HALVES),
        ("gemma2", HALVES),
        ("cohere", [0, 0, 1, 1, 2, 2, 3, 3]),
        ("gptj", [0, 0, 1, 1, 2, 3, 4, 5]),
        ("glm", [0, 0, 1, 1, 2, 3, 4, 5]),
        ("gpt-neox", [0, 0, 1, 2, 3, 4, 5, 6]),
        ("gpt2", None),
        ("t5", None),
    ],
)
def test_pairs_are_those_that_turn_together(name, pairs, tiny):
    model = made(name, tiny)
    trace = tl.trace(model, TOKENS, *([TOKENS] if name == "t5" else []))
    found = [score_by_dimension(trace, 0, 1, query, key) for query, key in ((1, 0), (3, 2), (6, 5))]
    assert (None if found[0].pairs is None else found[0].pairs.tolist()) == pairs
    if pairs is None:
        with pytest.raises(ValueError, match="no rotary pairs were found in decoder layer 0"):
            found[0].by_pair()
        return
    # The first layer reads tokens alone: a pair's sum depends on the distance, not on the position.
    for other in found[1:]:
        assert_close(other.by_pair(), found[0].by_pair(), rtol=1e-3, atol=1e-4)
        assert (other.products - found[0].products).abs().max() > 1e-3

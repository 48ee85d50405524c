import numpy as np
import torch

from transformer_lab.tracing.packing import WEIGHT_SCALE
from transformer_lab.views.shared.codecs import (
    pack_floats,
    pack_shades,
    pack_weights,
    shown_text,
    shown_token,
)


def test_codes_round_as_the_weights_do():
    weights = torch.rand(20_000, generator=torch.Generator().manual_seed(1))
    codes = np.frombuffer(pack_weights(weights), "<u2")
    decoded = np.where(codes == 0, 0, (codes + 0.5) / WEIGHT_SCALE)
    for decimals in (1, 2, 3, 4):
        ours = [f"{w:.{decimals}f}" for w in decoded]
        assert ours == [f"{w:.{decimals}f}" for w in weights.double().tolist()]


def test_edges_of_the_range():
    codes = np.frombuffer(pack_weights(torch.tensor([0.0, 1.0, 1.0000001, -1e-9, 1e-9])), "<u2")
    assert codes.tolist() == [0, 60_000, 60_000, 0, 1]
    assert list(pack_shades(torch.tensor([0.0, 0.25, 1.0]))) == [0, 128, 255]
    assert np.frombuffer(pack_floats(torch.tensor([1.5, -2.0]), "<f2"), "<f2").tolist() == [1.5, -2]


def test_tokens_are_shown_and_can_be_sent():
    shown = [shown_token(t) for t in ("\0", "\ud800", "\u202eabc", "<b>", "😀", 7)]
    assert shown == ["␀", "⟨U+D800⟩", "⟨U+202E⟩abc", "<b>", "😀", "7"]
    "".join(shown).encode("utf-8")
    assert shown_text("two words\u202e") == "two words⟨U+202E⟩"

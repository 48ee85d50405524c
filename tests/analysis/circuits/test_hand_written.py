"""The hand-written circuit copies at every lag, and nothing simpler does."""

import pytest
import torch

import transformer_lab as tl
from transformer_lab.analysis import circuits


def accuracy(model, lag):
    probe = tl.inputs.repeated(model, lag=lag, n_texts=8)
    with torch.no_grad():
        guess = model(probe.tokens).argmax(-1)
    known = probe.repeated[:, :-1]
    return (guess[:, :-1] == probe.tokens[:, 1:])[known].float().mean().item()


@pytest.mark.parametrize("through", circuits.hand_written.THROUGH)
@pytest.mark.parametrize("lag", [5, 17, 30])
def test_two_layers_copy_at_every_lag(through, lag):
    assert accuracy(circuits.induction_by_hand(through=through), lag) == 1.0


@pytest.mark.parametrize("through", circuits.hand_written.THROUGH)
def test_one_layer_does_not(through):
    assert accuracy(circuits.induction_by_hand(through=through, n_layers=1), 17) < 0.2


def test_the_heads_look_where_they_were_told():
    for through, raw in (("keys", 1.0), ("values", 0.0)):
        trace = tl.inputs.repeated(circuits.induction_by_hand(through=through)).trace(
            circuits.induction_by_hand(through=through)
        )
        assert tl.heads.previous_token(trace)[0, 0].item() == pytest.approx(1, abs=1e-4)
        induction = tl.heads.induction(trace)[1]
        assert torch.allclose(induction, torch.tensor(raw), atol=1e-4)
    assert torch.allclose(tl.heads.two_hop_induction(trace)[1], torch.tensor(1.0), atol=1e-4)


@pytest.mark.badinput
def test_bad_input():
    with pytest.raises(ValueError, match=r"through must be one of .*keys, values.* got 'queries'"):
        circuits.induction_by_hand(through="queries")
    with pytest.raises(ValueError, match="n_layers must be 1 or 2, got 3"):
        circuits.induction_by_hand(n_layers=3)

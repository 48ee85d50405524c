"""Attention weights that a model returns: used if they are patterns of the same pass."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.adapters.families import T, text, tiny
from transformer_lab.adapters import attention_interface
from transformer_lab.adapters import returned_maps as fallback


@torch.no_grad()
def test_a_model_that_forgets_causality_when_asked_for_maps_is_asked_another_way():
    model = tiny("falcon")
    before = model.config._attn_implementation
    given = dict(text(model), use_cache=False)
    output, maps = fallback.eager_maps(model, given)
    assert model.config._attn_implementation == before
    assert_close(output.logits, model(**given).logits, rtol=0, atol=1e-5)
    assert all(bool((m.triu(1) == 0).all()) for m in maps["decoder"])


@pytest.mark.badinput
@pytest.mark.parametrize("name", ["squeezebert", "prophetnet"])
def test_scores_that_are_called_attentions_are_refused(name):
    model = tiny(name)
    with pytest.raises(
        attention_interface.AdapterError, match=r"the attention maps that \w+ returns are"
    ):
        fallback.eager_maps(model, text(model))


class Says(nn.Module):
    """A model that returns what it is passed, in transformers' form."""

    def __init__(self, maps, off=0.0):
        super().__init__()
        self.config = SimpleNamespace(is_encoder_decoder=False)
        self.maps, self.off = maps, off

    def set_attn_implementation(self, name):
        pass

    def forward(self, input_ids, output_attentions=False):
        n = input_ids.shape[1]
        logits = torch.ones(1, n, 5) * (1 + self.off * output_attentions)
        maps = self.maps if n == 3 else tuple(x[..., :n, :n] for x in self.maps)
        return T.modeling_outputs.CausalLMOutput(
            logits=logits, attentions=maps if output_attentions else None
        )


GOOD = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]]).expand(1, 2, 3, 3)
IDS = {"input_ids": torch.tensor([[3, 4, 5]])}


def test_weights_are_taken_though_a_sink_or_padding_leaves_less_than_one():
    maps = (GOOD, GOOD * 0.4, GOOD * torch.tensor([[0.0], [1], [1]]), GOOD.bfloat16())
    _, found = fallback.eager_maps(Says(maps), IDS)
    assert found["encoder"] == maps


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("maps", "off", "why"),
    [
        (GOOD.log().clamp(min=-5), 0, "rows are negative or sum to more than 1"),
        (GOOD * 2, 0, "rows are negative or sum to more than 1"),
        (GOOD[..., :2], 0, "are 3 × 2 where there are 3 × 3 tokens"),
        (GOOD[0], 0, r"are \[2, 3, 3\], not weights \[batch, head, query, key\]"),
        (
            GOOD,
            0.1,
            "computes something else when asked for its attention maps: logits is off by .*0.1",
        ),
    ],
)
def test_what_is_no_map_of_the_same_pass_is_refused(maps, off, why):
    with pytest.raises(attention_interface.AdapterError, match=why):
        fallback.eager_maps(Says((GOOD, maps), off), IDS)

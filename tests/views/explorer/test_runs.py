"""What an Explorer computes for a text under edits, and nothing more."""

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.adapters.families import tiny
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import Explorer


def test_edits_are_followed_by_the_logits_of_the_place_on_view_alone():
    """In a Hugging Face model all logits would take as long as several layers, so they are computed
    once, when another position is selected."""
    network = tiny("llama")
    words = [f"w{i}" for i in range(network.config.vocab_size - 5)]
    model = tl.TextModel(network, WordTokenizer.train(" ".join(words)), "tiny")
    view = Explorer(model, " ".join(words[:9]))
    computed = []
    network.get_output_embeddings().register_forward_hook(
        lambda _module, _args, out: computed.append(out.shape[1])
    )
    for edits in ([tl.ablate(0, 1)], [tl.ablate(0, 1), tl.ablate(1, 0)]):
        computed.clear()
        view.edits = edits
        assert set(computed) <= {1}
        whole = 0
        for position in (8, 3, 0):
            computed.clear()
            view.position = position
            assert set(computed) <= {1, 9}
            whole += computed.count(9)
            with torch.no_grad(), tl.edit(network, *edits):
                logits = network(model.encode(" ".join(words[:9]))[None]).logits
            wanted = logits[0, position].double().softmax(-1)
            for row in view.predictions:
                assert row.after == pytest.approx(float(wanted[row.id]), abs=1e-6)
        assert whole <= 1


def test_value_norms_of_edited_maps_are_made_when_weights_count_by_them():
    network = tiny("llama")
    words = [f"w{i}" for i in range(network.config.vocab_size - 5)]
    view = Explorer(
        tl.TextModel(network, WordTokenizer.train(" ".join(words)), "tiny"), " ".join(words[:9])
    )
    view.edits = [tl.ablate(0, 1)]
    assert view._norms and view._after_maps and not view._after_norms
    wanted = view.session.after.data.value_norms("decoder", 1)
    _, (_, norms) = view._answer({"type": "block", "name": "after/decoder/1/2"})
    assert np.allclose(np.frombuffer(norms, "<f4"), wanted[2])
    state = view._page_state()  # a page has nobody to ask
    assert len(state["_after_norms"]) == len(view._norms)
    view._options = {"weights": "value"}
    view.edits = [tl.ablate(0, 2)]
    found = np.frombuffer(view._after_norms, "<f4").reshape(2, -1, 9)
    assert np.allclose(found[1], view.session.after.data.value_norms("decoder", 1))


def test_what_is_known_of_a_head_is_summed_up_once():
    network = tiny("llama")
    words = [f"w{i}" for i in range(network.config.vocab_size - 5)]
    view = Explorer(
        tl.TextModel(network, WordTokenizer.train(" ".join(words)), "tiny"), " ".join(words[:9])
    )
    view.effect_of(0, 1)
    first = view.session.effects.known(view.session.reading, 8)["decoder/0/1"]
    assert view.session.effects.known(view.session.reading, 8)["decoder/0/1"] is first
    view.text = " ".join(words[1:9])
    view.effect_of(0, 1)
    assert (
        view.session.effects.known(view.session.reading, 7)["decoder/0/1"]["sentence"]
        != first["sentence"]
    )

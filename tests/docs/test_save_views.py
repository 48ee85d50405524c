"""What a lesson's view contains as a page of the book."""

import torch

import transformer_lab as tl
from docs import save_views
from tests.factories import small
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import Explorer

WORDS = "the cat sat on the mat"


def test_where_the_model_stays_the_page_holds_what_each_head_does(tmp_path, monkeypatch):
    """The book's readers have no kernel, and can switch heads off all the same."""
    words = WordTokenizer.train(WORDS)
    torch.manual_seed(0)
    travels, stays = (
        tl.TextModel(small("decoder", vocab_size=words.vocab_size), words, name)
        for name in ("travels", "stays")
    )
    stays.model.register_forward_hook(lambda *_: None)
    views = {model.name: Explorer(model, WORDS) for model in (travels, stays)}
    monkeypatch.setattr(save_views, "_instances", views)
    save_views.save_views(str(tmp_path), {})
    pages = {name: (tmp_path / f"{name}.html").read_text("utf-8") for name in views}
    heads = travels.model.config.n_layers * travels.model.config.n_heads
    assert 'data-block="model"' in pages["travels"] and 'data-block="model"' not in pages["stays"]
    assert pages["stays"].count('data-block="effect/') == heads
    assert 'data-block="effect/' not in pages["travels"]  # its engine computes them
    assert "has hooks, which no page can run" in pages["stays"]

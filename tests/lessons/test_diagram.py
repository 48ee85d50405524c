"""The architecture diagram: one function draws it, and every lesson shows it."""

import re
from xml.etree import ElementTree

import nbformat
import pytest

from docs.make_diagrams import CELL, NOTEBOOKS, image, lessons, name_of
from transformer_lab.config import MODEL_KINDS, ModelConfig
from transformer_lab.lessons.diagram import architecture, catalogue
from transformer_lab.lessons.pictures import DARK, LIGHT
from transformer_lab.positions import scheme

SVG = "{http://www.w3.org/2000/svg}"
LANGUAGES = sorted(catalogue())
COMMON = {"tokens", "embeddings", "positions", "residual", "block", "norm", "attention", "heads"}
COMMON |= {"scores", "feed-forward", "unembedding", "probabilities", "loss"}
PARTS = {
    "encoder": COMMON | {"encoder", "projections", "mask", "output"},
    "decoder": COMMON | {"decoder", "projections", "mask", "output", "cache", "generation"},
    "encoder-decoder": COMMON | {"encoder", "decoder", "cross-attention", "generation"},
}


def highlighted(svg):
    """The parts of each highlighted group."""
    groups = ElementTree.fromstring(svg).iter(f"{SVG}g")
    return [group.get("data-part").split() for group in groups if group.get("class") == "on"]


def words_of(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_every_part_is_drawn_highlighted_alone_and_named_in_the_alt_text(kind):
    plain = architecture(kind=kind)
    assert set(plain.parts) == PARTS[kind]
    assert highlighted(plain.svg()) == []
    assert "Nothing is highlighted" in plain.alt
    for part in plain.parts:
        drawing = architecture(part, kind=kind)
        groups = highlighted(drawing.svg())
        assert groups and all(part in group for group in groups), part
        assert f"Highlighted: {catalogue()['en']['parts'][part]}" in drawing.alt
        assert words_of(drawing.svg()) == words_of(plain.svg())
    assert set().union(*PARTS.values()) == set(catalogue()["en"]["parts"])


def test_every_word_is_there_in_every_language():
    def keys(words):
        return {
            (key, inner, *re.findall(r"\{\w+\}", text))
            for key, value in words.items()
            for inner, text in (value.items() if isinstance(value, dict) else [("", value)])
        }

    english = catalogue()["en"]
    for language in LANGUAGES:
        assert keys(catalogue()[language]) == keys(english), language
    for kind in MODEL_KINDS:
        drawing = architecture("loss", kind=kind, language="de")
        assert "Hervorgehoben: Verlust" in drawing.alt
        assert {"Verlust", "Embedding", "Feed-Forward"} <= set(words_of(drawing.svg()))
        assert not {"loss", "embedding", "feed-forward", "positions"} & set(words_of(drawing.svg()))


def test_the_numbers_are_those_of_the_config():
    sizes = dict(vocab_size=90, n_layers=3, n_heads=6, n_kv_heads=2, d_model=96, n_ctx=64)
    drawing = architecture("cache", config=ModelConfig(**sizes, norm="rms", d_ff=200))
    words = words_of(drawing.svg())
    for shape in (
        "[batch, position, 96]",
        "[batch, 6, query, key]",
        "2 × [batch, 2, position, 16]",
        "[batch, position, 200]",
        "[batch, position, 90]",
        "block × 3",
        "6 heads",
        "RMSNorm",
        "rotary positions",
    ):
        assert shape in words
    assert "positions" not in words
    assert "KV cache (2 × batch × 2 × position × 16)" in drawing.alt
    assert "residual stream (batch × position × 96)" in drawing.alt


def test_the_drawing_follows_the_variants_of_the_config():
    def order(**options):
        drawing = architecture(config=ModelConfig(vocab_size=90, **options))
        return [re.sub("^layer norm$", "norm", words) for words in words_of(drawing.svg())]

    before, after = order(), order(norm_first=False)
    assert before.count("norm") == 3 and after.count("norm") == 2
    assert before.index("norm") < before.index("self-attention")
    assert after.index("norm") > after.index("self-attention")
    assert "feed-forward" not in order(attention_only=True)
    assert "loss" not in order(head=False)
    assert {"position bias", "rotary positions", "positions"} & set(
        order(positions=scheme("alibi"))
    ) == {"position bias"}
    none = architecture(config=ModelConfig(vocab_size=90, positions=scheme("none")))
    assert "positions" not in none.parts
    target = dict(kind="encoder-decoder", target_vocab_size=70, n_decoder_layers=2)
    assert {"[batch, position, 70]", "block × 4", "block × 2"} <= set(order(**target))


@pytest.mark.parametrize(
    ("path", "name", "drawing"), lessons(), ids=lambda value: getattr(value, "stem", "")
)
def test_every_lesson_shows_the_drawing_as_the_function_draws_it(path, name, drawing):
    """`python -m docs.make_diagrams` redraws it."""
    assert (NOTEBOOKS / "images" / name).read_text("utf-8") == drawing.svg()
    cells = {cell.id: cell.source for cell in nbformat.read(path, as_version=4).cells}
    assert image(path, name, drawing) in cells[CELL]


def test_no_drawing_is_left_over():
    shown = {name for _, name, _ in lessons()}
    assert {path.name for path in NOTEBOOKS.glob("images/architecture*.svg")} == shown
    assert name_of("01", "de") == "architecture-decoder-scores-de.svg"


def test_a_page_gets_its_colours_and_a_notebook_both_drawings():
    drawing = architecture("heads", kind="decoder")
    assert "prefers-color-scheme:dark" in drawing.svg()
    for theme, other in ((LIGHT, DARK), (DARK, LIGHT)):
        assert theme.page in drawing.svg(theme) and other.page not in drawing.svg(theme)
    bundle = drawing._repr_mimebundle_()
    assert bundle["text/html"].count(f'alt="{drawing.alt}"') == 2
    assert bundle["text/plain"] == f"[picture: {drawing.alt}]"


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        (
            "head",
            {},
            "part is not in the drawing of this encoder-decoder: 'head'; did you mean 'heads'",
        ),
        ("cross-attention", {"kind": "decoder"}, "this decoder: 'cross-attention'; did you mean"),
        ("cache", {"kind": "encoder"}, "known: tokens, embeddings, positions, residual, norm"),
        (3, {}, "part must be a name or None, got 3"),
        (
            "loss",
            {"kind": "rnn"},
            "kind must be one of decoder, encoder, encoder-decoder, got 'rnn'",
        ),
        ("loss", {"language": "fr"}, "language must be one of en, de, got 'fr'"),
        (
            "loss",
            {"kind": "encoder", "config": ModelConfig(vocab_size=9)},
            "kind must be that of config, 'decoder', got 'encoder'; leave it out",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(part, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        architecture(part, **options)

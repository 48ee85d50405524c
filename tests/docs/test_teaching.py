"""What the teacher's documents refer to exists, and what they compute is right."""

import itertools
import math
import re
import shlex
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
import torch
import yaml

from docs import make_practical, make_questions, make_slides
from docs.make_questions import questions_in
from transformer_lab.cli import main
from transformer_lab.lessons.graders import exercise_names, find, variable_exercises
from transformer_lab.lessons.listing import lesson_paths, number_of

ROOT = Path(__file__).parents[2]
GUIDE, QUESTIONS, EXAMS, ANSWERS, OBJECTIVES = (
    (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    for name in ("teaching", "questions", "exams", "answers", "objectives")
)
CHECKS = re.findall(r"<!-- check: (.*?) -->", QUESTIONS + ANSWERS)
LESSONS = {
    number_of(path): {cell.id for cell in nbformat.read(path, as_version=4).cells}
    for path in lesson_paths(ROOT / "notebooks")
}


@pytest.mark.parametrize("text", [GUIDE, QUESTIONS, ANSWERS], ids=["guide", "bank", "answers"])
def test_every_cell_that_is_named_exists(text):
    named = re.findall(r"`(\d\d[a-z]?)#([a-z0-9-]+)`", text)
    assert len(named) >= 20
    missing = [f"{lesson}#{cell}" for lesson, cell in named if cell not in LESSONS.get(lesson, ())]
    assert missing == []


def test_both_plans_hold_every_lesson():
    six, twelve = GUIDE.split("## Twelve weeks")
    for plan in (six.split("## Six weeks")[1], twelve.split("## Misconceptions")[0]):
        for lesson in LESSONS:
            assert re.search(rf"\b{lesson}\b", plan), lesson


def test_the_links_of_the_guide_lead_somewhere():
    anchors = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in GUIDE.splitlines()
        if line.startswith("#")
    }
    links = re.findall(r"\]\(#([^)]+)\)", GUIDE)
    assert links
    assert set(links) <= anchors


def test_the_bank_asks_of_every_lesson_and_shows_each_answer():
    sections = re.split(r"^## (\d\d[a-z]?) · ", QUESTIONS, flags=re.MULTILINE)[1:]
    assert sections[::2] == list(LESSONS)
    total = 0
    for lesson, section in zip(sections[::2], sections[1::2], strict=True):
        questions = re.split(r"^\*\*(\d\d[a-z]?\.\d+)\*\* ", section, flags=re.MULTILINE)[1:]
        assert questions[::2] == [f"{lesson}.{k}" for k in range(1, len(questions) // 2 + 1)]
        assert len(questions) // 2 >= 4, lesson
        for question in questions[1::2]:
            asked, answer = question.split("<details><summary>Answer</summary>")
            assert asked[:3] in ("●○○", "●●○", "●●●"), asked
            assert re.search(rf"\*Shown\s+in\*\s+`{lesson}#", answer), asked
        total += len(questions) // 2
    assert total >= 80
    assert f"{total} questions" in QUESTIONS


def test_the_bank_can_be_read_back_from_moodles_file(tmp_path):
    assert make_questions.main(["gift", str(tmp_path / "bank.txt")]) == 0
    text = (tmp_path / "bank.txt").read_text("utf-8")
    wanted = list(questions_in(QUESTIONS))
    assert text.count("$CATEGORY: Transformer Lab/") == len(LESSONS)
    read = re.findall(r"^::(.*?)::\[markdown\](.*?) \{\n####(.*?)\n\}\n", text, flags=re.S | re.M)

    def plain(text):
        return re.sub(r"\\(.)", r"\1", text.replace(r"\n", "\n"))

    assert [(plain(a), plain(b)) for _, a, b in read] == [(q.text, q.answer) for q in wanted]
    assert [plain(name).split()[0] for name, *_ in read] == [q.number for q in wanted]
    assert all("\n\n" not in part for entry in read for part in entry)  # it would end the question


def test_the_bank_can_be_read_back_from_a_qti_package(tmp_path):
    assert make_questions.main(["qti", str(tmp_path / "bank.zip"), "01", "05"]) == 0
    wanted = [q for q in questions_in(QUESTIONS) if q.number.split(".")[0] in ("01", "05")]
    with zipfile.ZipFile(tmp_path / "bank.zip") as file:
        files = {name: ElementTree.fromstring(file.read(name)) for name in file.namelist()}
    listed = [f.get("href") for f in files.pop("imsmanifest.xml").iterfind(".//{*}file")]
    assert listed == list(files) and len(files) == len(wanted)
    for question, item in zip(wanted, files.values(), strict=True):
        body = item.find("{*}itemBody")
        asked, rubric = ("".join(body.find(at).itertext()) for at in ("{*}div", "{*}rubricBlock"))
        words = re.findall(r"\w{4,}", question.text), re.findall(r"\w{4,}", question.answer)
        assert (re.findall(r"\w{4,}", asked), re.findall(r"\w{4,}", rubric)) == words
        assert body.find("{*}extendedTextInteraction") is not None


@pytest.mark.badinput
def test_a_damaged_entry_of_the_bank_is_named_and_the_rest_is_written(
    tmp_path, capsys, monkeypatch
):
    bank = tmp_path / "questions.md"
    answer = "\n\n<details><summary>Answer</summary>\n\nYes.\n\n</details>\n\n"
    entries = (
        "**01.1** ●○○ Is it?",
        "**01.2** Is it?",
        "**01.1** ●●● Again?",
        "**1** ●○○ Why?",
        "**O1.6** ●○○ Oh?",
        "**01.4** ●○○ A <br> tag?",
        "**01.5** ●○○ Gr\xfc\xdfe?",
    )
    text = f"## 01 · A\n\n{answer.join(entries)}{answer}**01.3** ●○○ No answer?\n"
    bank.write_bytes(text.encode().replace("\xfc\xdf".encode(), b"\xfc\xdf"))
    monkeypatch.setattr(make_questions, "BANK", bank)
    assert make_questions.main(["gift", str(tmp_path / "out.txt")]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("1 questions: ") and "Is it?" in (tmp_path / "out.txt").read_text("utf-8")
    assert err.splitlines() == [
        "question '01.2' was left out: it has none of the levels ●○○, ●●○, ●●●",
        "question '01.1' was left out: another question has this number",
        "question '1' was left out: its number is not like 04.2",
        "the text '**O1.6** ●○○ Oh? <de' was left out: it must begin a question, as **04.2** ●○○ does",
        "question '01.4' was left out: it is not XHTML; close every tag, as in <br/>, and delete control characters",
        "question '01.5' was left out: it is not in UTF-8; save the bank as UTF-8",
        "question '01.3' was left out: it has no answer",
    ]
    with pytest.raises(SystemExit, match="no questions on lesson 09; choose from 01"):
        make_questions.main(["gift", str(tmp_path / "out.txt"), "09"])


@pytest.mark.parametrize("check", CHECKS)
def test_what_an_answer_computes_is_so(check):
    assert eval(check, vars(math) | {"round": round})


def test_many_answers_are_computed():
    assert len(CHECKS) >= 40


def test_every_prediction_of_the_lessons_has_its_answer():
    for lesson, path in zip(LESSONS, lesson_paths(ROOT / "notebooks"), strict=True):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown" and "**Predict before you run" in cell.source:
                assert f"- `{lesson}#{cell.id}`: " in ANSWERS, f"{lesson}#{cell.id}"


def test_an_exam_is_forty_minutes_and_each_of_its_tasks_has_an_answer():
    mid, final = EXAMS.split("## Final")
    for letter, exam in (("M", mid), ("F", final)):
        points = re.findall(rf"^\*\*({letter}\d)\..*?\*\* \((\d+) points\)", exam, re.MULTILINE)
        assert [name for name, _ in points] == [f"{letter}{k + 1}" for k in range(len(points))]
        assert sum(int(n) for _, n in points) == 40
        tasks = re.split(rf"^\*\*{letter}\d\.", exam, flags=re.MULTILINE)[1:]
        for (name, n), task in zip(points, tasks, strict=True):
            parts = [int(k) for k in re.findall(r"\((\d)\)$", task, re.MULTILINE)]
            assert not parts or sum(parts) == int(n), (name, parts)
            assert f"**{name}.**" in ANSWERS


def test_the_table_of_objectives_holds_each_objective_exercise_and_exam_task_once():
    table = OBJECTIVES.split(":--|\n")[1].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    wanted = []
    for lesson, path in zip(LESSONS, lesson_paths(ROOT / "notebooks"), strict=True):
        header = nbformat.read(path, as_version=4).cells[1].source
        listed = re.search(r"\*\*You will be able to\*\* \| (.*?) \|\n", header)[1]
        wanted += [[lesson, objective] for objective in listed.split(" · ")]
    assert [row[:2] for row in rows] == wanted
    exercises = [f"{row[0]}/{name}" for row in rows for name in re.findall(r"`(\w+)`", row[2])]
    assert sorted(exercises) == sorted(exercise_names())
    tasks = re.split(r"^\*\*([MF]\d)\.", EXAMS, flags=re.MULTILINE)[1:]
    parts = [
        task + part
        for task, text in zip(tasks[::2], tasks[1::2], strict=True)
        for part in re.findall(r"^([a-d])\) ", text, re.MULTILINE) or [""]
    ]
    asked = [task for row in rows for task in row[3].split() if task != "practical"]
    assert sorted(asked) == sorted(parts)


def test_the_guide_lists_every_exercise_that_has_variants():
    rows = re.findall(r"^\| (\w+) `(\w+)` \| .+ \|$", GUIDE, re.MULTILINE)
    assert ["/".join(row) for row in rows] == sorted(variable_exercises())
    assert {len(find(*row).values) for row in rows} == {3}  # every third number is the same


def test_the_recipes_for_ci_services_run_commands_that_exist():
    github, gitlab = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL))
    steps = [step["run"] for step in github["jobs"]["grade"]["steps"] if "run" in step]
    for script in (steps, gitlab["grade"]["script"]):
        assert 'pip install "$(ls *.whl)[course]"' in script
        (line,) = (line for line in script if line.startswith("transformer-lab "))
        words = shlex.split(line.replace("$(nproc)", "2"))[1:]
        command = main.commands[words[0]].make_context("grade", [str(ROOT), *words[2:]])
        assert command.params["jobs"] == 2


def test_the_slides_have_what_the_guide_and_the_answers_say_as_notes():
    names = {f"{lesson}#{cell}" for lesson, cells in LESSONS.items() for cell in cells}
    notes = make_slides.notes()
    assert set(notes) <= names
    for text in (ANSWERS, GUIDE.split("## Misconceptions")[1].split("\n## ")[0]):
        about = re.findall(r"^(?:- |\| “.*” \| )`(\d\w+#[\w-]+)`", text, flags=re.M)
        assert len(about) > 40 and set(about) <= set(notes)
    notebook = nbformat.read(ROOT / "notebooks" / "01_attention_by_hand.ipynb", as_version=4)
    make_slides.add_notes(notebook, "01")
    below = {a.id: b for a, b in itertools.pairwise(notebook.cells)}
    note = below["scores-text"]
    assert note.metadata.slideshow.slide_type == "notes" and "2 · 2 = 4" in note.source


# ---------------------------------------------------------------- the practical exam


def logits(names, ids):
    with torch.no_grad():
        return names["model"](ids)


def changed(names, at, position):
    """Whether a position's logits change with the letter at another position."""
    ids = names["batch"](1)
    other = ids.clone()
    other[0, at] = ids[0, at] % (names["V"] - 1) + 1
    return not torch.allclose(logits(names, ids)[0, position], logits(names, other)[0, position])


def swapped(names):
    """Whether the order of a word's letters changes the prediction after it."""
    n = names["LENGTH"]
    ids = names["batch"](1)[:, : n + 1]
    ids[0, :2] = torch.tensor([1, 2])
    other = torch.cat([ids[:, :2].flip(1), ids[:, 2:]], dim=1)
    return not torch.allclose(logits(names, ids)[0, -1], logits(names, other)[0, -1], atol=1e-4)


def copied(names):
    ids = names["batch"](50)
    return bool((logits(names, ids[:, :-1]).argmax(-1) == ids[:, :-1])[:, names["LENGTH"] :].all())


def row_sums(names):
    logits(names, names["batch"](1))
    return names["model"].blocks[0].attention.pattern.sum(-1)


SHOWN = {  # how students can measure each mistake, by the key; False for the correct program
    ".flatten()": copied,
    ".tril(-1)": lambda names: changed(names, 3, 2),
    "zeros_like": lambda names: not swapped(names),
    ".softmax(-2)": lambda names: not torch.allclose(row_sums(names), torch.ones(1)),
    "[Block(": lambda names: len(list(names["model"].parameters())) < 8,
    "z.reshape": lambda names: changed(names, 1, 0),
    "100 * min": lambda names: names["loss"] > 1,
}


def trained(mistake):
    names = {"__name__": "practical"}
    for cell in make_practical.cells_of(mistake, "abcdefgh", 5, 0, 150)[:-1]:
        exec(cell, names)
    return names


def test_each_mistake_of_the_practical_exam_can_be_found_and_only_there():
    good = trained(None)
    assert good["right"] > make_practical.ENOUGH
    for mistake in make_practical.MISTAKES:
        (shown,) = (
            shown
            for part, shown in SHOWN.items()
            if part in mistake.wrong and (part != ".flatten()" or mistake.wrong.startswith("ids"))
        )
        bad = trained(mistake)
        assert bad["right"] < 0.8 and shown(bad) and not shown(good), mistake.wrong


def test_the_exam_is_written_with_its_key(tmp_path):
    make_practical.write(tmp_path, seed=3, count=2, steps=5)
    first, second = (nbformat.read(tmp_path / "students" / f"{n}.ipynb", 4) for n in (1, 2))
    key = (tmp_path / "key.md").read_text("utf-8")
    for notebook in (first, second):
        text = "\n".join(cell.source for cell in notebook.cells)
        (mistake,) = (m for m in make_practical.MISTAKES if m.wrong in text and m.right not in text)
        assert f"- {mistake.wrong}\n+ {mistake.right}" in key and mistake.cause not in text

"""Write a practical exam: five notebooks that each hold one mistake, and the key.

    python -m docs.make_practical FOLDER [--seed N]

Every notebook is `examples/minimal.py`, a decoder that learns to write words backwards, with one
line changed: it runs without an error and writes hardly a word right. Another seed draws other
mistakes, other letters and another length, for a second group. FOLDER/students has the notebooks
and FOLDER/key.md the answers, with numbers measured while it was written.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import torch

from transformer_lab.files.paths import check_folder

SOURCE = Path(__file__).parents[1] / "examples" / "minimal.py"
LETTERS = "abcdefghijklmnop"
STEPS = 300
ENOUGH = 0.9  # of the words that a repaired notebook must write right


@dataclass(frozen=True)
class Mistake:
    """A line of the program, the wrong one that replaces it, and what a student should find."""

    right: str
    wrong: str
    cause: str
    measure: str


MISTAKES = (
    Mistake(
        "ids[:, LENGTH + 1 :].flatten()",
        "ids[:, LENGTH:-1].flatten()",
        "The targets are the tokens that the model is reading, not those that come next. Copying its "
        "input is all it learns, so the loss is low and the writing wrong.",
        "The model's most likely token is the last token of its input, for every text.",
    ),
    Mistake(
        ".triu(1)",
        ".tril(-1)",
        "The mask hides the past instead of the future. In training a position reads its target from "
        "the input; only the last position cannot, which is the loss that remains.",
        "The pattern has its weights on and above the diagonal; or the loss at each position: zero, but "
        "chance at the last.",
    ),
    Mistake(
        "self.position(torch.arange(ids.shape[1]))",
        "self.position(torch.zeros_like(ids))",
        "Every position gets the same position vector. The model knows which letters it has read, not "
        "in which order.",
        "Swapping two letters of the word changes no logit at “|”.",
    ),
    Mistake(
        ".softmax(-1)",
        ".softmax(-2)",
        "The softmax goes over the queries. Rows of the pattern do not sum to 1, and a weight depends on "
        "the queries that come later, which are missing when the model writes.",
        "The sum of a row of the pattern; or the logits of a position, which change when a letter is "
        "appended.",
    ),
    Mistake(
        "nn.ModuleList(Block(d_model, n_heads) for _ in range(n_layers))",
        "[Block(d_model, n_heads) for _ in range(n_layers)]",
        "A Python list hides the blocks from `parameters()`, so the optimizer never changes them: only "
        "the embeddings and the head learn.",
        "The number of parameters; or a weight of a block before and after training.",
    ),
    Mistake(
        "z.transpose(1, 2).flatten(2)",
        "z.reshape(x.shape)",
        "The heads are merged without moving their axis back, so numbers of several positions end up in "
        "one, those of later positions too.",
        "The logits of the first position change when the second letter does.",
    ),
    Mistake(
        "min((step + 1) / 20, 1 - step / steps)",
        "100 * min((step + 1) / 20, 1 - step / steps)",
        "The learning rate is a hundred times too large. The loss jumps while it is high, and little is "
        "learned before it has fallen.",
        "The loss of single steps: it rises while the learning rate does.",
    ),
)
TASK = """# Practical exam, notebook {number} of {count}

This program trains a decoder to write words backwards: after `{word}|` it should write `{drow}`. It runs
without an error, but one line is wrong, and it writes {share} of new words right. With the right line it
writes {good}. You have 15 minutes; documentation is allowed.

a) Print something that narrows the mistake down, and write what you conclude from it. (3 points)
b) Repair the line. The last cell then passes. (3)
c) Explain in two sentences what the mistake did, and why the loss looks as it does. (2)"""
WRITING = '''@torch.no_grad()
def written_right(model, n=500):
    """The fraction of new words that the model writes backwards, letter by letter."""
    test = batch(n)
    ids = test[:, : LENGTH + 1]
    for _ in range(LENGTH):
        ids = torch.cat([ids, model(ids)[:, -1:].argmax(-1)], dim=1)
    return (ids == test).all(1).float().mean().item()


torch.manual_seed({seed})
model = Decoder()
loss = train(model, {steps})
right = written_right(model)
print(f"loss {{loss:.3f}} (chance: {{math.log(V - 1):.3f}}); {{right:.0%}} of the words are right")'''
PASSED = f'assert right > {ENOUGH}, f"only {{right:.0%}} of the words are right"'


def cells_of(
    mistake: Mistake | None, letters: str, length: int, seed: int, steps: int
) -> list[str]:
    """The code of a notebook; None: without a mistake."""
    source = SOURCE.read_text("utf-8").partition('"""\n\n')[2]
    source = re.sub(r'LETTERS = ".*"', f'LETTERS = "{letters}"', source)
    source = re.sub(r"LENGTH = \d+", f"LENGTH = {length}", source)
    if mistake is not None:
        if source.count(mistake.right) != 1:
            raise ValueError(f"{SOURCE.name} must hold {mistake.right!r} once")
        source = source.replace(mistake.right, mistake.wrong)
    start, model, training, *_ = re.split(r"# -{10,} .*\n", source)
    parts = [start, *re.split(r"\n(?=class )", model), training]
    writing = WRITING.format(seed=seed, steps=steps)
    return [part.strip() for part in parts if part.strip()] + [writing, PASSED]


def result_of(cells: Sequence[str]) -> tuple[float, float]:
    """The loss of a notebook's model, and the fraction of words that it writes right."""
    names: dict[str, Any] = {"__name__": "practical", "print": lambda *_: None}
    for cell in cells:
        if cell != PASSED:
            exec(compile(cell, SOURCE.name, "exec"), names)
    return names["loss"], names["right"]


def write(folder: Path, seed: int, count: int = 5, steps: int = STEPS) -> None:
    """Write the notebooks and the key."""
    draw = random.Random(seed)
    letters = "".join(sorted(draw.sample(LETTERS, 8)))
    length = draw.choice((4, 5, 6))
    about = (letters, length, seed, steps)
    chosen = draw.sample(MISTAKES, count)
    good = result_of(cells_of(None, *about))
    students = folder / "students"
    students.mkdir(parents=True, exist_ok=True)
    key = [f"# Key of the practical exam, seed {seed}", "", "8 points a notebook."]
    key += [f"Without a mistake: loss {good[0]:.3f}, {good[1]:.0%} of the words right."]
    for number, mistake in enumerate(chosen, 1):
        cells = cells_of(mistake, *about)
        loss, right = result_of(cells)
        word = "".join(draw.choices(letters, k=length))
        task = TASK.format(
            number=number,
            count=count,
            word=word,
            drow=word[::-1],
            share=f"{right:.0%}",
            good=f"{good[1]:.0%}",
        )
        _notebook(task, cells, students / f"{number}.ipynb")
        key += ["", f"## Notebook {number}", ""]
        key += [f"Loss {loss:.3f}, {right:.0%} of the words right.", ""]
        key += ["```diff", f"- {mistake.wrong}", f"+ {mistake.right}", "```", ""]
        key += [mistake.cause, "", f"A measurement that shows it: {mistake.measure}"]
    (folder / "key.md").write_text("\n".join(key) + "\n", "utf-8")


def _notebook(task: str, cells: Sequence[str], path: Path) -> None:
    made = nbformat.v4.new_notebook()
    made.metadata.kernelspec = dict(name="python3", display_name="Python 3", language="python")
    text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    *program, check = [code(cell) for cell in cells]
    made.cells = [text(task), *program, text("**a)** and **c)**"), code(""), check]
    for number, cell in enumerate(made.cells):
        cell.id = f"cell-{number}"
    nbformat.write(made, path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make_practical", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="draws mistakes, letters and length")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    folder = check_folder("FOLDER", options.folder)
    write(folder, options.seed)
    print(f"Wrote five notebooks to {folder / 'students'} and {folder / 'key.md'}")


if __name__ == "__main__":
    main()

"""The pages of the book that are not lessons: the front page with a live model, and the playground."""

from __future__ import annotations

import html
import json
from pathlib import Path

import transformer_lab as tl
from docs.courses import COURSES
from transformer_lab.views.learning.page import learning_page
from transformer_lab.views.pages.export import write_page

MODELS = Path(__file__).parent / "playground"
PAGES = "pages"  # the folder of the site with the pages that frames show

FRONT_TEXT = 'The method "format()" takes a list; the method "'
TRAIN = """Here a model learns while you watch, in this page: press **Train**, and see what each head attends to
while the loss falls. Meanwhile, type another text, switch a head off, or take another seed and see
whether the same head takes the same role."""
MODEL = """One forward pass of a trained model, with its real numbers: press **Play**. Each line is a token,
curves are what attention moves between tokens, and the right edge is what the model would predict if
it stopped at that layer."""
FRONT = """The same model expects the word `format`. Which of its 16 heads does that depend on? Switch one off, then
try a text of your own."""

# name -> (title, its task, what to try, the initial text)
PLAY = {
    "reverse": (
        "Reverse",
        "write the letters backwards",
        "Type letters; each output letter attends to the same letter of the input, in mirror order.",
        "t r a n s f o r m",
    ),
    "sort": (
        "Sort",
        "put eight numbers in order",
        "Choose → and press Continue text: each number attends to the next larger one.",
        "17 3 42 8 25 11 49 30 →",
    ),
    "number_words": (
        "Number words",
        "translate English numbers into German",
        "German puts the units before the tens, so the pattern crosses.",
        "three thousand five hundred and seventy seven",
    ),
    "induction": (
        "Induction",
        "continue numbers as they continued before",
        "Heads 0 and 1 of layer 0 attend one position back. Switch both off and layer 1 fails; switch off heads 2 and 3 and nothing changes.",
        "",
    ),
    "stories": (
        "Stories",
        "answer a question about a story",
        "Which heads attend to the sentence with the answer? Change that sentence, and ask again.",
        "Listen Chen now holds the violin . Dilek now holds the kettle . Dilek returns to the garden . Chen heads for the studio . Question Who has the kettle",
    ),
    "reports": (
        "Match reports",
        "summarise a report in one line",
        "Cross-attention copies teams, goals and the first scorer; see which head copies what.",
        "",
    ),
}


def window(src: str, title: str, height: int, name: str = "") -> str:
    """HTML of a frame that shows a page of the site, and grows to its height (frames.js)."""
    named = f' name="{name}"' if name else ""
    return (
        f'<div class="tl-frame tl-wide"><iframe{named} src="{html.escape(src, quote=True)}" '
        f'title="{html.escape(title, quote=True)}" sandbox="allow-scripts allow-downloads" '
        f'style="width:100%;height:{height}px;border:0"></iframe></div>'
    )


def raw(text: str) -> str:
    """HTML in a Markdown page."""
    return f"```{{raw}} html\n{text}\n```\n"


def front() -> str:
    """The live part of the front page, in Markdown."""
    frames = (
        ("Watch a head form", TRAIN, "train", "A model that learns here", 900),
        ("Watch a model at work", MODEL, "model", "A forward pass of the shipped model", 900),
        ("Switch a head off", FRONT, "shipped", "Explorer of the shipped model", 900),
    )
    return "\n".join(
        f"## {heading}\n\n{words}\n\n{raw(window(f'{PAGES}/{name}.html', title, height))}"
        for heading, words, name, title, height in frames
    )


def playground() -> str:
    """The playground, in Markdown."""
    told = json.loads((MODELS / "models.json").read_text("utf-8"))
    links, words, rows = [], [], []
    for name, (title, does, tries, _) in PLAY.items():
        one = told["models"][name]
        [(what, score)] = one["score"].items()
        links.append(f'<a href="{PAGES}/{name}.html" target="tl-playground">{title}</a>')
        words.append(f"<p><b>{title}:</b> {does}. {tries}</p>")
        rows.append(
            f"| {title} | {one['parameters']:,} | {score:.1%} {what} | {one['recipe']} | {one['seed']} "
            f"| {one['cpu_seconds']:.0f} |"
        )
    first = next(iter(PLAY))
    table = "\n".join(rows)
    return f"""---
hide-toc: true
---

# Playground

Six small models, one per task, each running inside its page: type an input, see the predictions and
what every head attends to, and switch heads off. Nothing is sent anywhere.

{raw(f'<nav class="tl-tasks" aria-label="Tasks">{" ".join(links)}</nav><div class="tl-words">{"".join(words)}</div>' + window(f"{PAGES}/{first}.html", "A trained model", 900, "tl-playground"))}

## How they were made

`{told["command"]}` (torch {told["torch"]}) trains each model as its benchmark does. Scores are measured
on held-out texts, with the weights in 16 bits, as they are stored.

| task | weights | score | trained by | seed | CPU seconds |
|---|---|---|---|---|---|
{table}
"""


def starting_text(name: str, model: tl.TextModel) -> str:
    """The initial text for a model: the one in PLAY, or from a held-out example."""
    if text := PLAY[name][3]:
        return text
    data = (
        tl.datasets.induction(size=1, held_out=1)
        if name == "induction"
        else tl.datasets.reports(size=1, held_out=1)
    )
    if name == "reports":
        return data.held_out[0].source
    example = data.held_out[0]
    upto = example.predictable[len(example.predictable) // 2]
    return " ".join(model.tokenizer.tokens(example.tokens[: upto + 1]))


def write_pages(out: Path) -> None:
    """Write the pages that the frames of `front` and `playground` show into the site's folder."""
    folder = out / PAGES
    folder.mkdir()
    shipped = tl.TextModel.from_pretrained("shipped")
    view = tl.views.Explorer(shipped, FRONT_TEXT, layer=2, head=2, title="Shipped")
    view.save_html(folder / "shipped.html")
    model = tl.views.ModelView(shipped.trace(FRONT_TEXT), layer=2, head=2, title="Shipped")
    model.save_html(folder / "model.html", model=True)
    for name, (title, *_) in PLAY.items():
        model = tl.TextModel.from_pretrained(MODELS / name)
        view = tl.views.Explorer(model, starting_text(name, model), title=title)
        view.save_html(folder / f"{name}.html", model=True)
    write_page(folder / "train.html", learning_page([make() for make in COURSES], "Training"))

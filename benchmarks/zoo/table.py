"""docs/models.md and docs/models.json: what was found, for people and for tests."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from .building import TASKS
from .examine import IN_PART, NOT_BUILT, OWN_MAPS, READ_ONLY, REFUSED, VERDICTS, WRONG, Result
from .measures import LENGTH, LOGITS, MAPS, SHORT, TARGET
from .sizes import FEWER, HEAD, HEADS, WIDTH

TITLES = {
    "causal": "Causal language models", "masked": "Masked language models",
    "seq2seq": "Sequence to sequence", "image-text": "Images and text",
    "vision": "Images", "speech": "Speech",
}  # fmt: skip
INTROS = {
    "speech": "They are given sound; `SpectrogramView` draws the cross-attention of `whisper` over the spectrogram.",
}
LONGEST = 400  # letters of a reason in the table
PICTURE = "it reads a picture"


def write(folder: Path, results: list[Result]) -> None:
    """Both files, in a folder."""
    values = as_values(results)
    (folder / "models.json").write_text(as_json(values), "utf-8")
    (folder / "models.md").write_text(as_markdown(values), "utf-8")


def as_json(values: dict[str, Any]) -> str:
    """A line for each architecture, so that what changed can be read in a diff."""
    rows = [json.dumps(row, ensure_ascii=False) for row in values["models"]]
    versions = json.dumps(values["versions"])
    return f'{{"versions": {versions}, "models": [\n' + ",\n".join(rows) + "\n]}\n"


def as_values(results: list[Result]) -> dict[str, Any]:
    import torch
    import transformers

    rows = []
    for one in results:
        row: dict[str, Any] = {"name": one.name, "class": one.made, "verdict": one.verdict}
        row |= {"why": one.why} if one.why else {}
        row |= {"heads": one.kinds} if one.kinds else {}
        row |= {"picture": True} if any(note.startswith(PICTURE) for note in one.notes) else {}
        exact = [v for name, v in one.errors.items() if "float16" not in name]
        worst = max(exact, default=None)
        row |= {} if worst is None else {"off": worst}
        rows.append(row)
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    return {"versions": versions, "models": rows}


def as_markdown(values: dict[str, Any]) -> str:
    """The page, of what models.json holds."""
    versions, rows = values["versions"], values["models"]
    lines = [
        "# Hugging Face models",
        "",
        "Any Hugging Face model is exact, or refused with the reason. This page is what a sweep of the",
        "architectures that transformers registers found; `python -m benchmarks zoo` makes it.",
        "",
        *counts(rows),
        "",
        f"Measured with transformers {versions['transformers']} and torch {versions['torch']} on a CPU.",
        f"Each architecture is made tiny ({WIDTH} wide, {HEADS} heads of {HEAD}, {FEWER} for keys, two",
        "layers or as many as have one of every sort) with random weights, noise on every parameter,",
        f"reads {LENGTH} tokens ({TARGET} on the target's side, {SHORT} where it is padded), and is",
        "compared with itself: every map with its own eager one, logits with a plain pass, a head that",
        "is switched off and an edge that is cut with its own eager attention changed by hand, texts in",
        "a batch and with padding with the same text alone, a run patched into itself with the run,",
        f"settings with those before. A weight may be {MAPS:g} off, a logit {LOGITS:g} of the largest.",
        "In bfloat16 and float16 logits and most rows of the maps are held to eager attention in as many",
        "bits. Models of text and pictures read a picture among their tokens where one could be made for",
        "them, and their maps are over the tokens; the picture's side alone is traced as a model of images.",
        "",
        "- **exact**: maps, logits, edits, batches and padding agree, and pages are made.",
        f"- **{IN_PART}**: what is compared agrees; a note says what is not shown, or what",
        "  could not be compared.",
        f"- **{READ_ONLY}**: maps and logits agree; heads cannot be edited, and the sentence says why.",
        f"- **{OWN_MAPS}**: attention does not pass the seam; the model's own maps are shown, with a",
        "  note, and agree with it; heads cannot be edited.",
        "- **no attention**: there is none to look at, and the sentence says so.",
        f"- **{REFUSED}**: a sentence says why it cannot be shown.",
        f"- **{WRONG}**: something is shown and is not so, or fails with an error that is no sentence.",
        f"- **{NOT_BUILT}**: it could not be made tiny and random here; nothing is known.",
    ]
    for task in TASKS:
        mine = [row for row in rows if row["name"].startswith(task + "/")]
        if mine:
            intro = [INTROS[task], ""] if task in INTROS else []
            lines += ["", f"## {TITLES[task]}", "", *intro, *section(mine)]
    return "\n".join(lines) + "\n"


def counts(rows: list[dict[str, Any]]) -> list[str]:
    tasks = [task for task in TASKS if any(r["name"].startswith(task + "/") for r in rows)]
    lines = [
        f"| | {' | '.join(tasks)} | all |",
        f"|:--|{'--:|' * (len(tasks) + 1)}",
    ]
    count = Counter((r["name"].partition("/")[0], r["verdict"]) for r in rows)
    for verdict in VERDICTS:
        each = [count[task, verdict] for task in tasks]
        lines.append(f"| {verdict} | {' | '.join(map(str, each))} | {sum(each)} |")
    each = [sum(count[task, verdict] for verdict in VERDICTS) for task in tasks]
    return [*lines, f"| all | {' | '.join(map(str, each))} | {sum(each)} |"]


def section(rows: list[dict[str, Any]]) -> list[str]:
    """The exact ones in one line, a table of the others."""
    lines = []
    exact = [row for row in rows if row["verdict"] == VERDICTS[0]]
    with_picture = [row for row in exact if row.get("picture")]
    for title, some in (
        ("exact, with a picture", with_picture),
        ("exact, given text alone" if with_picture else "exact", [r for r in exact if r not in with_picture]),
    ):  # fmt: skip
        if some:
            lines += [f"**{title}** ({len(some)}): {', '.join(map(short, some))}.", ""]
    others = [row for row in rows if row["verdict"] != VERDICTS[0]]
    if others:
        lines += ["| model | verdict | why |", "|:--|:--|:--|"]
        order = sorted(others, key=lambda row: (VERDICTS.index(row["verdict"]), row["name"]))
        lines += [
            f"| {short(row)} | {row['verdict']} | {cell(row.get('why', ''))} |" for row in order
        ]
    return lines


def short(row: dict[str, Any]) -> str:
    return f"`{row['name'].partition('/')[2]}`"


def cell(text: str) -> str:
    text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return text.replace("|", "\\|").replace("<", "&lt;")

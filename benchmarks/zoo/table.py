"""Write the results of a sweep: docs/models.md for people, docs/models.json for tests."""

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
    "causal": "Causal language models",
    "masked": "Masked language models",
    "seq2seq": "Sequence to sequence",
    "image-text": "Images and text",
    "vision": "Images",
    "speech": "Speech",
}
INTROS = {
    "speech": "The input is audio; `SpectrogramView` draws the cross-attention of `whisper` over the spectrogram."
}
LONGEST = 400  # letters of a reason in the table
PICTURE = "it reads an image"


def write(folder: Path, results: list[Result]) -> None:
    """Write both files into a folder; whether each travels stays as it was."""
    values, before = as_values(results), {}
    if (folder / "models.json").exists():
        kept = json.loads((folder / "models.json").read_text("utf-8"))["models"]
        before = {row["name"]: row for row in kept}
    for row in values["models"]:
        row |= {k: v for k, v in before.get(row["name"], {}).items() if k in ("travels", "stays")}
    _write(folder, values)


def write_travel(folder: Path, found: dict[str, Result]) -> None:
    """Write to both files whether these architectures travel."""
    values = json.loads((folder / "models.json").read_text("utf-8"))
    for row in values["models"]:
        if (one := found.get(row["name"])) is not None:
            row.pop("stays", None)
            row |= {"travels": one.verdict} | ({"stays": one.why} if one.why else {})
    _write(folder, values)


def _write(folder: Path, values: dict[str, Any]) -> None:
    (folder / "models.json").write_text(as_json(values), "utf-8")
    (folder / "models.md").write_text(as_markdown(values), "utf-8")


def as_json(values: dict[str, Any]) -> str:
    """One line per architecture, so that a diff shows what changed."""
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
    """The page docs/models.md, from the contents of models.json."""
    versions, rows = values["versions"], values["models"]
    lines = [
        "# Hugging Face models",
        "",
        "A Hugging Face model is either shown exactly or refused with a reason. This page reports a sweep of the",
        "architectures that transformers registers; `python -m benchmarks zoo` generates it.",
        "",
        *counts(rows),
        "",
        f"Measured with transformers {versions['transformers']} and torch {versions['torch']} on a CPU.",
        f"Each architecture is built tiny: {WIDTH} wide, {HEADS} heads of {HEAD}, {FEWER} heads for keys and values, and two",
        "layers, or as many as it takes to have every type of layer. Its weights are random, with noise on every",
        f"parameter. It reads {LENGTH} tokens ({TARGET} in the target, {SHORT} where the text is padded). What we show of it is",
        "checked against what the model itself computes:",
        "",
        "- every attention map against the model's own eager attention, the plain implementation in transformers,",
        "  which computes every weight",
        "- the logits of a trace against those of a plain forward pass",
        "- an ablated head and a cut edge against the same change made by hand in the model's own eager attention",
        "- a text in a batch, or with padding, against the same text alone",
        "- a run patched into itself against the unpatched run",
        "- the attention settings after a trace against those before it",
        "",
        f"A weight may differ by {MAPS:g}, a logit by {LOGITS:g} of the largest logit. In bfloat16 and float16, logits and most",
        "rows of the maps are compared with eager attention in the same precision. A model of text and images also gets",
        "an image, wherever a suitable one could be generated; its maps then cover the image's tokens as well. Its image",
        "encoder can be traced separately, as an image model.",
        "",
        "- **exact**: maps, logits, edits, batches and padding agree, and its pages can be saved.",
        f"- **{IN_PART}**: everything that was compared agrees; a note says what is not shown, or what could not be",
        "  compared.",
        f"- **{READ_ONLY}**: maps and logits agree, but heads cannot be edited; a message says why.",
        f"- **{OWN_MAPS}**: attention does not go through the attention interface. The maps that the model itself",
        "  returns are shown, with a note, and they agree with it. Heads cannot be edited.",
        "- **no attention**: the model has no attention, and a message says so.",
        f"- **{REFUSED}**: the model cannot be shown, and a message says why.",
        f"- **{WRONG}**: something shown is false, or none of our messages explains a failure.",
        f"- **{NOT_BUILT}**: no tiny random version could be built here, so nothing is known.",
        "",
        "`save_html(path, model=True)` exports a model as a graph, which the page runs. `python -m benchmarks zoo",
        "--travel` checks each graph, in PyTorch and in the page's engine under node, against the model's own eager",
        f"attention: within {LOGITS:g} of the largest logit, for a short text and for one beyond every window, and under",
        "edits: each head off, and in each layer a head scaled, an edge cut, a head patched from another text and the MLP",
        "skipped. **any length**: the page reads any text; **fixed length**: texts of as many tokens as the graph was",
        "exported for. **its image size**: any image, prepared to the size that the model reads.",
        "",
        "What `from_pretrained` takes, and what works with weights that are quantized, in 16 bits or kept on a disk, is in",
        "[Loading a model](loading.md).",
    ]
    for task in TASKS:
        mine = [row for row in rows if row["name"].startswith(task + "/")]
        if mine:
            intro = [INTROS[task], ""] if task in INTROS else []
            lines += ["", f"## {TITLES[task]}", "", *intro, *section(mine), *travelling(mine)]
    return "\n".join(lines) + "\n"


def counts(rows: list[dict[str, Any]]) -> list[str]:
    tasks = [task for task in TASKS if any(r["name"].startswith(task + "/") for r in rows)]
    lines = [f"| | {' | '.join(tasks)} | all |", f"|:--|{'--:|' * (len(tasks) + 1)}"]
    count = Counter((r["name"].partition("/")[0], r["verdict"]) for r in rows)
    for verdict in VERDICTS:
        each = [count[task, verdict] for task in tasks]
        lines.append(f"| {verdict} | {' | '.join(map(str, each))} | {sum(each)} |")
    each = [sum(count[task, verdict] for verdict in VERDICTS) for task in tasks]
    return [*lines, f"| all | {' | '.join(map(str, each))} | {sum(each)} |"]


def section(rows: list[dict[str, Any]]) -> list[str]:
    """The exact architectures in one line, and a table of the others."""
    lines = []
    exact = [row for row in rows if row["verdict"] == VERDICTS[0]]
    with_picture = [row for row in exact if row.get("picture")]
    for title, some in (
        ("exact, with an image", with_picture),
        (
            "exact, with text only" if with_picture else "exact",
            [r for r in exact if r not in with_picture],
        ),
    ):
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


def travelling(rows: list[dict[str, Any]]) -> list[str]:
    """Which architectures travel in a page: names, and a table of those that do so in part or not."""
    tried = [row for row in rows if "travels" in row]
    if not tried:
        return []
    whole = [row for row in tried if row["travels"] in ("any length", "its image size")]
    at = whole[0]["travels"] if whole else "any length"
    lines = ["", f"**travels at {at}** ({len(whole)}): {', '.join(map(short, whole))}.", ""]
    others = [row for row in tried if row not in whole]
    if others:
        lines += ["| model | travels | why |", "|:--|:--|:--|"]
        order = sorted(others, key=lambda row: (row["travels"], row["name"]))
        lines += [
            f"| {short(row)} | {row['travels']} | {cell(row.get('stays', ''))} |" for row in order
        ]
    left = [row for row in rows if "travels" not in row]
    if left:
        lines += ["", f"Not tried yet ({len(left)}): {', '.join(map(short, left))}."]
    return lines


def short(row: dict[str, Any]) -> str:
    return f"`{row['name'].partition('/')[2]}`"


def cell(text: str) -> str:
    text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return text.replace("|", "\\|").replace("<", "&lt;")

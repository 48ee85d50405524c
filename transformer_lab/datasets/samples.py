"""Write a few examples of every generated dataset: ``python -m transformer_lab.datasets.samples``.

The files of ``data/samples`` come from here. The three whose names begin with ``your_`` are in
the formats that `pairs_file`, `labelled_file` and `questions_file` read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..files.paths import as_path
from .calendars import dates
from .everyday import everyday
from .little_stories import little_stories
from .match_reports import reports
from .numerals import number_words
from .questions import Story, stories
from .sentences import agreement
from .sequences import copy_task, induction, reverse, sort

N = 5


def sample_files() -> dict[str, str]:
    """Contents of the sample files by name."""
    small: Any = {"size": N, "held_out": N}
    made: dict[str, Callable[[], Any]] = {
        "number_words_de": lambda: number_words("de", **small),
        "number_words_fr": lambda: number_words("fr", **small),
        "number_words_es": lambda: number_words("es", **small),
        "everyday": lambda: everyday(tokenizer="word", **small),
        "dates": lambda: dates(**small),
        "copy_task": lambda: copy_task(**small),
        "reverse": lambda: reverse(**small),
        "sort": lambda: sort(**small),
        "induction": lambda: induction(
            length=17, vocab=15, held_out_lags=[6], segment=(4, 8), **small
        ),
        "agreement": lambda: agreement(labels=N, **small).unlabelled,
        "agreement_labelled": lambda: agreement(labels=N, **small).labelled,
        "stories_one_fact": lambda: stories(1, **small),
        "stories_two_facts": lambda: stories(2, **small),
        "little_stories": lambda: little_stories(tokenizer="word", **small),
        "reports": lambda: reports(**small),
    }
    data = {name: make() for name, make in made.items()}
    files = {f"{name}.jsonl": _jsonl(map(asdict, d.train)) for name, d in data.items()}
    labelled = data["agreement_labelled"]
    files["your_pairs.tsv"] = _tsv((p.source, p.target) for p in data["number_words_de"].train)
    files["your_labels.tsv"] = _tsv((s.text, labelled.labels[s.label]) for s in labelled.train)
    files["your_questions.jsonl"] = _jsonl(map(_asked, data["stories_one_fact"].train))
    return files


def write_samples(folder: str | Path = "data/samples") -> list[Path]:
    """Write the sample files into a folder; return their paths."""
    folder = as_path(folder, "folder")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in sample_files().items():
        path = folder / name
        path.write_text(text, encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


def _asked(story: Story) -> dict[str, str]:
    question = story.questions[0]
    context = story.text
    return {"question": question.text, "context": context, "answer": question.answer}


def _jsonl(records: Iterable[dict]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _tsv(rows: Iterable[tuple[str, ...]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


if __name__ == "__main__":
    for written in write_samples(*sys.argv[1:2]):
        print(written)

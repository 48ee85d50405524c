"""Train, score and save the models of the book's playground, each trained as in its benchmark.

    python -m docs.make_playground [NAME …]

Writes docs/playground/NAME/ and updates the named models in docs/playground/models.json: recipe, seed,
scores on held-out data, and checksums. Weights are stored, and scored, in 16 bits.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import transformer_lab as tl
from benchmarks import induction, number_words, reports, reverse, sort, stories
from transformer_lab.tokenizers import WordTokenizer

HERE = Path(__file__).parent / "playground"
SEED = 0


class Typed:
    """A dataset whose start and end tokens are replaced by words that can be typed."""

    def __init__(self, data: Any, words: dict[int, str]):
        self.data, self.words = data, words
        self.tokenizer = WordTokenizer((*data.tokenizer.vocabulary, *words.values()))
        self.vocab_size = self.tokenizer.vocab_size

    def batches(self, *given: Any, **options: Any) -> Any:
        stream = self.data.batches(*given, **options)
        return _Stream(lambda step: self.of(stream.batch(step)))

    def of(self, batch: Any) -> Any:
        tokens = batch.tokens.clone()
        for i, special in enumerate(self.words):
            tokens[batch.tokens == special] = self.data.vocab_size + i
        return replace(batch, tokens=tokens)


@dataclass(frozen=True)
class _Stream:
    batch: Callable[[int], Any]


@dataclass(frozen=True)
class Task:
    """make: data -> (model, clock). tests: data -> held-out batches that are scored."""

    data: Callable[[], Any]
    make: Callable[[Any], tuple]
    tests: Callable[[Any], list]
    recipe: str
    share: str = "texts entirely correct"
    score: Callable[..., float] = tl.exact_match


def sorting(**options: Any) -> Typed:
    data = tl.datasets.sort(**options)
    return Typed(data, {data.tokenizer.bos_id: "→"})


def _telling() -> Typed:
    data = tl.datasets.stories(facts=1, size=4000, held_out=400)
    return Typed(data, {data.tokenizer.bos_id: "Listen", data.tokenizer.eos_id: "Question"})


def _whole(data: Any) -> list:
    return data.epoch(250)


TASKS = {
    "reverse": Task(tl.datasets.reverse, lambda d: reverse.made(d, SEED), _whole, "reverse"),
    "sort": Task(
        sorting,
        lambda d: sort.made(d, SEED),
        lambda d: [d.of(batch) for batch in d.data.epoch(250, kind="decoder")],
        "sort",
    ),
    "number_words": Task(
        lambda: tl.datasets.number_words("de", seed=SEED),
        lambda d: number_words.made(d, SEED),
        _whole,
        "number_words",
    ),
    "induction": Task(
        tl.datasets.induction,
        lambda d: induction.made(d, SEED),
        _whole,
        "induction",
        "tokens correct, at distances never trained on",
        tl.accuracy,
    ),
    "stories": Task(
        _telling,
        lambda d: stories.made(d, SEED, 1),
        lambda d: [d.of(batch) for batch in stories.held_out(d.data, 1)],
        "stories",
        "answers correct",
    ),
    "reports": Task(tl.datasets.reports, lambda d: reports.made(d, SEED), _whole, "reports"),
}


def make(name: str, out: Path) -> dict[str, Any]:
    """Train, save and score one model; returns its entry for models.json."""
    task = TASKS[name]
    data = task.data()
    model, clock = task.make(data)
    folder = tl.TextModel(model, data.tokenizer, name).save(out / name, dtype="fp16")
    kept = tl.TextModel.from_pretrained(folder)
    score = task.score(kept.model, task.tests(data))
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {
        "recipe": f"benchmarks/{task.recipe}.py",
        "seed": SEED,
        "cpu_seconds": round(clock.cpu, 1),
        "parameters": sum(p.numel() for p in kept.model.parameters()),
        "score": {task.share: round(score, 4)},
        "sha256": {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files},
    }


def main(names: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(TASKS)}")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args(names)
    unknown = sorted(set(options.names) - set(TASKS))
    if unknown:
        parser.error(f"there is no task {', '.join(unknown)}; choose from {', '.join(TASKS)}")
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "models.json"
    known = json.loads(path.read_text("utf-8"))["models"] if path.is_file() else {}
    for name in options.names or TASKS:
        known[name] = make(name, options.out)
        print(
            f"{name}: {json.dumps(known[name]['score'])} in {known[name]['cpu_seconds']} s of CPU"
        )
        told = {
            "command": "python -m docs.make_playground",
            "torch": torch.__version__.partition("+")[0],
            "models": {n: known[n] for n in TASKS if n in known},
        }
        path.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""Sentences to pretrain on and sentences with labels: verb agreement, or a file of your own."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..arguments import Seed, checked
from ..files.paths import FileError
from ..tokenizers import Tokenizer, WordTokenizer
from .batches import Ragged, check_counts
from .corpora import make_tokenizer
from .examples import Dataset, Rows, hold_out
from .reading import MAX_LINE, read_table


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, optionally with a label and with known agreement.

    Positions count ``<s>`` as 0, as in the rows of a batch.

    Attributes:
        text: its words.
        label: index of its class in ``SentenceData.labels``; None if it has none.
        verb: position of the verb.
        subject: position of the noun that the verb agrees with, or should agree with.
        attractors: positions of the nouns between the two.
        attracted: whether an attractor differs from the subject in number.
    """

    text: str
    label: int | None = None
    verb: int | None = None
    subject: int | None = None
    attractors: tuple[int, ...] = ()
    attracted: bool = False


class SentenceData(Dataset[Sentence]):
    """Sentences for an encoder: tokens are ``<s> … </s>``.

    Without labels, targets are the tokens themselves, for ``.masked(tokenizer)`` to mask.
    With labels, targets are the classes [batch].

    Attributes:
        labels: names of the classes; empty if there are none.
    """

    kinds: ClassVar[tuple[str, ...]] = ("encoder",)

    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        train: Sequence[Sentence],
        held_out: Sequence[Sentence],
        labels: Sequence[str] = (),
    ):
        super().__init__(name, tokenizer, train, held_out)
        self.labels = tuple(labels)

    def _rows(self, examples: tuple[Sentence, ...], kind: str) -> Rows:
        bos, eos = self.tokenizer.bos_id, self.tokenizer.eos_id
        if bos is None or eos is None:
            raise ValueError(f"{self.tokenizer!r} has no bos_id and eos_id, which sentences need")
        tokens = Ragged.of([[bos, *self.tokenizer.encode(e.text), eos] for e in examples])
        if not self.labels:
            return Rows(examples, tokens, tokens)
        return Rows(examples, tokens, np.array([example.label for example in examples]))

    def _edges(self, example: Sentence, kind: str) -> Iterable[tuple[int, int]]:
        if example.verb is not None and example.subject is not None:
            yield example.verb, example.subject


@dataclass(frozen=True)
class Agreement:
    """Two datasets with one vocabulary: many sentences without labels, and a few with labels."""

    unlabelled: SentenceData
    labelled: SentenceData

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of both."""
        return self.unlabelled.tokenizer

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.unlabelled.vocab_size


NOUNS = ["key", "box", "shelf", "picture", "lamp", "clock"]
NOUNS += ["teacher", "doctor", "farmer", "baker", "sister", "horse"]
# Before attractors only: a model sees the number of a noun beside it, but must still attend to the
# subject itself.
POINTERS = (("this", "these"), ("that", "those"))
PLURALS = {"box": "boxes", "shelf": "shelves"}
ADJECTIVES = ["old", "small", "green", "quiet"]
LINKS = ["near", "behind", "beside", "above"]
VERBS = {"is": "are", "was": "were", "has": "have", "seems": "seem"}
ENDINGS = {
    "has": ("a long story", "a new place", "no name", "many friends"),
    None: ("lost", "ready", "very old", "rather quiet", "here again", "dusty", "known to all"),
}


@checked
def agreement(
    *,
    size: int = 20_000,
    held_out: int = 1000,
    labels: int = 64,
    attractors: Sequence[int] = (0, 1, 1, 2),
    seed: Seed = 0,
) -> Agreement:
    """Generate sentences about verb agreement: "the keys near this box are lost", not "is".

    Between subject and verb there are other nouns, attractors, of either number, so that the
    nearest noun misleads half of the time. There are many sentences without labels, all of them
    correct, and a few labelled "acceptable" or "unacceptable", half and half.

    Args:
        size: training sentences without labels.
        held_out: held-out sentences without labels, and as many labelled ones.
        labels: labelled training sentences.
        attractors: numbers of nouns in between to draw from; the labelled sentences have at least
            one.
        seed: generates the sentences.

    Returns:
        `Agreement`: ``.unlabelled`` and ``.labelled``. No held-out labelled sentence, nor its other
        form, is in the training data. The truth says that the verb attends to its subject.
    """
    check_counts(size=size, held_out=held_out, labels=labels)
    if not attractors or not all(0 <= n <= 4 for n in attractors) or not any(attractors):
        raise ValueError(
            f"attractors must be numbers from 0 to 4, not all 0, got {tuple(attractors)}"
        )
    rng = random.Random(seed)
    between = [n for n in attractors if n]
    made: dict[str, tuple[Sentence, Sentence]] = {}

    def draw(n: int, choices: Sequence[int]) -> list[tuple[Sentence, Sentence]]:
        start, misses = len(made), 0
        while len(made) < start + n:
            pair = _both_forms(rng, rng.choice(choices))
            misses = misses + 1 if made.setdefault(pair[0].text, pair) is not pair else 0
            if misses > 1000:
                raise ValueError(
                    f"size={size} is more than the grammar can generate; try size=20000"
                )
        return list(made.values())[start:]

    tests, few = _label(draw(held_out, between)), _label(draw(labels, between))
    rest = [right for right, _ in draw(held_out, attractors)]
    train = [right for right, _ in draw(size, attractors)]
    tokenizer = WordTokenizer.train(_every_word())
    names = ("unacceptable", "acceptable")
    return Agreement(
        SentenceData("agreement", tokenizer, train, rest),
        SentenceData("agreement with labels", tokenizer, few, tests, names),
    )


def _label(pairs: list[tuple[Sentence, Sentence]]) -> list[Sentence]:
    """Right and wrong forms alternately, labelled 1 and 0."""
    return [
        Sentence(s.text, 1 - i % 2, s.verb, s.subject, s.attractors, s.attracted)
        for i, s in enumerate(pair[i % 2] for i, pair in enumerate(pairs))
    ]


def _both_forms(rng: random.Random, n_attractors: int) -> tuple[Sentence, Sentence]:
    """A sentence with its verb in the right number and in the wrong one."""
    plural = rng.random() < 0.5
    words = _noun_phrase(rng, "the", plural)
    subject = len(words)
    attractors, attracted = [], False
    for _ in range(n_attractors):
        other = rng.random() < 0.5
        words += [rng.choice(LINKS), *_noun_phrase(rng, rng.choice(POINTERS)[other], other)]
        attractors.append(len(words))
        attracted |= other != plural
    verb = rng.choice(tuple(VERBS))
    ending = rng.choice(ENDINGS["has" if verb == "has" else None])
    forms = (VERBS[verb], verb) if plural else (verb, VERBS[verb])
    right, wrong = (
        Sentence(
            " ".join([*words, form, ending]),
            None,
            len(words) + 1,
            subject,
            tuple(attractors),
            attracted,
        )
        for form in forms
    )
    return right, wrong


def _noun_phrase(rng: random.Random, article: str, plural: bool) -> list[str]:
    noun = rng.choice(NOUNS)
    if plural:
        noun = PLURALS.get(noun, noun + "s")
    if rng.random() < 0.2:
        return [article, rng.choice(ADJECTIVES), noun]
    return [article, noun]


def _every_word() -> list[str]:
    plurals = [PLURALS.get(noun, noun + "s") for noun in NOUNS]
    endings = [ending for group in ENDINGS.values() for ending in group]
    verbs = [*VERBS, *VERBS.values()]
    pointers = itertools.chain(*POINTERS)
    return ["the", *pointers, *NOUNS, *plurals, *ADJECTIVES, *LINKS, *verbs, *endings]


@checked
def labelled_file(
    path: str | Path,
    labels: Sequence[str] | None = None,
    *,
    tokenizer: str | Tokenizer = "word",
    held_out: int | float = 0.1,
    seed: Seed = 0,
    max_line: int | None = MAX_LINE,
) -> SentenceData:
    """Your own labelled texts: a file of ``text <tab> label`` lines.

    Args:
        path: the file.
        labels: the allowed labels, in order; None for those in the file, sorted.
        tokenizer: "word", "char", "bpe" or a tokenizer, for example that of a pretrained model.
        held_out: how many texts are held out, or which fraction.
        seed: chooses which are held out.
        max_line: longest line allowed, in characters; None for no limit.

    Raises:
        FileError: if the file cannot be used, or a label is not one of `labels`.
    """
    rows = read_table(path, ("text", "label"), max_line=max_line)
    names = tuple(sorted({label for _, label in rows})) if labels is None else tuple(labels)
    number = {name: i for i, name in enumerate(names)}
    sentences: dict[Sentence, None] = {}
    for line, (text, label) in enumerate(rows, 1):
        if label not in number:
            raise FileError.at(
                path,
                f"the label must be one of {', '.join(names)}, got {label!r}; correct one of them",
                line,
            )
        sentences[Sentence(text, number[label])] = None
    if len(names) < 2:
        raise FileError.at(
            path, f"there is only one label, {', '.join(names)}; a classifier needs at least two"
        )
    train, rest = hold_out(
        list(sentences), held_out, seed=seed, key=lambda sentence: sentence.text, name=str(path)
    )
    made = make_tokenizer(tokenizer, [sentence.text for sentence in sentences])
    return SentenceData(str(path), made, train, rest, names)

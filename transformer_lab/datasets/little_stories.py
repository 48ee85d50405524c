"""Little stories in plain English, with who is meant by every name and pronoun."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

from ..arguments import Seed, checked
from ..tokenizers import Tokenizer
from .batches import Ragged, check_counts
from .corpora import make_tokenizer
from .examples import Dataset, Rows

PARTS = ("start", "wish", "obstacle", "help", "end")
TELLINGS = Path(__file__).with_suffix(".txt")

GENDERED = {
    "m": {"he": "he", "him": "him", "his": "his", "himself": "himself"},
    "f": {"he": "she", "him": "her", "his": "her", "himself": "herself"},
}
SPEECH = ("I", "me", "my", "you", "your", "yours", "we", "us", "they", "them", "their")
ADULT = {"f": ("woman", "young woman"), "m": ("man", "young man")}
CHILD = {"f": ("girl", "little girl"), "m": ("boy", "little boy")}
KIN = {
    "f": ("mother", "aunt", "grandmother", "sister"),
    "m": ("father", "uncle", "grandfather", "brother"),
}


@dataclass(frozen=True, slots=True)
class Person:
    """A person of a little story.

    Attributes:
        name: as it is in the text.
        gender: "f" or "m"; an invented name does not reveal it, the noun and the pronouns do.
        noun: what the story calls the person: "girl", "old man", "sister".
    """

    name: str
    gender: str
    noun: str


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in the text that means one person or several.

    Attributes:
        start, end: characters of the text; ``text[start:end]`` is the word or words.
        kind: "name", "noun" ("the girl", "his sister") or "pronoun" ("she", "I", "they").
        people: indices in `LittleStory.people` of those meant.
    """

    start: int
    end: int
    kind: str
    people: tuple[int, ...]


class Part(NamedTuple):
    """A part of a story, ``text[start:end]``; its name is one of `PARTS`."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LittleStory:
    """A story with its people, whom every name and pronoun means, and where each part is.

    Pronouns for things ("it") are not listed.
    """

    text: str
    people: tuple[Person, ...]
    mentions: tuple[Mention, ...]
    parts: tuple[Part, ...]


class LittleStoryData(Dataset[LittleStory]):
    """Stories for a decoder: a row is a story, its targets are the next tokens and ``</s>``.

    There is no ``<s>``, because a prompt has none.
    """

    kinds: ClassVar[tuple[str, ...]] = ("decoder",)

    def _rows(self, examples: tuple[LittleStory, ...], kind: str) -> Rows:
        eos = self.tokenizer.eos_id
        if eos is None:
            raise ValueError(f"{self.tokenizer!r} has no eos_id, which ends a story; use 'bpe'")
        ids = [self.tokenizer.encode(story.text) for story in examples]
        return Rows(examples, Ragged.of(ids), Ragged.of([[*row[1:], eos] for row in ids]))

    def _edges(self, example: LittleStory, kind: str) -> Iterable[tuple[int, int]]:
        """From the token before a mention, which predicts it, to the person's earlier mentions; of
        a name, to the same part of that name."""
        tokens = self._tokens_of(example)
        for i, later in enumerate(example.mentions):
            for earlier in example.mentions[:i]:
                if earlier.people != later.people or earlier.kind == "pronoun":
                    continue
                if later.kind == "name" == earlier.kind:
                    yield from _aligned(tokens[earlier], tokens[later])
                elif later.kind == "pronoun":
                    first = tokens[later][0][0]
                    yield from ((first - 1, key) for key, _ in tokens[earlier] if first)

    def _tokens_of(self, story: LittleStory) -> dict[Mention, list[tuple[int, str]]]:
        """Positions and texts of the tokens of every mention."""
        positions: list[int] = []  # of each character that is not a space
        ids = self.tokenizer.encode(story.text)
        for position, token in enumerate(ids):
            letters = self.tokenizer.decode([token]).replace(" ", "")
            positions += [position] * len(letters)
        letters_before = [0]
        for character in story.text:
            letters_before.append(letters_before[-1] + (character != " "))
        spans = {}
        for mention in story.mentions:
            at = range(letters_before[mention.start], letters_before[mention.end])
            word = story.text[mention.start : mention.end].replace(" ", "")
            pieces: dict[int, str] = {}
            for k, letter in zip(at, word, strict=True):
                pieces[positions[k]] = pieces.get(positions[k], "") + letter
            spans[mention] = list(pieces.items())
        return spans


def _aligned(
    earlier: list[tuple[int, str]], later: list[tuple[int, str]]
) -> Iterable[tuple[int, int]]:
    """Pairs of the position before each token of a name and the same token of an earlier mention."""
    for nth, (position, piece) in enumerate(later):
        if position and nth < len(earlier) and earlier[nth][1] == piece:
            yield position - 1, earlier[nth][0]


@checked
def little_stories(
    *,
    size: int = 10_000,
    held_out: int = 500,
    seed: Seed = 0,
    tokenizer: str | Tokenizer = "bpe",
    vocab_size: int | None = None,
) -> LittleStoryData:
    """Generate little stories in plain English, of about 100 words.

    Somebody has a wish, something is in the way, somebody helps, and it ends well. Two or three
    people speak. Names are real ones and invented ones; no name of a held-out story, nor one of its
    people, occurs in training, so that a model has to copy names that it has never seen.

    Args:
        size: number of training stories.
        held_out: number of held-out stories.
        seed: generates the stories, and chooses the names that are held out (one in eight).
        tokenizer: "char", "word", "bpe" or a tokenizer, trained on the training stories.
        vocab_size: size of a BPE vocabulary; None for 2,048.

    Returns:
        Stories with their people, mentions and parts. Their truth says that the token before a name
        attends to that name's earlier mentions, and the one before a pronoun to the person's.
    """
    check_counts(size=size, held_out=held_out)
    if tokenizer == "bpe" and vocab_size is None:
        vocab_size = 2048
    sides = _names(random.Random(f"{seed}-names"))
    train, rest = (
        _different(random.Random(f"{seed}-{side}"), names, n)
        for side, names, n in zip(("train", "held_out"), sides, (size, held_out), strict=True)
    )
    made = make_tokenizer(tokenizer, (story.text for story in train), vocab_size)
    return LittleStoryData("little stories", made, train, rest)


def _different(rng: random.Random, names: dict[str, list[str]], n: int) -> list[LittleStory]:
    made: dict[str, LittleStory] = {}
    while len(made) < n:
        story = _tell(rng, names)
        made.setdefault(story.text, story)
    return list(made.values())


def _names(rng: random.Random) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The names for training and the others, each by gender; "either" has the invented ones."""
    keys = ("girls", "boys", "beginnings", "endings", "not_names")
    girls, boys, beginnings, endings, not_names = (_plots()[0].lists[k][0].split() for k in keys)
    invented = {first + last for first in beginnings for last in endings}
    invented = sorted(invented - {*girls, *boys, *not_names})
    train, rest = {}, {}
    for key, names in (("f", girls), ("m", boys), ("either", invented)):
        names = rng.sample(names, len(names))
        cut = len(names) // 8
        rest[key], train[key] = names[:cut], names[cut:]
    return train, rest


class _Refused(Exception):
    """This wording does not suit the story: a pronoun would be ambiguous."""


@dataclass
class _Plot:
    name: str
    main: str
    helper: str
    lists: dict[str, list[str]] = field(default_factory=dict)
    cases: list[list[str]] = field(default_factory=list)  # the first row has the columns' names
    parts: dict[str, list[str]] = field(default_factory=dict)


@cache
def _plots() -> tuple[_Plot, ...]:
    """The plots of `TELLINGS`; each has the lists and the beginnings that all share."""
    shared = _Plot("", "", "")
    plots, plot, part = [], shared, ""
    for line in TELLINGS.read_text("utf-8").splitlines():
        if line.startswith("plot "):
            _, name, main, helper = line.split()
            plot = _Plot(name, main, helper, dict(shared.lists), parts=dict(shared.parts))
            plots.append(plot)
            part = ""
        elif line in PARTS:
            part = line
            plot.parts[part] = []
        elif not line or line[0] == "#":
            continue
        elif part:
            plot.parts[part].append(line)
        elif " = " in line:
            name, _, values = line.partition(" = ")
            plot.lists[name] = [value.removeprefix("-") for value in values.split(" | ")]
        else:
            plot.cases.append(line.split(" | "))
    return tuple(plots)


def _tell(rng: random.Random, names: dict[str, list[str]]) -> LittleStory:
    while True:
        try:
            return _Teller(rng, rng.choice(_plots()), names).story()
        except _Refused:
            continue


class _Teller:
    """Tells one story: chooses people, cases and wordings, and notes who is meant where."""

    def __init__(self, rng: random.Random, plot: _Plot, names: dict[str, list[str]]):
        self.rng, self.plot = rng, plot
        columns, *rows = plot.cases or [[], []]
        self.words = dict(zip(columns, rng.choice(rows), strict=True))
        self.people = self._cast(names)
        self.text, self.mentions = "", []
        self.known: set[str] = set()  # who has been introduced
        self.last: dict[str, str] = {}  # the last person of a gender who was mentioned

    def _cast(self, names: dict[str, list[str]]) -> dict[str, tuple[Person, str]]:
        """The people, and how the story introduces each: "kin", or a phrase."""
        rng, taken = self.rng, []
        genders = [rng.choice("fm")]
        genders.append(genders[0] if rng.random() < 0.25 else "fm"[genders[0] == "f"])
        genders.append(rng.choice("fm"))
        for gender in genders:
            pool = names["either" if rng.random() < 0.6 else gender]
            while (name := rng.choice(pool))[:2] in {other[:2] for other in taken}:
                pass
            taken.append(name)
        child = self.plot.main == "child" or rng.random() < 0.4
        nouns = (CHILD if child else ADULT)[genders[0]]
        cast = {"A": (Person(taken[0], genders[0], rng.choice(nouns)), "")}
        third, second = rng.choice(KIN[genders[2]]), rng.choice(KIN[genders[1]])
        while second == third or (second in ("sister", "brother") and self.plot.helper == "grown"):
            second = rng.choice(KIN[genders[1]])
        cast["C"] = (Person(taken[2], genders[2], third), "kin")
        cast["B"] = self._helper(taken[1], genders[1], second)
        return cast

    def _helper(self, name: str, gender: str, kin: str) -> tuple[Person, str]:
        """One of the family, or somebody else."""
        rng, helper = self.rng, self.plot.helper
        if helper == "home" or rng.random() < 0.35:
            return Person(name, gender, kin), "kin"
        grown = helper == "grown" or rng.random() < 0.5
        noun = {"f": "woman", "m": "man"}[gender] if grown else {"f": "girl", "m": "boy"}[gender]
        kind = rng.choice(
            ["old ", "young ", "friendly ", "tall "] if grown else ["", "", "tall ", "friendly "]
        )
        called = rng.choice(["called", "called", "named"])
        return Person(name, gender, kind + noun), called

    def story(self) -> LittleStory:
        parts = []
        for name in PARTS:
            start = len(self.text) + bool(self.text)
            self._tell_part(self.plot.parts[name], name)
            parts.append(Part(name, start, len(self.text)))
        keys = sorted(self.known)
        index = {key: i for i, key in enumerate(keys)}
        mentions = tuple(
            Mention(start, end, kind, tuple(index[key] for key in who))
            for start, end, kind, who in self.mentions
        )
        return LittleStory(
            self.text, tuple(self.people[key][0] for key in keys), mentions, tuple(parts)
        )

    def _tell_part(self, tellings: list[str], part: str) -> None:
        """Add one of the tellings that suit the case, the people and what was said before."""
        state = self.text, list(self.mentions), set(self.known), dict(self.last), dict(self.words)
        for _ in range(20):
            telling, _, only = self.rng.choice(tellings).partition(" @ ")
            if only and not set(only.split()) & set(" ".join(self.words.values()).split()):
                continue
            lives_there = self.people["B"][1] == "kin" and self.plot.helper != "guest"
            if part == "start" and "[B" in telling and not lives_there:
                continue
            try:
                self._say(self._filled(telling))
                return
            except _Refused:
                text, mentions, known, last, words = state
                self.text, self.mentions, self.known = text, list(mentions), set(known)
                self.last, self.words = dict(last), dict(words)
        raise _Refused

    def _filled(self, telling: str) -> str:
        """The telling with every {word} replaced."""

        def word(match: re.Match) -> str:
            key = match[1]
            low = key.lower()
            if low not in self.words:
                self.words[low] = self.rng.choice(self.plot.lists[low])
            value = self._filled(self.words[low])
            return value[:1].upper() + value[1:] if key != low else value

        return " ".join(re.sub(r"\{(\w+)\}", word, telling).split())

    def _say(self, telling: str) -> None:
        self.text += " " * bool(self.text)
        for plain, who, form in re.findall(r"([^\[]*)(?:\[([A-C]+):?(\w*)\])?", telling):
            self.text += plain
            if who:
                self._mention(who, form)

    def _mention(self, who: str, form: str) -> None:
        low = form if form == "I" else form.lower()
        first = who[0]
        person, introduced = self.people[first]
        capital = form != low
        if low == "intro" and first not in self.known:
            self._introduce(first, person, introduced, capital)
        elif low == "the" and introduced != "kin":
            if person.noun.split()[-1] == self.people["A"][0].noun.split()[-1]:
                raise _Refused
            self._add("The " if capital else "the ", "", "")
            self._add(person.noun, "noun", first)
        elif low in GENDERED["f"]:
            if self.last.get(person.gender) != first:
                raise _Refused
            word = GENDERED[person.gender][low]
            self._add(word.capitalize() if capital else word, "pronoun", first)
        elif low in SPEECH:
            self._add(low.capitalize() if capital else low, "pronoun", who)
        elif low == "boy":
            self.known.add(first)
            self._add(person.noun, "noun", first)
        else:
            self.known.add(first)
            self._add(person.name, "name", first)

    def _introduce(self, who: str, person: Person, introduced: str, capital: bool) -> None:
        self.known.add(who)
        if introduced == "kin":
            self._mention("A", "His" if capital else "his")
            self._add(" ", "", "")
            self._add(person.noun, "noun", who)
            self._add(" ", "", "")
        else:
            article = "an " if person.noun[0] in "aeiou" else "a "
            self._add(article.capitalize() if capital else article, "", "")
            self._add(person.noun, "noun", who)
            self._add(f" {introduced} ", "", "")
        self._add(person.name, "name", who)

    def _add(self, words: str, kind: str, who: str) -> None:
        if kind:
            self.mentions.append((len(self.text), len(self.text) + len(words), kind, who))
            if kind != "pronoun" or words.lower() in ("he", "she", "him", "her", "his"):
                self.last[self.people[who[0]][0].gender] = who[0]
        self.text += words

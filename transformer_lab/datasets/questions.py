"""Questions about a text, with the sentences that answer them: stories, or a file of your own."""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..arguments import Seed, checked
from ..files.paths import FileError
from ..tokenizers import Tokenizer, WordTokenizer
from .batches import IGNORE, Ragged, check_counts
from .corpora import make_tokenizer
from .examples import Dataset, Rows, hold_out
from .reading import MAX_LINE, read_records


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answer, a passage of the story.

    Attributes:
        text: the question.
        answer: its answer, word for word as in the story.
        sentence: number of the sentence that holds the answer.
        start: where the answer begins in that sentence, in characters.
        evidence: numbers of the sentences needed for the answer, in the order of the story; empty
            if that is not known.
    """

    text: str
    answer: str
    sentence: int
    start: int
    evidence: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """The sentences of a story, and questions about them."""

    sentences: tuple[str, ...]
    questions: tuple[Question, ...]

    @property
    def text(self) -> str:
        """The sentences, joined by spaces."""
        return " ".join(self.sentences)

    def ask(self, i: int) -> Story:
        """The same story with one of its questions only."""
        return replace(self, questions=(self.questions[i],))


class QuestionData(Dataset[Story]):
    """Stories for three kinds of model. In each, a row begins ``<s> story </s> question``.

    - "encoder": one question per row, ``<s> story </s> question </s>``; targets [batch, 2] are the
      first and last position of the answer, both included.
    - "decoder": all questions of a story in one row, ``… </s> question answer </s> question
      answer </s>``; targets are the answers and the ``</s>`` that ends each, −100 elsewhere.
    - "encoder-decoder": tokens as for "encoder"; the decoder writes the answer.

    Batches of "encoder" and "encoder-decoder" count rows, so a story comes once per question, and
    the example of a row is the story with that question only (`Story.ask`).
    """

    kinds: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "encoder-decoder")

    def layout(self, story: Story) -> Layout:
        """Token ids of the story's parts, and their positions in a row."""
        return Layout.of(story, self.tokenizer.encode)

    def _rows(self, examples: tuple[Story, ...], kind: str) -> Rows:
        bos, eos = self.tokenizer.bos_id, self.tokenizer.eos_id
        if bos is None or eos is None:
            raise ValueError(f"{self.tokenizer!r} has no bos_id and eos_id, which questions need")
        encode = functools.cache(self.tokenizer.encode)  # stories repeat their sentences
        layouts = [Layout.of(story, encode) for story in examples]
        if kind == "decoder":
            tokens, targets = zip(
                *(layout.conversation(bos, eos) for layout in layouts), strict=True
            )
            return Rows(examples, Ragged.of(tokens), Ragged.of(targets))
        asked = [s.ask(i) for s in examples for i in range(len(s.questions))]
        each = [(layout, i) for layout in layouts for i in range(len(layout.questions))]
        tokens = Ragged.of([[bos, *at.story, eos, *at.questions[i], eos] for at, i in each])
        if kind == "encoder":
            return Rows(tuple(asked), tokens, np.array([at.spans[i] for at, i in each]))
        return Rows(
            tuple(asked),
            tokens,
            Ragged.of([[*at.answers[i], eos] for at, i in each]),
            Ragged.of([[bos, *at.answers[i]] for at, i in each]),
        )

    def _edges(self, example: Story, kind: str) -> Iterable[tuple[int, int]]:
        layout = self.layout(example)
        row = len(layout.story) + 2  # where the first question begins
        for i, question in enumerate(example.questions):
            asked, answer = len(layout.questions[i]), len(layout.answers[i])
            if kind == "decoder":
                queries = range(row + asked - 1, row + asked)
                row += asked + answer + 1
            elif kind == "encoder":
                queries = range(row, row + asked)
            else:
                queries = range(1)
            keys = [k for sentence in question.evidence for k in layout.sentences[sentence]]
            yield from ((q, k) for q in queries for k in keys)


@dataclass(frozen=True)
class Layout:
    """A story in tokens.

    Attributes:
        story: ids of all its sentences.
        sentences: for each sentence, its positions in a row (``<s>`` is position 0).
        questions, answers: ids of each.
        spans: for each question, the first and last position of its answer in a row.
    """

    story: list[int]
    sentences: list[range]
    questions: list[list[int]]
    answers: list[list[int]]
    spans: list[tuple[int, int]]

    @classmethod
    def of(cls, story: Story, encode: Callable[[str], list[int]]) -> Layout:
        """Encode a story so that each answer is whole tokens."""
        ids: list[int] = []
        ranges, spans = [], [(0, 0)] * len(story.questions)
        answers: list[list[int]] = [[]] * len(story.questions)
        for number, sentence in enumerate(story.sentences):
            first = 1 + len(ids)
            text = f" {sentence}" if number else sentence
            shift = len(text) - len(sentence)
            here = [i for i, q in enumerate(story.questions) if q.sentence == number]
            cuts = {0, len(text)}
            bounds = {}
            for i in here:
                question = story.questions[i]
                start = shift + question.start
                end = start + len(question.answer)
                # A space belongs to the word after it, as in byte-level BPE.
                start -= text[start - 1 : start] == " "
                bounds[i] = start, end
                cuts |= {start, end}
            place, marks = {}, sorted(cuts)
            for begin, end in itertools.pairwise(marks):
                place[begin] = len(ids)
                ids += encode(text[begin:end])
            place[len(text)] = len(ids)
            for i, (start, end) in bounds.items():
                answers[i] = ids[place[start] : place[end]]
                spans[i] = 1 + place[start], place[end]
            ranges.append(range(first, 1 + len(ids)))
        questions = [[*encode(f" {question.text}")] for question in story.questions]
        return cls(ids, ranges, questions, answers, spans)

    def conversation(self, bos: int, eos: int) -> tuple[list[int], list[int]]:
        """Tokens and targets of story, questions and answers in one row."""
        tokens, known = [bos, *self.story, eos], [False] * (len(self.story) + 2)
        for question, answer in zip(self.questions, self.answers, strict=True):
            tokens += [*question, *answer, eos]
            known += [False] * len(question) + [True] * (len(answer) + 1)
        targets = [t if k else IGNORE for t, k in zip(tokens[1:], known[1:], strict=True)]
        return tokens[:-1], targets


PEOPLE = ["Nora", "Bilal", "Chen", "Dilek", "Emil", "Fatou", "Greta", "Hugo"]
PLACES = ["attic", "cellar", "garden", "kitchen", "library", "studio"]
THINGS = ["lamp", "violin", "map", "kettle", "basket", "compass"]
# All of one length: the person comes four words before the place or thing.
MOVES = ("{} heads for the {}.", "{} walks into the {}.", "{} returns to the {}.")
TAKES = ("{} picks up the {}.", "{} now holds the {}.")
# No question mark: the word asked about comes last, so that a decoder answers right after it.
WHERE_IS, WHO_HAS, WHERE_IS_THING = "Where is {}", "Who has the {}", "Where is the {}"


@checked
def stories(
    facts: int = 1, *, questions: int = 6, size: int = 2000, held_out: int = 200, seed: Seed = 0
) -> QuestionData:
    """Generate short stories about who goes where and who takes what, with questions at the end.

    Three people move five times and take three things. With one fact, the answer is in the last
    sentence about a person, or in the one about a thing ("Where is Nora", "Who has the lamp"). With
    two, half of the questions need two sentences: the one that says who has the thing, and the last
    one about that person, before or after taking it ("Where is the lamp"). The other half need one,
    so that each of the two steps is also taught alone. Six questions per story teach much faster
    than one. There is no question mark, so attention starts from the very word that the question is
    about.

    Args:
        facts: supporting facts, 1 or 2.
        questions: questions per story, 1 to 6, all different; with two facts, half of them (the
            larger half) have two sentences as their evidence.
        size, held_out: number of training stories and of held-out stories.
        seed: generates the stories.

    Returns:
        Stories; their truth says that the question attends to its evidence.
    """
    if facts not in (1, 2):
        raise ValueError(f"facts must be 1 or 2, got {facts}")
    if not 1 <= questions <= 6:
        raise ValueError(f"questions must be in 1 … 6, got {questions}")
    check_counts(size=size, held_out=held_out)
    rng = random.Random(f"{seed}-{facts}")
    made: dict[tuple[str, ...], Story] = {}
    while len(made) < size + held_out:
        story = _tell(rng, facts, questions)
        made.setdefault(story.sentences, story)
    every = list(made.values())
    words = [*PEOPLE, *PLACES, *THINGS, *MOVES, *TAKES, WHERE_IS, WHO_HAS, WHERE_IS_THING]
    tokenizer = WordTokenizer.train(text.replace("{}", " ") for text in words)
    name = f"stories with {facts} fact{'s' * (facts - 1)}"
    return QuestionData(name, tokenizer, every[held_out:], every[:held_out])


def _tell(rng: random.Random, facts: int, n: int) -> Story:
    plot = _Plot(rng, people=3, moves=5, things=3)
    asked = [plot.where_is(person) for person in plot.people]
    asked += [plot.who_has(thing) for thing in plot.things]
    rng.shuffle(asked)
    if facts == 2:
        both = [plot.where_is_thing(thing) for thing in plot.things]
        rng.shuffle(both)
        asked = both[: (n + 1) // 2] + asked[: n // 2]
        rng.shuffle(asked)
    return Story(plot.sentences, tuple(asked[:n]))


class _Plot:
    """The plot of a story: where each person went last, who took what, and in which sentence."""

    def __init__(self, rng: random.Random, *, people: int, moves: int, things: int):
        self.people = rng.sample(PEOPLE, people)
        self.things = rng.sample(THINGS, things)
        # Everyone moves at least once, and nobody to the place where they are.
        movers = self.people + rng.choices(self.people, k=moves - people)
        events = [(person, "") for person in movers]
        events += [(rng.choice(self.people), thing) for thing in self.things]
        rng.shuffle(events)
        self.place: dict[str, tuple[str, int]] = {}
        self.holder: dict[str, tuple[str, int]] = {}
        sentences = []
        for number, (person, thing) in enumerate(events):
            if thing:
                self.holder[thing] = person, number
                sentences.append(rng.choice(TAKES).format(person, thing))
            else:
                now = self.place.get(person, ("", 0))[0]
                place = rng.choice([p for p in PLACES if p != now])
                self.place[person] = place, number
                sentences.append(rng.choice(MOVES).format(person, place))
        self.sentences = tuple(sentences)

    def where_is(self, person: str) -> Question:
        place, move = self.place[person]
        return self._question(WHERE_IS.format(person), place, move, (move,))

    def who_has(self, thing: str) -> Question:
        person, take = self.holder[thing]
        return self._question(WHO_HAS.format(thing), person, take, (take,))

    def where_is_thing(self, thing: str) -> Question:
        person, take = self.holder[thing]
        place, move = self.place[person]
        evidence = (min(take, move), max(take, move))
        return self._question(WHERE_IS_THING.format(thing), place, move, evidence)

    def _question(self, text: str, answer: str, sentence: int, evidence: tuple) -> Question:
        return Question(text, answer, sentence, self.sentences[sentence].index(answer), evidence)


@checked
def questions_file(
    path: str | Path,
    *,
    tokenizer: str | Tokenizer = "word",
    held_out: int | float = 0.1,
    seed: Seed = 0,
    max_line: int | None = MAX_LINE,
) -> QuestionData:
    """Your own questions: JSON lines such as {"question": …, "context": …, "answer": …}.

    The answer must occur in its context, as whole words. If it is not the first occurrence,
    ``"answer_start"`` (in characters) says which one it is. All questions about a context make one
    story.

    Args:
        path: the file.
        tokenizer: "word", "char", "bpe" or a tokenizer.
        held_out: how many contexts are held out, or which fraction.
        seed: chooses which are held out.
        max_line: longest line allowed, in characters; None for no limit.

    Raises:
        FileError: if the file cannot be used, or an answer is not in its context.
    """
    contexts: dict[str, list[Question]] = {}
    for line, record in enumerate(
        read_records(path, ("question", "context", "answer"), max_line=max_line), 1
    ):
        context, answer = record["context"], record["answer"].strip()
        start = _find_answer(context, answer, record.get("answer_start"), path, line)
        question = Question(record["question"], answer, 0, start)
        asked = contexts.setdefault(context, [])
        if question not in asked:
            asked.append(question)
    every = [Story((context,), tuple(asked)) for context, asked in contexts.items()]
    train, rest = hold_out(
        every, held_out, seed=seed, key=lambda story: story.sentences, name=str(path)
    )
    texts = [text for s in every for text in (*s.sentences, *(q.text for q in s.questions))]
    return QuestionData(str(path), make_tokenizer(tokenizer, texts), train, rest)


def _find_answer(context: str, answer: str, start: object, path: str | Path, line: int) -> int:
    if answer not in context:
        raise FileError.at(
            path, f"the answer {_short(answer)} is not in its context; copy it word for word", line
        )
    if start is not None:
        given = isinstance(start, int) and not isinstance(start, bool) and start >= 0
        if not given or not context.startswith(answer, start):  # type: ignore[arg-type]
            raise FileError.at(
                path,
                f"the answer {_short(answer)} is not at answer_start={start!r} of its context; "
                f"the first is at {context.index(answer)}",
                line,
            )
        return start  # type: ignore[return-value]
    whole = re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", context)
    if whole is None:
        raise FileError.at(
            path,
            f"the answer {_short(answer)} is only part of a word of its context; "
            "give the whole word, or answer_start",
            line,
        )
    return whole.start()


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")

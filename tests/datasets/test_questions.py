"""Stories against an independent parser that replays them; users' questions."""

import json
import re

import pytest
import torch

from transformer_lab.datasets import IGNORE, questions_file, stories
from transformer_lab.tokenizers import BPETokenizer

MOVE = re.compile(r"(\w+) (?:heads for|walks into|returns to) the (\w+)\.")
TAKE = re.compile(r"(\w+) (?:picks up|now holds) the (\w+)\.")


def _answer(sentences, question):
    """(answer, evidence) by reading the sentences in order."""
    place, holder = {}, {}
    for i, sentence in enumerate(sentences):
        if match := MOVE.fullmatch(sentence):
            place[match[1]] = (match[2], i)
        else:
            match = TAKE.fullmatch(sentence)
            holder[match[2]] = (match[1], i)
    if match := re.fullmatch(r"Who has the (\w+)", question):
        person, i = holder[match[1]]
        return person, (i,)
    if match := re.fullmatch(r"Where is the (\w+)", question):
        person, i = holder[match[1]]
        where, j = place[person]
        return where, tuple(sorted((i, j)))
    where, i = place[re.fullmatch(r"Where is (\w+)", question)[1]]
    return where, (i,)


@pytest.fixture(scope="module", params=[1, 2])
def data(request):
    return stories(request.param, size=300, held_out=30)


def test_answers_and_evidence_are_what_a_reader_finds(data):
    for story in data.train + data.held_out:
        for question in story.questions:
            answer, evidence = _answer(story.sentences, question.text)
            assert (question.answer, question.evidence) == (answer, evidence)
            sentence = story.sentences[question.sentence]
            assert sentence[question.start :].startswith(answer)
            assert question.sentence in evidence


def test_the_evidence_is_needed_and_is_enough(data):
    for story in data.held_out:
        for question in story.questions:
            kept = [story.sentences[i] for i in question.evidence]
            assert _answer(kept, question.text)[0] == question.answer


def test_six_different_questions_a_story(data):
    for story in data.train:
        assert len({question.text for question in story.questions}) == 6
    assert len(stories(questions=2, size=10, held_out=2).train[0].questions) == 2


def test_no_position_or_word_gives_the_answer_away(data):
    """Guessing the most frequent answer or the last place named fails often."""
    answers, last = [], []
    for story in data.train:
        for question in story.questions:
            if question.text.startswith("Where"):
                answers.append(question.answer)
                last.append(MOVE.findall(story.text)[-1][1])
    assert max(map(answers.count, set(answers))) / len(answers) < 0.3
    assert sum(a == b for a, b in zip(answers, last, strict=True)) / len(answers) < 0.5


def test_spans_hold_the_answer(data):
    for batch in data.epoch(64, kind="encoder"):
        for row, (first, final), story in zip(
            batch.tokens, batch.targets.tolist(), batch.examples, strict=True
        ):
            (question,) = story.questions
            assert data.tokenizer.decode(row[first : final + 1]) == question.answer
            assert data.tokenizer.decode(row) == f"{story.text} {question.text}"
    assert sum(len(b) for b in data.epoch(64, kind="encoder")) == 6 * len(data.held_out)


def test_conversations_hold_six_answers_a_row(data):
    tokenizer = data.tokenizer
    for batch in data.epoch(8, kind="decoder"):
        assert len(batch) <= 8
        for row, targets, story in zip(batch.tokens, batch.targets, batch.examples, strict=True):
            told = tokenizer.decode(targets[targets != IGNORE]).split()
            assert told == [question.answer for question in story.questions]
            said = targets != IGNORE
            assert (targets == tokenizer.eos_id).sum() == 6
            # the target is the next token of the row
            following = torch.cat([row[1:], targets[-1:]])
            assert torch.equal(following[said][:-1], targets[said][:-1])


def test_answers_are_generated_from_story_and_question(data):
    batch = data.epoch(16, kind="encoder-decoder")[0]
    tokenizer = data.tokenizer
    for row, targets, inputs, story in zip(
        batch.tokens, batch.targets, batch.target_in, batch.examples, strict=True
    ):
        assert tokenizer.decode(row) == f"{story.text} {story.questions[0].text}"
        assert tokenizer.decode(targets[targets != IGNORE]) == story.questions[0].answer
        assert inputs[0] == tokenizer.bos_id
        assert targets[targets != IGNORE][-1] == tokenizer.eos_id


@pytest.mark.parametrize("kind", ["encoder", "decoder", "encoder-decoder"])
def test_truth_is_the_supporting_sentences(data, kind):
    batch = data.epoch(4, kind=kind)[0]
    truth = data.truth(batch, kind=kind)
    for i, story in enumerate(batch.examples):
        queries = truth[i].any(-1).nonzero().flatten().tolist()
        if kind == "decoder":  # the row that predicts each answer
            said = (batch.targets[i] != IGNORE) & (batch.targets[i] != data.tokenizer.eos_id)
            assert queries == said.nonzero().flatten().tolist()
            asked = list(zip(queries, story.questions, strict=True))
        else:
            asked = [(query, story.questions[0]) for query in queries]
        if kind == "encoder":
            assert data.tokenizer.decode(batch.tokens[i, queries]) == story.questions[0].text
        for query, question in asked:
            told = data.tokenizer.decode(batch.tokens[i, truth[i, query]])
            assert told == " ".join(story.sentences[n] for n in question.evidence)


def _write(path, records):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), "utf-8")


@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe"])
def test_a_questions_file(tmp_path, tokenizer):
    path = tmp_path / "qa.jsonl"
    records = [
        {
            "question": f"Where is number {i}?",
            "context": f"A party of art lovers, with number {i}, sat at the long-lost café {i}.",
            "answer": f"café {i}",
        }
        for i in range(12)
    ]
    records.append({"question": "Who?", "context": records[0]["context"], "answer": "art"})
    _write(path, records)
    if tokenizer == "bpe":
        tokenizer = BPETokenizer.train([r["context"] for r in records], 300)
    data = questions_file(path, tokenizer=tokenizer, held_out=2)
    assert (len(data.train), len(data.held_out)) == (10, 2)
    for split in ("train", "held_out"):
        for batch in data.epoch(4, kind="encoder", split=split):
            for row, span, story in zip(batch.tokens, batch.targets, batch.examples, strict=True):
                told = data.tokenizer.decode(row[span[0] : span[1] + 1]).strip()
                assert told == story.questions[0].answer
    both = next(s for s in data.train + data.held_out if len(s.questions) == 2)
    assert both.text[both.questions[1].start - 1 :].startswith(" art ")  # not in "party"
    assert not data.truth(data.collate([both])).any()


def test_the_start_of_an_answer_can_be_given(tmp_path):
    path = tmp_path / "qa.jsonl"
    context = "red or blue, then red again"
    _write(
        path,
        [
            {"question": "Last?", "context": context, "answer": "red", "answer_start": 18},
            {"question": "What?", "context": "nothing else", "answer": "else"},
        ],
    )
    data = questions_file(path, held_out=1, seed=1)
    story = next(s for s in data.train + data.held_out if s.text == context)
    batch = data.collate([story], kind="encoder")
    assert batch.targets.tolist() == [[6, 6]]  # <s> red or blue , then red


@pytest.mark.badinput
def test_bad_arguments():
    with pytest.raises(ValueError, match="facts must be 1 or 2, got 3"):
        stories(3)
    with pytest.raises(ValueError, match="questions must be in 1 … 6, got 7"):
        stories(questions=7)
    with pytest.raises(ValueError, match="examples is empty"):
        stories(size=1, held_out=1).collate([])

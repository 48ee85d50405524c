"""Little stories: their English, their people, and where each name and pronoun is."""

import re

import pytest
import torch

from transformer_lab.datasets import little_stories
from transformer_lab.datasets.little_stories import PARTS, TELLINGS
from transformer_lab.tokenizers import AlphabetTokenizer

HE = {"m": {"he", "him", "his", "himself"}, "f": {"she", "her", "herself"}}
SPOKEN = {"i", "me", "my", "us", "you", "your", "yours"}
BOTH = {"they", "them", "us"}
WOMEN = {"girl", "woman", "mother", "aunt", "grandmother", "sister"}


@pytest.fixture(scope="module")
def data():
    return little_stories(size=3000, held_out=300)


@pytest.fixture(scope="module")
def stories(data):
    return [*data.train, *data.held_out]


def test_no_name_of_a_held_out_story_is_in_training(data):
    train = {word for story in data.train for word in re.findall(r"\w+", story.text)}
    names = {person.name for story in data.held_out for person in story.people}
    assert len(names) > 250
    assert not names & train
    # the control: a story of the training part shares its names with the training text
    assert {person.name for person in data.train[0].people} <= train


def test_names_are_spread_and_most_are_used_a_few_times(data):
    used = [person.name for story in data.train for person in story.people]
    assert len(set(used)) > 2500
    assert max(used.count(name) for name in set(used[:50])) < 60


def test_spans_are_the_words_and_mean_people_of_the_story(stories):
    for story in stories:
        for m in story.mentions:
            word = story.text[m.start : m.end]
            assert m.people and all(0 <= i < len(story.people) for i in m.people)
            people = [story.people[i] for i in m.people]
            if m.kind == "name":
                assert [word] == [people[0].name]
            elif m.kind == "noun":
                assert [word] == [people[0].noun]
            else:
                low = word.lower()
                assert m.kind == "pronoun"
                assert low in (BOTH if len(people) > 1 else SPOKEN | HE[people[0].gender]), word
            assert re.fullmatch(r"\W?", story.text[m.start - 1 : m.start])
            assert re.fullmatch(r"\W?", story.text[m.end : m.end + 1])
        starts = [m.start for m in story.mentions]
        assert starts == sorted(set(starts))


def test_every_name_and_pronoun_is_listed(stories):
    """Against an independent reader of words. "Them" may be things, in three sentences."""
    things = ("carried them to", "of them to ", "water them")
    every = SPOKEN | BOTH | HE["m"] | HE["f"] | {"we", "their", "our"}
    for story in stories:
        listed = {m.start for m in story.mentions}
        names = {person.name for person in story.people}
        for word in re.finditer(r"\w+", story.text):
            if word[0] in names or word[0].lower() in every:
                around = story.text[word.start() - 30 : word.end() + 30]
                assert word.start() in listed or any(phrase in around for phrase in things), around


def test_nouns_fit_the_gender_and_the_last_person_of_that_gender_is_meant(stories):
    for story in stories:
        assert 2 <= len(story.people) <= 3
        last = {}
        for person in story.people:
            assert (person.noun.split()[-1] in WOMEN) == (person.gender == "f")
        for m in story.mentions:
            word = story.text[m.start : m.end].lower()
            gender = story.people[m.people[0]].gender
            if m.kind != "pronoun":
                last[gender] = m.people[0]
            elif word in HE[gender]:
                assert last[gender] == m.people[0], story.text
        assert len({person.name[:2] for person in story.people}) == len(story.people)


def test_parts_are_there_in_order_and_cover_the_story(stories):
    for story in stories:
        assert tuple(part.name for part in story.parts) == PARTS
        assert " ".join(story.text[part.start : part.end] for part in story.parts) == story.text
        assert all(part.end - part.start > 10 for part in story.parts)
        wish = story.text[story.parts[1].start : story.parts[1].end]
        assert re.search(
            r"want|wish|wait|going to|had to|set out|will|thought|just right|looking forward|must|Let us",
            wish,
        )


def test_sentences_are_punctuated(stories):
    for story in stories:
        assert re.fullmatch(r"[A-Za-z ,.!?:;'\"]+", story.text)
        assert story.text.count('"') % 2 == 0
        assert not re.search(r"  | [,.!?;:]|[,.!?;:]{2}|[{}\[\]]|,$", story.text)
        outside = story.text.split('"')[::2]
        quoted = story.text.split('"')[1::2]
        assert quoted, "nobody speaks"
        for speech in quoted:
            assert re.fullmatch(r"\w.*[,.!?]", speech), speech
        assert story.text[0].isupper() and story.text[-1] in '.!?"'
        for piece in outside:
            for sentence in re.split(r"(?<=[.!?]) ", piece.strip()):
                after_end = re.search(r"[.!?]$", piece[: piece.find(sentence)].rstrip())
                assert not after_end or sentence[0].isupper(), sentence


def test_articles_agree(stories):
    for story in stories:
        assert not re.search(r"\ban (?=[^aeiouhAEIOU])|\ba (?=[aeioAEIO])", story.text), story.text
        assert not re.search(r"\b(\w+) \1\b", story.text, re.I), story.text


def test_stories_are_of_one_length_and_differ(data):
    words = [len(story.text.split()) for story in data.train]
    assert 100 < sum(words) / len(words) < 125 and min(words) > 50 and max(words) < 180
    assert len({story.text for story in data.train}) == len(data.train)
    openings = {" ".join(story.text.split()[:2]) for story in data.train}
    assert len(openings) > 300
    assert max(len(data.tokenizer.encode(story.text)) for story in data.train) < 256


def test_the_seed_decides():
    one, same, other = (
        little_stories(size=50, held_out=5, seed=s, tokenizer="char") for s in (1, 1, 2)
    )
    assert one.train == same.train and one.held_out == same.held_out
    assert one.train != other.train
    more = little_stories(size=80, held_out=5, seed=1, tokenizer="char")
    assert more.train[:50] == one.train and more.held_out == one.held_out


def test_the_truth_of_characters_is_what_the_mentions_say():
    data = little_stories(size=20, held_out=1, tokenizer="char")
    batch = data.collate(data.train)
    truth = data.truth(batch)
    for row, story in enumerate(data.train):
        expected = set()
        for i, later in enumerate(story.mentions):
            for earlier in story.mentions[:i]:
                if later.people != earlier.people or earlier.kind == "pronoun":
                    continue
                keys = [k for k in range(earlier.start, earlier.end) if story.text[k] != " "]
                if later.kind == "pronoun":
                    expected |= {(later.start - 1, key) for key in keys if later.start}
                elif later.kind == earlier.kind == "name":
                    starts = zip(range(later.start, later.end), keys, strict=True)
                    expected |= {(query - 1, key) for query, key in starts}
        assert set(map(tuple, truth[row].nonzero().tolist())) == expected


@pytest.mark.parametrize("tokenizer", ["bpe", "word"])
def test_the_truth_leads_to_the_same_part_of_the_name(tokenizer):
    data = little_stories(size=200, held_out=20, tokenizer=tokenizer)
    batch = data.collate(data.train[:20])
    truth = data.truth(batch)
    assert not truth.triu().any(), "only earlier tokens"
    names = 0
    for row, story in enumerate(batch.examples):
        tokens = data.tokenizer.tokens(data.tokenizer.encode(story.text))
        tokens = [token.strip("·") for token in tokens]
        people = {word for p in story.people for word in (p.name, *p.noun.split())}
        for query, key in truth[row].nonzero().tolist():
            later, earlier = tokens[query + 1], tokens[key]
            assert later == earlier or later.lower() in SPOKEN | HE["m"] | HE["f"]
            assert any(earlier in word for word in people), earlier
            names += later == earlier
    assert names > 200 and truth.shape == (20, *batch.tokens.shape[1:], batch.tokens.shape[1])


def test_rows_predict_the_next_token_and_the_end(data):
    batch = data.collate(data.held_out[:3])
    for row, story in enumerate(data.held_out[:3]):
        ids = data.tokenizer.encode(story.text)
        assert batch.tokens[row, : len(ids)].tolist() == ids
        assert batch.targets[row, : len(ids)].tolist() == [*ids[1:], data.tokenizer.eos_id]
    assert batch.tokens.dtype == torch.int64


def test_no_wording_is_left_out(stories):
    """Every line of every part occurs."""
    text = "\n".join(story.text for story in stories)
    lines = [
        re.split(r"\[[^]]*\]|\{\w+\}", line.partition(" @ ")[0])
        for line in TELLINGS.read_text("utf-8").splitlines()
    ]
    plain = [max(pieces, key=len) for pieces in lines if pieces[0][:1] != "#" and len(pieces) > 1]
    missing = [piece for piece in plain if piece.strip(" -|") not in text and " | " not in piece]
    assert not missing


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"held_out": -1}, "held_out must be at least 1, got -1"),
        ({"size": 2.5}, "size must be a whole number, got 2.5"),
        ({"seed": -1}, "seed"),
        (
            {"size": 5, "tokenizer": "morse"},
            "tokenizer must be one of char, word, bpe, got 'morse'",
        ),
        (
            {"size": 5, "tokenizer": "char", "vocab_size": 300},
            "vocab_size=300 is for tokenizer='bpe'",
        ),
    ],
)
def test_bad_input_is_refused(given, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        little_stories(**{"held_out": 5, **given})


def test_a_tokenizer_without_an_end_is_refused():
    letters = AlphabetTokenizer.train(" " + "".join(map(chr, range(33, 127))))
    data = little_stories(size=5, held_out=5, tokenizer=letters)
    with pytest.raises(ValueError, match="has no eos_id, which ends a story; use 'bpe'"):
        data.batches(2)

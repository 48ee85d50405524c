"""Agreement: labels and truth against a small parser; and users' labelled files."""

import pytest
import torch

from transformer_lab.datasets import IGNORE, agreement, labelled_file, sentences

PLURAL_VERBS = {"are", "were", "have", "seem"}
SINGULAR_VERBS = {"is", "was", "has", "seems"}
LINKS = {"near", "behind", "beside", "above"}


@pytest.fixture(scope="module")
def data():
    return agreement(size=5000, held_out=500, labels=64)


def _parse(text):
    """(noun positions, verb position, subject is plural, verb is plural), with <s> as 0."""
    words = ["<s>", *text.split()]
    verb = next(i for i, w in enumerate(words) if w in PLURAL_VERBS | SINGULAR_VERBS)
    ends = [i for i in range(1, verb) if words[i + 1] in LINKS] + [verb - 1]
    plural = [words[i].endswith("s") for i in ends]
    return ends, verb, plural, words[verb] in PLURAL_VERBS


def test_truth_is_the_first_noun_and_the_verb(data):
    for sentence in data.unlabelled.train + data.labelled.held_out:
        nouns, verb, plural, _ = _parse(sentence.text)
        assert sentence.verb == verb
        assert sentence.subject == nouns[0]
        assert sentence.attractors == tuple(nouns[1:])
        assert sentence.attracted == any(p != plural[0] for p in plural[1:])


def test_sentences_without_labels_are_all_right(data):
    for sentence in data.unlabelled.train + data.unlabelled.held_out:
        _, _, plural, verb = _parse(sentence.text)
        assert plural[0] == verb
        assert sentence.label is None


def test_labels_say_whether_the_verb_agrees(data):
    for part in (data.labelled.train, data.labelled.held_out):
        for sentence in part:
            _, _, plural, verb = _parse(sentence.text)
            assert data.labelled.labels[sentence.label] == (
                "acceptable" if plural[0] == verb else "unacceptable"
            )
        assert sum(sentence.label for sentence in part) * 2 == len(part)


def test_the_nearest_noun_is_a_poor_guide(data):
    sentences = data.labelled.held_out
    assert all(sentence.attractors for sentence in sentences)
    right = [(_parse(s.text)[2][-1] == _parse(s.text)[3]) == s.label for s in sentences]
    assert 0.4 < sum(right) / len(right) < 0.6
    # nor does any single word reveal the label
    for verb in PLURAL_VERBS | SINGULAR_VERBS:
        labels = [s.label for s in sentences if verb in s.text.split()]
        assert 0.25 < sum(labels) / len(labels) < 0.75


def test_no_test_sentence_was_seen_in_either_form(data):
    other = dict(zip(["are", "were", "have", "seem"], ["is", "was", "has", "seems"], strict=True))
    other |= {v: k for k, v in other.items()}
    seen = {s.text for s in data.unlabelled.train + data.labelled.train}
    for sentence in data.labelled.held_out:
        words = sentence.text.split()
        words[sentence.verb - 1] = other[words[sentence.verb - 1]]
        assert not {sentence.text, " ".join(words)} & seen


def test_batches_for_both_stages(data):
    plain = data.unlabelled.batches(32).batch(0)
    tokenizer = data.tokenizer
    assert (plain.tokens[:, 0] == tokenizer.bos_id).all()
    masked = data.unlabelled.batches(32).masked(tokenizer).batch(0)
    chosen = masked.targets != IGNORE
    assert torch.equal(masked.targets[chosen], plain.tokens[chosen])
    few = data.labelled.batches(16).batch(0)
    assert few.targets.tolist() == [s.label for s in few.examples]
    truth = data.labelled.truth(few)
    looked = [(s.verb, s.subject) for s in few.examples]
    assert truth.sum() == 16
    assert all(truth[i, q, k] for i, (q, k) in enumerate(looked))
    assert not any(3 in tokenizer.encode(s.text) for s in data.unlabelled.train)


def test_a_labelled_file(tmp_path):
    path = tmp_path / "mood.tsv"
    path.write_text("".join(f"day {i} was fine\tgood\nday {i} was grey\tbad\n" for i in range(20)))
    data = labelled_file(path, held_out=10)
    assert data.labels == ("bad", "good")
    assert (len(data.train), len(data.held_out)) == (30, 10)
    batch = data.epoch(10)[0]
    assert [data.labels[i] for i in batch.targets] == [
        "good" if "fine" in s.text else "bad" for s in batch.examples
    ]
    ordered = labelled_file(path, ["good", "bad"], tokenizer=data.tokenizer)
    assert ordered.labels == ("good", "bad")
    assert not data.truth(batch).any()


@pytest.mark.badinput
def test_bad_arguments():
    with pytest.raises(
        ValueError, match=r"attractors must be numbers from 0 to 4, not all 0, got \(0,\)"
    ):
        agreement(attractors=[0])
    with pytest.raises(ValueError, match="labels must be at least 1, got 0"):
        agreement(labels=0)


@pytest.mark.badinput
def test_a_grammar_that_runs_out_says_so(monkeypatch):
    for name in ("NOUNS", "ADJECTIVES", "LINKS"):
        monkeypatch.setattr(sentences, name, getattr(sentences, name)[:1])
    with pytest.raises(ValueError, match="size=90000 is more than the grammar can generate"):
        agreement(size=90_000)

"""The page's tokenizers give Python's ids, texts and labels: every script, and what is no text."""

import json
import random
import subprocess
import unicodedata
from pathlib import Path

import pytest

from transformer_lab import datasets
from transformer_lab.tokenizers import BPETokenizer, CharTokenizer, WordTokenizer, display

pytestmark = pytest.mark.needs("node")
HERE = Path(__file__).parent
CLASSES = "x{}0x {}0_{} "  # between a letter, a number, a space and others, in the middle of a word
ODD = [
    "", " ", "\n", "\r\n\t ", "a", "<mask>", "<s></s><pad>", "it's I'll we'Ve they’re x-ray x--y",
    "  two  spaces ", "tail   ", "1234,567.8 ½ Ⅳ ٣٤ 一二", "snake_case __init__", "(a) [b], {c}; d… “e” ‘f’",
    "é é ﬁ ǅ İ ß", "नमस्ते दुनिया", "ภาษาไทย", "العربية עברית", "日本語テキスト 한국어", "\u202eabc\u202c\u200b\u200d",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷 👍🏽", "\ud800", "a\udfffb", "\udc00\ud800", "😀\ud83d", "\x00\x1c\x1d\x1e\x1f\x85\xa0\ufeff",
    "\ufeffstart", "\u180e\u2028\u2029\u3000", "a\x1cb", "'", "''s 's", "e\u0301\u0302 \u0301", "\U0010ffff\U000e0001",
]  # fmt: skip


def characters():
    """Every assigned character but for large alphabets, of which some; and some that are none."""
    found = []
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        large = (category == "Lo" and code >= 0x3400) or category in ("Co", "Cs")
        if category != "Cn" and (not large or code % 97 == 0):
            found.append(chr(code))
    return found


def texts(every):
    chance = random.Random(7)
    words = " ".join(datasets.python_manual().text[:3000].split(" "))
    found = [*ODD, words, words[::-1]]
    for _ in range(300):
        kinds = (every, "abc 's\n  '-’_1,.()", every[:600], ODD)
        pieces = chance.choice(kinds)
        found.append("".join(chance.choice(pieces) for _ in range(chance.randrange(1, 40))))
    found.append("".join(CLASSES.format(c, c, c) for c in every))
    found += ["a" * 100_000, " " * 99_999 + "b", "ab" * 50_000, "é😀" * 50_000, "\ud800" * 100_000]
    return [json.loads(json.dumps(text)) for text in found]  # halves of a pair that meet are one


def tokenizers():
    manual = datasets.python_manual().text[:60_000]
    trained = manual + " ".join(ODD[9:20]) * 20 + "aaaa" * 50
    return [
        CharTokenizer.train(trained[::7] + "é😀日"),
        WordTokenizer.train(trained, max_size=900),
        BPETokenizer.train(json.loads(json.dumps(trained)), 700),
        BPETokenizer.train("", 261),
    ]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What Python was given, and what the page's tokenizers made of it."""
    folder, chance, every = tmp_path_factory.mktemp("tokenizers"), random.Random(3), characters()
    own, given = tokenizers(), texts(every)
    lists = [
        [[chance.randrange(t.vocab_size) for _ in range(n % 30)] for n in range(200)] for t in own
    ]
    told = dict(
        tokenizers=[t.to_dict() for t in own], texts=given, lists=lists, characters=every
    )  # fmt: skip
    (folder / "given.json").write_text(json.dumps(told))
    run = subprocess.run(
        ["node", HERE / "run_tokenizers.mjs", folder / "given.json", folder / "found.json"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return own, given, lists, every, json.loads((folder / "found.json").read_text())


def test_ids_are_pythons(both):
    own, given, _, _, found = both
    for tokenizer, side in zip(own, found["found"], strict=True):
        for text, ids in zip(given, side["ids"], strict=True):
            assert ids == tokenizer.encode(text), (tokenizer, text[:200])
    assert any(3 in side for side in found["found"][1]["ids"])  # there are unknown words


def test_texts_and_labels_are_pythons(both):
    own, _, lists, _, found = both
    for tokenizer, some, side in zip(own, lists, found["found"], strict=True):
        for ids, text in zip(some, side["decoded"], strict=True):
            assert text == tokenizer.decode(ids), (tokenizer, ids)
        assert side["tokens"] == tokenizer.tokens(range(tokenizer.vocab_size))


def test_what_is_invisible_is_shown_alike(both):
    _, _, _, every, found = both
    assert len(every) > 20_000
    assert [display(c) for c in every] == found["shown"]

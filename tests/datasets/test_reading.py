"""Every bad file gets a one-line message: file, place, what is wrong, and the remedy."""

import json
import os
import re

import pytest

from transformer_lab.datasets import labelled_file, pairs_file, questions_file, text_file
from transformer_lab.datasets.reading import read_lines, read_table, read_text
from transformer_lab.files.paths import FileError

pytestmark = pytest.mark.badinput

PAIRS = "\n".join(f"source {i}\ttarget {i}" for i in range(20)) + "\n"
READERS = {"text": text_file, "pairs": pairs_file, "labels": labelled_file, "qa": questions_file}


def _refusal(read, path, *arguments, **options) -> str:
    with pytest.raises(FileError) as error:
        read(path, *arguments, **options)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert isinstance(error.value, ValueError)
    return message


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b" \n\n\t\n", "is empty"),
        ("a\tb\n".encode("utf-16"), "is encoded as UTF-16; save it as UTF-8 .*iconv -f UTF-16"),
        ("a\tb\n".encode("utf-16-be"), "line 1: holds a NUL byte at offset 0; it may be UTF-16"),
        ("a\tb\n".encode("utf-32"), "is encoded as UTF-32; save it as UTF-8"),
        (b"one\nt\xe9t\tx\n", "line 2: byte 0xe9 at offset 5 is not UTF-8.*LATIN1"),
        (b"one\ntwo\n\xed\xa0\x80", "line 3: byte 0xed at offset 8 is not UTF-8"),
        (b"one\ntwo\0\n", "line 2: holds a NUL byte at offset 7"),
        (b"one\n" + b"x" * 1_000_000 + b"\n", "line 2: has more than 100,000 characters"),
    ],
)
def test_bytes_that_are_no_text(tmp_path, reader, content, expected):
    path = tmp_path / "bad file.txt"
    path.write_bytes(content)
    if reader == "qa":  # JSON is parsed first, unless the bytes are invalid
        content = content.replace(b"one\n", b'{"question": "q", "context": "c", "answer": "c"}\n')
        path.write_bytes(content)
        expected = re.sub(r"offset \d", r"offset \\d+", expected)
    elif b"one\n" in content and reader != "text":
        path.write_bytes(content.replace(b"one\n", b"o\tn\n"))
    assert re.search(expected, _refusal(READERS[reader], path))


@pytest.mark.parametrize("reader", READERS)
def test_paths_that_are_no_files(tmp_path, reader):
    assert "no such file" in _refusal(READERS[reader], tmp_path / "absent")
    assert "is a folder" in _refusal(READERS[reader], tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in _refusal(READERS[reader], tmp_path / "pipe")


def test_long_lines_can_be_allowed(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("ab" * 100_000)
    assert len(text_file(path, max_line=None).text) == 200_000


def test_lines_end_at_newlines_only(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes("a\u2028b\x85c\x0bd\x1ce\r\nsecond\r\n".encode())
    assert read_lines(path) == ["a\u2028b\x85c\x0bd\x1ce", "second"]
    assert read_text(path) == "a\u2028b\x85c\x0bd\x1ce\nsecond\n"


def test_quotes_swallow_nothing(tmp_path):
    path = tmp_path / "quotes.tsv"
    path.write_text('"a\tb\nc"\td\n', encoding="utf-8")
    assert read_table(path, ("source", "target")) == [('"a', "b"), ('c"', "d")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("only one", "line 21: has 1 column, not 2; write source <tab> target on every line"),
        ("a\tb\tc", "line 21: has 3 columns, not 2"),
        ("", "line 21: has 1 column, not 2"),
        ("\tb", "line 21: the source is empty"),
        ("a\t  ", "line 21: the target is empty"),
    ],
)
def test_ragged_tables(tmp_path, line, expected):
    path = tmp_path / "ragged.tsv"
    path.write_text(f"{PAIRS}{line}\nlast\tline\n")
    assert expected in _refusal(pairs_file, path)


def test_two_files_must_be_aligned(tmp_path):
    source, target = tmp_path / "x.en", tmp_path / "x.de"
    source.write_text("one\ntwo\nthree\n")
    target.write_text("eins\nzwei\n")
    with pytest.raises(FileError, match=r"x\.de: has 2 lines, but .*x\.en has 3"):
        pairs_file(source, target)
    target.write_text("eins\n\ndrei\n")
    with pytest.raises(FileError, match=r"x\.de, line 2: is empty"):
        pairs_file(source, target)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("{", "is not JSON"),
        ("[" * 200_000, "more than 100,000"),
        ("[" * 50_000, "is not JSON"),
        ("", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ({"question": "q", "context": "c"}, "'answer' is missing"),
        ({"question": 3, "context": "c", "answer": "c"}, "'question' is int, not a string"),
        ({"question": "q", "context": " ", "answer": "c"}, "'context' is empty"),
        ({"question": "q\0", "context": "c", "answer": "c"}, "'question' holds a NUL"),
        ({"question": "q", "context": "c \ud800", "answer": "c"}, "half a surrogate pair"),
        ({"question": "q", "context": "a cat", "answer": "dog"}, "'dog' is not in its context"),
        ({"question": "q", "context": "a party", "answer": "art"}, "'art' is only part of a word"),
        (
            {"question": "q", "context": "a cat", "answer": "cat", "answer_start": 1},
            "not at answer_start=1 of its context; the first is at 2",
        ),
        (
            {"question": "q", "context": "a cat", "answer": "cat", "answer_start": -3},
            "not at answer_start=-3",
        ),
        (
            {"question": "q", "context": "a cat", "answer": "cat", "answer_start": "2"},
            "not at answer_start='2'",
        ),
    ],
)
def test_bad_records(tmp_path, record, expected):
    good = {"question": "Where?", "context": "in the attic", "answer": "attic"}
    line = record if isinstance(record, str) else json.dumps(record)
    path = tmp_path / "qa.jsonl"
    path.write_text(f"{json.dumps(good)}\n{line}\n{json.dumps(good)}\n")
    message = _refusal(questions_file, path)
    assert expected in message
    assert ", line 2: " in message


def test_labels_outside_the_set(tmp_path):
    path = tmp_path / "labels.tsv"
    path.write_text("good\tyes\nbad\tno\nodd\tmaybe\n")
    message = _refusal(labelled_file, path, labels=["no", "yes"])
    assert ", line 3: the label must be one of no, yes, got 'maybe'" in message
    path.write_text("good\tyes\nfine\tyes\n")
    assert "needs at least two" in _refusal(labelled_file, path)


def test_too_little_to_split(tmp_path):
    path = tmp_path / "one.tsv"
    path.write_text("a\tb\na\tb\n")
    with pytest.raises(ValueError, match=r"held_out=0\.1 of 1 different examples leaves nothing"):
        pairs_file(path)

"""Tokenizers under any text, any ids and any damaged file."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_lab.tokenizers import (
    SPECIAL,
    BPETokenizer,
    CharTokenizer,
    WordTokenizer,
    byte_of,
    load_tokenizer,
)

pytestmark = pytest.mark.badinput

QUICK = settings(max_examples=200, derandomize=True, deadline=None)
ODD = [
    "\0",
    "\r\n",
    "\u202e",
    "e\u0301",
    "👩‍👩‍👧",
    "\ufeff",
    "\ud800",
    "\udfff",
    "\u2028",
    "<mask>",
    "</s>",
    " ",
    "##x",
    "Ġ",
]
ANY = st.lists(st.one_of(st.sampled_from(ODD), st.text(st.characters(), max_size=8)), max_size=6)
TEXTS = ANY.map("".join)  # lone surrogates among them
BPE = BPETokenizer.train("the cat sat on the mat, the dog sat there too. " * 30, 300)
WORDS = WordTokenizer.train("the cat sat on the mat, the dog sat there too.")


@QUICK
@given(TEXTS)
def test_bytes_come_back_whatever_the_text(text):
    ids = BPE.encode(text)
    assert BPE.decode(ids) == text.encode("utf-8", "replace").decode()
    assert not set(ids) & set(range(len(SPECIAL)))
    assert len(BPE.tokens(ids)) == len(ids)


@QUICK
@given(TEXTS)
def test_characters_come_back_where_they_are_known(text):
    tokenizer = CharTokenizer.train(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) == len(text)


@QUICK
@given(TEXTS)
def test_words_are_known_or_unknown_and_split_the_same_again(text):
    tokenizer = WordTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert tokenizer.unk_id not in ids
    assert all(0 <= i < WORDS.vocab_size for i in WORDS.encode(text))


@pytest.mark.parametrize("made", [CharTokenizer, WordTokenizer, BPETokenizer])
def test_saved_and_loaded_it_gives_the_same_ids(made, tmp_path):
    @settings(max_examples=25, derandomize=True, deadline=None)
    @given(TEXTS, TEXTS)
    def each(text, other):
        tokenizer = made.train(text)
        tokenizer.save(tmp_path)
        again = load_tokenizer(tmp_path)
        assert again == tokenizer
        for special in (False, True):
            kept = tokenizer.encode(text + other, special=special)
            assert again.encode(text + other, special=special) == kept
            assert again.decode(kept) == tokenizer.decode(kept)

    each()


@QUICK
@given(st.one_of(st.none(), st.integers(), st.floats(), st.binary(), st.lists(st.text())))
def test_what_is_no_text_is_named(value):
    for tokenizer in (BPE, WORDS):
        with pytest.raises(ValueError, match=r"text must be a string, got"):
            tokenizer.encode(value)


@pytest.mark.parametrize("ids", [[1.5], ["a"], [None], [[1]], [True], [-1], [10**9], [b"x"]])
def test_what_is_no_id_is_named(ids):
    for tokenizer in (BPE, WORDS):
        for call in (tokenizer.decode, tokenizer.tokens):
            with pytest.raises(
                ValueError, match=r"^id .* is outside|^ids must be one list of whole numbers, got"
            ):
                call(ids)


@pytest.mark.parametrize("made", [CharTokenizer, WordTokenizer, BPETokenizer])
def test_texts_to_learn_from_are_texts(made):
    for wrong in (5, None, [1], [None], ["a", b"b"]):
        with pytest.raises(ValueError, match=r"texts?[ =]"):
            made.train(wrong)
    with pytest.raises(ValueError, match=r"vocab_size must be at most .* got 9223372036854775807"):
        BPETokenizer.train("a", 2**63 - 1)


def test_a_vocabulary_without_all_bytes_or_with_other_signs_is_refused(tmp_path):
    good = BPE.to_dict()
    first = next(iter(byte_of))
    bad = {
        "must hold all 256 bytes; 0x.. is missing": {"vocabulary": good["vocabulary"][1:]},
        "must hold bytes only": {"vocabulary": [*good["vocabulary"], "日"]},
        "which is not all in vocabulary": {"merges": [[first, "日"]]},
        "merges holds": {"merges": [[1, 2]]},
        "does not describe": {"merges": [["a"]]},
        "bpe tokenizer": {"merges": None},
    }
    for message, change in bad.items():
        (tmp_path / "tokenizer.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(ValueError, match=message):
            load_tokenizer(tmp_path)
    with pytest.raises(ValueError, match="one character"):
        CharTokenizer((*SPECIAL, "ab"))
    with pytest.raises(ValueError, match="must begin with <pad>"):
        WordTokenizer(("a", "b"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
TOKENIZERS = {"char": CharTokenizer.train("some text"), "word": WORDS, "bpe": BPE}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_damaged_file_loads_or_is_named_in_one_line(kind, tmp_path):
    good = TOKENIZERS[kind].to_dict()
    whole = json.dumps(good).encode()
    path = tmp_path / "tokenizer.json"

    @st.composite
    def damaged(draw):
        if draw(st.booleans()):
            return json.dumps({**good, draw(st.sampled_from(list(good))): draw(JSON)}).encode()
        data = bytearray(
            whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole
        )
        for _ in range(draw(st.integers(0, 3)) if data else 0):
            data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
        return bytes(data)

    @settings(max_examples=150, derandomize=True, deadline=None)
    @given(damaged())
    def each(data):
        path.write_bytes(data)
        try:
            tokenizer = load_tokenizer(tmp_path)
        except ValueError as error:
            said = str(error)
        else:
            text = "some text <mask> 日"
            assert len(tokenizer.tokens(tokenizer.encode(text))) == len(tokenizer.encode(text))
            tokenizer.decode(range(tokenizer.vocab_size))
            return
        assert said.startswith(str(path))
        assert "\n" not in said

    each()

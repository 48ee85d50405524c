"""Tokenizers: round trips, agreement with Hugging Face's own, display strings, saving."""

import json
import string

import pytest
import torch

import transformer_lab as tl
from transformer_lab.tokenizers import (
    SPECIAL,
    AlphabetTokenizer,
    BPETokenizer,
    CharTokenizer,
    Tokenizer,
    WordTokenizer,
    display,
    display_bytes,
    load_tokenizer,
)

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script> $\\frac{1}{2}$",
    "right\u202eleft \x00 nul \u2028 line \x85",
    "naïve 🙂👩‍👩‍👧 e\u0301 \ufeff",
    "</s> <s> <mask> <pad> <unk>",
    "\r\n\t  two  spaces \n\n\n",
    "",
]


@pytest.fixture(scope="module")
def text():
    from pydoc_data.topics import topics

    return "".join(topics[name] for name in sorted(topics))[:100_000]


@pytest.fixture(scope="module")
def bpe(text):
    return BPETokenizer.train(text, 600)


@pytest.fixture(scope="module")
def trained(text, bpe):
    return {"char": CharTokenizer.train(text), "word": WordTokenizer.train(text), "bpe": bpe}


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_has_the_surface_of_a_tokenizer(trained, kind):
    tokenizer = trained[kind]
    assert isinstance(tokenizer, Tokenizer)
    ids = (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id)
    assert (*ids, tokenizer.unk_id, tokenizer.mask_id) == (0, 1, 2, 3, 4)
    assert tokenizer.tokens(range(5)) == list(SPECIAL)
    assert tokenizer.decode([0, 1, 2]) == ""


@pytest.mark.parametrize("sample", HOSTILE)
def test_bpe_returns_any_text(bpe, sample):
    ids = bpe.encode(sample)
    assert bpe.decode(ids) == sample
    assert all(i >= len(SPECIAL) for i in ids)


def test_bpe_cuts_where_hugging_faces_byte_level_bpe_cuts(text, bpe):
    from tokenizers import ByteLevelBPETokenizer

    theirs = ByteLevelBPETokenizer()
    theirs.train_from_iterator(
        [text], vocab_size=600, min_frequency=0, special_tokens=list(SPECIAL), show_progress=False
    )
    sample = text[20_000:40_000]
    assert [bpe.vocabulary[i] for i in bpe.encode(sample)] == theirs.encode(sample).tokens


def test_bpe_text_never_becomes_a_special_token():
    greedy = BPETokenizer.train("</s><s><mask><pad>" * 2000, 300)
    assert min(greedy.encode("</s><s><mask><pad>")) >= len(SPECIAL)
    assert greedy.decode(greedy.encode("</s><s>")) == "</s><s>"


def test_bpe_training_is_deterministic(text, bpe):
    assert BPETokenizer.train(text, 600) == bpe
    assert bpe.vocab_size == 600


def test_char_returns_what_it_was_trained_on(text, trained):
    tokenizer = trained["char"]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.vocab_size == len(set(text)) + len(SPECIAL)
    assert tokenizer.encode("a🙂") == [tokenizer.encode("a")[0], tokenizer.unk_id]


@pytest.mark.parametrize(
    "sentence",
    [
        "Nora heads for the attic.",
        "Where is Nora? Here, in (or near) the well-known attic!",
        "the baker's dogs; 2021 times: yes",
    ],
)
def test_word_returns_sentences(sentence):
    tokenizer = WordTokenizer.train([sentence])
    assert tokenizer.decode(tokenizer.encode(sentence)) == sentence


def test_word_vocabulary_is_ranked_and_bounded():
    texts = ["b b b a a c", "d"]
    assert WordTokenizer.train(texts).vocabulary[5:] == ("b", "a", "c", "d")
    assert WordTokenizer.train(texts, min_count=2).vocabulary[5:] == ("b", "a")
    small = WordTokenizer.train(texts, max_size=6)
    assert small.vocabulary[5:] == ("b",)
    assert small.decode(small.encode("b z")) == "b <unk>"


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_special_names_are_read_only_on_demand(trained, kind):
    tokenizer = trained[kind]
    assert tokenizer.mask_id not in tokenizer.encode("the <mask> is")
    ids = tokenizer.encode("the <mask> is", special=True)
    assert ids.count(tokenizer.mask_id) == 1
    assert tokenizer.decode(ids).replace(" ", "") == "the<mask>is"


def test_display_leaves_nothing_invisible():
    assert display(" a\n\t") == "·a↵⇥"
    assert display("\x00\x1b\x7f") == "␀␛␡"
    assert display("\u202e\xa0\u200b\ud800") == "⟨U+202E⟩⟨U+00A0⟩⟨U+200B⟩⟨U+D800⟩"
    assert display("naïve🙂") == "naïve🙂"
    assert display("\ufe0f") == "⟨U+FE0F⟩" and display("☎\ufe0f") == "☎\ufe0f"
    assert (
        display("\u0947") == "◌\u0947" and display("ने") == "ने" and display("\u3164") == "⟨U+3164⟩"
    )
    assert display_bytes("\u0947a\u0301".encode()) == "◌\u0947a\u0301"
    every = "".join(display(chr(c)) for c in range(0x3000))
    assert every.isprintable()
    assert " " not in every


def test_tokens_show_bytes_of_split_characters(bpe):
    ids = bpe.encode(" é")
    assert "".join(bpe.tokens(ids)).replace("·", "") == "⟨C3⟩⟨A9⟩"
    assert all(shown for shown in bpe.tokens(range(bpe.vocab_size)))


def test_decode_takes_tensors_and_refuses_foreign_ids(trained):
    tokenizer = trained["char"]
    assert tokenizer.decode(torch.tensor(tokenizer.encode("abc"))) == "abc"
    with pytest.raises(ValueError, match=r"id 9999 is outside"):
        tokenizer.decode([9999])
    with pytest.raises(ValueError, match=r"id -1 is outside"):
        tokenizer.tokens([-1])


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_saved_tokenizer_is_the_same(trained, kind, text, tmp_path):
    tokenizer = trained[kind]
    path = tokenizer.save(tmp_path / "new" / "folder")
    again = load_tokenizer(path.parent)
    assert again == tokenizer
    assert hash(again) == hash(tokenizer)
    assert again.encode(text[:5000]) == tokenizer.encode(text[:5000])
    assert [p.name for p in path.parent.iterdir()] == ["tokenizer.json"]


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not readable JSON"),
        ("[" * 100_000, "is not readable JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "kind must be one of char, alphabet, word, bpe, got None"),
        ('{"kind": ["char"]}', r"kind must be .* got \['char'\]"),
        ('{"kind": "char", "vocabulary": [1]}', "must be a list of non-empty strings"),
        ('{"kind": "char", "vocabulary": ["a", "a"]}', "'a' twice"),
        ('{"kind": "bpe", "vocabulary": ["a"]}', "does not describe a bpe tokenizer"),
        ('{"kind": "bpe", "vocabulary": ["a"], "merges": [["x", "y"]]}', "does not describe"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, message):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.badinput
def test_other_bad_arguments(tmp_path):
    with pytest.raises(FileNotFoundError, match="no tokenizer here"):
        load_tokenizer(tmp_path)
    with pytest.raises(ValueError, match=r"vocab_size must be at least 261 .* got 100"):
        BPETokenizer.train("text", 100)
    with pytest.raises(ValueError, match="max_size must be above 5, got 5"):
        WordTokenizer.train("text", max_size=5)


def test_to_dict_is_plain_json(trained):
    for tokenizer in trained.values():
        assert json.loads(json.dumps(tokenizer.to_dict())) == tokenizer.to_dict()
    letters = CharTokenizer.train(string.ascii_lowercase)
    assert CharTokenizer.from_dict(letters.to_dict()) == letters


def test_an_alphabet_counts_from_0_and_holds_nothing_else(tmp_path):
    letters = AlphabetTokenizer("badge")
    assert isinstance(letters, Tokenizer) and letters.vocab_size == 5
    assert letters.encode("gab") == [3, 1, 0] and letters.tokens([3, 0]) == ["g", "b"]
    names = ("pad_id", "bos_id", "eos_id", "unk_id", "mask_id")
    assert {getattr(letters, name) for name in names} == {None}
    for special in (False, True):
        assert letters.encode("badge", special=special) == list(range(5))
    assert letters.decode(range(5)) == "badge"
    with pytest.raises(ValueError, match=r"^text has “f”, which is not one of badge$"):
        letters.encode("fade")
    letters.save(tmp_path)
    assert load_tokenizer(tmp_path) == letters != CharTokenizer.train("badge")
    assert AlphabetTokenizer.train(["ba", "dge"]).vocabulary == ("a", "b", "d", "e", "g")
    for wrong, message in ((["ab"], "one character"), ("aa", "twice")):
        with pytest.raises(ValueError, match=message):
            AlphabetTokenizer(wrong)
    config = tl.ModelConfig(kind="encoder", vocab_size=9, n_layers=1, n_heads=2, d_model=8, n_ctx=6)
    reader = tl.TextModel(tl.Transformer(config), letters)
    assert reader.trace("bad").query_tokens("encoder", 0) == ["b", "a", "d"]
    with pytest.raises(ValueError, match=r"text has 7 tokens but .* reads at most 6"):
        reader.encode("badgeba")

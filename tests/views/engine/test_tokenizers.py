"""The page's tokenizers give Python's ids, texts and labels: every script, and invalid text."""

import json
import random
import unicodedata

import pytest
from tokenizers import AddedToken, Regex, decoders, normalizers, processors, trainers
from tokenizers import Tokenizer as Engine
from tokenizers import models as engines
from tokenizers import pre_tokenizers as cutters

from tests.missing import package
from tests.views.engine.node import answers
from transformer_lab import datasets
from transformer_lab.adapters.tokenizer import HuggingFaceTokenizer
from transformer_lab.tokenizers import (
    AlphabetTokenizer,
    BPETokenizer,
    CharTokenizer,
    WordTokenizer,
    display,
)
from transformer_lab.views.pages.tokenizers import browser_pattern, packed_tokenizer

T = package("transformers")

pytestmark = pytest.mark.needs("node")
CLASSES = "x{}0 {}_{} "  # between a letter, a number, a space and others, inside a word
ODD = [
    "",
    " ",
    "\n",
    "[MASK] a [CLS]x",
    "a  <mask>  b",
    "<|im_start|>12 3½<|endoftext|>",
    "\r\n\t ",
    "a",
    "<mask>",
    "<s></s><pad>",
    "it's I'll we'Ve they’re x-ray x--y",
    "  two  spaces ",
    "tail   ",
    "1234,567.8 ½ Ⅳ ٣٤ 一二",
    "snake_case __init__",
    "(a) [b], {c}; d… “e” ‘f’",
    "é é ﬁ ǅ İ ß",
    "नमस्ते दुनिया",
    "ภาษาไทย",
    "العربية עברית",
    "日本語テキスト 한국어",
    "\u202eabc\u202c\u200b\u200d",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷 👍🏽",
    "\ud800",
    "a\udfffb",
    "\udc00\ud800",
    "😀\ud83d",
    "\x00\x1c\x1d\x1e\x1f\x85\xa0\ufeff",
    "\ufeffstart",
    "\u180e\u2028\u2029\u3000",
    "a\x1cb",
    "'",
    "''s 's",
    "e\u0301\u0302 \u0301",
    "\U0010ffff\U000e0001",
]


def characters():
    """Every assigned character, but only some of large alphabets, private use and surrogates."""
    found = []
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        large = (category == "Lo" and code >= 0x3400) or category in ("Co", "Cs")
        if category != "Cn" and (not large or code % 97 == 0):
            found.append(chr(code))
    return found


def newer(every):
    """Marks and symbols added to Unicode after version 8, which BERT's tokenizers use: they take
    them for letters, and a browser does not."""
    clean = normalizers.BertNormalizer(strip_accents=True, lowercase=False)
    cut, ascii_ = cutters.BertPreTokenizer(), set("$+<=>^`|~")
    found = {"\U0001171e"}  # a mark with no width until Unicode 16
    for c in (c for c in every if unicodedata.category(c) != "Cs"):
        plain = unicodedata.normalize("NFD", c)
        kinds = [unicodedata.category(x) for x in plain]
        gone = all(kind in ("Mn", "Cc", "Cf", "Co") for kind in kinds)
        gone = (gone and c not in "\t\n\r") or c == "\ufffd"
        mark = kinds[0][0] == "P" or c in ascii_
        known = clean.normalize_str(f"a{c}b") == "ab"
        if known != gone or mark != (len(cut.pre_tokenize_str(f"a{plain[0]}b")) == 3):
            found.add(c)
    return found


def newer_forms(every):
    """Characters that normal forms treat differently in the tokenizers' Unicode and in Python's."""
    forms = {name: getattr(normalizers, name)() for name in ("NFC", "NFD", "NFKC", "NFKD")}
    frames = [chr(0x334) + "{}", "{}" + chr(0x334), chr(0x345) + "{}", "{}" + chr(0x301)]
    return {
        c
        for c in every
        if unicodedata.category(c) != "Cs"
        and any(
            unicodedata.normalize(name, text) != form.normalize_str(text)
            for name, form in forms.items()
            for text in (frame.format(c) for frame in frames)
        )
    }


def texts(every, new):
    chance = random.Random(7)
    words = " ".join(datasets.python_manual().text[:3000].split(" "))
    found = [*ODD, words, words[::-1]]
    for _ in range(300):
        kinds = (every, "abc 's\n  '-’_1,.()", every[:600], ODD)
        pieces = chance.choice(kinds)
        found.append("".join(chance.choice(pieces) for _ in range(chance.randrange(1, 40))))
    found.append("".join(CLASSES.format(c, c, c) for c in every))
    found += ["a" * 100_000, " " * 99_999 + "b", "ab" * 50_000, "é😀" * 50_000, "\ud800" * 100_000]
    found.append("".join(CLASSES.format(c, c, c) for c in every if c not in new))  # for BERT's
    return [json.loads(json.dumps(text)) for text in found]  # adjacent surrogates merge


def tokenizers():
    manual = datasets.python_manual().text[:60_000]
    trained = manual + " ".join(ODD[9:20]) * 20 + "aaaa" * 50
    plain = json.loads(json.dumps(trained))
    return [
        CharTokenizer.train(trained[::7] + "é😀日"),
        WordTokenizer.train(trained, max_size=900),
        BPETokenizer.train(plain, 700),
        BPETokenizer.train("", 261),
        *hugging_faces([line.encode("utf-8", "replace").decode() for line in plain.split("\n")]),
    ]


def hugging_faces(lines):
    """Tokenizers like BERT's, SmolLM2's and RoBERTa's, as transformers wraps them."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = Engine(engines.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = cutters.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece()
    pieces.train_from_iterator(
        lines,
        trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False),
    )
    around = [(name, pieces.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    pieces.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=around)
    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    yield wrapped(pieces, **dict(zip(roles, special, strict=True)))
    for cut, marks, prefix in (
        ([cutters.Digits(individual_digits=True)], ["<|endoftext|>", "<|im_start|>"], False),
        (
            [],
            ["</s>", "<s>", AddedToken("<mask>", lstrip=True, special=True, normalized=False)],
            True,
        ),
    ):
        bytes_ = Engine(engines.BPE())
        byte_level = cutters.ByteLevel(add_prefix_space=prefix)
        bytes_.pre_tokenizer = cutters.Sequence([*cut, byte_level]) if cut else byte_level
        bytes_.decoder, bytes_.post_processor = decoders.ByteLevel(), processors.ByteLevel()
        alphabet = cutters.ByteLevel.alphabet()
        bytes_.train_from_iterator(
            lines,
            trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False),
        )
        bytes_.add_special_tokens(marks)
        mask = {"mask_token": marks[2]} if prefix else {}
        yield wrapped(bytes_, eos_token=marks[0], bos_token=marks[1], **mask)


LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SUBSTITUTES = [
    decoders.Replace("▁", " "),
    decoders.ByteFallback(),
    decoders.Fuse(),
    decoders.Strip(" ", 1, 0),
]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def more_of_hugging_faces(lines):
    """Parts of both of Llama's, of Gemma's, T5's, DeBERTa's and the first GPT's, by name."""
    made = {}

    def trained(name, model, normalizer, cutter, decoder, special=("</s>", "<unk>"), **options):
        engine = Engine(model)
        if normalizer:
            engine.normalizer = normalizer
        if cutter:
            engine.pre_tokenizer = cutter
        engine.decoder = decoder
        kind = {"BPE": trainers.BpeTrainer, "Unigram": trainers.UnigramTrainer}[
            type(model).__name__
        ]
        how = dict(vocab_size=700, special_tokens=list(special), show_progress=False)
        engine.train_from_iterator(lines, kind(**{**how, **options}))
        made[name] = wrapped(engine, eos_token="</s>", unk_token="<unk>")
        return engine

    space = cutters.Metaspace
    fallback = dict(special=("</s>", "<unk>", *BYTES))
    trained(
        "llama-2",
        engines.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"),
        None,
        space(prepend_scheme="first", split=False),
        decoders.Sequence(SUBSTITUTES),
        **fallback,
    )
    trained(
        "gemma",
        engines.BPE(fuse_unk=True, unk_token="<unk>"),
        normalizers.Replace(" ", "▁"),
        cutters.Split(" ", "merged_with_previous"),
        decoders.Sequence(SUBSTITUTES[:3]),
    )
    trained(
        "llama-3",
        engines.BPE(ignore_merges=True),
        normalizers.NFC(),
        cutters.Sequence(
            [
                cutters.Split(Regex(LLAMA_3), "isolated"),
                cutters.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
        decoders.ByteLevel(),
        initial_alphabet=cutters.ByteLevel.alphabet(),
    )
    trained(
        "gpt",
        engines.BPE(unk_token="<unk>", end_of_word_suffix="</w>"),
        normalizers.BertNormalizer(lowercase=True),
        cutters.BertPreTokenizer(),
        decoders.BPEDecoder("</w>"),
        end_of_word_suffix="</w>",
    )
    t5 = trained(
        "t5",
        engines.Unigram(),
        None,
        cutters.Sequence([cutters.WhitespaceSplit(), space()]),
        decoders.Metaspace(),
        unk_token="<unk>",
    )
    t5.post_processor = processors.RobertaProcessing(("</s>", 0), ("<unk>", 1))
    trained(
        "deberta",
        engines.Unigram(),
        normalizers.Sequence(
            [
                normalizers.Lowercase(),
                normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
                normalizers.NFKC(),
                normalizers.Strip(left=False),
                normalizers.StripAccents(),
            ]
        ),
        cutters.Sequence([cutters.Punctuation("isolated"), space()]),
        decoders.Metaspace(),
        unk_token="<unk>",
    )
    trained(
        "splits",
        engines.BPE(unk_token="<unk>"),
        normalizers.Sequence([normalizers.NFKD(), normalizers.Prepend("_"), normalizers.NFD()]),
        cutters.Sequence(
            [
                cutters.Split("e", "merged_with_next"),
                cutters.Split(Regex(r"[\p{Lu}\d]"), "contiguous"),
                cutters.Split(Regex(r"[^\s'-]+|\S"), "removed", invert=True),
                cutters.Whitespace(),
            ]
        ),
        decoders.Fuse(),
    )
    return made


def wrapped(engine, **roles):
    return HuggingFaceTokenizer(T.PreTrainedTokenizerFast(tokenizer_object=engine, **roles))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The input of Python's tokenizers, and the output of the page's."""
    folder, chance, every = tmp_path_factory.mktemp("tokenizers"), random.Random(3), characters()
    new = newer(every)
    own, given = tokenizers(), texts(every, new)
    lists = [
        [[chance.randrange(t.vocab_size) for _ in range(n % 30)] for n in range(200)] for t in own
    ]
    short = [i for i, text in enumerate(given) if len(text) < 5000]
    every_sign, for_bert, all_of_them = len(given) - 7, len(given) - 1, range(len(given) - 1)
    which = [*[[*all_of_them]] * 3, short, [*short, for_bert], [*short, every_sign], short]
    told = dict(
        tokenizers=[packed_tokenizer(t) for t in own],
        texts=given,
        lists=lists,
        characters=every,
        which=which,
    )
    found = answers("run_tokenizers.mjs", folder, told)
    return own, [[given[i] for i in one] for one in which], lists, (every, new), found


def test_ids_are_pythons(both):
    own, given, _, (_, new), found = both
    for tokenizer, texts_, side in zip(own, given, found["found"], strict=True):
        bert = getattr(tokenizer, "mask_id", None) == 4 and hasattr(tokenizer, "inner")
        count = 0
        for text, ids in zip(texts_, side["ids"], strict=True):
            if not bert or not new & set(text):
                assert ids == tokenizer.encode(text), (tokenizer, text[:200])
                count += 1
        assert count > 150
    assert len(new) < 700
    assert any(3 in side for side in found["found"][1]["ids"])  # some words are unknown


def test_texts_and_labels_are_pythons(both):
    own, _, lists, _, found = both
    for tokenizer, some, side in zip(own, lists, found["found"], strict=True):
        for ids, text in zip(some, side["decoded"], strict=True):
            assert text == tokenizer.decode(ids), (tokenizer, ids)
        assert side["tokens"] == tokenizer.tokens(range(tokenizer.vocab_size))
        assert side["rows"] == getattr(tokenizer, "rows", tokenizer.vocab_size)


def test_more_parts_of_hugging_faces_are_pythons(tmp_path):
    every, chance = characters(), random.Random(4)
    lines = [line for line in datasets.python_manual().text[:60_000].split("\n") if line]
    made = more_of_hugging_faces([*lines, *(one.replace("\ud800", "") for one in ODD[9:20])])
    given = [text for text in texts(every, newer(every)) if len(text) < 5000]
    for _ in range(3000):
        some = chance.choice((every, "abc 's\n  '-’_1,.()ſK", "".join(lines[:40]), ODD))
        given.append("".join(chance.choice(some) for _ in range(chance.randrange(1, 30))))
    new = newer_forms(every) | newer(every)
    given = ["".join(c for c in json.loads(json.dumps(text)) if c not in new) for text in given]
    assert len(new) < 900
    lists = [
        [[chance.randrange(t.vocab_size) for _ in range(n % 30)] for n in range(200)]
        for t in made.values()
    ]
    told = dict(
        tokenizers=[packed_tokenizer(t) for t in made.values()],
        texts=given,
        lists=lists,
        characters=[],
        which=[[*range(len(given))]] * len(made),
    )
    for (name, tokenizer), some, side in zip(
        made.items(), lists, answers("run_tokenizers.mjs", tmp_path, told)["found"], strict=True
    ):
        wrong = [
            text
            for text, ids in zip(given, side["ids"], strict=True)
            if ids != tokenizer.encode(text)
        ]
        assert not wrong, (name, len(wrong), wrong[:5])
        for ids, text in zip(some, side["decoded"], strict=True):
            assert text == tokenizer.decode(ids), (name, ids)
        assert side["tokens"] == tokenizer.tokens(range(tokenizer.vocab_size))
        assert side["rows"] == tokenizer.rows


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        (r"\s+(?!\S)|\'", r"\p{White_Space}+(?!\P{White_Space})|'"),
        (r"(?i:'s|[k-])x", r"(?:'[sSſ]|[kK\u212a-])x".replace(r"\u212a", "\u212a")),
        (r"[^\s\p{L}\-]{1,3}.", r"[^\p{White_Space}\p{L}\-]{1,3}[^\n]"),
        (r"a++", None),
        (r"^a", None),
        (r"\w", None),
        (r"[a&&[b]]", None),
    ],
)
def test_a_pattern_is_written_for_a_browser_or_refused(pattern, written):
    if written is None:
        with pytest.raises(ValueError, match="does not run in a page"):
            browser_pattern(pattern)
    else:
        assert browser_pattern(pattern) == written


def test_what_is_invisible_is_shown_alike(both):
    _, _, _, (every, _), found = both
    assert len(every) > 20_000
    assert [display(c) for c in every] == found["shown"]


def test_an_alphabet_reserves_nothing_and_refuses_what_is_not_in_it(tmp_path):
    tokenizer = AlphabetTokenizer("lab é😀<>")
    given = ["", "ball é", "😀😀<a>", "<mask>", "a c", "a\nb", "e\u0301", "\ud800", "日本"]
    lists = [[], [0, 1, 2], [3, 4, 5, 6, 7], list(range(8))]
    told = dict(
        tokenizers=[packed_tokenizer(tokenizer)],
        texts=given,
        lists=[lists],
        characters=[],
        which=[list(range(len(given)))],
    )
    (side,) = answers("run_tokenizers.mjs", tmp_path, told)["found"]
    for text, ids in zip(given, side["ids"], strict=True):
        if set(text) <= set(tokenizer.vocabulary):
            assert ids == tokenizer.encode(text)
            continue
        with pytest.raises(ValueError, match="which is not one of lab·é😀<>") as refused:
            tokenizer.encode(text)
        assert ids == str(refused.value)
    assert sum(isinstance(ids, list) for ids in side["ids"]) == 3
    assert side["decoded"] == [tokenizer.decode(ids) for ids in lists]
    assert side["tokens"] == tokenizer.tokens(range(8)) == list("lab·é😀<>") and side["rows"] == 8

"""Tokenizers: text to token ids and back, by characters, by words, or by byte-level BPE.

All three reserve the same five ids, ``<pad> <s> </s> <unk> <mask>`` = 0 … 4, and share one
interface, so a model, a dataset and a view can take any of them; a fourth, for the alphabet of a
task, reserves none. A tokenizer is saved beside its model as ``tokenizer.json`` (`Tokenizer.save`,
`load_tokenizer`).
"""

from __future__ import annotations

import json
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from .arguments import check, checked, shown
from .files.paths import as_path, check_folder, in_line
from .files.safefiles import committed, read_json

__all__ = ["AlphabetTokenizer", "BPETokenizer", "CharTokenizer", "Tokenizer", "WordTokenizer"]
__all__ += ["display", "display_bytes", "load_tokenizer"]

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<mask>")
PAD, BOS, EOS, UNK, MASK = range(5)

_SPECIAL_ID = {name: i for i, name in enumerate(SPECIAL)}
_SPECIAL_PATTERN = re.compile("(" + "|".join(map(re.escape, SPECIAL)) + ")")
_SHOWN = {" ": "·", "\n": "↵", "\t": "⇥", "\x7f": "␡"}
_BLANK = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")  # letters and symbols without a glyph
# Marks without a glyph of their own, such as the variation selector of an emoji.
_JOINING = re.compile("[\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_LARGEST_FILE = 64 * 2**20
_LARGEST_SIZE = 2**24


class PositionName(str):
    """The name of a position that is not a token, such as "patch 1,2": spaces stay spaces."""


def display(text: str) -> str:
    """Make invisible characters of a text visible: ``·`` space, ``↵`` newline, ``⇥`` tab.

    Other control characters become their Unicode pictures (``␀``), and whatever else has no glyph
    of its own, such as a right-to-left override, its code point (``⟨U+202E⟩``). A combining mark
    that begins the text is put on a dotted circle.
    """
    return "".join(_display_character(c, not i) for i, c in enumerate(text))


def display_bytes(data: bytes) -> str:
    """`display` for bytes of UTF-8; those that are only part of a character show as numbers."""
    read = enumerate(data.decode("utf-8", "surrogateescape"))
    return "".join(
        f"⟨{ord(c) - 0xDC00:02X}⟩" if "\udc80" <= c <= "\udcff" else _display_character(c, not i)
        for i, c in read
    )


def _display_character(character: str, first: bool) -> str:
    if character in _SHOWN:
        return _SHOWN[character]
    if character < " ":
        return chr(0x2400 + ord(character))
    lone = first and unicodedata.category(character)[0] == "M"
    if character.isprintable() and not (_BLANK if not lone else _JOINING).match(character):
        return f"◌{character}" if lone else character
    return f"⟨U+{ord(character):04X}⟩"


@runtime_checkable
class Tokenizer(Protocol):
    """What models, datasets and views need of a tokenizer. A special id that it lacks is None."""

    pad_id: int | None
    bos_id: int | None
    eos_id: int | None
    unk_id: int | None
    mask_id: int | None

    @property
    def vocab_size(self) -> int:
        """Number of ids, the special ones included."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; no beginning or end token is added."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Text of token ids (a list or a tensor); padding, beginning and end are left out."""
        ...

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """One display string per id, with invisible characters made visible (see `display`)."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Everything that `load_tokenizer` needs, ready for JSON."""
        ...

    def save(self, folder: str | Path) -> Path:
        """Write ``tokenizer.json`` into a folder, all of it or nothing."""
        ...


class _OwnTokenizer:
    """What the tokenizers share: special ids, their names in text, saving."""

    kind: ClassVar[str]
    _special: ClassVar[tuple[str, ...]] = SPECIAL
    pad_id: int | None = PAD
    bos_id: int | None = BOS
    eos_id: int | None = EOS
    unk_id: int | None = UNK
    mask_id: int | None = MASK

    def __init__(self, vocabulary: Sequence[str]):
        self.vocabulary = tuple(vocabulary)
        if self.vocabulary[: len(self._special)] != self._special:
            raise ValueError(
                f"vocabulary must begin with {', '.join(SPECIAL)}, got {shown(self.vocabulary)}"
            )
        unfit = [t for t in self.vocabulary if not isinstance(t, str) or not t]
        if unfit:
            raise ValueError(f"vocabulary must hold non-empty strings, got {shown(unfit[0])}")
        self._id = {token: i for i, token in enumerate(self.vocabulary)}
        if len(self._id) != len(self.vocabulary):
            twice = next(t for t, n in Counter(self.vocabulary).items() if n > 1)
            raise ValueError(f"vocabulary must not repeat a token, got {shown(twice)} twice")

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of a text.

        Args:
            text: any string. Unknown pieces become ``<unk>``; nothing is ever added.
            special: read ``<mask>``, ``<s>`` … in the text as the special tokens of that name.
                Off, so that no text can smuggle them in.
        """
        check("text", text, str)
        if not special or not self._special:
            return self._encode(text)
        ids: list[int] = []
        for piece in _SPECIAL_PATTERN.split(text):
            ids += [_SPECIAL_ID[piece]] if piece in _SPECIAL_ID else self._encode(piece)
        return ids

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """One display string per id, with invisible characters made visible."""
        own = self._special
        return [own[i] if i < len(own) else self._display(i) for i in self._checked(ids)]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of token ids; padding, beginning and end are left out."""
        first = EOS + 1 if self._special else 0
        return self._decode([i for i in self._checked(ids) if i >= first])

    def save(self, folder: str | Path) -> Path:
        """Write ``tokenizer.json`` into a folder, all of it or nothing; return its path."""
        path = check_folder("folder", folder) / "tokenizer.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with committed(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), ensure_ascii=True), encoding="ascii")
        return path

    def to_dict(self) -> dict[str, Any]:
        """Everything that `load_tokenizer` needs, ready for JSON."""
        return {"kind": self.kind, "vocabulary": list(self.vocabulary[len(self._special) :])}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> _OwnTokenizer:
        """The tokenizer that `to_dict` described."""
        return cls(cls._special + tuple(values["vocabulary"]))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.to_dict() == self.to_dict()  # type: ignore

    def __hash__(self) -> int:
        return hash((self.kind, self.vocabulary))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"

    def _checked(self, ids: Iterable[int]) -> list[int]:
        numbers: list[int] = ids.tolist() if hasattr(ids, "tolist") else list(ids)  # type: ignore
        for i in numbers:
            if isinstance(i, bool) or not hasattr(i, "__index__"):
                raise ValueError(f"ids must be one list of whole numbers, got {shown(i)}")
            if not 0 <= i < self.vocab_size:
                raise ValueError(f"id {i} is outside this tokenizer's 0 … {self.vocab_size - 1}")
        return numbers

    def _display(self, i: int) -> str:
        return display(self.vocabulary[i])

    def _encode(self, text: str) -> list[int]:
        raise NotImplementedError

    def _decode(self, ids: list[int]) -> str:
        raise NotImplementedError


class CharTokenizer(_OwnTokenizer):
    """One token per character. ``decode(encode(text)) == text`` for the characters it knows."""

    kind = "char"

    def __init__(self, vocabulary: Sequence[str]):
        super().__init__(vocabulary)
        for token in self.vocabulary[len(self._special) :]:
            if len(token) > 1:
                raise ValueError(f"every token must be one character, got {shown(token)}")

    @classmethod
    @checked
    def train(cls, text: str | Iterable[str]) -> CharTokenizer:
        """A vocabulary of every character in `text` (one string or many), in code-point order."""
        return cls(cls._special + tuple(sorted(set().union(*_texts(text)))))

    def _encode(self, text: str) -> list[int]:
        get = self._id.get
        return [get(character, UNK) for character in text]

    def _decode(self, ids: list[int]) -> str:
        return "".join(self.vocabulary[i] for i in ids)


class AlphabetTokenizer(CharTokenizer):
    """One token per character of an alphabet, numbered from 0 in its order, with no special tokens:
    for a task whose texts use only these characters. Any other is refused."""

    kind = "alphabet"
    _special = ()
    pad_id = bos_id = eos_id = unk_id = mask_id = None

    def _encode(self, text: str) -> list[int]:
        for character in text:
            if character not in self._id:
                message = f"text has “{display(character)}”, which is not one of"
                raise ValueError(f"{message} {''.join(map(display, self.vocabulary))}")
        return super()._encode(text)


class WordTokenizer(_OwnTokenizer):
    """One token per word or punctuation mark; white space only separates.

    ``decode`` joins words by single spaces, with none before closing punctuation.
    """

    kind = "word"
    pattern = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
    closing = tuple(".,;:!?)]}…")
    opening = tuple("([{")

    @classmethod
    @checked
    def train(
        cls, texts: str | Iterable[str], *, min_count: int = 1, max_size: int | None = None
    ) -> WordTokenizer:
        """A vocabulary of the words in `texts`, the most frequent first.

        Args:
            texts: one string or many.
            min_count: words seen less often become ``<unk>``.
            max_size: largest `vocab_size`, special tokens included; None for no limit.
        """
        if max_size is not None and max_size <= len(SPECIAL):
            raise ValueError(f"max_size must be above {len(SPECIAL)}, got {max_size}; try 10000")
        counts: Counter[str] = Counter()
        for text in _texts(texts):
            counts.update(cls.pattern.findall(text))
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        words = [word for word, count in ranked if count >= min_count]
        return cls(SPECIAL + tuple(words[: None if max_size is None else max_size - len(SPECIAL)]))

    @classmethod
    def split(cls, text: str) -> list[str]:
        """The words and punctuation marks of a text, in order."""
        return cls.pattern.findall(text)

    def _encode(self, text: str) -> list[int]:
        get = self._id.get
        return [get(word, UNK) for word in self.pattern.findall(text)]

    def _decode(self, ids: list[int]) -> str:
        parts: list[str] = []
        for i in ids:
            word = self.vocabulary[i]
            tight = word in self.closing or (parts and parts[-1] in self.opening)
            if parts and not tight:
                parts.append(" ")
            parts.append(word)
        return "".join(parts)


class BPETokenizer(_OwnTokenizer):
    """Byte-level byte-pair encoding (Hugging Face `tokenizers`): any text, no ``<unk>``.

    ``decode(encode(text)) == text`` for every string that UTF-8 can hold.
    Source: Sennrich et al. 2016; bytes instead of characters, Radford et al. 2019.
    """

    kind = "bpe"

    def __init__(self, vocabulary: Sequence[str], merges: Sequence[tuple[str, str]]):
        from tokenizers import Tokenizer as Engine
        from tokenizers import models, pre_tokenizers

        super().__init__(vocabulary)
        self._check_bytes()
        self.merges = tuple((left, right) for left, right in merges)
        for pair in self.merges:
            texts = all(isinstance(token, str) for token in pair)
            if not texts or not {*pair, "".join(pair)} <= self._id.keys():
                raise ValueError(f"merges holds {shown(pair)}, which is not all in vocabulary")
        # Inside the engine the special names carry a space, which no byte-level token can hold,
        # so that no text merges into one of them.
        inside = {f" {t}" if i < len(SPECIAL) else t: i for i, t in enumerate(self.vocabulary)}
        self._engine = Engine(models.BPE(vocab=inside, merges=list(self.merges)))
        self._engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def _check_bytes(self) -> None:
        """Check that the vocabulary holds all bytes, for any text, and nothing else, so that any
        token can be decoded."""
        missing = [byte for character, byte in byte_of.items() if character not in self._id]
        if missing:
            raise ValueError(f"vocabulary must hold all 256 bytes; 0x{missing[0]:02x} is missing")
        for token in self.vocabulary[len(SPECIAL) :]:
            if not byte_of.keys() >= set(token):
                raise ValueError(f"vocabulary must hold bytes only, got {shown(token)}")

    @classmethod
    @checked
    def train(cls, text: str | Iterable[str], vocab_size: int = 1024) -> BPETokenizer:
        """Learn merges from `text` (one string or many) until `vocab_size` ids are used.

        Raises:
            ValueError: `vocab_size` is below 261, the special tokens and the 256 bytes.
        """
        from tokenizers import Tokenizer as Engine
        from tokenizers import models, pre_tokenizers, trainers

        if vocab_size < len(SPECIAL) + 256:
            raise ValueError(
                f"vocab_size must be at least 261 (256 bytes and 5 special), got {vocab_size}"
            )
        if vocab_size > _LARGEST_SIZE:
            raise ValueError(f"vocab_size must be at most {_LARGEST_SIZE:,}, got {vocab_size}")
        engine = Engine(models.BPE())
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[f" {name}" for name in SPECIAL],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        engine.train_from_iterator(_pieces(text), trainer)
        model = json.loads(engine.to_str())["model"]
        ordered = sorted(model["vocab"], key=model["vocab"].__getitem__)
        # Older releases write a merge as "a b", newer ones as ["a", "b"].
        merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
        return cls(SPECIAL + tuple(ordered[len(SPECIAL) :]), [(a, b) for a, b in merges])

    def _encode(self, text: str) -> list[int]:
        return self._engine.encode(as_utf8(text)).ids

    def _decode(self, ids: list[int]) -> str:
        return b"".join(map(self._bytes, ids)).decode("utf-8", "replace")

    def _bytes(self, i: int) -> bytes:
        if i < len(SPECIAL):
            return SPECIAL[i].encode()
        return bytes(byte_of[character] for character in self.vocabulary[i])

    def _display(self, i: int) -> str:
        return display_bytes(self._bytes(i))

    def to_dict(self) -> dict[str, Any]:
        """Everything that `load_tokenizer` needs, ready for JSON."""
        return {**super().to_dict(), "merges": [list(merge) for merge in self.merges]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BPETokenizer:
        """The tokenizer that `to_dict` described."""
        return cls(SPECIAL + tuple(values["vocabulary"]), [(a, b) for a, b in values["merges"]])


def load_tokenizer(folder: str | Path) -> CharTokenizer | WordTokenizer | BPETokenizer:
    """The tokenizer that `Tokenizer.save` wrote into a folder (or its ``tokenizer.json``).

    Raises:
        FileNotFoundError: no ``tokenizer.json`` there.
        ValueError: the file is not one of our tokenizers; the message names it and what is wrong.
    """
    path = as_path(folder, "folder")
    path = path / "tokenizer.json" if path.is_dir() else path
    name = in_line(path)
    if not path.is_file():
        raise FileNotFoundError(f"{name}: no tokenizer here; Tokenizer.save(folder) writes one")
    values = read_json(path, limit=_LARGEST_FILE)
    own = (CharTokenizer, AlphabetTokenizer, WordTokenizer, BPETokenizer)
    kinds = {cls.kind: cls for cls in own}
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{name}: kind must be one of {', '.join(kinds)}, got {shown(kind)}")
    words = values.get("vocabulary")
    if not isinstance(words, list) or not all(isinstance(w, str) and w for w in words):
        raise ValueError(f"{name}: 'vocabulary' must be a list of non-empty strings")
    try:
        return kinds[kind].from_dict(values)  # type: ignore[return-value]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{name} does not describe a {kind} tokenizer ({error!r})") from None


def as_utf8(text: str) -> str:
    """Return the text with ``?`` for each lone half of a surrogate pair, which UTF-8 cannot hold;
    a warning says so."""
    whole = text.encode("utf-8", "replace").decode()
    if whole != text:
        warnings.warn("a lone surrogate is half a character; it is read as '?'", stacklevel=4)
    return whole


def _texts(texts: str | Iterable[str]) -> Iterator[str]:
    for text in (texts,) if isinstance(texts, str) else texts:
        if not isinstance(text, str):
            raise ValueError(f"texts must be strings, got {shown(text)}")
        yield text


def _pieces(texts: str | Iterable[str], size: int = 16384) -> Iterator[str]:
    """Cut texts after newlines into pieces that the trainer can process one by one."""
    for text in _texts(texts):
        start = 0
        while start < len(text):
            end = text.find("\n", start + size) + 1 or len(text)
            yield as_utf8(text[start:end])
            start = end


def _byte_alphabet() -> dict[str, int]:
    """Map each printable character of byte-level BPE to its byte (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(b): b for b in plain} | {chr(256 + n): b for n, b in enumerate(rest)}


byte_of = _byte_alphabet()

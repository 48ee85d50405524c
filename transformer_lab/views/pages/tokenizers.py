"""Tokenizers as a page holds them: whole if its engine knows every part, else the ids of texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from ...adapters.tokenizer import HuggingFaceTokenizer
from ...tokenizers import SPECIAL, UNK, BPETokenizer, CharTokenizer, WordTokenizer

ROLES = ("pad", "bos", "eos", "unk", "mask")
# Half of a surrogate pair, which UTF-8 cannot hold.
_UTF8 = {"type": "Replace", "pattern": {"Regex": r"\p{Cs}"}, "content": "?"}
# Python's \w and \s, as written in a character class of a browser.
_WORD = r"\p{L}\p{N}_"
_WHITE = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

# The parts of a Hugging Face tokenizer that views/engine/tokenizers/parts.js knows.
_PARTS = {
    "model": ("BPE", "Unigram", "WordPiece"),
    "normalizer": (
        None,
        "BertNormalizer",
        "Lowercase",
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Prepend",
        "Replace",
        "Sequence",
        "Strip",
        "StripAccents",
    ),
    "pre_tokenizer": (
        None,
        "BertPreTokenizer",
        "ByteLevel",
        "Digits",
        "Metaspace",
        "Punctuation",
        "Sequence",
        "Split",
        "Whitespace",
        "WhitespaceSplit",
    ),
    "post_processor": (
        None,
        "BertProcessing",
        "ByteLevel",
        "RobertaProcessing",
        "Sequence",
        "TemplateProcessing",
    ),
    "decoder": (
        "BPEDecoder",
        "ByteFallback",
        "ByteLevel",
        "Fuse",
        "Metaspace",
        "Replace",
        "Sequence",
        "Strip",
        "WordPiece",
    ),
}
_INSIDE = ("normalizers", "pretokenizers", "processors", "decoders")


def packed_tokenizer(tokenizer: Any, masks: bool = False) -> dict[str, Any]:
    """What `tokenizerOf` in views/engine reads.

    Args:
        masks: whether one of our tokenizers reads the mask's name in a text as that token; Hugging
            Face's read the names of all special tokens.

    Raises:
        ValueError: for a tokenizer that does not run there.
    """
    inner: Any = getattr(tokenizer, "inner", None)
    if isinstance(tokenizer, CharTokenizer | WordTokenizer | BPETokenizer):
        backend = _parts_of(tokenizer, masks)
        special = [i for role in ROLES if (i := getattr(tokenizer, f"{role}_id")) is not None]
        hidden = special[:3]
    elif isinstance(tokenizer, HuggingFaceTokenizer) and hasattr(inner, "backend_tokenizer"):
        backend = _checked_parts(json.loads(inner.backend_tokenizer.to_str()))
        special = sorted(tokenizer.special_ids)
        hidden = [one["id"] for one in backend["added_tokens"] if one["special"]]
    else:
        raise ValueError(
            f"a {type(inner or tokenizer).__name__} does not run in a page; the tokenizers of "
            "transformer_lab.tokenizers and Hugging Face's fast ones do"
        )
    return {
        "backend": backend,
        "ids": {name: getattr(tokenizer, f"{name}_id") for name in ROLES},
        "special": special,
        "hidden": hidden,
        "pieces": inner is not None,
        "size": tokenizer.vocab_size,
    }


def _parts_of(
    tokenizer: CharTokenizer | WordTokenizer | BPETokenizer, masks: bool
) -> dict[str, Any]:
    """One of our tokenizers, described like one of Hugging Face's."""
    vocab = [[name] for name in tokenizer.vocabulary]
    model: dict[str, Any] = {"type": "WordLevel", "vocab": vocab, "unk_token": SPECIAL[UNK]}
    cut: dict[str, Any] = {"type": "Split", "pattern": {"Regex": "[^]"}, "behavior": "Isolated"}
    join: dict[str, Any] = {"type": "Fuse"}
    normalizers: list[dict[str, Any]] = []
    if isinstance(tokenizer, WordTokenizer):
        words = tokenizer.pattern.pattern.replace(r"\w\s", _WORD + _WHITE)
        words = words.replace(r"\w", f"[{_WORD}]")
        cut |= {"pattern": {"Regex": words}, "behavior": "Removed", "invert": True}
        join = {"type": "Words", "closing": tokenizer.closing, "opening": tokenizer.opening}
    elif isinstance(tokenizer, BPETokenizer):
        model = {"type": "BPE", "vocab": vocab, "merges": tokenizer.merges}
        cut = join = {"type": "ByteLevel"}
        normalizers = [_UTF8]
    mask = tokenizer.mask_id if masks else None
    added = [] if mask is None else [{"id": mask, "content": tokenizer.vocabulary[mask]}]
    return {
        "model": model,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": cut,
        "post_processor": None,
        "decoder": join,
        "added_tokens": added,
    }


def _checked_parts(backend: dict[str, Any]) -> dict[str, Any]:
    """A Hugging Face tokenizer as a page runs it.

    Raises:
        ValueError: for one with a part that a page does not know.
    """
    for part, known in _PARTS.items():
        for found in _flat(backend[part]):
            kind = found and found["type"]
            if kind not in known:
                raise ValueError(f"the {part} {kind} of its tokenizer does not run in a page")
            _check(found or {}, backend)
    for one in backend["added_tokens"]:
        if one["single_word"] or (one["normalized"] and backend["normalizer"]):
            raise ValueError(
                f"the added token {one['content']!r} of its tokenizer does not run in a page"
            )
    own = backend["normalizer"]
    normalizers = [_UTF8, *([own] if own else [])]
    return backend | {"normalizer": {"type": "Sequence", "normalizers": normalizers}}


def recorded_tokenizer(tokenizer: Any, texts: Iterable[str], why: str) -> dict[str, Any]:
    """The ids of some texts and the names of all tokens, of a tokenizer that does not run in a page.

    Args:
        why: why it does not, as the end of a sentence.
    """
    size = max(tokenizer.vocab_size, getattr(tokenizer, "rows", 0))
    return {
        "why": why,
        "texts": [
            [text, [int(i) for i in tokenizer.encode(text)]] for text in dict.fromkeys(texts)
        ],
        "names": tokenizer.tokens(range(size)),
        "ids": {name: getattr(tokenizer, f"{name}_id", None) for name in ROLES},
        "rows": getattr(tokenizer, "rows", size),
    }


def _flat(part: dict[str, Any] | None) -> list[dict[str, Any] | None]:
    """A part of a tokenizer, and all parts within it."""
    inside = next((part[name] for name in _INSIDE if name in part), []) if part else []
    return [part, *(one for x in inside for one in _flat(x))]


def _check(part: dict[str, Any], backend: dict[str, Any]) -> None:
    """Rewrite regular expressions for a browser, and check a part's options.

    Raises:
        ValueError: for an option that a page does not know.
    """
    kind = part.get("type")
    if "Regex" in part.get("pattern", {}):
        part["pattern"] = {"Regex": browser_pattern(part["pattern"]["Regex"])}
    first = kind == "Metaspace" and part.get("prepend_scheme") == "first"
    if first and part is backend["pre_tokenizer"]:
        first = backend["normalizer"] is not None
    if first and part is not backend["decoder"]:
        raise ValueError("a Metaspace of the first word, after other parts, does not run in a page")
    for option in ("dropout", "continuing_subword_prefix") if kind == "BPE" else ():
        if part.get(option):
            raise ValueError(f"the {option} of its tokenizer's BPE does not run in a page")
    if kind == "BPE" and part.get("unk_token") and part["unk_token"] not in part["vocab"]:
        raise ValueError(
            "its tokenizer's unknown token is not in the vocabulary, so no page runs it"
        )


_ESCAPES = {"s": r"\p{White_Space}", "S": r"\P{White_Space}", "d": r"\p{Nd}", "D": r"\P{Nd}"}
_TOKEN = re.compile(
    r"\\[pP]\{[A-Z][a-z]?\}|\\.|\(\?[:=!]|\(\?i:|\{\d+(?:,\d*)?\}|\[\^?|.", re.DOTALL
)
_ALSO = {"s": "ſ", "k": "\u212a"}  # letters whose lower case is an ASCII one


def browser_pattern(source: str) -> str:
    """A tokenizer's regular expression (Oniguruma's) rewritten for a browser, with the flag u.

    Raises:
        ValueError: if some of it is not known to mean the same there.
    """
    refusal = ValueError(f"the pattern {source!r} of its tokenizer does not run in a page")
    written, inside, folded, depth, last = [], False, 0, 0, ""
    for token in _TOKEN.findall(source):
        piece = token
        if len(token) == 2 and token[0] == "\\":
            letter = token[1]
            if letter in _ESCAPES:
                piece = _ESCAPES[letter]
            elif letter.isalnum() and letter not in "rntfv":
                raise refusal
            elif not letter.isalnum() and letter not in "^$\\.*+?()[]{}|/" + "-" * inside:
                piece = letter
        elif inside:
            if token[0] == "[" or (token == "&" and last == "&"):
                raise refusal  # sets within sets
            inside = token != "]"
        elif token[0] == "[":
            inside = True
        elif token in ("^", "$", "{", "}", "]") or (token == "+" and last in ("+", "*", "?")):
            raise refusal  # line anchors; possessive quantifiers
        elif token == ".":
            piece = r"[^\n]"
        elif token.startswith("("):
            depth += 1
            if token == "(?i:":
                if folded:
                    raise refusal
                piece, folded = "(?:", depth
        elif token == ")":
            folded = 0 if folded == depth else folded
            depth -= 1
        if folded and len(token) == 1 and token.isascii() and token.isalpha():
            both = token.lower() + token.upper() + _ALSO.get(token.lower(), "")
            piece = both if inside else f"[{both}]"
        elif folded and len(token) == 1 and not token.isascii():
            raise refusal
        written.append(piece)
        last = token
    return "".join(written)

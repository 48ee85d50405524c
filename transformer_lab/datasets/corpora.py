"""Text for language models: Python's manual and source, tiny Shakespeare, a user's own file."""

from __future__ import annotations

import hashlib
import sysconfig
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..arguments import Seed, checked, shown
from ..files.paths import FileError
from ..tokenizers import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer
from .batches import IGNORE, Batch, Stream, check_counts
from .fetching import fetch
from .reading import MAX_LINE, read_text

TINY_SHAKESPEARE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
TINY_SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text for language modelling, its tokenizer and its ids; the last part is held out.

    Attributes:
        name: where the text comes from.
        text: all of it.
        tokenizer: characters, words or BPE.
        ids: int64 [position], the whole text.
        train, held_out: int64 [position], the two parts of `ids`.
    """

    name: str
    text: str = field(repr=False)
    tokenizer: Tokenizer
    ids: Tensor = field(repr=False)
    train: Tensor = field(repr=False)
    held_out: Tensor = field(repr=False)

    @classmethod
    @checked
    def of(
        cls,
        text: str,
        tokenizer: str | Tokenizer = "char",
        *,
        name: str = "text",
        held_out: float = 0.1,
    ) -> Corpus:
        """Make a corpus of any text.

        Args:
            text: useful from a few thousand characters.
            tokenizer: "char", "word", "bpe" (1024 ids), or a trained tokenizer.
            name: for messages.
            held_out: fraction of the text, at its end, that training never sees. The text is cut
                before it is encoded, so that no token spans the cut.
        """
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must be between 0 and 1, got {held_out}; try 0.1")
        tokenizer = make_tokenizer(tokenizer, text)
        cut = int(len(text) * (1 - held_out))
        train = torch.tensor(tokenizer.encode(text[:cut]), dtype=torch.int64)
        rest = torch.tensor(tokenizer.encode(text[cut:]), dtype=torch.int64)
        return cls(name, text, tokenizer, torch.cat([train, rest]), train, rest)

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.tokenizer.vocab_size

    @property
    def sha256(self) -> str:
        """SHA-256 of the text in UTF-8, to record beside a result."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def encode(self, text: str) -> Tensor:
        """Token ids of a text, int64 [position]."""
        return torch.tensor(self.tokenizer.encode(text), dtype=torch.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of token ids."""
        return self.tokenizer.decode(ids)

    @checked
    def batches(
        self, batch_size: int, n_ctx: int, *, seed: Seed = 0, split: str = "train"
    ) -> Stream:
        """Endless random windows of `n_ctx` tokens; targets are the next tokens."""
        ids = self._split(split, n_ctx).numpy()
        check_counts(batch_size=batch_size)
        within = np.arange(n_ctx + 1)

        def make(step: int) -> Batch:
            starts = np.random.default_rng((seed, step)).integers(len(ids) - n_ctx, size=batch_size)
            windows = ids[starts[:, None] + within]
            tokens, targets = windows[:, :-1].copy(), windows[:, 1:].copy()
            return Batch(torch.from_numpy(tokens), torch.from_numpy(targets))

        return Stream(make, seed)

    @checked
    def epoch(self, batch_size: int, n_ctx: int, *, split: str = "held_out") -> list[Batch]:
        """The whole split once, in order: every token but its first is a target exactly once."""
        ids = self._split(split, n_ctx)
        check_counts(batch_size=batch_size)
        n = len(ids) - 1
        short = -n % n_ctx
        pad = self.tokenizer.pad_id or 0
        tokens = torch.cat([ids[:-1], ids.new_full((short,), pad)]).view(-1, n_ctx)
        targets = torch.cat([ids[1:], ids.new_full((short,), IGNORE)]).view(-1, n_ctx)
        mask = (torch.arange(n + short) < n).view(-1, n_ctx)
        parts = zip(
            tokens.split(batch_size), targets.split(batch_size), mask.split(batch_size), strict=True
        )
        return [Batch(tokens=t, targets=y, mask=m) for t, y, m in parts]

    def _split(self, split: str, n_ctx: int) -> Tensor:
        if split not in ("train", "held_out"):
            raise ValueError(f"split must be one of 'train', 'held_out', got {shown(split)}")
        ids = self.train if split == "train" else self.held_out
        if n_ctx < 1:
            raise ValueError(f"n_ctx must be at least 1, got {n_ctx}")
        if len(ids) <= n_ctx:
            raise ValueError(
                f"{self.name}: the {split} part has {len(ids)} tokens, too few for n_ctx={n_ctx}; "
                f"use a longer text or n_ctx={max(1, len(ids) // 2)}"
            )
        return ids


def make_tokenizer(
    tokenizer: str | Tokenizer, texts: str | Iterable[str], vocab_size: int | None = None
) -> Tokenizer:
    """Return the tokenizer unchanged, or train one of the named kind on the texts; `vocab_size` is
    for a BPE trained here, None for its default."""
    if vocab_size is not None:
        if tokenizer != "bpe":
            raise ValueError(
                f"vocab_size={vocab_size} is for tokenizer='bpe', not {shown(tokenizer)}; leave one out"
            )
        return BPETokenizer.train(texts, vocab_size)
    if not isinstance(tokenizer, str):
        return tokenizer
    kinds = {"char": CharTokenizer, "word": WordTokenizer, "bpe": BPETokenizer}
    if tokenizer not in kinds:
        raise ValueError(f"tokenizer must be one of {', '.join(kinds)}, got {shown(tokenizer)}")
    return kinds[tokenizer].train(texts)


@checked
def python_manual(tokenizer: str | Tokenizer = "char", *, held_out: float = 0.1) -> Corpus:
    """Load Python's own reference manual, about 465,000 characters, from the running interpreter.

    It is real English with code in it, and needs no download. The text varies a little with the
    version of Python: record `Corpus.sha256` beside a result.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise FileError.at(
            "pydoc_data.topics",
            "this Python comes without its manual; use one from python.org or conda, "
            "or text_file(path) with a text of your own",
        ) from None
    text = "\n".join(topics[name].strip("\n") + "\n" for name in sorted(topics))
    return Corpus.of(text, tokenizer, name="Python manual", held_out=held_out)


@checked
def python_source(
    tokenizer: str | Tokenizer = "char", *, limit: int | None = 1_000_000, held_out: float = 0.1
) -> Corpus:
    """Load the standard library's top-level modules, sorted by name; no download.

    Args:
        tokenizer: "char", "word", "bpe" or a tokenizer.
        limit: stop after this many characters; None for all (4.7 million).
        held_out: the fraction at the end that is held out.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, or None for all, got {limit}")
    folder = Path(sysconfig.get_path("stdlib"))
    parts, size = [], 0
    for path in sorted(folder.glob("*.py"), key=lambda path: path.name):
        try:
            with tokenize.open(path) as file:
                parts.append(file.read().strip("\n") + "\n")
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue  # a module that this interpreter itself could not read
        size += len(parts[-1]) + 1
        if limit is not None and size >= limit:
            break
    if not parts:
        raise FileError.at(folder, "holds no Python source; use text_file(path) with your own text")
    return Corpus.of("\n".join(parts)[:limit], tokenizer, name="Python source", held_out=held_out)


@checked
def text_file(
    path: str | Path,
    tokenizer: str | Tokenizer = "char",
    *,
    held_out: float = 0.1,
    max_line: int | None = MAX_LINE,
) -> Corpus:
    """Load your own text from a UTF-8 file.

    Raises:
        FileError: the file cannot be used; the message says where and why (see `read_text`).
    """
    text = read_text(path, max_line=max_line)
    return Corpus.of(text, tokenizer, name=str(path), held_out=held_out)


@checked
def tiny_shakespeare(
    tokenizer: str | Tokenizer = "char", *, path: str | Path | None = None, held_out: float = 0.1
) -> Corpus:
    """Lines of Shakespeare's plays, 1,115,394 characters; nanoGPT's 90/10 split by default.

    Downloaded once, checked against its sha256 and cached; `path` uses a copy of your own.

    Raises:
        FileError: without a network (the message says where to put which file), or for a different
            file.
    """
    file = fetch(TINY_SHAKESPEARE, TINY_SHAKESPEARE_SHA256, name="tiny_shakespeare.txt", path=path)
    text = read_text(file, max_line=None)
    return Corpus.of(text, tokenizer, name="tiny Shakespeare", held_out=held_out)

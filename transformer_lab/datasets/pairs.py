"""Pairs of source and target texts: `PairData`, files of your own, and Multi30k."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..arguments import Seed, checked, shown
from ..files.paths import FileError, as_path
from ..tokenizers import Tokenizer
from .batches import IGNORE, Ragged
from .corpora import make_tokenizer
from .examples import Dataset, Rows, hold_out
from .fetching import fetch
from .reading import MAX_LINE, read_lines, read_table, read_text

MULTI30K = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"
MULTI30K_PARTS = {"train": "train", "val": "val", "test": "test_2016_flickr"}


@dataclass(frozen=True, slots=True)
class Pair:
    """A source text and its target text.

    Attributes:
        source, target: the two texts.
        alignment: for each token of the target, the positions of the source tokens that it comes
            from: none for a token without a source, several if any of them is right. Empty if the
            alignment is not known.
    """

    source: str
    target: str
    alignment: tuple[tuple[int, ...], ...] = ()


class PairData(Dataset[Pair]):
    """Pairs for an encoder-decoder, for a decoder, or (with targets as long as sources) an encoder.

    - "encoder-decoder": tokens are the source, target_in ``<s>`` and the target, targets the
      target and ``</s>``. Row t of cross-attention predicts target token t.
    - "decoder": tokens are source, ``<s>``, target; targets the same target and ``</s>``, and
      −100 on the source. Row ``len(source) + t`` predicts target token t.
    - "encoder": tokens are the source, targets the target, of the same length.
    """

    kinds: ClassVar[tuple[str, ...]] = ("encoder-decoder", "decoder", "encoder")

    def _rows(self, examples: tuple[Pair, ...], kind: str) -> Rows:
        encode = self.tokenizer.encode
        bos, eos = self.tokenizer.bos_id, self.tokenizer.eos_id
        sources = [encode(pair.source) for pair in examples]
        targets = [encode(pair.target) for pair in examples]
        both = list(zip(sources, targets, strict=True))
        if kind == "encoder":
            for pair, (source, target) in zip(examples, both, strict=True):
                if len(source) != len(target):
                    raise ValueError(
                        f"kind='encoder' needs targets as long as their sources; {pair.source!r} "
                        f"has {len(source)} tokens, its target {len(target)}"
                    )
            return Rows(examples, Ragged.of(sources), Ragged.of(targets))
        if bos is None or eos is None:
            raise ValueError(
                f"{self.tokenizer!r} has no bos_id and eos_id, which kind={kind!r} needs"
            )
        if kind == "decoder":
            tokens = [[*source, bos, *target] for source, target in both]
            answers = [[IGNORE] * len(source) + [*target, eos] for source, target in both]
            return Rows(examples, Ragged.of(tokens), Ragged.of(answers))
        return Rows(
            examples,
            Ragged.of(sources),
            Ragged.of([[*target, eos] for target in targets]),
            Ragged.of([[bos, *target] for target in targets]),
        )

    def _edges(self, example: Pair, kind: str) -> Iterable[tuple[int, int]]:
        first = len(self.tokenizer.encode(example.source)) if kind == "decoder" else 0
        for t, sources in enumerate(example.alignment):
            for source in sources:
                yield first + t, source


def pair_data(
    name: str,
    pairs: Sequence[Pair],
    tokenizer: str | Tokenizer,
    *,
    held_out: int | float,
    seed: int,
    vocab_size: int | None = None,
) -> PairData:
    """Pairs without repetition, split so that no source is on both sides."""
    pairs = list(dict.fromkeys(pairs))
    train, rest = hold_out(pairs, held_out, seed=seed, key=lambda pair: pair.source, name=name)
    texts = (text for pair in pairs for text in (pair.source, pair.target))
    return PairData(name, make_tokenizer(tokenizer, texts, vocab_size), train, rest)


@checked
def pairs_file(
    path: str | Path,
    target_path: str | Path | None = None,
    *,
    tokenizer: str | Tokenizer = "word",
    held_out: int | float = 0.1,
    seed: Seed = 0,
    max_line: int | None = MAX_LINE,
    vocab_size: int | None = None,
) -> PairData:
    """Your own pairs: a file of ``source <tab> target`` lines, or two files aligned line by line.

    Args:
        path: the tab-separated file, or the source side.
        target_path: the target side, if there are two files.
        tokenizer: "word", "char", "bpe" or a tokenizer; one for both sides.
        held_out: how many pairs are held out, or which fraction. No source is in both parts.
        seed: chooses which are held out.
        max_line: longest line allowed, in characters; None for no limit.
        vocab_size: size of a BPE vocabulary shared by both sides; None for 1,024.

    Raises:
        FileError: if a file cannot be used, or the two differ in length.
    """
    if target_path is None:
        rows = read_table(path, ("source", "target"), max_line=max_line)
        pairs = [Pair(source, target) for source, target in rows]
    else:
        sources = read_lines(path, max_line=max_line)
        targets = read_lines(target_path, max_line=max_line)
        pairs = aligned(sources, targets, path, target_path)
    return pair_data(
        str(path), pairs, tokenizer, held_out=held_out, seed=seed, vocab_size=vocab_size
    )


def aligned(
    sources: Sequence[str], targets: Sequence[str], path: str | Path, target_path: str | Path
) -> list[Pair]:
    """Pair the lines of two sides, which must have a text on each line."""
    if len(sources) != len(targets):
        raise FileError.at(
            target_path,
            f"has {len(targets)} lines, but {path} has {len(sources)}; "
            "line n of one must translate line n of the other",
        )
    for side, lines in ((path, sources), (target_path, targets)):
        for number, line in enumerate(lines, 1):
            if not line.strip():
                raise FileError.at(side, "is empty; fill it in, or delete it in both files", number)
    return [Pair(s.strip(), t.strip()) for s, t in zip(sources, targets, strict=True)]


@checked
def multi30k(
    language: str = "de",
    *,
    tokenizer: str | Tokenizer | None = None,
    held_out: str = "val",
    folder: str | Path | None = None,
    vocab_size: int | None = None,
) -> PairData:
    """Multi30k, task 1: 29,000 English image captions and their German or French translations.

    Downloaded once from github.com/multi30k/dataset. Its authors do not publish checksums, so the
    sha256 of the first download is stored beside the file (``*.sha256`` in the cache), and the file
    must match it from then on.

    Args:
        language: "de" or "fr".
        tokenizer: "word", "char", "bpe" or a tokenizer; None for BPE with `vocab_size` shared ids.
        held_out: "val" (1,014 pairs) or "test" (test_2016_flickr, 1,000 pairs).
        folder: a folder that has ``train.en.gz`` and the other files; None to download them.
        vocab_size: size of a BPE vocabulary shared by both languages; None for 8,000.

    Raises:
        FileError: without a network (the message says where to put which file), or for a damaged
            file.
    """
    if language not in ("de", "fr"):
        raise ValueError(f"language must be one of 'de', 'fr', got {shown(language)}")
    if held_out not in ("val", "test"):
        raise ValueError(f"held_out must be one of 'val', 'test', got {shown(held_out)}")
    train = _multi30k_pairs("train", language, folder)
    rest = _multi30k_pairs(MULTI30K_PARTS[held_out], language, folder)
    seen = {pair.source for pair in rest}
    train = [pair for pair in dict.fromkeys(train) if pair.source not in seen]
    texts = [text for pair in train for text in (pair.source, pair.target)]
    if tokenizer is None:
        tokenizer, vocab_size = "bpe", vocab_size or 8000
    made = make_tokenizer(tokenizer, texts, vocab_size)
    return PairData(f"Multi30k en-{language}", made, train, rest)


def _multi30k_pairs(part: str, language: str, folder: str | Path | None) -> list[Pair]:
    paths, sides = [], []
    for side in ("en", language):
        name = f"{part}.{side}.gz"
        local = None if folder is None else as_path(folder, "folder") / name
        path = fetch(
            MULTI30K + name,
            None,
            name=f"multi30k-{name}",
            path=local,
            way_out=f"folder= with your copies, such as {name}",
        )
        text = read_text(path, packed=True)
        paths.append(path)
        sides.append(text.removesuffix("\n").split("\n"))
    return aligned(*sides, *paths)

"""A Hugging Face tokenizer with the interface of our own (see tokenizers.Tokenizer)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..tokenizers import as_utf8, byte_of, display, display_bytes

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # a byte that SentencePiece has no piece for


class HuggingFaceTokenizer:
    """Encodes as the model expects (with its [CLS], </s> …) and shows tokens readably.

    The name of a special token in a text, such as "<|endoftext|>", is read as that token, as in its
    own library: prompts of chat models contain such names, and ids should be the library's. Our own
    tokenizers read them as plain text.
    """

    def __init__(self, inner: Any):
        self.inner = inner
        backend = getattr(inner, "backend_tokenizer", None)
        self._byte_level = "ByteLevel" in str(getattr(backend, "decoder", ""))
        self.pad_id, self.bos_id = inner.pad_token_id, inner.bos_token_id
        self.eos_id, self.unk_id = inner.eos_token_id, inner.unk_token_id
        self.mask_id = inner.mask_token_id
        self.special_ids = frozenset(inner.all_special_ids)

    @property
    def vocab_size(self) -> int:
        return len(self.inner)

    @property
    def rows(self) -> int:
        """The rows that an embedding needs for the ids of `encode`; ids may have gaps, and a
        padding token is often added after the last row since no text has it."""
        return 1 + max((i for i in self.inner.get_vocab().values() if i != self.pad_id), default=-1)

    def encode(self, text: str) -> list[int]:
        return self.inner.encode(as_utf8(text))

    def decode(self, ids: Iterable[int]) -> str:
        return self.inner.decode(list(map(int, ids)), skip_special_tokens=True)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        return [self._show(int(i)) for i in ids]

    def save(self, folder: str | Path) -> Path:
        self.inner.save_pretrained(folder)
        return Path(folder)

    def _show(self, token_id: int) -> str:
        token = self.inner.convert_ids_to_tokens(token_id)
        if token is None:
            return f"⟨{token_id}⟩"  # models often have more rows than the tokenizer has tokens
        if token_id in self.special_ids:
            return display(token)
        if self._byte_level and all(c in byte_of for c in token):
            return display_bytes(bytes(byte_of[c] for c in token))
        one_byte = _BYTE_TOKEN.fullmatch(token)
        if one_byte:
            return display_bytes(bytes.fromhex(one_byte[1]))
        return display(token.replace("▁", " "))

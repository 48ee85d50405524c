"""A model and its tokenizer together: give it text, and see what it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import hub
from .generate import generate
from .model import Transformer, pick_device
from .resources import resource
from .tokenizers import SPECIAL, BPETokenizer, CharTokenizer, WordTokenizer, load_tokenizer
from .trace import Trace, trace

SHIPPED = "manual"


class TextModel:
    """A model that is given text.

    Args:
        model: our `Transformer`, or any Hugging Face model.
        tokenizer: one of ours, or a Hugging Face tokenizer.
        name: shown by the views.
        target_tokenizer: for an encoder-decoder whose two sides differ.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str = "", *, target_tokenizer: Any = None):
        if not isinstance(model, nn.Module):
            raise ValueError(f"model is a {type(model).__name__}; give a torch module")
        self.model: Any = model
        self.name = name or type(model).__name__
        self.tokenizer = _wrapped(tokenizer)
        self.target_tokenizer = _wrapped(target_tokenizer) if target_tokenizer else self.tokenizer

    @classmethod
    def from_pretrained(cls, name: str | Path, *, device: str = "cpu") -> TextModel:
        """A model by its name or folder.

        Args:
            name: a folder written by `save`, or by Hugging Face's `save_pretrained`; "minilm" or
                "smollm2-135m" once `make models` has installed them; "shipped" for the small model
                that comes with this package; otherwise a Hugging Face name such as "gpt2".
            device: "cpu", "cuda", "mps" or "auto".

        Raises:
            FileNotFoundError: for a folder that holds no model, a wheel that is not installed, or
                a name that cannot be reached, saying what to do.
        """
        where = pick_device(device)
        folder = Path(name).expanduser()
        if str(name) == "shipped":
            found = cls._from_our_folder(resource("data", "models", SHIPPED))
        elif folder.is_dir():
            ours = (folder / "config.json").is_file() and _is_ours(folder / "config.json")
            found = cls._from_our_folder(folder) if ours else _from_hub(cls, folder)
        else:
            found = _from_hub(cls, name)
        found.model.to(where).eval()
        return found

    @classmethod
    def _from_our_folder(cls, folder: Path) -> TextModel:
        from .checkpoint import load_model

        target = folder / "target"
        return cls(
            load_model(folder),
            load_tokenizer(folder),
            folder.name,
            target_tokenizer=load_tokenizer(target) if target.is_dir() else None,
        )

    def save(self, folder: str | Path, **options: Any) -> Path:
        """Write config.json, model.safetensors and tokenizer.json; `from_pretrained` reads them."""
        from .checkpoint import save_model

        if hub.is_hugging_face(self.model):
            self.model.save_pretrained(folder)
        else:
            save_model(self.model, folder, **options)
        self.tokenizer.save(folder)
        if self.target_tokenizer is not self.tokenizer:
            self.target_tokenizer.save(Path(folder) / "target")
        return Path(folder)

    @property
    def kind(self) -> str:
        """ "decoder", "encoder" or "encoder-decoder"."""
        if isinstance(getattr(self.model.config, "kind", None), str):
            return self.model.config.kind
        if getattr(self.model.config, "is_encoder_decoder", False):
            return "encoder-decoder"
        causal = any(getattr(m, "is_causal", False) is True for m in self.model.modules())
        named = type(self.model).__name__.endswith(("CausalLM", "LMHeadModel"))
        return "decoder" if causal or named else "encoder"

    @property
    def n_ctx(self) -> int | None:
        """The longest text, in tokens; None where the model has no limit."""
        config = self.model.config
        names = ("n_ctx", "max_position_embeddings", "n_positions")
        return next((getattr(config, n) for n in names if getattr(config, n, None)), None)

    def encode(self, text: str) -> Tensor:
        """Token ids [position]. A masked model reads the name of its mask token as that token.

        Raises:
            ValueError: for empty text, or text longer than the model's context.
        """
        return self._encode("text", text, self.tokenizer)

    def decode(self, ids: Any) -> str:
        return self.target_tokenizer.decode([int(i) for i in ids])

    def trace(self, text: str, target: str | None = None, *, keep: str | None = None) -> Trace:
        """Run the model on a text and keep what its attention did; see `trace`.

        An encoder-decoder reads `text` and is traced while writing `target`; without one it
        writes its own, greedily.

        Raises:
            ValueError: for empty or too long text.
        """
        ids = self.encode(text)
        target_ids = self._target_ids(ids, target) if self.kind == "encoder-decoder" else None
        if target is not None and target_ids is None:
            raise ValueError(self._takes_no_target(target))
        return self.trace_ids(ids, target_ids, keep=keep)

    def trace_ids(
        self, ids: Tensor, target_ids: Tensor | None = None, *, keep: str | None = None
    ) -> Trace:
        """The same for token ids [position], and the decoder's input with its start token."""
        found = trace(
            self.model, ids, target_ids, keep=keep,
            labels=self.tokenizer.tokens(ids.tolist()),
            target_labels=None if target_ids is None else self.target_tokenizer.tokens(target_ids.tolist()),
        )  # fmt: skip
        found.model_name = self.name
        found.name_with(
            self.target_tokenizer,
            special={
                "encoder": _special(self.tokenizer, ids),
                "decoder": _special(
                    self.target_tokenizer, ids if target_ids is None else target_ids
                ),
            },
        )
        return found

    def predict(
        self, text: str, target: str | None = None, *, k: int = 5, position: int | None = None
    ) -> list[tuple[str, float]]:
        """The k likeliest tokens and their probabilities: the next one, or for a masked model
        what stands at the text's first mask token.

        Raises:
            ValueError: for a masked model with neither a mask in the text nor a position, and for
                a model without a head that predicts tokens.
        """
        if position is None:
            position = -1
            if self.kind == "encoder":
                ids, mask_id = self.encode(text).tolist(), self.tokenizer.mask_id
                if mask_id not in ids:
                    name = "<mask>" if mask_id is None else self.tokenizer.tokens([mask_id])[0]
                    raise ValueError(
                        f"{self.name} predicts masked tokens: put {name} into the text, or give position"
                    )
                position = ids.index(mask_id)
        return self.trace(text, target, keep="maps").predictions(position, k)

    def generate(self, text: str, *, max_new_tokens: int = 50, **options: Any) -> str:
        """What the model writes after (or, with an encoder-decoder, from) a text; the options are
        those of `tl.generate` for our models, and of transformers' for Hugging Face ones."""
        return self.decode(self._write(self.encode(text), max_new_tokens, **options))

    def _write(self, ids: Tensor, max_new_tokens: int, **options: Any) -> list[int]:
        both = self.kind == "encoder-decoder"
        tokens = ids[None].to(next(self.model.parameters()).device)
        if isinstance(self.model, Transformer):
            start = 1 if both else len(ids)
            room = self.model.config.n_ctx - start + 1
            written = generate(
                self.model, tokens, max_new_tokens=min(max_new_tokens, room),
                bos_id=self.target_tokenizer.bos_id if both else None,
                eos_id=self.target_tokenizer.eos_id, **options,
            )  # fmt: skip
            return written[0].tolist()
        with torch.no_grad():
            written = self.model.generate(
                tokens, max_new_tokens=max_new_tokens, do_sample=False, **options
            )
        return written[0, 0 if both else len(ids) :].tolist()

    def _target_ids(self, ids: Tensor, target: str | None) -> Tensor:
        """The decoder's input: its start token and then the target."""
        tokenizer, config = self.target_tokenizer, self.model.config
        start = getattr(config, "decoder_start_token_id", None)
        start = tokenizer.bos_id if start is None else start
        if target is None:
            limit = min(self.n_ctx or 64, 64)
            written = self._write(ids, limit - 1)
            written = written[1:] if written[:1] == [start] else written
        else:
            written = self._encode("target", target, tokenizer).tolist()
        while written and written[-1] in (tokenizer.eos_id, tokenizer.pad_id):
            written = written[:-1]
        return torch.tensor([start, *written])

    def _encode(self, name: str, text: str, tokenizer: Any) -> Tensor:
        if not isinstance(text, str):
            raise ValueError(f"{name} is a {type(text).__name__}; give a string")
        ids = self._with_masks(text) if self.kind == "encoder" else tokenizer.encode(text)
        if not text or not ids:
            raise ValueError(f"{name} is empty; type at least one word")
        if self.n_ctx and len(ids) > self.n_ctx:
            raise ValueError(
                f"{name} has {len(ids)} tokens but {self.name} reads at most {self.n_ctx}; shorten it"
            )
        return torch.tensor(ids)

    def _with_masks(self, text: str) -> list[int]:
        """The text of a masked model. Our tokenizers read no special token in a text, lest one be
        smuggled in; here the mask is what a reader writes to ask a question."""
        tokenizer, mask_id = self.tokenizer, self.tokenizer.mask_id
        ours = isinstance(tokenizer, (CharTokenizer, WordTokenizer, BPETokenizer))
        if mask_id is None or not ours:
            return tokenizer.encode(text)
        first, *rest = (tokenizer.encode(part) for part in text.split(SPECIAL[mask_id]))
        return [*first, *(i for part in rest for i in (mask_id, *part))]

    def _takes_no_target(self, target: Any) -> str:
        return (
            f"target={target!r}: {self.name} is {'an' if self.kind == 'encoder' else 'a'} "
            f"{self.kind} and takes no target; leave it out"
        )

    def __repr__(self) -> str:
        return f"<TextModel {self.name}: {self.kind}, {self.tokenizer.vocab_size:,} tokens>"


def shipped() -> TextModel:
    """The small model that comes with this package; see data/models/ for its card."""
    return TextModel.from_pretrained("shipped")


def _wrapped(tokenizer: Any) -> Any:
    if hasattr(tokenizer, "convert_ids_to_tokens"):
        from .hub_tokenizer import HuggingFaceTokenizer

        return HuggingFaceTokenizer(tokenizer)
    if not hasattr(tokenizer, "tokens"):
        raise ValueError(
            f"tokenizer is a {type(tokenizer).__name__}; give one of transformer_lab.tokenizers or "
            "a Hugging Face tokenizer"
        )
    return tokenizer


def _special(tokenizer: Any, ids: Tensor) -> list[list[bool]]:
    special = getattr(tokenizer, "special_ids", None)
    if special is None:
        names = ("pad_id", "bos_id", "eos_id", "unk_id", "mask_id")
        special = {getattr(tokenizer, n) for n in names} - {None}
    return [[int(i) in special for i in ids]]


def _is_ours(path: Path) -> bool:
    try:
        return "model_type" not in json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error


def _from_hub(cls: type[TextModel], name: str | Path) -> TextModel:
    from .hub_models import load_text_model

    model, tokenizer, shown = load_text_model(name)
    return cls(model, tokenizer, shown)

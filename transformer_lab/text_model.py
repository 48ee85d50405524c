"""A model and its tokenizer together: give it text, and see what it does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .adapters.loading import LoadOptions, checked_name, checked_options, load_text_model, placed
from .adapters.lookup import network_of
from .adapters.network import Network
from .adapters.wrappers import ModelWithProcessor
from .arguments import check, checked, shown
from .files.resources import resource
from .files.safefiles import read_json
from .files.waiting import waiting
from .model import pick_device
from .pretrained.wheels import WHEELS
from .tokenizers import SPECIAL, BPETokenizer, CharTokenizer, WordTokenizer, load_tokenizer
from .tracing.gradients import as_logit
from .tracing.running import trace
from .tracing.trace import Trace
from .writing import Sampling

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .analysis.chat import Chat

SHIPPED, STORIES = "shipped", "stories"  # folders of data/models

_LETTERS = 256  # more characters than a token has on average, in any text
_LONGEST = 1_000_000  # characters, for a model without a limit


class TextModel(ModelWithProcessor):
    """A model with its tokenizer, so that you can give it text.

    Args:
        model: our `Transformer`, any Hugging Face model, or a `tl.Network` of your own.
        tokenizer: one of ours, or a Hugging Face tokenizer.
        name: shown by the views.
        target_tokenizer: for an encoder-decoder whose two sides differ.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str = "", *, target_tokenizer: Any = None):
        if not isinstance(model, nn.Module | Network):
            raise ValueError(f"model must be a torch module, got {type(model).__name__}")
        self.model: Any = model
        own = model.module if isinstance(model, Network) else model
        self.name = name or type(own).__name__
        self.tokenizer = _wrapped(tokenizer)
        self.target_tokenizer = _wrapped(target_tokenizer) if target_tokenizer else self.tokenizer
        self._check_vocabulary()

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str = "cpu",
        allow_missing: bool = False,
        **options: Unpack[LoadOptions],
    ) -> TextModel:
        """Load a model by its name or folder.

        Args:
            name: a folder written by `save`, or by Hugging Face's `save_pretrained`; "minilm" or
                "smollm2-135m" once `make models` has installed them; "shipped" or "stories" for the
                small models that come with this package; otherwise a Hugging Face name such as "gpt2".
            device: "cpu", "cuda", "mps" or "auto".
            allow_missing: weights that the file lacks stay random; `random_weights` has their
                names, and every view of the model reports them.
            options: dtype, device_map, quantization_config, revision, subfolder, token and
                local_files_only, passed on to transformers; see `LoadOptions`. Models of this
                package take dtype only.

        Raises:
            FileNotFoundError: if a folder holds no model, a wheel is not installed, or a name
                cannot be reached; the message says what to do.
            ValueError: if the file is damaged; weights are missing, left over, of another shape or
                type, or not finite (the message names them) or do not fit in memory; or options do
                not go together.
            ImportError: if a library is not installed.
        """
        folder, where = checked_name(name), pick_device(device)
        if str(name) in (SHIPPED, STORIES):
            folder = resource("data", "models", str(name))
        ours = (folder / "config.json").exists() and _is_ours(folder / "config.json")
        checked_options(str(name), device, options, not ours and str(name) not in WHEELS)
        with waiting(f"Loading {folder.name}"):
            if ours:
                loaded = cls._from_our_folder(folder, allow_missing)
            else:
                model, tokenizer, shown = load_text_model(
                    name, allow_missing=allow_missing, **options
                )
                loaded = cls(model, tokenizer, shown)
            placed(loaded.model, where, options).eval().loaded_from = str(name)
        return loaded

    @classmethod
    def _from_our_folder(cls, folder: Path, allow_missing: bool = False) -> TextModel:
        from .files.models import load_model

        target = folder / "target"
        return cls(
            load_model(folder, allow_missing=allow_missing),
            load_tokenizer(folder),
            folder.name,
            target_tokenizer=load_tokenizer(target) if target.is_dir() else None,
        )

    def save(self, folder: str | Path, **options: Any) -> Path:
        """Write config.json, model.safetensors and tokenizer.json; `from_pretrained` reads them.

        Raises:
            ValueError: if the model has random weights, which a folder could not mark as such, or
                the path cannot be a folder.
        """
        from .files.models import save_model
        from .files.paths import check_folder

        self.check_saved()
        folder = check_folder("folder", folder)
        self.network.save(folder, save_model, **options)
        self.tokenizer.save(folder)
        if self.target_tokenizer is not self.tokenizer:
            self.target_tokenizer.save(folder / "target")
        return folder

    @property
    def kind(self) -> str:
        """ "decoder", "encoder" or "encoder-decoder"."""
        return self.network.kind

    @property
    def network(self) -> Network:
        """The model's adapter; see `tl.Network`."""
        return network_of(self.model)

    @property
    def n_ctx(self) -> int | None:
        """The longest text, in tokens; None if the model has no limit."""
        return self.network.n_ctx

    def encode(self, text: str) -> Tensor:
        """Token ids [position]. For a masked model, the name of its mask token becomes that token.
        Names of other special tokens depend on the tokenizer: ours read them as plain text, Hugging
        Face's as the tokens.

        Raises:
            ValueError: if the text is empty or longer than the model's context.
        """
        return self._encode("text", text, self.tokenizer)

    def decode(self, ids: Any) -> str:
        return self.target_tokenizer.decode([int(i) for i in ids])

    def read(self, given: Any, target: Any) -> tuple[Any, Any, dict[str, Any]]:
        if isinstance(given, str):
            given = self.encode(given)
            if self.kind == "encoder-decoder" and not isinstance(target, Tensor):
                target = self.target_ids(given, target)
        return given, target, {}

    def trace(
        self,
        text: Any,
        target: str | None = None,
        *,
        keep: str | None = None,
        gradients: Any = None,
        budget_mib: float = 1024,
    ) -> Trace:
        """Run the model on a text and record its attention; see `trace`. `gradients` may name
        tokens by their text.

        An encoder-decoder reads `text` and is traced on `target`, by default its own greedy output.
        Messages instead of a text (see `chat`) are formatted by the model's chat template, and
        views name their turns.

        Raises:
            ValueError: if the text is empty or too long, or the template refuses the messages.
        """
        from .analysis.chat import passage

        said = passage(self, text)
        if said is not None and said.edits:
            raise ValueError("this answer was written with a part cut; its trace is chat.trace")
        ids = self.encode(text) if said is None else torch.tensor(said.ids)
        target_ids = self.target_ids(ids, target) if self.kind == "encoder-decoder" else None
        if target is not None and target_ids is None:
            raise ValueError(self.takes_no_target(target))
        found = self.trace_ids(
            ids, target_ids, keep=keep, gradients=gradients, budget_mib=budget_mib
        )
        if said is None:
            found.words = (text, target)
        else:
            found.words, found.segments = (said.text, None), said.segments
        return found

    def trace_ids(
        self,
        ids: Tensor,
        target_ids: Tensor | None = None,
        *,
        keep: str | None = None,
        gradients: Any = None,
        budget_mib: float = 1024,
    ) -> Trace:
        """As `trace`, for token ids [position] or [batch, position] (then `target_ids` as well);
        `target_ids` is the decoder's input with its start token."""
        if gradients is not None:
            gradients = as_logit(gradients, self.token_id)
        found = trace(
            self.model,
            ids,
            target_ids,
            keep=keep,
            gradients=gradients,
            budget_mib=budget_mib,
            labels=_shown(self.tokenizer, ids),
            target_labels=None if target_ids is None else _shown(self.target_tokenizer, target_ids),
        )
        found.model_name, found.text_model = self.name, self
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

    def token_id(self, text: int | str) -> int:
        """Return the id of a text that is one token; an id is returned unchanged.

        Raises:
            ValueError: if a text is not one token, or the model has no such id.
        """
        if type(text) is int:
            size = self.network.vocabulary[self.kind == "encoder-decoder"]
            if text < 0 or (size is not None and text >= size):
                most = "" if size is None else f" (0 … {size - 1})"
                raise ValueError(
                    f"token={text} is not a token of {self.name}{most}; give another id"
                )
            return text
        if not isinstance(text, str):
            raise ValueError(f"token must be an id, or a text that is one token, got {text!r}")
        special = getattr(self.target_tokenizer, "special_ids", frozenset())
        ids = [i for i in self.target_tokenizer.encode(text) if i not in special]
        if len(ids) != 1:
            raise ValueError(
                f"{text!r} is {len(ids)} tokens for {self.name}; give one token, or its id"
            )
        return ids[0]

    def predict(
        self, text: str, target: str | None = None, *, k: int = 5, position: int | None = None
    ) -> list[tuple[str, float]]:
        """The k most probable tokens and their probabilities: for the next token, or in a masked
        model for the text's first mask token; or at `position`.

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
                        f"{self.name} predicts masked tokens: put {name} into the text, or give "
                        "position"
                    )
                position = ids.index(mask_id)
        return self.trace(text, target, keep="maps").predictions(position, k)

    def generate(self, text: str, *, max_new_tokens: int = 50, **options: Any) -> str:
        """Generate text after (or, with an encoder-decoder, from) a text; the options are those of
        `tl.generate` for our models, and of transformers' for Hugging Face ones."""
        return self.decode(self._write(self.encode(text), max_new_tokens, **options))

    def chat(
        self,
        messages: Any,
        *,
        max_new_tokens: int = 200,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Chat:
        """Let a model trained for conversations answer, using its tokenizer's chat template.

        Args:
            messages: a list of {"role": "system", "user" or "assistant", "content": text}, or one
                text of the user.
            max_new_tokens: at most; the answer may end sooner, by itself or at the context's end.
            temperature, top_k, top_p, seed: as for `write`; by default greedy.

        Returns:
            The `Chat`: the answer, the tokens of each turn, a trace, which sentences the answer
            attends to, and what the answer would be if parts of the conversation were cut.

        Raises:
            ChatError: if the model has no chat template, a message has another form, the
                template refuses one, or the conversation fills the context.
        """
        from .analysis.chat import chat

        options = dict(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
        return chat(self, messages, options)

    def write(
        self,
        ids: Tensor,
        n: int,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        target_ids: Tensor | None = None,
        cached: bool = True,
    ) -> list[int]:
        """Generate the next tokens, by the same rules for our models and Hugging Face's.

        Args:
            ids: the input, int64 [position].
            n: number of tokens; fewer if the end-of-text token is generated (it is not included).
            temperature, top_k, top_p, seed: see `tl.writing.Sampling`; by default greedy.
            target_ids: the output of an encoder-decoder so far, with its start token.
            cached: use a key/value cache; without it, the same tokens take longer.

        Raises:
            ValueError: for a masked model, a full context, or an option out of range.
        """
        sampling = Sampling(temperature, top_k, top_p, seed)
        sampling.fits(self.network.vocabulary[target_ids is not None])
        check("n", n, int)
        if self.kind == "encoder":
            raise ValueError(
                f"{self.name} is an encoder and cannot generate text; it fills in masks"
            )
        if (target_ids is None) == (self.kind == "encoder-decoder"):
            raise ValueError(
                "target_ids is required for an encoder-decoder (the ids generated so far), and "
                "for no other model"
            )
        so_far = ids if target_ids is None else target_ids
        room = None if self.n_ctx is None else self.n_ctx - len(so_far)
        if n < 1 or (room is not None and n > room):
            most = "" if room is None else f" and at most {room}, the tokens left in the context"
            raise ValueError(f"n must be at least 1{most}, got {n}")
        more: dict[str, Any] = {"sampling": sampling, "cached": cached}
        if target_ids is not None:
            more["written"] = target_ids[None].to(self.network.device)
        found = self._write(ids, n, **more)
        return found[:-1] if found and found[-1] == self.target_tokenizer.eos_id else found

    def _write(self, ids: Tensor, max_new_tokens: int, **options: Any) -> list[int]:
        network, tokenizer = self.network, self.target_tokenizer
        return network.write(
            ids[None].to(network.device),
            max_new_tokens,
            bos_id=tokenizer.bos_id,
            eos_id=tokenizer.eos_id,
            **options,
        )

    def target_ids(self, ids: Tensor, target: str | None) -> Tensor:
        """The decoder's input: its start token and then the target, or else what the model writes."""
        tokenizer, start = self.target_tokenizer, self.starts
        if target is None:
            room = min(self.n_ctx or 64, 64) - len(start)
            written = start[1:] + self.write(ids, room, target_ids=torch.tensor(start))
        else:
            written = self._encode("target", target, tokenizer).tolist()
        while written and written[-1] in (tokenizer.eos_id, tokenizer.pad_id):
            written = written[:-1]
        return torch.tensor([start[0], *written])

    @property
    def starts(self) -> list[int]:
        """Ids that an encoder-decoder's own answer begins with: its start token and, in some
        families, one that its settings force after it, such as the language to translate into.

        Raises:
            ValueError: if neither the model nor its tokenizer has a start token.
        """
        start = self._setting("decoder_start_token_id")
        start = self.target_tokenizer.bos_id if start is None else start
        if start is None:
            raise ValueError(
                f"{self.name} has no start token for its decoder; set model.config.decoder_start_token_id"
            )
        forced = self._setting("forced_bos_token_id")
        return [start, *([] if forced in (None, start) else [forced])]

    def _setting(self, name: str) -> Any:
        """A setting of the model's config or generation config; None if neither has it."""
        module = self.network.module
        held = [getattr(module, part, None) for part in ("config", "generation_config")]
        return next((x for one in held if (x := getattr(one, name, None)) is not None), None)

    def _encode(self, name: str, text: str, tokenizer: Any) -> Tensor:
        if not isinstance(text, str):
            raise ValueError(f"{name} must be a string, got {type(text).__name__}")
        longest = _LETTERS * self.n_ctx if self.n_ctx else _LONGEST
        if len(text) > longest:  # refuse at once: splitting a book into tokens takes many seconds
            reads = f"{self.n_ctx} tokens" if self.n_ctx else f"{_LONGEST:,} characters"
            raise ValueError(
                f"{name} has {len(text):,} characters but {self.name} reads at most {reads}; shorten it"
            )
        ids = self._with_masks(text) if self.kind == "encoder" else tokenizer.encode(text)
        if not text or not ids:
            raise ValueError(f"{name} is empty; type at least one word")
        if self.n_ctx and len(ids) > self.n_ctx:
            raise ValueError(
                f"{name} has {len(ids)} tokens but {self.name} reads at most {self.n_ctx}; shorten it"
            )
        return torch.tensor(ids)

    def _with_masks(self, text: str) -> list[int]:
        """Token ids for a masked model. Our tokenizers read special tokens as plain text, so that
        none is smuggled in; here the mask is how a user asks a question."""
        tokenizer, mask_id = self.tokenizer, self.tokenizer.mask_id
        ours = isinstance(tokenizer, (CharTokenizer, WordTokenizer, BPETokenizer))
        if mask_id is None or not ours:
            return tokenizer.encode(text)
        first, *rest = (tokenizer.encode(part) for part in text.split(SPECIAL[mask_id]))
        return [*first, *(i for part in rest for i in (mask_id, *part))]

    def _check_vocabulary(self) -> None:
        """Check that the embedding has a row for every token."""
        embed = getattr(self.model, "get_input_embeddings", None)
        config = getattr(self.model, "config", None)
        try:
            rows = getattr(config, "vocab_size", None) if embed is None else len(embed().weight)
            if isinstance(self.model, Network):
                rows = self.model.vocabulary[0]
        except (NotImplementedError, AttributeError):  # a model that has no such table
            return
        sides = [("tokenizer", self.tokenizer, rows)]
        if self.target_tokenizer is not self.tokenizer:
            target = getattr(config, "target_vocab_size", None) or rows
            sides.append(("target_tokenizer", self.target_tokenizer, target))
        for side, tokenizer, rows in sides:
            wanted = getattr(tokenizer, "rows", tokenizer.vocab_size)
            if rows is not None and wanted > rows:
                raise ValueError(
                    f"{side} has {wanted:,} tokens but the embedding of the model {self.name} has {rows:,} "
                    "rows; give the tokenizer that belongs to the model"
                )

    def takes_no_target(self, target: Any) -> str:
        return (
            f"target={target!r}: {self.name} is {'an' if self.kind == 'encoder' else 'a'} "
            f"{self.kind} and takes no target; leave it out"
        )

    def __repr__(self) -> str:
        return f"<TextModel {self.name}: {self.kind}, {self.tokenizer.vocab_size:,} tokens>"


@checked
def shipped(name: str = "manual") -> TextModel:
    """Return a small model that comes with this package; see data/models/ for its card.

    Args:
        name: "manual" for the one that has read Python's manual, "stories" for the one that tells
            little stories.

    Raises:
        ValueError: for another name.
    """
    folders = {"manual": SHIPPED, "stories": STORIES}
    if name not in folders:
        raise ValueError(f"name must be 'manual' or 'stories', got {shown(name)}")
    return TextModel.from_pretrained(folders[name])


def _wrapped(tokenizer: Any) -> Any:
    if hasattr(tokenizer, "convert_ids_to_tokens"):
        from .adapters.tokenizer import HuggingFaceTokenizer

        return HuggingFaceTokenizer(tokenizer)
    if not hasattr(tokenizer, "tokens"):
        raise ValueError(
            "tokenizer must be one of transformer_lab.tokenizers or a Hugging Face tokenizer, "
            f"got {type(tokenizer).__name__}"
        )
    return tokenizer


def _special(tokenizer: Any, ids: Tensor) -> list[list[bool]]:
    special = getattr(tokenizer, "special_ids", None)
    if special is None:
        names = ("pad_id", "bos_id", "eos_id", "unk_id", "mask_id")
        special = {getattr(tokenizer, n) for n in names} - {None}
    return [[i in special for i in row] for row in _rows(ids)]


def _rows(ids: Tensor) -> list[list[int]]:
    """The rows of ids [position] or [batch, position]."""
    return ids.reshape(-1, ids.shape[-1]).tolist()


def _shown(tokenizer: Any, ids: Tensor) -> list[list[str]]:
    return [tokenizer.tokens(row) for row in _rows(ids)]


def _is_ours(path: Path) -> bool:
    theirs = {"model_type", "architectures", "transformers_version"}
    return not theirs & read_json(path).keys()

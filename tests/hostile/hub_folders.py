"""Small folders as Hugging Face's libraries write them, and ways to damage them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import transformer_lab as tl
from tests.missing import package
from transformer_lab import pretrained

T = package("transformers")


SECONDS = 30  # no case may hang; each takes milliseconds
WAYS = pytest.mark.parametrize(
    "load", [tl.TextModel.from_pretrained, pretrained.load], ids=["TextModel", "pretrained"]
)


def words(size: int = 52) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "the", "keys"]
    names += [f"w{i}" for i in range(size - len(names))]
    inner = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return T.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", mask_token="[MASK]", pad_token="[PAD]"
    )


def gpt2() -> Any:
    torch.manual_seed(0)
    sizes = dict(vocab_size=52, n_layer=2, n_head=2, n_embd=16, n_positions=32)
    return T.GPT2LMHeadModel(T.GPT2Config(**sizes, bos_token_id=1, eos_token_id=2))


def bert(chosen: str, **options: Any) -> Any:
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    return getattr(T, chosen)(T.BertConfig(vocab_size=52, **sizes, **options))


def kept(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    words().save_pretrained(folder)
    return folder


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Edit the tensors of a folder."""
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def configure(folder: Path, name: str = "config.json", **values: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# -- weights ----------------------------------------------------------------------------------------

FC = "transformer.h.1.mlp.c_fc.bias"


def same_weights(model: Any, expected: dict[str, torch.Tensor]) -> int:
    """Return how many weights both have, which must be equal."""
    prefix = f"{model.base_model_prefix}."
    own = {name.removeprefix(prefix): value for name, value in model.state_dict().items()}
    theirs = {name.removeprefix(prefix): value for name, value in expected.items()}
    both = own.keys() & theirs.keys()
    for name in both:
        assert torch.equal(own[name].float(), theirs[name].float()), name
    return len(both)

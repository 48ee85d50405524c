"""Tiny random models of families with unusual attention, by their names in transformers, and
reference values from the models themselves."""

from __future__ import annotations

from typing import Any

import torch

from tests.missing import package

T: Any = package("transformers")

WORDS: dict[str, Any] = dict(
    vocab_size=64, pad_token_id=0, bos_token_id=1, eos_token_id=2, max_position_embeddings=64
)
DECODER = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    **WORDS,
)
BOTH = dict(
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=48,
    decoder_ffn_dim=48,
    decoder_start_token_id=1,
    **WORDS,
)
EXPERTS = dict(
    moe_intermediate_size=16,
    n_routed_experts=4,
    n_shared_experts=1,
    num_experts_per_tok=2,
    n_group=1,
    topk_group=1,
)
LATENT = dict(
    DECODER,
    num_key_value_heads=4,
    head_dim=4,
    q_lora_rank=16,
    kv_lora_rank=16,
    qk_rope_head_dim=4,
    qk_nope_head_dim=8,
    v_head_dim=16,
    **EXPERTS,
)
SPARSE = dict(LATENT, index_topk=3, index_head_dim=8, index_n_heads=2)
WINDOWS = dict(sliding_window=4, layer_types=["sliding_attention", "full_attention"])

# name -> (class, class of its config, settings)
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    # masks that are added, or contain causality
    "bigbird_pegasus": (
        "BigBirdPegasusForConditionalGeneration",
        "BigBirdPegasusConfig",
        dict(BOTH, attention_type="original_full"),
    ),
    "pegasus_x": (
        "PegasusXForConditionalGeneration",
        "PegasusXConfig",
        dict(BOTH, block_size=4, num_global_tokens=2),
    ),
    "nllb_moe": (
        "NllbMoeForConditionalGeneration",
        "NllbMoeConfig",
        dict(BOTH, num_experts=4, encoder_sparse_step=2, decoder_sparse_step=2),
    ),
    # a layer selects its keys
    "deepseek_v32": ("DeepseekV32ForCausalLM", "DeepseekV32Config", SPARSE),
    "glm_moe_dsa": ("GlmMoeDsaForCausalLM", "GlmMoeDsaConfig", SPARSE),
    "axk2": ("AXK2ForCausalLM", "AXK2Config", SPARSE),
    "minimax_m3": (
        "MiniMaxM3VLForCausalLM",
        "MiniMaxM3VLTextConfig",
        dict(
            DECODER,
            dense_intermediate_size=48,
            shared_intermediate_size=16,
            num_local_experts=4,
            num_experts_per_tok=2,
            rotary_dim=4,
            index_n_heads=2,
            index_head_dim=8,
            index_block_size=2,
            index_topk_blocks=2,
            index_local_blocks=1,
        ),
    ),
    # sinks
    "gpt_oss": (
        "GptOssForCausalLM",
        "GptOssConfig",
        dict(DECODER, num_local_experts=4, num_experts_per_tok=2, **WINDOWS),
    ),
    "granite_swa": ("GraniteSWAForCausalLM", "GraniteSWAConfig", dict(DECODER, **WINDOWS)),
    "mimo_v2_flash": (
        "MiMoV2FlashForCausalLM",
        "MiMoV2FlashConfig",
        dict(DECODER, v_head_dim=4, **EXPERTS, **WINDOWS),
    ),
    "flint": (
        "FlintForCausalLM",
        "FlintConfig",
        dict(
            DECODER,
            moe_intermediate_size=16,
            shared_expert_intermediate_size=16,
            num_experts=4,
            num_experts_per_tok=2,
            **WINDOWS,
        ),
    ),
    "hy_v4": ("HYV4ForCausalLM", "HYV4Config", SPARSE),  # and selected keys
    "inkling2": (  # one for each token
        "Inkling2ForCausalLM",
        "Inkling2TextConfig",
        dict(
            DECODER,
            swa_num_attention_heads=4,
            swa_num_key_value_heads=2,
            swa_head_dim=8,
            sliding_window_size=4,
            d_rel=4,
            rel_extent=16,
            unpadded_vocab_size=64,
            moe_intermediate_size=16,
            n_routed_experts=4,
            num_experts_per_tok=2,
        ),
    ),
    # two patterns a head
    "diffllama": ("DiffLlamaForCausalLM", "DiffLlamaConfig", DECODER),
    # plain ones, to test caches and gradients
    "llama": ("LlamaForCausalLM", "LlamaConfig", DECODER),
    "mistral": ("MistralForCausalLM", "MistralConfig", dict(DECODER, sliding_window=4)),
    "gemma2": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        dict(DECODER, attn_logit_softcapping=2.0, **WINDOWS),
    ),
    "deepseek_v3": ("DeepseekV3ForCausalLM", "DeepseekV3Config", LATENT),
    "bart": ("BartForConditionalGeneration", "BartConfig", BOTH),
    "t5": (
        "T5ForConditionalGeneration",
        "T5Config",
        dict(
            num_layers=2,
            num_decoder_layers=2,
            num_heads=4,
            d_model=32,
            d_kv=8,
            d_ff=48,
            decoder_start_token_id=1,
            vocab_size=64,
            pad_token_id=0,
            eos_token_id=2,
        ),
    ),
    # their own attention code
    "falcon": (
        "FalconForCausalLM",
        "FalconConfig",
        dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, **WORDS),
    ),
    "squeezebert": (
        "SqueezeBertForMaskedLM",
        "SqueezeBertConfig",
        dict(
            hidden_size=32,
            embedding_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            **WORDS,
        ),
    ),
    "prophetnet": (
        "ProphetNetForConditionalGeneration",
        "ProphetNetConfig",
        dict(
            hidden_size=32,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            num_encoder_layers=2,
            num_decoder_layers=2,
            num_encoder_attention_heads=4,
            num_decoder_attention_heads=4,
            ngram=2,
            **WORDS,
        ),
    ),
}


def tiny(name: str, **more: Any) -> Any:
    """A model in evaluation mode with noise on every parameter, since zeros hide bugs.

    Args:
        more: settings that override the family's.
    """
    made, config, settings = FAMILIES[name]
    torch.manual_seed(0)
    model = getattr(T, made)(getattr(T, config)(**settings | more)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.requires_grad:
                parameter.copy_(parameter.nan_to_num().clamp(-3, 3))
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def text(model: Any, n: int = 9, *, left: int = 0) -> dict[str, torch.Tensor]:
    """Two texts as transformers takes them; the second has `left` padding tokens before it."""
    chance = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 64, (2, n), generator=chance)
    given = {"input_ids": ids}
    if left:
        ids[1, :left] = 0
        given["attention_mask"] = (torch.arange(n) >= torch.tensor([[0], [left]])).long()
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = torch.randint(3, 64, (2, 6), generator=chance)
    return given


def ours(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same inputs as our functions take them."""
    found = {"tokens": given["input_ids"]}
    if "decoder_input_ids" in given:
        found["target"] = given["decoder_input_ids"]
    if "attention_mask" in given:
        found["mask"] = given["attention_mask"].bool()
    return found


@torch.no_grad()
def eager(model: Any, given: dict[str, torch.Tensor]) -> Any:
    """The model's own output with eager attention; restores its setting."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        if "attention_mask" in given and not model.config.is_encoder_decoder:
            places = (given["attention_mask"].cumsum(-1) - 1).clamp(min=0)
            given = {**given, "position_ids": places}
        return model(**given, output_attentions=True, use_cache=False)
    finally:
        model.set_attn_implementation(before)

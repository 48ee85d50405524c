"""The few settings that the rules of `sizes` cannot work out, each with its reason."""

from __future__ import annotations

from typing import Any

_ROPE = dict(rope_type="default", rope_theta=10_000.0)
_SECTIONS = _ROPE | dict(mrope_section=[2, 1, 1])

# model type of a config -> settings
HINTS: dict[str, dict[str, Any]] = {
    # The config leaves open what only a checkpoint defines.
    "esm": dict(vocab_size=128, pad_token_id=0, mask_token_id=3),
    "chameleon": dict(vocabulary_map={"<image>": 100}),
    "emu3": dict(vocabulary_map={"<image>": 100}),
    "wav2vec2-bert": dict(vocab_size=128),
    "wav2vec2-conformer": dict(vocab_size=128),
    "paddleocr_vl_text": dict(rope_parameters=_SECTIONS),
    "deepseek_ocr2_text": dict(mlp_layer_types=["dense", "sparse"]),
    "diffusion_gemma_text": dict(num_experts=4, top_k_experts=2, moe_intermediate_size=16),
    "hy_v4_vl_text": dict(qk_rope_head_dim=8),
    "nemotron": dict(num_key_value_heads=2),
    "dots1": dict(
        n_routed_experts=4, n_shared_experts=1, n_group=2, topk_group=1, num_experts_per_tok=2
    ),
    "granitemoehybrid": dict(layer_types=["mamba", "attention"] * 2, num_hidden_layers=4),
    "recurrent_gemma": dict(block_types=["recurrent", "attention"], num_hidden_layers=4),
    "xmod": dict(default_language="en_XX"),
    "bamba": dict(attn_layer_indices=[1, 3], num_hidden_layers=4),
    "lfm2_moe": dict(layer_types=["conv", "full_attention"] * 2, num_hidden_layers=4),
    "qwen4_exp_text": dict(
        indexer_n_heads=2,
        indexer_kv_heads=1,
        indexer_head_dim=8,
        indexer_budget=4,
        indexer_compress_ratio=2,
        layer_types=["linear_attention", "indexed_attention"] * 2,
        num_hidden_layers=4,
    ),
    "dbrx": dict(attn_config=dict(rope_theta=10_000.0, clip_qkv=8.0, kv_n_heads=2)),
    "deepseek_v2": dict(num_experts_per_tok=2, n_group=2, topk_group=1),
    "hunyuan_v1_dense": dict(head_dim=8),
    "hunyuan_v1_moe": dict(head_dim=8),
    "ministral": dict(head_dim=8),
    "cohere_compass_text": dict(
        rope_parameters=dict(full_attention=_SECTIONS, sliding_attention=_SECTIONS)
    ),
    # Sizes that must fit each other.
    "mamba2": dict(num_heads=4, head_dim=16),
    "falcon_h1": dict(mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16),
    "gpt_neo": dict(attention_types=[[["global", "local"], 1]]),
    "reformer": dict(
        axial_pos_shape=(4, 16),
        axial_pos_embds_dim=(16, 16),
        attn_layers=["local", "lsh"],
        num_buckets=4,
        hash_seed=0,
    ),
    "mpnet": dict(relative_attention_num_buckets=32),  # a number that its code repeats
    "longcat_flash": dict(head_dim=4),
    "glm4v_moe_text": dict(head_dim=16),
    "hunyuan_vl_text": dict(head_dim=8),
    "step3p5": dict(sliding_window=4),
    "neomme": dict(head_dim=16),
    # Loops: some layers run several times in a pass.
    "dory": dict(
        num_hidden_layers=4,
        n_input_layers=1,
        n_recurrent_layers=2,
        n_output_layers=1,
        n_recurrent_loops=2,
        layer_types=["sliding_attention", "full_attention"] * 2,
    ),
    "inkling2_loop_text": dict(
        loop_layer_index_start=1,
        loop_layer_index_end=3,
        loop_num_passes=2,
        n_layers_per_attn_res_block=1,
    ),
    # Windows of images, a few patches wide.
    "qwen2_5_vl_vision": dict(window_size=16),
    "qwen2_5_omni_vision_encoder": dict(window_size=16),
    "exaone4_5_vision": dict(window_size=16),
    "swin2sr": dict(image_size=12, embed_dim=32, depths=[2, 2], num_heads=[4, 4], window_size=4),
    "swin": dict(image_size=64, embed_dim=32, depths=[2, 1], num_heads=[2, 4], window_size=4),
    "swinv2": dict(image_size=64, embed_dim=32, depths=[2, 1], num_heads=[2, 4], window_size=4),
    "donut-swin": dict(image_size=64, embed_dim=32, depths=[2, 1], num_heads=[2, 4], window_size=4),
    "maskformer-swin": dict(
        image_size=64, embed_dim=32, depths=[2, 1], num_heads=[2, 4], window_size=4
    ),
    "sam_vision_model": dict(
        image_size=20, window_size=3, global_attn_indexes=[1], num_hidden_layers=3, mlp_dim=48
    ),
    "sam_hq_vision_model": dict(
        image_size=20, window_size=3, global_attn_indexes=[1], num_hidden_layers=3, mlp_dim=48
    ),
    # Images in parts, and image encoders whose layers are chosen by number.
    "llava_next": dict(image_grid_pinpoints=[[16, 16]]),
    "llava_next_video": dict(image_grid_pinpoints=[[16, 16]]),
    "llava_onevision": dict(image_grid_pinpoints=[[16, 16]]),
    "vipllava": dict(vision_feature_layers=[-1, -2]),
    "aria": dict(projector_patch_to_query_dict={16: 4}),
    "molmo2_adapter": dict(vision_feature_layer=[-1, -2]),
    "dots3_note_vision_encoder": dict(adapter_in_dim=32),
    "dots3_note_audio_encoder": dict(adapter_input_size=32),
    "apertus1p5": dict(image_token_offset=1, audio_token_offset=129),
    "granite_speech5_encoder": dict(context_size=16),
    "segformer": dict(image_size=64, sr_ratios=[2, 2, 1, 1], depths=[1, 1, 1, 1]),
    # Layers that differ in settings that are in no list.
    "gemma4_text": dict(global_head_dim=16, num_kv_shared_layers=0),
    "gemma4_unified_text": dict(global_head_dim=16, num_kv_shared_layers=0),
    "dots3_note_text": dict(
        swa_num_attention_heads=4,
        swa_num_key_value_heads=4,
        swa_q_lora_rank=16,
        swa_kv_lora_rank=16,
        swa_head_dim=12,
        swa_qk_nope_head_dim=8,
        swa_v_head_dim=8,
        sliding_window=4,
    ),
}

# class -> why it is not built
_TARGETS = "it needs the keys and values of another model to read a text"
_CODES = "it reads several rows of audio codes instead of text"
SKIPPED: dict[str, str] = {
    "Gemma4AssistantForCausalLM": _TARGETS,
    "Gemma4UnifiedAssistantForCausalLM": _TARGETS,
    "MusicgenForCausalLM": _CODES,
    "MusicgenMelodyForCausalLM": _CODES,
}

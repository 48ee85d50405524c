"""Tiny random models of many families; transformers' logging is silenced."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.missing import package

T: Any = package("transformers")

T.logging.set_verbosity_error()
logging.getLogger("transformers").setLevel(logging.ERROR)

_VOCAB: dict[str, Any] = dict(vocab_size=100)
_IDS: dict[str, Any] = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
_ENCODER = dict(
    num_hidden_layers=3, num_attention_heads=4, hidden_size=32, intermediate_size=64, **_VOCAB
)
_DECODER = dict(_ENCODER, num_key_value_heads=2, **_IDS)
_BOTH = dict(
    encoder_layers=3,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    d_model=32,
    encoder_ffn_dim=64,
    decoder_ffn_dim=64,
    decoder_start_token_id=0,
    **_VOCAB,
    **_IDS,
)

MAKERS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: T.GPT2LMHeadModel(
        T.GPT2Config(n_layer=3, n_head=4, n_embd=32, **_VOCAB, **_IDS)
    ),
    "gpt2-bare": lambda: T.GPT2Model(
        T.GPT2Config(n_layer=3, n_head=4, n_embd=32, **_VOCAB, **_IDS)
    ),
    "bert": lambda: T.BertForMaskedLM(T.BertConfig(**_ENCODER)),
    "bert-bare": lambda: T.BertModel(T.BertConfig(**_ENCODER)),
    "bert-pretraining": lambda: T.BertForPreTraining(T.BertConfig(**_ENCODER)),
    "roberta": lambda: T.RobertaForMaskedLM(T.RobertaConfig(**_ENCODER, **_IDS)),
    "distilbert": lambda: T.DistilBertForMaskedLM(
        T.DistilBertConfig(n_layers=3, n_heads=4, dim=32, hidden_dim=64, **_VOCAB)
    ),
    "electra": lambda: T.ElectraForMaskedLM(T.ElectraConfig(embedding_size=16, **_ENCODER)),
    "albert": lambda: T.AlbertForMaskedLM(T.AlbertConfig(embedding_size=16, **_ENCODER)),
    "llama": lambda: T.LlamaForCausalLM(T.LlamaConfig(**_DECODER)),
    "llama-tied": lambda: T.LlamaForCausalLM(T.LlamaConfig(tie_word_embeddings=True, **_DECODER)),
    "qwen3": lambda: T.Qwen3ForCausalLM(T.Qwen3Config(head_dim=8, **_DECODER)),
    "mistral": lambda: T.MistralForCausalLM(T.MistralConfig(sliding_window=4, **_DECODER)),
    "gpt-neox": lambda: T.GPTNeoXForCausalLM(T.GPTNeoXConfig(**_ENCODER, **_IDS)),
    "gemma2": lambda: T.Gemma2ForCausalLM(
        T.Gemma2Config(head_dim=8, sliding_window=4, attn_logit_softcapping=2.0, **_DECODER)
    ),
    "opt": lambda: T.OPTForCausalLM(
        T.OPTConfig(
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            ffn_dim=64,
            word_embed_proj_dim=32,
            max_position_embeddings=64,
            **_VOCAB,
            **_IDS,
        )
    ),
    "marian": lambda: T.MarianMTModel(
        T.MarianConfig(activation_function="swish", scale_embedding=True, **_BOTH)
    ),
    "bart": lambda: T.BartForConditionalGeneration(T.BartConfig(**_BOTH)),
    "t5": lambda: T.T5ForConditionalGeneration(
        T.T5Config(
            num_layers=3,
            num_decoder_layers=2,
            num_heads=4,
            d_model=32,
            d_kv=8,
            d_ff=64,
            decoder_start_token_id=0,
            **_VOCAB,
        )
    ),
    "bloom": lambda: T.BloomForCausalLM(
        T.BloomConfig(n_layer=3, n_head=4, hidden_size=32, **_VOCAB, **_IDS)
    ),
    "deberta": lambda: T.DebertaV2ForMaskedLM(T.DebertaV2Config(**_ENCODER)),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def tiny():
    """name -> a tiny model in eval mode with noise on every parameter, since zero biases and unit
    gains hide bugs. Fixed sinusoids stay as they are."""

    def make(name: str) -> Any:
        model = MAKERS[name]().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.1 * torch.randn_like(parameter))
            if hasattr(model, "final_logits_bias"):
                model.final_logits_bias.normal_()
        return model

    return make


@pytest.fixture
def eager():
    """The model's own patterns, hidden states and output, computed eagerly; resets its setting."""

    def run(model: Any, **inputs: Any) -> Any:
        configs = [
            (m.config, m.config._attn_implementation)
            for m in model.modules()
            if hasattr(m, "config")
        ]
        with_maps = dict(output_attentions=True, output_hidden_states=True, use_cache=False)
        if not hasattr(model.config, "use_cache"):
            del with_maps["use_cache"]
        if model.config.model_type not in ("bloom", "deberta-v2"):  # one way only
            model.set_attn_implementation("eager")
        with torch.no_grad():
            output = model(**inputs, **with_maps)
        for config, implementation in configs:
            config._attn_implementation = implementation
        return output

    return run

"""A small Whisper and sounds whose spectrograms are known, for tests of audio input."""

from typing import Any

import numpy as np
import torch

SECONDS, RATE = 1.0, 16_000
WORDS = ["<start>", "one", " two", " three", "."]
TARGET = [1, 5, 6, 9, 12]


def whisper(*, seconds=SECONDS, bins=40, head=True, sharpness=1.0, **options) -> Any:
    """A Whisper in eval mode with two layers of two heads, for audio of so many seconds.

    Args:
        sharpness: multiplies the queries of cross-attention, so that heads are selective.
    """
    import transformers

    torch.manual_seed(0)
    sizes = dict(
        vocab_size=32,
        num_mel_bins=bins,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        max_source_positions=round(50 * seconds),
        max_target_positions=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    kind = transformers.WhisperForConditionalGeneration if head else transformers.WhisperModel
    model = kind(transformers.WhisperConfig(**sizes | options)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
            if "encoder_attn.q_proj" in name:
                parameter.mul_(sharpness)
    return model


def tone(hertz=1000.0, start=0.0, end=SECONDS, length=SECONDS):
    """A wave of `length` seconds with one pitch from start to end, silent elsewhere."""
    time = np.arange(round(length * RATE)) / RATE
    wave = 0.5 * np.sin(2 * np.pi * hertz * time) * ((time >= start) & (time < end))
    return wave.astype(np.float32)


def chirp(low=200.0, high=4000.0, length=0.8):
    """A wave whose pitch rises evenly from low to high."""
    time = np.arange(round(length * RATE)) / RATE
    phase = 2 * np.pi * (low * time + (high - low) * time**2 / (2 * length))
    return (0.5 * np.sin(phase)).astype(np.float32)


def tokenizer() -> Any:
    """A tokenizer of the words in `WORDS`, with special tokens before and after a text."""
    import tokenizers
    import transformers

    ids = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "one": 5, "two": 6, "three": 9, ".": 12}
    found = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="<unk>"))
    found.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    found.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=found,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )

"""Training steps a CPU second, fp32: ours against Hugging Face GPT-2 (sdpa) and nn.TransformerEncoder.

The same shape, the same batches, the same fused AdamW; learned positions, tanh-GELU (erf for
nn.TransformerEncoder, which has no other), LayerNorm first, biases, a tied head, no dropout. The
models take turns, a few steps each, so that a busy machine slows all alike. Bar: ≥ 1.0 × each.
"""

import statistics

import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl

from .report import Clock, Row, at_least

# name, batch, context, layers, heads, d_model, vocabulary
SHAPES = {
    "nanoGPT's CPU shape": (12, 64, 4, 4, 128, 65),
    "d 256, 256 tokens": (4, 256, 4, 4, 256, 1024),
}
ROUNDS, STEPS = 9, 4


class TorchModel(nn.Module):
    """A decoder of torch.nn's own layers."""

    def __init__(self, n_ctx, n_layers, n_heads, d_model, vocab):
        super().__init__()
        self.embedding = nn.Embedding(vocab, d_model)
        self.positions = nn.Embedding(n_ctx, d_model)
        layer = nn.TransformerEncoderLayer(
            d_model, n_heads, 4 * d_model, dropout=0.0, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerEncoder(
            layer, n_layers, norm=nn.LayerNorm(d_model), enable_nested_tensor=False
        )
        mask = nn.Transformer.generate_square_subsequent_mask(n_ctx)
        self.register_buffer("mask", mask)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]
        x = self.layers(x, mask=self.mask, is_causal=True)
        return x @ self.embedding.weight.T


def models(shape, activation="gelu_tanh"):
    _, n_ctx, n_layers, n_heads, d_model, vocab = shape
    made = {
        "ours": tl.Transformer(
            tl.ModelConfig(
                vocab_size=vocab, n_layers=n_layers, n_heads=n_heads, d_model=d_model, n_ctx=n_ctx,
                positions="learned", activation=activation,
            )
        ),
        "nn.TransformerEncoder": TorchModel(n_ctx, n_layers, n_heads, d_model, vocab),
    }  # fmt: skip
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        return made
    config = GPT2Config(
        vocab_size=vocab, n_positions=n_ctx, n_embd=d_model, n_layer=n_layers, n_head=n_heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
        attn_implementation="sdpa", bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    hugging_face = GPT2LMHeadModel(config)
    return {**made, "Hugging Face GPT-2 (sdpa)": hugging_face}


def run(options):
    for name, shape in SHAPES.items():
        torch.manual_seed(options.seed)
        made = models(shape)
        if "Hugging Face GPT-2 (sdpa)" not in made:
            yield Row("Hugging Face GPT-2", "not installed", "", "≥ 1.0", None, 0, options.seed)
        optimizers = {k: torch.optim.AdamW(m.parameters(), fused=True) for k, m in made.items()}
        tokens = torch.randint(shape[-1], (shape[0], shape[1] + 1))

        def step(who, made=made, optimizers=optimizers, tokens=tokens):
            out = made[who](tokens[:, :-1])
            logits = out if isinstance(out, torch.Tensor) else out.logits
            F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
            optimizers[who].step()
            optimizers[who].zero_grad(set_to_none=True)

        times = {who: [] for who in made}
        with Clock() as total:
            for who in made:
                step(who)
            for turn in range(ROUNDS):
                order = list(made) if turn % 2 else list(made)[::-1]
                for who in order:
                    with Clock() as clock:
                        for _ in range(STEPS):
                            step(who)
                    times[who].append(clock.cpu / STEPS)
        rate = shape[0] * shape[1]
        for who in made:
            if who == "ours":
                continue
            ratio = statistics.median(b / a for a, b in zip(times["ours"], times[who], strict=True))
            a, b = (rate / statistics.median(times[w]) for w in ("ours", who))
            yield at_least(
                f"training throughput against {who}, {name}", ratio, 1.0, unit="×",
                seconds=total.cpu, seed=options.seed, note=f"{a:,.0f} against {b:,.0f} tokens a CPU second",
            )  # fmt: skip

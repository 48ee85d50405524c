"""Train the model that ships with Transformer Lab, on text that comes with every CPython.

    python data/models/shipped/train.py            # about seven minutes on one CPU core

Writes config.json, model.safetensors (fp16) and tokenizer.json beside this file, and prints the
numbers in the model card (README.md).
"""

import argparse
import hashlib
import platform
import time
from pathlib import Path

import torch

import transformer_lab as tl
from transformer_lab.datasets.batches import Batch
from transformer_lab.datasets.corpora import Corpus
from transformer_lab.tokenizers import BPETokenizer

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=3000)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--out", type=Path, default=Path(__file__).parent)
options = parser.parse_args()
torch.set_num_threads(options.threads)
torch.manual_seed(options.seed)

# Reference manual (English) and standard library (code): both are read many times over, so that the
# model learns short words, brackets and repeated names.
manual, source = tl.datasets.python_manual(), tl.datasets.python_source()
texts = {"manual": manual.text, "source": source.text[:1_500_000]}
text = "\n".join(texts.values())
tokenizer = BPETokenizer.train(text, vocab_size=1024)
corpora = [Corpus.of(text, tokenizer, name=name, held_out=0.05) for name, text in texts.items()]
streams = [c.batches(16, 128, seed=options.seed) for c in corpora]


class Mixed:
    """Every third step reads the manual, every third the library, and every third repeated random tokens.

    The random tokens are there to train induction heads: only a head that attends to what followed a
    token last time can predict them. Their first halves are not scored.
    """

    def batch(self, step):
        return streams[step % 3].batch(step // 3) if step % 3 < 2 else repeats(step)


def repeats(step, batch_size=16, n_ctx=128):
    draw = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
    length = int(torch.randint(16, 65, (), generator=draw))
    # Each text draws from its own 64 tokens and repeats some of them. So the current token alone rarely
    # determines the next one; after the first round, the token before it usually settles the matter.
    words = torch.randint(5, tokenizer.vocab_size, (batch_size, 64), generator=draw)
    segment = words.gather(1, torch.randint(64, (batch_size, length), generator=draw))
    ids = segment.repeat(1, 1 + n_ctx // length + 1)[:, : n_ctx + 1]
    targets = ids[:, 1:].clone()
    targets[:, : length - 1] = -100
    return Batch(tokens=ids[:, :-1], targets=targets)


config = tl.ModelConfig(
    vocab_size=tokenizer.vocab_size, n_layers=4, n_heads=4, d_model=128, n_ctx=256, bias=False
)
model = tl.Transformer(config)
started = time.process_time()
for step in tl.train(model, Mixed(), steps=options.steps, lr=3e-3):
    if step.index % 100 == 0:
        print(f"step {step.index}: loss {step.loss:.3f}", flush=True)
seconds = time.process_time() - started

model.eval()
losses = {}
with torch.no_grad():
    for corpus in corpora:
        batches = corpus.epoch(16, 128)
        total = sum(
            torch.nn.functional.cross_entropy(
                model(b.tokens).flatten(0, 1), b.targets.flatten(), reduction="sum"
            ).item()
            for b in batches
        )
        losses[corpus.name] = total / sum(int((b.targets != -100).sum()) for b in batches)
tl.TextModel(model, tokenizer, "manual").save(options.out, dtype="fp16")
weights = (options.out / "model.safetensors").read_bytes()
print(f"parameters {model.n_parameters():,}; file {len(weights) / 2**20:.2f} MiB")
print(f"held-out loss per token: {losses}; CPU seconds {seconds:.0f}; {options.steps} steps")
print(f"text sha256 {hashlib.sha256(text.encode()).hexdigest()}")
print(f"weights sha256 {hashlib.sha256(weights).hexdigest()}")
print(f"Python {platform.python_version()}, torch {torch.__version__}, seed {options.seed}")

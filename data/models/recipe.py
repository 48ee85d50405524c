"""What the scripts that train this folder's models share: options, repeated tokens, and the report."""

import argparse
import hashlib
import platform
from pathlib import Path

import torch

import transformer_lab as tl
from transformer_lab.datasets.batches import Batch


def options(doc, file, steps):
    """The command line of a script: steps, seed, threads, and the folder to write."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(file).parent)
    parser.add_argument("--run", type=Path, help="a folder for checkpoints, to go on later")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    return given


def repeats(step, vocab_size, seed, batch_size=16, n_ctx=128):
    """Random tokens, repeated; their first halves are not scored.

    They train induction heads: only a head that attends to what followed a token last time can
    predict them.
    """
    draw = torch.Generator().manual_seed(seed * 1_000_003 + step)
    length = int(torch.randint(16, 65, (), generator=draw))
    # Each text draws from its own 64 tokens and repeats some of them. So the current token alone rarely
    # determines the next one; after the first round, the token before it usually settles the matter.
    words = torch.randint(5, vocab_size, (batch_size, 64), generator=draw)
    segment = words.gather(1, torch.randint(64, (batch_size, length), generator=draw))
    ids = segment.repeat(1, 1 + n_ctx // length + 1)[:, : n_ctx + 1]
    targets = ids[:, 1:].clone()
    targets[:, : length - 1] = -100
    return Batch(tokens=ids[:, :-1], targets=targets)


def train(model, batches, given, **how):
    """Train as the options say, going on from the run's last checkpoint if there is one."""
    saving = dict(run=given.run, resume=True) if given.run else {}
    for step in tl.train(model, batches, steps=given.steps, **saving, **how):
        if step.index % 100 == 0:
            print(f"step {step.index}: loss {step.loss:.3f}", flush=True)
    model.eval()


def loss_of(model, batches):
    """Mean loss per token, in nats."""
    total = count = 0
    with torch.no_grad():
        for b in batches:
            logits, targets = model(b.tokens).flatten(0, 1), b.targets.flatten()
            total += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
            count += int((b.targets != -100).sum())
    return total / count


def save(model, tokenizer, name, text, given):
    """Write the model's three files, and print what the model card says of them."""
    tl.TextModel(model, tokenizer, name).save(given.out, dtype="fp16")
    weights = (given.out / "model.safetensors").read_bytes()
    print(f"parameters {model.n_parameters():,}; file {len(weights) / 2**20:.2f} MiB")
    print(f"{given.steps} steps; text sha256 {hashlib.sha256(text.encode()).hexdigest()}")
    print(f"weights sha256 {hashlib.sha256(weights).hexdigest()}")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, seed {given.seed}")

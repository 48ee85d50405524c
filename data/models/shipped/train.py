"""Train the model that ships with Transformer Lab, on text that comes with every CPython.

    python data/models/shipped/train.py            # about seven minutes on one CPU core

Writes config.json, model.safetensors (fp16) and tokenizer.json beside this file, and prints the
numbers in the model card (README.md).
"""

import sys
import time
from pathlib import Path

import transformer_lab as tl
from transformer_lab.datasets.corpora import Corpus
from transformer_lab.tokenizers import BPETokenizer

sys.path.append(str(Path(__file__).resolve().parents[1]))
import recipe

given = recipe.options(__doc__, __file__, steps=3000)

# Reference manual (English) and standard library (code): both are read many times over, so that the
# model learns short words, brackets and repeated names.
manual, source = tl.datasets.python_manual(), tl.datasets.python_source()
texts = {"manual": manual.text, "source": source.text[:1_500_000]}
text = "\n".join(texts.values())
tokenizer = BPETokenizer.train(text, vocab_size=1024)
corpora = [Corpus.of(text, tokenizer, name=name, held_out=0.05) for name, text in texts.items()]
streams = [c.batches(16, 128, seed=given.seed) for c in corpora]


class Mixed:
    """Every third step reads the manual, every third the library, and every third repeated random tokens."""

    def batch(self, step):
        if step % 3 < 2:
            return streams[step % 3].batch(step // 3)
        return recipe.repeats(step, tokenizer.vocab_size, given.seed)


config = tl.ModelConfig(
    vocab_size=tokenizer.vocab_size, n_layers=4, n_heads=4, d_model=128, n_ctx=256, bias=False
)
model = tl.Transformer(config)
started = time.process_time()
recipe.train(model, Mixed(), given, lr=3e-3)
seconds = time.process_time() - started

losses = {corpus.name: recipe.loss_of(model, corpus.epoch(16, 128)) for corpus in corpora}
print(f"held-out loss per token: {losses}; CPU seconds {seconds:.0f}")
recipe.save(model, tokenizer, "manual", text, given)

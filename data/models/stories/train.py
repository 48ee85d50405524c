"""Train the model that tells little stories, on stories that are generated.

    python data/models/stories/train.py            # about 14 minutes on one CPU core

Writes config.json, model.safetensors (fp16) and tokenizer.json beside this file; measure.py then
measures what the model card says. With --run FOLDER, the same command goes on where it stopped.
"""

import random
import sys
import time
from pathlib import Path

import torch

import transformer_lab as tl
from transformer_lab.datasets.batches import IGNORE, Batch, Ragged, Stream

sys.path.append(str(Path(__file__).resolve().parents[1]))
import recipe

REPEATS = 5  # every fifth batch is of repeated random tokens


class Told(Stream):
    """Stories in batches of about `n_tokens` tokens, all of about the same length.

    In half of the stories every name is replaced by one that is made on the spot, of any pieces that
    the tokenizer has: so names never repeat, and the only way to know one is to copy it. One story
    in five begins with the wish, as a reader's own text might.
    """

    def __init__(self, data, n_tokens, seed):
        super().__init__(self._make, seed)
        self.data, self.n_tokens = data, n_tokens
        self.stories = sorted(data.train, key=lambda story: len(story.text))
        vocabulary = (data.tokenizer.decode([i]) for i in range(data.vocab_size))
        self.pieces = sorted({p.strip().lower() for p in vocabulary if p.strip().isalpha()})
        self.pieces = [p for p in self.pieces if p.isascii() and len(p) < 6]
        self.unseen = {person.name for story in data.held_out for person in story.people}

    def _make(self, step):
        rng = random.Random(f"{self.seed}-{step}")
        encode, eos = self.data.tokenizer.encode, self.data.tokenizer.eos_id
        at = rng.randrange(len(self.stories))
        near = self.stories[max(0, at - 200) : at + 200]
        longest = len(near[-1].text) / 4.2  # characters of a token, about
        rows = [encode(self.told(s, rng)) for s in rng.sample(near, round(self.n_tokens / longest))]
        tokens, _ = Ragged.of(rows).pad(torch.arange(len(rows)).numpy(), self.data.tokenizer.pad_id)
        targets, _ = Ragged.of([[*row[1:], eos] for row in rows]).pad(
            torch.arange(len(rows)).numpy(), IGNORE
        )
        return Batch(tokens, targets)  # causal, so that padding at the end needs no mask

    def told(self, story, rng):
        start = story.parts[1].start if rng.random() < 0.2 else 0
        new = rng.random() < 0.5
        names = [self.name(rng) if new else person.name for person in story.people]
        text, done = "", start
        for mention in story.mentions:
            if mention.kind == "name" and mention.start >= start:
                text += story.text[done : mention.start] + names[mention.people[0]]
                done = mention.end
        return text + story.text[done:]

    def name(self, rng):
        while True:
            name = "".join(rng.choice(self.pieces) for _ in range(rng.randint(1, 4))).capitalize()
            if 3 <= len(name) <= 12 and name not in self.unseen:
                return name


class Mixed:
    def __init__(self, told):
        self.told = told

    def batch(self, step):
        if step % REPEATS == REPEATS - 1:
            return recipe.repeats(step, self.told.data.vocab_size, self.told.seed)
        return self.told.batch(step)


def stories():
    """The stories that the model learns from, and those that it never sees."""
    return tl.datasets.little_stories(size=20_000)


if __name__ == "__main__":
    given = recipe.options(__doc__, __file__, steps=3_000)
    data = stories()
    config = tl.ModelConfig(
        vocab_size=data.vocab_size, n_layers=4, n_heads=4, d_model=128, n_ctx=256, bias=False
    )
    model = tl.Transformer(config)
    started = time.process_time()
    recipe.train(model, Mixed(Told(data, 1536, given.seed)), given, lr=3e-3)
    print(f"CPU seconds {time.process_time() - started:.0f}")
    print(f"held-out loss per token: {recipe.loss_of(model, data.epoch(32)):.4f}")
    recipe.save(model, data.tokenizer, "stories", "\n".join(s.text for s in data.train), given)

"""Training in a page is PyTorch's: the gradient of every weight of every kind of model, and the steps."""

import base64
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import transformer_lab as tl
from tests.factories import small
from tests.views.engine.cases import models
from transformer_lab.datasets import Batch
from transformer_lab.files.models import describe, model_tensors
from transformer_lab.files.safefiles import write_tensors
from transformer_lab.optim import AdamW
from transformer_lab.training.objective import IGNORED, CrossEntropy

pytestmark = pytest.mark.needs("node")
HERE = Path(__file__).parent
STEPS = 20
# Trained through `tl.train`: kinds, norms, a tied head; a weight decay and a clip that are felt.
TRAINED = (
    ("decoder", dict(positions="learned", norm_first=False)),
    ("decoder", dict(positions="rotary", norm="rms", bias=False, activation="relu2", logit_softcap=15.0)),
    ("encoder", dict(positions="relative", tie_head=False, activation="swiglu")),
    ("encoder-decoder", dict(positions="alibi", target_vocab_size=37)),
)  # fmt: skip


def batch_for(model, lengths, seed, groups=1):
    """Texts of these lengths, padded; a third of the targets are ignored."""
    chance = torch.Generator().manual_seed(seed)
    both = model.config.kind == "encoder-decoder"
    shape = (len(lengths), max(lengths))

    def ids(most, *shape):
        return torch.randint(most, shape, generator=chance)

    tokens, mask = ids(model.config.vocab_size, *shape), torch.zeros(shape, dtype=torch.bool)
    for row, n in zip(mask, lengths, strict=True):
        row[:n] = True
    target_in = ids(model.n_outputs, shape[0], shape[1] - 1) if both else None
    rows = target_in if both else tokens
    targets = ids(model.n_outputs // groups, *rows.shape, groups)
    targets[torch.rand(targets.shape, generator=chance) < 0.33] = IGNORED
    if not both:
        targets[~mask] = IGNORED
    return Batch(
        tokens=tokens, targets=targets.squeeze(-1) if groups == 1 else targets, mask=mask,
        target_in=target_in,
    )  # fmt: skip


def plain(batch):
    """The examples of a batch, without their padding."""
    found = []
    for i, row in enumerate(batch.mask):
        both = batch.target_in is not None
        n = None if both else int(row.sum())
        found.append(
            dict(
                tokens=batch.tokens[i][row].tolist(),
                target=batch.target_in[i].tolist() if both else None,
                targets=batch.targets[i][:n].flatten().tolist(),
            )
        )
    return found


def losses(model, batch):
    if batch.targets.dim() == 2:
        return CrossEntropy()(model, batch)
    logits = model(batch.tokens, mask=batch.mask).unflatten(-1, (batch.targets.shape[-1], -1))
    return F.cross_entropy(logits.flatten(0, -2), batch.targets.flatten(), ignore_index=IGNORED)


class Asked:
    """Questions to the page's code, in files."""

    def __init__(self, folder):
        self.folder, self.questions = folder, []

    def ask(self, model, **question):
        name = f"model{len(self.questions)}"
        tensors = {k: v.detach().clone() for k, v in model_tensors(model).items()}
        write_tensors(self.folder / f"{name}.safetensors", tensors, {})
        self.questions.append(dict(name=name, config=describe(model), **question))
        return len(self.questions) - 1

    def answers(self):
        (self.folder / "asked.json").write_text(json.dumps(self.questions))
        run = subprocess.run(
            ["node", HERE / "run_training.mjs", self.folder], capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-3000:]
        return json.loads((self.folder / "answers.json").read_text())


def floats(text, like):
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<f4").copy()).view(like.shape)


def test_the_gradient_of_every_weight_of_every_model(tmp_path):
    asked, wanted = Asked(tmp_path), []
    for turn, (model, *_) in enumerate(models()):
        if model.head is None:
            continue
        groups = 2 if turn % 5 == 0 and model.config.kind == "encoder" else 1
        batch = batch_for(model, [6, 4, 9], turn, groups)
        asked.ask(model, ask="gradient", batches=[plain(batch)])
        loss = losses(model.double(), batch)  # in 32 bits PyTorch's own are up to 5e-4 beside them
        loss.backward()
        wanted.append((model, loss.item()))
    assert len(wanted) >= 20
    for (model, loss), found in zip(wanted, asked.answers(), strict=True):
        where = model.config
        assert found["loss"] == pytest.approx(loss, abs=1e-5), where
        gradients = dict(model.named_parameters())
        assert set(gradients) == set(found["gradients"])
        longest = max(float(p.grad.abs().max()) for p in gradients.values())
        assert longest > 0.01
        for name, p in gradients.items():
            mine = torch.zeros_like(p) if p.grad is None else p.grad
            apart = (floats(found["gradients"][name], mine) - mine).abs().max()
            assert apart <= 1e-4 * max(1.0, mine.abs().max()), (name, float(apart), where)


def test_twenty_steps_of_training_are_those_of_python(tmp_path):
    asked, wanted = Asked(tmp_path), []
    for seed, (kind, options) in enumerate(TRAINED):
        model = small(kind, seed=seed, n_layers=1, noise=0.05, **options)
        batches = [batch_for(model, [6, 9, 5, 8], 100 * seed + i) for i in range(STEPS)]
        recipe = dict(steps=STEPS, lr=0.01, decay=0.5, clip=0.7)
        asked.ask(model, ask="train", batches=[plain(b) for b in batches], recipe=recipe)
        how = AdamW(lr=0.01, weight_decay=0.5, clip=0.7)
        steps = list(tl.train(model, batches, steps=STEPS, optimizer=how, precision="fp32"))
        with torch.no_grad():
            first = (
                batches[0].tokens[:1, :6],
                *([batches[0].target_in[:1]] if kind.endswith("-decoder") else []),
            )
            logits = model.eval()(*first)[0]
        wanted.append((model, steps, logits))
    for (model, steps, logits), found in zip(wanted, asked.answers(), strict=True):
        where = model.config
        for step, told in zip(steps, found["told"], strict=True):
            assert told["step"] == step.index
            assert told["loss"] == pytest.approx(step.loss, abs=1e-4), (where, told)
            assert told["lr"] == pytest.approx(step.lr, rel=1e-6)
            assert told["norm"] == pytest.approx(step.grad_norm, rel=1e-3), (where, told)
        assert min(step.grad_norm for step in steps) > 0.7  # all were clipped
        assert (floats(found["logits"], logits) - logits).abs().max() <= 1e-3, where
        for name, p in model.named_parameters():
            if "key.bias" in name:
                continue  # without rotation it has no gradient but rounding, of which AdamW makes steps
            apart = (floats(found["weights"][name], p) - p).abs().max()
            assert apart <= 1e-4, (name, float(apart), where)


def test_the_optimizer_is_pytorchs_on_the_same_gradients(tmp_path):
    """To the last bits, and with the decay of `transformer_lab.training`: of what has two axes."""
    asked, model = Asked(tmp_path), small(n_layers=1, noise=0.1)
    recipe = dict(steps=STEPS, lr=0.01, betas=[0.9, 0.98], eps=1e-8, decay=0.3, schedule="constant")
    at = asked.ask(model, ask="optimizer", steps=STEPS, recipe=recipe)
    [optimizer] = AdamW(lr=0.01, weight_decay=0.3).build(model, STEPS)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * min(1, (step + 1) / 2)  # warm for a tenth of the steps
        torch.manual_seed(step)
        for p in model.parameters():
            p.grad = torch.randn_like(p) * 10 ** float(torch.empty(1).uniform_(-6, 1))
        grads = {name: p.grad for name, p in model.named_parameters()}
        write_tensors(tmp_path / f"model{at}.{step}.safetensors", grads, {})
        optimizer.step()
    [found] = asked.answers()
    for name, p in model.named_parameters():
        assert (floats(found["weights"][name], p) - p).abs().max() <= 2e-6, name


def test_what_a_page_does_not_train_is_refused_with_the_reason(tmp_path):
    asked = Asked(tmp_path)
    for options in (dict(n_layers=8), dict(dropout=0.1), dict(head=False), {}):
        asked.ask(small(**options), ask="refused")
    none = [dict(tokens=[1, 2], targets=[IGNORED, IGNORED])]
    asked.ask(small(), ask="nothing", batches=[none])
    large, dropout, headless, allowed, nothing = asked.answers()
    assert large == "it has 103,296 weights, and a page trains fewer than 50,000"
    assert dropout.startswith("dropout=0.1 draws numbers")
    assert headless.startswith("it has no head")
    assert allowed == ""
    assert nothing.startswith("every target of the batch is −100")

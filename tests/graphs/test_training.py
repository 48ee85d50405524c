"""A graph of an update trains as `tl.train` does: in PyTorch and in a page's engine."""

import base64
import itertools
import json
import math
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
from transformer_lab.files.safefiles import write_tensors
from transformer_lab.graphs.training import MOMENTS, STEP, initial_draws, update_graph
from transformer_lab.optim import AdamW
from transformer_lab.training.objective import IGNORED

RUN = Path(__file__).with_name("run_training.mjs")
STEPS = 40
# Kinds, norms, a tied head; weight decay and clipping with an effect; schedules.
TRAINED = {
    "decoder": dict(positions="learned", norm_first=False),
    "encoder": dict(positions="relative", tie_head=False, activation="swiglu"),
    "encoder-decoder": dict(positions="alibi", target_vocab_size=37),
}
RECIPES = {
    "decoder": AdamW(lr=0.01, weight_decay=0.5, clip=0.7),
    "encoder": AdamW(lr=0.01, betas=(0.8, 0.99), schedule="linear", warmup=3),
    "encoder-decoder": AdamW(lr=0.003, schedule="constant", clip=None, weight_decay=0.0),
}


def batch_for(model, seed, answers=1):
    """Four texts; a third of the targets are ignored."""
    chance = torch.Generator().manual_seed(seed)
    both = model.config.kind == "encoder-decoder"

    def ids(most, *shape):
        return torch.randint(most, shape, generator=chance)

    tokens = ids(model.config.vocab_size, 4, 9)
    target = ids(model.n_outputs, 4, 7) if both else None
    read = tokens if target is None else target
    targets = ids(model.n_outputs // answers, *read.shape, answers)
    targets[torch.rand(targets.shape, generator=chance) < 0.33] = IGNORED
    return Batch(tokens=tokens, target_in=target, targets=targets.squeeze(-1))


def inputs_of(batch):
    read = {"tokens": batch.tokens, "target": batch.target_in, "targets": batch.targets}
    return {name: x for name, x in read.items() if x is not None}


def graph_of(model, batch, recipe, steps):
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return update_graph(
        model, {name: x.detach() for name, x in weights.items()}, inputs_of(batch), recipe, steps
    )


class Cases:
    """Write training cases to files for the engine, and run them."""

    def __init__(self, folder):
        self.folder, self.cases = folder, []

    def add(self, graph, batches, wasm=True):
        name = f"case{len(self.cases)}"
        weights = {k: x.detach().float().clone() for k, x in graph.weights.items()}
        write_tensors(self.folder / f"{name}.safetensors", weights, {})
        given = [
            {
                k: dict(shape=list(x.shape), data=x.flatten().tolist())
                for k, x in inputs_of(b).items()
            }
            for b in batches
        ]
        description = graph.description()
        self.cases.append(dict(name=name, description=description, batches=given, wasm=wasm))

    def run(self):
        (self.folder / "cases.json").write_text(json.dumps(self.cases))
        run = subprocess.run(
            ["node", RUN, self.folder], capture_output=True, text=True, timeout=120
        )
        assert run.returncode == 0, run.stderr[-3000:]
        return json.loads((self.folder / "results.json").read_text())


def floats(text, like):
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<f4").copy()).view(like.shape)


@pytest.mark.needs("node")
def test_the_gradient_of_every_weight(tmp_path):
    """From the first moment after one update, which is (1 − β₁) times the gradient."""
    cases, wanted = Cases(tmp_path), []
    recipe = AdamW(clip=None)
    for turn, (model, *_) in itertools.islice(enumerate(models()), 0, None, 7):
        if model.head is None:
            continue
        answers = 2 if model.config.kind == "encoder" and turn % 2 else 1
        batch = batch_for(model, turn, answers)
        cases.add(graph_of(model, batch, recipe, 1), [batch])
        model = model.double()  # in fp32 PyTorch's own differ by up to 5e-4
        logits = model(*list(inputs_of(batch).values())[:-1])
        loss = F.cross_entropy(logits.reshape(batch.targets.numel(), -1), batch.targets.flatten())
        loss.backward()
        wanted.append((model, loss.item()))
    for (model, loss), found in zip(wanted, cases.run(), strict=True):
        where = model.config
        assert found["results"][0]["loss"] == pytest.approx(loss, abs=1e-5), where
        own = sorted(model.parameters(), key=lambda p: p.dim() < 2)
        gradients = torch.cat([p.grad.flatten() for p in own])
        assert found["results"][0]["norm"] == pytest.approx(gradients.norm().item(), rel=1e-4)
        mean = floats(found["weights"][MOMENTS[0]], gradients) / (1 - recipe.betas[0])
        assert (mean - gradients).abs().max() <= 1e-4 * gradients.abs().max(), where


@pytest.mark.needs("node")
def test_training_is_that_of_python(tmp_path):
    cases, wanted = Cases(tmp_path), []
    for seed, (kind, options) in enumerate(TRAINED.items()):
        model = small(kind, seed=seed, n_layers=1, noise=0.05, **options)
        batches = [batch_for(model, 100 * seed + i) for i in range(STEPS)]
        graph = graph_of(model, batches[0], RECIPES[kind], STEPS)
        cases.add(graph, batches, wasm=kind != "encoder")
        steps = list(
            tl.train(model, batches, steps=STEPS, optimizer=RECIPES[kind], precision="fp32")
        )
        wanted.append((model, steps))
    for (model, steps), found in zip(wanted, cases.run(), strict=True):
        where = model.config
        assert found["compiled"] == (where.kind != "encoder")
        assert found["grew"] == 0  # only the first update allocates memory
        for step, told in zip(steps, found["results"], strict=True):
            assert told["loss"] == pytest.approx(step.loss, abs=1e-5), (where, step.index)
            assert told["norm"] == pytest.approx(step.grad_norm, rel=1e-4), (where, step.index)
        for name, p in model.named_parameters():
            if "key.bias" in name:
                continue  # without rotation its gradient is rounding error, which AdamW scales
            apart = (floats(found["weights"][name], p) - p).abs().max()
            assert apart <= 1e-4, (name, float(apart), where)
    assert min(step.grad_norm for step in wanted[0][1]) > 0.7  # all were clipped


@pytest.mark.parametrize(
    "options", [dict(zero_init=True), dict(scale_embedding=True, kind="encoder-decoder")]
)
def test_weights_are_drawn_as_a_model_draws_them(options):
    def build():
        return small(**{"positions": "learned", "d_model": 64, "n_layers": 2, **options})

    torch.manual_seed(0)
    model = build()
    weights = dict(model.named_parameters())
    state = {name: torch.zeros(2) for name in (*MOMENTS, STEP)}
    drawn = initial_draws(build, {**weights, **state})
    assert set(drawn) == {*weights, *state}
    for name, p in weights.items():
        how = drawn[name]
        spread = math.sqrt(how["normal"] ** 2 + how["uniform"] ** 2 / 3)
        assert p.mean().item() == pytest.approx(how["middle"], abs=0.1 * spread), name
        assert p.std().item() == pytest.approx(spread, rel=0.05), name
        assert not how["uniform"] or p.abs().max() <= how["uniform"]
    assert all(drawn[name]["middle"] == drawn[name]["normal"] == 0 for name in state)

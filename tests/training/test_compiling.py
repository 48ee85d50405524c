"""compile="auto" estimates a run's cost from its shapes; a failing compiler stops no training."""

import pytest
import torch

import transformer_lab as tl
from tests.factories import Counting, learner, weights
from transformer_lab.training.hardware import backend_for


def model_of(make=tl.ModelConfig.modern, d_model=128, n_layers=4):
    config = make(vocab_size=65, n_layers=n_layers, n_heads=4, d_model=d_model, n_ctx=64)
    return tl.Transformer(config)


def test_auto_compiles_where_a_run_is_long_enough():
    modern = model_of()
    seen = {}
    for steps in (10, 260, 100_000):
        backend, why = backend_for("auto", modern, Counting(12), steps, threads=1)
        seen[steps] = backend
        assert why.startswith("Compiled: of about" if backend else "Not compiled: of about"), why
    assert seen == {10: None, 260: None, 100_000: "inductor"}
    # Twice the work or half the threads tips a run that is almost long enough.
    long = next(
        n for n in range(1000, 10**6, 1000) if backend_for("auto", modern, Counting(12), n, 1)[0]
    )
    assert backend_for("auto", modern, Counting(12), long, 2)[0] is None
    assert backend_for("auto", modern, Counting(24), long // 2 + 1000, 1)[0] == "inductor"


def test_auto_leaves_alone_what_gains_nothing():
    backend, why = backend_for("auto", model_of(tl.ModelConfig), Counting(12), 10**7, 1)
    assert backend is None
    assert "hardly speeds up" in why
    meta = model_of().to("meta")
    assert "on meta has not been measured" in backend_for("auto", meta, Counting(12), 10**7, 1)[1]


@pytest.mark.parametrize(
    ("wish", "backend"), [(True, "inductor"), (False, None), ("eager", "eager"), ("", None)]
)
def test_what_is_asked_for_is_done(wish, backend):
    assert backend_for(wish, model_of(), Counting(1), 1, 1) == (backend, "")


def test_the_bar_says_why(capsys):
    list(tl.train(learner(), Counting(), steps=2, compile="auto", progress=True))
    assert "Not compiled: it hardly speeds up this kind of block" in capsys.readouterr().err


@pytest.mark.badinput
@pytest.mark.parametrize("after", [0, 2], ids=["at once", "in the middle"])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_training_goes_on_uncompiled_where_the_compiler_fails(after, dropout, monkeypatch):
    from torch._dynamo.exc import TorchDynamoException

    calls = []

    def backend(graph, inputs):
        def run(*given):
            calls.append(1)
            if len(calls) > after:
                raise TorchDynamoException("no compiler here\nand much more")
            return graph(*given)

        return run

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **given: compiled(model, backend=backend))
    torch._dynamo.reset()
    model = learner(dropout=dropout)
    torch.manual_seed(1)
    with pytest.warns(
        UserWarning, match=rf"failed at step {after + 1} \(no compiler here\); train"
    ):
        losses = [s.loss for s in tl.train(model, Counting(), steps=5, compile=True)]
    assert len(calls) == after + 1
    plain = learner(dropout=dropout)
    torch.manual_seed(1)
    expected = [s.loss for s in tl.train(plain, Counting(), steps=5)]
    assert losses == pytest.approx(expected, abs=1e-6)
    assert torch.allclose(weights(model), weights(plain), atol=1e-6)


@pytest.mark.badinput
def test_an_error_of_the_model_is_no_failure_of_the_compiler():
    batches = [(torch.full((2, 4), 99), torch.zeros(2, 4, dtype=torch.int64))]
    with pytest.raises((IndexError, ValueError)):
        list(tl.train(learner(), batches, steps=1, compile="eager"))

"""RunView and a TrainingView's scrubber show what the snapshots contain."""

import itertools

import pytest
import torch
from torch.testing import assert_close
from traitlets import TraitError

import transformer_lab as tl
from tests.factories import CountingBatches, learner
from transformer_lab.tracing.packing import pack_weights, unpack_weights
from transformer_lab.views import RunView, TrainingView
from transformer_lab.views.runs.data import KEPT_BYTES, MOST_KEPT, Snapshots, curves, thinned
from transformer_lab.views.shared.javascript import call
from transformer_lab.views.shared.messages import messages
from transformer_lab.views.shared.modules import VIEWS

PROBE = torch.tensor([3, 5, 2, 9, 3, 5, 2, 9])
NAMES = ["a", "<i>b", "c", "d", "a", "<i>b", "c", "d"]


def trained(folder, kind="decoder", steps=12, watch=None, probe=PROBE, **options):
    model = learner(kind=kind, vocab_size=20, n_layers=2, n_ctx=16)
    both = kind == "encoder-decoder"
    data, probe = CountingBatches(both), (probe, probe[:5]) if both else probe
    for _ in tl.train(
        model,
        data,
        steps=steps,
        run=folder,
        snapshot_every=5,
        probe=probe,
        watch=watch,
        eval_batches=[data.batch(99)],
        eval_every=6,
        lr=0.02,
        **options,
    ):
        pass
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "counting"
    trained(folder)
    return folder


def test_every_step_shows_its_own_snapshot(folder):
    view, run = RunView(folder, labels=NAMES), tl.Run(folder)
    assert view.snapshots == run.snapshots == [0, 5, 10, 12] and view.step == 12
    for step in (10, 0, 5):
        view.step = step
        for layer in (0, 1):
            view.layer = layer
            assert torch.equal(view.row(6), run.trace(step).pattern(layer, view.head)[6])
        assert view.sentence.startswith(f"Step {step} of 12")
    assert not torch.equal(run.trace(0).pattern(0, 0), run.trace(5).pattern(0, 0))
    view.step = 8  # no interpolation
    assert view.step == 10
    view.step = 10_000
    assert view.step == 12


def test_scores_are_those_of_the_measures(folder):
    view, run = RunView(folder), tl.Run(folder)
    assert view._measures["decoder"][:3] == ["induction", "two-hop induction", "previous token"]
    for name, measure in (
        ("induction", tl.heads.induction),
        ("two-hop induction", tl.heads.two_hop_induction),
        ("previous token", tl.heads.previous_token),
        ("entropy", tl.heads.entropy),
    ):
        expected = torch.stack([measure(run.trace(step)) for step in run.snapshots])
        assert torch.equal(view.score(name), expected)
    numbers = torch.frombuffer(bytearray(view._scores), dtype=torch.float32)
    assert torch.equal(numbers[:16].reshape(4, 2, 2), view.score("induction"))
    best = view.score("induction")[-1]
    assert best[view.layer, view.head] == best.max()


def test_loss_is_the_metrics(folder):
    view, metrics = RunView(folder), tl.Run(folder).metrics()
    loss = {row["index"]: row["loss"] for row in metrics}
    assert view._losses == [None, loss[5], loss[10], loss[12]]
    curve = torch.frombuffer(bytearray(view._curve), dtype=torch.float32).reshape(-1, 2)
    assert_close(curve[:, 1], torch.tensor(list(loss.values())))
    evals = torch.frombuffer(bytearray(view._evals), dtype=torch.float32).reshape(-1, 2)
    assert evals[:, 0].tolist() == [6, 12]
    view.step = 5
    assert f"loss {loss[5]:.2f} nats" in view.sentence
    view.step = 0
    assert "before training" in view.sentence


def test_a_page_and_a_kernel_give_every_step(folder):
    view, run = RunView(folder, step=5, labels=NAMES), tl.Run(folder)
    for step in view.snapshots:
        message, buffers = view._answer({"type": "block", "name": f"step/{step}", "request": 1})
        assert message["info"]["step"] == step
        assert buffers[0] == pack_weights(run.snapshot(step)["decoder"]).numpy().tobytes()
    with pytest.raises(ValueError, match="step=7 has no snapshot"):
        view._answer({"type": "block", "name": "step/7", "request": 2})
    view.step = 10
    page = view.to_html()
    assert all(f'data-block="step/{step}"' in page for step in view.snapshots)
    assert "<i>b" not in page
    assert view._page_state()["_maps"] == view._step_bytes(10)[0]
    assert view.png()[:4] == b"\x89PNG"


def test_an_encoder_decoder_has_scores_for_each_kind(tmp_path):
    trained(tmp_path / "r", "encoder-decoder", steps=5)
    view = RunView(tmp_path / "r", labels=NAMES, target_labels=list("vwxyz"))
    assert list(view._measures["cross"]) == ["entropy"]
    assert "next token" in view._measures["encoder"]
    assert "next token" not in view._measures["decoder"]
    view.measure = "next token"
    view.kind = "encoder"
    assert "Next token: layer" in view.sentence
    view.kind = "cross"
    assert "Entropy: layer" in view.sentence and "bits" in view.sentence
    assert view.trace.key_tokens("cross") == NAMES
    assert view.png()[:4] == b"\x89PNG" and len(view.to_html())


def test_a_training_view_is_scrubbed_afterwards(tmp_path):
    view = TrainingView(PROBE)
    model = trained(tmp_path / "r", watch=view)
    assert view.snapshots[0] == 0 and view.snapshots[-1] == 12 == view.step
    trace = tl.trace(model, PROBE)
    assert_close(view.row(6), trace.pattern(0, 0)[6])
    view.step = 0
    start = tl.Run(tmp_path / "r").trace(0)
    assert_close(view.row(6), start.pattern(0, 0)[6], rtol=0, atol=1e-6)
    assert_close(view.score("previous token")[0], tl.heads.previous_token(start))
    assert not view._kinds["decoder"]["has_norms"]
    view._options = {"weights": "value"}
    assert_close(view.row(6).sum(), torch.tensor(1.0), rtol=0, atol=1e-3)
    assert view.png()[:4] == b"\x89PNG"


def test_a_training_view_that_goes_on_is_live_again(tmp_path):
    view = TrainingView(PROBE)
    trained(tmp_path / "r", watch=view, steps=6)
    first = view.snapshots
    with pytest.warns(UserWarning, match="steps was 6 and is now 12"):
        trained(tmp_path / "r", watch=view, steps=12, resume=True)
    assert view.snapshots[0] == 0 and view.snapshots[-1] == 12 and set(first) <= set(view.snapshots)


def test_of_too_many_snapshots_the_crowded_ones_go():
    kept = {}
    for step in [*range(10), *range(10, 3000, 7)]:
        kept[step] = None
        kept = thinned(kept, size=10)
    steps = list(kept)
    assert len(steps) == MOST_KEPT and steps[0] == 0 and steps[-1] == 2999 - (2999 - 10) % 7
    gaps = [b - a for a, b in itertools.pairwise(steps)]
    assert max(gaps) < 4 * 3000 / MOST_KEPT
    assert len(thinned(dict.fromkeys(range(20)), size=KEPT_BYTES // 5)) == 5
    assert len(thinned(dict.fromkeys(range(20)), size=KEPT_BYTES)) == 3


def test_packed_weights_round_as_the_weights_do():
    weights = torch.rand(1000, generator=torch.Generator().manual_seed(3))
    weights = torch.cat([weights, torch.tensor([0.0, 1.0, 1e-9])])
    back = unpack_weights(pack_weights(weights))
    assert [f"{w:.4f}" for w in back.tolist()][:-1] == [f"{w:.4f}" for w in weights.tolist()][:-1]
    assert back[1000] == 0 and back[1001] == 1 and 0 < back[1002] < 1e-4


def test_long_runs_are_means_of_stretches():
    history = [{"index": i + 1, "loss": float(i), "eval_loss": None} for i in range(1200)]
    points, held = curves(history)
    assert points.shape == (600, 2) and held.shape == (0, 2)
    assert points[0].tolist() == [1.5, 0.5]


# -- sentences --------------------------------------------------------------------------------------


def test_the_chosen_head_is_told_beside_the_best_one():
    scores = torch.full((4, 2, 3), 0.25)
    scores[:, 1, 2] = torch.tensor([0.02, 0.3, 0.8, 0.96])
    values = dict(step=40, steps=45, loss=1.234, measure="induction")

    def sentence(unit, *head):
        place = dict(zip(("layer", "head"), head, strict=True), heads=scores.shape[2])
        of = dict(steps=[0, 10, 20, 40], at=3, unit=unit, **place)
        about = call(VIEWS / "runs" / "scene.js", "scoreValues", scores.flatten(1).tolist(), of)
        return messages("runs")("sentence", **values, **about)

    start = "Step 40 of 45: loss 1.23 nats per token. Induction: "
    assert sentence("share", 1, 2) == (
        f"{start}layer 1, head 2 has 0.96, more than any other. It began at 0.02 and ends at 0.96; by step "
        "20 it had passed half of its last value."
    )
    assert sentence("bits", 0, 1) == (
        f"{start}layer 0, head 1 has 0.25 bits; layer 1, head 2 has the most, 0.96 bits."
    )
    scores = scores[:, 1:, 2:]
    assert "has 0.96. It began" in sentence("share", 0, 0)  # of one head only


# -- errors -----------------------------------------------------------------------------------------


@pytest.mark.badinput
def test_bad_arguments_are_named(folder, tmp_path):
    with pytest.raises(
        ValueError, match=r"has no snapshots; train with run=, probe=.*snapshot_every"
    ):
        RunView(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"measure='luck' is not here; choose one of induction"):
        RunView(folder, measure="luck")
    with pytest.raises(ValueError, match=r"labels has 2 names, but the probe has 8"):
        RunView(folder, labels=["a", "b"])
    with pytest.raises(ValueError, match=r"layer=2 is outside 0 … 1"):
        RunView(folder, layer=2)
    with pytest.raises(TraitError, match=r"measure='luck' is not here"):
        RunView(folder).measure = "luck"


@pytest.mark.badinput
def test_a_probe_that_is_too_long_is_refused():
    maps = {"decoder": torch.zeros(4, 8, 300, 300)}
    kept = {0: {"decoder": pack_weights(maps["decoder"])}}
    from transformer_lab.views.runs.replay import check_size

    trace = Snapshots.of_kept(kept, [torch.zeros(300).long()], {}).at(0)
    with pytest.raises(ValueError, match=r"300 tokens: its maps take 5.5 MB a step.*shorter probe"):
        check_size(trace)


def test_the_first_course_is_of_a_score_that_rises():
    flat = torch.full((1, 1, 1, 6, 6), 1 / 6).tril()
    flat = (flat / flat.sum(-1, keepdim=True))[0]
    back = torch.zeros(1, 1, 6, 6)
    back[..., torch.arange(1, 6), torch.arange(5)] = 1
    back[..., 0, 0] = 1
    ids = [torch.tensor([1, 2, 3, 1, 2, 3])]
    labels = {"labels": list("abcabc")}
    kept = {at: {"decoder": pack_weights(maps)} for at, maps in enumerate((flat, back))}
    assert Snapshots.of_kept(kept, ids, labels).telling("decoder") == "previous token"
    assert Snapshots.of_kept({0: kept[0]}, ids, labels).telling("decoder") == ""


def test_a_probe_in_which_no_token_comes_twice_is_shown(tmp_path):
    """Such a probe has no induction to score, in one hop or in two; the other scores stay."""
    trained(tmp_path / "r", probe=torch.arange(8))
    view = RunView(tmp_path / "r")
    assert not {"induction", "two-hop induction"} & set(view._snapshots.scores["decoder"])
    assert view.measure == "previous token"
    assert "nan" not in view.sentence

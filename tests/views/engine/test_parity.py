"""The page's engine gives PyTorch's numbers: every kind of model, every edit."""

import json
import subprocess

import pytest
import torch

import transformer_lab as tl
from tests.adapters.families import tiny
from tests.missing import package
from tests.views.engine.cases import KINDS, SCHEMES, edits_of, models, patches_of
from tests.views.engine.node import CLOSE, answers, exported, floats
from transformer_lab.edits.constructors import edit_from_dict
from transformer_lab.views.shared.modules import VIEWS, join_modules

T = package("transformers")
pytestmark = pytest.mark.needs("node")
# Each scheme in a decoder, each kind of model, each option, and special cases. Exporting the rest,
# which only combines these, takes half as long again.
CHOSEN = (0, 1, 2, 3, 4, 5, 6, 9, 11, 14, 17, 18, 19, 20, 21, 22, 23, 25, 26, 28, 29, 30)


class Case:
    """A model, its text and lists of edits, for both sides."""

    def __init__(self, turn, model, ids, target):
        self.name, self.model, self.ids, self.target = f"model{turn}", model, ids, target
        n, n_target = ids.shape[1], 0 if target is None else target.shape[1]
        self.edits = edits_of(model, n, n_target, turn)
        self.made = [[edit_from_dict(e) for e in one] for one in self.edits]
        if turn % 2 == 0:
            self._add_patches(turn, n_target)

    def _add_patches(self, turn, n_target):
        """Patch from the same words in reverse order."""
        other = None if self.target is None else self.target.flip(1)
        source = tl.trace(self.model, self.ids.flip(1), other, keep="all")
        told = {"tokens": source.tokens[0].tolist()}
        if other is not None:
            told["target"] = other[0].tolist()
        plain, made = [], []
        for one in patches_of(turn // 2, self.model, n_target):
            if "edit" in one:
                plain.append(one)
                made.append(edit_from_dict(one))
            elif "vector" in one:
                plain.append({"edit": "steer", **one, "vector": one["vector"].tolist()})
                made.append(tl.steer(**one))
            else:
                plain.append({"edit": "patch", "source": told, **one})
                made.append(tl.patch(source, **one))
        self.edits.append(plain)
        self.made.append(made)

    def plain(self, folder):
        """The graph, with its weights in a file, and the edits."""
        graph = exported(folder, self.name, self.model, self.ids, self.target)
        return graph | dict(edits=self.edits)

    def traced(self, edits):
        if not edits:
            return tl.trace(self.model, self.ids, self.target, keep="all")
        with tl.edit(self.model, *edits):
            return tl.trace(self.model, self.ids, self.target, keep="all")


@pytest.fixture(scope="module")
def cases():
    every = list(models())
    return [Case(turn, *every[chosen]) for turn, chosen in enumerate(CHOSEN)]


@pytest.fixture(scope="module")
def results(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    return answers("run_engine.mjs", folder, [case.plain(folder) for case in cases])


def told(trace):
    """Everything in a trace, by the engine's names."""
    found = {} if trace.logits is None else {"logits": trace.logits[0]}
    for kind in trace.kinds:
        for layer in range(trace.n_layers(kind)):
            maps, norms = trace.pattern(layer, kind=kind), trace.value_norms(layer, kind=kind)
            for head in range(trace.n_heads(kind)):
                found[f"map/{kind}/{layer}/{head}"] = maps[head]
                found[f"value/{kind}/{layer}/{head}"] = norms[head]
        if kind == "cross":
            continue
        for row, norms in enumerate(trace.residual_norms(kind)):
            found[f"norm/{kind}/{row}"] = norms
        for name, layers in trace.residual(kind).items():
            found |= {f"{name}/{kind}/{layer}": x for layer, x in enumerate(layers)}
    return found


def test_every_number_of_every_model_under_every_edit(cases, results):
    count, names = 0, set()
    for case, result in zip(cases, results, strict=True):
        for made, side in zip(case.made, result, strict=True):
            trace, count = case.traced(made), count + bool(made)
            mine, where = told(trace), (case.model.config, made)
            found = {name: torch.from_numpy(floats(text)) for name, text in side["found"].items()}
            assert set(mine) <= set(found), where
            for name, x in mine.items():
                apart = (found[name].view(x.shape) - x).abs().max()
                assert apart <= CLOSE * max(1.0, float(x.abs().max())), (name, float(apart), where)
            if trace.logits is not None:
                top = found["logits"].view(trace.logits[0].shape).topk(5).indices
                assert torch.equal(top, trace.logits[0].topk(5).indices), where
            names |= {edit.name for edit in made}
    assert count >= 40 and names == {"ablate", "knock_out", "scale", "skip", "patch", "steer"}


def test_a_pass_that_takes_over_another_or_computes_one_position_gives_the_same(cases, results):
    for case, result in zip(cases, results, strict=True):
        for made, side in zip(case.made, result, strict=True):
            assert side["apart"] <= 1e-5, (case.model.config, made)


def test_the_cases_hold_every_choice_of_a_config(cases):
    configs = [case.model.config.to_dict() for case in cases]
    assert {c["kind"] for c in configs} == set(KINDS)
    of_decoders = {c["positions"]["name"] for c in configs if c["kind"] == "decoder"}
    assert len(of_decoders) == len(SCHEMES)
    training = {"dropout", "zero_init", "pad_id", "balance_loss"}  # not in a forward pass
    for name in set(configs[0]) - training:
        assert len({json.dumps(c[name]) for c in configs}) > 1, name


def test_the_engine_is_one_script(tmp_path):
    """A worker has no imports; and no two of its modules define the same name."""
    script = tmp_path / "worker.js"
    script.write_text(join_modules(VIEWS / "engine" / "worker.js"))
    run = subprocess.run(["node", "--check", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "class Engine" in join_modules(VIEWS / "engine" / "client.js")


def bloom():
    """A model that gives its whole scores as a bias: its queries and keys are empty."""
    torch.manual_seed(2)
    model = T.BloomForCausalLM(T.BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model.eval()


@pytest.mark.parametrize(
    ("model", "widths"),
    [
        (bloom, (0, 8)),
        (lambda: tiny("deepseek_v3"), (12, 16)),
        (lambda: tiny("mimo_v2_flash"), (8, 4)),
        (lambda: tiny("diffllama"), (8, 16)),
    ],
)
def test_heads_are_as_wide_as_their_values(tmp_path, model, widths):
    """Not as their queries, which may be narrower, wider or empty; and a layer may call attention
    twice, once for each half of its values."""
    model = model()
    ids = torch.randint(3, 64, (1, 9), generator=torch.Generator().manual_seed(1))
    source = tl.trace(model, ids.flip(1))
    call = source.call(1)
    assert (call.query.shape[-1], call.value.shape[-1]) == widths
    told = {"tokens": ids.flip(1)[0].tolist()}
    edits = [({"edit": "ablate", "layer": 1, "head": h}, tl.ablate(1, h)) for h in range(4)]
    edits += [({"edit": "scale", "layer": 1, "head": 2, "by": -2.0}, tl.scale(1, 2, by=-2.0))]
    edits += [
        (
            {"edit": "patch", "layer": 1, "head": 1, "what": what, "source": told},
            tl.patch(source, layer=1, head=1, what=what),
        )
        for what in ("z", "v", "pattern")
    ]
    about = exported(tmp_path, "wide", model, ids) | dict(edits=[[js] for js, _ in edits])
    (result,) = answers("run_engine.mjs", tmp_path, [about])
    trace = tl.trace(model, ids)
    for head, norms in enumerate(trace.value_norms(1)):  # which edits of heads leave as they are
        found = torch.from_numpy(floats(result[0]["found"][f"value/decoder/1/{head}"]))
        torch.testing.assert_close(found, norms, rtol=0, atol=1e-4)
    plain = trace.logits[0]
    for (_, edit), side in zip(edits, result, strict=True):
        with tl.edit(model, edit):
            wanted = model(ids).logits[0].detach()
        found = torch.from_numpy(floats(side["found"]["logits"])).view(wanted.shape)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
        assert (wanted - plain).abs().max() > 1e-3  # so that nothing is not taken for something

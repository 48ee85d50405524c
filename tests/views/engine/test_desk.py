"""The page's engine answers questions with edits as Python does."""

import json

import pytest
import torch

import transformer_lab as tl
from tests.factories import small
from tests.views.engine.node import answers, carried_files
from transformer_lab.edits.constructors import edit_from_dict
from transformer_lab.tokenizers import BPETokenizer, CharTokenizer, WordTokenizer
from transformer_lab.views.explorer.runs import Runs
from transformer_lab.views.pages.carried import carried
from transformer_lab.views.residual.data import COLUMNS
from transformer_lab.writing import sampling_distribution

pytestmark = pytest.mark.needs("node")
TEXT = "the cat sat on the mat, and the dog did not."
OFF = {"edit": "ablate", "layer": 1, "head": 2}
CUT = {"edit": "knock_out", "layer": 0, "head": 1, "query": 3, "key": 1}
MEAN = {"edit": "ablate", "layer": 0, "head": 0, "value": "mean"}


def text_models():
    """Decoders (of bytes, and of letters with a short context), a translator, and two encoders."""
    words = WordTokenizer.train(TEXT)
    bytes_, letters = BPETokenizer.train(TEXT * 9, 300), CharTokenizer.train(TEXT)
    for seed, (name, kind, tokenizer, target, options) in enumerate(
        (
            ("bytes", "decoder", bytes_, None, dict(positions="rotary")),
            ("letters", "decoder", letters, None, dict(positions="alibi", n_ctx=24)),
            ("masked", "encoder", words, None, dict(positions="learned", head_transform=True)),
            ("translator", "encoder-decoder", words, letters, dict(positions="sinusoidal")),
            ("states", "encoder", words, None, dict(positions="relative", head=False)),
        )
    ):
        sizes = dict(vocab_size=tokenizer.vocab_size)
        if target is not None:
            sizes["target_vocab_size"] = target.vocab_size
        options = dict(activation="swiglu") | sizes | options
        model = small(kind, seed=seed, noise=0.3, sharpness=3.0, **options)
        for weight in model.parameters():  # with weights as wide as in a page
            weight.data = weight.data.half().float()
        yield tl.TextModel(model, tokenizer, name, target_tokenizer=target)


class Asked:
    """A text model, its questions, and Python's own answers to them."""

    def __init__(self, model):
        self.model, self.runs = model, Runs(model)
        self.questions, self.wanted = [], []

    def ask(self, wanted, **question):
        self.questions.append(question)
        self.wanted.append(wanted)

    def error(self, make):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            make()
        return {"error": str(caught.value)}

    def read(self, text, **options):
        """Ask for a text, for everything about it, and for the effects of edits."""
        runs = self.runs
        reading = runs.read(text, **options)
        trace, both = reading.trace, self.model.kind == "encoder-decoder"
        tokens, target = reading.ids.tolist(), reading.target_ids
        told = dict(
            ids=tokens,
            text=dict(tokens=self.model.tokenizer.tokens(tokens)),
            target=None
            if target is None
            else dict(tokens=self.model.target_tokenizer.tokens(target)),
            positions=runs.positions(reading),
            position=runs.first_position(reading),
        )
        masked = list(options.pop("masked", ()))
        self.ask(told, ask="read", text=text, masked=masked, **options)
        at = runs.first_position(reading)
        made = [edit_from_dict(OFF)]
        after = runs.edited(reading, made, "off")
        for edits, trace_ in (([], None), ([OFF], after)):
            wanted = runs.compare(trace, trace_, at)
            self.ask(outcome(wanted), ask="predict", edits=edits, position=at)
        side = "decoder" if both or self.model.kind == "decoder" else "encoder"
        places = [dict(kind=side, layer=i, head=h) for i in range(2) for h in (0, 3)]
        effects = [runs.effect(reading, side, p["layer"], p["head"], [at])[at] for p in places]
        self.ask([outcome(e) for e in effects], ask="effects", places=places, position=at)
        self.named(self.model.trace_ids(reading.ids, target, keep="all"), side)
        return reading

    def named(self, trace, side):
        """Ask for answers by their names, which the views have in Python."""
        n, off = trace.pattern(0, 0, kind=side).shape[-2], json.dumps([OFF])
        residual, why = tl.views.ResidualView(trace, kind=side), tl.views.WhyView(trace, kind=side)
        columns = dict(columns=COLUMNS, longest=1024)
        for kind in residual._streams:
            self.part(residual, f"stream/{kind}", **columns)
        for place in (f"cell/{side}/1/2/-/-", f"cell/{side}/0/3/{n - 1}/0"):
            self.part(why, place)
        self.part(tl.views.BlockView(trace, kind=side), f"walk/{side}/1/1/{n - 1}")
        model = tl.views.ModelView(trace)
        about, kinds = (model._results[key] for key in ("_about", "_kinds"))
        for edits in ("[]", off):
            self.part(model, f"pass/0/{edits}", kinds=kinds, **about)
            self.part(model, f"map/{side}/1/2/{edits}")
            if trace.logits is not None:
                self.part(model, f"likely/{n - 1}/{edits}")
        if trace.logits is None:
            return
        self.part(residual, "lens/0", **columns)
        if self.model.kind == "decoder":  # the encoder's head is no linear map
            flow = tl.views.FlowView(trace)
            for cuts in ("-", f"0.1.{n - 1}.0"):
                self.part(flow, f"flow/{n - 1}/-/{cuts}", against=None)

    def part(self, view, name, **about):
        info, [data] = view._part_named(name)
        numbers = torch.frombuffer(bytearray(data), dtype=torch.float32).tolist() if data else []
        wanted = dict(info=json.loads(json.dumps(info)), numbers=numbers)
        self.ask(wanted, ask="named", of=[""], name=name, about=about)

    def write(self, reading, n, *edits):
        made = [edit_from_dict(e) for e in edits]
        plain = self.runs.write(reading, [], n, {})
        edited = self.runs.write(reading, made, n, {}) if edits else None
        self.ask(dict(plain=plain, edited=edited), ask="write", n=n, edits=list(edits))


def outcome(found):
    """An `Outcome` in the engine's terms; for final states, a token's mean change."""
    if found.states or (found.kl is None and not found.rows):
        return dict(position=found.position, kl=None, rows=[])
    rows = [
        dict(id=r.id, token=r.token, before=r.before, after=r.after, risen=r.risen)
        for r in found.rows
    ]
    return dict(position=found.position, kl=found.kl, rows=rows)


def asked():
    bytes_, letters, masked, translator, states = map(Asked, text_models())
    reading = bytes_.read("the dog sat é😀 on \ud800 it")
    bytes_.write(reading, 12)
    bytes_.write(reading, 12, OFF, CUT)
    bytes_.ask(
        bytes_.error(lambda: bytes_.runs.write(reading, [edit_from_dict(MEAN)], 5, {})),
        ask="write",
        n=5,
        edits=[MEAN],
    )
    letters.read("t")  # one token
    reading = letters.read("the mat? ZZ")
    letters.write(reading, 13, OFF)
    for n, sampling in (
        (14, {}),
        (0, {}),
        (3, {"top_k": 0}),
        (3, {"top_k": 999}),
        (3, {"top_p": 1.5}),
    ):
        names = {"top_k": "topK", "top_p": "topP"}
        letters.ask(
            letters.error(lambda n=n, s=sampling: letters.runs.write(reading, [], n, s)),
            ask="write",
            n=n,
            sampling={names[k]: v for k, v in sampling.items()},
        )
    for text in ("", "x" * 25, "é" * 7000, "😀" * 7000):
        letters.ask(letters.error(lambda t=text: letters.runs.read(t)), ask="read", text=text)
    letters.ask(
        letters.error(lambda: letters.runs.read("a", "b")), ask="read", text="a", target="b"
    )
    masked.read("the <mask> sat on <mask> wug")
    masked.read(TEXT, masked=(2, 4))
    for text, options in (("", {}), ("   ", {}), (TEXT, {"masked": (99,)})):
        told = {k: list(v) for k, v in options.items()}
        masked.ask(
            masked.error(lambda t=text, o=options: masked.runs.read(t, **o)),
            ask="read",
            text=text,
            **told,
        )
    reading = masked.runs.read(TEXT)
    masked.ask({"position": 0}, ask="read", text=TEXT)
    masked.ask(masked.error(lambda: masked.runs.write(reading, [], 3, {})), ask="write", n=3)
    reading = translator.read(TEXT)
    reading = translator.read("the cat", target="the dog")
    translator.write(reading, 9, {**OFF, "kind": "cross"}, {"edit": "scale", "by": 0.5})
    translator.ask(
        translator.error(lambda: translator.runs.read("the", "")), ask="read", text="the", target=""
    )
    states.read(TEXT)
    return bytes_, letters, masked, translator, states


WRITTEN = {"bytes": "the dog sat on the cat", "letters": "the dog"}


def edits_at_positions(model):
    """Lists of edits at some positions, and of patches from another text there."""
    ids = model.encode(WRITTEN[model.name]).tolist()
    other = {"edit": "patch", "source": {"tokens": ids[::-1]}, "layer": 0}
    vector = torch.linspace(-3, 3, 32).tolist()
    n = len(ids)
    return [
        [{"edit": "scale", "by": 0.3}, {"edit": "skip", "part": "mlp", "layer": 1}],
        [{"edit": "knock_out", "key": 0}, {"edit": "knock_out", "query": n - 1, "key": 2}],
        [{"edit": "steer", "vector": vector, "layer": 0}],
        [{"edit": "steer", "vector": vector, "layer": 0, "position": [1, n - 1]}],
        [{**other, "head": 1, "position": 3}, {**other, "what": "resid_post", "position": [1]}],
        [{**other, "what": "k", "position": [[1, 3]]}, {**other, "what": "v", "position": 4}],
        [{**other, "what": "q", "position": n - 1}, {**other, "what": "pattern", "position": 2}],
        [{**other}],  # fits a text of its own length, and this one grows
        [{"edit": "knock_out", "query": n, "key": 2}],  # a position that does not exist yet
    ]


def draws():
    generator = torch.Generator().manual_seed(0)
    options = (
        {},
        dict(temperature=0.3),
        dict(top_k=3),
        dict(top_p=0.6),
        dict(top_p=1.0),
        dict(temperature=2.0, top_k=7, top_p=0.8),
        dict(top_k=500),
    )
    return [(torch.randn(40, generator=generator) * 3, one) for one in options]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder, own, chances = tmp_path_factory.mktemp("desk"), asked(), draws()
    models = []
    for one in own:
        block, name = carried(one.model, written=True).blocks[1], one.model.name
        table = carried_files(folder, name, *block.buffers, block.info, questions=one.questions)
        if name in WRITTEN:
            table["written"] = dict(text=WRITTEN[name], lists=edits_at_positions(one.model))
        models.append(table)
    names = {"temperature": "temperature", "top_k": "topK", "top_p": "topP"}
    told = [
        dict(logits=logits.tolist(), options={names[k]: v for k, v in options.items()})
        for logits, options in chances
    ]
    found = answers("run_desk.mjs", folder, dict(models=models, draws=told))
    return own, found["answers"], chances, found["chances"]


# Without vector instructions PyTorch sums in another order; weights are the last of many fp32 sums.
WEIGHTS_CLOSE = 2.5e-4 if torch.backends.cpu.get_cpu_capability() == "DEFAULT" else 1e-4


def by_place(answer):
    """The answer with the edges of each layer in the order of their places, not of their sizes,
    which may agree to the last bit; without those of about the smallest size of any but the
    strongest of a query, of which not all are among the largest."""
    steps = answer.get("info", {}).get("steps", []) if isinstance(answer, dict) else []
    for step in [step for step in steps if isinstance(step, dict) and "edges" in step]:
        of = slice(step["at"], step["at"] + 5 * step["edges"])
        edges = torch.tensor(answer["numbers"][of]).reshape(5, -1).T
        sizes = edges[:, 3:].amax(1)
        strongest = torch.stack([sizes >= sizes[edges[:, 1] == q].max() for q in edges[:, 1]])
        strongest = strongest.diagonal()
        least = min(sizes[~strongest].tolist(), default=0)
        kept = edges[strongest | (sizes > 1.01 * least)]
        assert len(kept) >= len(edges) / 2
        step["carried"] = sorted(kept.tolist())
        answer["numbers"][of] = [0.0] * edges.numel()
    return answer


def same(wanted, found, where):
    """Assert that `found` contains `wanted`: numbers to 1e-4, weights to WEIGHTS_CLOSE."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict), (where, found)
        for name, value in wanted.items():
            same(value, found.get(name), (*where, name))
    elif isinstance(wanted, list):
        assert isinstance(found, list) and len(found) == len(wanted), (where, wanted, found)
        for i, (a, b) in enumerate(zip(wanted, found, strict=True)):
            same(a, b, (*where, i))
    elif isinstance(wanted, float):
        close = WEIGHTS_CLOSE if "weights" in where else 1e-4
        by = 5 if {"numbers", "carried"} & set(where) else 1  # vectors of lengths up to 30
        assert found == pytest.approx(wanted, abs=by * close, rel=by * 1e-4), where
    else:
        assert found == wanted, (where, wanted, found)


def test_every_answer_is_pythons(both):
    own, sides, _, _ = both
    kinds, named = set(), set()
    for one, side in zip(own, sides, strict=True):
        assert side["loaded"]["kind"] == one.model.kind
        for question, wanted, found in zip(one.questions, one.wanted, side["found"], strict=True):
            where = (one.model.name, str(question)[:300])
            same(*map(by_place, (wanted, found)), where)
            kinds.add(question["ask"])
            if question["ask"] == "named":
                named.add(question["name"].split("/")[0])
    assert kinds == {"read", "predict", "effects", "named", "write"}
    assert named == {"stream", "lens", "cell", "walk", "pass", "likely", "map", "flow"}


def test_a_model_without_a_head_tells_how_far_each_state_moves(both):
    one, side = both[0][-1], both[1][-1]
    reading = one.runs.read(TEXT)
    outcome_ = one.runs.compare(
        reading.trace, one.runs.edited(reading, [edit_from_dict(OFF)], "off"), 0
    )
    at = next(i for i, q in enumerate(one.questions) if q.get("edits") == [OFF])
    changes = side["found"][at]["states"]
    assert {s.index: pytest.approx(s.change, abs=1e-4) for s in outcome_.states}.items() <= dict(
        enumerate(changes)
    ).items()
    assert sum(changes) / len(changes) == pytest.approx(outcome_.mean_change, abs=1e-4)


def test_a_graph_that_reads_on_writes_what_whole_passes_write(both):
    """Under every kind of edit, or the same error."""
    for one, side in zip(both[0], both[1], strict=True):
        if one.model.name not in WRITTEN:
            continue
        for edits, (grown, whole) in zip(edits_at_positions(one.model), side["twice"], strict=True):
            assert grown == whole, (one.model.name, edits)
        written = [grown.get("edited") for grown, _ in side["twice"]]
        plain = side["twice"][0][0]["plain"]
        assert sum(x is not None and x != plain for x in written) >= 5
        assert sum(x is None for x in written) == 3  # a pattern, another text, a position


def test_tokens_are_drawn_from_pythons_distribution(both):
    for (logits, options), found in zip(*both[2:], strict=True):
        torch.testing.assert_close(
            torch.tensor(found), sampling_distribution(logits, **options), atol=1e-6, rtol=1e-5
        )

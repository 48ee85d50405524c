"""A graph gives what its model gives, in PyTorch and in a page's engine, with and without edits."""

import base64
import copy
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import transformer_lab as tl
from benchmarks.zoo.building import build, registered
from tests.adapters.families import WINDOWS, tiny
from tests.factories import OwnNetwork, small, with_dictionary
from transformer_lab.adapters.lookup import network_of
from transformer_lab.adapters.network import Inputs
from transformer_lab.edits.interventions import tap_for
from transformer_lab.graphs import export
from transformer_lab.graphs.check import check_graph, checked_graph
from transformer_lab.graphs.export import Graph, GraphError, answer_of, export_graph
from transformer_lab.graphs.operations import running_with
from transformer_lab.graphs.rows import beyond_windows

RUN = Path(__file__).with_name("run_graph.mjs")
ENGINE = Path(tl.__file__).parent / "views" / "engine"
OURS = {
    "a decoder": dict(kind="decoder", positions=tl.Learned()),
    "an encoder": dict(kind="encoder", positions=tl.ALiBi()),
    "an encoder-decoder": dict(kind="encoder-decoder", positions=tl.Sinusoidal()),
    "a modern decoder": dict(
        kind="decoder",
        positions=tl.Rotary(),
        norm="rms",
        activation="swiglu",
        n_kv_heads=2,
        qk_norm=True,
        logit_softcap=5.0,
    ),
    "a decoder with experts": dict(kind="decoder", n_experts=4, experts_per_token=2),
    "a decoder with a dictionary": dict(kind="decoder"),
}
# Windows, softcaps, sinks with experts, position biases, two patterns a head, attention code of its
# own, a convolution instead of a linear layer, a stream that is padded to blocks.
THEIRS = ["mistral", "gemma2", "gpt_oss", "t5", "diffllama", "falcon", "squeezebert", "pegasus_x"]


def model_of(name):
    if name not in OURS:
        return tiny(name)
    torch.manual_seed(0)
    model = small(**OURS[name], n_layers=2, n_heads=4)
    return with_dictionary(model, layer=1) if "dictionary" in name else model


def texts(network, *lengths):
    """A batch of one for each length; an encoder-decoder's target is three tokens longer."""
    chance = torch.Generator().manual_seed(5)
    most = network.vocabulary[0] or 50
    draw = lambda n: torch.randint(3, most, (1, n), generator=chance)  # noqa: E731
    both = network.kind == "encoder-decoder"
    return [Inputs(draw(n), draw(n + 3) if both else None) for n in lengths]


@pytest.fixture(scope="module")
def exported():
    """name -> (network, graph) of a model, exported once."""
    made = {}

    def of(name):
        if name not in made:
            network = network_of(model_of(name))
            (text,) = texts(network, 7)
            made[name] = network, export_graph(network, text)
        return made[name]

    return of


def tensors(graph, text):
    read = {"tokens": text.tokens, "target": text.target}
    return [read[name] for name in graph.inputs]


def edits_of(network):
    """Each edit for the engine, and the same for PyTorch."""
    kind = "decoder" if "decoder" in network.kinds else "encoder"
    ours = network.transformer is not None
    experts = ours and not network.refuses_stream(("gates",), kind)
    expert = dict(what="skip", kind=kind, layer=1, name="gates", expert=2)
    return [
        *([(expert, tl.skip(1, "mlp", expert=2, kind=kind))] if experts else []),
        (dict(what="ablate", kind=kind, layer=1, head=1), tl.ablate(1, 1, kind=kind)),
        (dict(what="skip", kind=kind, layer=1, name="mlp_out"), tl.skip(1, "mlp", kind=kind)),
    ]


@pytest.mark.parametrize("name", [*OURS, *THEIRS])
def test_a_graph_agrees_with_the_untouched_model(exported, name):
    network, graph = exported(name)
    before = copy.deepcopy(getattr(network.module, "config", None))
    (text,) = texts(network, 7)
    assert check_graph(graph, network, text) < 1e-5
    assert graph.any_length and {ends[0] for ends in graph.lengths.values()} == {1}
    assert before is None or network.module.config.to_dict() == before.to_dict()
    own = {"encoder"} if name == "pegasus_x" else set()  # its encoder runs its blocks by itself
    assert graph.kinds == {*network.kinds} - own


@pytest.mark.needs("node")
@pytest.mark.parametrize("wasm", [True, False])
def test_the_engine_gives_what_pytorch_gives(exported, tmp_path, wasm):
    cases, wanted = [], {}
    for name in [*OURS, *THEIRS] if wasm else ["a modern decoder", "gpt_oss"]:
        network, graph = exported(name)
        file = name.replace(" ", "_")
        numbers = [
            x.detach().float().contiguous().numpy().tobytes() for x in graph.weights.values()
        ]
        (tmp_path / f"{file}.bin").write_bytes(b"".join(numbers))
        points = any(node[0] == "transformer_lab.point" for node in graph.nodes)
        pairs = [(js, py) for js, py in edits_of(network) if points or js["what"] != "skip"]
        pairs = [
            (js, py) for js, py in pairs if f"{js['kind']}.{js.get('name')}" not in graph.lacking
        ]
        read = texts(network, 1, 5, 30) if graph.any_length else texts(network, 7)
        cases.append(
            dict(
                name=file,
                description=graph.description(),
                wasm=wasm,
                edits=[js for js, _ in pairs],
                inputs=[
                    dict(
                        zip(
                            graph.inputs, [x[0].tolist() for x in tensors(graph, text)], strict=True
                        )
                    )
                    for text in read
                ],
            )
        )
        wanted[file] = [
            [
                graph.run(*tensors(graph, text)),
                *(edited(network, graph, py, text) for _, py in pairs),
            ]
            for text in read
        ]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    subprocess.run(["node", str(RUN), str(tmp_path)], check=True)
    compared = {}
    for result in json.loads((tmp_path / "results.json").read_text()):
        assert "error" not in result, result
        assert result["compiled"] == wasm
        assert result["grew"] == 0  # a second round of passes allocates no memory
        for text, answers in zip(result["texts"], wanted[result["name"]], strict=True):
            given = [text["answer"], *(one["answer"] for one in text["edited"])]
            for found, answer in zip(given, answers, strict=True):
                numbers = np.frombuffer(base64.b64decode(found), np.float32).reshape(answer.shape)
                apart = np.abs(numbers - answer.numpy()).max()
                assert apart < 1e-5 * max(1, float(answer.abs().max())), result["name"]
            # A pass that begins at the edit gives exactly the same numbers.
            assert all(one["apart"] == 0 for one in text["edited"])
            assert all((a - answers[0]).abs().max() > 1e-3 for a in answers[1:])  # edits matter
            # So do logits computed for single positions, and for tokens appended to a text.
            size = max(1, *(float(a.abs().max()) for a in answers))
            apart = [text["read"], text["grown"], *(one["grown"] for one in text["edited"])]
            assert all(x < 1e-5 * size for x in apart if x is not None), (
                result["name"],
                apart,
                size,
            )
            compared[result["name"]] = [x is not None for x in apart]
    read = {name for name, (tail, *_) in compared.items() if tail}
    grown = {name for name, (_, *rest) in compared.items() if all(rest)}
    whole = set(wanted) - grown
    later = {"an_encoder", "squeezebert"} & set(wanted)  # they attend to later tokens
    assert read == set(wanted) and later <= whole <= later | {"pegasus_x"}


def edited(network, graph, edit, text):
    with running_with(tap_for(network, edit)):
        return graph.run(*tensors(graph, text))


def deep(name):
    if name == "gpt2":  # each layer scales its scores by its number
        from transformers import GPT2Config, GPT2LMHeadModel

        torch.manual_seed(0)
        sizes = dict(n_embd=16, n_head=2, vocab_size=40, n_positions=32)
        config = GPT2Config(n_layer=4, scale_attn_by_inverse_layer_idx=True, **sizes)
        return GPT2LMHeadModel(config).eval()
    if name in OURS:
        torch.manual_seed(0)
        return small(**OURS[name], n_layers=4, n_heads=4).eval()
    types = [*WINDOWS["layer_types"] * 3, WINDOWS["layer_types"][0]]
    own = {"gemma2": dict(num_hidden_layers=7, layer_types=types)}
    return tiny(name, **own.get(name, dict(num_layers=5, num_decoder_layers=5)))


@pytest.mark.parametrize("name", ["an encoder-decoder", "gemma2", "t5", "gpt2"])
def test_layers_that_are_built_alike_are_exported_once(monkeypatch, name):
    """One kind; two that alternate; a first one that others read; layer numbers in the code."""
    network = network_of(deep(name))
    (text,) = texts(network, 7)
    exported, real = [], export.lengthened

    def spy(nodes, *rest):
        exported.append(len(nodes))
        found = real(nodes, *rest)
        exported.append(len(found[0]))
        return found

    monkeypatch.setattr(export, "lengthened", spy)
    graph = export_graph(network, text)
    assert check_graph(graph, network, text) < 1e-5
    whole = export_graph(network, text, repeat=False)
    ours = lambda g: [(n[0], n[2][-1]) for n in g.nodes if n[0].startswith("transformer_lab.")]  # noqa: E731
    assert ours(graph) == ours(whole)
    learned = dict(network.module.named_parameters())
    assert graph.weights.keys() & learned == whole.weights.keys() & learned
    assert graph.lacking == whole.lacking
    assert bool(graph.growth) == bool(whole.growth) and bool(graph.tail) == bool(whole.tail)
    names = [node[1] for node in graph.nodes]
    assert len(set(names)) == len(names)
    # Layers that depend on their number are not repeated.
    assert len(exported) == (0 if name == "gpt2" else 2)
    assert name == "gpt2" or exported[0] < exported[1]


def test_a_graph_that_differs_from_its_model_is_refused(exported):
    network, graph = exported("a decoder")
    (text,) = texts(network, 7)
    other = network_of(model_of("a decoder"))
    with torch.no_grad():
        next(other.module.parameters()).mul_(1.1).add_(0.1 * torch.randn(1, 32))
    with pytest.raises(GraphError, match="its graph differs from the model by"):
        check_graph(graph, other, text)
    short = {name: x[:1] for name, x in graph.weights.items()}
    with pytest.raises(GraphError, match="its graph fails on some texts"):
        check_graph(replace(graph, weights=short), network, text)


def test_a_model_without_the_attention_interface_is_refused():
    class Silent(OwnNetwork):
        def tapped(self):
            return []

    with pytest.raises(GraphError, match="does not pass through the attention interface"):
        export_graph(Silent(torch.nn.Embedding(20, 20)), Inputs(torch.arange(5)[None]))


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("mistral", {"sliding_window": 30}),
        ("recurrent_gemma", {"attention_window_size": 30}),
        ("deepseek_v32", {"index_topk": 30}),
        ("gemma3", {"text_config": {"sliding_window": 30}}),
        ("neomme", {"sliding_window": 30}),  # may not be read where layers differ
    ],
)
def test_a_graph_is_compared_beyond_every_window_and_selection(name, setting):
    from transformers import AutoConfig

    config = AutoConfig.for_model(name, **setting)
    assert beyond_windows(config, 8, 64) == 33 and beyond_windows(config, 8, 20) == 16


@pytest.mark.parametrize("name", ["cpmant", "prophetnet"])
def test_a_model_that_gives_its_maps_only_is_refused(name):
    network = network_of(build(registered()[f"causal/{name}"]))
    with pytest.raises(GraphError, match="does not pass through the attention interface"):
        export_graph(network, Inputs(torch.arange(3, 11)[None]))


@pytest.mark.needs("node")
@pytest.mark.parametrize(("heads", "tied"), [(2, True), (32, False)])
def test_a_model_that_selects_keys_is_refused_where_scores_are_equal(tmp_path, heads, tied):
    """Scores are sums of what relu leaves of each head's: with few heads, several are 0."""
    network = network_of(tiny("deepseek_v32", index_n_heads=heads))
    (text,) = texts(network, 9)
    selects = "it selects 3 of several equal scores, and PyTorch does not say which"
    if tied:
        with pytest.raises(GraphError, match=selects):
            checked_graph(network, text)
        return
    graph = checked_graph(network, text)
    assert graph.any_length and "transformer_lab.topk" in graph.operations
    answer = in_engine(tmp_path, graph, text)
    assert (answer - answer_of(network.run(text))[1]).abs().max() < 1e-4
    with torch.no_grad():
        for name, weight in network.module.named_parameters():
            weight.mul_(0 if "indexer.wk" in name or "k_norm.bias" in name else 1)
    with pytest.raises(GraphError, match=selects):
        graph.run(text.tokens)
    assert "selects 3 of several equal scores here" in in_engine(tmp_path, graph, text)


def in_engine(folder, graph, text):
    """The engine's answer, or its error."""
    numbers = [x.detach().float().contiguous().numpy().tobytes() for x in graph.weights.values()]
    (folder / "x.bin").write_bytes(b"".join(numbers))
    given = dict(zip(graph.inputs, [x[0].tolist() for x in tensors(graph, text)], strict=True))
    case = dict(name="x", description=graph.description(), wasm=True, edits=[], inputs=[given])
    (folder / "cases.json").write_text(json.dumps([case]))
    subprocess.run(["node", str(RUN), str(folder)], check=True)
    (result,) = json.loads((folder / "results.json").read_text())
    if "error" in result:
        return result["error"]
    answer = np.frombuffer(base64.b64decode(result["texts"][0]["answer"]), np.float32)
    return torch.from_numpy(answer.copy()).view(1, text.tokens.shape[1], -1)


@pytest.mark.needs("node")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(format=3), "has format 3"),
        (lambda d: d["nodes"].insert(0, ["eval", "x", [], {}]), "does not know the operation eval"),
        (lambda d: d["nodes"].insert(0, ["toString", "x", [], {}]), "operation toString"),
        (lambda d: d["nodes"].insert(0, ["neg", "x", [{"n": "later"}], {}]), "reads later, which"),
        (lambda d: d["weights"].popitem(), "lacks the weight"),
    ],
)
def test_a_damaged_graph_is_refused_in_one_sentence(exported, tmp_path, change, said):
    _, graph = exported("a decoder")
    description = json.loads(json.dumps(graph.description()))
    change(description)
    (tmp_path / "x.bin").write_bytes(bytes(4 * sum(x.numel() for x in graph.weights.values())))
    case = dict(name="x", description=description, inputs=[], edits=[], wasm=True)
    (tmp_path / "cases.json").write_text(json.dumps([case]))
    subprocess.run(["node", str(RUN), str(tmp_path)], check=True)
    (result,) = json.loads((tmp_path / "results.json").read_text())
    assert said in result["error"].splitlines()[0]


@pytest.mark.skipif(not shutil.which("clang"), reason="needs clang, which compiles the kernel")
def test_the_compiled_kernel_is_the_source_compiled(tmp_path):
    source = (ENGINE / "kernel.c").read_text()
    command = source.split("//   clang ")[1].split("\n\n")[0].replace("//", "").split()
    command[-1] = str(ENGINE / "kernel.c")
    command[command.index("-o") + 1] = str(tmp_path / "kernel.wasm")
    subprocess.run(["clang", *command], check=True)
    binary = base64.b64decode((ENGINE / "kernel_binary.js").read_text().split('"')[1])
    made = (tmp_path / "kernel.wasm").read_bytes()
    names = (b"linear", b"linear8", b"product", b"map", b"zip")
    assert all(name in made and name in binary for name in names)
    if version_of("clang").startswith("14."):  # other versions may order instructions differently
        assert made == binary


def version_of(command):
    run = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    return run.stdout.split("version ")[1]


def test_a_graph_is_plain_json(exported):
    _, graph = exported("gpt_oss")
    assert isinstance(graph, Graph)
    assert json.loads(json.dumps(graph.description(), allow_nan=False)) == graph.description()

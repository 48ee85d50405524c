"""Graphs come from a store or another process, and are not used if they do not fit their model."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress

import pytest
import torch

import transformer_lab as tl
from tests.adapters.families import tiny
from tests.factories import small, vision
from transformer_lab.adapters.lookup import network_of
from transformer_lab.adapters.network import Inputs
from transformer_lab.graphs import __main__ as building
from transformer_lab.graphs import obtaining, process, store
from transformer_lab.graphs.check import check_graph
from transformer_lab.graphs.export import GraphError, calls_of, export_graph, outputs_of
from transformer_lab.graphs.rows import apart

TEXT = Inputs(torch.arange(6)[None])
ABOUT = "Exporting a model."
# Like the exporting process, it reports a step after reading the request; before, nobody listens.
ENDLESS = """import sys, time
sys.stdin.readline()
print('step working', file=sys.stderr, flush=True)
time.sleep(600)"""


def network(**options):
    torch.manual_seed(0)
    return network_of(small("decoder", n_layers=2, vocab_size=12, **options).eval())


@pytest.fixture(scope="module")
def entry():
    one = network()
    return store.entry_of(export_graph(one, TEXT), one)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Use an empty cache folder, and nothing in memory."""
    monkeypatch.setenv("TRANSFORMER_LAB_CACHE", str(tmp_path / "cache"))
    for name in ("_known", "_failed", "_running"):
        place = store if name == "_known" else obtaining
        monkeypatch.setattr(place, name, {})
    return tmp_path / "cache" / "graphs"


def in_place_of_the_process(monkeypatch, code, *arguments):
    monkeypatch.setattr(process, "_COMMAND", [sys.executable, "-c", code, *arguments])


def answering(monkeypatch, tmp_path, answer):
    """Replace the exporting process by one that gives this answer at once."""
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    code = "import sys; print(open(sys.argv[1]).read())"
    in_place_of_the_process(monkeypatch, code, str(tmp_path / "answer.json"))


def graph_of(one, inputs=TEXT):
    return obtaining.graph_of_model(one, inputs, lambda: ABOUT)


# -- the store -----------------------------------------------------------------------------------------


def test_a_key_is_of_the_structure_and_not_of_the_numbers():
    key = lambda one: store.key_of(store.structure_of(one))  # noqa: E731
    one, other = network(), network()
    with torch.no_grad():
        other.module.decoder.blocks[0].norm1.weight.mul_(2)
    assert key(one) == key(other)
    untied = network()
    untied.module.head.weight = torch.nn.Parameter(torch.zeros_like(untied.module.head.weight))
    twice, theirs = network(), network_of(tiny("llama"))
    twice.module.double()
    hooked = network()
    hooked.module.decoder.blocks[0].attention = torch.nn.Identity()
    others = (untied, twice, theirs, hooked, network(n_kv_heads=1))
    assert len({key(one), *map(key, others)}) == 1 + len(others)


def test_a_stored_description_gives_what_its_model_gives(entry, alone, monkeypatch):
    one = network()
    store.keep(store.structure_of(one), entry)
    store._known.clear()  # so that it is read from disk
    monkeypatch.setattr(torch.export, "export", None)
    found = obtaining.known_graph(one, TEXT)
    assert found is not None and check_graph(found, one, TEXT) < 1e-6
    with torch.no_grad():  # with the current weights
        one.module.decoder.blocks[0].attention.query.weight.add_(0.5)
    assert check_graph(obtaining.known_graph(one, TEXT), one, TEXT) < 1e-6


@pytest.mark.parametrize(
    "how", ["no gzip", "cut", "no JSON", "no graph", "an unknown operation", "a bomb"]
)
def test_a_damaged_file_is_ignored_and_written_again(entry, alone, how):
    one = network()
    structure = store.structure_of(one)
    store.keep(structure, entry)
    (file,) = alone.iterdir()
    whole = file.read_bytes()
    other = {**entry, "nodes": [["from_file", "x", ["/etc/hostname"], {}], *entry["nodes"]]}
    file.write_bytes(
        {
            "no gzip": b"x",
            "cut": whole[: len(whole) // 2],
            "no JSON": gzip.compress(b"{"),
            "no graph": gzip.compress(b'{"nodes": 1}'),
            "an unknown operation": gzip.compress(json.dumps(other).encode()),
            "a bomb": gzip.compress(bytes(store.LARGEST + 1)),
        }[how]
    )
    store._known.clear()
    assert obtaining.known_graph(one, TEXT) is None
    store.keep(structure, entry)
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_done_without(entry, alone, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRANSFORMER_LAB_CACHE", str(tmp_path / "file"))
    one = network()
    store.keep(store.structure_of(one), entry)
    assert obtaining.known_graph(one, TEXT) is not None  # from memory


def test_files_that_were_not_asked_for_the_longest_give_way(entry, alone, monkeypatch):
    structures = [store.structure_of(network(n_ctx=n)) for n in (32, 40, 48)]
    for age, structure in zip((100, 300, 200), structures, strict=True):
        store.keep(structure, entry)
        file = store._file(store.key_of(structure))
        os.utime(file, (file.stat().st_mtime - age,) * 2)
    monkeypatch.setattr(store, "MOST", 3 * file.stat().st_size)
    store.keep(store.structure_of(network()), entry)
    left = [store._file(store.key_of(one)).exists() for one in structures]
    assert left == [True, False, True]


def test_the_graph_of_the_shipped_model_comes_along(monkeypatch):
    """Made by `python -m transformer_lab.graphs shipped`."""
    monkeypatch.setattr(torch.export, "export", None)
    monkeypatch.setattr(process, "_COMMAND", None)
    one = network_of(tl.shipped("manual").model)
    graph = graph_of(one)
    assert check_graph(graph, one, TEXT) < 1e-5
    assert graph.any_length and set(graph.lacking) == set()
    assert len(outputs_of(one, calls_of(one, TEXT), graph.weights)) == 4


# -- another process -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("trunc_normal_", {"std": 0.02}),
        ("trunc_normal_", {"mean": 0.1, "std": 5.0, "a": -0.1, "b": 0.3}),
        ("normal_", {}),
        ("uniform_", {}),
        ("xavier_uniform_", {}),
        ("kaiming_normal_", {}),
        ("orthogonal_", {}),
    ],
)
def test_weights_of_a_copy_begin_whatever_its_memory_held(name, options):
    """Else an initialiser that redraws until all is in bounds would never end."""
    weight = torch.full((6, 8), 1e30)
    with building._unfilled():
        getattr(torch.nn.init, name)(weight, **options)
    if "trunc" in name:
        assert (weight >= options.get("a", -2)).all() and (weight <= options.get("b", 2)).all()


@pytest.mark.parametrize("reads", ["text", "an image"])
def test_another_process_exports_it_and_the_store_keeps_it(reads, monkeypatch, capfd):
    pixels = Inputs(None, given={"pixel_values": torch.randn(1, 3, 16, 16)})
    one, inputs = (network(), TEXT) if reads == "text" else (network_of(vision()), pixels)
    monkeypatch.setattr(obtaining, "checked_graph", None)  # so nothing is exported in this process
    if reads == "text":  # by a new process, not a fork
        monkeypatch.setattr(process, "_COMMAND", [sys.executable, "-m", "transformer_lab.graphs"])
    graph = graph_of(one, inputs)
    assert check_graph(graph, one, inputs) < 1e-5
    assert ABOUT in capfd.readouterr().err
    store._known.clear()
    monkeypatch.setattr(process, "_COMMAND", None)
    assert graph_of(one, inputs).nodes == graph.nodes


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (ENDLESS, "it took more than 1 s"),
        ("import os; os.kill(os.getpid(), 9)", "probably for lack of memory"),
        ('print(\'{"error": "there is not enough memory"}\')', "there is not enough memory"),
        ("raise OSError('no space')", "OSError: no space"),
        ("print('[]')", "no answer came"),
    ],
)
def test_a_process_that_fails_says_why(monkeypatch, code, why):
    monkeypatch.setattr(process, "LIMIT", 1.0)
    in_place_of_the_process(monkeypatch, code)
    with pytest.raises(process.ExportFailed, match=why):
        graph_of(network())
    with pytest.raises(GraphError, match=why):  # a standby page does not try again
        obtaining.at_hand(network(), TEXT, lambda: None)


def test_an_interrupt_ends_the_process(monkeypatch):
    in_place_of_the_process(monkeypatch, ENDLESS)
    one = network()
    export = obtaining.start_export(one, TEXT)

    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            if export.n_steps and not self.is_set():
                raise KeyboardInterrupt
            return super().wait(timeout)

    export.done = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        graph_of(one)
    threading.Event.wait(export.done, 30)
    assert export._process.poll() is not None and not obtaining._running


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_the_process_ends_with_its_parent():
    command = [sys.executable, "-m", "transformer_lab.graphs"]
    given = json.dumps({"structure": {}, "inputs": {}}) + "\n"
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    run.send_signal(signal.SIGSTOP)  # so the pipe is closed before the answer
    run.stdin.write(given)
    run.stdin.close()
    run.send_signal(signal.SIGCONT)
    assert run.wait(60) == 1 and run.stdout.read() == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_exports_on_its_own(entry, monkeypatch, tmp_path):
    """Also while an export of its parent is running, and with a worker of its parent's waiting."""
    in_place_of_the_process(monkeypatch, ENDLESS)
    running = obtaining.start_export(network(n_kv_heads=1), TEXT)
    answering(monkeypatch, tmp_path, {"entry": entry})
    child = os.fork()
    if not child:
        found = 1
        with suppress(BaseException):
            found = 0 if graph_of(network()).run(TEXT.tokens).isfinite().all() else 2
        os._exit(found)
    _, status = os.waitpid(child, 0)
    running.stop()
    assert os.waitstatus_to_exitcode(status) == 0 and running.done.wait(30)


def test_one_export_of_a_model_at_a_time(monkeypatch):
    in_place_of_the_process(monkeypatch, ENDLESS)
    one, called = network(), threading.Event()
    assert not obtaining.at_hand(one, TEXT, called.set)
    first = obtaining.start_export(one, TEXT)
    assert obtaining.start_export(one, TEXT) is first
    assert obtaining.start_export(one, TEXT, written=True) is not first  # with more graphs
    second = obtaining.start_export(network(n_kv_heads=1), TEXT)
    assert second is not first and second._process is None
    more = obtaining.start_export(one, TEXT, written=True)
    for export in (second, more, first):
        export.stop()
    assert called.wait(30) and second.done.wait(30)
    assert second._process is None


def test_which_part_wrote_what_is_exported_for_those_who_ask():
    one = network()
    assert graph_of(one).written is None
    assert obtaining.known_graph(one, TEXT, written=True) is None
    graph = obtaining.graph_of_model(one, TEXT, lambda: ABOUT, written=True)
    assert {*graph.written.graphs} == {"flow", "sources"} and not graph.written.refused
    while obtaining._running:  # the waiting caller gets it before the store does
        time.sleep(0.01)
    assert vars(graph_of(one).written) == vars(graph.written)  # a superset of the other


# -- graphs that do not fit ------------------------------------------------------------------------


def test_a_model_that_changes_meanwhile_is_exported_again(entry, monkeypatch, tmp_path):
    answering(monkeypatch, tmp_path, {"entry": entry})
    one = network()
    waited = []

    def wait_for(export, line):
        export.done.wait(30)
        if not waited:
            one.module.decoder.blocks[0].attention.n_ctx_of_somebody = waited
            one.module.decoder.blocks.append(one.module.decoder.blocks[0])
        else:
            del one.module.decoder.blocks[-1]
        waited.append(line)

    monkeypatch.setattr(obtaining, "wait_for", wait_for)
    with pytest.raises(process.ExportFailed, match="the model was changed while it was exported"):
        graph_of(one)
    assert len(waited) == 2
    assert obtaining.known_graph(one, TEXT) is not None  # as it was at first


@pytest.mark.parametrize("answer", ["of another model", "unlike"])
def test_what_a_copy_does_not_do_is_exported_here(entry, monkeypatch, tmp_path, answer):
    one = network()
    forward = one.module.decoder.norm.forward
    one.module.decoder.norm.forward = lambda x: 2 * forward(x)
    told = {"unlike": "it is unlike"} if answer == "unlike" else {"entry": entry}
    answering(monkeypatch, tmp_path, told)
    graph = graph_of(one)
    assert check_graph(graph, one, TEXT) < 1e-6
    monkeypatch.setattr(torch.export, "export", None)
    assert graph_of(one).nodes == graph.nodes  # stored with the model
    assert obtaining.at_hand(one, TEXT, lambda: None)


def eps(one, _):
    one.module.decoder.norm.eps = 0.5


def a_class(one, monkeypatch):
    kind = type(one.module.decoder.norm)
    forward = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x: 2 * forward(self, x))


@pytest.mark.parametrize("change", [eps, a_class])
def test_a_model_that_changes_after_an_export_is_compared_again(
    entry, monkeypatch, tmp_path, change
):
    """Whatever it was: no list of settings names it all."""
    answering(monkeypatch, tmp_path, {"entry": entry})
    one = network()
    text = Inputs(torch.arange(15)[None] % 12)
    before = graph_of(one).run(text.tokens)
    change(one, monkeypatch)
    wanted = one.run(text).logits.detach()
    assert (wanted - before).abs().max() > 0.01
    for _ in range(2):
        torch.testing.assert_close(graph_of(one).run(text.tokens), wanted, rtol=0, atol=1e-5)


def test_a_change_of_long_texts_only_is_found_on_the_text_of_a_page(entry, monkeypatch, tmp_path):
    answering(monkeypatch, tmp_path, {"entry": entry})
    one, longest = network(), 30
    text = Inputs(torch.arange(longest)[None] % 12)
    kind = type(one.module.decoder.norm)
    forward = kind.forward

    def late(self, x):
        return (1 + (torch.arange(x.shape[1]) >= 20)[:, None]) * forward(self, x)

    monkeypatch.setattr(kind, "forward", late)
    found = obtaining.graph_of_model(one, TEXT, lambda: ABOUT, texts=[text])
    torch.testing.assert_close(
        found.run(text.tokens), one.run(text).logits.detach(), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("change", ["nothing", "other lengths", "the order of nodes"])
def test_an_entry_of_the_cache_is_compared_beyond_its_example(entry, alone, change):
    one, other = network(), json.loads(json.dumps(entry))
    if change == "other lengths":  # the answer times n/6, right for texts as long as the example
        length = next(node[1] for node in other["nodes"] if node[0] == "sym_size.int")
        ((name, answer),) = other["results"].items()
        other["nodes"] += [
            ["mul.Tensor", "more", [{"n": answer}, {"n": length}], {}],
            ["div.Tensor", "less", [{"n": "more"}, 6], {}],
        ]
        other |= dict(results={name: "less"}, growth=None)
        graph = store.graph_of(other, one)
        assert apart(one.run(TEXT).logits.detach(), graph.run(TEXT.tokens)) < 1e-5
    if change == "the order of nodes":
        other["nodes"] = other["nodes"][::-1]
    store.keep(store.structure_of(one), other)
    assert (obtaining.known_graph(one, TEXT) is None) == (change != "nothing")


def test_a_model_of_no_known_class_is_not_built_elsewhere():
    class Own(tl.Transformer):
        pass

    one = network_of(Own(network().module.config).eval())
    with pytest.raises(GraphError, match="no other process can export it"):
        obtaining.at_hand(one, TEXT, lambda: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not obtaining.can_be_copied(one)

"""Check that Ctrl+C or a timeout at any moment of any operation on a model leaves nothing behind.

    python -m tests.hostile.interrupts --count 2000 [--signal ALRM] [--models ours,gpt2,bert,llama,bloom]
        [--seed 0]

sends a signal from another process at random moments, over all operations in turn, and lists
leftovers; it exits 1 if there were any. `test_interrupts.py` interrupts small operations at chosen
moments.
"""

from __future__ import annotations

import _thread
import argparse
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

import transformer_lab as tl
from transformer_lab.adapters.hooks import NAMED, SESSION
from transformer_lab.tokenizers import WordTokenizer

DROPPED = 5.0  # seconds after which no interrupt will come
PACKAGE = str(Path(tl.__file__).parent)
TEXT = "the animal did not cross the street because it was too tired ."
LOCKS = (type(threading.Lock()), type(threading.RLock()))
KILLER = """
import os, signal, sys, time
for line in sys.stdin:
    time.sleep(float(line))
    os.kill(os.getppid(), int(sys.argv[1]))
"""
SIGNALS = [s for s in ("INT", "ALRM", "TERM") if hasattr(signal, f"SIG{s}")]


# -- models --------------------------------------------------------------------------------------


def _sizes() -> dict[str, int]:
    return dict(vocab_size=17, bos_token_id=1, eos_token_id=2, pad_token_id=0)


def _hugging_face(name: str, **sizes: Any) -> Any:
    import transformers

    transformers.logging.set_verbosity_error()
    config = getattr(transformers, f"{name.partition('For')[0].removesuffix('LMHeadModel')}Config")
    return getattr(transformers, name)(config(**_sizes(), **sizes)).eval()


def _ours() -> Any:
    config = tl.ModelConfig(vocab_size=17, n_layers=2, n_heads=2, d_model=8, n_ctx=24)
    return tl.Transformer(config).eval()


MODELS: dict[str, Callable[[], Any]] = {
    "ours": _ours,
    "gpt2": lambda: _hugging_face("GPT2LMHeadModel", n_layer=2, n_head=2, n_embd=8, n_positions=24),
    "bert": lambda: _hugging_face(
        "BertForMaskedLM",
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_size=8,
        intermediate_size=16,
        max_position_embeddings=24,
    ),
    "llama": lambda: _hugging_face(
        "LlamaForCausalLM",
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        hidden_size=8,
        intermediate_size=16,
        max_position_embeddings=24,
    ),
    # has its own attention code
    "bloom": lambda: _hugging_face("BloomForCausalLM", n_layer=2, n_head=2, hidden_size=8),
}


class Subject:
    """A model, a text model of it, and the inputs of the operations."""

    def __init__(self, name: str):
        torch.manual_seed(0)
        self.name, self.model = name, MODELS[name]()
        tokenizer = WordTokenizer.train(TEXT)
        self.text_model = tl.TextModel(self.model, tokenizer, name)
        self.clean = torch.tensor([[3, 5, 7, 5, 9, 4]])
        self.corrupted = torch.tensor([[3, 6, 7, 6, 9, 4]])
        self.pair = (4, 8)

    @torch.no_grad()
    def logits(self) -> torch.Tensor:
        found = self.model(self.clean)
        return getattr(found, "logits", found)


# -- operations ----------------------------------------------------------------------------------


def trace(s: Subject) -> None:
    tl.trace(s.model, s.clean)


def trace_all(s: Subject) -> None:
    found = tl.trace(s.model, s.clean, keep="all")
    found.patterns()
    found.value_norms(0)


def gradients(s: Subject) -> None:
    tl.trace(s.model, s.clean, gradients=s.pair).gradient("z", layer=1)


def edit(s: Subject) -> None:
    with tl.edit(s.model, tl.ablate(1, 0)):
        s.logits()


def edits(s: Subject) -> None:
    changed = tl.skip(0, "mlp"), tl.steer(torch.ones(8), 1, what="resid_pre")
    with tl.edit(s.model, *changed), tl.edit(s.model, tl.knock_out(1, 1, query=4, key=2)):
        tl.trace(s.model, s.clean)


def estimates(s: Subject) -> None:
    tl.estimate_effects(s.model, s.clean)


def sweep(s: Subject) -> None:
    tl.sweep_heads(s.model, s.clean)


def edges_of_map(s: Subject) -> None:
    tl.sweep_edges(s.model, s.clean, layer=1, query=4)


def means(s: Subject) -> None:
    tl.mean_of(s.model, [s.clean, s.corrupted])


def grid(s: Subject) -> None:
    tl.patching_grid(s.model, s.clean, s.corrupted, metric=s.pair, by="both", position=-1)


def path(s: Subject) -> None:
    tl.path_patch(s.model, s.clean, s.corrupted, sender=(0, 1), receiver=(1, 0, "q"), metric=s.pair)


def edge_scores(s: Subject) -> None:
    tl.edge_scores(s.model, s.clean, s.corrupted, metric=s.pair, steps=2)


def table(s: Subject) -> None:
    tl.head_table(s.model, s.clean, named=False)


def circuits(s: Subject) -> None:
    tl.circuits.compositions(s.model)


def scores(s: Subject) -> None:
    tl.circuits.logit_attribution(tl.trace(s.model, s.clean, keep="all"), 5)
    tl.circuits.score_by_source(tl.trace(s.model, s.clean, keep="all"), 1, 0, 4, 2)


def lens(s: Subject) -> None:
    tl.circuits.logit_lens(tl.trace(s.model, s.clean, keep="all"))


def write(s: Subject) -> None:
    s.text_model.write(s.clean[0], 3)


def explore(s: Subject) -> None:
    view = tl.explore(s.text_model, "the animal did not cross")
    try:
        view.layer, view.head = 1, 1
        view.edits = [tl.ablate(1, 0)]
    finally:
        view.close()


OPERATIONS: dict[str, Callable[[Subject], None]] = {
    f.__name__: f
    for f in (
        trace,
        trace_all,
        gradients,
        edit,
        edits,
        estimates,
        sweep,
        edges_of_map,
        means,
        grid,
        path,
        edge_scores,
        table,
        circuits,
        scores,
        lens,
        write,
        explore,
    )
}


# -- leftovers -----------------------------------------------------------------------------------


class Before:
    """Everything that an interrupted operation could leave changed, recorded beforehand."""

    def __init__(self, subject: Subject):
        self.subject, self.logits = subject, subject.logits()
        self.state = self._state()

    def _state(self) -> dict[str, Any]:
        model = self.subject.model
        found: dict[str, Any] = {}
        for name, module in model.named_modules():
            own = module.__dict__
            found[f"{name}: attributes"] = {
                k for k in own if k in (SESSION, NAMED, "forward") or k.startswith("__")
            }
            found[f"{name}: hooks"] = {k: list(v) for k, v in own.items() if k.endswith("_hooks")}
            found[f"{name}: taps"] = tuple(own.get("taps", ()))
            found[f"{name}: training"] = module.training
            config = getattr(module, "config", None)
            found[f"{name}: setting"] = getattr(config, "_attn_implementation_internal", None)
        for name, x in (*model.named_parameters(), *model.named_buffers()):
            found[f"{name}: value"] = x.detach().numpy().tobytes()
            found[f"{name}: gradient"] = (x.requires_grad, x.grad is None)
        found["gradients on"] = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        found["function modes"] = torch._C._len_torch_function_stack()
        found["handlers"] = [signal.getsignal(getattr(signal, f"SIG{name}")) for name in SIGNALS]
        found["torch threads"] = torch.get_num_threads(), torch.get_default_dtype()
        if "transformers" in sys.modules:
            found["verbosity"] = sys.modules["transformers"].logging.get_verbosity()
        return found

    def left(self) -> list[str]:
        """List what has changed."""
        wrong = [f"thread {t.name}" for t in _threads_left()]
        now = self._state()
        for name in self.state.keys() | now.keys():
            if self.state.get(name) != now.get(name):
                wrong.append(f"{name} is {str(now.get(name))[:120]}")
        wrong += [f"lock {name} is held" for name in held(self.subject.model)]
        if wrong:
            return wrong
        return [] if torch.equal(self.subject.logits(), self.logits) else ["other logits"]


def _threads_left(within: float = 20.0) -> list[threading.Thread]:
    """Threads of the package that do not end within that many seconds."""
    end = time.monotonic() + within
    while True:
        here = threading.main_thread()
        running = [t for t in threading.enumerate() if t is not here and _is_of_package(t)]
        if not running or time.monotonic() > end:
            return running
        time.sleep(0.01)


def _is_of_package(thread: threading.Thread) -> bool:
    module = str(getattr(getattr(thread, "_target", None), "__module__", ""))
    waits = module == "transformer_lab.graphs.process"  # waits a minute for another model's export
    return module.startswith("transformer_lab") and not waits


def _locks(model: Any) -> dict[str, Any]:
    found = {"logging": logging._lock}  # type: ignore[attr-defined]
    for name, module in list(sys.modules.items()):
        if name.startswith(("transformer_lab", "transformers.utils.logging")):
            own = vars(module).items()
            found |= {f"{name}.{key}": x for key, x in own if isinstance(x, LOCKS)}
    use = getattr(model, "_transformer_lab_use", None)
    return found if use is None else {**found, "use": use.lock}


def held(model: Any) -> list[str]:
    """Locks that another thread cannot acquire."""
    held, done = [], threading.Event()

    def ask() -> None:
        for name, lock in _locks(model).items():
            if lock.acquire(timeout=1):
                lock.release()
            else:
                held.append(name)
        done.set()

    _thread.start_new_thread(ask, ())
    done.wait(60)
    return held if done.is_set() else [*held, "?"]


# -- interrupts ----------------------------------------------------------------------------------


class Timeout(Exception):
    """What the handler of a timeout raises: an error, unlike KeyboardInterrupt."""


def _raise(*_: Any) -> None:
    raise Timeout


@contextmanager
def raising(name: str) -> Iterator[int]:
    """Let this signal raise `Timeout`, or KeyboardInterrupt for SIGINT; yield its number."""
    number = getattr(signal, f"SIG{name}")
    before = signal.signal(number, signal.default_int_handler if name == "INT" else _raise)
    try:
        yield number
    finally:
        signal.signal(number, before)


def at_event(work: Callable[[], Any], number: int, name: str = "INT") -> bool:
    """Run work() with a signal at the event of this number; return whether it was interrupted.

    An event is a call of a function of the package, or of the libraries it uses for hooks and
    settings, or the return of a C function to one. Python handles signals there and nowhere else
    (but in loops)."""
    with raising(name) as signum:
        try:
            with _counting(number, signum) as count:
                work()
        except (KeyboardInterrupt, Exception):
            return True
    # Fewer events, or Python dropped the interrupt in a finaliser; an error may also be handled.
    return name != "INT" and count[0] >= number


def n_events(work: Callable[[], Any]) -> int:
    with _counting(-1) as count:
        work()
    return count[0]


@contextmanager
def _counting(number: int, signum: int = signal.SIGINT) -> Iterator[list[int]]:
    count = [0]

    def see(frame: FrameType, event: str, _arg: Any) -> None:
        if event not in ("call", "c_return") or not _matters(frame.f_code.co_filename):
            return
        count[0] += 1
        if count[0] == number:
            sys.setprofile(None)
            signal.raise_signal(signum)

    sys.setprofile(see)
    try:
        yield count
    finally:
        sys.setprofile(None)


WATCHED = (
    PACKAGE,
    "contextlib.py",
    "grad_mode.py",
    "_contextlib.py",
    "hooks.py",
    "overrides.py",
    os.path.join("logging", "__init__.py"),
    os.path.join("utils", "logging.py"),
)


def _matters(file: str) -> bool:
    return file.startswith(PACKAGE) or file.endswith(WATCHED)


class Killer:
    """Another process, which sends this one a signal after a given number of seconds."""

    def __init__(self, name: str = "INT") -> None:
        self.name, command = (
            name,
            [sys.executable, "-c", KILLER, str(int(getattr(signal, f"SIG{name}")))],
        )
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def interrupt(self, work: Callable[[], Any], after: float) -> bool:
        """Run work() with a signal `after` seconds; return whether it was still running then."""
        with raising(self.name):
            return self._interrupt(work, after)

    def _interrupt(self, work: Callable[[], Any], after: float) -> bool:
        assert self.process.stdin is not None
        inside = True
        try:
            self.process.stdin.write(b"%f\n" % after)
            self.process.stdin.flush()
            work()
            inside = False
            end = time.monotonic() + after + DROPPED
            while time.monotonic() < end:
                time.sleep(0.05)
        except (KeyboardInterrupt, Timeout):
            return inside
        except Exception:  # what the operation made of it
            return True
        return True  # Python dropped it in a finaliser, or the operation handled it

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def does(subject: Subject, operation: Callable[[Subject], None]) -> str:
    """Return "" if the model supports the operation, else why not."""
    try:
        operation(subject)
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.interrupts")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", default="INT", choices=SIGNALS)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--operations", default=",".join(OPERATIONS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng, killer, kinds = random.Random(options.seed), Killer(options.signal), []
    for name in options.models.split(","):
        subject = Subject(name)
        for what in options.operations.split(","):
            why = does(subject, OPERATIONS[what])
            if why:
                print(f"{name} {what}: not done ({why[:90]})", flush=True)
            else:
                kinds.append((subject, what))
    tally: dict[tuple[str, str], list[int]] = {}
    failures, done, started = 0, 0, time.monotonic()
    while done < options.count:
        subject, what = kinds[done % len(kinds)]
        work = lambda s=subject, w=what: OPERATIONS[w](s)  # noqa: E731
        before = Before(subject)
        begun = time.monotonic()
        work()
        took = time.monotonic() - begun
        inside = killer.interrupt(work, rng.uniform(0, 1.05) * took)
        left = before.left()
        row = tally.setdefault((subject.name, what), [0, 0, 0])
        row[0], row[1], row[2] = row[0] + 1, row[1] + inside, row[2] + bool(left)
        done += 1
        if left:
            failures += 1
            print(f"{subject.name} {what}: {'; '.join(left[:4])}", flush=True)
            i = list(MODELS).index(subject.name)
            fresh = Subject(list(MODELS)[i])
            kinds = [(fresh if s is subject else s, w) for s, w in kinds]
    killer.close()
    for (name, what), (n, inside, bad) in sorted(tally.items()):
        print(f"{name:6} {what:13} {n:4} interrupts, {inside:4} within it, {bad} left something")
    print(
        f"{done} × SIG{options.signal} in {time.monotonic() - started:.0f} s, {failures} left something"
    )
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())

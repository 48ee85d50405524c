"""Export in another process, one model at a time, so that no kernel waits for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..adapters.interrupts import start_thread
from .export import GraphError

LIMIT = 900.0  # seconds after which an export is given up
STEPS = 4  # that the other process reports, and its end
_COMMAND = [sys.executable, "-m", "transformer_lab.graphs"]

_one = threading.Lock()  # held while an export runs
_inherited: list[Any] = []  # workers of a fork's parent, whose pipes the fork must not close


class ExportFailed(GraphError):
    """An export ended without an answer: the model may export elsewhere, or at another time."""


class Unlike(GraphError):
    """A model is not what its config makes, so a copy of it cannot be exported."""


class Export:
    """An export that runs in another process.

    Args:
        structure: of the model, as `store.structure_of` gives it.
        inputs: name -> ids that the model reads, nested lists.
        nice: how far it gives way to other processes; 0 if a user waits.
        written: as in `checked_graph`.
    """

    def __init__(
        self,
        structure: Mapping[str, Any],
        inputs: Mapping[str, Any],
        nice: int = 10,
        written: bool = False,
    ):
        self.structure = structure
        self.step, self.n_steps = "waiting for another export", 0
        self.done = threading.Event()
        self._nice = nice
        request = dict(structure=structure, inputs=inputs, nice=nice, written=written)
        self._request = json.dumps(request) + "\n"
        self._answer: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None
        self._stopped = ""
        self._then: list[Callable[[], Any]] = []
        self._lock = threading.Lock()
        start_thread(threading.Thread(target=self._run, daemon=True))

    def then(self, call: Callable[[], Any]) -> None:
        """Call this when the export has ended, from another thread; at once if it has."""
        with self._lock:
            if not self.done.is_set():
                self._then.append(call)
                return
        call()

    def stop(self, why: str = "it was stopped") -> None:
        """End the other process."""
        with self._lock:
            self._stopped = self._stopped or why
            process = self._process
        if process is not None:
            process.kill()

    def entry(self) -> dict[str, Any]:
        """The entry for `store.graph_of`, once the export has ended.

        Raises:
            Unlike: for a model that is not what its config makes.
            ExportFailed: if the process ended without an answer.
            GraphError: for a model that does not export.
        """
        if "entry" in self._answer:
            return self._answer["entry"]
        if "refused" in self._answer:
            raise GraphError(self._answer["refused"])
        if "unlike" in self._answer:
            raise Unlike(self._answer["unlike"])
        raise ExportFailed(f"its export failed: {self._answer.get('error', 'no answer came')}")

    def _run(self) -> None:
        try:
            with _one:
                self._answer = self._exported()
        except Exception as error:  # any error: a caller waits for the end
            self._answer = {"error": " ".join(str(error).split()) or type(error).__name__}
        finally:
            with self._lock:
                self.done.set()
                calls, self._then = self._then, []
            for call in calls:
                call()

    def _exported(self) -> dict[str, Any]:
        found, last = None, _Worker.last
        if last is not None and last.serves(self._nice):
            found = self._answer_of(last)
        if found is None or ("error" in found and not self.n_steps):  # it may just have ended
            found = self._answer_of(_Worker(self._nice))
        return {"error": self._stopped} if self._stopped else found

    def _answer_of(self, worker: _Worker) -> dict[str, Any]:
        with self._lock:
            if self._stopped:
                return {}
            self._process = worker.process
        late = threading.Timer(LIMIT, self.stop, [f"it took more than {LIMIT:.0f} s"])
        late.daemon = True
        start_thread(late)
        try:
            text = worker.answer(self._request, self._begin)
        finally:
            late.cancel()
        try:
            return dict(json.loads(text))
        except ValueError:
            return {"error": worker.end()}

    def _begin(self, step: str) -> None:
        self.step, self.n_steps = step, self.n_steps + 1


class _Worker:
    """A process that exports, and then waits a while for another model: most of the time of a first
    export is starting."""

    last: _Worker | None = None

    def __init__(self, nice: int):
        if _Worker.last is not None:
            _Worker.last.end()
        self.nice, self.command, self.parent = nice, _COMMAND, os.getpid()
        self.process = subprocess.Popen(
            self.command,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=_environment(),
            cwd=Path(__file__).parents[2],
            start_new_session=True,  # our Ctrl+C does not reach it
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._said: list[str] = []
        self._step: Callable[[str], Any] = print
        self._listening = threading.Thread(target=self._listen, daemon=True)
        start_thread(self._listening)
        _Worker.last = self

    def serves(self, nice: int) -> bool:
        """Whether it can take a request of this niceness."""
        same = (self.nice, self.command, self.parent) == (nice, _COMMAND, os.getpid())
        return same and self.process.poll() is None

    def answer(self, request: str, step: Callable[[str], Any]) -> str:
        """A line of JSON, or "" if the process has ended.

        Args:
            step: is called from another thread with the name of each step that begins.
        """
        assert self.process.stdin and self.process.stdout
        self._step = step
        with suppress(OSError):  # it has ended, perhaps with a message
            self.process.stdin.write(request)
            self.process.stdin.flush()
        with suppress(OSError):
            return self.process.stdout.readline()
        return ""

    def end(self) -> str:
        """End the process if it runs, and return why it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        code = self.process.poll()
        self.process.kill()
        self.process.wait()
        self._listening.join(5)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            with suppress(OSError):  # what was not read by a process that is gone
                pipe.close()
        lines = [line.strip() for line in self._said if line.strip()]
        last = lines[-1][:200] if lines else f"the process ended with {code}"
        memory = "the system ended the process, probably for lack of memory"
        return memory if code == -9 else last

    def _listen(self) -> None:
        assert self.process.stderr
        try:
            for line in self.process.stderr:
                if line.startswith("step "):
                    self._step(line[5:].strip())
                else:
                    self._said[:] = [*self._said[-20:], line]
        except ValueError:  # it was closed
            pass
        self.process.wait()  # it ends soon after, and leaves no zombie


def _forked() -> None:
    """Begin again in a forked process, which has no thread of its parent's exports."""
    global _one
    _one = threading.Lock()
    if _Worker.last is not None:
        _inherited.append(_Worker.last)
        _Worker.last = None


if hasattr(os, "register_at_fork"):  # POSIX
    os.register_at_fork(after_in_child=_forked)


def _environment() -> dict[str, str]:
    """The environment of a process that downloads nothing and runs one thread."""
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **quiet, "CUDA_VISIBLE_DEVICES": ""}

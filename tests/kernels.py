"""Fast-starting kernels for tests, and processes that export a model: forks of one process that has
loaded the libraries.

A lesson's kernel first loads torch, IPython and matplotlib: seconds of CPU time, a hundred times in
a run of all tests. Here one process loads them once, when the first kernel is requested, and forks
itself for each. It loads this package too, which is safe since no module computes anything or reads
the environment on import: `test_forks.py` checks that, and tests of the wheel start kernels that
import it themselves.

Jupyter starts this file as a script, `kernels.py DOOR -f FILE`; the package starts `kernels.py DOOR
-m MODULE` instead of `python -m MODULE`. The script requests a fork, passes signals on to it, and
exits with its exit code; if the script is killed, so is the fork.
"""

import atexit
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path

# Libraries that lessons load; an optimizer loads the last.
LOADED = ["ipykernel.kernelapp", "anywidget", "matplotlib.pyplot", "torch._dynamo"]
# Those of an extra, where installed. None may start a thread: forks would not have it.
OF_EXTRAS = ["transformers.modeling_utils"]
# The environment variables that these read on import, as in a kernel.
SETTINGS = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "JPY_PARENT_PID": str(os.getpid()),
}
FORKED = "TL_FORKED_KERNELS"  # holds the JUPYTER_PATH of such kernels


def pytest_configure(config):
    """Start one server for all workers of a run; it loads nothing before the first request."""
    if hasattr(config, "workerinput"):
        return
    os.environ[FORKED] = ""
    if hasattr(os, "pidfd_open"):  # elsewhere tests use ordinary kernels
        folder = tempfile.TemporaryDirectory()
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(_start(Path(folder.name)))
        os.environ[FORKED] = folder.name


def _start(folder):
    """Start the server, and write the spec of the kernel `python3`, a fork of it. Returns a
    function that ends the server."""
    spec, path = folder / "kernels" / "python3" / "kernel.json", folder / "door"
    command = [sys.executable, "-IS", __file__, str(path), "-f", "{connection_file}"]
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps(dict(argv=command, display_name="Python 3", language="python")))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(str(path))
        door.listen()
        server = subprocess.Popen(
            [sys.executable, __file__, str(door.fileno())],
            stdin=subprocess.PIPE,
            env=os.environ | SETTINGS,
            pass_fds=[door.fileno()],
            start_new_session=True,
        )

    def end():
        server.stdin.close()
        server.wait()

    return end


def exports_are_forks():
    """Let forks export models, too, while the tests run."""
    from transformer_lab.graphs import process

    module = process._COMMAND[1:]
    if os.environ[FORKED]:
        door = str(Path(os.environ[FORKED], "door"))
        process._COMMAND = [sys.executable, "-IS", __file__, door, *module]


def ask(door, arguments):
    """Stand in for a fork until it ends. Returns its exit code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as there:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: there.send(bytes([number])))
        there.connect(door)
        asked = dict(folder=os.getcwd(), environment=dict(os.environ), arguments=arguments)
        socket.send_fds(there, [json.dumps(asked).encode()], [0, 1, 2])
        return int(there.recv(100) or 1)


def serve(door):
    """Fork for every request, until standard input ends."""
    forks = {}  # connection -> the fork's process id
    # Garbage collection runs less often than by default, as in the tests themselves.
    gc.set_threshold(20_000, 10, 10)

    def tell(number, what):
        try:
            os.killpg(number, what)
        except ProcessLookupError:  # it has no process group of its own yet
            os.kill(number, what)

    at = selectors.DefaultSelector()
    at.register(door, selectors.EVENT_READ)
    at.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in at.select():
            here, there = key.fileobj, key.data
            if here is sys.stdin:
                for number in forks.values():
                    tell(number, signal.SIGKILL)
                return
            if here is door:
                for name in LOADED:
                    import_module(name)
                for name in OF_EXTRAS:
                    with suppress(ModuleNotFoundError):
                        import_module(name)
                load_ours()
                gc.freeze()  # so no fork's collector touches, and thus copies, these objects
                there, _ = door.accept()
                asked, files, *_ = socket.recv_fds(there, 1 << 20, 3)
                number = os.fork()
                if not number:
                    return become(files, **json.loads(asked))
                for file in files:
                    os.close(file)
                forks[there] = number
                at.register(there, selectors.EVENT_READ)
                at.register(os.pidfd_open(number), selectors.EVENT_READ, there)
            elif there:  # the fork has ended
                _, status = os.waitpid(forks.pop(there), 0)
                at.unregister(here)
                os.close(here)
                if there in at.get_map():
                    at.unregister(there)
                    with suppress(BrokenPipeError):  # its script was killed just now
                        there.send(str(os.waitstatus_to_exitcode(status)).encode())
                there.close()
            elif here in forks:
                signals = here.recv(1)
                tell(forks[here], signals[0] if signals else signal.SIGKILL)
                if not signals:
                    at.unregister(here)


def load_ours():
    """Load all public names of the package, the lessons and the views."""
    for name in ("transformer_lab", "transformer_lab.lessons", "transformer_lab.views"):
        package = import_module(name)
        for public in package.__all__:
            getattr(package, public)


def become(files, folder, environment, arguments):
    """Set up what a new process would have, then run the kernel or the module named."""
    import numpy.random
    from ipykernel import kernelapp

    def paths(environment):
        return [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]

    os.setsid()
    os.chdir(folder)
    sys.path[:] = paths(environment) + [p for p in sys.path if p not in paths(os.environ)]
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.modules.pop("sitecustomize", None)
    with suppress(ModuleNotFoundError):
        import_module("sitecustomize")
    numpy.random.seed()  # Python's random and torch need no reseeding here
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["ipykernel_launcher.py", *arguments]
        kernelapp.launch_new_instance()
    atexit._run_exitfuncs()
    os._exit(0)  # freeing each loaded object would copy it first


if __name__ == "__main__":
    if sys.argv[2:]:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
    del sys.path[0]  # this folder
    serve(socket.socket(fileno=int(sys.argv[1])))

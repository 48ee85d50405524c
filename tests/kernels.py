"""Kernels for tests that start in a moment, and processes that export a model: forks of one process that
has loaded the libraries.

What a lesson's kernel does first is to load torch, IPython and matplotlib: seconds of a core, a
hundred times in a run of all tests. Here one process loads them once, when the first kernel is asked
for, and forks itself for each. It loads this package too, of which no module computes anything or reads a
setting of its surroundings when it is loaded: `test_forks.py` checks that, and tests of the wheel start
kernels that load it themselves.

Jupyter starts this file as a script, `kernels.py DOOR -f FILE`, and the package, where it would start
`python -m MODULE`, `kernels.py DOOR -m MODULE`. It asks for a fork, passes signals on to it, and ends as
the fork ends; where it is killed, so is the fork.
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

# Other people's libraries that lessons load; an optimizer loads the last.
LOADED = ["ipykernel.kernelapp", "anywidget", "matplotlib.pyplot", "torch._dynamo"]
# And those of an extra, where it is installed. None may start a thread, which no fork would have.
OF_EXTRAS = ["transformers.modeling_utils"]
# What these read when they are loaded, as a kernel finds it.
SETTINGS = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "JPY_PARENT_PID": str(os.getpid()),
}
FORKED = "TL_FORKED_KERNELS"  # the variable that holds the JUPYTER_PATH of such kernels


def pytest_configure(config):
    """One server for all workers of a run; it waits, and loads nothing before it is asked."""
    if hasattr(config, "workerinput"):
        return
    os.environ[FORKED] = ""
    if hasattr(os, "pidfd_open"):  # elsewhere tests have the kernels that everybody has
        folder = tempfile.TemporaryDirectory()
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(_start(Path(folder.name)))
        os.environ[FORKED] = folder.name


def _start(folder):
    """Start the server, and write the kernel `python3` that is a fork of it. Returns what ends it."""
    spec, path = folder / "kernels" / "python3" / "kernel.json", folder / "door"
    command = [sys.executable, "-IS", __file__, str(path), "-f", "{connection_file}"]
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps(dict(argv=command, display_name="Python 3", language="python")))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(str(path))
        door.listen()
        server = subprocess.Popen(
            [sys.executable, __file__, str(door.fileno())],
            stdin=subprocess.PIPE, env=os.environ | SETTINGS, pass_fds=[door.fileno()],
            start_new_session=True,
        )  # fmt: skip

    def end():
        server.stdin.close()
        server.wait()

    return end


def exports_are_forks():
    """Let models be exported by a fork, too, for as long as the tests run."""
    from transformer_lab.graphs import process

    module = process._COMMAND[1:]
    if os.environ[FORKED]:
        door = str(Path(os.environ[FORKED], "door"))
        process._COMMAND = [sys.executable, "-IS", __file__, door, *module]


def ask(door, arguments):
    """Stand for a fork until it ends. Returns its exit code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as there:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: there.send(bytes([number])))
        there.connect(door)
        asked = dict(folder=os.getcwd(), environment=dict(os.environ), arguments=arguments)
        socket.send_fds(there, [json.dumps(asked).encode()], [0, 1, 2])
        return int(there.recv(100) or 1)


def serve(door):
    """Fork for everybody who asks, until standard input ends."""
    forks = {}  # connection -> the fork's number
    # Garbage is looked for less often than Python does, as in the tests themselves.
    gc.set_threshold(20_000, 10, 10)

    def tell(number, what):
        try:
            os.killpg(number, what)
        except ProcessLookupError:  # it has no group of its own yet
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
                gc.freeze()  # no fork looks through, and so copies, what is there already
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
            elif there:  # its fork has ended
                _, status = os.waitpid(forks.pop(there), 0)
                at.unregister(here)
                os.close(here)
                if there in at.get_map():
                    at.unregister(there)
                    with suppress(BrokenPipeError):  # who stood for it was killed just now
                        there.send(str(os.waitstatus_to_exitcode(status)).encode())
                there.close()
            elif here in forks:
                signals = here.recv(1)
                tell(forks[here], signals[0] if signals else signal.SIGKILL)
                if not signals:
                    at.unregister(here)


def load_ours():
    """All that the package makes public; of its views too."""
    for name in ("transformer_lab", "transformer_lab.lessons", "transformer_lab.views"):
        package = import_module(name)
        for public in package.__all__:
            getattr(package, public)


def become(files, folder, environment, arguments):
    """What a new process would find, and then the kernel, or the module that is named."""
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
    numpy.random.seed()  # those of random and of torch need no word
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["ipykernel_launcher.py", *arguments]
        kernelapp.launch_new_instance()
    atexit._run_exitfuncs()
    os._exit(0)  # to free each thing that was loaded would copy it first


if __name__ == "__main__":
    if sys.argv[2:]:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
    del sys.path[0]  # this folder
    serve(socket.socket(fileno=int(sys.argv[1])))

"""A classroom on one server: kernels that all train lesson 00's model at once, and their memory.

Each kernel is a Jupyter kernel as a server starts it, with no OMP_NUM_THREADS set. They train the model
of lesson 00 for 60 steps, first with the threads that `train` chooses (one for a model of that size),
then with as many threads as there are cores; waiting threads sleep. All must finish. Nothing else should
use the machine meanwhile.
"""

import os
import time
from pathlib import Path
from queue import Empty

from jupyter_client.manager import KernelManager

from .report import Row

KERNELS, STEPS, PATIENCE = 8, 60, 300
CODE = """
import time
import transformer_lab as tl  # before torch, as the lessons do
corpus = tl.datasets.python_manual("bpe")
config = tl.ModelConfig.modern(
    vocab_size=corpus.vocab_size, n_layers=4, n_heads=4, d_model=128, n_ctx=128, dropout=0.1
)
model = tl.Transformer(config)
started = time.perf_counter()
batches = corpus.batches(16, 64)
for step in tl.train(model, batches, steps={steps}, optimizer="modern", threads={threads}):
    pass
print(time.perf_counter() - started)
"""


def run(options):
    cores = os.cpu_count() or 1
    for name, threads in (("one thread (train's choice)", None), (f"{cores} threads", cores)):
        seconds, memory = train_together(CODE.format(steps=STEPS, threads=threads))
        yield Row(
            f"{KERNELS} kernels at once, {name}: slowest kernel",
            round(max(seconds), 1),
            "s",
            None,
            len(seconds) == KERNELS,
            round(sum(seconds), 1),
            options.seed,
            f"{STEPS} steps each; {len(seconds)} of {KERNELS} finished; fastest {min(seconds):.1f} s",
        )
        if threads is None:
            yield Row(
                "peak memory of one such kernel",
                round(max(memory)),
                "MiB",
                None,
                None,
                0.0,
                options.seed,
                f"all {KERNELS} together {sum(memory) / 1024:.1f} GiB, shared pages "
                "counted in each",
            )


def train_together(code: str) -> tuple[list[float], list[float]]:
    """Seconds of training and highest memory in MiB of each kernel that finished in time."""
    env = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    managers = [KernelManager() for _ in range(KERNELS)]
    try:
        for manager in managers:
            manager.start_kernel(env=env)
        clients = [manager.blocking_client() for manager in managers]
        for client in clients:
            client.start_channels()
            client.wait_for_ready(timeout=PATIENCE)
        asked = [client.execute(code) for client in clients]
        until = time.monotonic() + PATIENCE
        seconds = [printed(c, a, until) for c, a in zip(clients, asked, strict=True)]
        memory = [peak(manager.provisioner.pid) for manager in managers]
        return [s for s in seconds if s is not None], memory
    finally:
        for manager in managers:
            manager.shutdown_kernel(now=True)


def printed(client, asked: str, until: float) -> float | None:
    """The number that the code printed; None if it was not done in time."""
    value = None
    while (left := until - time.monotonic()) > 0:
        try:
            message = client.get_iopub_msg(timeout=left)
        except Empty:
            return None
        if message["parent_header"].get("msg_id") != asked:
            continue
        content = message["content"]
        if message["msg_type"] == "stream" and content["name"] == "stdout":
            value = float(content["text"])
        elif message["msg_type"] == "error":
            raise RuntimeError(f"{content['ename']}: {content['evalue']}")
        elif message["msg_type"] == "status" and content["execution_state"] == "idle":
            return value
    return None


def peak(pid: int) -> float:
    """The most memory that a process had, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0

"""Kill a training process at random moments, many times over, and print the findings as JSON.

    python -m tests.hostile.kill_driver FOLDER KILLS

Each child resumes the same run, checkpointing after every step, and is killed after a random time,
so that most kills hit the middle of a write. Children are forked, which spares them the import of
torch. At the end an uninterrupted run makes the same number of steps.
"""

import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import torch

from tests.factories import Rows, learner
from transformer_lab.training.loop import train
from transformer_lab.training.run import Run

torch.set_num_threads(1)


def learn(folder, ready=None, until=None, resume=True):
    model = learner(vocab_size=50, n_layers=2, d_model=64, n_ctx=16, dropout=0.1)
    steps = train(
        model,
        Rows(50, 16),
        steps=10**6,
        schedule="constant",
        warmup=0,
        run=Run(folder),
        resume=resume,
        checkpoint_every=1,
        eval_batches=[Rows(50, 16).batch(-1)],
        eval_every=2,
    )
    for step in steps:
        if ready is not None:
            os.write(ready, b"x")
            ready = None
        if step.index == until:
            break
    return model


def child(work):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            warnings.simplefilter("ignore")
            work()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def temporaries(folder):
    return [p for p in Path(folder).rglob("*") if p.name.startswith(".")]


def main(folder, kills):
    broken, whole = Path(folder) / "broken", Path(folder) / "whole"
    learn(Path(folder) / "warm-up", None, 2)  # imports everything once, so no child needs to
    random.seed(0)
    run, seen = Run(broken), {"unreadable": 0, "lost": 0, "torn_writes": 0, "steps": []}
    for _ in range(kills):
        ready, tell = os.pipe()
        before = max(run.checkpoints, default=0)
        pid = child(lambda tell=tell: learn(broken, tell))
        os.close(tell)
        if os.read(ready, 1) != b"x":  # the child failed to resume
            seen["unreadable"] += 1
            os.waitpid(pid, 0)
            continue
        os.close(ready)
        time.sleep(random.uniform(0, 0.06))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        seen["torn_writes"] += bool(temporaries(broken))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            newest = run.newest()
        seen["unreadable"] += newest is None or bool(caught)
        seen["lost"] += newest is not None and newest.step < before
        seen["steps"].append(newest.step if newest else 0)
    last = max(run.checkpoints) + 2
    for folder_, resume in ((broken, True), (whole, False)):
        os.waitpid(child(lambda f=folder_, r=resume: learn(f, None, last, r)), 0)
    seen["orphans"] = len(temporaries(broken))
    pair = [Run(f).load_model(last).state_dict() for f in (broken, whole)]
    seen["bitwise"] = all(torch.equal(pair[0][k], pair[1][k]) for k in pair[1])
    timeless = [
        [{k: v for k, v in m.items() if k not in ("seconds", "tokens_per_second")} for m in r]
        for r in (Run(broken).metrics(), Run(whole).metrics())
    ]
    seen["metrics"] = timeless[0] == timeless[1] and len(timeless[0]) == last
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""FSDP2 carries our models and recipes in a loop of one's own, at the numbers of one process."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
import transformer_lab as tl
from transformer_lab.optim import recipe
from transformer_lab.training.objective import CrossEntropy

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
mesh, losses = init_device_mesh("cpu", (size,)), {}
for name in ("adamw", "modern"):
    torch.manual_seed(0)
    model = tl.Transformer(
        tl.ModelConfig.modern(vocab_size=17, n_layers=2, n_heads=2, d_model=32, n_ctx=16)
    )
    rows = torch.randint(17, (8, 17)).tensor_split(size)[rank]
    whole = sum(p.numel() for p in model.parameters())
    for block in model.decoder:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    here = sum(p.to_local().numel() for p in model.parameters())
    optimizers, losses[name] = recipe(name).build(model, 10), [here / whole]
    for _ in range(4):
        loss = CrossEntropy()(model, (rows[:, :-1], rows[:, 1:]))
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        for parameter in model.parameters():
            parameter.grad = None
        total = loss.detach().clone()
        dist.all_reduce(total)
        losses[name].append(total.item() / size)
if rank == 0:
    open(sys.argv[1], "w").write(json.dumps(losses))
dist.destroy_process_group()
"""


@pytest.mark.timeout(240)
def test_two_sharded_processes_learn_what_one_learns(tmp_path):
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("FSDP2 has its name since torch 2.6")
    script = tmp_path / "go.py"
    script.write_text(SCRIPT)
    found = {}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    # One process needs nobody who starts it: torchrun would load torch a second time.
    alone = dict(RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
    for n, launch, environment in ((1, [], alone), (2, torchrun, {})):
        out = tmp_path / f"{n}.json"
        done = subprocess.run(
            [sys.executable, *launch, str(script), str(out)], capture_output=True, text=True,
            timeout=110, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        found[n] = json.loads(out.read_text())
    for name, (share, *losses) in found[2].items():
        assert share == pytest.approx(0.5, abs=0.02)
        assert losses == pytest.approx(found[1][name][1:], abs=1e-5)
        assert losses[-1] < losses[0] - 0.05

"""Train our models with our recipes in a custom loop: `learn`, alone or under FSDP2.

Also a script: a process of a group, which the environment names, writes its numbers to argv[1].
"""

import json
import sys

import torch
import torch.distributed as dist

import transformer_lab as tl
from transformer_lab.optim import recipe
from transformer_lab.training.objective import CrossEntropy

RECIPES = ("adamw", "modern")


def learn(name, shard=lambda model: None, rank=0, size=1):
    """[this process's fraction of the parameters, the mean loss over all rows at each step]."""
    torch.manual_seed(0)
    model = tl.Transformer(
        tl.ModelConfig.modern(vocab_size=17, n_layers=2, n_heads=2, d_model=32, n_ctx=16)
    )
    rows = torch.randint(17, (8, 17)).tensor_split(size)[rank]
    whole = sum(p.numel() for p in model.parameters())
    shard(model)
    here = sum(getattr(p, "to_local", lambda p=p: p)().numel() for p in model.parameters())
    optimizers, numbers = recipe(name).build(model, 10), [here / whole]
    for _ in range(4):
        loss = CrossEntropy()(model, (rows[:, :-1], rows[:, 1:]))
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        for parameter in model.parameters():
            parameter.grad = None
        total = loss.detach().clone()
        if size > 1:
            dist.all_reduce(total)
        numbers.append(total.item() / size)
    return numbers


def main():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (size,))

    def shard(model):
        for block in model.decoder:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)

    losses = {name: learn(name, shard, rank, size) for name in RECIPES}
    if rank == 0:
        with open(sys.argv[1], "w") as file:
            file.write(json.dumps(losses))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

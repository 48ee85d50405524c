"""`measured`: numbers of a small Llama, in one process or sharded block by block by FSDP2.

Also a script: a process of a group, which the environment names, writes its numbers to argv[1].
"""

import json
import sys

import torch
import torch.distributed as dist
import transformers

import transformer_lab as tl

IDS = torch.arange(10, 18)[None]


def measured(shard=lambda part: None):
    """name -> numbers."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    for part in (*model.model.layers, model):
        shard(part)
    trace = tl.trace(model, IDS)
    with tl.edit(model, tl.ablate(1, 2)):
        edited = tl.trace(model, IDS).logits
    numbers = {
        "maps": trace.pattern(1),
        "value norms": tl.trace(model, IDS, keep="maps").value_norms(1),
        "edits": edited,
        "sweeps": tl.sweep_heads(model, IDS).values,
        "estimates": tl.estimate_effects(model, IDS).values,
        "circuits": tl.circuits.ov_circuit(model, 1, 2).row(7),
        "gradients": tl.trace(model, IDS, gradients=4).gradient("z", 1),
    }
    return {name: values.tolist() for name, values in numbers.items()}


def main():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    found = measured(lambda part: fully_shard(part, mesh=mesh))
    if dist.get_rank() == 0:
        with open(sys.argv[1], "w") as file:
            file.write(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

"""How training uses the machine: memory, and bf16 on a processor."""

import ctypes.util
import subprocess
import sys

import pytest
import torch

from tests.factories import Rows, learner
from transformer_lab.training.loop import train
from transformer_lab.training.machine import precision_of
from transformer_lab.training.run import Run

FAULTS = """
import resource, sys
import torch
from transformer_lab.training.machine import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def step():
    blocks = [torch.ones(2**18) for _ in range(20)]  # 1 MiB each
    return blocks

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(
    not sys.platform.startswith("linux")
    or "libc.so.6" not in (ctypes.util.find_library("c") or ""),
    reason="other allocators keep freed memory by rules of their own",
)
def test_what_a_step_frees_is_kept_for_the_next():
    pages = 20 * 20 * 256
    assert page_faults("as it is") > 0.5 * pages
    assert page_faults("kept") < 0.05 * pages


CPU = torch.device("cpu")


@pytest.mark.parametrize("flag", ["amx_bf16", "avx512_bf16", "bf16"])
def test_bf16_is_for_processors_that_have_it_and_are_asked(monkeypatch, recwarn, flag):
    has = {"avx2": True, "amx_bf16": False, "avx512_bf16": False, flag: True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert precision_of("bf16", CPU) is torch.bfloat16
    assert precision_of("auto", CPU) is torch.float32
    assert not recwarn


def test_bf16_is_believed_where_pytorch_does_not_tell_what_the_processor_has(monkeypatch, recwarn):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precision_of("bf16", CPU) is torch.bfloat16
    assert not recwarn


def test_without_bf16_training_goes_on_in_fp32_and_the_run_says_so(monkeypatch, tmp_path):
    has = {"avx2": True, "amx_bf16": False, "avx512_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    with pytest.warns(UserWarning, match=r"^precision='bf16': .*goes on in fp32$") as told:
        steps = list(train(learner(), Rows(), steps=2, precision="bf16", run=tmp_path / "run"))
    assert len(told) == 1 and told[0].filename == __file__
    exact = list(train(learner(), Rows(), steps=2, precision="fp32"))
    assert [s.loss for s in steps] == [s.loss for s in exact]
    assert Run(tmp_path / "run").config()["training"]["precision"] == "float32"

"""How training uses the machine's memory."""

import ctypes.util
import subprocess
import sys
from pathlib import Path

import pytest

# Each script loads torch once, and measures before and after.
FAULTS = """
import resource
import torch
from transformer_lab.training.hardware import keep_freed_memory

def step():
    blocks = [torch.ones(2**18) for _ in range(20)]  # 1 MiB each
    return blocks

for kept in (False, True):
    if kept:
        keep_freed_memory()
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def numbers(code: str) -> list[int]:
    """The output of the code in a separate process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return list(map(int, done.stdout.split()))


@pytest.mark.skipif(
    not sys.platform.startswith("linux")
    or "libc.so.6" not in (ctypes.util.find_library("c") or ""),
    reason="other allocators keep freed memory by rules of their own",
)
def test_what_a_step_frees_is_kept_for_the_next():
    pages = 20 * 20 * 256
    as_it_is, kept = numbers(FAULTS)
    assert as_it_is > 0.5 * pages
    assert kept < 0.05 * pages


LARGE = """
from pathlib import Path
import torch
from transformer_lab.training.hardware import keep_freed_memory

for times in (0, 1, 2):
    for _ in range(times):
        keep_freed_memory()
    held = torch.ones(2**22)  # 16 MiB
    told = Path("/proc/self/smaps_rollup").read_text().splitlines()
    print(next(line for line in told if line.startswith("AnonHugePages")).split()[1])
    del held
"""


def gives_large_pages_when_asked() -> bool:
    told = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return told.exists() and "[madvise]" in told.read_text()


@pytest.mark.skipif(
    not gives_large_pages_when_asked(), reason="large pages are given always, never or not at all"
)
def test_what_is_kept_lies_in_large_pages():
    kib = numbers(LARGE)  # after none, one and three calls
    assert len(kib) == 3 and kib[0] == 0
    assert min(kib[1:]) >= 12 * 1024  # of 16 MiB, less incomplete pages

"""How training uses the machine's memory."""

import ctypes.util
import subprocess
import sys
from pathlib import Path

import pytest

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


LARGE = """
import sys
from pathlib import Path
import torch
from transformer_lab.training.machine import keep_freed_memory

for _ in range(int(sys.argv[1])):
    keep_freed_memory()
held = torch.ones(2**22)  # 16 MiB
told = Path("/proc/self/smaps_rollup").read_text().splitlines()
print(next(line for line in told if line.startswith("AnonHugePages")).split()[1])
"""


def gives_large_pages_when_asked() -> bool:
    told = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return told.exists() and "[madvise]" in told.read_text()


@pytest.mark.skipif(
    not gives_large_pages_when_asked(), reason="large pages are given always, never or not at all"
)
def test_what_is_kept_lies_in_large_pages():
    kib = [
        int(subprocess.check_output([sys.executable, "-c", LARGE, times], text=True, timeout=120))
        for times in ("0", "1", "3")
    ]
    assert kib[0] == 0
    assert min(kib[1:]) >= 12 * 1024  # of 16 MiB, less what does not fill a page

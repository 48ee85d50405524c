"""`make quick` leaves slow tests out, and says which."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_what_is_left_out_is_counted(workers):
    paths = ["tests/test_config.py", "tests/test_memory.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *workers, *paths]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    (line,) = [one for one in run.stdout.splitlines() if one.startswith("not run, since")]
    assert "test_memory.py 4" in line and "`make test` runs them" in line
    assert " passed" in run.stdout.splitlines()[-1]

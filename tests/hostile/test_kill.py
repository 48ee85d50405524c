"""kill -9 at any moment, also in the middle of a write. TL_KILLS=200 for the long version."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.kill9,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]


@pytest.mark.timeout(600)
def test_kills_lose_only_the_steps_since_the_last_checkpoint(tmp_path):
    kills = int(os.environ.get("TL_KILLS", "20"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.kill_driver", str(tmp_path), str(kills)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=580,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert len(seen["steps"]) == kills
    assert seen["torn_writes"] >= kills // 10  # the kills did hit writes
    assert {k: seen[k] for k in ("unreadable", "lost", "orphans")} == {
        "unreadable": 0,
        "lost": 0,
        "orphans": 0,
    }
    assert seen["bitwise"]
    assert seen["metrics"]

"""Two processes of one group on this machine, without torchrun, which would load torch again."""

import os
import subprocess
import sys
from tempfile import TemporaryFile

from tests.ports import free_port


def two(*arguments, seconds):
    """Run Python with these arguments twice, as ranks 0 and 1. Return what rank 0 printed."""
    group = dict(WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")
    group |= dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
    with TemporaryFile("w+") as told, TemporaryFile("w+") as errors:
        ranks = [
            subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                stdout=told if rank == "0" else errors,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                env={
                    **os.environ,
                    **group,
                    "OMP_NUM_THREADS": "1",
                    "RANK": rank,
                    "LOCAL_RANK": rank,
                },
            )
            for rank in "01"
        ]
        try:
            for one in ranks:
                if one.wait(seconds):
                    break  # else the other waits for it
        finally:
            for one in ranks:
                one.kill()
                one.wait()
        for file in (told, errors):
            file.seek(0)
        assert [one.returncode for one in ranks] == [0, 0], errors.read()[-2000:]
        return told.read()

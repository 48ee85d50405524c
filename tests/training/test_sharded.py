"""Our models and recipes under FSDP2 in a custom loop give the numbers of one process."""

import json

import pytest

from tests.training import sharding
from tests.training.processes import two


@pytest.mark.timeout(240)
def test_two_sharded_processes_learn_what_one_learns(tmp_path):
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("FSDP2 has its name since torch 2.6")
    two(sharding.__file__, tmp_path / "two.json", seconds=110)
    found = json.loads((tmp_path / "two.json").read_text())
    assert list(found) == list(sharding.RECIPES)
    for name, (share, *losses) in found.items():
        whole, *alone = sharding.learn(name)
        assert share == pytest.approx(0.5, abs=0.02) and whole == 1
        assert losses == pytest.approx(alone, abs=1e-5)
        assert losses[-1] < losses[0] - 0.05

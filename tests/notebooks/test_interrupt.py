"""■ in the middle of the training of lesson 00: one line, and the next cells go on from there."""

import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

PATH = Path(__file__).parents[2] / "notebooks" / "00_first_look.ipynb"


class Kernel:
    """A kernel that runs cells one by one, as a person does."""

    def __init__(self):
        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def send(self, source):
        return self.client.execute(source)

    def wait(self, message_id, seconds=300):
        """Wait for a cell to end; returns its reply and what it showed."""
        shown, end = [], time.monotonic() + seconds
        while True:
            message = self.client.get_iopub_msg(timeout=max(end - time.monotonic(), 0.1))
            if message["parent_header"].get("msg_id") != message_id:
                continue
            content = message["content"]
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                break
            shown.append(content)
        reply = self.client.get_shell_msg(timeout=30)
        while reply["parent_header"].get("msg_id") != message_id:
            reply = self.client.get_shell_msg(timeout=30)
        return reply["content"], shown

    def wait_for_step(self, message_id, seconds=300):
        """Wait until a cell's training view has reported its first steps."""
        end = time.monotonic() + seconds
        while True:
            message = self.client.get_iopub_msg(timeout=max(end - time.monotonic(), 0.1))
            state = message["content"].get("data", {}).get("state", {})
            mine = message["parent_header"].get("msg_id") == message_id
            assert not (mine and message["content"].get("execution_state") == "idle")
            if mine and state.get("_status", {}).get("step", 0) > 2:
                return

    def run(self, source, seconds=300):
        return self.wait(self.send(source), seconds)


@pytest.fixture
def kernel():
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.mark.timeout(600)
def test_an_interrupted_training_keeps_what_was_learned(kernel):
    cells = [c for c in nbformat.read(PATH, as_version=4).cells if c.cell_type == "code"]
    places = [cell.id for cell in cells]
    train = places.index("train")
    for cell in cells[:train]:
        reply, _ = kernel.run(cell.source)
        assert reply["status"] == "ok", (cell.id, reply)
        if cell.id == "parameters":
            kernel.run('preset, device = "quick", "cpu"')
    kernel.run("untrained = {k: v.clone() for k, v in model.state_dict().items()}")

    training = kernel.send(cells[train].source.replace("quick=12", "quick=100_000"))
    kernel.wait_for_step(training)
    kernel.manager.interrupt_kernel()
    asked = time.monotonic()
    reply, _ = kernel.wait(training)
    assert time.monotonic() - asked < 20  # a second on an idle machine; never the whole run
    assert reply["ename"] == "TrainingStopped", reply
    assert len(reply["traceback"]) == 1  # one line, no stack trace
    assert "history kept" in reply["evalue"]

    reply, _ = kernel.run(
        "assert 0 < len(history) < 100_000\n"
        "assert any(not torch.equal(v, untrained[k]) for k, v in model.state_dict().items())\n"
        "assert not model.training"
    )
    assert reply["status"] == "ok", reply
    for cell in cells[train + 1 :]:
        reply, shown = kernel.run(cell.source)
        assert reply["status"] == "ok", (cell.id, reply)
        if cell.id == "loss-after-claim":
            assert "training ended after" in str(shown)

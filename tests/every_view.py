"""A small view of every class, created on request, for all tests of the views."""

import pytest
import torch

import transformer_lab as tl
from tests.factories import WORDS, Counting, learner, picture, small, vision
from tests.sounds import RATE, TARGET, chirp, whisper
from tests.sounds import WORDS as WHISPERED
from transformer_lab import views

TEXT = "for key in self.keys:\n    if key not in self."

VIEWS = sorted(
    name for name in views.__all__ if isinstance(getattr(views, name), type) and name != "View"
)


def spectrogram():
    model = whisper(sharpness=6)
    view = views.SpectrogramView(
        model, chirp(), sampling_rate=RATE, target=TARGET, labels=WHISPERED
    )
    view.span = (3, 9)
    return view


def patching():
    """Two prompts that differ in one token, with some cells measured."""
    view = views.PatchingView(tl.shipped("manual"), TEXT, TEXT.replace(".keys", ".names"))
    view.site = "z"
    view.measure("z")
    view.measure([("resid_pre", 1, 2), ("k", 0, 1)])
    return view


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """name -> a small view of every class."""
    folder = tmp_path_factory.mktemp("run") / "run"
    probe = torch.arange(6)
    watch = views.TrainingView(probe)
    for _ in tl.train(
        learner(), Counting(), steps=4, run=folder, snapshot_every=2, probe=probe, watch=watch
    ):
        pass
    model = tl.shipped("manual")
    ids = torch.arange(len(WORDS))
    trace = tl.trace(small(sharpness=3.0), ids, labels=WORDS, keep="all")
    makers = {
        "FlowView": lambda: views.FlowView(trace, threshold=0.2),
        "HeadView": lambda: views.HeadView(trace, layer=1, head=2),
        "Explorer": lambda: views.Explorer(model, TEXT, edits=[tl.ablate(0, 1)]),
        "ResidualView": lambda: views.ResidualView(trace),
        "CloudView": lambda: views.CloudView(trace, 1, 2, colour="attention"),
        "WhyView": lambda: views.WhyView(trace, 1, 2, 8, 1),
        "BlockView": lambda: views.BlockView(trace, 1, 2, 8),
        "ModelView": lambda: views.ModelView(
            trace, edits=[tl.ablate(0, 1), tl.knock_out(1, 2, query=8, key=1)]
        ),
        "CompareView": lambda: views.CompareView.of_texts(model, TEXT, TEXT.replace("key", "name")),
        "PositionView": lambda: views.PositionView("rotary"),
        "MixView": lambda: views.MixView(
            ["the", "cat", "the"], [0, 6, 1], [[0, 0], [4, 0], [1, 3]], d=4, hidden=[2]
        ),
        "PatchView": lambda: views.PatchView(
            tl.ImageModel(vision(num_labels=3), name="small"), picture()
        ),
        "SpectrogramView": spectrogram,
        "PatchingView": patching,
        "TrainingView": lambda: watch,
        "RunView": lambda: views.RunView(folder),
        "EmbeddingView": lambda: views.EmbeddingView(trace),
    }
    known: dict = {}

    def get(name):
        if name not in known:
            if name in ("PatchView", "SpectrogramView"):
                pytest.importorskip("transformers")
            known[name] = makers[name]()
        return known[name]

    get.names = set(makers)
    return get

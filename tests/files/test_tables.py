"""Results that are tables, as CSV, pandas and Arrow."""

import csv
import math
import sys

import pytest
import torch

import transformer_lab as tl
from tests.missing import package
from transformer_lab.edits.effects import Sweep

CLEAN, CORRUPTED = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 5, 3, 4]])


@pytest.fixture(scope="module")
def tables():
    torch.manual_seed(0)
    model = tl.Transformer(
        tl.ModelConfig(vocab_size=9, n_layers=2, n_heads=2, d_model=8, n_ctx=8)
    ).eval()
    difference = dict(metric=(3, 4))
    edges = tl.edge_scores(model, CLEAN, CORRUPTED, **difference)
    return {
        "heads": tl.head_table(model, CLEAN),
        "sweep": tl.sweep_heads(model, CLEAN),
        "grids": tl.patching_grid(model, CLEAN, CORRUPTED, **difference),
        "edges": edges,
        "circuit": edges.circuit(3),
        "study": tl.study(model, [tuple(CLEAN[0].tolist())], measure="previous token"),
        "nothing": tl.head_table(model, CLEAN).where("layer > 99"),
    }


NAMES = ["heads", "sweep", "grids", "edges", "circuit", "study", "nothing"]


@pytest.mark.parametrize("name", NAMES)
def test_csv_pandas_and_arrow_have_the_same_cells(tables, name, tmp_path):
    pandas, pyarrow = package("pandas"), package("pyarrow")
    table = tables[name]
    columns, *lines = csv.reader(table.to_csv(tmp_path / "a.csv").read_text("utf-8").splitlines())
    frame, arrow = table.to_pandas(), pyarrow.table(table)
    assert columns == list(frame.columns) == arrow.column_names
    assert len(lines) == len(frame) == arrow.num_rows and (lines or name == "nothing")
    for line, row, cells in zip(
        lines, frame.itertuples(index=False), arrow.to_pylist(), strict=True
    ):
        for text, value, cell in zip(line, row, cells.values(), strict=True):
            if text == "":
                assert cell in (None, "") and (value == "" or pandas.isna(value))
            elif isinstance(cell, int | float):
                assert float(text) == cell == value
            else:
                assert text.removeprefix("'") == cell == value


def test_layers_and_heads_are_numbers(tables):
    pandas = package("pandas")
    for name in ("heads", "sweep"):
        frame = tables[name].to_pandas()
        assert pandas.api.types.is_integer_dtype(frame["layer"])
        assert set(frame["head"]) == {0, 1}


def test_numbers_that_are_not_known_are_nulls(tables):
    pyarrow = package("pyarrow")
    values = tables["sweep"].measures["kl"].clone()
    values[0, 1] = math.nan
    sweep = Sweep(**{**vars(tables["sweep"]), "measures": {"kl": values}, "measure": "kl"})
    assert [cell is None for cell in pyarrow.table(sweep)["kl"].to_pylist()] == [0, 1, 0, 0]


@pytest.mark.parametrize("name", ["pandas", "pyarrow"])
def test_without_the_package_it_says_what_to_install(tables, name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=rf"needs {name}, .*: pip install {name}; \.csv"):
        tables["heads"].to_pandas() if name == "pandas" else tables["heads"].__arrow_c_stream__()

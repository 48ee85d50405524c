"""The checks of lesson 22 accept right answers, however written, and name mistakes."""

import json
import math

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.lessons.answers import checks_of
from transformer_lab.lessons.pictures import Mark, marks
from transformer_lab.lessons.solutions import lesson_22 as solutions

# -- training_flops: counted matrix by matrix ---------------------------------------------------------


def by_matrices(n_layers, d_model, vocab_size, n_ctx, tokens, *, inside=4, pair=2, back=2, rows=1):
    """Each matrix of a block as its two sides, and attention from its two products."""
    d = d_model
    sides = [(d, d)] * 4 + [(d, inside * d), (inside * d, d)]
    blocks = sum(a * b for a, b in sides) * n_layers
    attention = n_layers * rows * (n_ctx * d + d * n_ctx)
    return torch.tensor([blocks, attention, vocab_size * d]) * pair * (1 + back) * tokens


def by_passes(n_layers, d_model, vocab_size, n_ctx, tokens):
    forward = torch.tensor(
        [24 * n_layers * d_model**2, 4 * n_layers * n_ctx * d_model, 2 * d_model * vocab_size]
    )
    return sum((forward * tokens for _ in range(3)), torch.zeros(3, dtype=torch.long))


# -- best_size ----------------------------------------------------------------------------------------


def size_by_numpy(parameters, loss):
    a, b, _ = np.polyfit(np.log10(parameters.numpy()), loss.numpy(), 2)
    return torch.tensor(10 ** (-b / (2 * a)))


def size_by_equations(parameters, loss):
    x = torch.log(parameters)
    shifted = x - x.mean()  # for conditioning
    powers = torch.stack([shifted**k for k in range(3)])
    c = torch.linalg.solve(powers @ powers.T, powers @ loss)
    a, b = c[2], c[1] - 2 * c[2] * x.mean()
    return torch.exp(-b / (2 * a))


# -- fit_law ------------------------------------------------------------------------------------------


def law_by_table(parameters, tokens, loss, alphas, betas):
    table = {}
    for i, alpha in enumerate(alphas.tolist()):
        for j, beta in enumerate(betas.tolist()):
            x = np.stack([parameters.numpy() ** -alpha, tokens.numpy() ** -beta], 1)
            x = np.concatenate([np.ones((len(x), 1)), x], 1)
            solved = np.linalg.lstsq(x, loss.numpy(), rcond=None)[0]
            found = [solved[0], solved[1], alpha, solved[2], beta]
            table[i, j] = ((x @ solved - loss.numpy()) ** 2).sum(), found
    return torch.tensor(min(table.values(), key=lambda entry: entry[0])[1])


def law_all_at_once(parameters, tokens, loss, alphas, betas):
    a, b = torch.meshgrid(alphas, betas, indexing="ij")
    a, b = a.reshape(-1, 1), b.reshape(-1, 1)
    columns = torch.stack(
        [torch.ones_like(loss).expand(len(a), -1), parameters**-a, tokens**-b], -1
    )
    solved = torch.linalg.pinv(columns) @ loss
    errors = ((columns @ solved[..., None])[..., 0] - loss).square().mean(1)
    best = errors.argmin()
    floor, one, two = solved[best]
    return torch.stack([floor, one, a[best, 0], two, b[best, 0]])


# -- jackknife ----------------------------------------------------------------------------------------


def answers_without(fit, columns):
    n = len(columns[0])
    rows = [[j for j in range(n) if j != i] for i in range(n)]
    return torch.stack([fit(*(c[r] for c in columns)) for r in rows])


def by_variance(fit, *columns):
    found = answers_without(fit, columns)
    return (len(found) - 1) / len(found) ** 0.5 * found.std(0)


def by_concatenation(fit, *columns):
    n = columns[0].shape[0]
    found = [fit(*[torch.cat([c[:i], c[i + 1 :]]) for c in columns]) for i in range(n)]
    mean = sum(found) / n
    return (sum((f - mean) ** 2 for f in found) * (1 - 1 / n)) ** 0.5


RIGHT = {
    "training_flops": (by_matrices, by_passes),
    "best_size": (size_by_numpy, size_by_equations),
    "fit_law": (law_by_table, law_all_at_once),
    "jackknife": (by_variance, by_concatenation),
}


WRONG = {"training_flops": {"a sum": (lambda *s: by_matrices(*s).sum(), "three whole numbers")}}


test_right, test_odd, test_wrong = checks_of(
    "22", RIGHT, WRONG, odd=["best_size", "fit_law", "jackknife"]
)


# -- against known values --------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "width", "length"), [(1, 16, 8), (3, 32, 24)])
def test_operations_are_those_that_torch_counts(layers, width, length):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    config = tl.ModelConfig.modern(
        vocab_size=37, n_layers=layers, n_heads=2, d_model=width, n_ctx=length
    )
    tokens = torch.randint(37, (4, length), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        tl.Transformer(config)(tokens).sum().backward()
    found = solutions.training_flops(layers, width, 37, length, tokens.numel())
    assert int(found.sum()) == counter.get_total_flops()


def test_a_law_without_noise_is_found_again():
    n, d = torch.meshgrid(torch.tensor([1.0, 2, 5]), torch.tensor([1.0, 3, 9]), indexing="ij")
    n, d = n.flatten().double(), d.flatten().double()
    grid = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    found = solutions.fit_law(n, d, 1.5 + 0.7 * n**-0.4 + 0.9 * d ** -grid[2], grid, grid)
    torch.testing.assert_close(found, torch.tensor([1.5, 0.7, 0.4, 0.9, 0.3]).double())


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = torch.randn(30, generator=torch.Generator().manual_seed(0)).double()
    found = solutions.jackknife(lambda column: column.mean()[None], x)
    assert found.item() == pytest.approx(x.std().item() / math.sqrt(30))


# -- points under the pointer -------------------------------------------------------------------------


START = (
    '<span style="color:var(--jp-content-font-color1,var(--vscode-editor-foreground,'
    'var(--colab-primary-text-color,var(--tl-page-ink,#1b1f24))))">'
)


def drawn(name="one", **more):
    groups = {
        name: [Mark(4e9, 2.0, name), Mark(1e9, 2.5, "first")],
        "alone": [Mark(2e9, 1.9, "new")],
    }
    words = dict(title=name, sentence="Two.", x_name="operations", y_name="loss")
    return marks(groups, laws={"law": ([1e9, 4e9], [2.6, 1.8])}, **{**words, **more})


def test_each_point_has_its_words_and_lies_in_the_order_of_x():
    figure = drawn(theme="light")
    assert [list(t.x) for t in figure.data] == [[1e9, 4e9], [2e9], [1e9, 4e9]]
    assert list(figure.data[0].customdata) == ["first", "one"]
    assert [t.mode for t in figure.data] == ["lines+markers", "markers", "lines"]
    assert figure.layout.xaxis.type == "log"
    assert list(figure.layout.xaxis.ticktext) == ["1 · 10⁹", "2 · 10⁹", "5 · 10⁹"]
    sizes = marks(
        {"a": [Mark(900, 1, ""), Mark(30_000, 2, "")]},
        title="",
        sentence="",
        x_name="",
        y_name="",
        theme="light",
    )
    assert list(sizes.layout.xaxis.ticktext) == ["1,000", "2,000", "5,000", "10,000", "20,000"]
    assert drawn(theme="dark").layout.template != figure.layout.template


def test_words_and_paper_are_left_to_the_page_and_numbers_are_not():
    light, page = drawn(theme="light").to_plotly_json(), drawn().to_plotly_json()
    for a, b in zip(light["data"], page["data"], strict=True):
        assert b["name"] == f"{START}{a['name']}</span>"
        assert list(a["x"]) == list(b["x"]) and list(a["y"]) == list(b["y"])
    layout = page["layout"]
    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0, 0, 0, 0)"
    assert layout["title"]["text"] == f"{START}{light['layout']['title']['text']}</span>"
    assert layout["xaxis"]["ticktext"] == [
        f"{START}{words}</span>" for words in light["layout"]["xaxis"]["ticktext"]
    ]
    assert layout["yaxis"]["tickprefix"] == START and layout["yaxis"]["ticksuffix"] == "</span>"
    assert "tickprefix" not in layout["xaxis"]


def test_where_no_script_runs_there_is_a_picture_with_words():
    data, metadata = drawn()._repr_mimebundle_()
    assert set(data) == {"application/vnd.plotly.v1+json", "image/jpeg", "text/plain"}
    assert metadata["image/jpeg"]["alt"] == "one. Two."
    assert len(json.dumps(data["application/vnd.plotly.v1+json"])) < 40_000


@pytest.mark.xss
def test_names_are_no_markup():
    figure = drawn("<img src=x onerror=alert(1)>")
    assert "<img" not in json.dumps(figure.to_plotly_json()["data"], default=list)
    assert "<img" not in figure.layout.title.text


def test_points_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match="groups must contain at least one point"):
        marks({"none": []}, title="", sentence="", x_name="", y_name="")
    with pytest.raises(ValueError, match=r"x must be above 0 on a logarithmic axis, got 0"):
        marks({"a": [Mark(0, 1, "")]}, title="", sentence="", x_name="", y_name="")

"""Attention within windows of an image: patterns and edits of SAM, Swin and their relatives against
hand-computed ones, without the code that maps positions to windows."""

import copy
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.missing import package
from transformer_lab.adapters.hooks import copy_with_edits
from transformer_lab.tracing import grid_bias
from transformer_lab.tracing.maps import MemoryBudgetError
from transformer_lab.views import HeadView, PatchView

T: Any = package("transformers")

SAM: dict[str, Any] = dict(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=20,
    patch_size=4,
    window_size=3,
    global_attn_indexes=[1],
    output_channels=8,
    mlp_dim=48,
)
SIDE, WINDOW, N = 5, 3, 25  # of the image in patches: two windows a side, the second padded by 1
VITDET: dict[str, Any] = dict(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=20,
    patch_size=4,
    mlp_ratio=2,
    window_size=3,
    window_block_indices=[0, 2],
    pretrain_image_size=20,
)
SWIN2SR: dict[str, Any] = dict(
    image_size=8,
    patch_size=1,
    num_channels=3,
    embed_dim=16,
    depths=[2, 2],
    num_heads=[4, 4],
    window_size=4,
    mlp_ratio=2.0,
)
SWIN: dict[str, Any] = dict(
    image_size=24, patch_size=4, embed_dim=16, depths=[3], num_heads=[4], window_size=4
)
MAKERS = {
    "sam": lambda: T.SamVisionModel(T.SamVisionConfig(**SAM)),
    "sam eager": lambda: T.SamVisionModel._from_config(
        T.SamVisionConfig(**SAM), attn_implementation="eager"
    ),
    "sam-hq": lambda: T.SamHQVisionModel(T.SamHQVisionConfig(**SAM)),
    "vitdet": lambda: T.VitDetModel(T.VitDetConfig(**VITDET)),
    "swin": lambda: T.SwinModel(T.SwinConfig(**SWIN)),
    "swinv2": lambda: T.Swinv2Model(T.Swinv2Config(**SWIN)),
    "swin2sr": lambda: T.Swin2SRModel(T.Swin2SRConfig(**SWIN2SR)),
}
SAMS = ["sam", "sam eager", "sam-hq"]
SHIFTED = ["swin", "swinv2", "swin2sr"]


def made(name):
    torch.manual_seed(0)
    model = MAKERS[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def pixels(name, n=2):
    side = {"swin": 24, "swinv2": 24, "swin2sr": 8}.get(name, 20)
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(3))


def states(model, x):
    with torch.no_grad():
        return model(x).last_hidden_state


def window_of(row, column, side, window, shift):
    """(number of a patch's window after a shift to the top left, the patch's index in it)."""
    padded = -(-side // window) * window
    row, column = (row - shift) % padded, (column - shift) % padded
    number = row // window * (padded // window) + column // window
    return number, row % window * window + column % window


def by_hand(maps, side, window, shift):
    """Patterns over the whole image, patch by patch, [batch, head, query, key]."""
    n_windows = (-(-side // window)) ** 2
    maps = maps.unflatten(0, (-1, n_windows))
    places = [window_of(r, c, side, window, shift) for r in range(side) for c in range(side)]
    found = torch.zeros(len(maps), maps.shape[2], len(places), len(places))
    for i, (number, place) in enumerate(places):
        for j, (other, key) in enumerate(places):
            if number == other:
                found[:, :, i, j] = maps[:, number, :, place, key]
    return found


def own_maps(model, x):
    """Each layer's attention weights. SAM's fused code returns none, so its eager class recomputes
    them from the same input."""
    found, handles = [], []

    def kept(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if weights is None and hasattr(module, "get_decomposed_rel_pos"):
            eager = type(module).__mro__[1].forward
            x = args[0] if args else kwargs["hidden_states"]
            weights = eager(module, x)[1]
        if weights is not None:
            found.append(weights.view(-1, 4, *weights.shape[-2:]))

    for module in model.modules():
        if type(module).__name__.endswith(
            ("SdpaAttention", "VisionAttention", "SelfAttention")
        ) or (type(module).__name__ in ("SwinAttention", "VitDetAttention")):
            handles.append(module.register_forward_hook(kept, with_kwargs=True))
    more = {} if "sam" in type(model).__name__.lower() else {"output_attentions": True}
    if type(model).__name__ == "SwinModel":
        model.set_attn_implementation("eager")
    with torch.no_grad():
        model(x, **more)
    for handle in handles:
        handle.remove()
    return found


def shape_of(name):
    """(side in patches, window, shifts of each layer); a window of 0 is the whole image."""
    if name in SHIFTED:
        layers = {"swin": 3, "swinv2": 3, "swin2sr": 4}[name]
        return 8 if name == "swin2sr" else 6, 4, [(4, 2 * (i % 2)) for i in range(layers)]
    return SIDE, WINDOW, [(WINDOW, 0), (0, 0), (WINDOW, 0)]


@pytest.mark.parametrize("name", MAKERS)
def test_maps_are_of_the_whole_picture(name):
    model, x = made(name), pixels(name)
    side, _, layers = shape_of(name)
    clean = states(model, x)
    trace = tl.trace(model, pixel_values=x)
    assert_close(states(model, x), clean)
    own = own_maps(made(name), x)
    assert len(own) == trace.n_layers() == len(layers)
    for layer, (window, shift) in enumerate(layers):
        truth = own[layer] if not window else by_hand(own[layer], side, window, shift)
        for batch in range(2):
            found = trace.pattern(layer, batch=batch)
            assert_close(found, truth[batch], atol=1e-5, rtol=1e-4)
            rest = trace.to_nothing(layer, batch=batch)
            assert_close(found.sum(-1) + rest, torch.ones_like(rest))
            some = trace.call(layer).pattern(batch, 1, torch.tensor([3, side * side - 1]))
            assert_close(some, found[1][[3, side * side - 1]])
    if name != "swin2sr":  # its first convolution makes no patches
        assert trace.patches is not None and trace.patches.n == side * side
    padded = side % WINDOW if name not in SHIFTED else side % 4
    assert trace.has_sinks(0) == bool(padded)
    assert bool((trace.to_nothing(0) > 0.01).any()) == bool(padded)


@pytest.mark.parametrize("name", ["sam", "sam eager", "swin", "vitdet"])
def test_what_a_head_does_is_known_and_may_be_switched_off(name):
    """Ablation against zeroing the head's columns of W_O; z and values by patch."""
    model, x = made(name), pixels(name)
    last = {"swin": "o_proj"}.get(name, "proj")
    layers = [
        m for n, m in model.named_modules() if n.endswith(f".{last}") and hasattr(m, "weight")
    ]
    layers = [m for m in layers if m.weight.dim() == 2]
    width = layers[0].weight.shape[1] // 4
    for layer in (0, 1):
        with tl.edit(model, tl.ablate(layer, 2)):
            found = states(model, x)
        twin = made(name)
        weights = [
            m for n, m in twin.named_modules() if n.endswith(f".{last}") and hasattr(m, "weight")
        ]
        weights = [m for m in weights if m.weight.dim() == 2]
        with torch.no_grad():
            weights[layer].weight[:, 2 * width : 3 * width] = 0
        assert_close(found, states(twin, x), atol=1e-5, rtol=1e-4)
    trace = tl.trace(model, pixel_values=x, keep="all")
    z = trace.activation("z", 0)
    assert z.shape == (2, 4, len(trace.patches.labels), width)
    clean = states(model, x)
    with tl.edit(model, tl.patch(trace)):
        assert_close(states(model, x), clean, atol=1e-5, rtol=1e-4)
    norms = tl.trace(model, pixel_values=x, keep="maps").value_norms(0)
    assert norms.shape == (4, len(trace.patches.labels))
    assert_close(norms, trace.value_norms(0))


@pytest.mark.parametrize("name", ["sam", "sam eager", "swin"])
def test_an_edge_is_cut_within_its_window(name):
    """Against z by hand: the row without the key, renormalised."""
    model, x = made(name), pixels(name, 1)
    trace = tl.trace(model, pixel_values=x, keep="all")
    query, key = 0, 1  # in one window
    weights, z = trace.pattern(0, 1), trace.activation("z", 0)[0, 1]
    with tl.edit(model, tl.knock_out(0, 1, query=query, key=key)):
        cut = tl.trace(model, pixel_values=x, keep="all")
    row, p = weights[query].clone(), weights[query, key]
    row[key] = 0
    assert_close(cut.pattern(0, 1)[query], row / (1 - p), atol=1e-6, rtol=1e-4)
    assert_close(cut.pattern(0, 1)[1:], weights[1:], atol=1e-6, rtol=1e-4)
    value = trace.call(0).by_position(trace.call(0).value)[0, 1]
    wanted = z.clone()
    wanted[query] = (z[query] - p * value[key]) / (1 - p)
    assert_close(cut.activation("z", 0)[0, 1], wanted, atol=1e-5, rtol=1e-4)
    rest = trace.to_nothing(0, 1)
    assert_close(cut.to_nothing(0, 1)[query], rest[query] / (1 - p), atol=1e-6, rtol=1e-4)
    far = len(trace.patches.labels) - 1  # in another window
    with (
        pytest.raises(tl.edits.kinds.EditError, match="changed nothing"),
        tl.edit(model, tl.knock_out(0, 1, query=query, key=far)),
    ):
        model(x)


@pytest.mark.parametrize("name", ["sam", "swin"])
def test_gradients_reach_the_maps(name):
    model, x = made(name), pixels(name, 1)
    heads = dict(num_labels=3)
    if name == "swin":
        model = T.SwinForImageClassification(T.SwinConfig(**SWIN, **heads)).eval()
        trace = tl.trace(model, pixel_values=x, gradients=1)
        clean = tl.trace(model, pixel_values=x).answers[0, 1]
        found = trace.gradient("pattern", 0, 1)
        assert found.shape == (36, 36)
        z = trace.gradient("z", 0, 1)
        assert z.shape == (36, 4)
        values = trace.gradient("v", 0, 1)
        assert values.shape == z.shape
        assert_close(torch.tensor(trace.scalar), clean)
    else:
        with pytest.raises(ValueError, match="no head that predicts"):
            tl.trace(model, pixel_values=x, gradients=1)


def test_sweeps_and_views_take_windows_as_whole_pictures(tmp_path):
    model, x = made("sam"), pixels("sam", 1)
    whole = states(model, x)
    far = lambda s: (s - whole).norm()  # noqa: E731
    edges = tl.sweep_edges(model, pixel_values=x, layer=0, query=0, measure=far)
    assert edges.values.shape[-1] == N
    in_window = torch.tensor([i // SIDE < WINDOW and i % SIDE < WINDOW for i in range(N)])
    assert bool(edges.values[..., ~in_window].isnan().all())  # these edges do not exist
    assert bool((edges.values[..., in_window] > 0).all())
    view = PatchView(model, x, layer=0, head=1)
    view.selected = (N - 1, None)
    assert "goes to the padding beyond the picture" in view.sentence
    view.layer = 1
    assert "padding" not in view.sentence
    trace = tl.trace(model, pixel_values=x)
    page = HeadView(trace).save_html(tmp_path / "heads.html")
    assert page.stat().st_size > 10_000


@pytest.mark.badinput
def test_a_picture_that_shrinks_on_its_way_has_no_one_patch():
    swin = T.SwinModel(
        T.SwinConfig(**SWIN | dict(image_size=32, depths=[1, 1], num_heads=[2, 2]))
    ).eval()
    with pytest.raises(ValueError, match=r"at different sizes \(maps of 16 × 16, 64 × 64\)"):
        tl.trace(swin, pixel_values=torch.randn(1, 3, 32, 32))


@pytest.mark.badinput
def test_windows_that_are_not_followed_are_refused(monkeypatch):
    from transformer_lab.adapters import windows

    monkeypatch.setattr(windows, "MOVES", ())
    with pytest.raises(ValueError, match="not known which patches are in each of them"):
        tl.trace(made("sam"), pixel_values=pixels("sam", 1))


@pytest.mark.parametrize("keep", ["all", "maps"])
def test_large_biases_are_kept_by_rows_and_columns(monkeypatch, keep):
    """A layer with global attention: the same patterns and cuts from fewer stored numbers."""
    model, x = made("sam"), pixels("sam")
    whole = tl.trace(model, pixel_values=x, keep=keep)
    monkeypatch.setattr(grid_bias, "LARGE", 1)
    trace = tl.trace(model, pixel_values=x, keep=keep)
    assert type(trace.call(1)) is grid_bias.GridCall and trace.call(1).bias is None
    assert trace.kept_bytes() < whole.kept_bytes()
    for batch in range(2):
        assert_close(trace.pattern(1, batch=batch), whole.pattern(1, batch=batch))
        assert_close(trace.scores(1, 2, batch=batch), whole.scores(1, 2, batch=batch))
    some = torch.tensor([2, 20])
    assert_close(trace.call(1).pattern(1, 3, some), whole.pattern(1, 3, batch=1)[some])
    with tl.edit(model, tl.knock_out(1, 1, query=3, key=20)):
        cut = tl.trace(model, pixel_values=x).pattern(1, 1)
    row = whole.pattern(1, 1)[3].clone()
    row[20] = 0
    assert_close(cut[3], row / row.sum())
    assert_close(trace.value_norms(1), whole.value_norms(1))
    assert trace.queries_keys(1, 0) is None
    # The eager class's bias is not split into rows and columns.
    eager = tl.trace(made("sam eager"), pixel_values=x)
    assert eager.call(1).bias is not None
    assert_close(eager.pattern(1), whole.pattern(1))


@pytest.mark.badinput
def test_biases_that_take_too_much_are_refused(monkeypatch):
    monkeypatch.setattr(grid_bias, "BUDGET_MIB", 0)
    with pytest.raises(MemoryBudgetError, match="use fewer or smaller images; a SAM loaded with"):
        tl.trace(made("sam eager"), pixel_values=pixels("sam", 1))


def test_a_copy_of_a_model_edited_within_its_windows_is_not_edited():
    model, x = made("sam"), pixels("sam", 1)
    plain = states(model, x)
    with tl.edit(model, tl.knock_out(0, 0, query=1, key=0)):
        edited, twin = states(model, x), copy.deepcopy(model)
        assert torch.equal(states(copy_with_edits(model), x), edited)
    assert not torch.equal(edited, plain)
    assert torch.equal(states(twin, x), plain)
    assert torch.equal(states(model, x), plain)

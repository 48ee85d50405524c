"""The checks of lesson 18 accept right answers, however written, and name mistakes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl
from tests.lessons.answers import checks_of
from transformer_lab.lessons.solutions import lesson_18 as solutions


class Sums(nn.Module):
    """The formula by F.linear, copies of the weights, merged into a new layer."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.register_buffer("weight", linear.weight.detach().clone())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())
        self.A = nn.Parameter(torch.rand(rank, linear.in_features) - 0.5)
        self.B = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.alpha = alpha

    def forward(self, x):
        change = F.linear(F.linear(x, self.A), self.B)
        return F.linear(x, self.weight, self.bias) + change * (self.alpha / len(self.A))

    def merge(self):
        out, wide = self.weight.shape
        made = nn.Linear(wide, out, bias=self.bias is not None, dtype=self.weight.dtype)
        state = {"weight": self.weight + self.alpha / len(self.A) * torch.mm(self.B, self.A)}
        made.load_state_dict(state if self.bias is None else state | {"bias": self.bias})
        return made


class Scaled(nn.Module):
    """The scale applied to x, and the layer kept under another name."""

    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.old = layer.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(rank, layer.in_features, dtype=layer.weight.dtype))
        self.B = nn.Parameter(layer.weight.new_zeros(layer.out_features, rank))
        self.by = alpha / rank

    def forward(self, x):
        return torch.einsum("or,ri,...i->...o", self.B, self.A, x * self.by) + self.old(x)

    def merge(self):
        made = copy.deepcopy(self.old)
        made.weight.data.add_(self.B.detach() @ self.A.detach(), alpha=self.by)
        return made


def added_by_path(model, names, rank, alpha):
    model.requires_grad_(False)
    paths = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    count = 0
    for path in paths:
        where, _, name = path.rpartition(".")
        if name in names:
            wrapped = Scaled(model.get_submodule(path), rank, alpha)
            setattr(model.get_submodule(where), name, wrapped)
            count += wrapped.A.numel() + wrapped.B.numel()
    return torch.tensor(count)


def added_within(model, names, rank, alpha):
    """Recursive; wrapped layers are not entered."""

    def enter(parent):
        for name, child in parent.named_children():
            if type(child) is nn.Linear and name in names:
                parent._modules[name] = Sums(child, rank, alpha)
            else:
                enter(child)

    for weight in model.parameters():
        weight.requires_grad = False
    enter(model)
    return sum(w.numel() for n, w in model.named_parameters() if n[-2:] in (".A", ".B"))


def shares_by_eigenvalues(before, after):
    change = after - before
    gram = change.T @ change if change.shape[0] >= change.shape[1] else change @ change.T
    values = torch.linalg.eigvalsh(gram).flip(0).clamp(min=0)
    return values.cumsum(0) / change.square().sum()


def shares_one_by_one(before, after):
    u, s, v = torch.linalg.svd(before - after, full_matrices=False)
    cut = [(u[:, :r] * s[:r]) @ v[:r] for r in range(1, len(s) + 1)]
    return torch.stack([c.norm() ** 2 for c in cut]) / torch.norm(before - after) ** 2


RIGHT = {
    "LoRALinear": (Sums, Scaled),
    "add_lora": (added_by_path, added_within),
    "rank_shares": (shares_by_eigenvalues, shares_one_by_one),
}


def layer(**methods):
    """The solution's class with other methods."""
    return type("LoRALinear", (solutions.LoRALinear,), methods)


def begun(change):
    """The solution's class, changed at the end of `__init__`."""

    def init(self, linear, rank, alpha):
        solutions.LoRALinear.__init__(self, linear, rank, alpha)
        change(self, linear, rank, alpha)

    return layer(__init__=init)


def in_place(self):
    self.linear.weight.data += self.scale * (self.B @ self.A).detach()
    return self.linear


def emptied(self):
    made = in_place(self)
    self.B.data.zero_()
    return made


def both_random(self, linear, rank, alpha):
    nn.init.normal_(self.B)


def random_and_thawed(self, linear, rank, alpha):
    nn.init.normal_(self.B)
    linear.requires_grad_(True)


def plain_tensor(self, linear, rank, alpha):
    del self.A
    self.A = torch.randn(rank, linear.in_features)


def turned(self, linear, rank, alpha):
    self.A = nn.Parameter(self.A.detach().T)


def no_super(linear, rank, alpha):
    return solutions.LoRALinear.forward


def wrapped(model, names, rank, alpha, fits=lambda name, names: name in names, most=99):
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and fits(name, names) and most > 0:
                setattr(parent, name, solutions.LoRALinear(child, rank, alpha))
                most -= 1


def counted(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def adding(before=True, after=False, count=counted, **more):
    def add(model, names, rank, alpha):
        if before:
            model.requires_grad_(False)
        wrapped(model, names, rank, alpha, **more)
        if after:
            model.requires_grad_(False)
        return count(model)

    return add


def fresh(model, names, rank, alpha):
    model.requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and name in names:
                new = nn.Linear(child.in_features, child.out_features)
                setattr(parent, name, solutions.LoRALinear(new, rank, alpha))
    return counted(model)


def only_found(model, names, rank, alpha):
    """Creates the layers but never installs them."""
    model.requires_grad_(False)
    for name, child in model.named_modules():
        if name.split(".")[-1] in names:
            child = solutions.LoRALinear(child, rank, alpha)
    return counted(model)


def shares(change, size=torch.square, of=lambda s: s.cumsum(0) / s.sum()):
    return of(size(torch.linalg.svdvals(change)))


def same(x):
    return x


WRONG = {
    "LoRALinear": {
        "both random": (begun(both_random), "does not start at 0"),
        "both zero": (begun(lambda self, *_: nn.init.zeros_(self.A)), "neither ever moves"),
        "other way round": (
            begun(lambda self, *_: (nn.init.zeros_(self.A), nn.init.normal_(self.B))),
            "It is B that should start at 0",
        ),
        "not frozen": (
            begun(lambda self, linear, *_: linear.requires_grad_(True)),
            "still trains: only `A` and `B` should",
        ),
        "all frozen": (
            begun(lambda self, *_: self.requires_grad_(False)),
            "should train, but cannot",
        ),
        "random, not frozen": (begun(random_and_thawed), "Two things"),
        "plain tensor": (begun(plain_tensor), "plain tensor"),
        "A turned": (begun(turned), "[rank, in]"),
        "no module": (no_super, "must be a module"),
        "merged, and emptied": (layer(merge=emptied), "changes `A` or `B`"),
        "merged, a tensor": (
            layer(merge=lambda self: self.linear.weight + self.B @ self.A),
            "returned a Tensor",
        ),
        "merged, nothing": (layer(merge=lambda self: None), "returned a NoneType"),
        "shapes do not fit": (
            layer(forward=lambda self, x: self.linear(x) + x @ self.A @ self.B),
            "RuntimeError",
        ),
    },
    "add_lora": {
        "nothing put": (only_found, "`setattr(parent, name"),
        "nothing frozen": (adding(before=False), "still trains"),
        "frozen after": (adding(after=True), "is frozen: freeze the model *before*"),
        "the first alone": (adding(most=1), "was not replaced"),
        "all layers": (adding(fits=lambda name, names: True), "is wrapped but not in `names`"),
        "ends with": (
            adding(fits=lambda name, names: name.endswith(names)),
            "`read_out` is wrapped",
        ),
        "new layers": (fresh, "output has changed"),
        "another rank": (
            lambda model, names, rank, alpha: solutions.add_lora(model, names, 4, alpha),
            "has rank 4, not",
        ),
        "another alpha": (
            lambda model, names, rank, alpha: solutions.add_lora(model, names, rank, rank),
            "do you pass `alpha` on?",
        ),
        "no count": (adding(count=lambda m: None), "you returned nothing"),
        "the model": (adding(count=same), "you returned a _Model"),
        "not frozen, the first alone": (adding(before=False, most=1), "Two things"),
        "frozen after, all layers": (
            adding(after=True, fits=lambda name, names: True),
            "Two things",
        ),
    },
}


test_right, test_odd, test_wrong = checks_of("18", RIGHT, WRONG)


@pytest.mark.parametrize("name", ["LoRALinear", "add_lora"])
@pytest.mark.parametrize(
    "odd", [lambda *_: None, lambda *_: "right", lambda: None, lambda *_: 1 / 0]
)
def test_odd_answers_end_in_a_sentence(name, odd, judged):
    result = judged(f"18/{name}", odd)
    assert not result.passed
    assert len(result.diagnosis) > 20


def test_a_stub_is_not_written_yet(judged):
    class Stub(nn.Module):
        def __init__(self, linear, rank, alpha):
            super().__init__()
            raise NotImplementedError

    assert judged("18/LoRALinear", Stub).status == "empty"


# -- against the package --------------------------------------------------------------------------------


def test_a_model_of_the_package_is_wrapped_trained_and_merged():
    torch.manual_seed(0)
    config = tl.ModelConfig(vocab_size=11, n_layers=2, n_heads=2, d_model=8, n_ctx=6)
    model = tl.Transformer(config)
    tokens = torch.randint(11, (4, 6))
    before = model(tokens).detach()
    old = {name: p.detach().clone() for name, p in model.named_parameters()}
    count = solutions.add_lora(model, ("query", "value"), 2, 4)
    assert count == 2 * 2 * (2 * 8 + 8 * 2)
    torch.testing.assert_close(model(tokens), before)
    for _ in tl.train(model, [(tokens, tokens)], steps=5, lr=0.1):
        pass
    model.eval()
    after = model(tokens).detach()
    assert not torch.allclose(after, before, atol=1e-2)
    kept = {n.replace(".linear.", "."): p for n, p in model.named_parameters()}
    assert all(torch.equal(kept[name], weight) for name, weight in old.items())
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, solutions.LoRALinear):
                setattr(parent, name, child.merge())
    torch.testing.assert_close(model(tokens).detach(), after, atol=1e-5, rtol=1e-5)
    changed = dict(model.named_parameters())["decoder.blocks.0.attention.query.weight"]
    shares = solutions.rank_shares(old["decoder.blocks.0.attention.query.weight"], changed.detach())
    assert shares[1] > 0.999  # a change of rank 2

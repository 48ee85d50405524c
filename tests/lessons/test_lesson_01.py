"""Every check of lesson 01 accepts right answers, however written, and names what is wrong."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from transformer_lab.lessons import check, exercise, presets
from transformer_lab.lessons.solutions import lesson_01 as solutions


@pytest.fixture(autouse=True)
def _own_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFORMER_LAB_RUNS", str(tmp_path))


def judged(name, function, seconds=10.0):
    return check(exercise(name, presets("01"))(function), seconds=seconds)


# --- right answers -------------------------------------------------------------------------------


def with_loops(query, key, value):
    """One query at a time, softmax by hand."""
    front = query.shape[:-2]
    q, k, v = (t.reshape(-1, *t.shape[-2:]) for t in (query, key, value))
    outputs = []
    for sentence in range(q.shape[0]):
        rows = []
        for one in q[sentence]:
            shares = torch.exp((k[sentence] * one).sum(-1) / one.numel() ** 0.5)
            rows.append((shares / shares.sum()) @ v[sentence])
        outputs.append(torch.stack(rows))
    return torch.stack(outputs).reshape(*front, query.shape[-2], value.shape[-1])


def with_einsum(query, key, value):
    scaled = query * query.size(-1) ** -0.5
    weights = F.softmax(torch.einsum("...qd,...kd->...qk", scaled, key), -1)
    return torch.einsum("...qk,...kv->...qv", weights, value)


def in_bf16(query, key, value):
    return solutions.attention(query.bfloat16(), key.bfloat16(), value.bfloat16())


def in_bf16_given_back_in_fp32(query, key, value):
    return in_bf16(query, key, value).float()


def in_fp16(query, key, value):
    return solutions.attention(query.half(), key.half(), value.half())


def in_fp64(query, key, value):
    return solutions.attention(query.double(), key.double(), value.double())


def with_gradient(query, key, value):
    return torch.nn.Parameter(solutions.attention(query, key, value))


@pytest.mark.parametrize(
    "function",
    [
        solutions.attention,
        F.scaled_dot_product_attention,
        with_loops,
        with_einsum,
        in_bf16,
        in_bf16_given_back_in_fp32,
        in_fp16,
        in_fp64,
        with_gradient,
    ],
)
def test_right_attention_is_accepted(function):
    result = judged("attention", function)
    assert result.passed, result.diagnosis


@pytest.mark.needs("gpu")
def test_right_attention_on_a_gpu_is_accepted():
    assert judged("attention", lambda *qkv: solutions.attention(*(t.cuda() for t in qkv)))


def causal_with_where(scores):
    n = scores.shape[-1]
    sees = torch.arange(n)[:, None] >= torch.arange(n)
    return torch.where(sees, scores, -torch.inf)


def causal_with_addition(scores):
    return scores + torch.full(scores.shape[-2:], -1e9).triu(1)


def causal_with_loops(scores):
    scores = scores.clone()
    for query in range(scores.shape[-2]):
        scores[..., query, query + 1 :] = -math.inf
    return scores


@pytest.mark.parametrize(
    "function",
    [
        solutions.causal,
        causal_with_where,
        causal_with_addition,
        causal_with_loops,
        lambda scores: solutions.causal(scores.bfloat16()),
    ],
)
def test_right_mask_is_accepted(function):
    result = judged("causal", function)
    assert result.passed, result.diagnosis


# --- named mutants -------------------------------------------------------------------------------


def mutant(scale=None, dim=-1):
    def attention(query, key, value):
        divisor = math.sqrt(query.shape[-1]) if scale is None else scale(query, key)
        weights = torch.softmax(query @ key.transpose(-2, -1) / divisor, dim=dim)
        return weights @ value

    return attention


def stepwise(query, key):
    return torch.softmax(query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1]), dim=-1)


ATTENTION_MUTANTS = {
    "softmax over queries": (mutant(dim=-2), "over the queries"),
    "softmax over axis 1": (mutant(dim=1), "with 3 heads"),
    "no scale": (mutant(lambda q, k: 1), "not scaled"),
    "divided by d": (mutant(lambda q, k: q.shape[-1]), "square root"),
    "times √d": (mutant(lambda q, k: q.shape[-1] ** -0.5), "multiplied"),
    "√ of the words": (mutant(lambda q, k: k.shape[-2] ** 0.5), "number of words"),
    "√ of the first axis": (mutant(lambda q, k: k.shape[0] ** 0.5), "number of words"),
    "always 2": (mutant(lambda q, k: 2), "always divide by 2"),
    "key asks query": (
        lambda q, k, v: torch.softmax(k @ q.transpose(-2, -1) / q.shape[-1] ** 0.5, -1) @ v,
        "swapped",
    ),
    "keys mixed": (lambda q, k, v: stepwise(q, k) @ k, "mixed the keys"),
    "weights only": (lambda q, k, v: stepwise(q, k), "last step is missing"),
    "scores only": (lambda q, k, v: q @ k.mT / q.shape[-1] ** 0.5, "Two steps are missing"),
    "no softmax": (lambda q, k, v: (q @ k.mT / q.shape[-1] ** 0.5) @ v, "without a softmax"),
    "exp, no sum": (lambda q, k, v: (q @ k.mT / q.shape[-1] ** 0.5).exp() @ v, "did not divide"),
    "scaled too late": (
        lambda q, k, v: torch.softmax(q @ k.mT, -1) / q.shape[-1] ** 0.5 @ v,
        "after the softmax",
    ),
    "causal": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        "also hid the later words",
    ),
    ".T with a batch": (
        lambda q, k, v: torch.softmax(q @ k.T / q.shape[-1] ** 0.5, -1) @ v,
        "transpose(-2, -1)",
    ),
    "in bf16 and unscaled": (
        lambda q, k, v: torch.softmax(q.bfloat16() @ k.bfloat16().mT, -1) @ v.bfloat16(),
        "not scaled",
    ),
}


@pytest.mark.parametrize("name", ATTENTION_MUTANTS)
def test_wrong_attention_is_named(name):
    function, said = ATTENTION_MUTANTS[name]
    result = judged("attention", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def hidden(table, fill=-math.inf):
    return lambda scores: scores.masked_fill(table(torch.ones_like(scores)).bool(), fill)


CAUSAL_MUTANTS = {
    "inverted": (hidden(lambda ones: ones.tril(-1)), "inverted"),
    "inverted with −10⁹": (hidden(lambda ones: ones.tril(-1), -1e9), "inverted"),
    "diagonal hidden": (hidden(lambda ones: ones.triu(0)), "hid the diagonal"),
    "one word too few": (hidden(lambda ones: ones.triu(2)), "one word of the future"),
    "zero": (lambda scores: scores.tril(), "exp(0)"),
    "+∞": (hidden(lambda ones: ones.triu(1), math.inf), "sign is wrong"),
    "−1": (hidden(lambda ones: ones.triu(1), -1.0), "set the future to −1"),
    "softmax taken": (lambda s: torch.softmax(solutions.causal(s), -1), "returned weights"),
    "cut afterwards": (lambda s: torch.softmax(s, -1).tril(), "cut the weights afterwards"),
    "nothing": (lambda scores: scores, "Nothing is hidden"),
    "in place": (
        lambda s: s.masked_fill_(torch.ones_like(s).triu(1).bool(), -math.inf),
        "changes the tensor passed to it",
    ),
    "0 times ∞": (lambda s: s + torch.ones_like(s).triu(1) * -math.inf, "NaN"),
}


@pytest.mark.parametrize("name", CAUSAL_MUTANTS)
def test_wrong_mask_is_named(name):
    function, said = CAUSAL_MUTANTS[name]
    result = judged("causal", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


# --- a check never crashes -----------------------------------------------------------------------


class AlwaysEqual:
    """Claims to be a tensor and to equal everything."""

    __class__ = torch.Tensor
    shape = (5, 2)
    dtype = torch.float32

    def __eq__(self, other):
        return True

    def __repr__(self):
        raise RuntimeError("do not look at me")


class AgreeableTensor(torch.Tensor):
    """A tensor whose every operation says yes."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return True


class RudeError(Exception):
    def __str__(self):
        raise RuntimeError("even my message fails")


def endless(*_):
    while True:
        pass


def endless_and_catching(*_):
    while True:
        try:
            while True:
                pass
        except Exception:
            pass


def recursive(*arguments):
    return recursive(*arguments)


def raises(error):
    def function(*_):
        raise error

    return function


ODD = {
    "nothing": (lambda *_: None, "returned nothing"),
    "a number": (lambda *_: 1.0, "returned a float"),
    "a pair": (lambda q, *_: (q, q), "2 things"),
    "numpy": (lambda q, *_: np.asarray(q), "NumPy"),
    "a generator": (lambda q, *_: (x for x in q), "yield"),
    "an object equal to all": (lambda *_: AlwaysEqual(), "did not return a torch tensor"),
    "a tensor equal to all": (
        lambda q, *_: q.as_subclass(AgreeableTensor),
        "did not return a torch tensor",
    ),
    "integers": (lambda q, *_: q.long(), "torch.int64"),
    "truths": (lambda q, *_: q > 0, "torch.bool"),
    "complex": (lambda q, *_: q.to(torch.complex64), "torch.complex64"),
    "no numbers": (lambda q, *_: q.to("meta"), "cannot be read"),
    "wrong shape": (lambda q, *_: q[..., :1, :], "has shape"),
    "a scalar": (lambda q, *_: q.sum(), "has shape []"),
    "empty": (lambda q, *_: q[:0], "has shape"),
    "an error": (lambda q, *_: q[100], "IndexError at"),
    "its own error": (raises(RudeError()), "RudeError"),
    "exit": (raises(SystemExit(0)), "ended the program"),
    "recursion": (recursive, "RecursionError"),
    "too few parameters": (lambda: None, "TypeError"),
    "a stub": (raises(NotImplementedError()), "Replace the line"),
}


@pytest.mark.parametrize("exercise_name", ["attention", "causal"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_answers_end_in_a_sentence(exercise_name, odd):
    function, said = ODD[odd]
    result = judged(exercise_name, function, seconds=5)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis
    assert "<div" in result.card().html()


@pytest.mark.parametrize("exercise_name", ["attention", "causal"])
@pytest.mark.parametrize("function", [endless, endless_and_catching])
def test_endless_loops_are_ended(exercise_name, function):
    result = judged(exercise_name, function, seconds=0.3)
    assert "did not finish" in result.diagnosis
    assert "restart the kernel" not in result.diagnosis  # it was stopped


@pytest.mark.parametrize("exercise_name", ["attention", "causal"])
def test_nan_and_infinity_are_named(exercise_name):
    arguments = {"attention": 2, "causal": 0}[exercise_name]
    for bad in (math.nan, math.inf):
        result = judged(exercise_name, lambda *a, bad=bad: a[arguments].clone().fill_(bad))
        assert not result.passed
    assert not judged("attention", lambda q, k, v: v * math.nan).passed


def test_nan_in_one_place_is_counted():
    def function(query, key, value):
        result = solutions.attention(query, key, value)
        result[..., 0, 0] = math.nan
        return result

    assert "1 of the 10 numbers are NaN" in judged("attention", function).diagnosis


def test_prints_are_shown_and_not_leaked(capsys):
    def function(query, key, value):
        for line in range(100):
            print("<b>line</b>", line)
        return solutions.attention(query, key, value)

    result = judged("attention", function)
    assert result.passed
    assert result.printed.startswith("<b>line</b> 0")
    assert len(result.printed.splitlines()) <= 9
    assert "&lt;b&gt;line" in result.card().html()
    assert "<b>line" not in result.card().html()
    assert capsys.readouterr() == ("", "")


def test_random_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    exercise_ = exercise("attention", presets("01", seed=3))(lambda *a: torch.rand(5, 2))
    check(exercise_)
    assert torch.equal(torch.rand(4), expected)


def test_an_unnamed_mistake_is_located():
    def function(query, key, value):
        result = solutions.attention(query, key, value)
        result[..., 1, 0] += 0.1
        return result

    assert "largest difference is at [1, 0]" in judged("attention", function).diagnosis

"""The checks of lesson 01 accept right answers, however written, and name mistakes."""

import math

import pytest
import torch
import torch.nn.functional as F

from tests.lessons.answers import checks_of
from transformer_lab.lessons import check, exercise, presets
from transformer_lab.lessons.solutions import lesson_01 as solutions


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


@pytest.mark.needs("gpu")
def test_right_attention_on_a_gpu_is_accepted(judged):
    assert judged("01/attention", lambda *qkv: solutions.attention(*(t.cuda() for t in qkv)))


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


RIGHT = {
    "attention": (
        F.scaled_dot_product_attention,
        with_loops,
        with_einsum,
        in_bf16,
        in_bf16_given_back_in_fp32,
        in_fp16,
        in_fp64,
        with_gradient,
    ),
    "causal": (
        causal_with_where,
        causal_with_addition,
        causal_with_loops,
        lambda scores: solutions.causal(scores.bfloat16()),
    ),
}
WRONG = {
    "attention": {
        ".T with a batch": (
            lambda q, k, v: torch.softmax(q @ k.T / q.shape[-1] ** 0.5, -1) @ v,
            "transpose(-2, -1)",
        ),
        "in bf16 and unscaled": (
            lambda q, k, v: torch.softmax(q.bfloat16() @ k.bfloat16().mT, -1) @ v.bfloat16(),
            "not scaled",
        ),
    },
    "causal": {
        "inverted with −10⁹": (
            lambda s: s.masked_fill(torch.ones_like(s).tril(-1).bool(), -1e9),
            "inverted",
        ),
        "zeros for the future": (
            lambda s: (low := s.tril()).masked_fill(low == 0, -math.inf),
            "A real score may be 0",
        ),
        "in place": (
            lambda s: s.masked_fill_(torch.ones_like(s).triu(1).bool(), -math.inf),
            "changes the tensor passed to it",
        ),
        "0 times ∞": (lambda s: s + torch.ones_like(s).triu(1) * -math.inf, "NaN"),
    },
}


test_right, test_odd, test_wrong = checks_of("01", RIGHT, WRONG)


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
    """A tensor whose every operation returns True."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return True


def endless_and_catching(*_):
    while True:
        try:
            while True:
                pass
        except Exception:
            pass


ODD = {
    "an object equal to all": (lambda *_: AlwaysEqual(), "did not return a torch tensor"),
    "a tensor equal to all": (
        lambda q, *_: q.as_subclass(AgreeableTensor),
        "did not return a torch tensor",
    ),
    "truths": (lambda q, *_: q > 0, "torch.bool"),
    "no numbers": (lambda q, *_: q.to("meta"), "cannot be read"),
    "wrong shape": (lambda q, *_: q[..., :1, :], "has shape"),
    "an error": (lambda q, *_: q[100], "IndexError at"),
}


@pytest.mark.parametrize("exercise_name", ["attention", "causal"])
@pytest.mark.parametrize("odd", ODD)
def test_odder_answers_end_in_a_sentence(exercise_name, odd, judged):
    function, said = ODD[odd]
    result = judged(f"01/{exercise_name}", function, seconds=5)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis
    assert "<div" in result.card().html()


def test_an_endless_loop_that_catches_is_ended(judged):
    result = judged("01/attention", endless_and_catching, seconds=0.3)
    assert "did not finish" in result.diagnosis
    assert "restart the kernel" not in result.diagnosis  # the loop was stopped


@pytest.mark.parametrize("exercise_name", ["attention", "causal"])
def test_nan_and_infinity_are_named(exercise_name, judged):
    arguments = {"attention": 2, "causal": 0}[exercise_name]
    for bad in (math.nan, math.inf):
        result = judged(f"01/{exercise_name}", lambda *a, bad=bad: a[arguments].clone().fill_(bad))
        assert not result.passed
    assert not judged("01/attention", lambda q, k, v: v * math.nan).passed


def test_nan_in_one_place_is_counted(judged):
    def function(query, key, value):
        result = solutions.attention(query, key, value)
        result[..., 0, 0] = math.nan
        return result

    assert "1 of the 10 numbers are NaN" in judged("01/attention", function).diagnosis


def test_prints_are_shown_and_not_leaked(capsys, judged):
    def function(query, key, value):
        for line in range(100):
            print("<b>line</b>", line)
        return solutions.attention(query, key, value)

    result = judged("01/attention", function)
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


def test_an_unnamed_mistake_is_located(judged):
    def function(query, key, value):
        result = solutions.attention(query, key, value)
        result[..., 1, 0] += 0.1
        return result

    assert "largest difference is at [1, 0]" in judged("01/attention", function).diagnosis

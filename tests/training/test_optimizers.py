"""Optimizers: equal to a literal formula number by number, to PyTorch, and pure."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab import plugins
from bpttlab.errors import ConfigurationError
from bpttlab.training.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop

SHAPES = {"W": (3, 3), "b_h": (3,), "U": (1, 3)}
CASES = [
    SGD(),
    SGD(momentum=0.9),
    SGD(momentum=0.9, nesterov=True, weight_decay=0.1),
    SGD(momentum=0.8, dampening=0.3, weight_decay=0.01),
    RMSprop(),
    RMSprop(momentum=0.9, weight_decay=0.1),
    RMSprop(centered=True, alpha=0.9, eps=1e-3),
    RMSprop(centered=True, momentum=0.5),
    Adam(),
    Adam(weight_decay=0.1, amsgrad=True),
    Adam(beta_1=0.5, beta_2=0.9, eps=1e-3),
    AdamW(),
    AdamW(weight_decay=0.3, amsgrad=True),
]


def drawn(rng):
    return {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}


def gradients(count, seed=1):
    rng = np.random.default_rng(seed)
    return [drawn(rng) for _ in range(count)]


def follow(optimizer, params, learning_rate, given):
    state = optimizer.init(params)
    for gradient in given:
        params, state = optimizer.update(params, gradient, state, learning_rate)
    return params, state


def literal(optimizer, theta, learning_rate, given):
    """The published equations for one number, with sums written out over all earlier updates."""
    for u in range(1, len(given) + 1):
        theta = literal_step(optimizer, theta, learning_rate, given, u)
    return theta


def literal_step(optimizer, theta, rate, given, u):
    if isinstance(optimizer, SGD):  # without decay a sum over all gradients
        powers = [optimizer.momentum ** (u - s) for s in range(1, u + 1)]
        fresh = [1.0] + [1.0 - optimizer.dampening] * (u - 1)
        total = sum(p * f * g for p, f, g in zip(powers, fresh, given, strict=False))
        return theta - rate * (given[u - 1] + optimizer.momentum * total if optimizer.nesterov else total)
    if isinstance(optimizer, RMSprop):
        a = optimizer.alpha
        square = (1 - a) * sum(a ** (u - s) * given[s - 1] ** 2 for s in range(1, u + 1))
        mean = (1 - a) * sum(a ** (u - s) * given[s - 1] for s in range(1, u + 1)) if optimizer.centered else 0.0
        return theta - rate * given[u - 1] / (math.sqrt(square - mean**2) + optimizer.eps)
    b, c = optimizer.beta_1, optimizer.beta_2
    mean = (1 - b) * sum(b ** (u - s) * given[s - 1] for s in range(1, u + 1)) / (1 - b**u)
    square = (1 - c) * sum(c ** (u - s) * given[s - 1] ** 2 for s in range(1, u + 1)) / (1 - c**u)
    shrunk = theta * (1 - rate * optimizer.weight_decay)
    return shrunk - rate * mean / (math.sqrt(square) + optimizer.eps)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(),
        SGD(momentum=0.9),
        SGD(momentum=0.9, nesterov=True),
        SGD(momentum=0.7, dampening=0.4),
        RMSprop(alpha=0.9),
        RMSprop(alpha=0.9, centered=True, eps=1e-3),
        Adam(),
        AdamW(weight_decay=0.2),
    ],
    ids=repr,
)
def test_an_optimizer_is_its_published_equation(optimizer):
    given = [float(g) for g in np.random.default_rng(0).standard_normal(20)]
    got, _ = follow(optimizer, {"w": np.array([0.7])}, 0.05, [{"w": np.array([g])} for g in given])
    assert got["w"][0] == pytest.approx(literal(optimizer, 0.7, 0.05, given), rel=1e-11)


TORCH_NAMES = {"sgd": "SGD", "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW"}


@pytest.mark.parametrize("optimizer", CASES, ids=repr)
def test_one_hundred_updates_are_those_of_pytorch(optimizer):
    torch = pytest.importorskip("torch")
    fields = dict(vars(optimizer))
    if isinstance(optimizer, Adam | AdamW):
        fields["betas"] = fields.pop("beta_1"), fields.pop("beta_2")
    start, given = drawn(np.random.default_rng(3)), gradients(100)
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    theirs = getattr(torch.optim, TORCH_NAMES[optimizer.name])(tensors.values(), lr=0.01, **fields)
    for gradient in given:
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(gradient[name])
        theirs.step()
    ours, _ = follow(optimizer, start, 0.01, given)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(ours[name], tensor.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("optimizer", CASES, ids=repr)
def test_an_update_changes_nothing_that_it_was_given(optimizer):
    params, (first, second) = drawn(np.random.default_rng(5)), gradients(2)
    params, state = optimizer.update(params, first, optimizer.init(params), 0.1)
    kept = copy.deepcopy((params, second, state))
    once = optimizer.update(params, second, state, 0.1)
    again = optimizer.update(params, second, state, 0.1)
    for before, after in ((kept[0], params), (kept[1], second)):
        assert all((before[name] == after[name]).all() for name in SHAPES)
    for slot, arrays in kept[2].slots.items():
        assert all((arrays[name] == state.slots[slot][name]).all() for name in SHAPES)
    assert all((once[0][name] == again[0][name]).all() for name in SHAPES)


@pytest.mark.parametrize("optimizer", [one for one in CASES if one.elementwise], ids=repr)
def test_one_vector_gives_the_bytes_of_single_arrays(optimizer):
    params, given = drawn(np.random.default_rng(5)), gradients(5)
    vector = lambda named: {"all": np.concatenate([named[name].ravel() for name in SHAPES])}  # noqa: E731
    apart, _ = follow(optimizer, params, 0.1, given)
    together, _ = follow(optimizer, vector(params), 0.1, [vector(one) for one in given])
    assert (vector(apart)["all"] == together["all"]).all()


@pytest.mark.parametrize("optimizer", CASES, ids=repr)
def test_numbers_keep_their_precision(optimizer):
    params = {name: value.astype(np.float32) for name, value in drawn(np.random.default_rng(5)).items()}
    given = [{name: value.astype(np.float32) for name, value in one.items()} for one in gradients(3)]
    moved, state = follow(optimizer, params, 0.1, given)
    assert {value.dtype for value in moved.values()} == {np.dtype(np.float32)}
    assert all(value.dtype == np.float32 for arrays in state.slots.values() for value in arrays.values())


@given(momentum=st.floats(0.0, 0.99), seed=st.integers(0, 99))
def test_nesterov_without_history_is_a_longer_step(momentum, seed):
    params, (gradient,) = drawn(np.random.default_rng(seed)), gradients(1, seed)
    if momentum == 0.0:
        return
    optimizer = SGD(momentum=momentum, nesterov=True)
    moved, _ = optimizer.update(params, gradient, optimizer.init(params), 0.5)
    for name, value in params.items():
        np.testing.assert_allclose(moved[name], value - 0.5 * (1 + momentum) * gradient[name], rtol=1e-12)


def test_optimizers_are_found_by_their_names():
    assert plugins.names("optimizer") == ["adam", "adamw", "rmsprop", "sgd"]
    assert all(issubclass(plugins.find("optimizer", name), Optimizer) for name in plugins.names("optimizer"))
    with pytest.raises(ConfigurationError, match="Did you mean 'adamw'"):
        plugins.find("optimizer", "adanw")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SGD(momentum=1.0), "optimizer.momentum=1.0: must be a number >= 0 and < 1"),
        (lambda: SGD(nesterov=True), "optimizer.nesterov=True: needs a momentum > 0"),
        (lambda: Adam(beta_2=-0.1), "optimizer.beta_2=-0.1"),
        (lambda: RMSprop(eps=float("nan")), "optimizer.eps=nan"),
    ],
)
def test_a_wrong_field_of_an_optimizer_is_named(build, message):
    with pytest.raises(ConfigurationError, match=message):
        build()

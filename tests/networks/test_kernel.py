"""`@lab.kernel`: what it accepts, and the functions that a kernel may call, without Numba."""

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from bpttlab.networks.cells.kernel import has_own_kernel, logistic_with_slope, multiply_add, tanh_with_slope
from tests.support.own_kernels import Gain


def test_a_marked_class_stays_the_class_that_it_was():
    assert has_own_kernel(Gain)
    assert Gain(1, 2, 3).name == "gain"


def test_a_subclass_is_not_marked():
    class More(Gain):
        pass

    assert not has_own_kernel(More)


def fill(*arguments):
    """A function of a kernel that has no fixed arguments."""


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({}, "Some lacks @staticmethod def step_kernel"),
        ({"step_kernel": fill}, "Some.step_kernel must be a static method"),
        ({"step_kernel": staticmethod(fill)}, "Some.step_kernel must have the arguments of"),
        ({"step_kernel": staticmethod(lambda a, b, c, d, e, f: None)}, "Some lacks @staticmethod def vjp_kernel"),
    ],
)
def test_a_kernel_that_is_not_whole_is_refused(functions, message):
    with pytest.raises(ConfigurationError, match=message):
        lab.kernel(type("Some", (lab.Cell,), functions))


@pytest.mark.parametrize("kind", [3, int, fill])
def test_only_a_cell_has_a_kernel(kind):
    with pytest.raises(ConfigurationError, match="must be a class of the contract Cell"):
        lab.kernel(kind)


def test_multiply_add_refuses_what_would_be_read_out_of_range():
    left, right, out = np.ones((2, 3)), np.ones((3, 4)), np.zeros((2, 4))
    multiply_add(left, right, out)
    assert (out == 3.0).all()
    for arguments in ((left, right[:2], out), (left, right, out[:1]), (left, right, out[:, :3])):
        with pytest.raises(ValueError, match="do not match"):
            multiply_add(*arguments)
    with pytest.raises(ValueError, match="must be contiguous"):
        multiply_add(left, np.ones((4, 3)).T, out)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_functions_of_numbers_keep_their_precision(dtype):
    for function, expected in ((tanh_with_slope, np.tanh(0.5)), (logistic_with_slope, 1 / (1 + np.exp(-0.5)))):
        value, slope = function(dtype(0.5))
        assert type(value) is type(slope) is dtype
        assert value == pytest.approx(expected, rel=1e-6)
        assert slope == pytest.approx(1 - value**2 if function is tanh_with_slope else value * (1 - value), rel=1e-5)

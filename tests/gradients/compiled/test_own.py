"""Kernels of cells of a user's own: loops like any other, compared with their class before they are used."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.compiled import compilation, forms, own
from bpttlab.gradients.forward import forward
from bpttlab.gradients.plan import Plan
from bpttlab.measures.jacobian_products import jacobian_products
from bpttlab.measures.lag_terms import measure_lags
from bpttlab.networks.cells import Stacked
from bpttlab.networks.cells.kernel import kernel, multiply_add
from bpttlab.numerics.scaled import Scaled
from bpttlab.sweeps import cost_estimate
from bpttlab.truncation.segmented import PerLoss
from bpttlab.verification.gradient_check import agreement, assert_agree
from tests.support.compiled import INTERPRETED, needs_numba, network
from tests.support.examples import examples
from tests.support.own_kernels import Gain

pytestmark = needs_numba

MAKES = {
    "alone": Gain,
    "stacked": lambda *sizes: Stacked(*sizes, layers=2, of=Gain(1, 1, 1, gain=0.9)),
}


def like_gain(**functions):
    """A cell like `Gain`, marked, with other functions."""
    changed = {name: staticmethod(one) if name.endswith("_kernel") else one for name, one in functions.items()}
    return kernel(dataclass(frozen=True)(type("Other", (Gain,), {"name": "other", "__annotations__": {}, **changed})))


# ------------------------------------------------------------------ what the loops compute


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_interpreted_loops_are_the_methods_of_the_class(make, dtype):
    cell, params, x, h_0 = network(make, gain=0.7, dtype=dtype)
    trace = forward(cell, params, x, h_0)
    h, _, slopes, fine = INTERPRETED.dispatch.run_forward(cell, params, trace.x, trace.h[0])
    assert fine
    assert_agree({"h": h, "slopes": slopes}, {"h": trace.h, "slopes": trace.linearization})
    rows = np.random.default_rng(2).standard_normal((4, 2, *h_0.shape)).astype(dtype)
    exponents = np.zeros((*rows.shape[:-1], 1), np.int64)
    da, dh, exponents = INTERPRETED.dispatch.scaled_vjp(cell, params, slopes[:2], rows, exponents)
    expected = cell.vjp(params, slopes[:2], rows)
    assert_agree({"da": da, "dh": Scaled(dh, exponents).value()}, {"da": expected[0], "dh": expected[1]})
    error = trace.error(np.ones_like(trace.y_hat))
    found = INTERPRETED.dispatch.run_errors_back(cell, params, slopes, error)
    expected = trace.walk(error, Plan(np.array([[0, trace.length, 0]]), np.ones(trace.length)))
    assert_agree({"da": found[0], "h_0": found[1]}, {"da": expected.da, "h_0": expected.dropped[0]})


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
@examples(20)
@given(st.integers(0, 2**16), st.integers(1, 9), st.integers(1, 3), st.sampled_from([1, 2, 5, 9, 40]), st.booleans())
def test_compiled_loops_are_the_methods_of_the_class(make, seed, T, B, N, dead):
    for dtype in ("float64", "float32"):
        cell, params, x, h_0 = network(make, seed, T, B, N, 0.7, dtype, dead)
        fast = forward(cell, params, x, h_0, engine="numba")
        assert fast.engine.name == "numba"
        slow = fast.with_engine("numpy")
        errors = np.random.default_rng(seed).standard_normal(fast.y_hat.shape).astype(dtype)
        for scheme in (None, PerLoss(2)):
            assert_agree(backward(fast, errors, scheme), backward(slow, errors, scheme), 3 * agreement(fast.h.dtype))
        for one, other in zip(
            (jacobian_products(fast), measure_lags(fast, errors, "all", 4).lag_terms),
            (jacobian_products(slow), measure_lags(slow, errors, "all", 4).lag_terms),
            strict=True,
        ):
            for name in other:
                if name.startswith("log_"):
                    np.testing.assert_allclose(one[name], other[name], rtol=0.0, atol=1e4 * agreement(fast.h.dtype))


# ------------------------------------------------------------------ what is wrong with a kernel


def forget_slope(cell, params, z_t, h_prev, h_t, linearization_t):
    Gain.step_kernel(cell, params, z_t, h_prev, h_t, np.empty_like(linearization_t))


def take_another_gain(cell, params, z_t, h_prev, h_t, linearization_t):
    Gain.step_kernel(cell._replace(gain=1.0), params, z_t, h_prev, h_t, linearization_t)


def write_too_far(cell, params, linearization_t, dh_t, da_t, dh_prev):
    dh_prev[0, cell.hidden_size] = 0.0


def write_too_far_when_large(cell, params, linearization_t, dh_t, da_t, dh_prev):
    Gain.vjp_kernel(cell, params, linearization_t, dh_t, da_t, dh_prev)
    if cell.hidden_size > 4:
        dh_prev[0, cell.hidden_size] = 0.0


def change_the_state(cell, params, z_t, h_prev, h_t, linearization_t):
    Gain.step_kernel(cell, params, z_t, h_prev, h_t, linearization_t)
    h_prev[0, 0] = 0.0


def change_a_parameter(cell, params, z_t, h_prev, h_t, linearization_t):
    Gain.step_kernel(cell, params, z_t, h_prev, h_t, linearization_t)
    params.b_h[0] += 1.0


def change_the_linearization(cell, params, linearization_t, dh_t, da_t, dh_prev):
    Gain.vjp_kernel(cell, params, linearization_t, dh_t, da_t, dh_prev)
    linearization_t[0, 0] = 2.0


def multiply_in_other_precision(cell, params, z_t, h_prev, h_t, linearization_t):
    multiply_add(h_prev, params.W_T, np.zeros(h_t.shape, np.float32))


def ask_for_no_parameter(cell, params, z_t, h_prev, h_t, linearization_t):
    h_t[:] = h_prev @ params.WT


def forget_product(cell, params, linearization_t, dh_t, da_t, dh_prev):
    Gain.vjp_kernel(cell, params, linearization_t, dh_t, da_t, dh_prev)
    dh_prev[:] = 0.0


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"step_kernel": forget_slope}, "cell=other: step_kernel must fill linearization_t of linearize: it is not"),
        ({"step_kernel": take_another_gain}, "step_kernel must fill h_t of step: it differs by 0"),
        (
            {"vjp_kernel": write_too_far},
            r"vjp_kernel \(test_own.py, line \d+\): IndexError: index 3 is out of .*hidden_size=3",
        ),
        ({"vjp_kernel": write_too_far_when_large}, "IndexError: index 6 is out of .*hidden_size=6"),
        ({"step_kernel": change_the_state}, "read-only: a kernel changes nothing but z_t and what it fills"),
        ({"step_kernel": change_a_parameter}, "read-only: a kernel changes nothing but z_t and what it fills"),
        ({"vjp_kernel": change_the_linearization}, "read-only: a kernel changes nothing but z_t and what it fills"),
        ({"step_kernel": multiply_in_other_precision}, "must have one dtype, not float64, float64 and float32"),
        ({"step_kernel": ask_for_no_parameter}, "no attribute 'WT': it has V, W, b_h, V_T, W_T"),
        ({"vjp_kernel": forget_product}, "vjp_kernel must fill dh_prev of vjp: it differs by 1 of its largest entry"),
        (
            {"step_kernel": lambda a, b, c, d, e, f: [][0]},
            r"step_kernel \(test_own.py, line \d+\): IndexError: list index",
        ),
    ],
)
def test_a_kernel_that_is_not_its_class_is_one_line(functions, message):
    cell = like_gain(**functions)(2, 6, 1)
    with pytest.raises(ConfigurationError, match=message) as error:
        forward(cell, cell.init(0), np.zeros((3, 1, 2)), engine="numba")
    assert "\n" not in str(error.value) and str(error.value).endswith("; engine=numpy needs no kernel")
    forward(cell, cell.init(0), np.zeros((3, 1, 2)))


def read_a_file(cell, params, z_t, h_prev, h_t, linearization_t):
    with open("/dev/null"):
        Gain.step_kernel(cell, params, z_t, h_prev, h_t, linearization_t)


def test_what_numba_does_not_compile_is_one_line():
    cell = like_gain(step_kernel=read_a_file)(2, 6, 1)
    with pytest.raises(
        ConfigurationError, match=r"step_kernel \(test_own.py, line \d+\): Numba does not compile it: \w+"
    ) as error:
        forms.has_kernel(cell, "float64")
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


class TestSizes:
    def test_a_kernel_is_compared_once_for_all_sizes(self, monkeypatch):
        compared = []
        monkeypatch.setattr(own, "compare_compiled", lambda cell, dtype: compared.append((cell, dtype)))
        monkeypatch.setattr(own, "compare_interpreted", lambda cell, dtype: None)
        for size in (4, 400):
            assert forms.has_kernel(Gain(2, size, 1), "float64")
        assert set(compared) == {(Gain(2, 3, 1), "float64")}

    def test_a_size_that_the_class_refuses_is_not_taken(self):
        @dataclass(frozen=True)
        class Even(Gain):
            name: ClassVar[str] = "even"

            def __post_init__(self):
                super().__post_init__()
                if self.hidden_size % 2:
                    raise ConfigurationError("cell.hidden_size: must be even")

        assert own.make_small(Even(7, 10, 3)) == Even(7, 4, 3)


# ------------------------------------------------------------------ nothing of it is on disk


def test_no_index_on_disk_names_a_class_of_a_user():
    from numba import typeof

    for make, kept in ((Gain, False), (MAKES["stacked"], False), (Stacked, True)):
        kind = forms.find_form(make(2, 3, 1)).kind
        assert compilation.is_kept((typeof(np.zeros(2)), typeof(kind))) == kept


def test_a_dry_run_measures_kernels_with_numpy():
    assert cost_estimate.find_own_names(([Gain(2, 3, 1), Stacked(2, 3, 1)], ["float64"])) == ["gain"]

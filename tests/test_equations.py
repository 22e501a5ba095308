"""The equations of the notes, one by one, and that the page about them shows the code as it is."""

import re
from pathlib import Path

import numpy as np
import pytest

from bpttlab.gradients.backward import backward
from tests.support.networks import case

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = {
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0.0),
    "logistic": lambda a: 1.0 / (1.0 + np.exp(-a)),
    "softplus": lambda a: np.log(1.0 + np.exp(a)),
    "identity": lambda a: a,
}


def shown_code():
    """(file, code) of every block of docs/equations.md; a block without a file of its own belongs to the one before."""
    page = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
    file = None
    for name, code in re.findall(r"^`(bpttlab/\S+\.py)`$|```python\n(.*?)```", page, flags=re.MULTILINE | re.DOTALL):
        file = name or file
        if code:
            yield file, code


@pytest.mark.parametrize(("file", "code"), list(shown_code()))
def test_the_page_shows_the_code_as_it_is(file, code):
    assert code in (ROOT / file).read_text(encoding="utf-8")


def test_the_page_shows_something():
    assert len(list(shown_code())) >= 10


@pytest.mark.parametrize("f_h", sorted(FUNCTIONS))
@pytest.mark.parametrize("f_y", sorted(FUNCTIONS))
def test_forward_is_the_notes(f_h, f_y):
    trace = case(T=5, B=2, N=4, I=3, O=2, activation=f_h, output_activation=f_y).trace
    V, W, U, b_h, b_y = (trace.params[name] for name in ("V", "W", "U", "b_h", "b_y"))
    for b in range(2):
        h = trace.h[0, b]
        for t in range(5):
            h = FUNCTIONS[f_h](V @ trace.x[t, b] + W @ h + b_h)
            np.testing.assert_allclose(trace.h[t + 1, b], h, rtol=1e-13, atol=1e-15)
            np.testing.assert_allclose(trace.y_hat[t, b], FUNCTIONS[f_y](U @ h + b_y), rtol=1e-12, atol=1e-15)


def test_the_readout_gradient_is_a_sum_without_recursion():
    example = case(T=5, output_activation="tanh")
    trace, errors = example.trace, example.loss.gradient
    U, b_y = np.zeros_like(trace.params["U"]), np.zeros_like(trace.params["b_y"])
    for t in range(5):
        for b in range(2):
            slope = errors[t, b] * (1.0 - trace.y_hat[t, b] ** 2)
            U += np.outer(slope, trace.h[t + 1, b])
            b_y += slope
    gradient = backward(trace, errors)
    np.testing.assert_allclose(gradient["U"], U, rtol=1e-12)
    np.testing.assert_allclose(gradient["b_y"], b_y, rtol=1e-12)

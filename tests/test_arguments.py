"""Arguments of the functions of `lab`: one of another type is refused by name, with what is allowed."""

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError

CELL = lab.Elman(2, 4, 1)


@pytest.fixture(scope="module")
def traced():
    rng = np.random.default_rng(0)
    trace = lab.forward(CELL, CELL.init(rng), rng.standard_normal((6, 2, 2)))
    return trace, np.ones((6, 2, 1))


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        (20, "scheme=20: must be a scheme such as lab.Full.., not of type int"),
        ("full", "scheme='full': must be a scheme such as lab.Full.., not a string"),
        (lab.Full, "scheme=Full: must be a scheme such as lab.Full.., not a class"),
    ],
)
@pytest.mark.parametrize("function", [lab.truncation_bias, lab.backward])
def test_what_is_no_scheme(traced, function, scheme, said):
    with pytest.raises(ConfigurationError, match=said):
        function(*traced, scheme)


@pytest.mark.parametrize("lags", [3, "12", None])
def test_what_is_no_list_of_lags(traced, lags):
    with pytest.raises(ConfigurationError, match=r"lags=.*: must be a list of integers from 1 to T = 6"):
        lab.windowed_products(traced[0], lags)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rng": "0"}, "rng='0': must be a generator, such as numpy.random.default_rng.0., or a seed"),
        ({"rng": -1}, "rng=-1: must be a generator"),
        ({"rng": True}, "rng=True: must be a generator"),
        ({"rng": None}, "rng=None: must be a generator"),
        ({"initializer": "orthogonl"}, "initializer='orthogonl': must be an initializer .*, not a string"),
        ({"initializer": lab.Orthogonal}, "initializer=.*: must be an initializer such as lab.Orthogonal..$"),
        ({"scales": 0.1}, "scales=0.1: must be scales"),
        ({"dtype": "float16"}, "dtype='float16': must be float64 or float32"),
    ],
)
def test_arguments_of_init(given, said):
    with pytest.raises(ConfigurationError, match=said):
        CELL.init(**{"rng": np.random.default_rng(0), **given})

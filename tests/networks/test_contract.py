"""The contract of a cell: what it has to say, and the defaults that are derived from that."""

import inspect
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.forward import forward
from bpttlab.measures.gradient_bias import truncation_bias
from bpttlab.measures.lyapunov import lyapunov_spectrum
from bpttlab.measures.relevant_gradient import input_gradient_norms
from bpttlab.networks.cells import Elman, Noisy, Stacked
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.networks.initializers import GaussianRadius, NoInitializer
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import run
from bpttlab.truncation.averaged import ChunkedMean, Random
from bpttlab.truncation.forward import RTRL, UORO, SnAp
from bpttlab.truncation.segmented import Chunked, Full, PerLoss, Windowed
from bpttlab.verification.gradient_check import assert_agree, terms_that_scheme_keeps
from tests.support.contract import Momentum, Plain
from tests.support.networks_of_cells import case

HAS_TO_SAY = {"shapes", "step", "linearize", "vjp", "parameter_vjp"}


def elman_of(cell):
    return Elman(cell.input_size, cell.hidden_size, cell.output_size)


def test_a_cell_has_five_methods_to_say():
    assert Cell.__abstractmethods__ == HAS_TO_SAY
    own = {name for name, member in vars(Plain).items() if inspect.isfunction(member) and not name.startswith("_")}
    assert own == HAS_TO_SAY


class Says(Plain):
    """A state of two parts of different sizes, said in one of three ways."""

    def __init_subclass__(cls) -> None:
        cls.name = "says"


class SaysSizes(Says):
    state_parts = property(lambda cell: {"h": 4, "c": 3})


class SaysSlices(Says):
    state_size = property(lambda cell: 7)
    parts = property(lambda cell: {"h": slice(0, 4), "c": slice(4, 7)})


class SaysLength(Says):
    state_size = property(lambda cell: 7)


@pytest.mark.parametrize(("kind", "sizes"), [(SaysSizes, (4, 3)), (SaysSlices, (4, 3)), (SaysLength, (7,))])
def test_sizes_and_slices_of_the_state_follow_from_each_other(kind, sizes):
    names, starts = ("h", "c")[: len(sizes)], (0, sizes[0])
    cell = kind(2, 4, 1)
    stack, noisy = (made(2, 4, 1, of=cell) for made in (Stacked, Noisy))
    for one in (cell, noisy):
        assert one.state_parts == dict(zip(names, sizes, strict=True)) and one.state_size == 7
        slices = (slice(start, start + size) for start, size in zip(starts, sizes, strict=False))
        assert one.parts == dict(zip(names, slices, strict=True))
    assert stack.state_parts == {f"{name}_{layer}": size for layer in (1, 2) for name, size in cell.state_parts.items()}
    assert stack.state_size == 14 and list(stack.parts.values())[-1].stop == 14


def test_default_draws_have_the_bytes_of_the_shipped_cell():
    plain, scales = Plain(2, 5, 3), Scales(V=0.5, b=0.3, U=2.0)
    one, other = (
        cell.init(np.random.default_rng(7), GaussianRadius(1.2), scales=scales) for cell in (plain, elman_of(plain))
    )
    assert {name: values.tobytes() for name, values in one.items()} == {
        name: values.tobytes() for name, values in other.items()
    }


def test_default_sizes_and_names_are_those_of_the_shipped_cell():
    plain = Plain(2, 5, 3)
    for quantity in ("recurrent_parameters", "state_size", "preactivation_size", "linearization_size", "parts"):
        assert getattr(plain, quantity) == getattr(elman_of(plain), quantity), quantity
    assert plain.parameter_shapes() == elman_of(plain).parameter_shapes()
    assert plain.takes_initializer and plain.lipschitz is None


def test_a_longer_state_has_its_sizes_from_one_step():
    cell = Momentum(2, 5, 3)
    assert (cell.state_size, cell.preactivation_size, cell.linearization_size) == (10, 10, 10)
    assert cell.readout_slice == slice(0, 5) and cell.units.tolist() == [0, 1, 2, 3, 4] * 2


def test_stacked_blocks_are_each_drawn_by_the_initializer():
    cell = Momentum(2, 6, 1)
    blocks = cell.recurrent_blocks(cell.init(np.random.default_rng(0), spectral_radius=0.7))
    assert list(blocks) == ["W_1", "W_2"]
    assert not np.array_equal(blocks["W_1"], blocks["W_2"])
    for block in blocks.values():
        assert np.abs(np.linalg.eigvals(block)).max() == pytest.approx(0.7, rel=1e-12)


def test_a_square_input_matrix_is_no_recurrent_block():
    cell = Plain(4, 4, 1)
    params = cell.init(np.random.default_rng(0), spectral_radius=2.0, scales=Scales(V=1e-3))
    assert list(cell.recurrent_blocks(params)) == ["W"] and np.abs(params["V"]).max() < 0.01


def test_default_jacobians_are_those_of_the_shipped_cell():
    trace = case(Plain, T=5, N=4).trace
    for t in range(1, 6):
        J = trace.linearization[t - 1][..., :, None] * trace.params["W"]
        assert_agree({"J": trace.jacobian(t)}, {"J": J}, 1e-15)


@pytest.mark.parametrize("make", [Plain, Momentum])
@pytest.mark.parametrize("scheme", [Full(), PerLoss(3), Windowed(2, 4), Chunked(3), Chunked(4, 1)])
def test_every_plan_agrees_with_the_double_sum(make, scheme):
    example = case(make, T=8)
    one = backward(example.trace, example.loss, scheme)
    assert_agree(one, literal_sum(example.trace, example.loss, terms_that_scheme_keeps(scheme)))


@pytest.mark.parametrize("make", [Plain, Momentum])
@pytest.mark.parametrize("scheme", [RTRL(), SnAp(3), ChunkedMean(20)], ids=lambda scheme: scheme.name)
def test_what_is_exact_of_shipped_cells_is_exact(make, scheme):
    example = case(make, T=8, gain=0.5)
    frame = truncation_bias(example.trace, example.loss, scheme)
    if scheme == ChunkedMean(20):
        assert (frame["log_relative_bias"] < 0.0).all()
    else:
        assert (frame["log_relative_bias"] < np.log(1e-12)).all()


@pytest.mark.parametrize("make", [Plain, Momentum])
@pytest.mark.parametrize("scheme", [Random(3, draws=400), UORO(draws=400)], ids=lambda scheme: scheme.name)
def test_draws_are_unbiased_within_their_scatter(make, scheme):
    example = case(make, T=5, gain=0.3)
    frame = truncation_bias(example.trace, example.loss, scheme, np.random.default_rng(0))
    error = 0.5 * (frame["log_variance"] - np.log(400))
    assert (frame["log_relative_bias"] < error + np.log(4.0)).all()


def test_the_spectrum_is_that_of_the_shipped_cell():
    plain = Plain(2, 6, 1)
    params = plain.init(np.random.default_rng(3), spectral_radius=1.3)
    x = np.random.default_rng(4).standard_normal((40, 2, 2))
    one, other = (lyapunov_spectrum(cell, params, x) for cell in (plain, elman_of(plain)))
    assert one.columns.tolist() == other.columns.tolist() and len(one) == len(other)
    np.testing.assert_allclose(one["lyapunov_exponent"], other["lyapunov_exponent"], rtol=1e-9)


def test_the_input_hears_as_much_as_in_the_shipped_cell():
    example = case(Plain, T=6)
    trace = example.trace
    other = forward(elman_of(trace.cell), trace.params, trace.x, trace.h[0])
    one, two = (input_gradient_norms(each, example.loss, np.array([2, 3])) for each in (trace, other))
    np.testing.assert_allclose(one, two, rtol=1e-12)


@pytest.mark.parametrize("scheme", ["full", "per_loss", "adaptive", "random", "uoro", "snap", "rtrl"])
def test_a_run_measures_it_as_the_shipped_cell(scheme):
    measure = {"exponents": "all", "singular_lags": 3, "eigenvalue_steps": 2, "lag_terms": "log"}
    configuration = Configuration.parse(
        {"cell": {"name": "elman", "hidden_size": 5}, "sequence_length": 10, "batch_size": 2, "scheme": scheme,
         "truncation": 4, "measure": measure, "engine": "numpy"}
    )  # fmt: skip
    elman = configuration.cell
    plain = NamedElman(elman.input_size, elman.hidden_size, elman.output_size)
    one, other = run(replace(configuration, cell=plain)), run(configuration)
    assert one.run["status"] == "done" and one.tables.keys() == other.tables.keys()
    for name, table in other.tables.items():
        for column, values in table.items():
            assert_close(one.tables[name][column], values, column)


@dataclass(frozen=True)
class NamedElman(Plain):
    """The plain cell under the name whose stream the weights of the shipped one come from."""

    name: ClassVar[str] = "elman"


def assert_close(one, other, column):
    """Equal to many digits where both are numbers; a bias that is rounding alone is small in both."""
    one, other = np.asarray(one), np.asarray(other)
    if other.dtype.kind != "f":
        assert np.array_equal(one, other), column
        return
    rounding = (one < -25.0) & (other < -25.0) if column.startswith("log_") else np.zeros(one.shape, bool)
    np.testing.assert_allclose(one[~rounding], other[~rounding], rtol=1e-6, atol=1e-9, err_msg=column)


def test_sizes_below_one_are_refused():
    with pytest.raises(ConfigurationError, match="hidden_size=0"):
        Plain(1, 0, 1)


@dataclass(frozen=True)
class Decay(Plain):
    """h_t = d . h_{t-1} + x_t: nothing that an initializer could draw, and no V."""

    name: ClassVar[str] = "decay"

    def shapes(self):
        return {"d": (self.hidden_size,)}

    def step(self, params: Params, z_t, h_prev):
        return params["d"] * h_prev + z_t

    def linearize(self, params: Params, x, h):
        return np.broadcast_to(params["d"], h[1:].shape)

    def vjp(self, params: Params, linearization_t, dh_t):
        return dh_t, linearization_t * dh_t

    def parameter_vjp(self, local, da):
        return {"d": (da * local.h_prev).reshape(-1, da.shape[-1]).sum(axis=0)}


def test_without_a_matrix_no_initializer_is_taken():
    cell = Decay(3, 3, 1)
    assert not cell.takes_initializer
    cell.check_initializer(NoInitializer())
    with pytest.raises(ConfigurationError, match="the cell 'decay' has no matrix W to draw"):
        cell.init(np.random.default_rng(0), spectral_radius=0.5)


def test_without_a_matrix_the_jacobian_at_zero_is_described():
    cell = Decay(3, 3, 1)
    params = cell.init(np.random.default_rng(0), scales=Scales(b=1.0))
    assert np.array_equal(cell.recurrent_blocks(params)["J_0"], np.diag(params["d"]))


def test_without_v_a_cell_has_to_say_where_its_input_goes():
    cell = Decay(3, 3, 1)
    with pytest.raises(ConfigurationError, match="cell=decay: has no parameter V"):
        cell.input_vjp({"d": np.ones(3)}, np.ones((2, 3)), np.ones((2, 3)))

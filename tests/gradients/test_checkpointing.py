"""Few states kept, the others computed again: the same bytes, in little memory."""

import importlib.util
import re
import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpttlab as lab
from bpttlab.errors import ConfigurationError, DivergedError, GradientRangeError, NonFiniteError
from bpttlab.gradients import checkpointing, parameter_gradients
from bpttlab.gradients.backward import backward
from bpttlab.gradients.checkpointing import CheckpointedTrace, checkpointed_forward, whole_bytes
from bpttlab.gradients.forward import forward
from bpttlab.gradients.plan import Plan, full_plan
from bpttlab.networks.cells import LSTM, Elman
from bpttlab.networks.cells.cell import BLOCK_STEPS
from bpttlab.networks.losses import evaluate
from bpttlab.numerics.scaled import Scaled
from bpttlab.sweeps import run
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.jobs import Job, compute
from bpttlab.sweeps.worker_pool import Limits
from bpttlab.truncation.averaged import Random
from bpttlab.truncation.segmented import PerLoss
from tests.support.compiled import QUICK_CELLS, quick_dtypes
from tests.support.examples import examples
from tests.support.networks_of_cells import CELLS

ENGINES = ("numpy", *(["numba"] if importlib.util.find_spec("numba") else []))
BY_ENGINE = {
    f"{name}, {engine}": (make, engine)
    for engine in ENGINES
    for name, make in CELLS.items()
    if engine == "numpy" or name in QUICK_CELLS
}
OF_EACH_CLASS = [name for name in CELLS if "," not in name or "methods" in name]
IN_BYTES = ("elman", "lstm")
"""The cells whose bytes are counted in tests that are not slow."""


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch, request):
    """Sums of a gradient are divided every 64 steps, so that short sequences have many blocks."""
    if "slow" not in request.keywords or request.node.originalname == "test_random_shapes":
        for module in (parameter_gradients, checkpointing):
            monkeypatch.setattr(module, "SUMMED_STEPS", BLOCK_STEPS)


def network(cell, seed=0, T=150, B=2, gain=0.8, dtype="float64"):
    rng = np.random.default_rng(seed)
    params = {name: rng.standard_normal(shape) / np.sqrt(shape[-1]) for name, shape in cell.parameter_shapes().items()}
    params = {name: (gain * values).astype(dtype) for name, values in params.items()}
    return cell, params, rng.standard_normal((T, B, cell.input_size)), rng.standard_normal((B, cell.state_size))


def assert_same_bytes(one, other):
    assert list(one) == list(other)
    for name, expected in other.items():
        arrays = (one[name], expected)
        if isinstance(expected, Scaled):
            assert np.array_equal(*(array.exponent for array in arrays)), name
            arrays = tuple(array.mantissa for array in arrays)
        assert arrays[0].dtype == arrays[1].dtype
        assert np.array_equal(*arrays), name


def assert_agreement(one, other):
    """The compiled whole of a gradient adds up its steps in another order."""
    tolerance = 1e-12 if next(iter(other.values())).dtype == np.float64 else 2e-4
    for name, expected in other.items():
        assert np.abs(one[name] - expected).max() <= tolerance * np.abs(expected).max(), name


def assert_same_gradients(trace, few, errors, plan=None):
    assert np.array_equal(few.y_hat, trace.y_hat)
    try:
        expected = backward(trace, errors, plan)
    except GradientRangeError as error:
        with pytest.raises(GradientRangeError, match=re.escape(str(error))):
            lab.backward(few, errors, plan)
    else:
        same = assert_agreement if trace.engine.name == "numba" and plan is None else assert_same_bytes
        same(lab.backward(few, errors, plan), expected)
    assert_same_bytes(lab.backward(few, errors, plan, scaled=True), backward(trace, errors, plan, scaled=True))


@pytest.mark.parametrize(("make", "engine"), BY_ENGINE.values(), ids=BY_ENGINE)
def test_every_cell_has_the_bytes_of_a_gradient_with_all_states(make, engine):
    cell, params, x, h_0 = network(make(2, 3, 2))
    errors = np.random.default_rng(1).standard_normal((len(x), 2, 2))
    few = checkpointed_forward(cell, params, x, h_0, engine)
    assert len(few.states) == 3
    assert_same_gradients(forward(cell, params, x, h_0, engine), few, errors)


@pytest.mark.parametrize(
    ("engine", "names"),
    [("numpy", [*CELLS]), *((engine, QUICK_CELLS) for engine in ENGINES[1:]),
     *(pytest.param(engine, [*CELLS], marks=pytest.mark.slow) for engine in ENGINES[1:])],
    ids=["numpy", *["numba", "numba, every cell"] * (len(ENGINES) - 1)],
)  # fmt: skip
@examples(40)
@given(
    st.data(),
    st.integers(0, 2**16),
    st.integers(1, 200),
    st.integers(1, 3),
    st.sampled_from([1, 2, 3, 17]),
    st.sampled_from([0.0, 0.3, 1.0, 3.0]),
    st.integers(1, 3),
    st.booleans(),
)
def test_random_shapes(engine, names, data, seed, T, B, N, gain, blocks, at_the_end):
    make = CELLS[data.draw(st.sampled_from(names))]
    N += N % 2  # the diagonal cell has pairs
    dtype = data.draw(st.sampled_from(quick_dtypes(engine)))
    cell, params, x, h_0 = network(make(1, N, 2), seed, T, B, gain, dtype)
    errors = np.random.default_rng(seed).standard_normal((T, B, 2))
    errors[: T - 1 if at_the_end else 0] = 0.0
    try:
        trace = forward(cell, params, x, h_0, engine)
    except DivergedError as error:
        with pytest.raises(DivergedError, match=re.escape(str(error))):
            checkpointed_forward(cell, params, x, h_0, engine, blocks * BLOCK_STEPS)
    else:
        few = checkpointed_forward(cell, params, x, h_0, engine, blocks * BLOCK_STEPS)
        assert_same_gradients(trace, few, errors)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("gain", [1e-3, 30.0])
def test_gradient_beyond_floats_passes_between_blocks(engine, gain):
    cell, params, x, h_0 = network(Elman(1, 3, 1, "identity"), T=200)
    params["W"] = gain * np.eye(3)
    x[:], h_0[:] = 0.0, 0.0
    errors = np.zeros((200, 2, 1))
    errors[-1] = 1.0
    few = checkpointed_forward(cell, params, x, h_0, engine)
    assert_same_gradients(forward(cell, params, x, h_0, engine), few, errors)
    assert lab.backward(few, errors, scaled=True)["h_0"].log_norm(2) == pytest.approx(
        200 * np.log(gain) + np.log(np.linalg.norm(params["U"]) * np.sqrt(2)), rel=1e-9
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("per", ["sequence", "batch"])
def test_one_segment_with_cuts_goes_back_block_by_block(engine, per):
    cell, params, x, h_0 = network(LSTM(2, 3, 2))
    errors = np.random.default_rng(1).standard_normal((150, 2, 2))
    plan = Random(30, per=per).draw(150, np.random.default_rng(2), 2)
    plan.carry[63], plan.carry[127] = 0.0, 2.0  # between two blocks
    few = checkpointed_forward(cell, params, x, h_0, engine)
    assert_same_gradients(forward(cell, params, x, h_0, engine), few, errors, plan)


def test_a_prefix_is_a_forward_pass_of_that_length():
    cell, params, x, h_0 = network(Elman(2, 3, 2))
    whole = checkpointed_forward(cell, params, x, h_0)
    for T in (1, 64, 65, 149, 150):
        errors = np.random.default_rng(T).standard_normal((T, 2, 2))
        assert_same_gradients(forward(cell, params, x[:T], h_0), whole.prefix(T), errors)


# ------------------------------------------------------------------------------------------ chosen by itself


def test_all_states_are_kept_where_they_fit():
    cell, params, x, h_0 = network(Elman(2, 64, 2), T=1000)
    least = whole_bytes(cell, 1000, 2, "float64") / checkpointing.GIB
    assert isinstance(lab.forward(cell, params, x, h_0), lab.Trace)
    assert isinstance(lab.forward(cell, params, x, h_0, memory_limit=1.001 * least), lab.Trace)
    few = lab.forward(cell, params, x, h_0, memory_limit=0.999 * least)
    assert isinstance(few, CheckpointedTrace) and few.steps == BLOCK_STEPS
    errors = np.ones((1000, 2, 2))
    assert_same_gradients(lab.forward(cell, params, x, h_0), few, errors)


@pytest.mark.parametrize("T", [1000, 10**6, 10**8])
def test_blocks_have_about_the_square_root_of_the_steps(T):
    steps = checkpointing.block_steps(T)
    assert steps % BLOCK_STEPS == 0
    assert abs(steps - np.sqrt(T)) <= BLOCK_STEPS


@pytest.mark.parametrize(
    ("name", "engine", "scaled"),
    [
        *(
            pytest.param(name, "numpy", place % 2 == 0, marks=[] if name in IN_BYTES else [pytest.mark.slow])
            for place, name in enumerate(OF_EACH_CLASS)
        ),
        *((name, engine, True) for name in QUICK_CELLS for engine in ENGINES[1:]),
        *(pytest.param("gru", engine, False, marks=pytest.mark.slow) for engine in ENGINES[1:]),
    ],
)
def test_a_gradient_takes_no_more_than_was_expected(name, engine, scaled):
    cell, params, x, h_0 = network(CELLS[name](2, 16, 2), T=640)
    backward = partial(lab.backward, scaled=scaled)
    few = checkpointed_forward(cell, params, x, h_0, engine)
    for trace in (few, forward(cell, params, x, h_0, engine)):
        backward(trace, np.ones((640, 2, 2)))  # compiles, imports
    whole = peak(lambda: backward(forward(cell, params, x, h_0, engine), np.ones((640, 2, 2))))
    assert whole <= whole_bytes(cell, 640, 2, "float64")
    short = peak(lambda: backward(checkpointed_forward(cell, params, x, h_0, engine), np.ones((640, 2, 2))))
    weights = 12 * sum(values.nbytes for values in params.values())
    assert short <= checkpointing.checkpointed_bytes(cell, 640, 2, "float64") + weights + 50_000


def peak(compute):
    """Bytes that were requested at once."""
    tracemalloc.start()
    try:
        compute()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_million_steps_in_two_gigabytes(engine):
    T, cell = 1_000_000, Elman(8, 64, 8)
    params = cell.init(np.random.default_rng(0), spectral_radius=0.9)

    def gradient():
        x, target = np.random.default_rng(1).standard_normal((2, T, 1, 8))
        trace = lab.forward(cell, params, x, engine=engine, memory_limit=1.8)
        assert isinstance(trace, CheckpointedTrace) and trace.steps == 1024
        loss = evaluate("squared_error", trace.y_hat, target, np.ones(T))
        return lab.backward(trace, loss)

    assert peak(gradient) < 0.7e9


def test_what_needs_every_state_is_refused_by_name():
    cell, params, x, h_0 = network(Elman(2, 3, 2))
    few, errors = checkpointed_forward(cell, params, x, h_0), np.ones((150, 2, 2))
    with pytest.raises(ConfigurationError, match="memory_limit: head needs all states of 150 steps, and one in 64"):
        lab.jacobian_products(few)
    with pytest.raises(ConfigurationError, match="memory_limit: .* needs all states"):
        lab.lag_terms(few, errors)
    with pytest.raises(ConfigurationError, match="scheme=per_loss: needs all states"):
        lab.backward(few, errors, PerLoss(3))
    with pytest.raises(ConfigurationError, match="scheme=a plan: needs all states"):
        lab.backward(few, errors, Plan(np.array([[3, 150, 3]]), np.ones(150)))
    with pytest.raises(ConfigurationError, match=r"must be \(T, B, O\) = \(150, 2, 2\)"):
        lab.backward(few, errors[1:])
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = few.nonsense
    assert lab.backward(few, errors, full_plan(150)).keys() == lab.backward(few, errors).keys()


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf"), True, "2GB"])
def test_a_limit_that_is_none(limit):
    cell, params, x, _ = network(Elman(2, 3, 2))
    with pytest.raises(ConfigurationError, match=f"memory_limit={limit!r}: must be a number of GiB > 0"):
        lab.forward(cell, params, x, memory_limit=limit)


def test_too_little_for_checkpoints_too():
    cell, params, x, _ = network(Elman(2, 3, 2))
    with pytest.raises(ConfigurationError, match=r"memory_limit=1e-06: must be at least 6\S+e-05 .GiB., .* 150"):
        lab.forward(cell, params, x, memory_limit=1e-6)
    with pytest.raises(ConfigurationError, match="steps=10: must be a multiple of 64"):
        checkpointed_forward(cell, params, x, steps=10)


def test_errors_name_the_step_of_the_whole_sequence():
    cell, params, x, _ = network(Elman(1, 2, 1, "identity"), T=2000)
    params["W"] = 2.0 * np.eye(2)
    with pytest.raises(DivergedError) as whole:
        forward(cell, params, x)
    with pytest.raises(DivergedError, match=re.escape(str(whole.value))) as few:
        checkpointed_forward(cell, params, x)
    assert few.value.step == whole.value.step > BLOCK_STEPS
    x[100, 0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="x: not finite at step t = 101"):
        lab.forward(cell, params, x, memory_limit=1.0)


# ------------------------------------------------------------------------------------------ runs


GRADIENT_ALONE = {"jacobians": "none", "lag_terms": "none", "truncations": "none", "bound_lags": 0}
RUN = {"engine": "numpy", "sequence_length": 150, "truncation": "full", "scales": {"b": 0.1}, "measure": GRADIENT_ALONE}


def records(memory_limit, *changes):
    return run.measure([Configuration.parse({**RUN, **change}) for change in changes], memory_limit)


def blocks_of(monkeypatch):
    """How many blocks were walked."""
    walked, count = [], checkpointing.blocks

    def counted(*args, **more):
        for block in count(*args, **more):
            walked.append(block.steps)
            yield block

    monkeypatch.setattr("bpttlab.measures.checkpointed.blocks", counted)
    return walked


@pytest.mark.parametrize(
    "change",
    [
        {},
        pytest.param({"batch_size": 1, "engine": ENGINES[-1]}, marks=pytest.mark.compiles),
        {"task": "adding"},
        {"task": {"name": "delayed_recall"}, "dtype": "float32"},
        pytest.param({"cell": {"name": "lstm", "hidden_size": 4}, "engine": ENGINES[-1]}, marks=pytest.mark.compiles),
        {"measure": {**GRADIENT_ALONE, "log_scale": True, "signed_bias": 5}},
        {"reduction": "sum", "scales": {"h_0": 1.0}},
    ],
)
def test_a_run_has_the_same_numbers_with_few_states(change, monkeypatch):
    (whole,) = records(None, change)
    walked = blocks_of(monkeypatch)
    (few,) = records(1e-4, change)
    assert len(walked) == 3
    assert few.run == whole.run
    assert few.tables.keys() == whole.tables.keys() == {"truncations"}
    for name, column in whole.tables["truncations"].items():
        np.testing.assert_array_equal(few.tables["truncations"][name], column)
        assert few.tables["truncations"][name].dtype == column.dtype


def test_bundle_of_lengths_has_same_numbers_with_few_states():
    lengths = [{"sequence_length": T, "scheme": scheme} for T in (70, 150) for scheme in ("full",)]
    for whole, few in zip(records(None, *lengths), records(1e-4, *lengths), strict=True):
        assert few.run == whole.run


@pytest.mark.parametrize(
    "change",
    [
        {"measure": {**GRADIENT_ALONE, "jacobians": "log"}},
        {"measure": {**GRADIENT_ALONE, "lag_terms": "log"}},
        {"measure": {**GRADIENT_ALONE, "sensitivity_steps": 3}},
        {"truncation": 10},
        {"scheme": "rtrl"},
    ],
)
def test_a_run_that_needs_every_state_keeps_them(change, monkeypatch):
    walked = blocks_of(monkeypatch)
    (found,) = records(1e-4, change)
    assert found.run["status"] == "done" and not walked


def test_memory_limit_makes_a_worker_keep_few_states(monkeypatch):
    walked, bundle = blocks_of(monkeypatch), (Configuration.parse(RUN),)
    few, *_ = compute(None, Limits(memory=1e-3), Job((bundle,)))
    assert len(walked) == 3
    whole, *_ = compute(None, Limits(), Job((bundle,)))
    assert few.runs.equals(whole.runs) and few.column("status") == ["done"]
    assert len(walked) == 3

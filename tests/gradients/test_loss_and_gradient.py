"""The loss and its gradient in one call, by one thread or by several."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpttlab as lab
from bpttlab.errors import ConfigurationError, DivergedError
from bpttlab.gradients import loss_and_gradient as module
from bpttlab.verification.gradient_check import assert_agree
from tests.support.compiled import needs_numba
from tests.support.networks_of_cells import CELLS

ENGINES = ["numpy", pytest.param("numba", marks=needs_numba)]


def network(name, B, T=6, N=4, seed=0):
    rng = np.random.default_rng(seed)
    cell = CELLS[name](2, N, 3)
    return cell, cell.init(0), rng.standard_normal((T, B, 2)), rng.standard_normal((T, B, 3)), rng


@pytest.mark.parametrize("engine", ENGINES)
@given(st.data(), st.integers(1, 7), st.integers(2, 9), st.booleans(), st.sampled_from(["mean", "sum"]))
def test_several_threads_find_the_sum_of_one(engine, data, B, threads, given_state, reduction):
    name = data.draw(st.sampled_from([*CELLS] if engine == "numpy" else ["elman"]))
    cell, params, x, target, rng = network(name, B)
    h_0 = rng.standard_normal((B, cell.state_size)) if given_state else None
    settings = {"mask": rng.random(6), "reduction": reduction, "h_0": h_0, "engine": engine}
    value, gradient = lab.loss_and_gradient(cell, params, x, target, **settings)
    again, of_threads = lab.loss_and_gradient(cell, params, x, target, **settings, threads=threads)
    assert again == pytest.approx(value, rel=1e-13)
    assert list(of_threads) == list(gradient)
    assert_agree(of_threads, gradient)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_every_loss_and_scheme_is_divided(loss):
    cell, params, x, target, rng = network("gru", 5)
    target = rng.integers(0, 3, (6, 5)) if loss.startswith("softmax") else (target > 0).astype(float)
    for scheme in (lab.PerLoss(2), lab.Chunked(3)):
        one, several = (
            lab.loss_and_gradient(cell, params, x, target, loss=loss, scheme=scheme, threads=threads)
            for threads in (1, 3)
        )
        assert several[0] == pytest.approx(one[0], rel=1e-13)
        assert_agree(several[1], one[1])


@pytest.mark.parametrize(("B", "threads", "expected"), [(1, 4, [1]), (5, 2, [2, 3]), (7, 3, [2, 2, 3]), (2, 9, [1, 1])])
def test_sequences_are_divided_about_equally(monkeypatch, B, threads, expected):
    sizes, names, whole = [], set(), module.of_sequences

    def watched(setting, data):
        sizes.append(data.x.shape[1])
        names.add(threading.current_thread().name)
        return whole(setting, data)

    monkeypatch.setattr(module, "of_sequences", watched)
    cell, params, x, target, _ = network("elman", B)
    lab.loss_and_gradient(cell, params, x, target, threads=threads)
    assert sorted(sizes) == expected
    assert (threading.main_thread().name in names) == (len(expected) == 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_bytes_depend_on_the_number_of_threads_alone(engine):
    cell, params, x, target, _ = network("elman", 6, N=9)
    found = [lab.loss_and_gradient(cell, params, x, target, engine=engine, threads=3) for _ in range(5)]
    assert len({value for value, _ in found}) == 1
    assert all(len({one[name].tobytes() for _, one in found}) == 1 for name in found[0][1])


def test_an_error_names_the_sequence_among_all():
    cell = lab.Elman(2, 4, 3, activation="identity")
    params, (_, _, x, target, _) = cell.init(0), network("elman", 6)
    x[2, 5] = 1e308
    params["V"] = params["V"] * 1e10
    said = []
    for threads in (1, 3):
        with pytest.raises(DivergedError) as caught:
            lab.loss_and_gradient(cell, params, x, target, threads=threads)
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("threads", [0, -1, 1.5, "two", None, True])
def test_a_number_of_threads_is_a_positive_integer(threads):
    cell, params, x, target, _ = network("elman", 2)
    with pytest.raises(ConfigurationError, match=r"^threads=.*: must be an integer >= 1"):
        lab.loss_and_gradient(cell, params, x, target, threads=threads)

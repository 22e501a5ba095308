"""Updates by window: the gradients of a scheme at fixed weights, and a loop written out where weights change."""

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from bpttlab.training import SGD
from bpttlab.training.windows import find_windows
from tests.support.training import restore_at

NOISE = lab.tasks.Noise(sequence_length=11)
SCHEMES = [
    lab.Chunked(4),
    lab.Chunked(4, offset=3),
    lab.Windowed(k1=2, truncation=5),
    lab.Windowed(3, 3),
    lab.Chunked(20),
]


def network(task=NOISE, kind=lab.GRU):
    cell = kind(task.input_size, 5, task.output_size)
    return cell, cell.init(1), task


def train(cell, params, task, scheme, **fields):
    given = {"optimizer": SGD(), "learning_rate": 0.1, "batch_size": 3, "engine": "numpy", "progress": False}
    return lab.train(cell, params, task, scheme=scheme, update="window", **{**given, **fields})


@pytest.mark.parametrize("task", [NOISE, lab.tasks.Adding(sequence_length=11)], ids=lambda task: task.name)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_at_fixed_weights_windows_add_up_to_the_scheme(scheme, reduction, task):
    cell, params, task = network(task)
    rate, setup = 1e-9, train(cell, params, task, scheme, updates=1, reduction=reduction).setup
    count = len(setup.windows)
    trained = train(cell, params, task, scheme, updates=count, learning_rate=rate, reduction=reduction)
    batch = setup.batch(1)
    trace = lab.forward(cell, params, batch.x)
    loss = task.loss(trace.y_hat, batch, reduction)
    expected = lab.backward(trace, loss, scheme)
    assert trained.history["loss"].sum() == pytest.approx(loss.value, rel=1e-6)
    for name in params:
        np.testing.assert_allclose((params[name] - trained.params[name]) / rate, expected[name], rtol=1e-4, atol=1e-5)


def written_out(cell, params, task, K, rate, updates):
    """Chunks of K steps: forward, backward, step, with the state carried on."""
    done, number = 0, 0
    while done < updates:
        number += 1
        batch = task.sample(lab.training.data.stream("training data", 0, task.name, number), 3)
        h = np.zeros((3, cell.state_size))
        for start in range(0, task.sequence_length, K):
            if done == updates:
                break
            steps = slice(start, start + K)
            trace = lab.forward(cell, params, batch.x[steps], h)
            slope = 2 * (trace.y_hat - batch.target[steps]) / (3 * task.sequence_length)
            gradient = lab.backward(trace, slope)
            params = {name: value - rate * gradient[name] for name, value in params.items()}
            h, done = trace.h[-1], done + 1
    return params


def test_chunks_are_the_loop_written_out():
    cell, params, task = network()
    trained = train(cell, params, task, lab.Chunked(4), updates=8)
    for name, value in written_out(cell, params, task, 4, 0.1, 8).items():
        np.testing.assert_allclose(trained.params[name], value, rtol=1e-10, atol=1e-13)


def test_windows_without_a_loss_have_no_update():
    mask = np.zeros(11)
    mask[[5, 10]] = 1.0
    found = find_windows(lab.Chunked(2), mask)
    assert [(window.start, window.stop) for window in found] == [(4, 6), (10, 11)]
    assert [window.carried_from for window in found] == [0, 6]
    assert [window.carry for window in found] == [6, None]


def test_a_window_that_begins_early_has_its_own_losses_alone():
    found = find_windows(lab.Windowed(k1=2, truncation=5), np.ones(6))
    assert [(one.start, one.loss_from, one.stop) for one in found] == [(0, 0, 2), (0, 2, 4), (1, 4, 6)]
    assert [one.carry for one in found] == [0, 1, None]
    assert [one.carried_from for one in found] == [0, 0, 1]


def test_a_run_by_windows_goes_on_with_the_same_bytes():
    cell, params, task = network(kind=lab.LSTM)
    whole = train(cell, params, task, lab.Windowed(k1=2, truncation=5), updates=9)
    again = restore_at(whole, cell, params, update=4)
    assert again.state.carried is not None
    list(lab.training.iterate_updates(whole.setup, again))
    assert (again.state.vector == whole.state.vector).all()


@pytest.mark.parametrize("scheme", [None, lab.PerLoss(3)], ids=repr)
def test_a_scheme_without_windows_is_refused(scheme):
    with pytest.raises(ConfigurationError, match=r"training.update=window: scheme '\w+' has no windows"):
        train(*network(), scheme, updates=1)


def test_a_penalty_is_refused_beside_windows():
    with pytest.raises(ConfigurationError, match="penalty=omega: is of whole sequences"):
        train(*network(kind=lab.Elman), lab.Chunked(4), updates=1, penalty=lab.training.penalties.omega.Omega())


def test_a_sweep_trains_by_windows():
    plain = {"task": "noise", "sequence_length": 8, "cell.hidden_size": 4, "engine": "numpy", "measure": "minimal"}
    plain |= {"training": "standard", "training.updates": 4, "training.check_sequences": 5, "truncation": 4}
    record = lab.run({**plain, "training.update": "window", "scheme": "chunked"})
    assert record.run["status"] == "done"
    with pytest.raises(ConfigurationError, match="has no windows"):
        lab.Configuration.parse({**plain, "training.update": "window"})

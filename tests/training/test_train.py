"""The training loop: against a loop written out, over all schemes, cells and tasks, and where it ends."""

import math
import sys
import warnings

import numpy as np
import pytest

import bpttlab as lab
from bpttlab import plugins
from bpttlab.errors import ConfigurationError, LabWarning
from bpttlab.networks import losses
from bpttlab.training import SGD, Adam, InterruptedTraining, Ongoing, iterate_updates, make_setup
from bpttlab.training.penalties.penalty import Penalty
from bpttlab.training.projections import SingularValueBound
from bpttlab.training.settings import Training
from bpttlab.truncation.segmented import Full

QUIET = {"progress": False, "engine": "numpy"}


def network(kind=lab.Elman, hidden=6, task=None, **fields):
    task = task or lab.tasks.Adding(sequence_length=8)
    cell = kind(task.input_size, hidden, task.output_size, **fields)
    return cell, cell.init(3), task


def written_out(cell, params, task, rate, count, scheme=None):
    """Stochastic gradient descent in five lines."""
    losses_of_updates = []
    for update in range(1, count + 1):
        batch = task.sample(lab.training.data.stream("training data", 0, task.name, update), 4)
        trace = lab.forward(cell, params, batch.x)
        loss = task.loss(trace.y_hat, batch)
        gradient = lab.backward(trace, loss, scheme)
        params = {name: value - rate * gradient[name] for name, value in params.items()}
        losses_of_updates.append(loss.value)
    return params, losses_of_updates


@pytest.mark.parametrize("scheme", [None, lab.PerLoss(3), lab.Chunked(4)])
@pytest.mark.parametrize("kind", [lab.Elman, lab.GRU])
def test_training_is_the_loop_written_out(kind, scheme):
    cell, params, task = network(kind)
    expected, values = written_out(cell, params, task, 0.1, 10, scheme)
    trained = lab.train(
        cell, params, task, optimizer=SGD(), learning_rate=0.1, updates=10, batch_size=4, scheme=scheme, **QUIET
    )
    np.testing.assert_allclose(trained.history["loss"], values, rtol=1e-12)
    for name, value in expected.items():
        np.testing.assert_allclose(trained.params[name], value, rtol=1e-10, atol=1e-13)


@pytest.mark.compiles
def test_both_engines_train_alike():
    cell, params, task = network(lab.LSTM)
    found = [
        lab.train(cell, params, task, updates=20, clip_norm=0.1, engine=engine, progress=False).params
        for engine in ("numpy", "numba")
    ]
    for name in params:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-8, atol=1e-10)


def schemes():
    for name in plugins.names("scheme"):
        kind = plugins.find("scheme", name)
        given = {"truncation": 4} if kind.takes_truncation else {}
        yield kind(**kind.complete(given, 4)) if given else kind()


@pytest.mark.parametrize("scheme", list(schemes()), ids=lambda scheme: scheme.name)
def test_every_scheme_trains(scheme):
    cell, params, task = network(lab.Leaky)
    trained = lab.train(cell, params, task, scheme=scheme, updates=2, batch_size=3, **QUIET)
    assert trained.updates == 2
    assert all((trained.params[name] != params[name]).any() for name in ("W", "U", "V"))


@pytest.mark.parametrize("name", [name for name in plugins.names("cell") if name not in ("stacked", "noisy")])
def test_every_cell_trains(name):
    task = lab.tasks.Adding(sequence_length=4)
    configuration = lab.Configuration.parse({"cell": name, "task": "adding", "sequence_length": 4})
    cell = configuration.cell
    params = cell.init(0, configuration.initializer)
    trained = lab.train(cell, params, task, updates=2, batch_size=3, learning_rate=1e-2, **QUIET)
    assert trained.status == "done"
    assert any((trained.params[name] != params[name]).any() for name in params)


@pytest.mark.parametrize(
    "name", [name for name in plugins.names("task") if name not in ("file", "characters", "probe")]
)
def test_every_task_trains(name):
    configuration = lab.Configuration.parse({"task": name, "sequence_length": 40, "cell.hidden_size": 4})
    cell, task = configuration.cell, configuration.task
    trained = lab.train(cell, cell.init(0), task, updates=2, batch_size=3, check_sequences=5, **QUIET)
    last = trained.history.iloc[-1]
    assert trained.status in ("done", "solved")
    assert math.isfinite(last["validation_loss"])
    assert math.isnan(last["validation_error"]) == (task.loss_name == losses.SQUARED_ERROR.name)


def test_a_network_learns_delayed_recall():
    cell, params, task = network(lab.LSTM, 12, lab.tasks.DelayedRecall(sequence_length=8))
    trained = lab.train(cell, params, task, learning_rate=2e-2, updates=1500, batch_size=32, check_every=50, **QUIET)
    assert trained.status == "solved"
    assert trained.updates == trained.solved_at < 1500
    assert trained.history["validation_loss"].dropna().iloc[-1] < task.solved_below


def test_training_may_go_on_after_it_is_solved():
    cell, params, task = network()
    trained = lab.train(
        cell, params, task, updates=30, check_every=10, solved_below=1e3, stop="updates", check_sequences=5, **QUIET
    )
    assert (trained.status, trained.solved_at, trained.updates) == ("done", 10, 30)


def test_an_orthogonal_matrix_stays_one():
    cell, params, task = network(lab.OrthogonalElman)
    trained = lab.train(cell, params, task, updates=5, learning_rate=0.1, **QUIET)
    W = trained.params["W"]
    np.testing.assert_allclose(W @ W.T, np.eye(len(W)), atol=1e-12)
    assert np.abs(W - params["W"]).max() > 1e-3


def test_the_gradient_of_free_numbers_lowers_the_loss():
    cell, params, task = network(lab.OrthogonalElman)
    setup, state = make_setup(
        cell, params, task, Training(updates=1, learning_rate=1e-7), SGD(), Full(), 0, 8, "mean", "numpy"
    )
    after, row = setup.step(state)
    again = setup.gradient(setup.layout.params(after.vector), setup.batch(1), 1)
    expected = 1e-7 * math.exp(2 * row.log_gradient_norm)
    assert row.loss - again.loss == pytest.approx(expected, rel=1e-4)


# ------------------------------------------------------------------ ends


def test_a_run_that_diverges_keeps_the_last_good_weights():
    cell, params, task = network(activation="relu")
    with pytest.warns(LabWarning, match=r"training diverged at update \d+: .*; the weights are those before it"):
        trained = lab.train(cell, params, task, optimizer=SGD(), learning_rate=1e8, updates=50, **QUIET)
    assert trained.status == "diverged"
    assert trained.updates < trained.diverged_at <= 50
    assert all(np.isfinite(value).all() for value in trained.params.values())
    assert np.isfinite(trained.history["loss"]).all()
    setup, state = trained.setup, trained.state
    with np.errstate(all="ignore"):
        assert math.isfinite(setup.gradient(trained.params, setup.batch(state.update + 1), state.update + 1).loss)


def test_a_loss_that_becomes_nan_ends_the_run():
    class Poisoned(SGD):
        name = "poisoned"

        def update(self, params, gradient, state, learning_rate):
            moved, kept = super().update(params, gradient, state, learning_rate)
            return {name: value * (np.nan if state.updates == 3 else 1.0) for name, value in moved.items()}, kept

    cell, params, task = network()
    with pytest.warns(LabWarning, match="diverged at update 4: a weight is not finite after the step"):
        trained = lab.train(cell, params, task, optimizer=Poisoned(), updates=9, **QUIET)
    assert (trained.updates, trained.diverged_at) == (3, 4)
    assert all(np.isfinite(value).all() for value in trained.params.values())


def test_ctrl_c_keeps_what_was_done():
    cell, params, task = network()

    def interrupt(update, params):
        if update == 5:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedTraining, match="after update 5") as caught:
        lab.train(cell, params, task, updates=9, callback=interrupt, **QUIET)
    whole = lab.train(cell, params, task, updates=5, **QUIET)
    kept = caught.value.trained
    assert (kept.status, kept.updates, len(kept.history)) == ("interrupted", 5, 5)
    assert all((kept.params[name] == whole.params[name]).all() for name in params)


# ------------------------------------------------------------------ steps, states, parts


def test_a_run_that_goes_on_has_the_bytes_of_a_whole_one():
    cell, params, task = network(lab.LSTM)
    whole = lab.train(cell, params, task, updates=12, optimizer=Adam(amsgrad=True), **QUIET)
    state = None
    for step in iterate_updates(
        whole.setup, Ongoing(*[whole.setup.first_state(whole.setup.layout.of(cell, params)[1])] * 2)
    ):
        if step.state.update == 5:
            state = step.state
    known = Ongoing(state, state)
    rest = list(iterate_updates(whole.setup, known))
    assert [step.row.update for step in rest] == list(range(6, 13))
    assert (known.state.vector == whole.state.vector).all()
    assert [step.row.loss for step in rest] == whole.history["loss"][5:].tolist()


def test_what_is_given_is_not_changed():
    cell, params, task = network()
    kept = {name: value.copy() for name, value in params.items()}
    lab.train(cell, params, task, updates=3, **QUIET)
    assert all((params[name] == kept[name]).all() for name in params)


def test_without_progress_no_bar_is_made(monkeypatch):
    """A hidden one holds a semaphore: Python warns of it when a worker has been ended."""
    monkeypatch.setattr(sys.modules["bpttlab.training.train"], "tqdm", None)
    cell, params, task = network()
    assert lab.train(cell, params, task, updates=2, **QUIET).updates == 2


class InPlace(lab.Optimizer):
    name = "in_place"

    def update(self, params, gradient, state, learning_rate):
        params["W"] -= learning_rate * gradient["W"]
        return params, state


def test_an_optimizer_cannot_change_the_last_good_weights():
    cell, params, task = network()
    with pytest.raises(ValueError, match="read-only"):
        lab.train(cell, params, task, optimizer=InPlace(), updates=2, **QUIET)


def test_frozen_parameters_stay():
    cell, params, task = network()
    trained = lab.train(cell, params, task, updates=3, frozen=("W", "b_h"), **QUIET)
    changed = {name for name in params if (trained.params[name] != params[name]).any()}
    assert changed == {"V", "U", "b_y"}


def test_clipping_bounds_the_step_and_is_recorded():
    cell, params, task = network()
    trained = lab.train(
        cell, params, task, optimizer=SGD(), learning_rate=1.0, updates=3, clip_norm=1e-3, schedule="cosine", **QUIET
    )
    assert trained.history["clipped"].all()
    assert (trained.history["log_gradient_norm"] > math.log(1e-3)).all()
    moved = math.sqrt(sum(((trained.params[name] - params[name]) ** 2).sum() for name in params))
    assert moved <= 1e-3 * trained.history["learning_rate"].sum()
    assert trained.history["learning_rate"].tolist() == pytest.approx([1.0, 0.75, 0.25])


def test_norms_by_parameter_make_up_the_whole():
    cell, params, task = network()
    trained = lab.train(cell, params, task, updates=4, record_every=2, **QUIET)
    parts = trained.gradient_history
    whole = np.log(parts.groupby("update")["log_gradient_norm"].apply(lambda logs: np.exp(2 * logs).sum())) / 2
    np.testing.assert_allclose(whole, trained.history["log_gradient_norm"], rtol=1e-12)
    assert trained.history["update"].tolist() == [2, 4]


def test_a_penalty_is_added_and_can_stand_alone():
    class Squares(Penalty):
        name = "squares"

        def value_and_gradient(self, trace, loss):
            return float((trace.params["W"] ** 2).sum()), {"W": 2 * trace.params["W"]}

    cell, params, task = network()
    fields = {"optimizer": SGD(), "learning_rate": 0.1, "penalty": Squares(), "updates": 1, **QUIET}
    plain = lab.train(cell, params, task, **{**fields, "penalty": None})
    both = lab.train(cell, params, task, penalty_strength=0.5, **fields)
    alone = lab.train(cell, params, task, penalty_alone=1, **fields)
    np.testing.assert_allclose(both.params["W"], plain.params["W"] - 0.1 * params["W"], rtol=1e-12, atol=1e-15)
    assert both.history["penalty"][0] == pytest.approx(0.5 * (params["W"] ** 2).sum())
    np.testing.assert_allclose(alone.params["W"], 0.8 * params["W"], rtol=1e-12)
    assert (alone.params["V"] == params["V"]).all()


def test_a_projection_acts_after_each_step():
    cell, params, task = network()
    trained = lab.train(cell, params, task, projection=SingularValueBound(0.5), updates=2, **QUIET)
    assert np.linalg.norm(trained.params["W"], 2) == pytest.approx(0.5)


def test_an_optimizer_that_needs_matrices_receives_them():
    class Shapes(SGD):
        name, elementwise = "shapes", False

        def update(self, params, gradient, state, learning_rate):
            assert {name: value.shape for name, value in params.items()} == cell.parameter_shapes()
            return super().update(params, gradient, state, learning_rate)

    cell, params, task = network()
    apart = lab.train(cell, params, task, optimizer=Shapes(momentum=0.9), updates=3, **QUIET)
    together = lab.train(cell, params, task, optimizer=SGD(momentum=0.9), updates=3, **QUIET)
    assert all((apart.params[name] == together.params[name]).all() for name in params)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rate": 0.0}, "training.learning_rate=0.0: must be a finite number > 0"),
        ({"learning_rate": -1e-3}, "training.learning_rate=-0.001: must be a finite number > 0"),
        ({"updates": 10, "schedule": "cosine", "schedule_updates": 11}, "takes 11 updates; must be at most updates=10"),
        (
            {"updates": 9, "schedule": "step", "schedule_updates": 10},
            "schedule_updates=10: must be at most",
        ),
        ({"data": "epochs", "sequences": 50, "validation": 0.6, "test": 0.4}, "must be less than 1 together"),
        ({"updates": 10, "warm_up": 10}, "training.warm_up=10: must be below training.updates=10"),
        ({"learning_rat": 1.0}, "learning_rat: there is no such argument or setting. Did you mean 'learning_rate'"),
        ({"optimizer": "adm"}, "; there are SGD, RMSprop, Adam and AdamW"),
        ({"lr": 0.1}, "lr: there is no such argument or setting. The settings are updates, learning_rate, "),
        ({"epochs": 3}, "epochs: there is no such argument or setting."),
        ({"optimiser": None}, "Did you mean 'optimizer'"),
        ({"frozen": ("X",)}, "frozen: 'X' is no parameter"),
        ({"data": "epochs"}, "training.sequences: must be given for data=epochs of task 'adding'"),
        ({"data": "epochs", "sequences": 10}, "batch_size=16: must be at most 8, the training sequences of 10"),
        ({"clip_norm": 0.0}, "training.clip_norm=0.0"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_done(given, message):
    cell, params, task = network()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConfigurationError, match=message.replace(".", r"\.")):
            lab.train(cell, params, task, **{**QUIET, **given})


# ------------------------------------------------------------------ arguments that are no such thing


CELL = lab.GRU(input_size=2, hidden_size=3, output_size=1)
FEW = {"updates": 2, "batch_size": 2, "check_sequences": 5, "engine": "numpy"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"params": None}, "params=None: must be arrays by name"),
        ({"params": {"W": 3}}, r"params\['W'\]=3: must be an array"),
        ({"cell": lab.GRU}, "cell=.*: must be an object, like"),
        ({"task": "adding"}, "task='adding': must be an object, like"),
        ({"callback": 3}, "callback=3: must be a function"),
        ({"frozen": "b_h"}, r"frozen='b_h': must be a list of names of parameters, like \['b_h'\]$"),
        ({"frozen": 5}, "frozen=5: must be a list of names"),
        ({"frozen": [5]}, r"frozen=\[5\]: must be a list of names"),
        ({"checkpoint": 5}, "checkpoint=5: must be the name of a .npz file, or None"),
        ({"progress": "x"}, "progress='x': must be True, False or None"),
        ({"penalty_strength": 0.5}, "penalty_strength=0.5: has no effect: there is no penalty"),
        ({"schedule_factor": 0.5}, "schedule_factor=0.5: has no effect: schedule=constant"),
        ({"validation": 0.5}, "validation=0.5: has no effect: data=fresh"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(given, said):
    chosen = {"cell": CELL, "params": CELL.init(0), "task": lab.tasks.Adding(sequence_length=6), **FEW, **given}
    with pytest.raises(lab.ConfigurationError, match=f"^{said}") as caught:
        lab.train(**chosen)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("elementwise", [True, False])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda params, state: params, "must return a pair"),
        (lambda params, state: (params, None), "must return a pair"),
        (lambda params, state: ({}, state), "returned none"),
        (lambda params, state: ({name: value[:1] for name, value in params.items()}, state), "returned one of shape"),
    ],
)
def test_an_optimizer_that_returns_something_else(elementwise, change, said):
    class Wrong(lab.Optimizer):
        name = "wrong"

        def update(self, params, gradient, state, learning_rate):
            return change(params, state)

    Wrong.elementwise = elementwise
    with pytest.raises(lab.ConfigurationError, match=f"^optimizer 'wrong': update must return .*{said}|{said}"):
        lab.train(CELL, CELL.init(0), lab.tasks.Adding(sequence_length=6), optimizer=Wrong(), **FEW)


def test_errors_have_a_public_path():
    from bpttlab import errors

    assert lab.ConfigurationError is errors.ConfigurationError
    assert lab.LabError is errors.LabError
    assert lab.LabWarning is errors.LabWarning

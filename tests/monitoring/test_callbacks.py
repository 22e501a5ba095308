"""The callbacks of Lightning and Keras, with stand-ins for both: the monitor is called with the optimizer's steps."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from bpttlab.errors import ConfigurationError, LabWarning
from tests.support.monitoring import PROBE, B, load, make_monitor, make_network

pytestmark = pytest.mark.usefixtures("quick_disk")


def install(monkeypatch, name, **content):
    """A module that can be imported."""
    module = ModuleType(name)
    module.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, module)


class Callback:
    """The base class of a library's callbacks."""

    model = None


# ------------------------------------------------------------------ Lightning


@pytest.fixture
def lightning(monkeypatch):
    install(monkeypatch, "lightning", pytorch=None)
    install(monkeypatch, "lightning.pytorch", Callback=Callback)


def fit(callback, model, steps=(1, 2, 2, 3), **trainer):
    """What Lightning's trainer does: a step of the optimizer may take several batches."""
    trainer = SimpleNamespace(global_step=0, **trainer)
    callback.on_train_start(trainer, model)
    for step in steps:
        trainer.global_step = step
        callback.on_train_batch_end(trainer, model, {"loss": np.float32(0.5)}, None, 0)
    callback.on_train_end(trainer, model)


def test_lightning_measures_before_while_and_after(tmp_path, lightning):
    monitor = make_monitor(tmp_path, every=2)
    fit(monitor.lightning(lambda model: model.rnn), SimpleNamespace(rnn=make_network()))
    runs = load(tmp_path).runs.sort_values("update")
    assert runs["update"].tolist() == [0, 2, 3] and monitor.measured == 3
    assert runs["training_loss"].tolist()[1] == 0.5


def test_lightning_takes_the_names_of_attributes(tmp_path, lightning):
    model = SimpleNamespace(encoder=SimpleNamespace(rnn=make_network()), fc=(np.ones((2, 4)), np.zeros(2)))
    monitor = make_monitor(tmp_path, targets=np.ones((B, 2)))
    fit(monitor.lightning("encoder.rnn", readout="fc"), model, steps=())
    assert load(tmp_path).runs["loss"].notna().all()


def test_only_the_first_process_of_lightning_measures(tmp_path, lightning):
    monitor = make_monitor(tmp_path)
    fit(monitor.lightning("rnn"), SimpleNamespace(rnn=make_network()), is_global_zero=False)
    assert monitor.measured == 0


def test_a_part_that_is_not_there_is_a_failed_row(tmp_path, lightning):
    with pytest.warns(LabWarning, match="raises AttributeError: .* has no attribute 'rnnn'"):
        fit(make_monitor(tmp_path).lightning("rnnn"), SimpleNamespace(rnn=make_network()))
    assert set(load(tmp_path).runs["status"]) == {"failed"}


@pytest.mark.parametrize("face", ["lightning", "keras"])
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, face):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning", "keras"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=f"{face} is not installed: pip install {face}"):
        getattr(make_monitor(tmp_path), face)("rnn")


@pytest.mark.parametrize("face", ["lightning", "keras"])
def test_a_part_is_a_function_or_a_name(tmp_path, face):
    with pytest.raises(ConfigurationError, match="=3: must be a function"):
        getattr(make_monitor(tmp_path), face)(3)


# ------------------------------------------------------------------ Keras


def keras_layer(kind, columns, rng, **fields):
    """A layer as Keras has them: a cell with activations, and a list of weights."""
    fields = {"activation": np.tanh, "recurrent_activation": SimpleNamespace(__name__="sigmoid"), **fields}
    shapes = [(2, 4 * columns), (4, 4 * columns), fields.pop("bias", (4 * columns,))]
    weights = [rng.standard_normal(shape) / 2 for shape in shapes if shape]
    own = {"__module__": "keras.src.layers", "get_weights": lambda self: weights}
    cell = type(f"{kind}Cell", (), {**own, **fields})()
    return type(kind, (), {**own, "cell": cell})(), weights


class Sequential:
    """A model of Keras."""

    def __init__(self, layer):
        self.optimizer = SimpleNamespace(iterations=np.int64(0))
        self.layers = {"rnn": layer}

    def get_layer(self, name):
        return self.layers[name]


def test_keras_measures_before_while_and_after(tmp_path, monkeypatch):
    install(monkeypatch, "keras", callbacks=SimpleNamespace(Callback=Callback))
    layer, _ = keras_layer("LSTM", 4, np.random.default_rng(0))
    monitor = make_monitor(tmp_path, every=2)
    callback = monitor.keras("rnn")
    callback.model = Sequential(layer)
    callback.on_train_begin()
    for step in (1, 2, 3):
        callback.model.optimizer.iterations = np.int64(step)
        callback.on_train_batch_end(step, {"loss": 0.25})
    callback.on_train_end()
    runs = load(tmp_path).runs.sort_values("update")
    assert runs["update"].tolist() == [0, 2, 3]
    assert runs["training_loss"].tolist()[1] == 0.25
    assert (runs["status"] == "done").all() and (runs["cell"] == "lstm").all()


def logistic(a):
    return 1 / (1 + np.exp(-a))


def gru_of_keras(x, kernel, recurrent, bias, after):
    """Keras' GRU, as its documentation states it; gates z, r, h.  (T,B,I) -> h_T (B,N)"""
    h, N = np.zeros((x.shape[1], 4)), 4
    b = bias[0] if after else bias
    for x_t in x:
        a, u = x_t @ kernel + b, h @ recurrent + (bias[1] if after else 0.0)
        z, r = logistic(a[:, :N] + u[:, :N]), logistic(a[:, N : 2 * N] + u[:, N : 2 * N])
        inner = r * u[:, 2 * N :] if after else (r * h) @ recurrent[:, 2 * N :]
        h = z * h + (1 - z) * np.tanh(a[:, 2 * N :] + inner)
    return h


@pytest.mark.parametrize("after", [True, False])
def test_a_gru_of_keras_computes_what_keras_computes(tmp_path, after):
    layer, weights = keras_layer("GRU", 3, np.random.default_rng(1), bias=(2, 12) if after else (12,))
    monitor = make_monitor(tmp_path, targets=np.zeros((B, 4)), loss="squared_error")
    monitor(0, layer)
    h_T = gru_of_keras(PROBE, *weights, after)
    assert load(tmp_path).runs["loss"].item() == pytest.approx(float((h_T**2).sum(axis=1).mean()), rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        ("LSTM", {"activation": np.sin}, "network: activation=sin of a LSTMCell of Keras: must be tanh"),
        ("GRU", {"recurrent_activation": np.tanh}, "network: recurrent_activation=tanh of a GRUCell of Keras"),
        ("Dense", {}, "network: a layer Dense of Keras is not supported: must be SimpleRNN, GRU or LSTM"),
    ],
)
def test_layers_of_keras_that_no_cell_has_are_failed_rows(tmp_path, kind, fields, reason):
    layer, _ = keras_layer(kind, 1, np.random.default_rng(2), **fields)
    with pytest.warns(LabWarning):
        make_monitor(tmp_path)(0, layer)
    assert load(tmp_path).runs["error"].item().startswith(reason)

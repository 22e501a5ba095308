"""Files with the layouts of Keras and Flax: outputs by their formulas, names joined by / or ., and what is refused."""

import re

import numpy as np
import pandas as pd
import pytest

import bpttlab as lab
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.networks.pretrained import FromFile, from_file
from bpttlab.verification.gradient_check import assert_agree
from tests.support.state_dicts import save, state_dict

I, N, O = 2, 3, 2


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch, quick_disk):
    monkeypatch.chdir(tmp_path)


def sigma(a):
    return 1.0 / (1.0 + np.exp(-a))


def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) / 2 for name, shape in shapes.items()}


def keras_shapes(kind, bias=True):
    gates = {"simple_rnn": 1, "gru": 3, "gru_before": 3, "lstm": 4}[kind]
    cell = f"model/{kind}/cell/"
    shapes = {f"{cell}kernel": (I, gates * N), f"{cell}recurrent_kernel": (N, gates * N)}
    shapes |= {f"{cell}bias": (2, 3 * N) if kind == "gru" else (gates * N,)} if bias else {}
    return shapes | {"model/dense/kernel": (N, O), "model/dense/bias": (O,)}


def keras_step(kind, held, x, h, c):
    """As Keras' documentation of the layers has it: gates z, r, h and i, f, c, o."""
    kernel, recurrent, bias = (held[f"model/{kind}/cell/{name}"] for name in ("kernel", "recurrent_kernel", "bias"))
    if kind == "simple_rnn":
        return np.tanh(x @ kernel + bias + h @ recurrent), c
    if kind == "gru":  # reset_after=True
        x_z, x_r, x_h = np.split(x @ kernel + bias[0], 3, -1)
        h_z, h_r, h_h = np.split(h @ recurrent + bias[1], 3, -1)
        z, r = sigma(x_z + h_z), sigma(x_r + h_r)
        return z * h + (1 - z) * np.tanh(x_h + r * h_h), c
    if kind == "gru_before":  # reset_after=False
        (x_z, x_r, x_h), (W_z, W_r, W_h) = np.split(x @ kernel + bias, 3, -1), np.split(recurrent, 3, -1)
        z, r = sigma(x_z + h @ W_z), sigma(x_r + h @ W_r)
        return z * h + (1 - z) * np.tanh(x_h + (r * h) @ W_h), c
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, -1)
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return sigma(o) * np.tanh(c), c


def flax_shapes(kind):
    names = {
        "simple": ({"i": True}, {"h": False}),
        "gru": (dict.fromkeys(("ir", "iz", "in"), True), {"hr": False, "hz": False, "hn": True}),
        "lstm": (dict.fromkeys(("ii", "if", "ig", "io"), False), dict.fromkeys(("hi", "hf", "hg", "ho"), True)),
    }[kind]
    shapes = {"params/head/kernel": (N, O), "params/head/bias": (O,)}
    for part, rows in zip(names, (I, N), strict=True):
        for name, bias in part.items():
            shapes |= {f"params/cell/{name}/kernel": (rows, N)}
            shapes |= {f"params/cell/{name}/bias": (N,)} if bias else {}
    return shapes


def flax_step(kind, held, x, h, c):
    """As the docstrings of flax.linen have it."""

    def dense(name, v):
        return v @ held[f"params/cell/{name}/kernel"] + held.get(f"params/cell/{name}/bias", 0.0)

    if kind == "simple":
        return np.tanh(dense("i", x) + dense("h", h)), c
    if kind == "gru":
        r, z = sigma(dense("ir", x) + dense("hr", h)), sigma(dense("iz", x) + dense("hz", h))
        return (1 - z) * np.tanh(dense("in", x) + r * dense("hn", h)) + z * h, c
    i, f, o = (sigma(dense(f"i{gate}", x) + dense(f"h{gate}", h)) for gate in "ifo")
    c = f * c + i * np.tanh(dense("ig", x) + dense("hg", h))
    return o * np.tanh(c), c


KERAS = ("simple_rnn", "gru", "gru_before", "lstm")
FLAX = ("simple", "gru", "lstm")
LAYOUTS = {
    **{f"keras {kind}": (kind, keras_shapes(kind), keras_step, "model/dense/") for kind in KERAS},
    **{f"flax {kind}": (kind, flax_shapes(kind), flax_step, "params/head/") for kind in FLAX},
}


def activation_of(layout):
    return "tanh" if "simple" in layout else None


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_outputs_are_those_of_the_formulas(layout, suffix):
    kind, shapes, step, readout = LAYOUTS[layout]
    held = drawn(shapes)
    cell, params = from_file(save(f"net.{suffix}", held), activation_of(layout))
    x = np.random.default_rng(1).standard_normal((6, 2, I))
    h = c = np.zeros((2, N))
    expected = []
    for x_t in x:
        h, c = step(kind, held, x_t, h, c)
        expected.append(h @ held[f"{readout}kernel"] + held[f"{readout}bias"])
    assert_agree({"y_hat": lab.forward(cell, params, x).y_hat}, {"y_hat": np.array(expected)})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_may_be_joined_by_dots_or_end_in_zero(layout):
    held = drawn(LAYOUTS[layout][1])
    one = from_file(save("net.npz", held), activation_of(layout))
    for change in (lambda name: name.replace("/", "."), lambda name: f"{name}:0"):
        other = from_file(save("other.npz", {change(n): v for n, v in held.items()}), activation_of(layout))
        assert all(np.array_equal(one.params[name], other.params[name]) for name in one.params)


def test_without_a_bias_it_is_zero():
    cell, params = from_file(save("net.npz", drawn(keras_shapes("lstm", bias=False))))
    assert cell.name == "lstm" and not params["b_h"].any()


def test_a_direction_of_keras_is_chosen_by_its_prefix():
    one, other = (drawn(keras_shapes("lstm"), seed) for seed in (0, 1))
    both = {f"bi/forward_{n}": v for n, v in one.items() if "dense" not in n}
    both |= {f"bi/backward_{n}": v for n, v in other.items() if "dense" not in n} | {"dense/kernel": np.ones((6, 1))}
    with pytest.raises(ConfigurationError, match="has 2 recurrent networks: set cell.recurrent_prefix to one of 'bi/"):
        from_file(save("net.npz", both))
    prefix = "bi/backward_model/lstm/cell"
    found = from_file("net.npz", recurrent_prefix=prefix, readout_prefix="none")
    assert np.array_equal(found.params["V"], other["model/lstm/cell/kernel"].T) and found.cell.output_size == 0


def test_identity_says_what_was_read():
    own = FromFile(save("net.npz", drawn(keras_shapes("gru_before"))))
    assert (own.of, own.layers, own.hidden_size) == ("gru", 1, N)
    assert (own.recurrent_prefix, own.readout_prefix) == ("model/gru_before/cell/", "model/dense/")
    assert own.cell(O).reset == "before" and own.weights.module == "Keras GRU"


def changed(layout, without="", **more):
    held = {n: v for n, v in drawn(LAYOUTS[layout][1]).items() if not without or not re.search(without, n)}
    return held | {name.replace("__", "/"): values for name, values in more.items()}


WRONG = {
    "no kernel": (changed("keras lstm", "cell/kernel"), "has no tensor 'model/lstm/cell/kernel' .Keras LSTM"),
    "other kernel": (changed("keras lstm", model__lstm__cell__kernel=np.ones((2, 9))),
                     r"kernel' has shape \(2, 9\): must be \(any, 12\) \(Keras LSTM\)"),
    "other gates": (changed("keras lstm", model__lstm__cell__recurrent_kernel=np.ones((3, 6))),
                    r"'model/lstm/cell/recurrent_kernel' has shape \(3, 6\): must be \(N, N\) of a Keras SimpleRNN"),
    "other bias": (changed("keras gru", model__gru__cell__bias=np.ones(8)),
                   r"bias' has shape \(8,\): must be \(9,\) or \(2, 9\) \(Keras GRU\)"),
    "two biases of an LSTM": (changed("keras lstm", model__lstm__cell__bias=np.ones((2, 12))), r"must be \(12,\)"),
    "GRU without bias": (changed("keras gru", "cell/bias"), "its shape says whether reset_after is true"),
    "no gate": (changed("flax lstm", "if/"), "has no tensor 'params/cell/if/kernel' .Flax LSTMCell"),
    "other gate": (changed("flax lstm", params__cell__hf__kernel=np.ones((3, 4))), r"must be \(3, 3\) .Flax LSTMCell"),
    "other inputs": (changed("flax gru", params__cell__iz__kernel=np.ones((9, 3))), r"must be \(2, 3\) .Flax GRUCell"),
    "minimal gated unit": (changed("flax gru", "(r|z)/", params__cell__hf__kernel=np.ones((3, 3))),
                           "params/cell/hf/kernel' belongs to a Flax MGUCell; supported: PyTorch's nn.RNN"),
    "NNX": ({"cell/dense_h/kernel": np.ones((3, 12)), "cell/dense_i/kernel": np.ones((2, 12))}, "a cell of Flax NNX"),
    "attention": ({"layer.in_proj_weight": np.ones((9, 3))}, "belongs to an nn.MultiheadAttention .*; supported: PyT"),
    "Mamba": ({"layers.0.mixer.A_log": np.ones((4, 4))}, "layers.0.mixer.A_log belongs to a Mamba block"),
    "nothing recurrent": ({"dense/kernel": np.ones((3, 3))}, "has no tensor .* supported: PyTorch's nn.RNN, .* Keras"),
    "an embedding beside": (changed("keras lstm", emb__embeddings=np.ones((9, 2))), "emb/embeddings .* name cell.rec"),
}  # fmt: skip


@pytest.mark.parametrize(("held", "message"), WRONG.values(), ids=WRONG)
def test_files_that_cannot_be(held, message):
    with pytest.raises(ConfigurationError, match=f"cell.path='net.npz': .*{message}"):
        from_file(save("net.npz", held))


def test_messages_say_what_the_library_calls_it():
    save("lstm.npz", drawn(keras_shapes("lstm"))), save("simple.npz", drawn(flax_shapes("simple")))
    with pytest.raises(ConfigurationError, match="lstm.npz holds a Keras LSTM, which has its own"):
        from_file("lstm.npz", "tanh")
    with pytest.raises(ConfigurationError, match="simple.npz holds a Flax SimpleCell, whose weights do not say"):
        from_file("simple.npz")
    bad = drawn(keras_shapes("lstm"))
    bad["model/lstm/cell/recurrent_kernel"][0, 1] = np.nan
    with pytest.raises(NonFiniteError, match=r"'model/lstm/cell/recurrent_kernel' holds nan at \[0, 1\]"):
        from_file(save("bad.npz", bad))


def test_files_of_three_libraries_are_one_study(capsys):
    save("keras.npz", drawn(keras_shapes("gru")))
    save("flax.npz", drawn(flax_shapes("lstm")))
    save("torch.npz", state_dict("gru", O=O))
    x = np.random.default_rng(0).standard_normal((5, 8, I))
    np.savez("mine.npz", x=x, target=np.zeros((5, 8, O)))
    line = "sweep study=mine cell=from_file cell.path=keras.npz,flax.npz,torch.npz task=file task.path=mine.npz"
    more = "sequence_length=8 batch_size=3 truncation=full,2 engine=numpy workers=0"
    assert main([*line.split(), *more.split()]) == 0, capsys.readouterr().err
    runs = lab.load("mine").runs
    assert runs.groupby("cell_label")["cell_of"].first().to_dict() == {"flax": "lstm", "keras": "gru", "torch": "gru"}
    assert np.isfinite(runs["growth_rate"]).all() and isinstance(runs, pd.DataFrame)

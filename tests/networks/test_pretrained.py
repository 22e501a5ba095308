"""A person's own network: what is read of its file, what makes its runs the same runs, and what is refused."""

import hashlib
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bpttlab as lab
from bpttlab import figures, tables, user_files
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError, LabError, NonFiniteError
from bpttlab.networks import pytorch_weights as reading
from bpttlab.networks.activations import logistic
from bpttlab.networks.cells import GRU, LSTM, Elman, Stacked
from bpttlab.networks.pretrained import FromFile, from_file
from bpttlab.store import schema
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import build_network, measure_bundle, run
from bpttlab.verification.gradient_check import assert_agree
from tests.support.commandline import visible
from tests.support.state_dicts import GATES, bidirectional, safetensors, save, state_dict

SMALL = {"engine": "numpy", "sequence_length": 9, "batch_size": 2, "task": {"name": "noise", "input_size": 2}}
each_kind = pytest.mark.parametrize("of", sorted(GATES))
each_suffix = pytest.mark.parametrize("suffix", ["safetensors", "npz"])


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch, quick_disk):
    monkeypatch.chdir(tmp_path)


def activation_of(of):
    return "tanh" if of == "elman" else None


def configured(path="net.safetensors", of="lstm", seed=0, cell=None, **values):
    chosen = {"name": "from_file", "path": path, "activation": activation_of(of), **(cell or {})}
    return Configuration.parse({**SMALL, "seed": seed, **values, "cell": chosen})


# what is read ---------------------------------------------------------------------------------------------------------


def step_of_pytorch(of, held, layer, x, h, c):
    """One step as PyTorch's documentation has it, from its own tensors."""
    a_x, a_h = (
        v @ held[f"rnn.weight_{part}_l{layer}"].T + held.get(f"rnn.bias_{part}_l{layer}", 0.0)
        for part, v in (("ih", x), ("hh", h))
    )
    if of == "elman":
        return np.tanh(a_x + a_h), c
    if of == "gru":
        (r_x, z_x, n_x), (r_h, z_h, n_h) = np.split(a_x, 3, -1), np.split(a_h, 3, -1)
        r, z = logistic(r_x + r_h), logistic(z_x + z_h)
        return (1 - z) * np.tanh(n_x + r * n_h) + z * h, c
    i, f, g, o = np.split(a_x + a_h, 4, -1)
    c = logistic(f) * c + logistic(i) * np.tanh(g)
    return logistic(o) * np.tanh(c), c


@each_kind
@each_suffix
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_network_does_what_its_tensors_say(of, suffix, layers, bias):
    held = state_dict(of, layers=layers, bias=bias, O=2)
    network = from_file(save(f"net.{suffix}", held), activation_of(of))
    cell = network.cell.of if layers > 1 else network.cell
    assert type(cell) is {"elman": Elman, "gru": GRU, "lstm": LSTM}[of] and isinstance(network.cell, Stacked) == (
        layers > 1
    )
    assert {name: values.shape for name, values in network.params.items()} == network.cell.parameter_shapes()
    x = np.random.default_rng(1).standard_normal((7, 2, 2))
    states, y_hat = [(np.zeros((2, 3)), np.zeros((2, 3)))] * layers, []
    for h in x:
        for layer in range(layers):
            states[layer] = step_of_pytorch(of, held, layer, h, *states[layer])
            h = states[layer][0]
        y_hat.append(h @ held["head.weight"].T + held["head.bias"])
    assert_agree({"y_hat": lab.forward(*network, x).y_hat}, {"y_hat": np.array(y_hat)})


def test_relu_and_output_activation_are_as_requested():
    path = save("net.npz", state_dict("elman", layers=2))
    cell = from_file(path, "relu", output_activation="logistic").cell
    assert (cell.of.activation, cell.output_activation, cell.of.output_activation) == ("relu", "logistic", "logistic")


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@each_suffix
def test_numbers_are_read_as_they_are(suffix, dtype):
    held = state_dict("gru", dtype=dtype)
    params = from_file(save(f"net.{suffix}", held)).params
    assert params["W"].dtype == np.float64 and params["W"].flags.writeable
    np.testing.assert_array_equal(params["W"], held["rnn.weight_hh_l0"].astype(float))
    np.testing.assert_array_equal(params["U"], held["head.weight"].astype(float))


def test_both_formats_hold_the_same_network():
    held = state_dict("lstm", layers=2)
    one, other = (from_file(save(f"net.{suffix}", held)) for suffix in ("npz", "safetensors"))
    assert one.cell == other.cell
    assert all(np.array_equal(one.params[name], other.params[name]) for name in other.params)


@pytest.mark.parametrize("prefix", ["", "rnn.", "model.encoder.", "net_"])
@pytest.mark.parametrize("readout", ["fc.", "model.decoder.", "readout_"])
def test_prefixes_are_found_and_may_be_given_without_their_dot(prefix, readout):
    path = save("net.npz", state_dict(prefix=prefix, readout=readout))
    found = FromFile(path)
    assert (found.recurrent_prefix, found.readout_prefix) == (prefix, readout)
    assert FromFile(path, None, prefix.removesuffix("."), readout.removesuffix(".")) == found
    assert FromFile(path, None, prefix) == FromFile(path, None, None, readout) == found


def test_a_number_is_a_prefix_too():
    held = state_dict(prefix="0.", readout="1.")
    assert FromFile(save("net.npz", held), None, 0, 1) == FromFile("net.npz")


def test_with_both_prefixes_the_rest_of_a_model_is_left_alone():
    held = state_dict(of="gru", prefix="encoder.") | state_dict(prefix="decoder.", seed=1)
    held |= {"norm.num_batches_tracked": np.zeros((), np.int64), "embedding.weight": np.full((9, 2), np.nan)}
    save("net.npz", held)
    for of, prefix in (("gru", "encoder"), ("lstm", "decoder")):
        own = FromFile("net.npz", None, prefix, "head")
        np.testing.assert_array_equal(own.weights.params["W"], held[f"{prefix}.weight_hh_l0"])
        assert (own.of, own.has_readout) == (of, True)
        assert not FromFile("net.npz", None, prefix, "none").has_readout


def test_readout_inside_the_module_may_be_named():
    save("net.npz", state_dict(prefix="model.", readout="model.fc."))
    assert FromFile("net.npz", None, None, "model.fc").has_readout
    with pytest.raises(ConfigurationError, match="tensor 'model.fc"):
        FromFile("net.npz")


def test_only_a_missing_readout_is_drawn():
    save("net.npz", state_dict(O=None))
    rng = np.random.default_rng
    networks = [from_file("net.npz", output_size=4, rng=rng(seed)) for seed in (0, 0, 1)]
    assert networks[0].cell.output_size == 4 and not networks[0].params["b_y"].any()
    assert [np.array_equal(networks[0].params["U"], other.params["U"]) for other in networks] == [True, True, False]
    assert np.array_equal(networks[0].params["W"], networks[2].params["W"])
    for more, missing in (({"output_size": 4}, "rng"), ({"rng": rng(0)}, "output_size")):
        with pytest.raises(ConfigurationError, match=f"{missing}: must be given to draw a readout, for .*net.npz"):
            from_file("net.npz", **more)
    save("with.npz", state_dict(O=1))
    with pytest.raises(ConfigurationError, match="output_size=4: the readout of the file has 1"):
        from_file("with.npz", output_size=4, rng=rng(0))


@each_kind
def test_without_a_readout_all_is_there_that_needs_no_loss(of):
    whole = from_file(save("whole.npz", state_dict(of)), activation_of(of))
    alone = from_file(save("alone.npz", state_dict(of, O=None)), activation_of(of))
    assert alone.cell.output_size == 0 and alone.params["U"].shape == (0, 3)
    x = np.random.default_rng(0).standard_normal((9, 2, 2))
    one, other = (lab.forward(*network, x) for network in (whole, alone))
    pd.testing.assert_frame_equal(lab.jacobian_products(one), lab.jacobian_products(other))
    pd.testing.assert_frame_equal(lab.lyapunov_spectrum(*whole, x), lab.lyapunov_spectrum(*alone, x))
    with pytest.raises(ConfigurationError, match="this network has no readout"):
        lab.backward(other, np.zeros((9, 2, 0)))


def test_the_drawn_readout_is_drawn_as_for_any_cell():
    path = save("net.npz", state_dict("gru", O=None))
    network = from_file(path, output_size=2, rng=np.random.default_rng(5))
    drawn = network.cell.init(np.random.default_rng(5))
    assert all(np.array_equal(network.params[name], drawn[name]) for name in ("U", "b_y"))


@each_kind
def test_every_measure_can_be_taken(of):
    network = from_file(save("net.npz", state_dict(of, layers=2)), activation_of(of))
    x = np.random.default_rng(0).standard_normal((12, 2, 2))
    trace = lab.forward(*network, x)
    assert len(lab.lag_terms(trace, np.ones_like(trace.y_hat))) and len(lab.jacobian_products(trace))
    assert len(lab.lyapunov_spectrum(*network, x))
    assert len(lab.truncation_bias(trace, np.ones_like(trace.y_hat), lab.Windowed(2, 4)))


@each_kind
def test_each_direction_is_a_network_of_its_own(of):
    both = save("both.npz", bidirectional(of, seed=4))
    for direction, seed in (("forward", 4), ("backward", 5)):
        alone = from_file(save("alone.npz", state_dict(of, O=None, seed=seed)), activation_of(of))
        found = from_file(both, activation_of(of), direction=direction)
        assert found.cell == alone.cell and found.cell.output_size == 0  # the readout receives both directions
        assert all(np.array_equal(found.params[name], alone.params[name]) for name in alone.params)
    with pytest.raises(ConfigurationError, match="'head.weight' receives both directions.* must be none"):
        from_file(both, activation_of(of), readout_prefix="head", direction="forward")


def test_directions_in_a_sweep_are_different_networks():
    save("both.npz", bidirectional())
    runs = [configured("both.npz", cell={"direction": direction}) for direction in ("forward", "backward")]
    assert runs[0].run_id != runs[1].run_id
    assert [run(one).run["cell_direction"] for one in runs] == ["forward", "backward"]
    save("net.npz", state_dict())
    assert "direction" not in configured("net.npz").plain["cell"]


@pytest.mark.parametrize("layers", [1, 2])
def test_a_projected_lstm_is_read_and_run(layers):
    save("net.safetensors", state_dict(projection=5, layers=layers))
    own = FromFile("net.safetensors")
    assert (own.of, own.hidden_size, own.layers) == ("projected_lstm", 3, layers)
    cell = own.cell(1)
    layer = cell if layers == 1 else cell.of
    assert (layer.hidden_size, layer.memory_size, cell.state_size) == (3, 5, 8 * layers)
    assert np.isfinite(run(configured()).run["growth_rate"])


# identity -------------------------------------------------------------------------------------------------------------


@each_suffix
def test_identity_has_the_content_of_the_file_not_its_name(suffix):
    save(f"net.{suffix}", state_dict()), save(f"other.{suffix}", state_dict(seed=1))
    shutil.copy(f"net.{suffix}", f"moved.{suffix}")
    same, moved, other = (configured(f"{name}.{suffix}") for name in ("net", "moved", "other"))
    assert same.run_id == moved.run_id != other.run_id
    assert same.network_id == moved.network_id != other.network_id
    assert same.own == moved.own and hash(same.own) == hash(moved.own)
    assert same.plain["cell"]["content"] == hashlib.sha256(Path(f"net.{suffix}").read_bytes()).hexdigest()[:32]
    assert "path" not in same.plain["cell"] and "net" not in str(same.plain)


def test_a_prefix_found_and_a_prefix_given_are_one_run():
    save("net.safetensors", state_dict())
    found = configured()
    assert found.run_id == configured(cell={"recurrent_prefix": "rnn", "readout_prefix": "head."}).run_id
    assert found.run_id != configured(cell={"recurrent_prefix": "rnn", "readout_prefix": "none"}).run_id
    assert found.run_id != configured(cell={"output_activation": "tanh"}).run_id


@pytest.mark.parametrize("prefix", ["head", "none"])
def test_stored_configuration_and_a_moved_file_repeat_a_run(prefix):
    save("net.safetensors", state_dict(layers=2) | {"other": np.ones(3)})
    stored = configured(cell={"recurrent_prefix": "rnn", "readout_prefix": prefix}).plain
    os.rename("net.safetensors", "moved.safetensors")
    again = {**stored, "cell": {**stored["cell"], "path": "moved.safetensors"}}
    assert Configuration.parse(again).plain == stored
    with pytest.raises(ConfigurationError, match="cell.path: must name a file"):
        Configuration.parse(stored)
    for name, wrong in (("layers", 3), ("of", "gru"), ("hidden_size", 4)):
        with pytest.raises(ConfigurationError, match=rf"cell.{name}={wrong!r}: moved.safetensors has"):
            Configuration.parse({**again, "cell": {**again["cell"], name: wrong}})
    save("moved.safetensors", state_dict(layers=2, seed=1) | {"other": np.ones(3)})
    with pytest.raises(ConfigurationError, match="cell.content: SHA-256 mismatch: expected .*, moved.safetensors has"):
        Configuration.parse(again)


def test_seed_draws_data_and_a_missing_readout_only():
    save("net.safetensors", state_dict()), save("bare.npz", state_dict(O=None))
    whole, bare = ([configured(path, seed=seed) for seed in (0, 1)] for path in ("net.safetensors", "bare.npz"))
    assert whole[0].network_id == whole[1].network_id and whole[0].run_id != whole[1].run_id
    assert bare[0].network_id != bare[1].network_id
    assert whole[0].network_id != configured(dtype="float32").network_id
    (_, one), (_, other) = map(build_network, bare)
    assert np.array_equal(one["W"], other["W"]) and not np.array_equal(one["U"], other["U"])


def test_runs_have_the_weights_of_the_file_in_their_dtype():
    held = state_dict("gru")
    save("net.safetensors", held)
    for dtype in ("float64", "float32"):
        _, params = build_network(configured(dtype=dtype))
        assert params["W"].dtype == dtype
        np.testing.assert_array_equal(params["W"], held["rnn.weight_hh_l0"].astype(dtype))


@each_kind
def test_a_run_says_what_it_measured(of):
    save("net.npz", state_dict(of, layers=2))
    configuration = configured("net.npz", of)
    row = run(configuration).run
    said = {name: row[f"cell{name}"] for name in ("", "_of", "_layers", "_hidden_size", "_content", "_activation")}
    expected = ["from_file", of, 2, 3, configuration.own.content, activation_of(of)]
    assert list(said.values()) == expected and row["status"] == "done"
    assert (row["initializer"], row["initializer_target"], row["spectral_radius"]) == ("none", None, None)
    blocks = configuration.cell.recurrent_blocks(build_network(configuration)[1])
    assert row["rho"] == pytest.approx(np.abs(np.linalg.eigvals(next(iter(blocks.values())))).max())
    declared = {column.name: column.dtype for column in schema.CONFIGURATION}
    types = {"int64": int, "float64": float, "string": str, "bool": bool}
    for name, value in schema.flatten(configuration.plain).items():
        assert value is None or type(value) is types[declared[name]], name


def test_two_files_of_one_shape_are_never_taken_for_each_other():
    """What is remembered of a network is remembered by what is in its file."""
    save("one.npz", state_dict()), save("two.npz", state_dict(seed=1))
    rows = [run(configured(path)).run for path in ("one.npz", "two.npz")]
    assert rows[0]["rho"] != rows[1]["rho"] and rows[0]["sigma_max"] != rows[1]["sigma_max"]


def test_changed_file_is_read_again_or_refused():
    save("net.safetensors", state_dict())
    before = pickle.loads(pickle.dumps(configured()))
    save("net.safetensors", state_dict(seed=1))
    os.utime("net.safetensors", ns=(1, 1))
    with pytest.raises(LabError, match=r"net.safetensors has changed since the run was configured"):
        build_network(before)
    row = measure_bundle([before])[0].run
    assert row["status"] == "failed" and "has changed" in row["error"]
    assert configured().run_id != before.run_id


def test_weights_are_read_once_and_are_not_in_the_pickle(monkeypatch):
    save("net.safetensors", state_dict("lstm", N=64))
    configuration = configured()
    configuration.plain  # noqa: B018  # what is remembered must not carry them either
    assert len(pickle.dumps(configuration)) < 6000 < 4 * 64 * 64
    monkeypatch.setattr(reading, "recurrence", None)
    build_network(configuration)
    with pytest.raises(ValueError, match="read-only"):
        configuration.own.weights.params["W"][0] = 0.0


def test_a_network_finds_its_file_from_any_folder(monkeypatch):
    configuration = configured(save("net.safetensors", state_dict()))
    monkeypatch.chdir("/")
    assert build_network(configuration)[1]["U"].shape == (1, 3)


# what is refused ------------------------------------------------------------------------------------------------------


def refused(message, path="net.npz", error=ConfigurationError, **fields):
    with pytest.raises(error, match=message) as told:
        FromFile(path, **fields)
    assert "\n" not in str(told.value) and type(told.value) is error


def changed(of="lstm", without=(), more=None, **sizes):
    held = {name: values for name, values in state_dict(of, **sizes).items() if name not in without}
    return {**held, **(more or {})}


ONES = np.ones


def of_a_cell(held):
    """Tensors under the names of nn.LSTMCell and its like."""
    return {name.removesuffix("_l0"): values for name, values in held.items()}


@each_kind
@each_suffix
@pytest.mark.parametrize("prefix", ["", "cell."])
def test_a_cell_is_a_network_of_one_layer(of, suffix, prefix):
    held = state_dict(of, prefix=prefix)
    layer, cell = (
        from_file(save(f"{name}.{suffix}", tensors), activation_of(of))
        for name, tensors in (("layer", held), ("cell", of_a_cell(held)))
    )
    assert layer.cell == cell.cell and layer.params.keys() == cell.params.keys()
    for name, values in layer.params.items():
        np.testing.assert_array_equal(cell.params[name], values)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (
            of_a_cell(changed(without=["rnn.weight_hh_l0"])),
            r"has no tensor 'rnn.weight_hh'; there are rnn.bias_hh \(12,",
        ),
        (
            of_a_cell(changed(more={"rnn.bias_ih_l0": np.ones(3)})),
            r"tensor 'rnn.bias_ih' has shape \(3,\): must be \(12,\)",
        ),
        (changed() | of_a_cell(changed()), "tensor 'rnn.weight_ih': an nn.RNN, nn.GRU or nn.LSTM has only"),
        (of_a_cell(changed() | changed(prefix="b.")), "has 2 recurrent networks: set cell.recurrent_prefix to one of"),
    ],
)
def test_messages_name_the_tensors_of_a_cell_as_they_are(held, message):
    refused(message, save("net.npz", held))


@each_suffix
@pytest.mark.parametrize(
    ("held", "fields", "message"),
    [
        (changed(without=["rnn.weight_hh_l0"]), {}, r"no tensor 'rnn.weight_hh_l0'; there are rnn.bias_hh_l0 \(12,\)"),
        (changed(without=["rnn.bias_hh_l0"]), {}, "has no tensor 'rnn.bias_hh_l0'"),
        (changed(layers=2, without=["rnn.bias_ih_l1"]), {}, "has no tensor 'rnn.bias_ih_l1'"),
        (changed(without=["rnn.weight_ih_l0"]), {}, "has no tensor .* ends in weight_ih_l0 .* there are head.bias"),
        ({}, {}, "has no tensor whose name ends in weight_ih_l0 .* there are none"),
        (changed(more={"rnn.weight_xx_l0": ONES(3)}), {}, "tensor 'rnn.weight_xx_l0': an nn.RNN, nn.GRU or nn"),
        (changed(more={"rnn.norm.weight": ONES(3)}), {"recurrent_prefix": "rnn", "readout_prefix": "head"},
         "tensor 'rnn.norm.weight': an nn.RNN"),
        (changed(more={"rnn.weight_hh_l0": ONES((10, 3))}), {},
         r"'rnn.weight_hh_l0' has shape \(10, 3\): must be \(N, N\) of an nn.RNN, \(3N, N\) of an nn.GRU, \(4N, N\)"),
        (changed(more={"rnn.weight_hh_l0": ONES(12)}), {}, r"'rnn.weight_hh_l0' has shape \(12,\): must be"),
        (changed(more={"rnn.weight_ih_l0": ONES((11, 2))}), {}, r"has shape \(11, 2\): must be \(12, 2\)"),
        (changed(more={"rnn.weight_ih_l0": ONES(())}), {}, r"'rnn.weight_ih_l0' has shape \(\): must be"),
        (changed(more={"rnn.bias_ih_l0": ONES((12, 1))}), {}, r"'rnn.bias_ih_l0' has shape \(12, 1\): must be \(12,\)"),
        (changed(layers=2, more={"rnn.weight_ih_l1": ONES((12, 2))}), {}, r"has shape \(12, 2\): must be \(12, 3\)"),
        (changed(layers=3, without=[f"rnn.{kind}_l1" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]), {},
         r"has the layers 0, 2 \(from 0\): layer 1 is missing"),
        (changed(more={"rnn.weight_ih_l0_reverse": ONES((12, 2))}), {}, "'rnn.weight_ih_l0_reverse': .* bidirectional.*"
         "set cell.direction=forward or backward"),
        (changed(more={"rnn.weight_ih_l0_reverse": ONES((12, 2))}), {"direction": "backward"}, "has no tensor 'rnn."),
        (changed(layers=2, more={"rnn.weight_ih_l0_reverse": ONES((12, 2))}), {"direction": "forward"},
         "'rnn.bias_hh_l1': layers above the first of a bidirectional network receive both .* export"),
        (changed(), {"direction": "forward"}, "cell.direction=forward: the network has one direction only"),
        (changed(), {"direction": "left"}, "cell.direction='left': must be .*forward"),
        (changed(more={"rnn.weight_hr_l0": ONES((2, 3))}), {}, r"has shape \(2, 3\): must be \(3, 3\)"),
        (changed(more={"rnn.weight_hr_l0": ONES((3, 4))}), {},
         r"'rnn.weight_hh_l0' and 'rnn.weight_hr_l0' have the shapes \(12, 3\) and \(3, 4\): must be \(4N, P\) and"),
        (changed("gru", more={"rnn.weight_hr_l0": ONES((3, 3))}), {}, r"have the shapes \(9, 3\) and \(3, 3\)"),
        (changed(projection=5, layers=2, without=["rnn.weight_hr_l1"]), {}, "has no tensor 'rnn.weight_hr_l1'"),
        (changed(more={"other": ONES((2, 3))}), {}, r"one linear layer, the readout, and there are head.bias \(1,\), .*"
         r"other \(2, 3\): name cell.recurrent_prefix and cell.readout_prefix \(none"),
        (changed(more={"other": ONES(1)}), {"recurrent_prefix": "rnn"}, "beside the recurrent tensors"),
        (changed(more={"other": ONES(1)}), {"readout_prefix": "head"}, r"there are other \(1,\): name cell.recurrent"),
        (changed(), {"readout_prefix": "none"}, "beside the recurrent tensors .* head.weight"),
        (changed(O=None, more={"emb.weight": ONES((9, 3))}, I=3), {}, "'emb.weight' has no bias .* embedding"),
        (changed(O=None, more={"emb.weight": ONES((9, 2))}), {}, r"'emb.weight' has shape \(9, 2\): must be \(9, 3\)"),
        (changed(more={"head.bias": ONES(2)}), {}, r"'head.bias' has shape \(2,\): must be \(1,\)"),
        (changed(more={"head.weight": ONES((0, 3))}), {}, r"'head.weight' has shape \(0, 3\): must be \(O, 3\)"),
        (changed(), {"recurrent_prefix": "rn"}, r"cell.recurrent_prefix='rn': before .* Did you mean 'rnn.'\?"),
        (changed(), {"readout_prefix": "haed"}, "cell.readout_prefix='haed': must stand before the weight"),
        (changed(more={"head.0.weight": ONES((1, 3))}), {"recurrent_prefix": "rnn", "readout_prefix": "head."},
         "cell.readout_prefix='head.': must stand before .* head.0.weight"),
        (changed() | changed("gru", prefix="b."), {}, "has 2 recurrent networks: .* one of"),
        (changed(more={"rnn.bias_ih_l0": ONES(12, "int64")}), {}, "'rnn.bias_ih_l0' has the type (I64|int64): must be"),
        (changed(more={"rnn.bias_ih_l0": ONES(12, "bool")}), {}, "'rnn.bias_ih_l0' has the type (BOOL|bool): must be"),
        (changed(), {"activation": "tanh"}, "cell.activation='tanh': .* holds an nn.LSTM, .* must be null"),
        (changed("elman"), {}, "cell.activation: must be given, tanh .* or relu: .* holds an nn.RNN"),
        (changed("elman"), {"activation": "rely"}, r"cell.activation='rely': .* Did you mean 'relu'"),
        (changed(), {"output_activation": "tan"}, "tan"),
        (changed(), {"content": "0"}, "cell.content: SHA-256 mismatch: expected 0, .* has "),
    ],
)  # fmt: skip
def test_files_that_cannot_be(held, fields, message, suffix):
    refused(message, save(f"net.{suffix}", held), **fields)


def test_complex_weights_are_refused():
    """In a .npz: not every version of safetensors can write them."""
    held = changed(more={"rnn.bias_ih_l0": ONES(12, "complex64")})
    refused("'rnn.bias_ih_l0' has the type (C64|complex64)", save("net.npz", held))


@each_suffix
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["rnn.weight_hh_l0", "rnn.bias_hh_l0", "head.weight"])
def test_what_is_not_finite_is_named(name, bad, suffix):
    held = state_dict()
    held[name][(0,) * held[name].ndim] = bad
    refused(
        rf"cell.path='net.{suffix}': tensor '{name}' holds {bad} at \[0", save(f"net.{suffix}", held), NonFiniteError
    )


def test_types_of_machine_learning_are_refused_with_what_to_do():
    typed = {name: ("F64", values) for name, values in state_dict().items()}
    typed["rnn.bias_hh_l0"] = ("BF16", np.zeros(12, "uint16"))
    Path("net.safetensors").write_bytes(safetensors(typed))
    refused(r"'rnn.bias_hh_l0' has the type BF16: .*; convert it in PyTorch: model.float\(\)", "net.safetensors")
    np.savez("net.npz", **state_dict() | {"rnn.bias_hh_l0": np.zeros(12, "V2")})
    refused(r"'rnn.bias_hh_l0' has the type BF16: .*model.float\(\)")


def test_files_that_are_not_there_or_no_files():
    save("mien.npz", state_dict())
    os.mkdir("folder.safetensors")
    open("net.txt", "w").close()
    refused(r"cell.path='mine.npz': there is no such file. Did you mean 'mien.npz'\?", "mine.npz")
    refused("cell.path='folder.safetensors': is not a file", "folder.safetensors")
    refused("cell.path='net.txt': must end in .safetensors, .npz", "net.txt")
    refused("cell.path: must name a file of yours, for example cell.path=model.safetensors", "")
    refused("cell.path='a\\\\x00.npz': cannot be read", "a\0.npz")


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin", "ckpt", "pkl", "PT"])
def test_a_pickle_is_never_opened_and_what_to_do_is_said(suffix):
    os.mkfifo(f"model.{suffix}")  # whoever opened it would wait for ever
    line = r"from safetensors.torch import save_file; save_file\(model.state_dict\(\), 'model.safetensors'\)"
    refused(f"is a pickle, .* export it: {line}", f"model.{suffix}")


class Exploding:
    """An object whose unpickling would be seen."""

    def __reduce__(self):
        return (open, ("exploded", "w"))


@each_suffix
def test_nothing_is_unpickled(suffix):
    Path(f"net.{suffix}").write_bytes(pickle.dumps(Exploding()))
    refused("cannot be read", f"net.{suffix}")
    np.savez("object.npz", **changed(more={"rnn.bias_hh_l0": np.array([Exploding()], dtype=object)}))
    refused("array 'rnn.bias_hh_l0' has the type object: must be numbers", "object.npz")
    assert not os.path.exists("exploded")


@each_suffix
@pytest.mark.parametrize("content", [b"", b"junk", b"\xff\xfe\x00junk,\n1", bytes(range(256)) * 9], ids=len)
def test_files_that_hold_something_else(suffix, content):
    Path(f"net.{suffix}").write_bytes(content)
    refused(f"cell.path='net.{suffix}': ", f"net.{suffix}")


@each_suffix
def test_a_file_that_is_cut_off_anywhere_is_refused(suffix):
    whole = Path(save(f"net.{suffix}", state_dict(N=2, I=1))).read_bytes()
    for end in range(0, len(whole), 37):
        Path(f"cut.{suffix}").write_bytes(whole[:end])
        refused(f"cell.path='cut.{suffix}': ", f"cut.{suffix}")


def test_what_is_too_large_is_not_opened(monkeypatch):
    monkeypatch.setattr(user_files, "LARGEST_BYTES", 20_000)
    refused("bytes: must be at most 20000", save("net.safetensors", state_dict(N=40)))
    np.savez_compressed("net.npz", weight_ih_l0=np.zeros((4000, 3)))
    assert os.stat("net.npz").st_size < 20_000
    refused("bytes: must be at most 20000")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "digits"}, r"cell.path='net.npz': has 2 inputs, and task 'digits' has 8: choose another task"),
        ({"task": "noise"}, "has 2 inputs, and task 'noise' has 4: set task.input_size=2, or choose another task"),
        ({"task": {"name": "noise", "input_size": 2, "output_size": 3}}, "gives 1 outputs, .* set task.output_size=1"),
        (
            {"spectral_radius": 1.1},
            "'gaussian_radius' with spectral_radius=1.1: the weights of the cell 'from_file' are",
        ),
        ({"spectral_radius": 1.0}, "spectral_radius=1.0: the cell 'from_file' takes none"),
        ({"initializer": "orthogonal"}, "initializer 'orthogonal' with scale=1.0: the weights .* are in its file"),
        ({"scales": {"V": 0.5}}, "scales.V=0.5: would have no effect"),
        ({"scales": {"U": 0.5}}, "scales.U=0.5: would have no effect"),
        ({"scales": {"b": 0.5}}, "scales.b=0.5: would have no effect"),
        ({"cell": {"hiden_size": 3}}, r"cell.hiden_size of 'from_file': .* Did you mean 'hidden_size'\?"),
        ({"cell": {"activation": "logistic"}}, "cell.activation='logistic': must be 'tanh', 'relu' or null"),
    ],
)
def test_the_rest_of_a_configuration_has_to_go_with_the_file(values, message):
    save("net.npz", state_dict())
    with pytest.raises(ConfigurationError, match=message):
        configured("net.npz", **values)


def test_drawn_readout_has_scale_and_outputs_of_the_task():
    save("net.npz", state_dict(O=None))
    task = {"name": "noise", "input_size": 2, "output_size": 5}
    one, two = (build_network(configured("net.npz", task=task, scales={"U": U}))[1] for U in (1.0, 2.0))
    np.testing.assert_array_equal(2.0 * one["U"], two["U"])
    assert one["U"].shape == (5, 3)
    with pytest.raises(ConfigurationError, match="scales.V=0.5"):
        configured("net.npz", scales={"V": 0.5})


def test_weights_beyond_float32_are_refused_there():
    save("net.npz", changed(more={"rnn.bias_ih_l0": np.full(12, 1e200)}))
    configured("net.npz")
    with pytest.raises(ConfigurationError, match=r"dtype=float32: net.npz has weights up to 1e\+200 \(b_h\)"):
        configured("net.npz", dtype="float32")


RINGS = {"name": "diagonal", "hidden_size": 4}


def test_initializer_without_draws_is_for_files_only():
    save("net.npz", state_dict())
    for cell in ({"name": "from_file", "path": "net.npz"}, RINGS, {**RINGS, "name": "stacked", "of": "diagonal"}):
        plain = Configuration.parse({**SMALL, "cell": cell, "initializer": "none"}).plain
        assert plain == Configuration.parse({**SMALL, "cell": cell}).plain
        assert (plain["initializer"], plain["spectral_radius"]) == ({"name": "none"}, None)
    with pytest.raises(
        ConfigurationError, match="initializer='none': this cell's W has to be drawn; must be one of gau"
    ):
        Configuration.parse({"initializer": "none"})
    with pytest.raises(ConfigurationError, match="initializer 'none' draws nothing"):
        Configuration.parse({"initializer": "none", "spectral_radius": 1.0})


# a study --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder_of_a_study(tmp_path_factory):
    """A sweep over three files, seeds and truncations, and one of the cell that has rings."""
    home, before = tmp_path_factory.mktemp("own"), Path.cwd()
    os.chdir(home)
    try:
        for step in (0, 1, 2):
            held = state_dict("gru", N=4, seed=step)
            save(f"step{step}.safetensors", {name: (1 + step) * values for name, values in held.items()})
        common = [
            "workers=2",
            "engine=numpy",
            "batch_size=2",
            "sequence_length=8,16",
            "seed=0,1,2",
            "truncation=full,3",
        ]
        common += ["task=adding"]
        files = "cell.path=step0.safetensors,step1.safetensors,step2.safetensors"
        assert main(["sweep", "study=own", "cell=from_file", files, *common]) == 0
        rings = ["cell=diagonal", "cell.hidden_size=4", "cell.r_min=0.5", "cell.r_max=0.7,0.9"]
        assert main(["sweep", "study=rings", *rings, *common]) == 0
    finally:
        os.chdir(before)
    return home


@pytest.fixture
def study(folder_of_a_study, monkeypatch):
    monkeypatch.chdir(folder_of_a_study)
    return lab.load("own")


def test_the_networks_of_a_study_are_told_apart_by_their_content(study):
    runs = study.runs
    assert len(runs) == 36 and set(runs["status"]) == {"done"}
    contents = [hashlib.sha256(Path(f"step{step}.safetensors").read_bytes()).hexdigest()[:32] for step in (0, 1, 2)]
    assert set(runs["cell_content"]) == set(contents) and runs["network_id"].nunique() == 3
    assert runs.groupby("cell_content")["rho"].nunique().tolist() == [1, 1, 1]
    assert set(runs["cell_of"]) == {"gru"} and set(runs["cell_hidden_size"]) == {4}


def test_growth_stands_at_the_file_in_the_order_given(study):
    growth = tables.growth(study.runs)
    assert len(growth) == 6 and set(growth["networks"]) == {1} and set(growth["initializer_target"]) == {"file"}
    assert growth["cell_label"].tolist() == ["step0", "step0", "step1", "step1", "step2", "step2"]
    assert growth["initializer_requested"].tolist() == [1, 1, 2, 2, 3, 3]


def test_a_network_is_shown_with_its_first_data(study):
    """All seeds have the same weights: one of them stands for the network, the same one everywhere."""
    first = study.runs[(study.runs["seed"] == 0) & (study.runs["truncation"] == "3")].set_index(
        ["cell_label", "sequence_length"]
    )
    growth = tables.growth(study.runs).set_index(["cell_label", "sequence_length"])
    pd.testing.assert_series_equal(
        growth["log_growth"].sort_index(), first["log_growth"].sort_index(), check_names=False, check_dtype=False
    )
    bias = tables.truncation_bias(study.truncations, study.runs)
    chosen = bias[(bias["origin"] == "scheme") & (bias["parameter"] == "W") & (bias["truncation"] == 3)]
    rows = study.truncations[
        study.truncations["run_id"].isin(first["run_id"]) & (study.truncations["parameter"] == "W")
    ]
    rows = rows[rows["origin"] == "scheme"]
    assert sorted(chosen["cosine"]) == sorted(rows["cosine"])


@pytest.mark.slow
def test_a_study_of_files_has_no_critical_radius(study):
    assert tables.critical_spectral_radius(study.runs).empty
    assert set(tables.summaries(study)) == {"growth", "headline", "sufficient_truncation", "theory", "truncation_bias"}


@pytest.mark.slow
def test_all_figures_show_the_files_by_their_names(study):
    drawing = figures.draw(study)
    assert set(drawing) == {"products", "lag_terms", "growth", "truncation"}
    for name in ("products", "lag_terms", "truncation"):
        legend = drawing[name].legends[0]
        assert legend.get_title().get_text() == "network"
        assert [text.get_text() for text in legend.get_texts()] == ["step0", "step1", "step2"]
    titles = [axes.get_title(loc="left") for axes in drawing["growth"].axes]
    assert "adding" in titles and not any("content" in title for title in titles)
    heat, rate = drawing["growth"].axes[:2]
    for axes in (heat, rate):
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["step0", "step1", "step2"]
    assert {line.get_linestyle() for line in rate.lines if line.get_marker() == "o"} == {"None"}


def test_files_with_one_radius_share_a_panel(study):
    """Scaling the readout alone leaves W as it is."""
    held = state_dict("gru", N=4, seed=0)
    save("twin.safetensors", {**held, "head.weight": 2 * held["head.weight"]})
    files = "cell.path=step0.safetensors,twin.safetensors"
    lines = ["workers=0", "engine=numpy", "batch_size=2", "sequence_length=8", "task=adding"]
    assert main(["sweep", "study=twins", "cell=from_file", files, *lines]) == 0
    products = figures.draw(lab.load("twins"), names=["products"])["products"]
    assert [text.get_text() for text in products.legends[0].get_texts()] == ["step0", "twin"]
    assert len(products.axes) == 2


@pytest.mark.slow
def test_rings_pool_their_networks_at_the_median_radius(study):
    rings = lab.load("rings")
    growth = tables.growth(rings.runs)
    assert set(growth["networks"]) == {3} and len(growth) == 4
    medians = rings.runs.drop_duplicates("network_id").groupby("cell_r_max")["rho"].median()
    np.testing.assert_allclose(growth["initializer_requested"], growth["cell_r_max"].map(medians), rtol=5e-4)
    assert growth["initializer_requested"].nunique() == 2 and growth["growth_rate_low"].isna().all()
    assert set(figures.draw(rings, names=["growth", "truncation"])) == {"growth", "truncation"}


@pytest.mark.slow
def test_files_and_drawn_networks_stand_side_by_side(study):
    lines = ["workers=0", "engine=numpy", "batch_size=2", "sequence_length=8", "task=adding"]
    assert main(["sweep", "study=mixed", "cell=from_file", "cell.path=step0.safetensors", *lines]) == 0
    assert main(["sweep", "study=mixed", "cell=elman", "cell.hidden_size=4", "spectral_radius=0.5,1.5", *lines]) == 0
    mixed = lab.load("mixed")
    growth = tables.growth(mixed.runs)
    assert sorted(growth["initializer_target"]) == ["measured_radius", "spectral_radius", "spectral_radius"]
    assert len(tables.critical_spectral_radius(mixed.runs)) == 1
    labels = {axes.get_xlabel() for axes in figures.draw(mixed, names=["growth"])["growth"].axes}
    assert r"radius $\rho$, requested or measured" in labels


@pytest.mark.slow
def test_the_command_line_makes_tables_and_figures(study, capsys):
    for line in (["tables", "study=own"], ["figures", "study=own", "figure=growth"], ["status", "study=own"]):
        assert main(line) == 0
    shown = capsys.readouterr().out
    assert "step1" in shown and "measured_radius" not in shown and "file" not in shown.splitlines()[1]
    assert "results/own/figures/growth.png" in visible(".") and "results/own/tables/growth.csv" in visible(".")


def test_the_same_sweep_from_other_places_is_nothing_new(study, capsys):
    shutil.copy("step0.safetensors", "again.safetensors")
    line = ["sweep", "study=own", "cell=from_file", "cell.path=again.safetensors", "batch_size=2", "task=adding"]
    line += ["engine=numpy"]
    assert main([*line, "sequence_length=8", "--dry-run"]) == 0
    assert "1 run of 1 network, 1 stored already" in capsys.readouterr().out


def test_sweeping_from_python(study):
    own = {"name": "from_file", "path": "step1.safetensors"}
    lab.sweep(
        study="python",
        cell=[own],
        task="adding",
        sequence_length=8,
        batch_size=2,
        truncation=[2, "full"],
        workers=0,
        engine="numpy",
    )
    runs = lab.load("python").runs
    assert len(runs) == 2 and set(runs["cell_of"]) == {"gru"}

"""PyTorch modules as cells: equal to our own in every measure, or to an explicit loop of autograd. Needs `torch`."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpttlab as lab
from bpttlab.errors import ConfigurationError, LabError, LabWarning, NonFiniteError
from bpttlab.verification.gradient_check import assert_agree, numerical_gradient
from tests.support.adapters import NAMES, assert_same_measures, network_of_file
from tests.support.examples import examples

torch = pytest.importorskip("torch")
nn = torch.nn


class Model(nn.Module):
    """A cell of PyTorch with a linear readout."""

    def __init__(self, kind, I, N, O, **more):
        super().__init__()
        self.cell, self.head = kind(I, N, **more), nn.Linear(N, O)
        self.input_size, self.hidden_size = I, N

    def forward(self, x_t, state):
        return self.cell(x_t, state)


class LayerNormLSTM(nn.Module):
    """An LSTM whose gates and cell are normalised."""

    def __init__(self, I, N, O):
        super().__init__()
        self.input_size, self.hidden_size = I, N
        self.of_x, self.of_h = nn.Linear(I, 4 * N), nn.Linear(N, 4 * N, bias=False)
        self.norm_x, self.norm_h, self.norm_c = nn.LayerNorm(4 * N), nn.LayerNorm(4 * N), nn.LayerNorm(N)
        self.head = nn.Linear(N, O)

    def forward(self, x_t, state):
        h, c = state
        i, f, g, o = (self.norm_x(self.of_x(x_t)) + self.norm_h(self.of_h(h))).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(self.norm_c(c)), c


def read_first(module, state):
    return module.head(state[0] if isinstance(state, tuple) else state)


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def inputs(T=7, B=3, I=2, seed=5):
    return np.random.default_rng(seed).standard_normal((T, B, I))


KINDS = {"rnn": (nn.RNNCell, {}, "tanh"), "relu": (nn.RNNCell, {"nonlinearity": "relu"}, "relu")}
KINDS |= {"gru": (nn.GRUCell, {}, None), "lstm": (nn.LSTMCell, {}, None)}


def both(kind, folder, sizes, T, B):
    """The trace of a module and that of our own cell with its weights."""
    make, more, activation = KINDS[kind]
    model = seeded(lambda: Model(make, *sizes, **more))
    state_dict = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    x = inputs(T, B, sizes[0])
    theirs = lab.forward(*lab.from_torch(model, read=read_first), x)
    return theirs, lab.forward(*network_of_file(folder, state_dict, activation), x)


@pytest.mark.parametrize(
    "kind", ["gru", "lstm", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("rnn", "relu"))]
)
def test_every_measure_is_that_of_our_own_cell(kind, tmp_path):
    theirs, ours = both(kind, tmp_path, (2, 3, 2), T=7, B=3)
    np.testing.assert_allclose(theirs.h, ours.h, rtol=0, atol=1e-14)
    assert list(theirs.cell.parts) == list(ours.cell.parts)
    assert_same_measures(theirs, ours)


@given(kind=st.sampled_from(sorted(KINDS)), sizes=st.tuples(*[st.integers(1, 4)] * 5))
@examples(6)
def test_gradients_of_random_shapes_are_those_of_our_own_cell(tmp_path_factory, kind, sizes):
    *of_network, T, B = sizes
    theirs, ours = both(kind, tmp_path_factory.mktemp("net"), tuple(of_network), T, B)
    errors = np.random.default_rng(1).standard_normal(ours.y_hat.shape)
    for scheme in (None, lab.PerLoss(2)):
        expected = lab.backward(ours, errors, scheme)
        found = lab.backward(theirs, errors, scheme)
        assert_agree(found, {**{name: expected[own] for own, name in NAMES.items()}, "h_0": expected["h_0"]})
        scaled = lab.backward(theirs, errors, scheme, scaled=True)
        assert_agree({name: scaled[name].at(0) for name in found}, found)


# ---------------------------------------------------------------------------------------------------- any module


def autograd(model, x, errors, first=0, last=None):
    """dL/dparams by a loop over time, and states whose gradients are kept."""
    own = model.double()
    zero = torch.zeros(x.shape[1], own.hidden_size, dtype=torch.float64)
    state, total, states = (zero, zero.clone()), 0.0, []
    for x_t, error in zip(torch.tensor(x), torch.tensor(errors), strict=True):
        state = own(x_t, state)
        states.append(state)
        total = total + (own.head(state[0]) * error).sum()
    total.backward()
    return {name: parameter.grad.numpy() for name, parameter in own.named_parameters()}, states


def test_a_module_of_ones_own_has_the_gradients_of_autograd():
    model, x = seeded(lambda: LayerNormLSTM(2, 3, 2)), inputs()
    cell, params = lab.from_torch(model, read=read_first)
    trace = lab.forward(cell, params, x)
    errors = np.random.default_rng(1).standard_normal(trace.y_hat.shape)
    expected, states = autograd(model, x, errors)
    assert_agree(lab.backward(trace, errors), expected)
    np.testing.assert_allclose(trace.h[-1], torch.cat(states[-1], 1).detach().numpy(), rtol=1e-13)
    assert set(params) == set(expected) and cell.output_size == 2 and set(cell.parts) == {"h", "c"}


def test_lag_products_and_schemes_are_explicit_double_loops():
    model, x = seeded(lambda: LayerNormLSTM(2, 3, 2)).double(), inputs(T=5, B=2)
    trace = lab.forward(*lab.from_torch(model, read=read_first), x)

    def step(flat, t):
        return torch.cat(model(torch.tensor(x[t]), tuple(flat.chunk(2, dim=1))), 1)

    for t in range(1, 6):
        h = torch.tensor(trace.h[t - 1])
        J = torch.autograd.functional.jacobian(lambda flat, t=t: step(flat, t - 1).sum(0), h).permute(1, 0, 2)
        np.testing.assert_allclose(trace.jacobian(t), J.numpy(), rtol=1e-12, atol=1e-14)
    errors = np.random.default_rng(1).standard_normal(trace.y_hat.shape)
    assert_agree(lab.backward(trace, errors), lab.literal_sum(trace, errors))
    kept = lab.literal_sum(trace, errors, keeps=lambda t, k: t - k < 2)
    assert_agree(lab.backward(trace, errors, lab.PerLoss(2)), kept)
    assert_agree(lab.rtrl(trace, errors), {name: value for name, value in kept.items() if name == "head.bias"})
    full = lab.backward(trace, errors)
    assert_agree(lab.rtrl(trace, errors), {name: full[name] for name in trace.params})


def test_central_differences_check_and_no_complex_step():
    model, x = seeded(lambda: LayerNormLSTM(1, 2, 1)), inputs(T=3, B=1, I=1)
    cell, params = lab.from_torch(model, read=read_first)
    trace = lab.forward(cell, params, x)
    found = lab.backward(trace, 2 * trace.y_hat)
    numeric = numerical_gradient(cell, params, x, lambda y: (y**2).sum(), analytic=False)
    assert_agree(found, numeric, 1e-6)
    with pytest.raises(ConfigurationError, match="cell 'torch': takes no complex numbers.*analytic=False"):
        numerical_gradient(cell, params, x, lambda y: (y**2).sum())


STATES = {
    "tensor": (lambda m, x, s: torch.tanh(m.W(s) + m.V(x)), 3, ["h"], (3,)),
    "dict": (lambda m, x, s: {"a": torch.tanh(m.V(x)), "b": m.W(s["b"])}, {"a": 3, "b": 3}, ["a", "b"], (3, 3)),
    "list of three": (lambda m, x, s: [s[1], s[2], torch.tanh(m.V(x) + s[0])], [3, 3, 3], ["s_1", "s_2", "s_3"], None),
    "matrix": (lambda m, x, s: s + m.V(x)[:, :, None] * m.V(x)[:, None, :], torch.zeros(1, 3, 3), ["h"], (9,)),
    "single sequence": (lambda m, x, s: torch.tanh(m.W(s) + m.V(x)), torch.zeros(3), ["h"], (3,)),
}


@pytest.mark.parametrize("kind", STATES)
def test_a_state_is_a_tensor_tuple_list_or_dict(kind):
    step, state, names, sizes = STATES[kind]
    module = seeded(lambda: nn.ModuleDict({"V": nn.Linear(2, 3), "W": nn.Linear(3, 3)}))
    cell, params = lab.from_torch(module, lambda m, x, s: step(as_attributes(m), x, s), input_size=2, state=state)
    assert list(cell.parts) == names and (sizes is None or cell.state_size == sum(sizes))
    trace = lab.forward(cell, params, inputs(T=4))
    assert np.isfinite(lab.jacobian_products(trace)["log_frobenius_norm"]).any()


def as_attributes(modules):
    return type("Modules", (), dict(modules.items()))


def test_without_a_readout_only_parameters_of_the_step_count():
    model = seeded(lambda: Model(nn.GRUCell, 2, 3, 1))
    cell, params = lab.from_torch(model)
    assert set(params) == {"cell.weight_ih", "cell.weight_hh", "cell.bias_ih", "cell.bias_hh"} and cell.output_size == 0
    trace = lab.forward(cell, params, inputs())
    assert trace.predictions.shape == (7, 3, 0)
    with pytest.raises(ConfigurationError, match=r"has no readout.*read="):
        lab.backward(trace, trace.predictions)


def test_a_module_without_parameters_has_products_and_exponents():
    class Map(nn.Module):
        def forward(self, x_t, s):
            return torch.stack([1 - 1.4 * s[:, 0] ** 2 + s[:, 1], 0.3 * s[:, 0]], dim=1)

    cell, params = lab.from_torch(Map(), input_size=1, state=2)
    found = lab.lyapunov_spectrum(cell, params, np.zeros((500, 1, 1)), transient=100)["lyapunov_exponent"]
    assert len(lab.forward_sensitivity(lab.forward(cell, params, np.zeros((3, 1, 1))))) == 0
    assert params == {} and found[0] == pytest.approx(0.419, abs=0.08)
    assert found.sum() == pytest.approx(np.log(0.3), rel=1e-12)


def test_the_module_may_change_afterwards_and_keeps_its_dtype():
    model = seeded(lambda: nn.LSTMCell(2, 3))
    cell, params = lab.from_torch(model)
    before = lab.forward(cell, params, inputs()).h
    with torch.no_grad():
        model.weight_hh.add_(1.0)
    assert np.array_equal(lab.forward(cell, params, inputs()).h, before)
    assert model.weight_hh.dtype == torch.float32 and params["weight_hh"].dtype == np.float64
    changed = lab.forward(cell, {**params, "weight_hh": params["weight_hh"] + 1.0}, inputs()).h
    assert not np.allclose(changed, before)


def shared_module():
    layer = nn.Linear(3, 3)
    return Step(lambda m, x, s: torch.tanh(m.parts[0](s) + m.parts[1](x)), layer, layer)


def shared_tensor():
    module = Step(lambda m, x, s: torch.tanh(m.parts[0](s) + m.parts[1](x)), nn.Linear(3, 3), nn.Linear(3, 3))
    module.parts[1].weight = module.parts[0].weight
    return module


@pytest.mark.parametrize("make", [shared_module, shared_tensor])
def test_a_weight_used_twice_has_the_gradient_of_both_uses(make):
    cell, params = lab.from_torch(seeded(make))
    trace = lab.forward(cell, params, inputs(T=4, I=3))
    da = np.random.default_rng(0).standard_normal(trace.states.shape)
    summed, each = cell.parameter_vjp(trace.local, da), cell.parameter_vjp_each(trace.local, da)
    rows = cell.immediate(trace.local, da)
    assert_agree({name: value.sum(0) for name, value in each.items()}, summed)
    assert_agree({name: value.sum((0, 1)) for name, value in rows.items()}, summed)
    before = {name: value.copy() for name, value in params.items()}
    assert np.array_equal(lab.forward(cell, before, trace.x).h, trace.h)


def test_float32_is_kept_where_it_is_asked_for():
    theirs = lab.from_torch(seeded(lambda: nn.GRUCell(2, 3)), dtype="float32")
    trace = lab.forward(*theirs, inputs())
    assert trace.h.dtype == np.float32
    wide = lab.forward(*lab.from_torch(seeded(lambda: nn.GRUCell(2, 3))), inputs())
    np.testing.assert_allclose(trace.h, wide.h, atol=1e-5)
    assert len(lab.jacobian_products(trace)) == len(lab.jacobian_products(wide))


def test_integers_and_buffers_are_constants():
    class Delayed(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = nn.Parameter(torch.randn(2, 2))
            self.order = nn.Parameter(torch.tensor([1, 0]), requires_grad=False)
            self.register_buffer("scale", torch.tensor(0.5))

        def forward(self, x_t, s):
            return torch.tanh(self.scale * s[:, self.order] @ self.W + x_t)

    cell, params = lab.from_torch(seeded(Delayed), input_size=2, state=2)
    assert set(params) == {"W"}
    assert np.isfinite(lab.forward(cell, params, inputs()).h).all()


# ---------------------------------------------------------------------------------------------------- refusals


class Step(nn.Module):
    """A module with one matrix, whose step is a function."""

    def __init__(self, function, *parts):
        super().__init__()
        self.W, self.parts, self.kept = nn.Linear(3, 3), nn.ModuleList(parts), 0.0
        self.register_buffer("count", torch.zeros(()))
        self.input_size = self.hidden_size = 3
        self.function = function

    def forward(self, x_t, s):
        return self.function(self, x_t, s)


def keep(m, x, s):
    m.kept = m.kept + 1.0
    return s + m.kept


def in_place(m, x, s):
    s += m.W(x)
    return s


def count(m, x, s):
    m.count += 1
    return m.W(s)


class Unlike(nn.Module):
    def forward(self, x_t, s):
        return s


OUTER, HEAD = nn.GRUCell(3, 3), nn.Linear(3, 1).double()


REFUSED = {
    "a function": (lambda: lambda x, s: s, {}, r"module=function: must be a torch\.nn\.Module"),
    "nn.LSTM": (lambda: nn.LSTM(3, 3), {}, r"module=nn\.LSTM: reads a whole sequence.*from_file, or give nn\.LSTMCell"),
    "transformer": (lambda: nn.TransformerEncoderLayer(4, 2), {}, r"TransformerEncoderLayer: reads a whole sequence"),
    "dropout": (lambda: Step(lambda m, x, s: s, nn.Dropout(0.1)), {}, r"parts\.0: Dropout in train mode.*\.eval\(\)"),
    "batch norm": (lambda: Step(lambda m, x, s: s, nn.BatchNorm1d(3)), {}, r"BatchNorm1d in train mode mixes"),
    "noise": (lambda: Step(lambda m, x, s: s + torch.randn_like(s)), {}, r"two calls .* differ: must not draw"),
    "kept state": (lambda: Step(keep), {}, r"two calls .* differ.*must not keep a state inside"),
    "in place": (lambda: Step(in_place), {"state": 3}, r"changes its argument state in place: must return a new"),
    "buffer": (lambda: Step(count), {"state": 3}, r"changes 'count' of the module.*\.eval\(\)"),
    "no_grad": (lambda: Step(torch.no_grad()(lambda m, x, s: m.W(s))), {"state": 3}, r"PyTorch records nothing"),
    "numpy": (
        lambda: Step(lambda m, x, s: torch.tensor(np.tanh(s.detach().numpy()))),
        {"state": 3},
        r"no_grad\(\), detach",
    ),
    "shape": (lambda: Step(lambda m, x, s: m.W(x)[:, :2]), {"state": 3}, r"returns \(3, 2\) for the state \(3, 3\)"),
    "structure": (lambda: Step(lambda m, x, s: (s, s)), {"state": 3}, r"returns \(\(3, 3\), \(3, 3\)\) for the state"),
    "nothing": (lambda: Step(lambda m, x, s: None), {"state": 3}, r"returns NoneType for the state"),
    "dtype": (lambda: Step(lambda m, x, s: s.float()), {"state": 3}, r"returns float32 for a state in float64.*dtype="),
    "mixed rows": (lambda: Step(lambda m, x, s: s - s.mean(0)), {"state": 3}, r"depends on the others of its batch"),
    "dict": (lambda: Step(lambda m, x, s: s["a"]), {}, r"^step: raises .*input_size=3 and state=3; another state can"),
    "no state": (Unlike, {"input_size": 3}, r"^state: must be given, for example state=32"),
    "output and state": (lambda: Step(lambda m, x, s: (m.W(s)[:, :1], s)), {}, r"^step: returns .*m\(x, s\)\[1\]$"),
    "state and output": (lambda: Step(lambda m, x, s: (s, s[:, 0])), {}, r"^step: returns .*m\(x, s\)\[0\]$"),
    "output and pair": (lambda: Step(lambda m, x, s: (s[0], (s[0], s[1]))), {"state": (3, 3)}, r"m\(x, s\)\[1\]$"),
    "another shape": (lambda: Step(lambda m, x, s: m.W(s)[:, :2]), {}, r"^step: returns \(3, 2\) for the state"),
    "outer module": (
        lambda: nn.GRUCell(3, 3),
        {"step": lambda m, x, s: OUTER(x, s)},
        r"^step: raises .*first argument",
    ),
    "outer head": (lambda: nn.GRUCell(3, 3), {"read": lambda m, s: HEAD(s)}, r"^read: uses parameters that are not"),
    "int64": (lambda: Step(lambda m, x, s: s.long()), {"state": 3}, r"remove the conversion$"),
    "4 inputs": (lambda: nn.RNNCell(3, 5), {"input_size": 4}, r"^step: raises .*input_size=4 and state=5, which must"),
    "4 of a pair": (lambda: nn.LSTMCell(3, 5), {"input_size": 4}, r"^step: raises .*input_size=4 and state=\(5, 5\)"),
    "state of 7": (lambda: nn.RNNCell(3, 5), {"state": 7}, r"^step: raises .*input_size=3 and state=7, which must"),
    "read is a module": (lambda: nn.RNNCell(3, 3), {"read": nn.Linear(3, 1)}, r"is called as read\(module, state\)$"),
    "step of two": (lambda: nn.RNNCell(3, 3), {"step": lambda x, s: s}, r"is called as step\(module, x_t, state\)"),
    "no input size": (Unlike, {}, r"input_size: must be given: Unlike has no attribute input_size"),
    "input size": (lambda: nn.GRUCell(3, 3), {"input_size": 0}, r"input_size=0"),
    "state": (lambda: nn.GRUCell(3, 3), {"state": "h"}, r"state='h': must be sizes or tensors"),
    "raises": (lambda: Step(lambda m, x, s: s / {}), {"state": 3}, r"step: raises TypeError: unsupported operand"),
    "other dtype": (lambda: nn.GRUCell(3, 3), {"dtype": "float16"}, r"dtype='float16': must be float64 or float32"),
    "read": (lambda: nn.GRUCell(3, 3), {"read": lambda m, s: s.sum()}, r"read: returns shape \(\); must return"),
    "shared": (lambda: nn.RNNCell(3, 3), {"read": lambda m, s: s @ m.weight_hh}, r"'weight_hh': is used by step and"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_measured_is_refused_in_one_line(kind):
    make, more, message = REFUSED[kind]
    with pytest.raises(ConfigurationError, match=message) as caught:
        lab.from_torch(make(), **more)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_numbers_are_refused():
    module = nn.GRUCell(2, 2)
    with torch.no_grad():
        module.weight_hh[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="parameter 'weight_hh': has a NaN or an infinity"):
        lab.from_torch(module)


def test_parameters_of_another_module_are_refused():
    outer = nn.GRUCell(2, 2)
    with pytest.raises(ConfigurationError, match="must call their first argument"):
        lab.from_torch(outer, step=lambda m, x, s: outer(x, s))
    with pytest.raises(ConfigurationError, match="uses parameters that are not those of its first argument"):
        lab.from_torch(outer.double(), step=lambda m, x, s: outer(x, s))


def test_dropout_in_eval_mode_is_accepted():
    model = Step(lambda m, x, s: m.parts[0](m.W(s)), nn.Dropout(0.5)).eval()
    assert lab.from_torch(model, state=3).cell.state_size == 3


def test_control_flow_on_numbers_goes_row_by_row_and_is_said():
    def branch(m, x, s):
        return torch.tanh(m.W(s) + x) if s.sum() > 0 else 0.5 * m.W(s) - x

    with pytest.warns(LabWarning, match="depends on the numbers of a row") as said:
        cell, params = lab.from_torch(seeded(lambda: Step(branch)), state=3)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        where = lambda m, x, s: torch.where(s.sum(1, keepdim=True) > 0, torch.tanh(m.W(s) + x), 0.5 * m.W(s) - x)  # noqa: E731
        other = lab.from_torch(seeded(lambda: Step(where)), state=3)
        x = inputs(I=3)
        one, two = lab.forward(cell, params, x), lab.forward(*other, x)
        np.testing.assert_allclose(one.h, two.h, rtol=1e-13)
        measures = {"products": lambda trace, loss: lab.jacobian_products(trace)}
        measures["sensitivity"] = lambda trace, loss: lab.forward_sensitivity(trace, steps=2)
        assert_same_measures(one, two, {name: name for name in params}, measures)


@pytest.mark.filterwarnings("ignore:step:bpttlab.errors.LabWarning")
def test_parameters_of_a_branch_that_no_trial_takes_count():
    module = seeded(lambda: Step(by_large_input, nn.Linear(3, 3), nn.Linear(3, 2)).double())
    cell, params = lab.from_torch(module, read=lambda m, s: m.parts[1](s))
    assert set(params) == set(dict(module.named_parameters())) and set(cell.shapes()) == {
        name for name in params if not name.startswith("parts.1")
    }
    x = inputs(T=4, I=3)
    x[2, 1, 0] = 5.0
    trace = lab.forward(cell, params, x)
    errors = np.random.default_rng(1).standard_normal(trace.y_hat.shape)
    state, total = torch.zeros(3, 3, dtype=torch.float64), 0.0
    for x_t, error in zip(torch.tensor(x), torch.tensor(errors), strict=True):
        state = module(x_t, state)
        total = total + (module.parts[1](state) * error).sum()
    total.backward()
    found = lab.backward(trace, errors)
    assert_agree(found, {name: one.grad.numpy() for name, one in module.named_parameters()})
    assert np.abs(found["parts.0.weight"]).max() > 0


def by_large_input(m, x, s):
    """Row by row: where the first input is large, which no trial has, another matrix."""
    return torch.cat([torch.tanh((m.parts[0] if x[r, 0] > 4 else m.W)(s[[r]]) + x[[r]]) for r in range(len(x))])


def read_large(m, s):
    return torch.cat([(m.parts[1] if s[r, 0] > 9 else m.parts[0])(s[[r]]) for r in range(len(s))])


@pytest.mark.filterwarnings("ignore:step:bpttlab.errors.LabWarning")
def test_a_branch_of_the_readout_has_its_parameters_too():
    parts = lambda: (nn.Linear(3, 3), nn.Linear(3, 3))  # noqa: E731
    cell, params = lab.from_torch(seeded(lambda: Step(lambda m, x, s: m.W(s) + x, *parts())), read=read_large)
    assert set(cell.shapes()) == {"W.weight", "W.bias"} and len(params) == 6
    with pytest.raises(ConfigurationError, match=r"'W\.bias': was not used .* may belong to step or to read"):
        lab.from_torch(seeded(lambda: Step(lambda m, x, s: m.W(s) if s[0, 0] > 9 else s, *parts())), read=read_large)


def test_a_step_without_a_path_through_its_state_is_said():
    with pytest.warns(LabWarning, match=r"by the state before it is zero.*detach\(\)") as said:
        lab.from_torch(Step(lambda m, x, s: torch.tanh(m.W(s.detach()) + x)))
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lab.from_torch(Step(lambda m, x, s: (s[0] + x, m.W(s[0].detach()))), state=(3, 3))  # one part has a path


def test_threads_share_one_module():
    cell, params = lab.from_torch(seeded(lambda: Model(nn.LSTMCell, 2, 3, 1)), read=read_first)
    x, target = inputs(B=4), np.zeros((7, 4, 1))
    alone, together = (lab.loss_and_gradient(cell, params, x, target, threads=threads) for threads in (1, 4))
    assert together[0] == pytest.approx(alone[0], rel=1e-13)
    assert_agree(together[1], alone[1])


def test_settings_of_pytorch_stay_as_they_were():
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    with torch.no_grad():
        cell, params = lab.from_torch(nn.GRUCell(2, 3).requires_grad_(False))
        torch.random.set_rng_state(state)
        trace = lab.forward(cell, params, inputs())
        assert len(lab.jacobian_products(trace)) and not torch.is_grad_enabled()
    assert torch.get_num_threads() == threads and torch.equal(torch.random.get_rng_state(), state)


def test_missing_pytorch_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(LabError, match=r"lab\.from_torch: needs PyTorch: pip install 'bpttlab\[torch\]'"):
        lab.from_torch(object())

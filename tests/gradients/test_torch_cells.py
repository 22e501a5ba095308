"""nn.RNN, nn.GRU and nn.LSTM with the same weights: states, predictions and gradients. Needs the extra `torch`."""

import numpy as np
import pytest

from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward import forward
from bpttlab.gradients.step_gradients import input_gradients
from bpttlab.networks import losses
from bpttlab.networks.cells import GRU, LSTM, Elman
from bpttlab.verification.gradient_check import assert_agree

torch = pytest.importorskip("torch")

T, B, N, I, O = 12, 3, 4, 2, 3
MODULES = {
    "tanh": (torch.nn.RNN, {"nonlinearity": "tanh"}, Elman(I, N, O)),
    "relu": (torch.nn.RNN, {"nonlinearity": "relu"}, Elman(I, N, O, "relu")),
    "gru": (torch.nn.GRU, {}, GRU(I, N, O)),
    "lstm": (torch.nn.LSTM, {}, LSTM(I, N, O)),
}
DTYPES = {"float64": torch.float64, "float32": torch.float32}


def restacked(tensors, cell):
    """Our parameters from PyTorch's: V and W as they are, biases summed but for the GRU's candidate."""
    V, W, b_ih, b_hh = (
        tensors[f"{name}_l0"].detach().numpy() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    if not isinstance(cell, GRU):
        return {"V": V, "W": W, "b_h": b_ih + b_hh}
    b_h = np.concatenate([(b_ih + b_hh)[: 2 * N], b_ih[2 * N :]])
    return {"V": V, "W": W, "b_h": b_h, "b_n": b_hh[2 * N :]}


def network(name, dtype, zero_state):
    """Both networks, with their states after every step and the predictions from the same readout."""
    torch.manual_seed(3)
    kind, options, cell = MODULES[name]
    module = kind(I, N, **options).to(DTYPES[dtype])
    readout = torch.nn.Linear(N, O).to(DTYPES[dtype])
    x = torch.randn(T, B, I, dtype=DTYPES[dtype])
    start = torch.zeros if zero_state else torch.randn
    h_0 = start(B, cell.state_size, dtype=DTYPES[dtype]).requires_grad_()
    params = {
        **restacked(dict(module.named_parameters()), cell),
        "U": readout.weight.detach().numpy(),
        "b_y": readout.bias.detach().numpy(),
    }
    trace = forward(cell, params, x.numpy(), h_0.detach().numpy())
    parts = tuple(part[None].contiguous() for part in h_0.split(N, dim=1))
    h, last = module(x, parts if len(parts) > 1 else parts[0])
    return cell, module, readout, h_0, trace, h, last, readout(h)


@pytest.mark.parametrize("zero_state", [True, False])
@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("name", list(MODULES))
def test_states_predictions_and_gradients_are_those_of_pytorch(name, dtype, zero_state):
    cell, module, readout, h_0, trace, h, last, y_hat = network(name, dtype, zero_state)
    final = torch.cat(last, dim=-1)[0] if isinstance(last, tuple) else last[0]
    ours = {"h": trace.h[1:, :, cell.readout_slice], "last": trace.h[-1], "y_hat": trace.y_hat}
    theirs = {"h": h, "last": final, "y_hat": y_hat}
    assert_agree(ours, {key: value.detach().numpy() for key, value in theirs.items()})

    errors = torch.randn(T, B, O, dtype=DTYPES[dtype])
    (y_hat * errors).sum().backward()
    gradient = {key: parameter.grad for key, parameter in module.named_parameters()}
    b_ih, b_hh = gradient["bias_ih_l0"].numpy(), gradient["bias_hh_l0"].numpy()
    expected = {
        "V": gradient["weight_ih_l0"].numpy(),
        "W": gradient["weight_hh_l0"].numpy(),
        "b_h": b_ih,  # of a sum of two, the gradient of each
        "U": readout.weight.grad.numpy(),
        "b_y": readout.bias.grad.numpy(),
        "h_0": h_0.grad.numpy(),
        **({"b_n": b_hh[2 * N :]} if isinstance(cell, GRU) else {}),
    }
    assert_agree(backward(trace, errors.numpy()), expected)


@pytest.mark.parametrize("name", list(MODULES))
def test_jacobian_products_are_those_of_pytorch(name):
    """d[h_T, c_T]/d[h_0, c_0], the whole state, row by row."""
    cell, _, _, h_0, trace, _, last, _ = network(name, "float64", False)
    final = torch.cat(last, dim=-1)[0] if isinstance(last, tuple) else last[0]
    rows = [torch.autograd.grad(final[:, n].sum(), h_0, retain_graph=True)[0] for n in range(cell.state_size)]
    assert_agree({"P": trace.product(T, 0)}, {"P": torch.stack(rows, dim=1).numpy()})


@pytest.mark.parametrize("name", list(MODULES))
def test_a_packed_sequence_has_the_same_loss_and_gradients(name):
    """pack_padded_sequence with enforce_sorted=False, and a masked mean over the valid steps."""
    torch.manual_seed(5)
    kind, options, cell = MODULES[name]
    module, readout = kind(I, N, **options).double(), torch.nn.Linear(N, O).double()
    lengths = torch.tensor([5, 12, 1, 9, 5])
    x, target = torch.randn(12, 5, I).double().requires_grad_(), torch.randn(12, 5, O).double()
    h_0 = torch.randn(5, cell.state_size).double().requires_grad_()
    parts = tuple(part[None].contiguous() for part in h_0.split(N, dim=1))
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    h, last = module(packed, parts if len(parts) > 1 else parts[0])
    y_hat = readout(torch.nn.utils.rnn.pad_packed_sequence(h)[0])
    mask = (torch.arange(12)[:, None] < lengths).double()
    loss = (((y_hat - target) ** 2).sum(-1) * mask).sum() / mask.sum()
    loss.backward()

    held = {"U": readout.weight.detach().numpy(), "b_y": readout.bias.detach().numpy()}
    params = {**restacked(dict(module.named_parameters()), cell), **held}
    trace = forward(cell, params, x.detach().numpy(), h_0.detach().numpy(), lengths=lengths.numpy())
    ours = losses.evaluate("squared_error", trace.y_hat, target.numpy(), np.ones(12), lengths=trace.lengths)
    assert ours.value == pytest.approx(loss.item(), rel=1e-13)
    final = torch.cat(last, dim=-1)[0] if isinstance(last, tuple) else last[0]
    assert_agree({"last": trace.h[-1]}, {"last": final.detach().numpy()})
    gradient = {key: parameter.grad.numpy() for key, parameter in module.named_parameters()}
    expected = {
        "V": gradient["weight_ih_l0"],
        "W": gradient["weight_hh_l0"],
        "b_h": gradient["bias_ih_l0"],
        "U": readout.weight.grad.numpy(),
        "b_y": readout.bias.grad.numpy(),
        "h_0": h_0.grad.numpy(),
        **({"b_n": gradient["bias_hh_l0"][2 * N :]} if isinstance(cell, GRU) else {}),
    }
    assert_agree(backward(trace, ours), expected)
    assert_agree({"x": input_gradients(trace, ours)}, {"x": x.grad.numpy()})

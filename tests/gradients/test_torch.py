"""PyTorch's autograd as an oracle, for every activation, loss, scheme and dtype. Optional: needs the extra `torch`."""

import numpy as np
import pytest

from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward import forward
from bpttlab.gradients.loss_and_gradient import loss_and_gradient
from bpttlab.measures.lyapunov import lyapunov_spectrum
from bpttlab.networks import losses
from bpttlab.networks.activations import ACTIVATIONS
from bpttlab.networks.cells import Elman
from bpttlab.truncation.segmented import Chunked, Full, PerLoss, Windowed
from bpttlab.verification.gradient_check import agreement, assert_agree, random_target

torch = pytest.importorskip("torch")

T, B, N, I, O = 11, 3, 5, 2, 3
MASK = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.5, 1.0, 1.0, 0.0, 1.0, 1.0])
FUNCTIONS = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "logistic": torch.sigmoid,
    "softplus": lambda a: torch.logaddexp(a, torch.zeros_like(a)),  # its own is linear above 20
    "identity": lambda a: a,
}
LOSSES = {
    "squared_error": lambda y_hat, target: ((y_hat - target) ** 2).sum(-1).mean(),
    "softmax_cross_entropy": torch.nn.functional.cross_entropy,
    "sigmoid_cross_entropy": lambda y_hat, target: (
        torch.nn.functional.binary_cross_entropy_with_logits(y_hat, target, reduction="none").sum(-1).mean()
    ),
}
SCHEMES = [Full(), PerLoss(4), Windowed(3, 5), Chunked(4)]


def network(activation, output_activation, loss_name, dtype):
    rng = np.random.default_rng(7)
    cell = Elman(I, N, O, activation, output_activation)
    params = {name: (0.7 * rng.standard_normal(shape)).astype(dtype) for name, shape in cell.parameter_shapes().items()}
    x, h_0 = rng.standard_normal((T, B, I)).astype(dtype), rng.standard_normal((B, N)).astype(dtype)
    target = random_target(rng, loss_name, (T, B, O))
    return cell, params, x, h_0, target.astype(dtype) if target.ndim == 3 else target


def torch_losses(leaves, x, target, activation, output_activation, loss_name, reduction, cut_before):
    """The weighted losses L_t / (B sum m), with the state detached before the steps in `cut_before`."""
    f_h, f_y = FUNCTIONS[activation], FUNCTIONS[output_activation]
    h, each = leaves["h_0"], []
    weights = losses.step_weights(MASK, reduction)
    for t in range(T):
        if t in cut_before:
            h = h.detach()
        h = f_h(x[t] @ leaves["V"].T + h @ leaves["W"].T + leaves["b_h"])
        y_hat = f_y(h @ leaves["U"].T + leaves["b_y"])
        each.append(float(weights[t]) * LOSSES[loss_name](y_hat, target[t]))
    return each


def autograd(cell, params, x, h_0, target, activation, output_activation, loss_name, reduction, scheme):
    """The gradient of a scheme by PyTorch: every segment is a graph of its own, detached where the segment starts."""
    total = {name: np.zeros_like(value) for name, value in {**params, "h_0": h_0}.items()}
    for start, stop, loss_from in scheme.plan(T).segments:
        leaves = {name: torch.tensor(value, requires_grad=True) for name, value in {**params, "h_0": h_0}.items()}
        cut = {int(start)} if start > 0 else set()
        each = torch_losses(
            leaves, torch.tensor(x), torch.tensor(target), activation, output_activation, loss_name, reduction, cut
        )
        sum(each[loss_from:stop]).backward()
        for name, leaf in leaves.items():
            # a leaf without a gradient is one that the losses of this segment do not reach
            if leaf.grad is not None:
                total[name] = total[name] + leaf.grad.numpy()
    return total


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss_name", sorted(losses.LOSSES))
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_backward_is_autograd(activation, loss_name, scheme, dtype):
    output_activation = "tanh" if activation == "identity" else "identity"
    cell, params, x, h_0, target = network(activation, output_activation, loss_name, dtype)
    for reduction in ("mean", "sum"):
        trace = forward(cell, params, x, h_0)
        loss = losses.evaluate(loss_name, trace.y_hat, target, MASK, reduction)
        expected = autograd(cell, params, x, h_0, target, activation, output_activation, loss_name, reduction, scheme)
        assert_agree(backward(trace, loss, scheme), expected, agreement(dtype))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_jacobian_products_are_autograd(activation):
    cell, params, x, h_0, _ = network(activation, "identity", "squared_error", "float64")
    trace = forward(cell, params, x[:, :1], h_0[:1])
    weights = {name: torch.tensor(value) for name, value in params.items()}

    def state(h):
        for t in range(2, 9):
            h = FUNCTIONS[activation](torch.tensor(x[t, 0]) @ weights["V"].T + h @ weights["W"].T + weights["b_h"])
        return h

    expected = torch.autograd.functional.jacobian(state, torch.tensor(trace.h[2, 0])).numpy()
    assert_agree({"P": trace.product(9, 2)[0]}, {"P": expected})


def test_tensors_with_gradients_are_taken_as_arrays():
    cell, params, x, h_0, target = network("tanh", "identity", "squared_error", np.float64)[:5]
    given = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    tensors = [torch.tensor(value, requires_grad=True) for value in (x, h_0)]
    expected, found = forward(cell, params, x, h_0), forward(cell, given, *tensors)
    np.testing.assert_array_equal(found.h, expected.h)
    assert all(type(value) is np.ndarray for value in (found.x, *found.params.values()))
    dL_dy_hat = np.ones_like(expected.y_hat)
    assert_agree(backward(found, torch.tensor(dL_dy_hat, requires_grad=True)), backward(expected, dL_dy_hat))
    loss, gradient = loss_and_gradient(cell, given, tensors[0], torch.tensor(target, requires_grad=True), threads=2)
    other_loss, other = loss_and_gradient(cell, params, x, target, threads=2)
    assert loss == other_loss
    assert_agree(gradient, other)
    spectra = [lyapunov_spectrum(cell, *of, count=1) for of in ((given, *tensors), (params, x, h_0))]
    assert spectra[0].equals(spectra[1])

"""Whole trainings against the same loop of PyTorch: same weights, data and losses. Optional: the extra `torch`."""

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.numerics.random_streams import stream
from bpttlab.training import SGD, AdamW, RMSprop

torch = pytest.importorskip("torch")

CASES = {
    "adamw": (AdamW(), lambda ps: torch.optim.AdamW(ps, lr=0.01)),
    "rmsprop": (RMSprop(momentum=0.5), lambda ps: torch.optim.RMSprop(ps, lr=0.01, momentum=0.5)),
    "nesterov": (SGD(0.9, nesterov=True), lambda ps: torch.optim.SGD(ps, lr=0.01, momentum=0.9, nesterov=True)),
}


@pytest.mark.parametrize("task", [lab.tasks.Adding(sequence_length=12), lab.tasks.Copy(sequence_length=12, symbols=2)])
@pytest.mark.parametrize("case", CASES)
def test_losses_are_those_of_the_same_loop_of_pytorch(case, task):
    ours, make = CASES[case]
    cell = lab.Elman(task.input_size, 7, task.output_size)
    params = cell.init(2)
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    optimizer, losses = make(tensors.values()), []
    for update in range(1, 21):
        batch = task.sample(stream("training data", 0, task.name, update), 5)
        h, steps = torch.zeros(5, 7, dtype=torch.float64), []
        for x_t in torch.tensor(batch.x):
            h = torch.tanh(x_t @ tensors["V"].T + h @ tensors["W"].T + tensors["b_h"])
            steps.append(h @ tensors["U"].T + tensors["b_y"])
        y_hat, target = torch.stack(steps), torch.tensor(batch.target)
        if task.loss_name == "squared_error":
            each = ((y_hat - target) ** 2).sum(-1)
        else:
            each = torch.nn.functional.cross_entropy(y_hat.flatten(0, 1), target.flatten(), reduction="none")
            each = each.reshape(target.shape)
        loss = (torch.tensor(batch.mask)[:, None] * each).sum() / (5 * batch.mask.sum())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tensors.values(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    trained = lab.train(
        cell, params, task, optimizer=ours, learning_rate=0.01, updates=20, batch_size=5, clip_norm=0.5, engine="numpy",
        check_sequences=5, progress=False,
    )  # fmt: skip
    np.testing.assert_allclose(trained.history["loss"], losses, rtol=1e-11)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(trained.params[name], tensor.detach().numpy(), rtol=1e-9, atol=1e-12)

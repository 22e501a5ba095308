"""One update of a network: a batch, its gradient, and one step of the optimizer.

Everything is a function of the state before it, of the number of the update and of the seed. So a run may be stopped
after any update and goes on with the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError, GradientRangeError, NonFiniteError
from bpttlab.fields import format_value
from bpttlab.gradients.backward import cuts_nothing
from bpttlab.gradients.engine import Engine, find_engine
from bpttlab.gradients.forward import forward
from bpttlab.gradients.inputs import check_params
from bpttlab.gradients.loss_and_gradient import Data, Setting, of_sequences
from bpttlab.gradients.parameter_gradients import readout_gradient
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params, weights_dtype
from bpttlab.networks.losses import SQUARED_ERROR, Loss, Reduction, refuse_no_readout
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import stream
from bpttlab.tasks.task import Batch, Task
from bpttlab.training.clipping import ClippedGradient, clip_gradient_norm, clip_gradient_value, global_norm
from bpttlab.training.data import TrainingData
from bpttlab.training.history import UpdateRow
from bpttlab.training.layout import VectorLayout
from bpttlab.training.online import STATE, Online, find_loss_steps
from bpttlab.training.optimizers.optimizer import Optimizer, OptimizerState
from bpttlab.training.penalties.penalty import Penalty
from bpttlab.training.projections import Projection
from bpttlab.training.schedules import Schedule
from bpttlab.training.settings import Training
from bpttlab.training.success import Evaluation, evaluate_network
from bpttlab.training.windows import Window, find_windows, gradient_of_window, place_of
from bpttlab.truncation.scheme import Scheme, Segmented

VECTOR = "all"
"""The name of the one vector that an elementwise optimizer receives."""


@dataclass(frozen=True)
class TrainingState:
    """A network in training, between two updates.

    Attributes:
        update: how many updates were done.
        vector: the numbers that are moved (`VectorLayout`).
        optimizer: what the optimizer keeps.
        carried: with updates by window or step the state "h" of the sequences (B, N), and what else is carried on
            within a batch; None: at the start of one.
    """

    update: int
    vector: Array
    optimizer: OptimizerState
    carried: Params | None = None


class BatchGradient(NamedTuple):
    """The loss of a batch, the penalty with its strength, and the gradient of their sum by the parameters."""

    loss: float
    penalty: float | None
    gradient: Params


@dataclass(frozen=True)
class Setup:
    """All that decides an update beside the state.

    Attributes:
        cell, task, data: the network and its batches.
        layout: what is moved.
        optimizer, scheme, settings: how.
        seed: of what is drawn for the scheme and for the network's own noise.
        reduction: of the loss.
        loops, dtype: the engine, and the type of all numbers.
        first: the weights before training.
        penalty: what is added to the loss; None: nothing.
        projection: what follows each step; None: nothing.
        input_scale: factor of the inputs.
        state_scale: standard deviation of the numbers of h_0.
    """

    cell: Cell
    task: Task
    data: TrainingData
    layout: VectorLayout
    optimizer: Optimizer
    scheme: Scheme
    settings: Training
    seed: int
    reduction: Reduction
    loops: Engine
    dtype: Any
    first: Params
    penalty: Penalty | None = None
    projection: Projection | None = None
    input_scale: float = 1.0
    state_scale: float = 0.0

    # ------------------------------------------------------------------ what follows from it

    @cached_property
    def schedule(self) -> Schedule:
        return self.settings.make_schedule()

    @cached_property
    def learning_rate(self) -> float:
        stated = self.settings.learning_rate
        return self.optimizer.usual_learning_rate if stated is None else stated

    @cached_property
    def in_one_piece(self) -> bool:
        """Whether loss and gradient may come from the engine's shortest way, which keeps no trace."""
        if type(self.task).loss is not Task.loss or self.task.loss_name != SQUARED_ERROR.name:
            return False
        return isinstance(self.scheme, Segmented) and cuts_nothing(self.scheme, self.task.sequence_length)

    # ------------------------------------------------------------------ one update

    def batch(self, update: int) -> Batch:
        """The batch of an update as the network receives it."""
        return self.as_input(self.data.batch(update), update)

    def as_input(self, batch: Batch, update: int) -> Batch:
        """A batch with the scale of the inputs and what the cell draws beside them, in the dtype of the weights."""
        x = batch.x if self.input_scale == 1.0 else batch.x * self.input_scale
        x = self.cell.extend_inputs(x, stream("training noise", self.seed, update)) if self.is_noisy else x
        return batch if x is batch.x and x.dtype == self.dtype else replace(batch, x=np.asarray(x, self.dtype))

    @cached_property
    def is_noisy(self) -> bool:
        return type(self.cell).extend_inputs is not Cell.extend_inputs

    def initial_states(self, batch: Batch, update: int) -> Array | None:
        """h_0 of every sequence, drawn for each update; None: zero."""
        if self.state_scale == 0.0:
            return None
        drawn = stream("training initial state", self.seed, update).standard_normal(
            (batch.x.shape[1], self.cell.state_size)
        )
        return np.asarray(self.cell.initial_states(self.state_scale * drawn), self.dtype)

    def gradient(self, params: Params, batch: Batch, update: int) -> BatchGradient:
        """Loss and gradient at fixed weights, by the scheme and with the penalty.

        Raises:
            LabError: the state, the loss or the gradient left the range of the dtype.
        """
        h_0 = self.initial_states(batch, update)
        penalized = self.penalty is not None and self.settings.uses_penalty(update)
        if self.in_one_piece and not penalized and batch.lengths is None:
            target = np.asarray(batch.target, self.dtype)
            data = Data(batch.x, target, batch.mask, h_0, None)
            setting = Setting(self.loops, self.cell, params, self.task.loss_name, self.reduction, None)
            loss, gradient = of_sequences(setting, data)
            return BatchGradient(loss, None, gradient)
        trace = forward(self.cell, params, batch.x, h_0, self.loops, lengths=batch.lengths)
        evaluated = self.task.loss(trace.y_hat, batch.prefix(trace.length), self.reduction)
        gradient = {}
        if not (penalized and update <= self.settings.penalty_alone):
            rng = stream("training scheme", self.seed, self.scheme.name, update)
            gradient = add_readout(trace, evaluated, self.scheme.one_gradient(trace, evaluated, rng))
        if self.penalty is None or not penalized:
            return BatchGradient(evaluated.value, None, gradient)
        value, beside = self.penalty.value_and_gradient(trace, evaluated)
        strength = self.settings.penalty_strength
        return BatchGradient(evaluated.value, strength * value, add_scaled(params, gradient, strength, beside))

    def step(self, state: TrainingState) -> tuple[TrainingState, UpdateRow]:
        """The state after one more update, and its row.

        Raises:
            DivergedError, NonFiniteError: the weights have no finite loss.
            GradientRangeError: the gradient, or a weight after the step, is not finite.
        """
        update = state.update + 1
        params, carried = self.layout.params(state.vector), None
        if self.settings.update == "window":
            found, carried = self.window_gradient(params, state)
        elif self.settings.update == "step":
            found, carried = self.step_gradient(params, state)
        else:
            found = self.gradient(params, self.batch(update), update)
        if not math.isfinite(found.loss):
            raise NonFiniteError(f"the loss is {found.loss}")
        vector = self.layout.pull_back(state.vector, found.gradient)
        rate = self.learning_rate * self.schedule.factor(update)
        clipped = self.clip(vector)
        if not math.isfinite(clipped.log_norm) and clipped.log_norm != -math.inf:
            raise GradientRangeError("the gradient is not finite")
        moved, kept = self.move(state, clipped.gradient[VECTOR], rate)
        by_parameter = self.layout.log_norms(vector) if self.settings.is_recorded(update) else None
        row = UpdateRow(
            update, found.loss, found.penalty, clipped.log_norm, clipped.clipped, rate, by_parameter=by_parameter
        )
        return TrainingState(update, moved, kept, carried), row

    @cached_property
    def windows(self) -> list[Window]:
        """The windows of a batch that have a loss, with updates by window."""
        assert isinstance(self.scheme, Segmented)
        return find_windows(self.scheme, self.data.batch(1).mask)

    def window_gradient(self, params: Params, state: TrainingState) -> tuple[BatchGradient, Params | None]:
        """The gradient of the next window, and the state that is carried on from it."""
        number, window = place_of(state.update + 1, self.windows)
        batch = self.read_batch(number)
        h = self.initial_states(batch, number) if state.carried is None else state.carried[STATE]
        found = gradient_of_window(self.cell, params, self.task, batch, window, h, self.reduction, self.loops)
        carried = None if found.carried is None else {STATE: found.carried}
        return BatchGradient(found.loss, None, found.gradient), carried

    @cached_property
    def loss_steps(self) -> list[int]:
        """The steps of time at which a loss counts, with updates by step."""
        return find_loss_steps(self.data.batch(1).mask)

    @cached_property
    def online(self) -> Online:
        return Online(self.cell, self.task, self.loops, self.scheme, self.first, self.seed, self.reduction)

    def step_gradient(self, params: Params, state: TrainingState) -> tuple[BatchGradient, Params | None]:
        """The gradient of the next step of time with a loss, and what is carried on from it."""
        number, t = place_of(state.update + 1, self.loss_steps)
        place, batch = self.loss_steps.index(t), self.read_batch(number)
        since = self.loss_steps[place - 1] if place else 0
        h_0 = self.initial_states(batch, number)
        found = self.online.gradient(params, batch, number, since, t, state.carried, h_0)
        is_last = place + 1 == len(self.loss_steps)
        return BatchGradient(found.loss, None, found.gradient), None if is_last else found.carried

    def read_batch(self, number: int) -> Batch:
        """A batch of which many updates are, read once."""
        if self._read.get("number") != number:
            self._read.update(number=number, batch=self.batch(number))
        batch: Batch = self._read["batch"]
        return batch

    @cached_property
    def _read(self) -> dict[str, Any]:
        """The batch that was read last: many updates are of one."""
        return {}

    def clip(self, vector: Array) -> ClippedGradient:
        """The gradient within the bounds, entries first, and the norm that it had."""
        settings, gradient = self.settings, {VECTOR: vector}
        norm = global_norm(gradient)
        if settings.clip_value is None:
            if settings.clip_norm is None:
                return ClippedGradient(gradient, norm.log, False)
            return clip_gradient_norm(gradient, settings.clip_norm, norm)
        clipped = clip_gradient_value(gradient, settings.clip_value)
        if settings.clip_norm is None:
            return clipped
        by_norm = clip_gradient_norm(clipped.gradient, settings.clip_norm)
        return ClippedGradient(by_norm.gradient, norm.log, by_norm.clipped or clipped.clipped)

    def move(self, state: TrainingState, gradient: Array, rate: float) -> tuple[Array, OptimizerState]:
        """The vector and the optimizer's state after its step, projected and finite.

        Raises:
            GradientRangeError: a weight is not finite.
        """
        if self.optimizer.elementwise:
            given = read_only({VECTOR: state.vector})
            result = self.optimizer.update(given, {VECTOR: gradient}, state.optimizer, rate)
            found, kept = check_result(self.optimizer, result, given)
            moved = found[VECTOR]
        else:
            arrays, gradients = read_only(self.layout.unpack(state.vector)), self.layout.unpack(gradient)
            result = self.optimizer.update(arrays, gradients, state.optimizer, rate)
            found, kept = check_result(self.optimizer, result, arrays)
            moved = self.layout.pack(found)
        if not np.isfinite(moved).all():
            raise GradientRangeError("a weight is not finite after the step")
        if self.projection is not None:
            moved = self.layout.pack(self.projection(self.cell, self.layout.params(moved)))
        return moved, kept

    def first_state(self, vector: Array) -> TrainingState:
        """The state before the first update."""
        params = {VECTOR: vector} if self.optimizer.elementwise else self.layout.unpack(vector)
        return TrainingState(0, vector, self.optimizer.init(params))

    # ------------------------------------------------------------------ what was learnt

    @cached_property
    def checked_batch(self) -> Batch:
        return self.as_input(self.data.validation(), 0)

    @cached_property
    def test_batch(self) -> Batch | None:
        """The sequences of the test part as the network receives them; None: there is none."""
        batch = self.data.test()
        return None if batch is None else self.as_input(batch, 0)

    def check(self, state: TrainingState) -> Evaluation:
        """The network on the sequences that are checked."""
        return self.evaluate(state, self.checked_batch)

    def evaluate(self, state: TrainingState, batch: Batch) -> Evaluation:
        """The network on some sequences, which are inputs as it receives them."""
        params, h_0 = self.layout.params(state.vector), self.initial_states(batch, 0)
        return evaluate_network(self.cell, params, self.task, batch, self.loops, h_0)

    @cached_property
    def solved_below(self) -> float | None:
        """The error below which the task is solved; None: it has no such error."""
        stated = self.settings.solved_below
        return self.task.solved_below if stated is None else stated


def make_setup(
    cell: Cell,
    params: Params,
    task: Task,
    settings: Training,
    optimizer: Optimizer,
    scheme: Scheme,
    seed: int,
    batch_size: int,
    reduction: Reduction,
    engine: str,
    penalty: Penalty | None = None,
    projection: Projection | None = None,
    frozen: Collection[str] = (),
    input_scale: float = 1.0,
    state_scale: float = 0.0,
) -> tuple[Setup, TrainingState]:
    """The parts of a training run, checked before anything is computed, and its state before the first update.

    Raises:
        ConfigurationError: the parts do not go together; the message names the field.
    """
    refuse_no_readout(cell.output_size)
    check_params(cell, params)
    if (task.input_size, task.output_size) != (cell.input_size, cell.output_size):
        raise ConfigurationError(
            f"task '{task.name}': has {task.input_size} inputs and {task.output_size} outputs, and the cell "
            f"{cell.input_size} and {cell.output_size}"
        )
    if reduction not in ("mean", "sum"):
        raise ConfigurationError(f"reduction={format_value(reduction)}: must be one of mean, sum")
    scheme.check_cell(cell.name)
    settings.check(scheme, penalty)
    for part in (penalty, projection):
        if part is not None:
            part.check(cell)
    layout, vector = VectorLayout.of(cell, params, frozen)
    data = settings.make_data(task, seed, batch_size)
    setup = Setup(
        cell, task, data, layout, optimizer, scheme, settings, seed, reduction, find_engine(engine),
        weights_dtype(params), params, penalty, projection, input_scale, state_scale,
    )  # fmt: skip
    return setup, setup.first_state(vector)


def add_readout(trace: Trace, loss: Loss, gradient: Params) -> Params:
    """The gradient of a scheme with that of the readout, which has no path through time."""
    names = trace.cell.parameter_shapes()
    if all(name in gradient for name in names):
        return gradient
    return {**readout_gradient(trace, loss.gradient), **gradient}


def add_scaled(params: Params, gradient: Params, factor: float, beside: Params) -> Params:
    """gradient + factor beside, with zeros for what neither has."""
    found = {}
    for name, value in params.items():
        total = gradient[name] if name in gradient else np.zeros_like(value)
        found[name] = total + value.dtype.type(factor) * beside[name] if name in beside else total
    return found


def check_result(optimizer: Optimizer, result: Any, given: Params) -> tuple[Params, OptimizerState]:
    """What an optimizer has returned, if it is new parameters like those that were given, and a state.

    Raises:
        ConfigurationError: it is something else, as an optimizer of a user's own may return.
    """
    name = f"optimizer '{getattr(optimizer, 'name', type(optimizer).__name__)}': update"
    is_pair = isinstance(result, tuple) and len(result) == 2
    if not is_pair or not isinstance(result[0], Mapping) or not isinstance(result[1], OptimizerState):
        raise ConfigurationError(f"{name} must return a pair: parameters by name, and an OptimizerState")
    for parameter, before in given.items():
        shape = getattr(result[0].get(parameter), "shape", None)
        if shape != before.shape:
            found = "returned none" if shape is None else f"returned one of shape {shape}"
            of = "an array" if parameter == VECTOR else f"an array {parameter}"
            raise ConfigurationError(f"{name} must return {of} of shape {before.shape}; it {found}")
    return result


def read_only(arrays: Params) -> Params:
    """Views that cannot be written: an optimizer that works in place would change the last good weights."""
    views = {name: value.view() for name, value in arrays.items()}
    for view in views.values():
        view.flags.writeable = False
    return views

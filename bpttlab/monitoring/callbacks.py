"""A monitor as a callback of Lightning or Keras: thin faces of `Monitor`, made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING, Any

from bpttlab.errors import ConfigurationError
from bpttlab.fields import format_value

if TYPE_CHECKING:
    from bpttlab.monitoring.monitor import Monitor

TakePart = Callable[[Any], Any]
"""(model) -> a part of it."""

LIGHTNING = ("lightning.pytorch", "pytorch_lightning")
"""The modules that Lightning may be."""


def lightning_callback(monitor: Monitor, module: Any, readout: Any = None) -> Any:
    """A callback that measures before training, after every n-th optimizer step and at the end.

    Args:
        module, readout: functions of the LightningModule, or names of its attributes.

    Raises:
        ConfigurationError: Lightning is not installed, or an argument is no function and no name.
    """
    network = find_part("module", module)
    layer = None if readout is None else find_part("readout", readout)

    class LightningMonitor(import_first(LIGHTNING, "Callback", "lightning")):  # type: ignore[misc]  # known at run time
        """Calls the monitor with the number of optimizer steps that were done."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self.call(monitor, trainer, pl_module)

        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any = None, batch_idx: int = 0
        ) -> None:
            self.call(monitor, trainer, pl_module, outputs)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            self.call(monitor.measure, trainer, pl_module)

        def call(self, measure: Callable[..., None], trainer: Any, pl_module: Any, outputs: Any = None) -> None:
            if trainer.global_step != monitor.last_update and getattr(trainer, "is_global_zero", True):
                guard(monitor, measure, trainer.global_step, pl_module, network, layer, loss_of(outputs))

    return LightningMonitor()


def keras_callback(monitor: Monitor, layer: Any, readout: Any = None) -> Any:
    """The same for Keras.

    Args:
        layer, readout: functions of the model, or names of its layers.

    Raises:
        ConfigurationError: Keras is not installed, or an argument is no function and no name.
    """
    network = find_layer("layer", layer)
    after = None if readout is None else find_layer("readout", readout)

    class KerasMonitor(import_first(("keras",), "callbacks.Callback", "keras")):  # type: ignore[misc]  # as above
        """Calls the monitor with the number of optimizer steps that were done."""

        def on_train_begin(self, logs: Any = None) -> None:
            self.call(monitor, None)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.call(monitor, (logs or {}).get("loss"))

        def on_train_end(self, logs: Any = None) -> None:
            self.call(monitor.measure, None)

        def call(self, measure: Callable[..., None], loss: Any) -> None:
            update = int(self.model.optimizer.iterations)
            if update != monitor.last_update:
                guard(monitor, measure, update, self.model, network, after, loss)

    return KerasMonitor()


def guard(
    monitor: Monitor,
    measure: Callable[..., None],
    update: int,
    model: Any,
    network: TakePart,
    readout: TakePart | None,
    loss: Any,
) -> None:
    """Calls the monitor, if it wants this update; a part of the model that cannot be found is its fault to say."""
    if measure == monitor and update % monitor.every:
        return
    try:
        found, layer = network(model), None if readout is None else readout(model)
    except Exception as error:
        found, layer = MissingPart(f"{type(error).__name__}: {error}"), None
    measure(update, found, loss=loss, readout=layer)


class MissingPart:
    """What a function of the model raised in place of the network."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def find_part(name: str, part: Any) -> TakePart:
    """The function that takes a part of a model by the name of an attribute: "rnn", "encoder.rnn"."""
    if isinstance(part, str):
        return attrgetter(part)
    if not callable(part):
        raise ConfigurationError(f"{name}={format_value(part)}: must be a function (model) -> part, or a name")
    found: TakePart = part
    return found


def find_layer(name: str, layer: Any) -> TakePart:
    """The function that takes a layer of a Keras model by its name."""
    return methodcaller("get_layer", layer) if isinstance(layer, str) else find_part(name, layer)


def import_first(modules: tuple[str, ...], name: str, package: str) -> Any:
    """A class of the first of these modules that is installed."""
    for module in modules:
        try:
            found = import_module(module)
        except ImportError:
            continue
        for part in name.split("."):
            found = getattr(found, part)
        return found
    raise ConfigurationError(f"{package} is not installed: pip install {package}")


def loss_of(outputs: Any) -> Any:
    """The loss that a training step of Lightning returned."""
    return outputs.get("loss") if isinstance(outputs, dict) else outputs

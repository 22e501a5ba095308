"""Parts of a configuration that do not go together, refused before anything is computed."""

from __future__ import annotations

from bpttlab.errors import ConfigurationError
from bpttlab.networks.cells import Cell
from bpttlab.networks.losses import find_loss
from bpttlab.networks.pretrained import FromFile
from bpttlab.tasks import Task


def check_loss(task: Task) -> None:
    """Refuses a task whose loss has a name that none has, or without predictions, before anything is computed."""
    if task.output_size < 1:
        raise ConfigurationError(f"task '{task.name}': output_size={task.output_size}: must be >= 1, for it has a loss")
    try:
        find_loss(task.loss_name)
    except ConfigurationError as error:
        raise ConfigurationError(f"task '{task.name}': loss_name: {error}") from error


def check_readout(readout: str, cell: Cell, own: FromFile | None) -> None:
    if readout == "drawn":
        return
    if own is not None and own.has_readout:
        raise ConfigurationError(f"readout={readout}: that of cell.path={own.path!r} is in the file; must be drawn")
    if not cell.has_linear_readout:
        raise ConfigurationError(f"readout={readout}: the cell '{cell.name}' has a readout of its own; must be drawn")
    if cell.output_size > cell.hidden_size:
        raise ConfigurationError(
            f"readout={readout}: {cell.output_size} outputs of {cell.hidden_size} hidden units; must be drawn"
        )

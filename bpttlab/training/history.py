"""What is recorded of a training run: a row for each update, and the norms of its gradient by parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame
from bpttlab.training.success import Evaluation

if TYPE_CHECKING:
    import pandas as pd


class UpdateRow(NamedTuple):
    """One update.

    Attributes:
        update: counted from 1; 0: before training, which has no loss of a batch.
        loss: of the batch before the update.
        penalty: the penalty times its strength; None: there is none.
        log_gradient_norm: log of the norm of the gradient of loss and penalty, before clipping, over all parameters.
        clipped: whether it was clipped.
        learning_rate: of this update.
        validation_loss, validation_accuracy, validation_error: after the update (`success.Evaluation`); None: not
            checked.
        by_parameter: log norm of the gradient by each parameter.
    """

    update: int
    loss: float
    penalty: float | None
    log_gradient_norm: float
    clipped: bool
    learning_rate: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    validation_error: float | None = None
    by_parameter: Mapping[str, float] | None = None

    @property
    def validation(self) -> Evaluation:
        """What was checked after the update."""
        assert self.validation_loss is not None
        return Evaluation(self.validation_loss, self.validation_accuracy, self.validation_error)


HISTORY_COLUMNS = UpdateRow._fields[:-1]
"""The columns of the table `training`."""
INTEGERS, TRUTHS = ("update",), ("clipped",)


@dataclass
class History:
    """The rows of a run, in the order of updates."""

    rows: list[UpdateRow] = field(default_factory=list)

    def columns(self) -> dict[str, Array]:
        """The table `training`: what is None is NaN."""
        return {name: make_column(name, [getattr(row, name) for row in self.rows]) for name in HISTORY_COLUMNS}

    def gradient_columns(self) -> dict[str, Array]:
        """The table `training_gradients`: update, parameter, log_gradient_norm."""
        cells = [(row.update, *one) for row in self.rows for one in (row.by_parameter or {}).items()]
        updates, parameters, norms = zip(*cells, strict=True) if cells else ((), (), ())
        return {
            "update": np.array(updates, np.int64),
            "parameter": np.array(parameters, object),
            "log_gradient_norm": np.array(norms, np.float64),
        }

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each recorded update."""
        return as_frame(self.columns())

    @property
    def gradients(self) -> pd.DataFrame:
        """A row for each recorded update and parameter."""
        return as_frame(self.gradient_columns())


def make_column(name: str, values: list[Any]) -> Array:
    if name in INTEGERS:
        return np.array(values, np.int64)
    if name in TRUTHS:
        return np.array(values, bool)
    return np.array([np.nan if value is None else value for value in values], np.float64)

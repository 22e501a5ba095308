"""The loss of a batch, and how many derivatives of activations count as zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bpttlab.measures.measure import Context, Measure, Result
from bpttlab.networks.losses import Loss
from bpttlab.store.measure_columns import FORWARD_PASS


@dataclass(frozen=True)
class ForwardPass(Measure):
    """Results of the forward pass alone: its loss and its underflows."""

    name: ClassVar[str] = "forward_pass"
    summary = FORWARD_PASS.summary
    needs_states: ClassVar[bool] = False

    def __call__(self, context: Context) -> Result:
        loss = context.loss.value if isinstance(context.loss, Loss) else None
        return Result(summary={"loss": loss, "underflows": context.trace.underflows})

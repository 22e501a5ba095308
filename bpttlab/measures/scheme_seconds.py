"""The time of one gradient by the scheme of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from bpttlab.fields import Field
from bpttlab.measures.measure import Context, Measure, Result


@dataclass(frozen=True)
class SchemeSeconds(Measure):
    """Seconds of one gradient in plain numbers: a column of `provenance`, for no two runs of one program take equal
    time."""

    name: ClassVar[str] = "scheme_seconds"
    depends_on_scheme: ClassVar[bool] = True

    scheme_seconds: Annotated[bool, Field(description="whether one gradient by the scheme is timed")] = False

    @property
    def active(self) -> bool:
        return self.scheme_seconds

    def __call__(self, context: Context) -> Result:
        assert context.stream is not None
        seconds = context.scheme.seconds(context.trace, context.loss, context.stream())
        return Result(provenance={"scheme_seconds": seconds})

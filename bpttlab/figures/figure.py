"""The contract of a figure: a name, and a function that draws it of a study's tables.

def draw_half_life(request):
    frame = request.study.half_life                  # the table of a measure of one's own
    if frame.empty:
        raise LabError("no run of the study measured a half-life")
    ...

HALF_LIFE = StudyFigure("half_life", draw_half_life)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpttlab import tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bpttlab.figures.style import Size
    from bpttlab.tables import StudyTables


@dataclass(frozen=True)
class FigureRequest:
    """The request for a figure.

    Attributes:
        study: a loaded study.
        size: "column" (3.4 inches wide) or "page" (7 inches).
        run_id: the run of a figure that shows one; None: the figure chooses.
        chosen_parameter: the parameter of figures that show one; None: `tables.main_parameter`.
    """

    study: StudyTables
    size: Size = "page"
    run_id: str | None = None
    chosen_parameter: str | None = None

    @property
    def parameter(self) -> str:
        """The parameter to show if only one can be shown."""
        return self.chosen_parameter or tables.main_parameter(self.study.truncations)


@dataclass(frozen=True)
class StudyFigure:
    """A figure of every study that has the tables for it.

    Attributes:
        name: the name of its file.
        draw: raises LabError, with the reason, if the study lacks the data of the figure.
    """

    name: str
    draw: Callable[[FigureRequest], Figure]

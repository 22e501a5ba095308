"""The contract of a figure: a name, and a function that draws it of a study's tables.

def draw_half_life(request):
    frame = request.study.half_life                  # the table of a measure of one's own
    if frame.empty:
        raise LabError("no run of the study measured a half-life")
    ...

HALF_LIFE = StudyFigure("half_life", draw_half_life)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpttlab import tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bpttlab.figures.style import Size
    from bpttlab.tables import StudyTables


FieldNames = str | Sequence[str] | None
"""The names of fields, as one text with commas between them or as several."""


@dataclass(frozen=True)
class Comparison:
    """The fields that a caller wants in colours, columns and rows; empty: the figure chooses."""

    color: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    @classmethod
    def of(cls, color: FieldNames = None, columns: FieldNames = None, rows: FieldNames = None) -> Comparison:
        """The comparison of names as a person writes them: "cell,cell.hidden_size"."""
        return cls(_split(color), _split(columns), _split(rows))

    def named(self) -> dict[str, tuple[str, ...]]:
        """The names by the word that gives them."""
        return {"color": self.color, "columns": self.columns, "rows": self.rows}


AUTOMATIC = Comparison()


def _split(names: FieldNames) -> tuple[str, ...]:
    several = names.split(",") if isinstance(names, str) else names or ()
    return tuple(name.strip() for name in several if name.strip())


@dataclass(frozen=True)
class FigureRequest:
    """The request for a figure.

    Attributes:
        study: a loaded study.
        size: "column" (3.4 inches wide) or "page" (7 inches).
        run_id: the run of a figure that shows one; None: the figure chooses.
        chosen_parameter: the parameter of figures that show one; None: `tables.main_parameter`.
        comparison: the swept fields that have the colours, columns and rows.
    """

    study: StudyTables
    size: Size = "page"
    run_id: str | None = None
    chosen_parameter: str | None = None
    comparison: Comparison = AUTOMATIC

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

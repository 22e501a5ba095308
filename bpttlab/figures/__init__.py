"""Figures of a study: frames in, `Figure` out. Figures compute nothing that is not in a table.

`draw` makes all figures that a study has tables for, in one style: the shipped ones (`shipped`) and a user's own
(`StudyFigure`). A single figure function takes a summary of `bpttlab.tables` and the style that its caller has set.
Plotting libraries are imported when a figure is drawn.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpttlab import plugins
from bpttlab.errors import ConfigurationError, LabError, nearest
from bpttlab.figures.figure import AUTOMATIC, Comparison, FieldNames, FigureRequest, StudyFigure
from bpttlab.tables import StudyTables, for_summaries
from bpttlab.tables.selection import ChosenRuns
from bpttlab.user_environment import import_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bpttlab.figures.style import Size

__all__ = [
    "NAMES",
    "OF_COSTS",
    "OF_GRADIENTS",
    "OF_SPECTRA",
    "OF_TRAINING",
    "Drawing",
    "FigureRequest",
    "StudyFigure",
    "draw",
    "save",
    "save_all",
]

OF_GRADIENTS = ("products", "lag_terms", "growth", "triangle", "truncation")
OF_SPECTRA = ("exponents", "spectrum", "finite_time", "singular_values", "eigenvalues", "paths", "sensitivity")
OF_COSTS = ("bias_variance", "error_cost", "bias_bounds", "directions")
OF_UPDATES = ("updates", "paired")
OF_TRAINING = (*OF_UPDATES, "training", "lag_profile", "trained_eigenvalues", "success", "success_curves")
NAMES = (*OF_GRADIENTS, *OF_COSTS, *OF_SPECTRA, *OF_TRAINING)
"""Those of `shipped`."""


class Drawing(dict[str, "Figure"]):
    """The figures of a study by name; `skipped` has the reason for each figure that was not drawn, and `failed` names
    those of a user's own of which the reason is an error in their function; `refused`: those that cannot place a field
    that is named."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped: dict[str, str] = {}
        self.failed: set[str] = set()
        self.refused: set[str] = set()

    def __repr__(self) -> str:
        return f"Drawing({', '.join(self) or 'no figure'}; {len(self.skipped)} not drawn)"

    def _repr_html_(self) -> str:
        """All figures, one below the other, for a notebook."""
        return "".join(f"<p>{escape(name)}</p>{image_of(figure)}" for name, figure in self.items())


def image_of(figure: Figure) -> str:
    """A figure within a page of HTML, as wide as it is on paper at 100 pixels an inch."""
    from bpttlab.figures import style

    width, png = 100 * figure.get_figwidth(), b64encode(style.png_of(figure)).decode()
    return f'<img style="max-width:100%; width:{width:.0f}px" src="data:image/png;base64,{png}">'


def draw(
    study: StudyTables,
    size: Size = "page",
    run_id: str | None = None,
    parameter: str | None = None,
    told: Callable[[str], object] = lambda name: None,
    *,
    names: Sequence[str] = (),
    color: FieldNames = None,
    columns: FieldNames = None,
    rows: FieldNames = None,
    style: str | None = None,
    where: str = "",
) -> Drawing:
    """All figures of a study, or some, for a column (3.4 inches) or a page (7 inches) of a paper.

    Args:
        study: a loaded study.
        size: "column" or "page".
        run_id: the run whose triangle is drawn; by default the one nearest to criticality that has one.
        parameter: the parameter whose lag terms and truncated gradient are drawn; by default `tables.main_parameter`.
        told: a function that receives the name of each figure before it is drawn.
        names: the figures to draw; by default all.
        color, columns, rows: swept fields ("cell", "cell.hidden_size", "file", "width", or several with commas
            between) that have the colours, columns and rows; the figure places all others.
        style: an .mplstyle file or a style of matplotlib on top of the house style; "current": your rcParams alone.
        where: the runs to draw: "cell=gru,lstm spectral_radius>=1" (`tables.selection`).

    Returns:
        Figures by name: NAMES in this order, then a user's own; `skipped` has the reasons of missing ones.

    Raises:
        LabError: the study has no runs, or the size, a figure, a field or the style is unknown.
    """
    import_matplotlib()
    from bpttlab.figures.style import style_context

    if study.runs.empty:
        raise LabError("the study has no runs: there is nothing to draw")
    study = ChosenRuns(study, where) if where else study
    chosen, comparison = choose_figures(names), Comparison.of(color, columns, rows)
    refuse_comparison(study, comparison, names)
    drawing, request = Drawing(), FigureRequest(study, size, run_id, parameter, comparison)
    narrow, shipped = replace(request, study=for_summaries(study, run_id)), plugins.find_shipped("figure").values()
    with style_context(size, style):
        for name, figure in chosen.items():
            told(name)
            try:
                check_placement(name, comparison)
                drawing[name] = draw_one(figure, narrow if figure in shipped else request)
            except LabError as reason:
                drawing.skipped[name] = str(reason)
                drawing.failed |= {name} if isinstance(reason, FailedFigureError) else set()
                drawing.refused |= {name} if isinstance(reason, ConfigurationError) else set()
    return drawing


def choose_figures(names: Sequence[str]) -> dict[str, StudyFigure]:
    """The figures of some names, or all.

    Raises:
        ConfigurationError: there is no such figure.
    """
    known = plugins.available("figure")
    for name in names:
        if name not in known:
            raise ConfigurationError(f"figure={name}: must be one of {', '.join(known)}.{nearest(name, known)}")
    return {name: figure for name, figure in known.items() if name in names or not names}


_COLOURS = {
    "singular_values": "lags",
    "eigenvalues": "matrices",
    "paths": "parts of the state",
    "sensitivity": "parameters",
    "lag_profile": "the size of the gradient's terms",
    "trained_eigenvalues": "before and after training",
    "bias_variance": "schemes",
    "error_cost": "schemes",
    "bias_bounds": "the bias, its bound and its estimate",
    "directions": "schemes",
}
"""Figures whose colours are no swept field, and what they are; their panels are swept fields."""


def check_placement(name: str, comparison: Comparison) -> None:
    """Raises ConfigurationError for fields that a figure cannot place."""
    if name == "triangle" and comparison != AUTOMATIC:
        raise ConfigurationError(
            "figure=triangle: it shows one run, which where= chooses: leave out color=, columns= and rows="
        )
    if name in OF_UPDATES and comparison != AUTOMATIC:
        raise ConfigurationError(
            f"figure={name}: its panels are quantities and its colours are networks: leave out color=, columns= and "
            "rows=; where= chooses networks"
        )
    if name in _COLOURS and comparison.color:
        raise ConfigurationError(
            f"figure={name}: its colours are {_COLOURS[name]}: leave out color=; name the field in columns= or rows="
        )


def refuse_comparison(study: StudyTables, comparison: Comparison, names: Sequence[str]) -> None:
    """Raises ConfigurationError for what is no swept field, and for fields that a named figure cannot place."""
    if comparison == AUTOMATIC:
        return
    from bpttlab.figures.comparison import refuse_unknown
    from bpttlab.tables.points import point_columns, with_requested

    runs = with_requested(study.runs)
    refuse_unknown(runs, [name for name in point_columns(study.runs) if name in runs], comparison)
    for name in names:
        check_placement(name, comparison)


class FailedFigureError(LabError):
    """The function of a user's own figure raised an exception, or returned no figure."""


def draw_one(figure: StudyFigure, request: FigureRequest) -> Figure:
    """A figure.

    Raises:
        LabError: the reason why there is none.
        FailedFigureError: one of a user's own fails; the message has its file and line.
    """
    from matplotlib.figure import Figure

    shipped = figure in plugins.find_shipped("figure").values()
    try:
        drawn = figure.draw(request)
        if not (shipped or isinstance(drawn, Figure)):
            raise TypeError(f"draw returns a {type(drawn).__name__}: must be a matplotlib Figure")
    except Exception as error:
        if shipped or isinstance(error, LabError):
            raise
        raise FailedFigureError(plugins.describe_failure(figure, error)) from error
    return drawn


def save(figure: Figure, path: str | os.PathLike[str], format: str | None = None, style: str | None = None) -> Path:
    """Write the figure: save(figure, "mine.pdf"); the format is that of the path, or `format` is added to it.

    Args:
        style: the style that it was drawn with, as in `draw`.
    """
    import_matplotlib()
    from bpttlab.figures.style import save_figure

    return save_figure(figure, path, format, style)


def save_all(
    drawing: Drawing, folder: Path, format: str, own: Mapping[str, Any], style: str | None = None
) -> list[Path]:
    """Saves every figure; the paths. One of a user's own that cannot be saved is added to `drawing.failed`.

    Args:
        own: the user's object that made a figure, by the name of the figure.
    """
    paths = []
    for name, figure in drawing.items():
        try:
            paths.append(save(figure, folder / f"{name}.{format}", format, style))
        except Exception as error:
            if name not in own or isinstance(error, LabError):
                raise
            drawing.skipped[name] = plugins.describe_failure(own[name], error)
            drawing.failed.add(name)
    return paths

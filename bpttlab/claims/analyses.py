"""Analyses of experiments: the `analysis.py` in the folder of each experiment of the package.

An analysis has a function `claims(study)` that checks statements of the literature (`bpttlab.claims.claims`). It may
have `summaries(study)` and `draw(study, size)` for tables and figures of its own. FIGURE names the figure that answers
its question (default: growth). A study that was swept with experiment=NAME has the analysis of NAME.
"""

from __future__ import annotations

import runpy
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from bpttlab import plugins, resources
from bpttlab.claims.experiment import Experiment, no_figures, no_tables
from bpttlab.errors import ConfigurationError, LabError, StoreError, nearest
from bpttlab.store import sweep_requests
from bpttlab.store.store import Store, Study
from bpttlab.tables.selection import ChosenRuns
from bpttlab.user_environment import import_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bpttlab.figures.style import Size


class Analysis(NamedTuple):
    """The functions of an experiment's analysis; `figure` names the figure that answers its question."""

    name: str
    claims: Callable[[Any], pd.DataFrame]
    summaries: Callable[[Any], dict[str, pd.DataFrame]]
    draw: Callable[..., dict[str, Figure]]
    figure: str


def find_analysis(name: str) -> Analysis:
    """The analysis of an experiment.

    Raises:
        ConfigurationError: there is none of this name; the message lists all names.
    """
    added, paths = own_experiments(), resources.analyses()
    if name in added:
        return analysis_of(added[name])
    if name not in paths:
        known = [*paths, *added]
        raise ConfigurationError(f"experiment={name}: must be one of {', '.join(known)}.{nearest(name, known)}")
    members = runpy.run_path(str(paths[name]))
    own = members.get("summaries", no_tables), members.get("draw", no_figures)
    return Analysis(name, members["claims"], *own, members.get("FIGURE", "growth"))


def own_experiments() -> dict[str, Experiment]:
    """The experiments that do not come with bpttlab, by name."""
    return {choice.name: choice.value for choice in plugins.own_choices() if choice.kind == "experiment"}


def analysis_of(experiment: Experiment) -> Analysis:
    """The analysis of an experiment that does not come with bpttlab.

    Raises:
        ConfigurationError: from its claims, if it makes none.
    """

    def no_claims(study: Study) -> pd.DataFrame:
        raise ConfigurationError(f"experiment={experiment.name} makes no claims")

    claims = experiment.claims or no_claims
    return Analysis(experiment.name, claims, experiment.summaries, experiment.draw, experiment.figure)


def of(study: Study) -> str | None:
    """The experiment of the study's last sweep, from its command; otherwise the one with the study's name."""
    name = resources.experiment_in(words(study)) or study.path.name
    return name if name in resources.analyses() or name in own_experiments() else None


def words(study: Study) -> list[str]:
    """The words of the study's last command, as far as it is known. Nothing in it is executed."""
    try:
        line = sweep_requests.find_last_line(Store(study.path.parent, study.path.name))
        return shlex.split(line) if line else []
    except (StoreError, ValueError):
        return []


def check_claims(analysis: Analysis, study: Study) -> pd.DataFrame:
    """The claims of the experiment, checked against the study.

    Raises:
        LabError: the study lacks the rows that the claims need.
    """
    return _make(analysis, study, analysis.claims, "checked against the claims")


def _make(analysis: Analysis, study: Study, make: Callable[[Any], Any], what: str) -> Any:
    try:
        return make(study)
    except (LookupError, ValueError, TypeError) as error:  # tables without the rows that the analysis needs
        swept = of(study)
        if analysis.name != swept:
            other = f", but with experiment={swept}" if swept else ""
            raise LabError(
                f"{study.path} cannot be {what} of {analysis.name}: the study was not swept with "
                f"experiment={analysis.name}{other}"
            ) from error
        raise LabError(
            f"{study.path} cannot be {what} of {analysis.name}. Was it swept with "
            f"experiment={analysis.name}? ({type(error).__name__}: {error})"
        ) from error


def find_summaries(analysis: Analysis, study: Study) -> dict[str, pd.DataFrame]:
    """The experiment's own tables of the study; raises the same errors as the claims."""
    return _make(analysis, study, analysis.summaries, "summarised in the tables")


def draw_figures(
    analysis: Analysis, study: Study, size: Size, own: str | None = None, where: str = ""
) -> dict[str, Figure]:
    """The figures that the experiment makes of the study, in the style of all; errors as of `check_claims`.

    Args:
        own: a style of the user's.
        where: the runs to draw (`tables.selection`).

    Raises:
        LabError: also if the runs of `where` are too few for the figures.
    """
    import_matplotlib()
    from bpttlab.figures import style

    with style.style_context(size, own):
        if not where:
            return _make(analysis, study, lambda one: analysis.draw(one, size), "drawn in the figures")
        chosen = ChosenRuns(study, where)
        try:
            return analysis.draw(chosen, size)
        except LabError:
            raise
        except (LookupError, ValueError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise LabError(f"where={where}: the figures of {analysis.name} need other runs, too ({reason})") from error

"""`bpttlab figures`: figures of a stored study."""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from bpttlab import plugins
from bpttlab.cli.arguments import (
    EXPERIMENT,
    NETWORKS_KEY,
    PLUGINS_KEY,
    RESULTS,
    STUDY,
    WIDTH,
    Key,
    add_command,
    asks_for_studies,
    key_values,
    list_studies,
    refuse_bare_study,
    say,
    split_list,
    split_names,
)
from bpttlab.cli.tables import load_with_analysis, name_unread_plugins
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.files import own_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bpttlab.claims.analyses import Analysis
    from bpttlab.figures import Drawing
    from bpttlab.store.store import Study

_DESCRIPTION = """\
Draws a study from its stored tables into results/NAME/figures. Every field that was swept is compared: it has colours,
columns or rows of panels. Drawing again gives the same bytes. A quantity that was
not measured is not drawn. A study of an experiment has the figures of that experiment as well, and plugins= adds your
own."""

_TEXT = """\
examples:

  bpttlab figures study=first
  bpttlab figures study=first format=pdf size=column      for one column of a paper
  bpttlab figures study=first products growth             these alone; figure=products,growth is the same
  bpttlab figures study=first color=cell columns=cell.hidden_size
  bpttlab figures study=first 'where=cell=gru,lstm spectral_radius>=1' style=mine.mplstyle
  bpttlab figures study=first --verbose                   every path, and why a figure is not drawn
  bpttlab figures study=mine networks=path                files of your own (cell=from_file) as networks of one point
  bpttlab figures study=                                  the names of the studies

color=, columns= and rows= take swept fields: cell, cell.hidden_size (or width), task, file, spectral_radius,
sequence_length, ...; several have commas between them. What is not named is placed by itself: the requested value has
the colours, or the field with most values if one value is requested, and the others have the panels. These figures
have colours of their own and take columns= and rows= alone: bias_variance, error_cost, bias_bounds, directions,
singular_values, eigenvalues, paths, sensitivity, lag_profile, trained_eigenvalues. triangle shows one run and takes
none; nor do the figures of an experiment, which take where=. In growth and exponents the requested value is on an
axis. A figure that cannot place a field that is named is not drawn, and is named. Of networks in training the update
has the colours; updates and paired have panels of their own. The figures of some runs (where=) have a folder of their
own below results/NAME/figures, so that those of the whole study stay.

figures, and the setting of the sweep that they need:

  products         norms of Jacobian products against lag
  lag_terms        the parts of the gradient by lag, and their cumulative share
  growth           growth over the sequence for every radius and length; asymptotic rates
  triangle         every product of one run                                        measure=triangle
  truncation       bias and cosine of the truncated gradient
  bias_variance    bias and variance of each scheme, a path as K grows             scheme=uoro, random, chunked_mean;
                                                                                   or measure.scheme_seconds=true
  error_cost       the error of one gradient against steps and seconds             as for bias_variance
  bias_bounds      the bias against K beside its bound and its estimate            scheme=adaptive
  directions       derivatives along a direction: where the sign is wrong          measure.log_scale=true or
                                                                                   measure.signed_bias=UNITS
  exponents        the largest Lyapunov exponent, cells in one panel               measure=spectra
  spectrum         all exponents by index                                          measure=spectra
  finite_time      the largest exponent over windows of time: histograms           measure=spectra
  singular_values  singular values of products over their lag, and the exponents   measure=spectra
  eigenvalues      eigenvalues of W, of J at the origin and of J_t                 measure=spectra
  paths            products between h and c of an LSTM, or between layers          measure=spectra
  sensitivity      dependence of the state on each parameter, against time         measure=spectra
  updates          loss, growth rate, horizon, exponent against the update         lab.Monitor (docs/monitor.md)
  paired           the same before and after training, a line for each network     lab.Monitor
  training         loss, gradient norm, exponent and horizon against the update    training=standard
  lag_profile      the parts of the gradient by lag and update, as a map           training=standard or lab.Monitor
  trained_eigenvalues  eigenvalues of W before and after training                  the same, with
                                                                                   measure.eigenvalue_steps=1
  success          the share of solved networks against the length                 training=standard
  success_curves   the share of solved networks against the update                 training=standard

Exit code: 0: success; 1: a stored file is damaged and was left out; 2: the command could not finish, or a figure of
your own failed; the message says why.
"""

FORMAT = Key("format", "the format of the files (png)", "png", ("png", "svg", "pdf"))
_FIGURE = Key("figure", "draw only these figures, with commas between (default: all)")
_COLOR = Key("color", "the swept field that has the colours", value="FIELD")
_COLUMNS = Key("columns", "the swept fields that stand side by side", value="FIELD")
_ROWS = Key("rows", "the swept fields that stand one above the other", value="FIELD")
_WHERE = Key("where", "the runs to draw: FIELD=VALUE,VALUE; also !=, <, <=, >, >=; spaces between", value="CONDITION")
_STYLE = Key("style", "an .mplstyle file or a style of matplotlib, on top of the house style", value="FILE.mplstyle")
SIZE = Key("size", "the width of the figures: of a page, or of one of its columns (page)", "page", ("page", "column"))

PLACES = ("color", "columns", "rows")
"""Keys that place fields."""
_REST = (NETWORKS_KEY, EXPERIMENT, PLUGINS_KEY, RESULTS)


def register(commands: Any) -> None:
    """Adds `bpttlab figures`."""
    parser = add_command(
        commands,
        "figures",
        _command,
        (STUDY, _FIGURE, _COLOR, _COLUMNS, _ROWS, _WHERE, _STYLE, FORMAT, SIZE, *_REST),
        summary="draw a study as PNG, SVG or PDF",
        usage="study=NAME [FIGURE ...] [color=FIELD] [columns=FIELD] [rows=FIELD] [where=CONDITION]\n"
        "                       [style=FILE.mplstyle] [format=png|svg|pdf] [size=page|column] [networks=path]\n"
        "                       [experiment=NAME] [plugins=FILE.py] [results=FOLDER] [--verbose]",
        description=_DESCRIPTION,
        text=_TEXT,
    )
    parser.add_argument("--verbose", "-v", action="store_true", help="show every path, and why a figure is not drawn")


def _command(parsed: argparse.Namespace) -> int:
    """Draws a study."""
    if asks_for_studies(parsed.words):
        return list_studies(parsed.words)
    names, words = split_names(parsed.words, parsed.keys)
    refuse_bare_study(names, words, "figure")
    chosen = key_values(words, parsed.keys, "figures")
    with plugins.use(chosen["plugins"] or None):
        return _draw(chosen, [*names, *split_list(chosen["figure"])], parsed.verbose)


def _draw(chosen: dict[str, str], names: list[str], verbose: bool) -> int:
    """`_command`, with the user's own figures known."""
    from bpttlab import figures

    analysis, study = load_with_analysis(chosen)
    added, own = _draw_analysis(analysis, study, chosen, names)
    drawing = _draw_shipped(study, chosen, [name for name in names if name not in added], all_figures=not names)
    drawing.update(added)
    if not names and has_own_figures(analysis) and any(chosen[word] for word in PLACES):
        drawing.skipped[analysis.name] = _tell_fixed(analysis)
        drawing.refused.add(analysis.name)
    refuse_what_is_not_drawn(names, drawing)
    folder = find_folder(study, chosen["where"])
    paths = figures.save_all(drawing, folder, chosen["format"], own, chosen["style"] or None)
    skipped = {name: why for name, why in drawing.skipped.items() if name not in drawing.failed}
    say("\n".join(_report(folder, paths, skipped, verbose)))
    if drawing.refused and not verbose:
        words = " ".join(f"{word}={chosen[word]}" for word in PLACES if chosen[word])
        say(f"not drawn with {words}: {', '.join(sorted(drawing.refused))} (--verbose says why)")
    name_unread_plugins(chosen, study)
    for name in sorted(drawing.failed):
        say(f"not drawn: {name}: {drawing.skipped[name]}", error=True)
    return 2 if drawing.failed else 0


def find_folder(study: Study, where: str) -> Path:
    """The folder of the figures; those of some of the runs have one of their own, so that they replace no others.

    Raises:
        StoreError: it is a link or a file.
    """
    folder, condition = study.folder_of("figures"), " ".join(where.split())
    if not condition:
        return folder
    words = re.sub(r"[^A-Za-z0-9]+", "_", condition).strip("_")[:60]
    return own_folder(folder, f"where_{words}_{hashlib.sha256(condition.encode()).hexdigest()[:8]}")


def _draw_shipped(study: Study, chosen: dict[str, str], names: list[str], all_figures: bool) -> Drawing:
    """The figures that are not those of an experiment."""
    from bpttlab import figures

    if not (names or all_figures):
        return figures.Drawing()
    fields = {word: chosen[word] or None for word in (*PLACES, "style")}
    size: Any = chosen["size"]
    return figures.draw(study, size, told=_announce, names=names, where=chosen["where"], **fields)


def _draw_analysis(
    analysis: Analysis | None, study: Study, chosen: dict[str, str], names: list[str]
) -> tuple[dict[str, Figure], dict[str, Any]]:
    """The figures of an experiment that are wanted; and a user's own objects by the name of their figure."""
    from bpttlab.claims import analyses

    own = {choice.name: choice.value for choice in plugins.own_choices() if choice.kind == "figure"}
    if analysis is None or (names and all(name in plugins.available("figure") for name in names)):
        return {}, own
    if any(chosen[word] for word in PLACES) and not names:
        return {}, own
    _announce(f"the figures of {analysis.name}")
    size: Any = chosen["size"]
    drawn = analyses.draw_figures(analysis, study, size, chosen["style"] or None, chosen["where"])
    added = {name: figure for name, figure in drawn.items() if name in names or not names}
    if added and any(chosen[word] for word in PLACES):
        raise ConfigurationError(f"figure={next(iter(added))}: {_tell_fixed(analysis)}")
    experiments = analyses.own_experiments()
    return added, own | (dict.fromkeys(added, experiments[analysis.name]) if analysis.name in experiments else {})


def has_own_figures(analysis: Analysis | None) -> TypeGuard[Analysis]:
    """Whether a study has an experiment with figures of its own."""
    from bpttlab.claims.experiment import no_figures

    return analysis is not None and analysis.draw is not no_figures


def _tell_fixed(analysis: Analysis) -> str:
    """The reason why a figure of an experiment takes no fields."""
    return f"a figure of the experiment {analysis.name} has panels of its own: leave out color=, columns= and rows="


def refuse_what_is_not_drawn(names: list[str], drawing: Drawing) -> None:
    """Raises the reason if a figure that was named is not drawn."""
    for name in names:
        if name not in drawing and name not in drawing.failed:
            raise LabError(f"figure={name} is not drawn: {drawing.skipped[name]}")


def _report(folder: Path, paths: list[Path], skipped: dict[str, str], verbose: bool) -> list[str]:
    """The lines that say what was drawn."""
    if verbose:
        return [*map(str, paths), *(f"not drawn: {name}: {why}" for name, why in skipped.items())]
    names = ", ".join(path.stem for path in paths)
    line = f"figures: {folder} ({len(paths)}: {names})"
    return [line if len(line) <= WIDTH else f"figures: {folder} ({len(paths)}; --verbose lists them)"]


def _announce(name: str) -> None:
    """Shows on a terminal what is being drawn; a large study takes some seconds a figure."""
    if sys.stderr.isatty():
        say(f"drawing {name} …", error=True)

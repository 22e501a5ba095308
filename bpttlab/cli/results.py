"""`bpttlab tables` and `bpttlab figures`: what is made of a stored study."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bpttlab import plugins
from bpttlab.cli.arguments import NONE, STUDY, key_values, opened, without_plugins

if TYPE_CHECKING:
    from bpttlab.claims.analyses import Analysis
    from bpttlab.store.store import Study

TABLES_HELP = """\
bpttlab tables study=NAME [experiment=NAME] [plugins=FILE.py] [results=FOLDER]

Summarises a study over its networks: growth over the sequence and its regime, asymptotic rates, horizons, the critical
spectral radius, what truncation costs, and the largest Lyapunov exponent where it was measured (measure=spectra).
Intervals are 95 %, of the median over networks by order statistics, and need six networks; docs/tables.md says of every
column what it is. Prints the summaries and writes them to results/NAME/tables as .csv (every digit), .md and .tex. A
study of an experiment has the tables of that experiment. plugins= adds tables of your own (docs/extending.md).

  bpttlab tables study=first
  bpttlab tables study=first results=/data/results
"""

FIGURES_HELP = """\
bpttlab figures study=NAME [format=png|svg|pdf] [size=page|column] [experiment=NAME] [plugins=FILE.py] [results=FOLDER]

Draws a study from its stored tables into results/NAME/figures. Drawing again gives the same bytes. What
was not measured is not drawn, and named. A study of an experiment has the figures of that experiment beside these.
plugins= adds figures of your own (docs/extending.md).

  products         norms of Jacobian products against lag
  lag_terms        the parts of the gradient by lag, and their cumulative share
  growth           growth over the sequence for every radius and length; asymptotic rates
  triangle         every product of one run                                     measure=triangle
  truncation       bias and cosine of the truncated gradient
  bias_variance    bias and variance of each scheme, a path as K grows          measure.scheme_seconds=true
  error_cost       the error of one gradient against steps and seconds          measure.scheme_seconds=true
  bias_bounds      the bias against K beside its bound and its estimate         scheme=adaptive
  directions       derivatives along a direction: where the sign is wrong       measure.log_scale=true
  exponents        the largest Lyapunov exponent, cells in one panel            measure=spectra, as all that follow
  spectrum         all exponents by index
  finite_time      the largest exponent over windows of time: histograms
  singular_values  singular values of products over their lag, tending to the exponents
  eigenvalues      of W, of J at the origin and of J_t, in the complex plane
  paths            products between the parts of a state: h and c of an LSTM, layers of a stack
  sensitivity      how the state depends on each parameter, against time

  bpttlab figures study=first
  bpttlab figures study=first format=pdf size=column      for one column of a paper
"""

TABLES = {**STUDY, "experiment": NONE, "plugins": NONE}
FIGURES = {**TABLES, "format": "png", "size": "page"}
SHOWN_ROWS = 60


def tables_command(arguments: list[str]) -> int:
    """Prints and writes the summaries of a study."""
    chosen = key_values(arguments, TABLES)
    with plugins.using(chosen["plugins"] or None):
        return print_tables(chosen)


def print_tables(chosen: Mapping[str, str]) -> int:
    """`tables_command`, with the user's own tables known."""
    from bpttlab import tables
    from bpttlab.claims import analyses

    analysis, study = analysed(chosen)
    summaries = tables.summaries(study) | (analyses.summaries(analysis, study) if analysis else {})
    width = shutil.get_terminal_size((120, 24)).columns
    for name, frame in summaries.items():
        written = tables.write(frame, study.path / "tables" / name)
        endings = ",".join(path.suffix.removeprefix(".") for path in written)
        shown = tables.most_requested(name, frame)
        rest = "" if len(shown) == len(frame) else f": {len(shown)} of {len(frame)} rows, all of them in the files"
        print(f"{name.replace('_', ' ')}  ({study.path / 'tables' / name}.{{{endings}}}){rest}\n")
        print(tables.print_table(shown, width=width, rows=SHOWN_ROWS))
    say_what_is_not_read(chosen, study)
    return 0


def say_what_is_not_read(chosen: Mapping[str, str], study: Study) -> None:
    """A line where the study was swept with files of the user's own, and this command was given none."""
    from bpttlab.claims import analyses

    named, _ = without_plugins(analyses.words(study))
    if named is not None and not chosen["plugins"]:
        print(f"plugins={named} is not read: give it here too for tables, figures and claims of its own")


def analysed(chosen: Mapping[str, str]) -> tuple[Analysis | None, Study]:
    """The study, and the analysis of the experiment that was named, else of the one that it was swept with."""
    from bpttlab.claims import analyses

    if chosen["experiment"]:
        return analyses.find_analysis(chosen["experiment"]), opened(chosen)
    study = opened(chosen)
    name = analyses.of(study)
    return (analyses.find_analysis(name) if name else None), study


def drawing_now(name: str) -> None:
    """Tells whoever waits at a terminal what is being drawn; a large study takes some seconds a figure."""
    if sys.stderr.isatty():
        print(f"drawing {name} …", file=sys.stderr)


def figures_command(arguments: list[str]) -> int:
    """Draws a study."""
    chosen = key_values(arguments, FIGURES)
    with plugins.using(chosen["plugins"] or None):
        return draw_figures(chosen)


def draw_figures(chosen: Mapping[str, str]) -> int:
    """`figures_command`, with the user's own figures known."""
    from bpttlab import figures
    from bpttlab.claims import analyses
    from bpttlab.figures import style

    style.check_size(chosen["size"])
    analysis, study = analysed(chosen)
    drawing = figures.draw(study, chosen["size"], told=drawing_now)  # type: ignore[arg-type]  # checked above
    if analysis:
        drawing_now(f"the figures of {analysis.name}")
        drawing.update(analyses.draw_figures(analysis, study, chosen["size"]))  # type: ignore[arg-type]
    for name, figure in drawing.items():
        print(figures.save(figure, study.path / "figures" / name, chosen["format"]))
    for name, why in drawing.skipped.items():
        print(f"not drawn: {name}: {why}")
    say_what_is_not_read(chosen, study)
    return 0

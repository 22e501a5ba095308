"""`bpttlab figures`: figures of a stored study."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

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
    key_values,
    say,
)
from bpttlab.cli.tables import load_with_analysis, name_unread_plugins

_DESCRIPTION = """\
Draws a study from its stored tables into results/NAME/figures. Drawing again gives the same bytes. A quantity that was
not measured is not drawn. A study of an experiment has the figures of that experiment as well, and plugins= adds your
own."""

_TEXT = """\
examples:

  bpttlab figures study=first
  bpttlab figures study=first format=pdf size=column      for one column of a paper
  bpttlab figures study=first --verbose                   every path, and why a figure is not drawn
  bpttlab figures study=mine networks=path                files of your own (cell=from_file) as networks of one point

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

Exit code: 0: success; 2: the command could not finish, or a figure of your own failed; the message says why.
"""

FORMAT = Key("format", "the format of the files (png)", "png", ("png", "svg", "pdf"))
SIZE = Key("size", "the width of the figures: of a page, or of one of its columns (page)", "page", ("page", "column"))


def register(commands: Any) -> None:
    """Adds `bpttlab figures`."""
    parser = add_command(
        commands,
        "figures",
        _command,
        (STUDY, FORMAT, SIZE, NETWORKS_KEY, EXPERIMENT, PLUGINS_KEY, RESULTS),
        summary="draw a study as PNG, SVG or PDF",
        usage="study=NAME [format=png|svg|pdf] [size=page|column] [networks=path] [experiment=NAME]\n"
        "                       [plugins=FILE.py] [results=FOLDER] [--verbose]",
        description=_DESCRIPTION,
        text=_TEXT,
    )
    parser.add_argument("--verbose", "-v", action="store_true", help="show every path, and why a figure is not drawn")


def _command(parsed: argparse.Namespace) -> int:
    """Draws a study."""
    chosen = key_values(parsed.words, parsed.keys, "figures")
    with plugins.use(chosen["plugins"] or None):
        return _draw(chosen, parsed.verbose)


def _draw(chosen: dict[str, str], verbose: bool) -> int:
    """`_command`, with the user's own figures known."""
    from bpttlab import figures
    from bpttlab.claims import analyses

    analysis, study = load_with_analysis(chosen)
    drawing = figures.draw(study, chosen["size"], told=_announce)  # type: ignore[arg-type]  # a choice of the key
    own = {choice.name: choice.value for choice in plugins.own_choices() if choice.kind == "figure"}
    if analysis:
        _announce(f"the figures of {analysis.name}")
        added = analyses.draw_figures(analysis, study, chosen["size"])  # type: ignore[arg-type]
        drawing.update(added)
        experiments = analyses.own_experiments()
        own |= dict.fromkeys(added, experiments[analysis.name]) if analysis.name in experiments else {}
    folder = study.path / "figures"
    paths = figures.save_all(drawing, folder, chosen["format"], own)
    skipped = {name: why for name, why in drawing.skipped.items() if name not in drawing.failed}
    say("\n".join(_report(folder, paths, skipped, verbose)))
    name_unread_plugins(chosen, study)
    for name in sorted(drawing.failed):
        say(f"not drawn: {name}: {drawing.skipped[name]}", error=True)
    return 2 if drawing.failed else 0


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

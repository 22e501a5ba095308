"""Makes the small reference results of the experiments: the claims and the figure that the README of each shows.

    python experiments/reference.py [NAME ...] [--into FOLDER]        all of them; some minutes

writes results/reference/experiments/NAME.csv (what was measured, to three digits: enough to be the same bytes on
another machine) and NAME.png.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bpttlab import figures, resources
from bpttlab.claims import analyses
from bpttlab.claims.analyses import Analysis
from bpttlab.errors import ConfigurationError
from bpttlab.files import publish
from bpttlab.store.store import Study
from bpttlab.verification.experiments import sweep_experiment

FOLDER = Path(__file__).resolve().parent.parent / "results" / "reference" / "experiments"
NUMBERS = ("measured", "low", "high", "tolerance", "chance", "p_inside", "p_outside")
ROUNDING = 1e-8
"""What is smaller is rounding, and differs from machine to machine: written as 0."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(resources.analyses()))
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="FOLDER")
    chosen = parser.parse_args(arguments)
    try:
        wanted = [analyses.find_analysis(name) for name in chosen.names or resources.analyses()]
    except ConfigurationError as error:
        parser.error(str(error))
    for analysis in wanted:
        for path in made(analysis, chosen.into):
            print(path, flush=True)
    return 0


def made(analysis: Analysis, into: Path) -> list[Path]:
    """Sweeps an experiment, and writes its claims and its figure."""
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        study = sweep_experiment(analysis.name, folder)
        table = publish(into / f"{analysis.name}.csv", rounded(analyses.check_claims(analysis, study)))
        return [table, drawn(analysis, study, into)]


def rounded(claims: pd.DataFrame) -> str:
    """The claims as CSV, numbers to three digits."""
    shown = claims.assign(**{name: claims[name].map(three_digits) for name in NUMBERS})
    return str(shown.to_csv(index=False, lineterminator="\n"))


def three_digits(value: float) -> str:
    return "0" if abs(value) < ROUNDING else f"{value:.3g}"


def drawn(analysis: Analysis, study: Study, into: Path) -> Path:
    """The figure that answers the question: one of the experiment's own, or one that every study has."""
    own = analyses.draw_figures(analysis, study, "page")
    found = own if analysis.figure in own else figures.draw(study, "page")
    return figures.save(found[analysis.figure], into / analysis.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

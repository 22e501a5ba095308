"""`bpttlab claims` and `bpttlab verify`: results against the literature, gradients against slower ways to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bpttlab import places
from bpttlab.cli.words import NONE, STUDY, key_values, opened
from bpttlab.errors import ConfigurationError, LabError, nearest

CLAIMS_HELP = """\
bpttlab claims study=NAME [experiment=NAME] [results=FOLDER]

Holds a study against what the literature says of its experiment, claim by claim. Exit code 1 if one does not hold.

  bpttlab sweep study=demo experiment=vanishing_exploding
  bpttlab claims study=demo experiment=vanishing_exploding
"""

VERIFY_HELP = """\
bpttlab verify [gradients]

Compares this installation's gradients, for every activation, loss, scheme and dtype, with the literal double sum, the
complex step and central differences. Exit code 1 if one does not agree.

  bpttlab verify gradients
"""

CLAIMS = {**STUDY, "experiment": NONE}


def claims_command(arguments: list[str]) -> int:
    """Calls `claims` of the experiment's analysis.py, which comes with the package: nothing of the results is run."""
    import runpy

    chosen = key_values(arguments, CLAIMS)
    path = analysis_of(chosen["experiment"])
    study = opened(chosen)
    try:
        claims = runpy.run_path(str(path))["claims"](study)
    except (LookupError, ValueError, TypeError) as error:  # tables without the rows that a claim is about
        raise LabError(
            f"{study.path} cannot be held against the claims of {path.parent.name}: was it swept with "
            f"experiment={path.parent.name}? ({type(error).__name__}: {error})"
        ) from error
    for row in claims.to_dict("records"):
        held = "holds " if row["held"] else "FAILS "
        print(f"{held} {row['claim']}: {row['measured']:.4g}, expected {row['expected']} ({row['source']})")
    print(f"\n{claims['held'].sum()} of {len(claims)} claims of {path.parent.name} hold in {study.path}")
    return int(not claims["held"].all())


def analyses() -> dict[str, Path]:
    """The experiments that make claims, by name."""
    return {path.parent.name: path for path in sorted(places.experiments().glob("*/analysis.py"))}


def analysis_of(experiment: str) -> Path:
    """The analysis of an experiment; where there is but one experiment, it need not be named."""
    known = analyses()
    if experiment == NONE and len(known) == 1:
        return next(iter(known.values()))
    if experiment not in known:
        missing = "experiment is missing" if experiment == NONE else f"experiment={experiment}"
        raise ConfigurationError(f"{missing}: must be one of {', '.join(known)}.{nearest(experiment, known)}")
    return known[experiment]


def verify_command(arguments: list[str]) -> int:
    """Runs the checks of each topic."""
    for topic in arguments:
        if topic not in TOPICS:
            raise ConfigurationError(f"verify {topic}: there is only {', '.join(TOPICS)}.{nearest(topic, TOPICS)}")
    codes = [TOPICS[topic]() for topic in dict.fromkeys(arguments or TOPICS)]
    return max(codes)


def verify_gradients() -> int:
    """The gradient checker's findings as a table."""
    from bpttlab import checking

    checks = checking.verify_gradients()
    summary = checks.groupby(["activation", "oracle", "dtype"], sort=False).agg(
        checks=("held", "size"), held=("held", "sum"), worst=("error", "max"), allowed=("tolerance", "max")
    )
    print(summary.reset_index().to_string(index=False, float_format="{:.1e}".format))
    wrong = checks[~checks["held"]]
    if len(wrong):
        print(f"\ndo not hold:\n{wrong.to_string(index=False)}")
    print(f"\n{len(checks) - len(wrong)} of {len(checks)} checks of the gradient hold")
    return int(len(wrong) > 0)


TOPICS: dict[str, Callable[[], int]] = {"gradients": verify_gradients}

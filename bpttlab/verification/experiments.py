"""The experiments of the package: each is swept as shipped and checked against its claims."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bpttlab import resources
from bpttlab.claims import analyses
from bpttlab.store import store
from bpttlab.store.store import Study
from bpttlab.sweeps import hydra_composition
from bpttlab.sweeps.plan import plan, separate
from bpttlab.sweeps.scheduler import carry_out
from bpttlab.verification.check import TOPICS, Check


def check_experiment(name: str, quick: bool) -> Iterator[Check]:
    """The claims of an experiment. A sweep has no quick form: with fewer networks its claims would be undecided."""
    if quick:
        return
    with tempfile.TemporaryDirectory() as folder:
        claims = analyses.check_claims(analyses.find_analysis(name), sweep_experiment(name, folder))
    for row in claims.to_dict("records"):
        low, high = (row["low"], row["high"]) if row["low"] != row["high"] else (math.nan, math.nan)
        known = row["source"], row["expected"], row["measured"], row["tolerance"]
        yield Check(f"{name}: {row['claim']}", *known, low, high, stated=row["verdict"], claim=row)


def sweep_experiment(name: str, folder: str, *changes: str) -> Study:
    """A study of the experiment, computed in a folder; raises KeyboardInterrupt if a signal ended the sweep.

    Args:
        changes: values in place of those of the experiment, as on the command line: seed=range(200,208).
    """
    lines = [f"experiment={name}", f"study={name}", f"results={folder}", *changes]
    options, configurations = separate(hydra_composition.composer().expand(lines))
    if carry_out(plan(configurations, options), options, progress=False).tally.interrupted:
        raise KeyboardInterrupt  # claims about half a study mean nothing
    return store.load(name, Path(folder))


for experiment in resources.analyses():
    source = partial(check_experiment, experiment)
    source.__name__ = experiment  # type: ignore[attr-defined]  # said while it is at work
    TOPICS["experiments"].append(source)

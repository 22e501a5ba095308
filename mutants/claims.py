"""Sweeps the lines of one experiment into one study and checks it against the experiment's claims.

    python -P mutants/claims.py EXPERIMENT LINE [LINE ...] results=FOLDER

Writes the claims to FOLDER/claims/EXPERIMENT.csv: `what` (claim or identity, and its text) and `verdict`. The exit code
is 0 if no claim fails, 1 if one does, and 3 if none does but a run of the sweep failed. Undecided is not failed. The
runner starts it in a copy of the package; it imports nothing of `mutants`, which is not in the copy.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bpttlab.claims import analyses
from bpttlab.numerics.verdicts import FAILS
from bpttlab.store import store
from bpttlab.sweeps import hydra_composition
from bpttlab.sweeps.plan import plan, separate
from bpttlab.sweeps.scheduler import carry_out

FAILED_RUNS = 3


def main(experiment: str, lines: Sequence[str], results: str) -> int:
    codes = [sweep(experiment, line, results) for line in lines]
    folder = Path(results.removeprefix("results="))
    claims = analyses.check_claims(analyses.find_analysis(experiment), store.load(experiment, folder))
    write(claims, folder / "claims" / f"{experiment}.csv")
    print(claims["verdict"].value_counts().to_string())
    if (claims["verdict"] == FAILS).any():
        return 1
    return FAILED_RUNS if any(codes) else 0


def sweep(study: str, line: str, results: str) -> int:
    """Sweeps one line in this process, by the engine whose files are mutated; the exit code of the sweep."""
    words = [*shlex.split(line), f"study={study}", results, "workers=0", "engine=numpy"]
    options, configurations = separate(hydra_composition.composer().expand(words))
    summary = carry_out(plan(configurations, options), options, progress=False)
    print("\n".join(summary.lines()), flush=True)
    return summary.exit_code


def write(claims: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = claims.sort_values("kind", kind="stable")  # claims, then identities
    ordered["what"] = ordered["kind"] + ": " + ordered["claim"]
    ordered[["what", "verdict", "measured", "low", "high", "expected"]].to_csv(path, index=False)


if __name__ == "__main__":
    name, *words, folder = sys.argv[1:]
    sys.exit(main(name, words, folder))

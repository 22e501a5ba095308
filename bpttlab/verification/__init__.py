"""Known results of gradients through time, compared with measurements by this installation. No network is trained.

There is one module for each topic. A check is a known number beside a measured one (`check`). `bpttlab verify` prints
all checks and writes their results.
"""

from bpttlab.verification import (
    cells,
    experiments,
    explicit_products,
    gradients,
    lag_terms,
    penalties,
    products,
    saturation,
    schemes,
    second_derivatives,
    spectra,
    statistics,
    theory,
    truncation,
)
from bpttlab.verification.check import TOPICS, Check, run_checks, table

__all__ = [
    "TOPICS",
    "Check",
    "cells",
    "experiments",
    "explicit_products",
    "gradients",
    "lag_terms",
    "penalties",
    "products",
    "run_checks",
    "saturation",
    "schemes",
    "second_derivatives",
    "spectra",
    "statistics",
    "table",
    "theory",
    "truncation",
]

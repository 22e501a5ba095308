"""Everything that is known of gradients through time without training a network, held against this installation.

A module for each topic; a check is a number that is known beside one that is measured (`check`). `bpttlab verify`
prints them all, and writes what it found.
"""

from bpttlab.verification import (
    cells,
    experiments,
    explicit_products,
    gradients,
    lag_terms,
    products,
    saturation,
    schemes,
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
    "products",
    "run_checks",
    "saturation",
    "schemes",
    "spectra",
    "statistics",
    "table",
    "theory",
    "truncation",
]

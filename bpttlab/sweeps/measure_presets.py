"""The choices of the group `measure`: lists of measures with their settings. conf/measure/ is written from them."""

from __future__ import annotations

from typing import NamedTuple

from bpttlab.measures.eigenvalues import Eigenvalues
from bpttlab.measures.jacobian_products import JacobianProducts
from bpttlab.measures.lag_terms import LagTerms
from bpttlab.measures.lyapunov_exponents import LyapunovExponents
from bpttlab.measures.measure import Sampling
from bpttlab.measures.recurrent_matrix import RecurrentMatrix
from bpttlab.measures.selection import Measures
from bpttlab.measures.sensitivity import Sensitivity
from bpttlab.measures.singular_values import SingularValues


class MeasurePreset(NamedTuple):
    """A choice: what it is for, and its measures. What it does not list has its default settings."""

    purpose: str
    measures: Measures


NO_LAG_TERMS = LagTerms(lag_terms="none", truncations="none")

MEASURE_PRESETS = {
    "standard": MeasurePreset(
        "What is recorded of a run: enough for every table and figure but the triangle.",
        Measures.of(JacobianProducts(), LagTerms()),
    ),
    "minimal": MeasurePreset(
        "The runs table and little else: for sweeps of very many runs.",
        Measures.of(
            Sampling(sequences=1, lags=8),
            JacobianProducts(bound_lags=0),
            NO_LAG_TERMS,
            RecurrentMatrix(transient_lags=20),
        ),
    ),
    "spectra": MeasurePreset(
        "Spectra: Lyapunov exponents, singular values, eigenvalues, and how the state depends on the parameters. No "
        "lag terms. For a network that runs on its own: measure=spectra scales.x=0 scales.h_0=1",
        Measures.of(
            JacobianProducts(),
            LyapunovExponents(exponents="all", windows=20),
            SingularValues(singular_lags=5),
            Eigenvalues(eigenvalue_steps=3),
            Sensitivity(sensitivity_steps=12),
            NO_LAG_TERMS,
        ),
    ),
    "triangle": MeasurePreset(
        "dh_t/dh_k for every t and k of one sequence, T (T+1) / 2 rows: for the figure of one run.",
        Measures.of(Sampling(sequences=1), JacobianProducts(jacobians="triangle"), LagTerms()),
    ),
    "gradient": MeasurePreset(
        "The full gradient and nothing else, with truncation=full: for sequences of which memory_limit lets few states "
        "be kept.",
        Measures.of(Sampling(sequences=1), JacobianProducts(jacobians="none", bound_lags=0), NO_LAG_TERMS),
    ),
}

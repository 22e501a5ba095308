"""Theory of gradients through time, for comparison with measurements. Each function states its range of validity.

`rates` has bounds and asymptotes of products, `mean_field` wide tanh networks, `random_matrices` Gaussian products and
powers, `origin` networks at rest, `low_rank` what a change of rank one does to eigenvalues, `few_units` recurrences
that can be solved.
"""

from bpttlab.theory.few_units import (
    Latch,
    Moments,
    RingMoments,
    Wall,
    cell_path,
    chrono_cell_path,
    folds,
    latch,
    memory_moments,
    random_truncation_moments,
    ring_moments,
    wall,
)
from bpttlab.theory.low_rank import rank_one_outlier
from bpttlab.theory.mean_field import (
    MeanField,
    critical_gain,
    mean_field,
    tanh_log_determinant,
)
from bpttlab.theory.origin import (
    antisymmetric_at_origin,
    gru_at_origin,
    leaky_at_origin,
    lstm_at_origin,
    minimal_rnn_at_origin,
)
from bpttlab.theory.random_matrices import (
    fourth_moment_of_power,
    log_growth_variance,
    log_sigma_max_of_power,
    newman_exponents,
    typical_critical_gain,
)
from bpttlab.theory.rates import asymptote_rate, bound_rate, relu_rate

__all__ = [
    "Latch",
    "MeanField",
    "Moments",
    "RingMoments",
    "Wall",
    "antisymmetric_at_origin",
    "asymptote_rate",
    "bound_rate",
    "cell_path",
    "chrono_cell_path",
    "critical_gain",
    "folds",
    "fourth_moment_of_power",
    "gru_at_origin",
    "latch",
    "leaky_at_origin",
    "log_growth_variance",
    "log_sigma_max_of_power",
    "lstm_at_origin",
    "mean_field",
    "memory_moments",
    "minimal_rnn_at_origin",
    "newman_exponents",
    "random_truncation_moments",
    "rank_one_outlier",
    "relu_rate",
    "ring_moments",
    "tanh_log_determinant",
    "typical_critical_gain",
    "wall",
]

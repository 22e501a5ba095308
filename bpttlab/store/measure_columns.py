"""The columns that the shipped measures fill, as data: name, type, unit and meaning, by measure.

They stand here and not beside the measures because results are read with no engine installed; the classes in
`bpttlab.measures` refer to them.
"""

from __future__ import annotations

from bpttlab.store.column import RUN_ID, SEQUENCE, Column, MeasureColumns, Table

FORWARD_PASS = MeasureColumns(
    tables=(),
    summary=(
        Column("loss", "float64", "", "loss of the batch: mean of squared errors, or of cross-entropies in nats"),
        Column(
            "underflows",
            "int64",
            "",
            "derivatives of activations below the smallest normal number, which count as zero; where it is 0, -inf is "
            "exactly zero, else it may be the log of a number that is too small",
        ),
    ),
)

TRUNCATIONS = Table(
    "truncations",
    "run, scheme, truncation, length and parameter: the truncated gradient g_K against the full one, g",
    ("scheme", "truncation", "length", "parameter", "origin"),
    (
        RUN_ID,
        Column("scheme", "string", "", "name of the scheme", True),
        Column("truncation", "int64", "step", "K; missing: full"),
        Column("length", "int64", "step", "length of the sequence", True),
        Column(
            "parameter",
            "string",
            "",
            "the parameter (or direction) whose gradient is compared",
            True,
        ),
        Column("log_norm", "float64", "nat", "log of the norm of g_K, the mean where there are several", True),
        Column("cosine", "float64", "", "cosine between g_K and g; missing: one of them is zero"),
        Column(
            "log_relative_bias", "float64", "nat", "log(|g_K - g| / |g|), from the tail of the lag terms; -inf: equal"
        ),
        Column(
            "log_variance",
            "float64",
            "nat",
            "over draws, or offsets of chunks: log(trace of covariance / |g|^2); missing: there is one plan",
        ),
        Column(
            "log_minibatch_variance",
            "float64",
            "nat",
            "the same of g over batches of as many sequences, from those at hand; missing: one sequence, or wavefront",
        ),
        Column("draws", "int64", "", "draws that g_K is the mean of; missing: nothing is drawn"),
        Column(
            "steps_computed",
            "int64",
            "step",
            "cost of one gradient (of one draw or offset): products of a Jacobian with one vector, for each sequence; "
            "of adaptive with those that the choice of K takes",
        ),
        Column("origin", "string", "", "scheme: the run's own; wavefront: read off its lag terms", True),
    ),
)

GRADIENT_BIAS = MeasureColumns(
    tables=(TRUNCATIONS,),
    summary=(
        Column(
            "log_gradient_norm",
            "float64",
            "nat",
            "log of the norm of the gradient as the run's scheme computes it, all parameters",
        ),
    ),
)

RELEVANT_GRADIENT = MeasureColumns(
    tables=(),
    summary=(
        Column(
            "log_relevant_gradient",
            "float64",
            "nat",
            "log of the norm of dL/dx at the task's relevant step, median over sequences; missing: the task has none",
        ),
    ),
)

RECURRENT_MATRIX = MeasureColumns(
    tables=(),
    summary=(
        Column("rho", "float64", "", "spectral radius of W, as measured"),
        Column("sigma_max", "float64", "", "largest singular value of W"),
        Column("gain", "float64", "", "gain of W: norm of W (Frobenius) / sqrt(N)"),
        Column("rank", "int64", "", "numerical rank of W"),
        Column("henrici_departure", "float64", "", "norm of the strict upper Schur part of W / norm of W; 0: normal"),
        Column("transient_peak", "float64", "nat", "largest log of the spectral norm of a power of W, W^0 included"),
        Column("transient_peak_lag", "int64", "step", "the power of W where that peak is"),
        Column(
            "initializer_target",
            "string",
            "",
            "what the initializer states: spectral_radius, gain or scale; missing: none",
        ),
        Column("initializer_requested", "float64", "", "the value requested of that quantity"),
        Column("initializer_realized", "float64", "", "the value that the drawn W has"),
        Column("origin_radius", "float64", "", "spectral radius of J_t at x = 0, h = 0, with the network's own biases"),
    ),
)

JACOBIANS = Table(
    "jacobians",
    "run, sequence, t and lag: the product P_{t,k} of the Jacobians from k = t - lag to t",
    ("sequence", "t", "lag"),
    (
        RUN_ID,
        SEQUENCE,
        Column("t", "int64", "step", "the later step of P_{t,k}, from 1", True),
        Column("lag", "int64", "step", "t - k; 0 is the identity", True),
        Column("log_spectral_norm", "float64", "nat", "log of the spectral norm of P: the worst direction"),
        Column("log_frobenius_norm", "float64", "nat", "log(norm of P (Frobenius) / sqrt(N)): the typical direction"),
        Column("log_bound", "float64", "nat", "sum of log-norms of the Jacobians; missing beyond a stated lag"),
        Column("log_state_gradient", "float64", "nat", "log of the norm of dL_t/dh_{t-lag}; missing: no L_t"),
        Column(
            "alignment", "float64", "", "|cosine| of dL_t/dh_t and P's leading left singular vector; missing: undefined"
        ),
    ),
)

BLOCKS = Table(
    "blocks",
    "run, sequence, t, lag and block of the product P_{t,t-lag}; for cells whose state has parts (LSTM, stacked)",
    ("sequence", "t", "lag", "block"),
    (
        RUN_ID,
        SEQUENCE,
        Column("t", "int64", "step", "the later step of P_{t,k}, from 1", True),
        Column("lag", "int64", "step", "t - k", True),
        Column("block", "string", "", "c<-h: how the part c at t depends on the part h at t - lag", True),
        Column(
            "log_spectral_norm",
            "float64",
            "nat",
            "log of the spectral norm of the block; missing: too small to resolve",
        ),
        Column(
            "log_frobenius_norm",
            "float64",
            "nat",
            "log(norm of the block (Frobenius) / sqrt(its columns)); missing: as above",
        ),
    ),
)

JACOBIAN_PRODUCTS = MeasureColumns(
    tables=(JACOBIANS, BLOCKS),
    summary=(
        Column(
            "growth_rate",
            "float64",
            "nat/step",
            "the asymptotic rate: slope in lag of the median typical log-norm from fit_first_lag to fit_last_lag; "
            "-inf: the product becomes zero within these lags",
        ),
        Column(
            "growth_rate_error",
            "float64",
            "nat/step",
            "standard error of that slope, as of a random walk: over inputs, not over networks; "
            "missing: fewer than 8 increments, or no finite slope",
        ),
        Column("fit_first_lag", "int64", "step", "first lag of the fit"),
        Column("fit_last_lag", "int64", "step", "last lag of the fit"),
        Column(
            "log_growth",
            "float64",
            "nat",
            "growth over the sequence: log(norm of P_{T,0} (Frobenius) / sqrt(N)), median over sequences",
        ),
        Column("growing_horizon", "int64", "step", "first lag with a spectral norm above e; missing: none up to T"),
        Column("vanishing_horizon", "int64", "step", "last lag with a spectral norm of at least 1/e; T if censored"),
        Column("horizon_censored", "bool", "", "whether vanishing_horizon ended at T only because the sequence did"),
    ),
)

_EIGENVALUES = Table(
    "eigenvalues",
    "run, matrix, sequence, t and index: eigenvalues of the recurrent matrix and of Jacobians",
    ("matrix", "sequence", "t", "index"),
    (
        RUN_ID,
        Column("matrix", "string", "", "W: the block that `rho` describes; J_0: J_t at the origin; J: J_t", True),
        Column("sequence", "int64", "", "of J: which sequence of the batch, from 0"),
        Column("t", "int64", "step", "of J: the step"),
        Column("index", "int64", "", "from 1, the largest modulus", True),
        Column("real", "float64", "", "real part", True),
        Column("imaginary", "float64", "", "imaginary part; of a pair of conjugates the negative one first", True),
    ),
)

JACOBIAN_EIGENVALUES = MeasureColumns(
    tables=(_EIGENVALUES,),
    summary=(
        Column(
            "jacobian_radius",
            "float64",
            "",
            "median spectral radius of the J_t in `eigenvalues`; missing: none requested",
        ),
    ),
)

_SPECTRA = Table(
    "spectra",
    "run, sequence and index: Lyapunov exponents by QR (conditional ones where there is input)",
    ("sequence", "index"),
    (
        RUN_ID,
        SEQUENCE,
        Column("index", "int64", "", "from 1, the largest", True),
        Column(
            "lyapunov_exponent",
            "float64",
            "nat/step",
            "mean growth after the transient; of a network trained on finite sequences a finite-time growth rate",
            True,
        ),
        Column(
            "low",
            "float64",
            "nat/step",
            "lower end of the 95 % convergence interval of this mean over time (Student's t, 20 stretches of time), "
            "not over networks; -inf: rounding decides",
        ),
        Column("high", "float64", "nat/step", "upper end"),
    ),
)

_FINITE_TIME = Table(
    "finite_time",
    "run, sequence, t and index: growth rates over windows of time that end at t",
    ("sequence", "t", "index"),
    (
        RUN_ID,
        SEQUENCE,
        Column("t", "int64", "step", "last step of the window", True),
        Column("index", "int64", "", "as in `spectra`: of the mean over all windows", True),
        Column("finite_time_exponent", "float64", "nat/step", "mean growth within the window", True),
        Column("steps", "int64", "step", "length of the window", True),
    ),
)

LYAPUNOV_EXPONENTS = MeasureColumns(
    tables=(_SPECTRA, _FINITE_TIME),
    summary=(
        Column("lyapunov_exponent", "float64", "nat/step", "largest exponent, median over the sequences measured"),
        Column("trajectory_radius", "float64", "", "exp lyapunov_exponent: the radius per step along the trajectory"),
        Column("autonomous", "bool", "", "whether every input was zero; missing: no exponents were requested"),
        Column(
            "kaplan_yorke_dimension", "float64", "", "of an autonomous network, median over sequences; missing: driven"
        ),
        Column(
            "entropy_bound",
            "float64",
            "nat/step",
            "sum of the positive exponents of an autonomous network, median over sequences; missing: driven",
        ),
        Column("mean_exponent", "float64", "nat/step", "mean of all exponents and sequences; missing: see its overlay"),
    ),
)

_SINGULAR_VALUES = Table(
    "singular_values",
    "run, sequence, t, lag and index: singular values of P_{t,t-lag}",
    ("sequence", "t", "lag", "index"),
    (
        RUN_ID,
        SEQUENCE,
        Column("t", "int64", "step", "the later step of P_{t,k}, from 1", True),
        Column("lag", "int64", "step", "t - k", True),
        Column("index", "int64", "", "from 1, the largest", True),
        Column("log_singular_value", "float64", "nat", "-inf: exactly zero", True),
        Column("resolved", "bool", "", "false: below resolution, the value is an indication", True),
    ),
)

PRODUCT_SINGULAR_VALUES = MeasureColumns(
    tables=(_SINGULAR_VALUES,),
    summary=(),
)

_SENSITIVITY = Table(
    "sensitivity",
    "run, sequence, t and parameter: forward sensitivity of the state",
    ("sequence", "t", "parameter"),
    (
        RUN_ID,
        SEQUENCE,
        Column("t", "int64", "step", "from 1", True),
        Column("parameter", "string", "", "a recurrent parameter", True),
        Column(
            "log_norm", "float64", "nat", "log of the norm (Frobenius) of dh_t/dparameter, of the whole state", True
        ),
    ),
)

STATE_SENSITIVITY = MeasureColumns(
    tables=(_SENSITIVITY,),
    summary=(),
)

_LAG_TERMS = Table(
    "lag_terms",
    "run, parameter and lag: G_lag, the part of the gradient g from paths of that many steps",
    ("parameter", "lag"),
    (
        RUN_ID,
        Column("parameter", "string", "", "W, V or b_h", True),
        Column("lag", "int64", "step", "steps from the loss back to the use of the parameter", True),
        Column("log_norm", "float64", "nat", "log of the norm of G_lag", True),
        Column("log_norm_per_loss", "float64", "nat", "the same over the number of losses that reach back so far"),
        Column("relative_size", "float64", "", "|G_lag| / |g|; missing: g is zero"),
        Column("share", "float64", "", "<G_lag, g> / |g|^2: sums to 1 over the lags, may be negative"),
        Column("cumulative_share", "float64", "", "sum of the shares up to this lag"),
        Column(
            "signal_to_noise",
            "float64",
            "",
            "|E G_lag|^2 / trace of its covariance over sequences, both estimated without bias from the B at hand; "
            "from -1/B on, below 0: no signal in them, inf: all are equal; missing: B = 1, or all are zero",
        ),
    ),
)

GRADIENT_LAG_TERMS = MeasureColumns(
    tables=(_LAG_TERMS, TRUNCATIONS),
    summary=(),
)

_BIAS_BOUNDS = Table(
    "bias_bounds",
    "run of scheme adaptive, parameter and truncation: bound and estimate of the relative bias of per-loss truncations",
    ("parameter", "truncation"),
    (
        RUN_ID,
        Column("parameter", "string", "", "the parameter whose gradient is truncated", True),
        Column("truncation", "int64", "step", "K", True),
        Column("log_norm", "float64", "nat", "log of the norm of g_K", True),
        Column("log_bias_bound", "float64", "nat", "bound from the decay over all lags; missing: it says nothing"),
        Column(
            "log_bias_estimate",
            "float64",
            "nat",
            "the published estimate, from the lags below the truncation of the run; missing: it says nothing",
        ),
    ),
)

TRUNCATION_BOUNDS = MeasureColumns(
    tables=(_BIAS_BOUNDS,),
    summary=(),
)

MEASURED = {
    table.name: table
    for table in (
        JACOBIANS,
        BLOCKS,
        _SPECTRA,
        _FINITE_TIME,
        _SINGULAR_VALUES,
        _EIGENVALUES,
        _SENSITIVITY,
        _LAG_TERMS,
        TRUNCATIONS,
        _BIAS_BOUNDS,
    )
}
"""The tables of the shipped measures, in the order of the documentation."""

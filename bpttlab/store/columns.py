"""The columns of every table as data: name, type, unit and meaning. `schema` uses them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

ARROW = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        dtype: string, int64, float64 or bool.
        unit: "" where the quantity has none.
        required: whether a missing value is refused.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    required: bool = False

    @property
    def field(self) -> pa.Field:
        return pa.field(self.name, ARROW[self.dtype], nullable=not self.required)


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        row: the meaning of one row.
        keys: the columns that its rows are sorted by, after run_id.
    """

    name: str
    row: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]

    @cached_property
    def schema(self) -> pa.Schema:
        """The types in a file; of `runs`, without the configuration."""
        return pa.schema([column.field for column in self.columns])


RUN_ID = Column("run_id", "string", "", "the run: 128-bit hash of its typed configuration, 32 hexadecimal digits", True)


def _overlay(name: str, theory: str, beside: str) -> tuple[Column, ...]:
    """Columns of an overlay: its rate, the residual, and the reason where it does not hold."""
    return (
        Column(f"{name}_rate", "float64", "nat/step", f"theory: {theory}"),
        Column(f"{name}_residual", "float64", "nat/step", f"{beside} - {name}_rate; 0: both are -inf"),
        Column(f"{name}_outside", "string", "", "why that theory does not hold here; missing: it does"),
    )


RUNS = Table(
    "runs",
    "run",
    (),
    (
        RUN_ID,
        Column("network_id", "string", "", "the weights of a seed and an initializer: the unit of statistics"),
        Column("status", "string", "", "done, diverged (the forward state overflowed: a result) or failed", True),
        Column("error", "string", "", "why the run failed or diverged; missing: it is done"),
        Column("first_bad_step", "int64", "step", "first step t (from 1) with an overflow or NaN; missing: none"),
        Column("configuration", "string", "", "the whole configuration, canonical JSON: run_id is its hash", True),
        Column("loss", "float64", "", "loss of the batch: mean of squared errors, or of cross-entropies in nats"),
        Column(
            "log_gradient_norm",
            "float64",
            "nat",
            "log of the norm of the gradient as the run's scheme computes it, all parameters",
        ),
        Column(
            "log_relevant_gradient",
            "float64",
            "nat",
            "log of the norm of dL/dx at the task's relevant step, median over sequences; missing: the task has none",
        ),
        Column(
            "underflows",
            "int64",
            "",
            "derivatives of activations below the smallest normal number, which count as zero; where it is 0, -inf is "
            "exactly zero, else it may be the log of a number too small to be told from zero",
        ),
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
            "what is left over the sequence: log(norm of P_{T,0} (Frobenius) / sqrt(N)), median over sequences",
        ),
        Column("growing_horizon", "int64", "step", "first lag with a spectral norm above e; missing: none up to T"),
        Column("vanishing_horizon", "int64", "step", "last lag with a spectral norm of at least 1/e; T if censored"),
        Column("horizon_censored", "bool", "", "whether vanishing_horizon ended at T only because the sequence did"),
        Column("origin_radius", "float64", "", "spectral radius of J_t at x = 0, h = 0, with the network's own biases"),
        Column(
            "jacobian_radius",
            "float64",
            "",
            "median spectral radius of the J_t in `eigenvalues`; missing: none requested",
        ),
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
        *_overlay("bound", "log(gamma sigma_max), gamma = sup f_h', which no rate exceeds", "growth_rate"),
        *_overlay("asymptote", "log rho, the rate of a linear network with this W", "growth_rate"),
        *_overlay("mean_field", "a wide network of this gain", "lyapunov_exponent, else growth_rate,"),
        *_overlay("determinant", "(log |det W|)/N + mean log slope", "mean_exponent"),
        *_overlay("origin", "log radius of J at the origin, from W and the biases of gates", "log origin_radius"),
        *_overlay("cell_path", "log f of an LSTM that hears nothing", "growth_rate"),
    ),
)

PROVENANCE = Table(
    "provenance",
    "run: what may differ between two equal runs, and is no part of any hash or comparison",
    (),
    (
        RUN_ID,
        Column("seconds", "float64", "s", "time the run took, its share of the bundle's"),
        Column("scheme_seconds", "float64", "s", "one gradient by the run's scheme alone; missing: not requested"),
        Column("started", "string", "", "when it began, ISO 8601, UTC"),
        Column("bpttlab", "string", "", "version of bpttlab"),
        Column("numpy", "string", "", "version of numpy"),
        Column("scipy", "string", "", "version of scipy"),
        Column("python", "string", "", "version of Python"),
        Column("blas", "string", "", "BLAS library and the kernel that it chose for this processor"),
        Column("blas_threads", "int64", "", "threads of the BLAS"),
        Column("cpu", "string", "", "model of the processor"),
        Column("git_commit", "string", "", "commit of the checkout; missing where there is none"),
        Column("git_dirty", "bool", "", "whether the checkout had changes that were not committed"),
        Column("host_kind", "string", "", "operating system and architecture; never the host's name"),
        Column("plugin_files", "string", "", "files of the user's own that it used, as they were named; missing: none"),
    ),
)

JACOBIANS = Table(
    "jacobians",
    "run, sequence, t and lag: the product P_{t,k} of the Jacobians from k = t - lag to t",
    ("sequence", "t", "lag"),
    (
        RUN_ID,
        Column("sequence", "int64", "", "which sequence of the batch, from 0", True),
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
        Column("sequence", "int64", "", "which sequence of the batch, from 0", True),
        Column("t", "int64", "step", "the later step of P_{t,k}, from 1", True),
        Column("lag", "int64", "step", "t - k", True),
        Column("block", "string", "", "c<-h: how the part c at t depends on the part h at t - lag", True),
        Column(
            "log_spectral_norm", "float64", "nat", "log of the spectral norm of the block; missing: too small to tell"
        ),
        Column(
            "log_frobenius_norm",
            "float64",
            "nat",
            "log(norm of the block (Frobenius) / sqrt(its columns)); missing: as above",
        ),
    ),
)

SPECTRA = Table(
    "spectra",
    "run, sequence and index: Lyapunov exponents by QR (conditional ones where there is input)",
    ("sequence", "index"),
    (
        RUN_ID,
        Column("sequence", "int64", "", "which sequence of the batch, from 0", True),
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
            "not over networks; -inf: below resolution",
        ),
        Column("high", "float64", "nat/step", "upper end"),
    ),
)

FINITE_TIME = Table(
    "finite_time",
    "run, sequence, t and index: growth rates over windows of time that end at t",
    ("sequence", "t", "index"),
    (
        RUN_ID,
        Column("sequence", "int64", "", "which sequence of the batch, from 0", True),
        Column("t", "int64", "step", "last step of the window", True),
        Column("index", "int64", "", "as in `spectra`: of the mean over all windows", True),
        Column("finite_time_exponent", "float64", "nat/step", "mean growth within the window", True),
        Column("steps", "int64", "step", "length of the window", True),
    ),
)

SINGULAR_VALUES = Table(
    "singular_values",
    "run, sequence, t, lag and index: singular values of P_{t,t-lag}",
    ("sequence", "t", "lag", "index"),
    (
        RUN_ID,
        Column("sequence", "int64", "", "which sequence of the batch, from 0", True),
        Column("t", "int64", "step", "the later step of P_{t,k}, from 1", True),
        Column("lag", "int64", "step", "t - k", True),
        Column("index", "int64", "", "from 1, the largest", True),
        Column("log_singular_value", "float64", "nat", "-inf: exactly zero", True),
        Column("resolved", "bool", "", "false: below resolution, the value is an indication", True),
    ),
)

EIGENVALUES = Table(
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

SENSITIVITY = Table(
    "sensitivity",
    "run, sequence, t and parameter: forward sensitivity of the state",
    ("sequence", "t", "parameter"),
    (
        RUN_ID,
        Column("sequence", "int64", "", "which sequence of the batch, from 0", True),
        Column("t", "int64", "step", "from 1", True),
        Column("parameter", "string", "", "a recurrent parameter", True),
        Column(
            "log_norm", "float64", "nat", "log of the norm (Frobenius) of dh_t/dparameter, of the whole state", True
        ),
    ),
)

LAG_TERMS = Table(
    "lag_terms",
    "run, parameter and lag: G_lag, what paths of that many steps contribute to the gradient g",
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

BIAS_BOUNDS = Table(
    "bias_bounds",
    "run of scheme adaptive, parameter and truncation: what is known of the relative bias of per-loss truncations",
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

TABLES = {
    table.name: table
    for table in (
        RUNS,
        PROVENANCE,
        JACOBIANS,
        BLOCKS,
        SPECTRA,
        FINITE_TIME,
        SINGULAR_VALUES,
        EIGENVALUES,
        SENSITIVITY,
        LAG_TERMS,
        TRUNCATIONS,
        BIAS_BOUNDS,
    )
}

OWN_FIELDS_OF_CELLS = (
    Column("cell_activation", "string", "", "f_h"),
    Column("cell_alpha", "float64", "", "leaky: the part of the way that h goes in a step"),
    Column("cell_reset", "string", "", "gru: the reset gate acts after (PyTorch) or before (Cho) the product with W"),
    Column("cell_gate_scale", "float64", "", "gru, lstm: factor on the gates' recurrent blocks beside the candidate's"),
    Column("cell_reset_scale", "float64", "", "gru: factor on W_r, beside that on all gates"),
    Column("cell_update_scale", "float64", "", "gru: the same for W_u"),
    Column("cell_input_scale", "float64", "", "lstm: factor on W_i, beside that on all gates"),
    Column("cell_forget_scale", "float64", "", "lstm: the same for W_f"),
    Column("cell_output_scale", "float64", "", "lstm: the same for W_o"),
    Column("cell_forget_bias", "float64", "", "lstm: added to the forget gate's bias"),
    Column("cell_chrono", "int64", "step", "lstm: T_max of the chrono initialization; missing without it"),
    Column("cell_epsilon", "float64", "", "antisymmetric: length of the Euler step"),
    Column("cell_gamma", "float64", "", "antisymmetric: diffusion"),
    Column("cell_r_min", "float64", "", "diagonal: smallest |lambda| that is drawn"),
    Column("cell_r_max", "float64", "", "diagonal: largest |lambda| that is drawn"),
    Column("cell_normalise", "bool", "", "diagonal: whether the input is weighed by sqrt(1 - |lambda|^2)"),
)

CONFIGURATION = (
    Column("seed", "int64", "", "seed of every random stream of the run"),
    Column("spectral_radius", "float64", "", "spectral radius requested; missing where the initializer states none"),
    Column("sequence_length", "int64", "step", "T"),
    Column("truncation", "string", "step", "full, or K as text"),
    Column("batch_size", "int64", "", "sequences in the batch, B"),
    Column("dtype", "string", "", "float64 or float32"),
    Column("reduction", "string", "", "mean or sum of the losses over the steps"),
    Column("readout", "string", "", "drawn, or units: the prediction is the first units themselves"),
    Column("engine", "string", "", "what computes the two loops over t"),
    Column("plugins", "string", "", "SHA-256 of the user's own files that it used, 32 digits of each, + between them"),
    Column("cell", "string", "", "name of the cell"),
    Column("cell_hidden_size", "int64", "", "hidden units, N"),
    Column("cell_output_activation", "string", "", "f_y"),
    *OWN_FIELDS_OF_CELLS,
    Column("cell_layers", "int64", "", "stacked, from_file: how many layers"),
    Column("cell_of", "string", "", "stacked, from_file: name of the cell of every layer"),
    *(
        Column(f"cell_of{own.name.removeprefix('cell')}", own.dtype, own.unit, f"stacked, of its layers: {own.meaning}")
        for own in OWN_FIELDS_OF_CELLS
    ),
    Column("cell_content", "string", "", "from_file: the first 32 digits that sha256sum shows of it, wherever it was"),
    Column("cell_recurrent_prefix", "string", "", "from_file: what stands before weight_ih_l0 in it"),
    Column(
        "cell_readout_prefix", "string", "", "from_file: what stands before the readout's weight; none: it was drawn"
    ),
    Column("task", "string", "", "name of the task"),
    Column("task_input_size", "int64", "", "inputs, I, where the task leaves the choice"),
    Column("task_output_size", "int64", "", "outputs, O, where the task leaves the choice"),
    Column("task_by", "string", "", "of digits: pixel or row"),
    Column(
        "task_symbols",
        "int64",
        "",
        "of copy, memorization: symbols to be repeated; of temporal_order: symbols that tell the class; missing: 2",
    ),
    Column("task_alphabet", "int64", "", "of copy, memorization, random_permutation: how many different ones"),
    Column("task_delay", "int64", "step", "of delayed_recall: from the marked number to the end; missing: drawn"),
    Column("task_horizon", "int64", "step", "of mackey_glass, lorenz: how far ahead is predicted"),
    Column("task_loss_name", "string", "", "of file: squared_error, softmax_cross_entropy or sigmoid_cross_entropy"),
    Column("task_loss_at", "string", "", "of file: every step, the last, or those of the file's mask"),
    Column("task_content", "string", "", "of file, characters: the first 32 digits that sha256sum shows of it"),
    Column("scheme", "string", "", "name of the truncation scheme"),
    Column("scheme_k1", "int64", "step", "of windowed: steps from one window to the next"),
    Column("scheme_offset", "int64", "step", "of chunked: where the second window begins, if not at K"),
    Column("scheme_delta", "float64", "", "of adaptive: the relative bias that is tolerated"),
    Column("scheme_cuts", "string", "", "of random: constant or published probability of a cut"),
    Column("scheme_alpha", "float64", "", "of random: exponent of the published one"),
    Column("scheme_per", "string", "", "of random: cuts for every sequence, or for the batch"),
    Column("scheme_draws", "int64", "", "of random and uoro: how many draws are measured"),
    Column("scheme_steps", "int64", "step", "of snap: n"),
    Column("initializer", "string", "", "name of the initializer of W; none: the cell draws none"),
    Column("initializer_spectral_radius", "float64", "", "spectral radius requested, where the initializer states one"),
    Column("initializer_gain", "float64", "", "gain requested, where the initializer states one"),
    Column("initializer_scale", "float64", "", "scale requested, where the initializer states one"),
    Column("initializer_density", "float64", "", "of sparse: share of the units that each one hears"),
    Column("initializer_coupling", "float64", "", "of bidiagonal: entries above the diagonal over those on it"),
    Column("initializer_feed_forward", "float64", "", "of non_normal: strict upper Schur part / the rest, in norm"),
    Column("initializer_rotated", "bool", "", "of non_normal: in rotated modes, not triangular in the units"),
    Column("scales_V", "float64", "", "s.d. of the entries of V, times sqrt(I)"),
    Column("scales_b", "float64", "", "s.d. of the entries of b_h and b_y"),
    Column("scales_U", "float64", "", "s.d. of the entries of U, times sqrt(N)"),
    Column("scales_x", "float64", "", "factor on the task's input"),
    Column("scales_h_0", "float64", "", "s.d. of the entries of the initial state"),
    Column("measure_jacobians", "string", "", "which lags of the products: log, all, triangle or none"),
    Column("measure_sequences", "int64", "", "sequences of the batch whose products are measured"),
    Column("measure_lags", "int64", "", "how many lags log has"),
    Column("measure_bound_lags", "int64", "step", "longest lag of log_bound"),
    Column("measure_exponents", "string", "", "how many Lyapunov exponents: all, none, or the number as text"),
    Column("measure_transient", "float64", "", "part of T in which directions align before exponents are averaged"),
    Column("measure_windows", "int64", "", "windows of time with exponents of their own"),
    Column("measure_singular_lags", "int64", "", "how many lags have all their singular values"),
    Column("measure_eigenvalue_steps", "int64", "", "at how many t the eigenvalues of J_t are recorded"),
    Column("measure_sensitivity_steps", "int64", "", "at how many t the forward sensitivity is recorded"),
    Column("measure_lag_terms", "string", "", "which lags of the lag terms: log, all or none"),
    Column("measure_max_lag", "int64", "step", "longest lag of the lag terms; missing: all"),
    Column(
        "measure_truncations", "string", "", "log: truncations are read off the lag terms; none: only the run's own"
    ),
    Column("measure_log_scale", "bool", "", "whether truncations are measured along the scale of W, too"),
    Column("measure_signed_bias", "int64", "", "units with a plus sign in the tied bias; 0: not measured"),
    Column("measure_scheme_seconds", "bool", "", "whether the scheme's gradient was timed"),
    Column("measure_transient_lags", "int64", "step", "highest power of W searched for transient_peak"),
    Column("measure_fit_from", "float64", "", "growth_rate is fitted over the lags from this part of T on"),
    Column("measure_row_budget", "int64", "", "rows that one run may have in one table"),
)
"""Configuration columns of known type. A field of a group that is not among them has the type of its values."""

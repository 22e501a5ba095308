"""The columns of every table: name, type, unit and meaning, as data. `schema` uses them."""

from __future__ import annotations

from bpttlab.store import measure_columns as measured
from bpttlab.store.column import RUN_ID, Column, Table


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
        measured.FORWARD_PASS.summary[0],  # the loss
        *measured.GRADIENT_BIAS.summary,
        *measured.RELEVANT_GRADIENT.summary,
        measured.FORWARD_PASS.summary[1],  # underflows
        *measured.RECURRENT_MATRIX.summary[:-1],
        *measured.JACOBIAN_PRODUCTS.summary,
        measured.RECURRENT_MATRIX.summary[-1],  # the radius at the origin
        *measured.JACOBIAN_EIGENVALUES.summary,
        *measured.LYAPUNOV_EXPONENTS.summary,
        *_overlay("bound", "log(gamma sigma_max), gamma = sup f_h', which no rate exceeds", "growth_rate"),
        *_overlay("asymptote", "log rho, the rate of a linear network with this W", "growth_rate"),
        *_overlay("mean_field", "a wide network of this gain", "lyapunov_exponent, else growth_rate,"),
        *_overlay("determinant", "(log |det W|)/N + mean log slope", "mean_exponent"),
        *_overlay("origin", "log radius of J at the origin, from W and the biases of gates", "log origin_radius"),
        *_overlay("cell_path", "log f of an LSTM without input", "growth_rate"),
    ),
)

PROVENANCE = Table(
    "provenance",
    "run: facts that may differ between two equal runs; no hash or comparison includes them",
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

TABLES = {"runs": RUNS, "provenance": PROVENANCE, **measured.MEASURED}
"""All tables that this version has; a study may have tables of a person's own measures beside them."""

OWN_FIELDS_OF_CELLS = (
    Column("cell_activation", "string", "", "f_h"),
    Column("cell_alpha", "float64", "", "leaky: alpha, the share of a step's new value in h"),
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
    Column("engine", "string", "", "engine of the two loops over t"),
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
    Column("cell_recurrent_prefix", "string", "", "from_file: text before weight_ih_l0 in the file"),
    Column("cell_readout_prefix", "string", "", "from_file: text before the readout's weight; none: it was drawn"),
    Column("task", "string", "", "name of the task"),
    Column("task_input_size", "int64", "", "inputs, I, if the task leaves the choice"),
    Column("task_output_size", "int64", "", "outputs, O, if the task leaves the choice"),
    Column("task_by", "string", "", "of digits: pixel or row"),
    Column(
        "task_symbols",
        "int64",
        "",
        "of copy, memorization: symbols to be repeated; of temporal_order: relevant symbols; missing: 2",
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
    Column("initializer_density", "float64", "", "of sparse: share of the units that each unit receives"),
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

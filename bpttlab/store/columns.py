"""The columns of every table: name, type, unit and meaning, as data. `schema` uses them."""

from __future__ import annotations

import csv
from pathlib import Path

from bpttlab.store import measure_columns as measured
from bpttlab.store.column import RUN_ID, SEQUENCE, Column, Table


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
        Column("numba", "string", "", "version of Numba, which compiled its loops; missing: engine=numpy"),
        Column("cpu", "string", "", "model of the processor"),
        Column("git_commit", "string", "", "commit of the checkout; missing where there is none"),
        Column("git_dirty", "bool", "", "whether the checkout had changes that were not committed"),
        Column("host_kind", "string", "", "operating system and architecture; never the host's name"),
        Column("plugin_files", "string", "", "files of the user's own that it used, as they were named; missing: none"),
    ),
)

SEQUENCE_LENGTHS = Table(
    "sequence_lengths",
    "run and sequence of its batch, only of runs whose sequences differ in length",
    ("sequence",),
    (
        RUN_ID,
        SEQUENCE,
        Column("length", "int64", "step", "steps of the sequence: everything that is measured of it ends there", True),
    ),
)
"""A commit that holds it says so, as of a table of a person's own measures; studies without it have no such table."""

TABLES = {"runs": RUNS, "provenance": PROVENANCE, **measured.MEASURED}
"""All tables that this version has; a study may have tables of a person's own measures beside them."""


def _read_configuration() -> tuple[Column, ...]:
    with Path(__file__).with_name("configuration.csv").open(encoding="utf-8", newline="") as file:
        return tuple(Column(row["name"], row["dtype"], row["unit"], row["meaning"]) for row in csv.DictReader(file))


CONFIGURATION = _read_configuration()
"""Configuration columns of known type, as the classes of the engine state them (`sweeps/configuration_columns.py`). A
field of a group that is not among them has the type of its values."""

OWN_MEASURED = "measured"
"""Key of `runs.attrs`: columns of `runs` that measures of a user's own have computed, which are no configuration."""

NETWORK_CONTENT = "cell_content"
"""The column of `runs` that identifies the file of a network of a user's own."""

NETWORK_NAMES = (
    Column("network_file", "string", "", "the network's file, as the last sweep over it named it; missing: not known"),
    Column(
        "cell_label",
        "string",
        "",
        "the network's name: cell.label, else the end of the file's name that distinguishes it; with networks=path the "
        "name of a point of which files are the networks",
    ),
    Column("network_order", "int64", "", "place of that name among those of the study, in the order given, from 1"),
)
"""Columns that `runs` has after `cell_content` when it is read (`file_names`). No shard has them, and no id depends
on them."""

FILE_NAMES = {
    "task_content": Column(
        "data_file", "string", "", "the name of the task's file, as far as it distinguishes the files"
    ),
    "initializer_content": Column(
        "matrix_file", "string", "", "the name of the initializer's file, as far as it distinguishes the files"
    ),
}
"""The columns that `runs` has after these others, in the same way."""

UPDATE = "update"
"""The column of `runs` with the number of optimizer steps after which a network was measured; 0: before training."""

MONITORED = (
    Column(
        UPDATE, "int64", "", "optimizer steps before the measurement; 0: before training; missing: not trained here"
    ),
    Column("network_weights", "string", "", "SHA-256 of the weights, 32 digits; missing: they could not be read"),
    Column("training_loss", "float64", "", "the loss that the training loop gave, of its own batch"),
    Column(
        "training_log_gradient_norm",
        "float64",
        "nat",
        "log norm of the gradient that the loop's own loss left in the network's parameters (PyTorch's .grad)",
    ),
)
"""Columns of `runs` of a network that a monitor measures inside a training loop. `update` and `network_weights` are
values of the configuration; the others are stored with the rows, as those of a user's own measures."""

TRAINING = "training"
"""The value of the configuration that says how a network was trained by a sweep; also the table of its updates."""

_LOSS = "mean loss on sequences that training does not use, whatever the reduction"
_RIGHT = "share of right answers among those that count; missing: answers are numbers"
_WRONG = "share of sequences with a wrong answer; missing: answers are numbers"

SCHEME_OF_TRAINING = ("training_scheme", "training_truncation")
"""Columns of `runs` that are part of a sweep point: a trained network depends on its scheme. (A table of measures may
have columns `scheme` and `truncation` of what was measured.)"""

TRAINED = (
    Column("training_scheme", "string", "", "the scheme of its gradients, with its fields"),
    Column("training_truncation", "string", "step", "the truncation of its gradients"),
    Column("training_status", "string", "", "of the training up to this update: done, solved or diverged"),
    Column("trained_updates", "int64", "", "optimizer steps of the network: fewer than `update` if it ended before"),
    Column("solved_at", "int64", "", "the update whose check found the task solved first; missing: none so far"),
    *MONITORED[2:],
    Column("validation_loss", "float64", "", _LOSS),
    Column("validation_accuracy", "float64", "", _RIGHT),
    Column("validation_error", "float64", "", _WRONG),
    Column("test_loss", "float64", "", "the same of the test part, after the last update; missing: there is none"),
    Column("test_accuracy", "float64", "", "likewise"),
    Column("test_error", "float64", "", "likewise"),
)
"""Columns of `runs` of a network that a sweep has trained, stored with the rows."""

TRAINING_TABLE = Table(
    "training",
    "training run and recorded update, kept with the run of its last update",
    ("update",),
    (
        RUN_ID,
        Column("update", "int64", "", "optimizer steps, this one included", True),
        Column("loss", "float64", "", "of the batch, before the step"),
        Column("penalty", "float64", "", "penalty times its strength; missing: there is none at this update"),
        Column("log_gradient_norm", "float64", "nat", "log norm over all parameters, of loss and penalty, not clipped"),
        Column("clipped", "bool", "", "whether the gradient was clipped"),
        Column("learning_rate", "float64", "", "of this step"),
        Column("validation_loss", "float64", "", f"{_LOSS}; missing: not checked"),
        Column("validation_accuracy", "float64", "", _RIGHT),
        Column("validation_error", "float64", "", _WRONG),
    ),
)
TRAINING_GRADIENTS = Table(
    "training_gradients",
    "training run, recorded update and parameter, kept with the run of its last update",
    ("update", "parameter"),
    (
        RUN_ID,
        Column("update", "int64", "", "optimizer steps, this one included", True),
        Column("parameter", "string", "", "which parameter, or free number of a constraint", True),
        Column("log_gradient_norm", "float64", "nat", "log norm of the gradient by it, not clipped"),
    ),
)
WEIGHTS_TABLE = Table(
    "weights",
    "run of a trained network, parameter and entry; `from=` measures them elsewhere (docs/training.md)",
    ("parameter", "index"),
    (
        RUN_ID,
        Column("parameter", "string", "", "which parameter of the cell, those of the readout among them", True),
        Column("index", "int64", "", "place of the entry, row by row, from 0", True),
        Column("value", "float64", "", "after `trained_updates` optimizer steps", True),
    ),
)
TABLES_OF_TRAINING = (TRAINING_TABLE, TRAINING_GRADIENTS, WEIGHTS_TABLE)
"""Tables of studies that train networks. Others have no such tables (`SEQUENCE_LENGTHS`)."""

FROM = "from"
"""The value of the configuration that names the stored weights of a trained network; in `runs` their SHA-256."""

MONITOR_LABEL = "network_label"
"""The value of the configuration that names a monitored network; read as `cell_label`."""

"""`Monitor`: gradients of a recurrent network measured while somebody's own loop trains it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from threadpoolctl import ThreadpoolController

from bpttlab.errors import ConfigurationError, LabError, LabWarning
from bpttlab.fields import check_integer, format_value
from bpttlab.gradients.engine import check_engine
from bpttlab.monitoring.callbacks import keras_callback, lightning_callback
from bpttlab.monitoring.probe import hash_arrays, make_probe, to_number
from bpttlab.monitoring.requested_measures import find_measures
from bpttlab.monitoring.snapshot import Convert, log_norm_of_loop, take_snapshot
from bpttlab.monitoring.update_records import (
    UNKNOWN_CELL,
    TrainingRun,
    plain_cell,
    records_of_failure,
    records_of_update,
)
from bpttlab.networks.pretrained import LONGEST_LABEL
from bpttlab.store.provenance import provenance
from bpttlab.store.store import Store
from bpttlab.store.where import count_own_frames
from bpttlab.streams import print_error
from bpttlab.sweeps.configuration import has_numba
from bpttlab.sweeps.run import RunRecords, now

if TYPE_CHECKING:
    from bpttlab.measures.measure import Measure
    from bpttlab.networks.pretrained import Network

OfLoop = TypeVar("OfLoop")

MEASURES = ("jacobian_products", "lag_terms")


class Monitor:
    """Measures a recurrent network inside a training loop, at every n-th update, into a study.

        monitor = lab.Monitor(study="mine", every=100, measures=["jacobian_products", "lyapunov"], probe=x)
        monitor(0, model.rnn)
        for step, batch in enumerate(loader, start=1):
            ...
            optimizer.step()
            monitor(step, model.rnn, loss=loss)

    Each measured update is a run of the study, with the column `update`, published when the call returns: what was
    published survives the death of the process. `bpttlab tables study=mine`, `bpttlab figures study=mine` and
    `lab.load("mine")` read it.

    A call never raises: what goes wrong is a row with its reason, and is said once by a warning. The random streams of
    NumPy, PyTorch and Python are not touched, and neither is the module.

    Args:
        study: its name.
        probe: inputs (T, B, I), array or tensor, the same at every update.
        every: how many updates lie between two measured ones.
        measures: what is measured: jacobian_products, lag_terms, lyapunov, singular_values, eigenvalues, sensitivity,
            or objects of classes of `lab.Measure`.
        settings: settings of the group `measure` of a sweep: {"exponents": 4, "sequences": 8}. Without "sequences"
            products, exponents and the like are of the first two sequences; loss and lag terms are of all.
        targets: of the probe, for its loss: (T, B, O) numbers or (T, B) classes; (B, O) or (B,) of the last step. None:
            the loss of lag terms is half the squared norm of the last h_T, mean over sequences.
        loss: the loss of the targets: squared_error, softmax_cross_entropy or sigmoid_cross_entropy.
        lengths: (B,) steps of each sequence of the probe; None: T of each. Each is measured from its own last step.
        convert: makes a pair (cell, params) of what a call receives, a module of PyTorch in evaluation mode:
            `lambda module: lab.from_torch(module, step=…)`. None: nn.RNN and the like by their weights, other modules
            by `lab.from_torch`, pairs as they are.
        label: the name of the network in tables and figures.
        seed: of the training run. Several seeds of one label are a sample: tables have intervals over them.
        results: the folder of all studies.
        engine: "numba" or "numpy"; None: numba if it is installed.

    Attributes:
        measured, failed: how many updates there are of either kind.
        last_update: the last of them; None: there is none.
        seconds: time spent in calls that measured.

    Raises:
        ConfigurationError: an argument is not as it must be.
        StoreError: results cannot be written to that folder.
    """

    def __init__(
        self,
        study: str,
        probe: Any,
        *,
        every: int = 100,
        measures: Iterable[str | Measure] = MEASURES,
        settings: Mapping[str, Any] | None = None,
        targets: Any = None,
        loss: str | None = None,
        lengths: Any = None,
        convert: Convert | None = None,
        label: str = "network",
        seed: int = 0,
        results: Path | str = "results",
        engine: str | None = None,
    ) -> None:
        self.every = check_integer("every", every, 1)
        engine = engine or ("numba" if has_numba() else "numpy")
        check_engine(engine)
        found = make_probe(probe, targets, loss, lengths)
        self.training = TrainingRun(
            settle_label(label),
            check_integer("seed", seed, 0),
            found,
            find_measures(measures, settings),
            engine,
        )
        if convert is not None and not callable(convert):
            raise ConfigurationError(f"convert={format_value(convert)}: must be a function (network) -> (cell, params)")
        self.convert = convert
        self.store = Store(results, study)
        self.store.check_writable()
        self.measured = self.failed = 0
        self.last_update: int | None = None
        self.seconds = 0.0
        self._cell = UNKNOWN_CELL
        self._said: set[str] = set()
        self._begun: float | None = None

    def __repr__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        name = f"Monitor '{self.store.study}', {self.training.label}, seed {self.training.seed}"
        return f"{name}: {self.measured} updates measured{failed}, {self.seconds:.2f} s{self._describe_share()}"

    def _describe_share(self) -> str:
        """The share of the loop's time, from the first call on."""
        elapsed = 0.0 if self._begun is None else time.perf_counter() - self._begun
        return f" ({100 * self.seconds / elapsed:.1f} % of the loop)" if elapsed else ""

    def __call__(self, update: int, network: Any, *, loss: Any = None, readout: Any = None) -> None:
        """Measures the network if the update is one of every n-th; else nothing is done.

        Args:
            update: how many optimizer steps were done; 0: before training.
            network: a recurrent module of PyTorch or a pair (cell, params), or what `convert` takes.
            loss: the loop's own loss of this update, which is recorded.
            readout: the linear layer after the network, for a probe with targets.
        """
        if self._begun is None:
            self._begun = time.perf_counter()
        number = self._read("update", read_update, update)
        if number is not None and number % self.every == 0:
            self.measure(number, network, loss=loss, readout=readout)

    def measure(self, update: int, network: Any, *, loss: Any = None, readout: Any = None) -> None:
        """Measures the network whatever the update is, for example the last one; it never raises either."""
        begun, started = time.perf_counter(), now()
        number = self._read("update", read_update, update)
        if number is None:
            return
        self.last_update = number
        try:
            with find_libraries().limit(limits=1, user_api="blas"):  # more would change last bits, and take turns
                records = self._measure(number, network, loss, readout)
                facts = provenance(time.perf_counter() - begun, started, engine=self.training.engine)
            self.store.publish([replace(records, provenance=facts)])
        except Exception as error:  # the loop trains on, whatever is wrong here
            self._say(type(error).__name__, f"update {update} is not stored: {error}")
        self.seconds += time.perf_counter() - begun

    def lightning(self, module: Any, readout: Any = None) -> Any:
        """A callback for `Trainer(callbacks=[…])` of Lightning.

        Args:
            module, readout: functions of the LightningModule, or names of its attributes: `lambda model: model.rnn`.

        Raises:
            ConfigurationError: Lightning is not installed, or an argument is no function and no name.
        """
        return lightning_callback(self, module, readout)

    def keras(self, layer: Any, readout: Any = None) -> Any:
        """A callback for `model.fit(callbacks=[…])` of Keras; its layers are SimpleRNN, GRU and LSTM.

        Args:
            layer, readout: functions of the model, or names of its layers.

        Raises:
            ConfigurationError: Keras is not installed, or an argument is no function and no name.
        """
        return keras_callback(self, layer, readout)

    def _measure(self, update: int, network: Any, loss: Any, readout: Any) -> RunRecords:
        """The records of an update: of a failure its row."""
        norm = self._read("training_log_gradient_norm", log_norm_of_loop, network)
        loop = {"training_loss": self._read("loss", to_number, loss), "training_log_gradient_norm": norm}
        snapshot: Network | None = None
        try:
            units = not self.training.probe.has_targets
            snapshot = take_snapshot(network, self.training.probe.input_size, readout, units, self.convert)
            self._cell = plain_cell(snapshot.cell)
            records = records_of_update(self.training, update, snapshot, loop)
            self.measured += 1
        except Exception as error:
            self.failed += 1
            reason = str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
            self._say(type(error).__name__, f"update {update} has a row without results: {reason}")
            weights = None if snapshot is None else hash_arrays(dict(snapshot.params))
            records = records_of_failure(self.training, update, self._cell, weights, loop, error)
        return records

    def _read(self, name: str, read: Callable[[Any], OfLoop | None], value: Any) -> OfLoop | None:
        """What the loop gives, read; None, and a warning, if it cannot be."""
        try:
            return read(value)
        except Exception as error:
            self._say(name, f"{name} is left out: {error}")
            return None

    def _say(self, kind: str, message: str) -> None:
        """Warns once of each kind of fault; never raises, whatever filters of warnings do."""
        if kind in self._said:
            return
        self._said.add(kind)
        text = f"monitor of study '{self.store.study}': {message}"
        try:
            warnings.warn(text, LabWarning, stacklevel=count_own_frames())
        except Exception:
            print_error(f"bpttlab: {text}")


@cache
def find_libraries() -> ThreadpoolController:
    """The BLAS libraries of this process, which training has loaded."""
    return ThreadpoolController()


def read_update(update: Any) -> int:
    """The number of an update."""
    return check_integer("update", update, 0)


def settle_label(label: Any) -> str:
    """A label of one line."""
    if not isinstance(label, str) or not (label.isprintable() and 0 < len(label.strip()) <= LONGEST_LABEL):
        raise ConfigurationError(
            f"label={format_value(label)}: must be one line of 1 to {LONGEST_LABEL} printable characters"
        )
    return label.strip()

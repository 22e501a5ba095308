"""What one run is: a plain mapping typed, checked and normalised into the objects that the engine works with.

The fields of a group are the fields of its class (`cells`, `tasks`, `truncation`, `initializers`), so a new cell or
task needs nothing here. A run's identity is a hash of `plain`, the normalised mapping: `1` and `1.0` for a real
number, a value given twice in two ways, or a truncation of the full scheme do not make another run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields
from functools import cache, cached_property
from typing import Any, ClassVar, Literal, get_type_hints

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from bpttlab import cells, identity, initializers, tasks, truncation
from bpttlab.bptt import check_engine
from bpttlab.cells import Cell, Scales, Stacked
from bpttlab.cells.base import Params
from bpttlab.cells.stacked import layer_kind
from bpttlab.directions import LOG_SCALE, SIGNED_BIAS, Directions, log_scale, signed_bias
from bpttlab.errors import ConfigurationError, nearest
from bpttlab.initializers import Initializer, NoInitializer
from bpttlab.own_network import FromFile
from bpttlab.tasks import Task
from bpttlab.truncation import Forward, Full, Scheme

Plain = dict[str, Any]


@dataclass(frozen=True)
class Measure:
    """What is measured of a run, and in which detail. Part of the run's identity.

    Attributes:
        jacobians: norms of products for some ("log") or "all" lags of t = T, for the whole "triangle", or "none".
        sequences: how many sequences of the batch have their products, spectra and sensitivity measured.
        lags: how many lags "log" has.
        bound_lags: longest lag of the product bound.
        exponents: how many Lyapunov exponents by QR, a number, "all" or "none".
        transient: the part of T after which they are averaged.
        windows: stretches of time with exponents of their own; 0: none.
        singular_lags: lags of t = T with all singular values.
        eigenvalue_steps: steps t with the eigenvalues of J_t, beside those of W and of J at the origin; 0: none.
        sensitivity_steps: steps t with the norm of dh_t/dparameter.
        lag_terms: "log", "all" or "none".
        max_lag: longest lag of the lag terms; None: all T.
        truncations: "log" reads every truncation at the reported lags off the lag terms; "none" only the run's own.
        log_scale: whether truncations are measured along the scale of W, too.
        signed_bias: along the bias that is added to so many units and subtracted from the others; 0: not.
        scheme_seconds: whether the scheme's gradient is computed once more for its time.
        transient_lags: powers of W searched for their peak.
        fit_from: the growth rate is fitted over lags [fit_from T, T].
        row_budget: rows that one run may have in one table.
    """

    jacobians: Literal["log", "all", "triangle", "none"] = "log"
    sequences: int = 2
    lags: int = 24
    bound_lags: int = 100
    exponents: int | Literal["all", "none"] = "none"
    transient: float = 0.1
    windows: int = 0
    singular_lags: int = 0
    eigenvalue_steps: int = 0
    sensitivity_steps: int = 0
    lag_terms: Literal["log", "all", "none"] = "log"
    max_lag: int | None = None
    truncations: Literal["log", "none"] = "log"
    log_scale: bool = False
    signed_bias: int = 0
    scheme_seconds: bool = False
    transient_lags: int = 100
    fit_from: float = 0.2
    row_budget: int = 100_000

    LEAST: ClassVar[dict[str, int]] = {
        "sequences": 1,
        "lags": 3,
        "bound_lags": 0,
        "windows": 0,
        "singular_lags": 0,
        "eigenvalue_steps": 0,
        "sensitivity_steps": 0,
        "signed_bias": 0,
        "transient_lags": 0,
        "row_budget": 1,
    }

    def __post_init__(self) -> None:
        for name, least in self.LEAST.items():
            if getattr(self, name) < least:
                raise ConfigurationError(f"measure.{name}={getattr(self, name)}: must be a whole number >= {least}")
        if isinstance(self.exponents, int) and self.exponents < 1:
            raise ConfigurationError(f"measure.exponents={self.exponents}: must be a whole number >= 1, all or none")
        if self.windows and self.exponents == "none":
            raise ConfigurationError(f"measure.windows={self.windows}: needs exponents, and measure.exponents is none")
        if self.max_lag is not None and self.max_lag < 0:
            raise ConfigurationError(
                f"measure.max_lag={self.max_lag}: must be a whole number >= 0, or null for all lags"
            )
        for name in ("fit_from", "transient"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigurationError(f"measure.{name}={getattr(self, name)}: must be a number from 0 to below 1")

    def exponents_of(self, size: int) -> int:
        """How many exponents are asked of a state of this size."""
        return {"none": 0, "all": size}[self.exponents] if isinstance(self.exponents, str) else self.exponents

    def directions(self, cell: Cell, params: Params) -> Directions:
        """The directions asked for, in the parameters of a cell."""
        found = {LOG_SCALE: log_scale(cell, params)} if self.log_scale else {}
        return found | ({SIGNED_BIAS: signed_bias(cell, self.signed_bias)} if self.signed_bias else {})

    def rows(self, length: int, cell: Cell) -> dict[str, int]:
        """Rows of each table that one run of this length has at most."""
        parameters, size, parts = len(cell.recurrent_parameters), cell.state_size, len(cell.parts)
        products = {
            "log": min(self.lags, length + 1),
            "all": length + 1,
            "triangle": length * (length + 3) // 2,
            "none": 0,
        }
        last = length if self.max_lag is None else min(length, self.max_lag + 1)
        terms = {"log": min(self.lags, last), "all": last, "none": 0}[self.lag_terms]
        block_lags = min(products[self.jacobians], length + 1) if parts > 1 else 0
        of_a_sequence = {
            "jacobians": products[self.jacobians],
            "blocks": block_lags * parts**2,
            "spectra": self.exponents_of(size),
            "finite_time": self.exponents_of(size) * min(self.windows, length),
            "singular_values": size * min(self.singular_lags, length + 1),
            "eigenvalues": size * min(self.eigenvalue_steps, length),
            "sensitivity": parameters * min(self.sensitivity_steps, length),
        }
        rows = {table: number * self.sequences for table, number in of_a_sequence.items()}
        rows["eigenvalues"] += (size + cell.hidden_size) * (self.eigenvalue_steps > 0)  # of J at the origin and of W
        return rows | {"lag_terms": parameters * terms}


@dataclass(frozen=True)
class Values:
    """The values that belong to no group."""

    seed: int = 0
    spectral_radius: float | None = None
    sequence_length: int = 50
    truncation: int | Literal["full"] = "full"
    batch_size: int = 8
    dtype: Literal["float64", "float32"] = "float64"
    reduction: Literal["mean", "sum"] = "mean"
    readout: Literal["drawn", "units"] = "drawn"
    engine: Literal["numpy", "numba"] = "numpy"

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("sequence_length", 1), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"{name}={getattr(self, name)}: must be a whole number >= {least}")
        if self.truncation != "full":
            truncation.check_truncation(self.truncation)
        check_engine(self.engine)


GROUPS = ("cell", "task", "scheme", "initializer", "scales", "measure")


@dataclass(frozen=True)
class Configuration:
    """One run, typed. Build it with `parse`."""

    values: Values
    cell: Cell
    task: Task
    scheme: Scheme
    initializer: Initializer
    scales: Scales
    measure: Measure
    own: FromFile | None = None
    """Where the weights of `cell` are, if they are in a file of a person's own."""

    DEFAULTS: ClassVar[Plain] = {
        "cell": {"name": "elman", "hidden_size": 32},
        "task": {"name": "noise"},
        "scheme": {"name": "per_loss"},
        "initializer": {"name": "gaussian_radius"},
        "scales": {},
        "measure": {},
    }

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Configuration:
        """Type, check and normalise a plain mapping; what it leaves out has its default.

        Raises:
            ConfigurationError: an unknown field or name, a value of the wrong type or out of range, or two values that
                do not go together. The message names the field, the value and what is allowed.
        """
        check_known(plain, [field.name for field in fields(Values)] + list(GROUPS))
        groups = {name: as_mapping(name, plain.get(name, cls.DEFAULTS[name])) for name in GROUPS}
        values: Values = typed(Values, {key: value for key, value in plain.items() if key not in GROUPS}, "")
        task = named(tasks.by_name, "task", groups["task"], sequence_length=values.sequence_length)
        task.check_batch_size(values.batch_size)
        sizes = {"input_size": task.input_size, "output_size": task.output_size}
        scales = typed(Scales, groups["scales"], "scales")
        own = own_network(groups["cell"], task, scales, values)
        cell = own.cell(task.output_size) if own else named(cells.by_name, "cell", with_layers(groups["cell"]), **sizes)
        check_readout(values.readout, cell, own)
        measure = typed(Measure, groups["measure"], "measure")
        check_row_budget(measure.rows(values.sequence_length, cell), measure, values)
        check_exponents(measure, cell)
        measure.directions(cell, {name: np.zeros(shape) for name, shape in cell.shapes().items()})
        return cls(
            values,
            cell,
            task,
            scheme_of(groups["scheme"], values.truncation, cell),
            initializer_of(groups["initializer"], values.spectral_radius, own or cell),
            scales,
            measure,
            own,
        )

    @cached_property
    def plain(self) -> Plain:
        """The normalised mapping: what is stored, compared and hashed."""
        radius = self.initializer.asked if self.initializer.has_spectral_radius else None
        return {
            **asdict(self.values),
            "spectral_radius": radius,
            "truncation": self.scheme.truncation or "full",
            "cell": (
                self.own.identity_fields() if self.own else group_fields(self.cell, leave=("input_size", "output_size"))
            ),
            "task": {"name": self.task.name, **self.task.identity_fields()},
            "scheme": group_fields(self.scheme, leave=("truncation",)),
            "initializer": group_fields(self.initializer),
            "scales": asdict(self.scales),
            "measure": asdict(self.measure),
        }

    @cached_property
    def run_id(self) -> str:
        return identity.run_id(self.plain)

    @cached_property
    def network_id(self) -> str:
        """The same for all runs with the same weights, whatever is done with them.

        A seed that draws none of them, for all are in a file, is no part of it.
        """
        drawn = self.own is None or not self.own.has_readout
        kept = (*(["seed"] if drawn else []), "cell", "initializer", "scales", "dtype", "readout")
        sizes = {"input_size": self.cell.input_size, "output_size": self.cell.output_size}
        network = {**{name: self.plain[name] for name in kept}, **sizes}
        network["scales"] = {name: network["scales"][name] for name in ("V", "b", "U")}
        return identity.run_id(network)

    @cached_property
    def bundle_key(self) -> str:
        """The same for all runs that share network, data and measures: they differ in scheme and truncation, and in the
        length where the shorter sequence is the beginning of the longer one."""
        own = ("scheme", "truncation", *(["sequence_length"] if self.task.prefix_stable else []))
        return identity.run_id({name: value for name, value in self.plain.items() if name not in own})

    @property
    def cuts_nothing(self) -> bool:
        """Whether a truncation was asked for that is at least as long as the sequence, which is the full gradient."""
        K = self.scheme.truncation
        return K is not None and self.values.sequence_length <= K


# ---------------------------------------------------------------------------------------------------- groups


def scheme_of(group: Mapping[str, Any], K: int | str, cell: Cell) -> Scheme:
    """The truncation scheme; with truncation=full, or the scheme full, the full gradient whatever else is given.

    What goes forward has no truncation, whatever is given.
    """
    name, chosen = split_name("scheme", group)
    known = truncation.named_schemes()
    if name not in known:
        raise ConfigurationError(f"scheme={name!r}: must be one of {', '.join(known)}.{nearest(name, known)}")
    check_known(chosen, own_fields(known[name], leave=("truncation",)), f"scheme.{{}} of '{name}'")
    if issubclass(known[name], Forward):
        forward: Forward = typed(known[name], chosen, "scheme")
        forward.check_cell(cell.name)
        return forward
    if name == Full.name or K == "full":
        return Full()
    if name == truncation.Windowed.name and chosen.get("k1") is None:
        chosen["k1"] = max(1, int(K) // 2)  # half a window, the overlap that Williams & Peng used
    scheme: Scheme = typed(known[name], {**chosen, "truncation": K}, "scheme")
    return scheme


def own_network(group: Mapping[str, Any], task: Task, scales: Scales, values: Values) -> FromFile | None:
    """The network in a file of a person's own, if the cell is one, and if it goes with the rest."""
    if group.get("name") != FromFile.name:
        return None
    own: FromFile = named(lambda name: FromFile, "cell", group)
    own.check_task(task)
    own.check_scales(scales)
    own.check_dtype(values.dtype)
    return own


def initializer_of(group: Mapping[str, Any], radius: float | None, source: Cell | FromFile) -> Initializer:
    """What draws W; where nothing does, none, whatever else stands there by default."""
    name, chosen = split_name("initializer", group)
    initializer = initializers.from_fields(name, chosen, radius)
    source.check_initializer(initializer)
    if source.takes_initializer:
        return initializer
    if radius is not None:
        raise ConfigurationError(f"spectral_radius={radius}: the cell '{source.name}' takes none; leave it out")
    return NoInitializer()


def with_layers(group: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a stack says of its layers as a cell: a name, or a mapping of the name and the layers' own fields."""
    if group.get("name") != Stacked.name or group.get("of") is None:
        return group
    of = as_mapping("cell.of", group["of"])
    return {**group, "of": named(layer_kind, "cell.of", of, **OF_THE_STACK)}


OF_THE_STACK = {"input_size": 1, "hidden_size": 1, "output_size": 1, "output_activation": "identity"}
"""Fields that a layer has from its stack, which puts its own in their place."""


def named(find: Any, group: str, mapping: Mapping[str, Any], **given: Any) -> Any:
    """The object of a group: its class found by `name`, its other fields typed, `given` added by the configuration."""
    name, chosen = split_name(group, mapping)
    kind = find(name)
    check_known(chosen, own_fields(kind, leave=tuple(given)), f"{group}.{{}} of '{name}'")
    return typed(kind, {**chosen, **given}, group)


def split_name(group: str, mapping: Mapping[str, Any]) -> tuple[str, Plain]:
    chosen = dict(mapping)
    name = chosen.pop("name", None)
    if not isinstance(name, str):
        raise ConfigurationError(f"{group}.name={name!r}: must be the name of a {group}")
    return name, chosen


def as_mapping(group: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{group}={value!r}: must be a mapping of fields, or a name")
    return value


def group_fields(chosen: Any, leave: tuple[str, ...] = ()) -> Plain:
    """An object of a group as a plain mapping."""
    mapping = {"name": chosen.name, **asdict(chosen)}
    if isinstance(chosen, Stacked):
        mapping["of"] = group_fields(chosen.of, leave=tuple(OF_THE_STACK))
    return {name: value for name, value in mapping.items() if name not in leave}


def own_fields(kind: type[Any], leave: tuple[str, ...]) -> list[str]:
    return [field.name for field in fields(kind) if field.name not in leave]


# ------------------------------------------------------------------------------------------ types and their errors


def typed(kind: type[Any], values: Mapping[str, Any], group: str) -> Any:
    """An object of a dataclass from plain values: whole numbers for real fields become real, nothing else is converted.

    null for a field that has a default other than null means the default.
    """
    path = f"{group}.{{}}" if group else "{}"
    check_known(values, [field.name for field in fields(kind)], path)
    known = kind.__dataclass_fields__
    given = {name: value for name, value in values.items() if value is not None or not has_default(known[name])}
    missing = [name for name in known if name not in given and known[name].default is MISSING]
    if missing:
        raise ConfigurationError(f"{path.format(missing[0])}: must be given")
    return kind(**{name: typed_value(kind, name, value, path.format(name)) for name, value in given.items()})


def has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING and field.default is not None


def typed_value(kind: Any, name: str, value: Any, path: str) -> Any:
    try:
        return adapter(kind, name).validate_python(value, strict=True)
    except ValidationError as error:
        allowed = [complaint(one) for one in error.errors()]
        choices = re.findall(r"'([^']*)'", " ".join(allowed))
        hint = nearest(value, choices)
        raise ConfigurationError(f"{path}={value!r}: must be {' or '.join(dict.fromkeys(allowed))}.{hint}") from None


@cache
def adapter(kind: Any, name: str) -> TypeAdapter[Any]:
    """What checks one field of a dataclass: its annotation."""
    return TypeAdapter(get_type_hints(kind)[name], config=ConfigDict(arbitrary_types_allowed=True))


KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "none_required": "null",
}


def complaint(error: Any) -> str:
    """What pydantic would have accepted."""
    if error["type"] == "literal_error":
        return str(error["ctx"]["expected"])
    return KINDS.get(error["type"], error["msg"].removeprefix("Input should be "))


def check_known(values: Mapping[str, Any], known: list[str], path: str = "{}") -> None:
    for name in values:
        if name not in known:
            shown = path.format(name)
            there_are = f"there are {', '.join(known)}" if known else "there are none"
            raise ConfigurationError(f"{shown}: there is no such field; {there_are}.{nearest(name, known)}")


DECIDES_ROWS = {
    "jacobians": ("measure.jacobians=log", "measure.sequences"),
    "blocks": ("measure.jacobians=log", "measure.sequences"),
    "spectra": ("measure.exponents", "measure.sequences"),
    "finite_time": ("measure.windows", "measure.exponents", "measure.sequences"),
    "singular_values": ("measure.singular_lags", "measure.sequences"),
    "eigenvalues": ("measure.eigenvalue_steps", "measure.sequences"),
    "sensitivity": ("measure.sensitivity_steps", "measure.sequences"),
    "lag_terms": ("measure.lag_terms=log", "measure.max_lag"),
}
"""What to change where a run would have too many rows of a table."""


def check_readout(readout: str, cell: Cell, own: FromFile | None) -> None:
    if readout == "drawn":
        return
    if own is not None and own.has_readout:
        raise ConfigurationError(f"readout={readout}: that of cell.path={own.path!r} is in the file; must be drawn")
    if cell.output_size > cell.hidden_size:
        raise ConfigurationError(
            f"readout={readout}: {cell.output_size} outputs of {cell.hidden_size} hidden units; must be drawn"
        )


def check_exponents(measure: Measure, cell: Cell) -> None:
    if measure.exponents_of(cell.state_size) > cell.state_size:
        raise ConfigurationError(
            f"measure.exponents={measure.exponents}: must be at most {cell.state_size}, the size of the state, or all"
        )


def check_row_budget(budgeted: Mapping[str, int], measure: Measure, values: Values) -> None:
    run = f"a run of sequence_length={values.sequence_length}"
    for table, rows in budgeted.items():
        if rows > measure.row_budget:
            raise ConfigurationError(
                f"measure.row_budget={measure.row_budget}: {run} would have {rows} rows of "
                f"'{table}'; ask for fewer of {', '.join(DECIDES_ROWS[table])}, or raise the budget"
            )

"""What one run is: a plain mapping typed, checked and normalised into the objects that the engine works with.

The fields of a group are the fields of its class (`cells`, `tasks`, `truncation`, `initializers`), so a new cell or
task needs nothing here. A run's identity is a hash of `plain`, the normalised mapping: `1` and `1.0` for a real
number, a value given twice in two ways, or a truncation of the full scheme do not make another run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from bpttlab import plugins, resources
from bpttlab.errors import ConfigurationError, nearest
from bpttlab.fields import Field, Plain, check_integer, defaults, format_value, python_value, settle_fields, typed_value
from bpttlab.gradients.engine import check_engine
from bpttlab.measures.measure import Measure
from bpttlab.measures.selection import Measures, settings
from bpttlab.networks import initializers
from bpttlab.networks.cells import Cell, Elman, Noisy, Scales, Stacked
from bpttlab.networks.cells.wrapping import layer_kind
from bpttlab.networks.initializers import Initializer, NoInitializer
from bpttlab.networks.pretrained import FromFile
from bpttlab.plugin_sources import Source
from bpttlab.store import identity, schema
from bpttlab.store.column import MeasureColumns
from bpttlab.store.columns import FROM, UPDATE
from bpttlab.store.own_columns import check_declared
from bpttlab.sweeps.configuration_checks import check_loss, check_readout
from bpttlab.sweeps.identity_parts import (
    MOST_BUILT,
    NOT_OF_NETWORK,
    OF_MEASURING,
    OF_SCHEME,
    OF_THE_STACK,
    PLUGINS,
    Part,
    check_digests,
    drop_keys,
    fields_of,
    group_of_run,
    join_parts,
    own_fields,
    part_of_sources,
    sources_of_groups,
    value_of_run,
)
from bpttlab.sweeps.stored_networks import StoredNetwork
from bpttlab.sweeps.typed_fields import build_typed, check_known
from bpttlab.tasks import Task
from bpttlab.training.optimizers import Adam, Optimizer
from bpttlab.training.penalties.penalty import Penalty
from bpttlab.training.projections import Projection
from bpttlab.training.settings import NoPenalty, NoProjection, NoTraining, Training
from bpttlab.truncation.scheme import Scheme
from bpttlab.truncation.segmented import Full


@dataclass(frozen=True)
class Values:
    """The values that belong to no group."""

    seed: Annotated[int, Field(ge=0, description="draws the network and the data")] = 0
    spectral_radius: Annotated[
        float | None,
        Field(
            ge=0,
            description="largest |eigenvalue| of W, for initializers that can state it; null: the initializer's "
            "default",
        ),
    ] = None
    sequence_length: Annotated[int, Field(ge=1, unit="step", description="T, steps")] = 50
    truncation: Annotated[
        int | Literal["full"],
        Field(ge=1, unit="step", description="K, how many steps back the gradient of a loss goes; full: to the start"),
    ] = "full"
    batch_size: Annotated[int, Field(ge=1, description="B, sequences of a run")] = 8
    dtype: Annotated[Literal["float64", "float32"], Field(description="of states and gradients")] = "float64"
    reduction: Annotated[
        Literal["mean", "sum"],
        Field(description="mean: the loss is divided by the number of steps that count; sum: it is not"),
    ] = "mean"
    readout: Annotated[
        Literal["drawn", "units"],
        Field(
            description="drawn: U and b_y are drawn; units: the prediction is the first units themselves, U = [I 0] "
            "and b_y = 0"
        ),
    ] = "drawn"
    engine: Annotated[
        Literal["numpy", "numba"],
        Field(
            description="engine of the forward and backward loops; numba: compiled, where there are such loops for the "
            "cell; numpy: nothing is compiled"
        ),
    ] = "numba"

    def __post_init__(self) -> None:
        settle_fields(self)
        if not (self.engine == "numba" and has_numba()):  # whose import takes longer than all runs of a small sweep
            check_engine(self.engine)


@cache
def has_numba() -> bool:
    return find_spec("numba") is not None


MADE_OF_ANOTHER = (Stacked.name, Noisy.name)
TRAINING_GROUPS = ("training", "optimizer", "penalty", "projection")
GROUPS = ("cell", "task", "scheme", "initializer", "scales", "measure", *TRAINING_GROUPS)


class Ids(NamedTuple):
    """The ids of a run, of its network and of its bundle."""

    run_id: str
    network_id: str
    bundle_key: str


@dataclass(frozen=True)
class Configuration:
    """One run, typed. Build it with `parse`."""

    values: Values
    cell: Cell
    task: Task
    scheme: Scheme
    initializer: Initializer
    scales: Scales
    measure: Measures
    training: Training | None = None
    """How the network is trained before it is measured; None: it is not."""
    optimizer: Optimizer | None = None
    penalty: Penalty | None = None
    projection: Projection | None = None
    update: int | None = None
    """After how many updates it is measured; None: after the last."""
    own: FromFile | StoredNetwork | None = None
    """Where the weights of `cell` are, if they are in a file of a person's own, or those of another study."""
    sources: tuple[tuple[str, Source], ...] = ()
    """(group, file) of the classes that do not come with bpttlab, and of the activations and losses that they name."""
    replaced_scheme: str | None = field(default=None, compare=False)
    """The scheme other than the default that truncation=full replaces, if there is one."""
    ineffective: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)
    """Fields of the training that were given and have no effect, and why: the run has their defaults."""

    DEFAULTS: ClassVar[Plain] = {
        "cell": defaults(Elman),
        "task": {"name": "noise"},
        "scheme": {"name": "per_loss"},
        "initializer": {"name": "gaussian_radius"},
        "scales": {},
        "training": {"name": NoTraining.name},
        "optimizer": defaults(Adam),
        "penalty": {"name": NoPenalty.name},
        "projection": {"name": NoProjection.name},
        "measure": {},
    }

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Configuration:
        """Type, check and normalise a plain mapping; what it leaves out has its default.

        Raises:
            ConfigurationError: an unknown field or name, a value of the wrong type or out of range, or two values that
                do not go together. The message names the field, the value and what is allowed.
        """
        if not isinstance(plain, Mapping):
            raise ConfigurationError(f"configuration={format_value(plain)}: must be a mapping of fields")
        plain = nest(python_value(plain))
        check_known(plain, [*fields_of(Values), FROM, *GROUPS, PLUGINS, UPDATE])
        groups = {name: name_group(name, plain.get(name, cls.DEFAULTS[name])) for name in GROUPS}
        values: Values = build_typed(Values, drop_keys(plain, (*GROUPS, FROM, PLUGINS, UPDATE)), "")
        length = values.sequence_length
        task = build_once("task", groups["task"], task_of, length)
        task.check_batch_size(values.batch_size)
        check_loss(task)
        scales = build_once("scales", groups["scales"], lambda group: build_typed(Scales, group, "scales"))
        stored = None if plain.get(FROM) is None else StoredNetwork.find(plain[FROM])
        if stored is not None:
            groups["cell"] = stored.choose_cell(groups["cell"], cls.DEFAULTS["cell"])
        file = own_network(groups["cell"], task, scales, values)
        sizes = task.input_size, task.output_size
        cell = file.cell(task.output_size) if file else build_once("cell", groups["cell"], cell_of, *sizes)
        own = stored or file
        if stored is not None:
            stored.check(cell, task, scales, values.readout, values.dtype)
        cell.check_scales(scales)
        check_readout(values.readout, cell, file)
        measure = build_once("measure", groups["measure"], measures_of)
        check_measure_once(measure, cell, length)
        scheme = build_once("scheme", groups["scheme"], _scheme_of, values.truncation, cell)
        radius = values.spectral_radius
        initializer = build_once("initializer", groups["initializer"], initializer_of, radius, own or cell)
        trained = training_of({name: groups[name] for name in TRAINING_GROUPS}, cell, scheme)
        if trained:
            trained["training"].check_sources(task, values.batch_size, file and file.update)
        update = check_update(plain.get(UPDATE), trained.get("training"))
        chosen = {"cell": cell, "task": task, "scheme": scheme, "initializer": initializer, "measure": measure}
        chosen |= {name: part for name, part in trained.items() if name not in ("training", "ineffective")}
        sources = sources_of_groups(chosen)
        check_digests(plain.get(PLUGINS), sources)
        if stored is not None:
            stored.check_sources(sources)
        replaced = find_replaced_scheme(groups["scheme"], scheme)
        others: dict[str, Any] = {"own": own, "sources": sources, "replaced_scheme": replaced, "update": update}
        return cls(values, cell, task, scheme, initializer, scales, measure, **others, **trained)

    @property
    def parts(self) -> dict[str, Part]:
        """Everything that is stored, compared and hashed, by name: the values, then the groups.

        A run keeps none of it: a plan may have a hundred thousand of them.
        """
        parts = {
            **{name: value_of_run(name, value) for name, value in self.scalars.items()},
            **{name: group_of_run(name, group) for name, group in self.groups.items()},
            **part_of_sources(self.sources),
            **self.part_of_weights,
        }
        return parts if self.training is None else {**parts, UPDATE: value_of_run(UPDATE, self.measured_update)}

    @property
    def part_of_weights(self) -> dict[str, Part]:
        """What says of which trained network of a study the weights are; nothing if they are not."""
        return {FROM: value_of_run(FROM, self.own.content)} if isinstance(self.own, StoredNetwork) else {}

    @property
    def scalars(self) -> dict[str, Any]:
        """The values that belong to no group."""
        return {
            **{name: getattr(self.values, name) for name in fields_of(Values)},
            "spectral_radius": self.initializer.requested if self.initializer.has_spectral_radius else None,
            "truncation": self.scheme.truncation or "full",
        }

    @property
    def groups(self) -> dict[str, Any]:
        """The object of each group, which many runs share; a network that is not trained has none of its training."""
        cell: Cell | FromFile = self.own if isinstance(self.own, FromFile) else self.cell
        found = {name: cell if name == "cell" else getattr(self, name) for name in GROUPS}
        return {name: group for name, group in found.items() if group is not None}

    @property
    def measured_update(self) -> int | None:
        """After how many updates the network is measured; None: it is not trained."""
        return self.training.updates if self.training is not None and self.update is None else self.update

    def without_training(self) -> Configuration:
        """The run of the network as it is drawn."""
        return replace(self, training=None, optimizer=None, penalty=None, projection=None, update=None)

    def at_measured_updates(self) -> list[Configuration]:
        """The runs that a sweep makes of it: itself, or one for each update at which the network is measured."""
        if self.training is None or self.update is not None:
            return [self]
        return [replace(self, update=update) for update in self.training.measured_updates()]

    @property
    def plain(self) -> Plain:
        """The normalised mapping: what is stored, compared and hashed. Its groups are shared, and not to be changed."""
        return {name: part.plain for name, part in self.parts.items()}

    @property
    def canonical(self) -> str:
        """The one text of `plain` (`identity.canonical`); a kilobyte, which no run keeps."""
        return join_parts(self.parts)

    @property
    def described(self) -> schema.Described:
        """`canonical` with its columns in the table `runs`."""
        parts = self.parts
        columns = {name: value for part in parts.values() for name, value in part.columns.items()}
        if len(columns) < sum(len(part.columns) for part in parts.values()):
            schema.flatten(self.plain)  # which refuses two values for one column
        return schema.Described(join_parts(parts), columns)

    @cached_property
    def ids(self) -> Ids:
        """The three ids, which need the same parts."""
        parts = self.parts
        return Ids(identity.id_of(join_parts(parts)), self._network_id(parts), self._bundle_key(parts))

    @property
    def run_id(self) -> str:
        return self.ids.run_id

    @property
    def network_id(self) -> str:
        """The same for all runs with the same weights, whatever is done with them.

        A seed that draws none of them, for all are in a file, is no part of it.
        """
        return self.ids.network_id

    @property
    def bundle_key(self) -> str:
        """The same for all runs that share network, data and measures: they differ in scheme and truncation, and in the
        length where the shorter sequence is the beginning of the longer one."""
        return self.ids.bundle_key

    def _network_id(self, parts: Mapping[str, Part]) -> str:
        if self.training is not None:  # of the training run, whatever is measured of it
            return identity.id_of(join_parts({name: one for name, one in parts.items() if name not in OF_MEASURING}))
        drawn = self.own is None or not self.own.has_readout
        kept = (*(["seed"] if drawn else []), "cell", "initializer", "dtype", "readout")
        network = {name: parts[name] for name in kept}
        network |= {name: value_of_run(name, getattr(self.cell, name)) for name in ("input_size", "output_size")}
        network["scales"] = group_of_run("scales", self.scales, NOT_OF_NETWORK)
        network |= part_of_sources([one for one in self.sources if one[0] in ("cell", "initializer")])
        network |= self.part_of_weights
        return identity.id_of(join_parts(network))

    def _bundle_key(self, parts: Mapping[str, Part]) -> str:
        own = (*OF_SCHEME, *(["sequence_length"] if self.task.prefix_stable else []))
        own = own if self.training is None else (UPDATE,)
        return identity.id_of(join_parts({name: part for name, part in parts.items() if name not in own}))

    @cached_property
    def pass_key(self) -> str:
        """The same for all runs of one length in a bundle: they differ in scheme and truncation alone."""
        left = OF_SCHEME if self.training is None else ()  # a trained network depends on its scheme
        return identity.id_of(join_parts({name: part for name, part in self.parts.items() if name not in left}))

    @property
    def cuts_nothing(self) -> bool:
        """Whether a truncation was requested that is at least as long as the sequence, which is the full gradient."""
        K = self.scheme.truncation
        return K is not None and self.values.sequence_length <= K


# ---------------------------------------------------------------------------------------------------- groups


def build_once(name: str, group: Mapping[str, Any], build: Callable[..., Any], *beside: Any) -> Any:
    """`build(group, *beside)`, remembered: in a sweep most runs have most groups in common.

    What is in files may change, and is built anew.

    Args:
        build: gives a frozen object, or an error, which is not remembered.
        beside: what else it depends on, hashable.
    """
    if group.get("path") is not None:
        return build(group, *beside)
    typed_values = ((type(value), value) for value in beside)  # which tell 1 from 1.0 and from true
    key = (plugins.choices_in_use(), name, repr(group), *typed_values)
    if key not in _BUILT:
        if len(_BUILT) >= MOST_BUILT:
            _BUILT.clear()
        _BUILT[key] = build(group, *beside)
    return _BUILT[key]


_BUILT: dict[Any, Any] = {}


def task_of(group: Mapping[str, Any], length: int) -> Any:
    return build_named("task", group, sequence_length=length)


def cell_of(group: Mapping[str, Any], input_size: int, output_size: int) -> Any:
    return build_named("cell", with_layers(group), input_size=input_size, output_size=output_size)


@lru_cache(maxsize=MOST_BUILT)
def check_measure_once(measure: Measures, cell: Cell, length: int) -> None:
    """`Measures.check`, once."""
    measure.check(cell, length)


def measures_of(group: Mapping[str, Any]) -> Measures:
    """The measures of a run: fields of the group are settings of the shipped ones, each mapping is a measure of a
    person's own, by name."""
    declared = settings()
    own = {name: value for name, value in group.items() if isinstance(value, Mapping) and name not in declared}
    flat = {name: value for name, value in group.items() if name not in own}
    check_known(flat, tuple(declared), "measure.{}")
    chosen: dict[type, Plain] = {kind: {} for kind in declared.values()}
    for name, value in flat.items():
        chosen[declared[name]][name] = value
    parts = [build_typed(kind, values, "measure") for kind, values in chosen.items()]
    return Measures.of(*parts, *(own_measure(name, value) for name, value in own.items()))


def own_measure(name: str, values: Mapping[str, Any]) -> Any:
    """A measure that does not come with bpttlab."""
    known = {choice.name: choice.value for choice in plugins.own_choices() if choice.kind == "measure"}
    if name not in known:
        named = [*settings(), *known]
        raise ConfigurationError(
            f"measure.{name}: there is no such field; there are {', '.join(named)}.{nearest(name, named)}"
        )
    kind = known[name]
    check_declared(name, MeasureColumns(kind.tables, kind.summary))
    return build_typed(kind, values, f"measure.{name}")


def _scheme_of(group: Mapping[str, Any], K: int | str, cell: Cell) -> Scheme:
    """The truncation scheme; with truncation=full, or the scheme full, the full gradient whatever else is given.

    What goes forward has no truncation, whatever is given.
    """
    name, chosen = split_name("scheme", group)
    kind: type[Scheme] = plugins.find("scheme", name)
    check_known(chosen, own_fields(kind, leave=("truncation",)), f"scheme.{{}} of '{name}'")
    if kind.takes_truncation:
        if K == "full":
            check_values(kind, chosen, "scheme")
            return Full()
        chosen = kind.complete(chosen, int(K))
    scheme: Scheme = build_typed(kind, chosen, "scheme")
    scheme.check_cell(cell.name)
    return scheme


def check_values(kind: type, values: Mapping[str, Any], group: str) -> None:
    """Refuses a value that its field does not allow, of an object that is not built; null may mean a value of K."""
    for name, value in values.items():
        if value is not None:
            typed_value(kind, name, value, f"{group}.{name}")


def find_replaced_scheme(group: Mapping[str, Any], scheme: Scheme) -> str | None:
    """The scheme that was chosen where truncation=full takes its place; None for the default, which nobody chose."""
    name = str(group["name"])
    unchosen = (Full.name, Configuration.DEFAULTS["scheme"]["name"])
    return name if scheme.is_full and name not in unchosen else None


def own_network(group: Mapping[str, Any], task: Task, scales: Scales, values: Values) -> FromFile | None:
    """The network in a file of a person's own, if the cell is one, and if it goes with the rest."""
    if group.get("name") != FromFile.name:
        return None
    own: FromFile = build_named("cell", group, find=lambda kind, name, field: FromFile)
    own.check_task(task)
    own.check_scales(scales)
    own.check_dtype(values.dtype)
    return own


def training_of(groups: Mapping[str, Mapping[str, Any]], cell: Cell, scheme: Scheme) -> dict[str, Any]:
    """How a network is trained, and by what, by name of the group; nothing for training=none.

    Raises:
        ConfigurationError: something is chosen that has no effect, because nothing is trained, or that does not serve
            the cell.
    """
    name, stated = split_name("training", groups["training"])
    parts = {group: build_once(group, groups[group], build_part, group) for group in TRAINING_GROUPS[1:]}
    if name == NoTraining.name:
        for field in stated:
            raise ConfigurationError(f"training.{field}: nothing is trained; add training=standard")
        for group, part in parts.items():
            if part not in (None, Adam()):
                raise ConfigurationError(f"{group}={part.name}: nothing is trained; add training=standard")
        return {}
    for group, value in stated.items():
        if group in TRAINING_GROUPS:
            raise ConfigurationError(f"training.{group}={value}: is a group of its own; write {group}={value}")
    stated = {**groups["training"], "measure_at": as_list(groups["training"].get("measure_at"))}
    training: Training = build_once("training", stated, build_training)
    if training.learning_rate is None:  # stated or not, it is one run
        training = replace(training, learning_rate=parts["optimizer"].usual_learning_rate)
    ineffective = training.find_ineffective(parts["penalty"])
    if ineffective:  # they do not make another run
        training = replace(training, **{name: getattr(Training(), name) for name in ineffective})
    training.check(scheme, parts["penalty"])
    for group in ("penalty", "projection"):
        if parts[group] is not None:
            parts[group].check(cell)
    chosen = {group: part for group, part in parts.items() if part is not None}
    return {"training": training, "ineffective": ineffective, **chosen}


def build_part(fields: Mapping[str, Any], group: str) -> Any:
    """The object of a group that says how networks are trained; None for none."""
    name, stated = split_name(group, fields)
    if name != NoPenalty.name or group == "optimizer":
        return build_named(group, fields)
    check_known(stated, (), f"{group}.{{}} of '{name}'")
    return None


def build_training(group: Mapping[str, Any]) -> Training:
    training: Training = build_named("training", group, find=find_training)
    return training


def find_training(kind: str, name: str, field: str) -> type:
    if name != Training.name:
        raise ConfigurationError(f"training={name!r}: must be one of none, standard.{nearest(name, ['standard'])}")
    return Training


def as_list(value: Any) -> Any:
    """A list of updates, or a single one, as it is written on the command line; anything else as it is."""
    updates = [value] if type(value) is int else value
    return f"[{','.join(map(str, updates))}]" if isinstance(updates, list | tuple) else value


def check_update(value: Any, training: Training | None) -> int | None:
    """After how many updates a network is measured."""
    if value is None:
        return None
    if training is None:
        raise ConfigurationError(f"update={format_value(value)}: nothing is trained; add training=standard")
    return check_integer(UPDATE, value, 0, training.updates)


def initializer_of(
    group: Mapping[str, Any], radius: float | None, source: Cell | FromFile | StoredNetwork
) -> Initializer:
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
    """What a cell says of the one that it is made of: a name, or a mapping of the name and that cell's own fields."""
    if group.get("of") is None or group.get("name") not in MADE_OF_ANOTHER:
        return group
    of = as_mapping("cell.of", group["of"])
    return {**group, "of": build_named("cell.of", of, find=lambda kind, name, field: layer_kind(name), **OF_THE_STACK)}


def build_named(group: str, mapping: Mapping[str, Any], find: Callable[..., Any] = plugins.find, **given: Any) -> Any:
    """The object of a group: its class found by `name`, its other fields typed, `given` added by the configuration."""
    name, chosen = split_name(group, mapping)
    kind = find(group, name, group)
    check_known(chosen, own_fields(kind, leave=tuple(given)), f"{group}.{{}} of '{name}'")
    return build_typed(kind, {**chosen, **given}, group)


def split_name(group: str, mapping: Mapping[str, Any]) -> tuple[str, Plain]:
    chosen = dict(mapping)
    name = chosen.pop("name", None)
    if not isinstance(name, str):
        raise ConfigurationError(f"{group}.name={name!r}: must be the name of a {group}")
    return name, chosen


def as_mapping(group: str, value: Any) -> Mapping[str, Any]:
    """The fields of a group, or of the choice that has this name in conf/, as on the command line.

    A name that is no choice there is that of a class.
    """
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str):
        raise ConfigurationError(f"{group}={format_value(value)}: must be a mapping of fields, or a name")
    known = choices_of_group(group)
    if value in known:
        return fields_of_choice(group, value)
    own = plugins.available(group).get(value) if group in plugins.KINDS else None
    if own is not None and not plugins.is_shipped(own):
        return default_fields(own)
    if group in ("scales", "measure"):  # which have no classes to choose from
        allowed = f", or one of {', '.join(known)}" if known else ""
        raise ConfigurationError(f"{group}={value!r}: must be a mapping of fields{allowed}.{nearest(value, known)}")
    return {"name": value}


def name_group(group: str, value: Any) -> Mapping[str, Any]:
    """`as_mapping`; fields without a name are those of the choice that is the default."""
    mapping, default = as_mapping(group, value), Configuration.DEFAULTS[group]
    return {"name": default["name"], **mapping} if "name" in default and "name" not in mapping else mapping


def nest(flat: Mapping[str, Any]) -> Plain:
    """`{"task": "noise", "task.input_size": 3}` as `{"task": {"name": "noise", "input_size": 3}}`.

    A group is chosen before its fields are set, wherever it stands.
    """
    dotted = [name for name in flat if isinstance(name, str) and "." in name]
    plain: Plain = {name: value for name, value in flat.items() if name not in dotted}
    for name in dotted:
        group, _, below = name.partition(".")
        default = Configuration.DEFAULTS[group] if group in GROUPS else {}
        chosen = plain.get(group, default)
        mapping = name_group(group, chosen) if group in GROUPS else as_mapping(group, chosen)
        plain[group] = {**mapping, below: flat[name]}
    return plain


@cache
def choices_of_group(group: str) -> tuple[str, ...]:
    """The choices of a group that there are in conf/."""
    return tuple(sorted(path.stem for path in (resources.conf() / group).glob("*.yaml")))


@cache
def fields_of_choice(group: str, name: str) -> Plain:
    """What the file of a choice says; not to be changed."""
    import yaml

    fields_of_file: Plain = yaml.safe_load((resources.conf() / group / f"{name}.yaml").read_text(encoding="utf-8"))
    return fields_of_file


def default_fields(kind: Any) -> Plain:
    """The file of a choice in conf/ that a class would have; the target that spectral_radius= may set is null.

    Of a measure that is the choice standard, and the measure beside it.
    """
    if issubclass(kind, Measure):
        return {**fields_of_choice("measure", "standard"), kind.name: drop_keys(defaults(kind), ("name",))}
    return {**defaults(kind), **({kind.target: None} if getattr(kind, "has_spectral_radius", False) else {})}

"""The measures of a monitor: names, or measures with settings of their own, as the group `measure` of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bpttlab import plugins
from bpttlab.errors import ConfigurationError, nearest
from bpttlab.fields import format_value
from bpttlab.measures.measure import Measure
from bpttlab.measures.selection import Measures, settings
from bpttlab.sweeps.configuration import measures_of

NONE_REQUESTED = {"jacobians": "none", "bound_lags": 0, "lag_terms": "none", "truncations": "none"}
"""Settings of the group with which no measure is active that could be requested."""

REQUESTS: dict[str, dict[str, Any]] = {
    "jacobian_products": {"jacobians": "log"},
    "lag_terms": {"lag_terms": "log", "truncations": "log"},
    "lyapunov": {"exponents": "all"},
    "singular_values": {"singular_lags": 5},
    "eigenvalues": {"eigenvalue_steps": 3},
    "sensitivity": {"sensitivity_steps": 12},
}
"""Name -> the settings that request it."""

REQUESTS["lyapunov_exponents"] = REQUESTS["lyapunov"]


def find_measures(measures: Iterable[str | Measure], chosen: Mapping[str, Any] | None = None) -> Measures:
    """The group `measure`: those measures are active, and no others.

    Args:
        measures: names of `REQUESTS` or of measures of plugins, and measures: `["lag_terms", HiddenMean(every=2)]`.
        chosen: settings of the group: {"exponents": 4, "sequences": 8}.

    Raises:
        ConfigurationError: naming the argument, its value and what is allowed.
    """
    if isinstance(measures, str) or not isinstance(measures, Iterable):
        raise ConfigurationError(f"measures={format_value(measures)}: must be a list of names: {', '.join(REQUESTS)}")
    group: dict[str, Any] = dict(NONE_REQUESTED)
    objects: list[Measure] = []
    for one in measures:
        if isinstance(one, Measure):
            objects.append(one)
        else:
            group |= settings_of_name(one)
    if not objects and group == NONE_REQUESTED:
        raise ConfigurationError(f"measures=[]: must name one or more of {', '.join(REQUESTS)}")
    found = measures_of(group | check_settings(chosen or {}))
    return with_objects(found, objects) if objects else found


def settings_of_name(name: Any) -> dict[str, Any]:
    """The settings that request a measure by its name."""
    own = [choice.name for choice in plugins.own_choices() if choice.kind == "measure"]
    if isinstance(name, str) and name in own:
        return {name: {}}
    if not isinstance(name, str) or name not in REQUESTS:
        known = [*REQUESTS, *own]
        raise ConfigurationError(
            f"measures: {format_value(name)} is no measure: must be one of {', '.join(known)}, or an object of a class "
            f"of lab.Measure.{nearest(name, known)}"
        )
    return REQUESTS[name]


def check_settings(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the group by their names there; `measure.` may stand before them."""
    if not isinstance(chosen, Mapping):
        raise ConfigurationError(f"settings={format_value(chosen)}: must be a mapping, such as {{'exponents': 4}}")
    plain = {str(name).removeprefix("measure."): value for name, value in chosen.items()}
    for name in plain:
        if name not in settings():
            known = ", ".join(settings())
            raise ConfigurationError(f"settings: there is no {name!r}; must be of {known}.{nearest(name, settings())}")
    return plain


def with_objects(found: Measures, objects: Iterable[Measure]) -> Measures:
    """The group with these objects in place of shipped ones of their class, or beside them."""
    kept = [one for one in found.shipped if not any(type(one) is type(given) for given in objects)]
    return Measures.of(found.sampling, found.matrix, *kept, *found.own, *objects)

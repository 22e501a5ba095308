"""A field states type, bounds and meaning once; checks, defaults and descriptions follow from it."""

import math
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.fields import (
    Field,
    adapter,
    allowed_values,
    defaults,
    describe_fields,
    field_of,
    settle_fields,
)
from bpttlab.limits import LARGEST_INTEGER
from bpttlab.networks.cells import LSTM, Elman, Scales
from bpttlab.sweeps.choices import classes_of_groups
from bpttlab.sweeps.configuration import Configuration, Values
from bpttlab.sweeps.plan import Options


class Contract:
    """A contract that states two fields of all of its classes."""

    name: ClassVar[str]
    size: Annotated[int, Field(ge=1, configured=8, description="N, units")]
    inputs: Annotated[int, Field(ge=1, given_by="task", description="I, inputs")]


@dataclass(frozen=True)
class Example(Contract):
    name: ClassVar[str] = "example"
    size: int
    inputs: int
    rate: Annotated[float, Field(gt=0, le=1, description="rate of decay")] = 0.5
    limit: Annotated[int | Literal["full"], Field(ge=2, because="(one is nothing)", description="limit")] = "full"
    mode: Annotated[str, Field(choices=lambda: ["fast", "exact"], description="way")] = "exact"
    scale: Annotated[float | None, Field(ge=0, description="scale; null: 1")] = None
    switched: bool = False
    bare: float = 1.0
    plural: Annotated[str, pydantic.StringConstraints(pattern="s$")] = "units"

    def __post_init__(self) -> None:
        settle_fields(self, "example.{}")


def build(**values):
    return Example(**{"size": 3, "inputs": 2, **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "example.size=0: must be an integer >= 1"),
        ({"size": 2.5}, "example.size=2.5: must be an integer >= 1"),
        ({"size": True}, "example.size=True: must be an integer >= 1"),
        ({"rate": 0}, "example.rate=0: must be a number > 0 and <= 1"),
        ({"rate": 1.5}, "example.rate=1.5: must be a number > 0 and <= 1"),
        ({"rate": math.nan}, "example.rate=nan: must be a number > 0 and <= 1"),
        ({"rate": None}, "example.rate=None: must be a number > 0 and <= 1"),
        ({"limit": 1}, "example.limit=1: must be an integer >= 2 or 'full' (one is nothing)"),
        (
            {"limit": "ful"},
            "example.limit='ful': must be an integer >= 2 or 'full' (one is nothing). Did you mean 'full'?",
        ),
        ({"mode": "exakt"}, "example.mode='exakt': must be 'fast' or 'exact'. Did you mean 'exact'?"),
        ({"mode": 1}, "example.mode=1: must be 'fast' or 'exact'"),
        ({"scale": -1}, "example.scale=-1: must be a finite number >= 0 or null"),
        ({"scale": math.inf}, "example.scale=inf: must be a finite number >= 0 or null"),
        ({"switched": 1}, "example.switched=1: must be true or false"),
        ({"bare": -math.inf}, "example.bare=-inf: must be a finite number"),
        ({"plural": "unit"}, "example.plural='unit': must be String should match pattern 's$'"),
    ],
)
def test_a_value_that_a_field_does_not_allow_is_refused(values, message):
    with pytest.raises(ConfigurationError) as refused:
        build(**values)
    assert str(refused.value) == message


def test_values_that_are_allowed_become_those_of_python():
    built = build(size=np.int8(4), rate=1, limit=1e3, mode=np.str_("fast"), scale=np.float32(0.5), bare=-7)
    assert built == Example(4, 2, 1.0, 1000, "fast", 0.5, False, -7.0)
    assert [type(getattr(built, field.name)) for field in fields(built)[:4]] == [int, int, float, int]


def test_a_field_declared_again_has_the_bound_of_the_contract():
    assert field_of(Example, "size").description == "N, units"
    assert field_of(Example, "bare") == Field()
    with pytest.raises(ConfigurationError, match="inputs=0: must be an integer >= 1"):
        build(inputs=0)


def test_defaults_are_the_mapping_of_a_configuration():
    assert defaults(Example) == {
        "name": "example",
        "size": 8,
        "rate": 0.5,
        "limit": "full",
        "mode": "exact",
        "scale": None,
        "switched": False,
        "bare": 1.0,
        "plural": "units",
    }
    assert list(defaults(LSTM))[:3] == ["name", "hidden_size", "forget_bias"]
    assert "name" not in defaults(Scales)


def test_descriptions_say_what_is_allowed():
    described = {field.name: field for field in describe_fields(Example)}
    assert list(described) == list(defaults(Example))[1:]
    assert described["size"] == ("size", "an integer >= 1", ">= 1", 8, "N, units")
    assert described["rate"].limits == "> 0, <= 1"
    assert described["limit"][1:3] == ("an integer >= 2 or 'full'", ">= 2, full")
    assert described["mode"][1:3] == ("'fast' or 'exact'", "fast, exact")
    assert described["scale"].allowed == "a finite number >= 0 or null"
    assert described["switched"][1:3] == ("true or false", "")


def test_metadata_of_pydantic_itself_checks_and_describes():
    @dataclass(frozen=True)
    class Own:
        count: Annotated[int, pydantic.Field(ge=3, description="how many")] = 3

        def __post_init__(self) -> None:
            settle_fields(self)

    assert describe_fields(Own)[0].description == "how many"
    with pytest.raises(ConfigurationError, match="count=2: must be greater than or equal to 3"):
        Own(2)


# ------------------------------------------------------------------ the classes of the package

CLASSES = [kind for kinds in classes_of_groups().values() for kind in kinds.values()] + [Values, Options, Scales]
VALUES = st.one_of(
    st.integers(-3, 40),
    st.integers(),
    st.floats(),
    st.sampled_from([None, True, False, "full", "tanh", "row", "none", "", "x", 0, 1, 2, 0.0, 1.0, 10**400]),
)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_field_of_every_choice_says_what_it_means(kind):
    for name, allowed in allowed_values(kind).items():
        assert allowed.field.description, f"{kind.__name__}.{name}"
        assert allowed.complete, f"{kind.__name__}.{name}"
    for field in describe_fields(kind):
        assert field.default is None or not allowed_values(kind)[field.name].kinds or field.allowed


@given(st.sampled_from(CLASSES), st.data(), VALUES)
def test_what_is_taken_without_pydantic_is_what_pydantic_takes(kind, data, value):
    known = allowed_values(kind)
    if known:
        name = data.draw(st.sampled_from(sorted(known)))
        try:
            adapter(kind, name).validate_python(value, strict=True)
            taken = known[name].is_choice(value)
        except pydantic.ValidationError:
            taken = False
        exact = type(value) in known[name].types  # pydantic takes 1 for 1.0 too, which is converted first
        exact &= type(value) is not int or abs(value) <= LARGEST_INTEGER  # pydantic has no largest integer
        assert known[name].holds(value) == (taken and exact), (kind, name, value)


def test_bounds_hold_in_configurations_and_in_python():
    with pytest.raises(ConfigurationError, match="^hidden_size=0: must be an integer >= 1$"):
        Elman(2, 0, 1)
    with pytest.raises(ConfigurationError, match="^cell.hidden_size=0: must be an integer >= 1$"):
        Configuration.parse({"cell": {"name": "elman", "hidden_size": 0}})

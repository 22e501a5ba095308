"""One value, one text; one set of fields, one stream."""

from __future__ import annotations

import math
import unicodedata
from enum import StrEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.numerics.random_streams import stream
from bpttlab.store import identity
from bpttlab.store.identity import canonical, parse_canonical, run_id

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


def settled(value: Any) -> Any:
    """A value after everything that makes no difference has been taken out, written so that 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return {unicodedata.normalize("NFC", key): settled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [settled(item) for item in value]
    if isinstance(value, str):
        return "text", unicodedata.normalize("NFC", value)
    if isinstance(value, float):
        return "float", "nan" if math.isnan(value) else (value + 0.0).hex()
    return type(value).__name__, value


def keys_stay_apart(value: Any) -> bool:
    if isinstance(value, dict):
        return len({unicodedata.normalize("NFC", key) for key in value}) == len(value) and all(
            map(keys_stay_apart, value.values())
        )
    return all(map(keys_stay_apart, value)) if isinstance(value, list) else True


@given(values.filter(keys_stay_apart))
def test_the_text_reads_back_as_the_value(value):
    assert settled(parse_canonical(canonical(value))) == settled(value)


@given(values.filter(keys_stay_apart), values.filter(keys_stay_apart))
def test_texts_are_equal_exactly_where_values_are(one, other):
    assert (canonical(one) == canonical(other)) == (settled(one) == settled(other))


@given(values.filter(keys_stay_apart))
def test_the_canonical_text_of_what_was_read_back_is_itself(value):
    assert canonical(parse_canonical(canonical(value))) == canonical(value)


@given(st.dictionaries(texts, scalars, max_size=6).filter(keys_stay_apart), st.randoms())
def test_the_order_of_keys_makes_no_difference(mapping, random):
    items = list(mapping.items())
    random.shuffle(items)
    assert canonical({"group": dict(items)}) == canonical({"group": mapping})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (-0.0, 0.0),
        (math.nan, -math.nan),
        (float("nan"), np.float64("nan")),
        (np.float64(0.1), 0.1),
        ((1, 2), [1, 2]),
        ("\u00e9", "e\u0301"),
        ({"\u00e9": 1}, {"e\u0301": 1}),
    ],
)
def test_what_makes_no_difference(one, other):
    assert canonical({"field": one}) == canonical({"field": other})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (1, "1"),
        (None, "null"),
        (math.nan, "NaN"),
        (math.inf, -math.inf),
        (0.1, math.nextafter(0.1, 1)),
        ([1, 2], [2, 1]),
        ([[1], 2], [1, [2]]),
        ({"a": 1}, {"a": 1, "b": None}),
        ({"a": {"b": 1}}, {"a.b": 1}),
        ('a","b":"c', 'a","b":"d'),
    ],
)
def test_what_makes_a_difference(one, other):
    assert canonical({"field": one}) != canonical({"field": other})


class Kind(StrEnum):
    FULL = "full"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"task": {"gain": np.float32(1)}}, r"^task\.gain = .* is a numpy\.float32: must be None, bool, int"),
        ({"seed": np.int64(3)}, r"^seed = .* is a numpy\.int64"),
        ({"radii": [1.0, {2.0}]}, r"^radii\[1\] = .* is a set"),
        ({"x": b"bytes"}, "^x = .* is a bytes"),
        ({"x": 1j}, "^x = 1j is a complex"),
        ({1: "x"}, "^configuration has the key 1: keys must be strings"),
        ({"a": {"\u00e9": 1, "e\u0301": 2}}, "occurs twice, in two Unicode forms"),
        ({"a": "\ud800"}, "^a = .* is not valid Unicode"),
        ({"seed": 2**63}, "^seed is an integer beyond 64 bits"),
        ({"a": "x" * (identity.LARGEST_CANONICAL + 1)}, "bytes as JSON"),
    ],
)
def test_what_has_no_canonical_text_is_named(value, message):
    with pytest.raises(ConfigurationError, match=message) as told:
        canonical(value)
    assert "\n" not in str(told.value)


def test_text_enumerations_are_their_text():
    assert canonical({"scheme": Kind.FULL}) == '{"scheme":"full"}'


def test_a_value_within_itself_is_refused():
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ConfigurationError, match="nested 32 deep"):
        canonical(endless)


def test_what_is_as_deep_as_allowed_reads_back():
    value: Any = 1
    for _ in range(identity.DEEPEST):
        value = [value]
    assert parse_canonical(canonical(value)) == value
    with pytest.raises(ConfigurationError, match="deep"):
        canonical([value])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested 32 deep"),
        ('{"a":' * 100_000, "nested 32 deep"),
        ('"' + '\\"' * 400_000, "not valid JSON"),
        ('"' + "[" * 100_000, "not valid JSON"),
        (" " * (identity.LARGEST_CANONICAL + 1), "may have 1048576 bytes"),
        ('{"a": 1, "a": 2}', "a key occurs twice"),
        ("{'a': 1}", "not valid JSON"),
        ("1" * 5000, "not valid JSON"),
        ("", "not valid JSON"),
    ],
    ids=range(9),
)
def test_stored_text_is_read_within_limits(text, message):
    with pytest.raises(ConfigurationError, match=message) as told:
        parse_canonical(text)
    assert len(str(told.value)) < 300


def test_brackets_within_texts_are_not_depth():
    assert parse_canonical(canonical({"a": '\\"' + "[{" * 100})) == {"a": '\\"' + "[{" * 100}


def test_run_ids_stay_what_they_were():
    """Pinned: another value would make every stored study unreachable."""
    configuration = {"seed": 0, "spectral_radius": 1.1, "task": {"name": "digits", "by": "row"}, "k": None, "ä": True}
    text = '{"k":null,"seed":0,"spectral_radius":1.1,"task":{"by":"row","name":"digits"},"ä":true}'
    assert canonical(configuration) == text
    assert run_id(configuration) == "bd098cdce3058beff8a411f8f2cc9873"


@given(st.dictionaries(texts, scalars, min_size=1, max_size=4).filter(keys_stay_apart), scalars)
def test_run_ids_follow_the_text(configuration, value):
    changed = {**configuration, next(iter(configuration)): value}
    assert len(run_id(configuration)) == 32
    assert (run_id(configuration) == run_id(changed)) == (canonical(configuration) == canonical(changed))


def draws(*fields: Any) -> list[int]:
    return stream(*fields).integers(0, 2**63, 4).tolist()


def test_streams_stay_what_they_were():
    """Pinned: another value would silently make every network of every seed another one."""
    assert draws("weights", 0) == [6455744143264617290, 5090374467904657491, 7531054132137341879, 4389879911923457075]
    assert stream("weights", 0).standard_normal(2).tolist() == [1.003471209072458, 0.7502487046362359]


fields = st.lists(st.integers(-(2**70), 2**70) | texts, max_size=4).map(tuple)


@given(fields, fields)
def test_streams_are_equal_exactly_where_fields_are(one, other):
    same = [settled(field) for field in one] == [settled(field) for field in other]
    assert (draws("role", *one) == draws("role", *other)) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", 12), ("a1", 2)),
        (("a", 1), ("a", "1")),
        (("a",), ("a", 0)),
        (("a", 0), ("a", 0, 0)),
        (("a", "b"), ("ab",)),
        (("a", "b"), ("b", "a")),
        (("a", 1), ("a", -1)),
        (("a", 0), ("a", 2**32)),
        (("a", 0), ("a", 2**128)),
    ],
)
def test_where_a_field_ends_is_never_in_doubt(one, other):
    assert not set(draws(*one)) & set(draws(*other))


def test_integers_of_numpy_are_integers():
    assert draws("a", np.int64(7)) == draws("a", 7)


@pytest.mark.parametrize("field", [1.0, True, None, b"a", ("a",)])
def test_only_integers_and_texts_name_a_stream(field):
    with pytest.raises(TypeError, match="an integer or a string"):
        stream("role", field)


@given(st.dictionaries(st.text("abc_", min_size=1, max_size=3), values))
def test_the_text_of_a_mapping_is_made_of_those_of_its_values(mapping):
    assert identity.join_canonical(
        {name: identity.canonical(value) for name, value in mapping.items()}
    ) == identity.canonical(mapping)


def test_interpolated_string_that_is_too_long_is_refused():
    parts = {f"part_{number}": "9" * 200_000 for number in range(6)}
    with pytest.raises(ConfigurationError, match="may have 1048576 bytes"):
        identity.join_canonical({name: identity.canonical(value) for name, value in parts.items()})

"""The values that a line of a sweep asks for: `a,b,c`, `range(first, end, step)`, `sort(…)`, `shuffle(…)`, `glob(…)`.

Hydra's parser reads the lines. Two things differ from Hydra on purpose. A range of floats is counted in decimal and
excludes its end (`ranges`). A range in `sort(…)` keeps its values: of sort(range(0,9,2),reverse=true) Hydra makes
7,5,3,1, here it is 8,6,4,2,0.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import Override, QuotedString, RangeSweep, Transformer
from hydra.errors import HydraException

from bpttlab.errors import ConfigurationError
from bpttlab.sweeps.ranges import range_values


def line_parser(loader: ConfigLoader) -> OverridesParser:
    """Hydra's parser of lines, with a `sort` that leaves a range as it is and says in which order it is wanted."""
    functions = create_functions()
    sort = functions.functions["sort"]

    def sort_values(*swept: Any, **options: Any) -> Any:
        of = options.get("sweep", swept[0] if len(swept) == 1 else None)
        if not isinstance(of, RangeSweep):
            return sort(*swept, **options)
        of.__dict__["descending"] = options.get("reverse", False)
        return of

    functions.functions["sort"] = sort_values
    return OverridesParser(functions, config_loader=loader)


def swept_elements(parsed: Override, line: str) -> list[Any]:
    """The values of a sweep as the parser left them."""
    if not parsed.is_discrete_sweep():
        raise ConfigurationError(f"{line}: an interval has no list of values; write range(first, end, step) or a,b,c")
    if parsed.is_range_sweep():
        return range_elements(parsed.value(), line)  # type: ignore[arg-type]
    try:
        elements = list(parsed.sweep_iterator())
    except (HydraException, ValueError) as error:
        raise ConfigurationError(f"{line}: {one_line(error)}") from error
    if not elements:
        raise ConfigurationError(f"{line}: holds no value at all")
    return elements


def range_elements(swept: RangeSweep, line: str) -> list[Any]:
    """The values of a range, counted in decimal, in the order that the line asks for."""
    first, end, step = swept.start, swept.stop, swept.step
    assert first is not None
    assert end is not None
    values: list[Any] = list(range_values(first, end, step, line))
    if "descending" in vars(swept):
        values.sort(reverse=vars(swept)["descending"])
    if swept.shuffle:
        random.shuffle(values)
    return values


def one_by_one(parsed: Override, elements: Iterable[Any]) -> tuple[str, ...]:
    """A swept line as one line for each value."""
    return tuple(f"{parsed.get_key_element()}={Transformer.str(element)}" for element in elements)


def plain_value(element: Any) -> Any:
    """What the parser left, with quotes taken off: Hydra does so when it applies a value."""
    if isinstance(element, QuotedString):
        return element.text
    if isinstance(element, list):
        return [plain_value(item) for item in element]
    if isinstance(element, dict):
        return {plain_value(key): plain_value(item) for key, item in element.items()}
    return element


def as_written(value: Any) -> str:
    """A value of hydra.sweeper.params, which is a line of the sweep's grammar, as YAML read it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def one_line(error: BaseException) -> str:
    """The message of an exception of Hydra, OmegaConf or YAML, without its advice and its line breaks."""
    while not str(error).strip() and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, RecursionError):
        return "it is nested too deep, or files name each other in a circle"
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line.partition(" expecting {")[0] for line in lines if line and not line.startswith(_NOISE)]
    return " ".join(kept) or type(error).__name__


def in_plain_words(reason: str) -> str:
    """What the parser of lines says, for people who have not seen its grammar."""
    for pattern, words in _PARSER_WORDS:
        if found := re.search(pattern, reason):
            return words.format(*found.groups())
    return reason


_PARSER_WORDS = (
    (r"token recognition error at: (.*)", "{} has to be in quotes"),
    (r"Unknown function '(\w+)'", "there is no function {}; there are range, choice, shuffle, sort and glob"),
    (
        r"while evaluating '(\w+)\(.*(?:positional argument|missing|keyword|type mismatch).*",
        "{}() has other arguments than that",
    ),
    (r"(?:extraneous|mismatched) input '<EOF>'", "it ends too early"),
    (r"(?:extraneous|mismatched) input ('.*?')(?: expecting|$)", "{} is not expected there"),
    (r"no viable alternative at input ('.*')", "{} is not expected there"),
    (r"LexerNoViableAlt", "a character is not expected there"),
)
"""What the messages of the parser mean."""


_NOISE = (
    "See https://",
    "To append to your config",
    "full_key:",
    "object_type=",
    "reference_type=",
    "Search path:",
    "Config search path:",
    "provider=",
    "^",
)
"""How the lines begin that are advice, or about OmegaConf's innards."""

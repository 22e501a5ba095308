"""What to write in place of an override line that cannot be read, or whose value is refused.

    spectral_radius=[0.5,1.0]     ->     write spectral_radius=0.5,1.0
    seed=range(0,8                ->     write 'seed=range(0,8)'

Each rule knows one mistake: how lists and ranges are written elsewhere, forgotten or needless quotes, letters that look
like others. A line that is advised can be read.
"""

from __future__ import annotations

import math
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser

from bpttlab.errors import ConfigurationError, LabError
from bpttlab.store.study_names import plain_study_name
from bpttlab.sweeps.line_limits import refuse_line, shorten_line
from bpttlab.sweeps.plan import OPTIONS
from bpttlab.sweeps.sweep_values import in_plain_words, one_line

LONGEST_ADVISED = 300
"""Characters of a line that is looked at; a longer one is no slip of the pen."""

_LOOKALIKES = {
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ": "ABEZHIKMNOPTYX",  # Greek
    "αικνορτυχ": "aikvoptux",
    "АВЕКМНОРСТУХЅІЈ": "ABEKMHOPCTYXSIJ",  # Cyrillic
    "аеорсухіјѕԁһ": "aeopcyxijsdh",
    "‐‑‒–—―−": "-------",
    "“”„‘’‚": "\"\"\"'''",
    "\u200b\u200c\u200d\u2060\ufeff\u00ad": "      ",
}
_PLAIN = {
    ord(letter): plain.strip()
    for letters, plains in _LOOKALIKES.items()
    for letter, plain in zip(letters, plains, strict=True)
}

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"[\[({{]?\s*({_NUMBER})\s*(?:\.\.+=?|…|-|:|~|to)\s*({_NUMBER})\s*[\])}}]?")
_SLICE = re.compile(rf"[\[({{]?\s*({_NUMBER})\s*:\s*({_NUMBER})\s*:\s*({_NUMBER})\s*[\])}}]?")
_CALL = re.compile(r"(?:\w+\.)*(\w+)\s*\(([^()]*)\)?")
_FRACTION = re.compile(r"(\d+)\s*/\s*(\d+)")

PATHS = ("path", "results", "plugins", "label", "from")
"""Last parts of keys whose value may have any character."""


def advise(line: str) -> str:
    """The advice for a line: "write seed=0,1"; "" if none is known."""
    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not key or len(line) > LONGEST_ADVISED:
        return ""
    return next((found for rule in _RULES if (found := rule(key, value))), "")


def with_advice(message: str, line: str) -> str:
    """A message about a line, and the advice for it."""
    advice = advise(line)
    return f"{message}; {advice}" if advice else message


@contextmanager
def advice_for(lines: Iterable[str]) -> Iterator[None]:
    """Adds advice to the error that refuses the value of one of the lines."""
    try:
        yield
    except ConfigurationError as error:
        line = next((line for line in lines if is_about(str(error), line)), None)
        if line is None or not (advice := advise(line)) or advice == f"write {shell_word(line)}":
            raise
        raise ConfigurationError(f"{str(error).removesuffix('.')}; {advice}") from error


def is_about(message: str, line: str) -> bool:
    """Whether a message refuses the value of a line: it begins with the key, or with its last part."""
    key = line.partition("=")[0].lstrip("+")
    if key.startswith("hydra"):  # whose values have other forms
        return False
    return message.startswith((f"{key}=", f"{key.rpartition('.')[2]}=")) and "; write " not in message


def write_line(key: str, value: str) -> str:
    """The advice to write this, in quotes where a shell needs them; "" if it cannot be read."""
    line = f"{key}={value}"
    return f"write {shell_word(line)}" if is_readable(line) else ""


def is_readable(line: str) -> bool:
    """Whether the grammar of lines has it."""
    try:
        return bool(OverridesParser.create().parse_override(line))
    except Exception:  # as in `errors_of_line`
        return False


def shell_word(line: str) -> str:
    """The line as a shell takes it, with as few quotes as possible."""
    if "'" in line and not re.search(r'["$`\\!]', line):
        return f'"{line}"'
    return shlex.quote(line)


# ------------------------------------------------------------------ messages about lines


@contextmanager
def errors_of_line(line: str) -> Iterator[None]:
    """Makes what is raised for a line one error that names it; the line is looked at first."""
    refuse_line(line)
    try:
        yield
    except (LabError, MemoryError):
        raise
    except Exception as error:  # characters from anywhere: whatever the parser says of them
        raise unreadable(line, error) from error


def unreadable(line: str, error: Exception) -> ConfigurationError:
    """The error for a line that the grammar does not have: what is wrong, and what to write."""
    reason, advice = find_unclosed(line) or in_plain_words(one_line(error)), advise(line)
    if advice and not advice.startswith("write "):  # it has a reason of its own
        reason, advice = advice, ""
    message = f"cannot read {shorten_line(line)!r} as key=value: {reason}"
    return ConfigurationError(f"{message}; {advice}" if advice else message)


def find_unclosed(line: str) -> str:
    """What a line opens and does not close, in words; "" if it closes all, or has quotes, which may hold anything."""
    pairs = (("(", ")", "a parenthesis"), ("[", "]", "a bracket"), ("{", "}", "a brace"))
    if "'" in line or '"' in line:
        return ""
    return next((f"{name} is not closed" for left, right, name in pairs if line.count(left) > line.count(right)), "")


def given_twice(key: str, one: str, other: str) -> ConfigurationError:
    """The error for two lines with one key."""
    first, second = (line.partition("=")[2] for line in (one, other))
    both = f"{key}={first},{second}"
    swept = f"; {shell_word(both)} sweeps both" if key not in OPTIONS and first != second and is_readable(both) else ""
    return ConfigurationError(
        f"{key} is given twice ({shorten_line(first)}, {shorten_line(second)}): give it once{swept}"
    )


# ------------------------------------------------------------------ one mistake each


def study_name(key: str, value: str) -> str:
    """study=größe"""
    plain = plain_study_name(value)
    if key != "study" or plain == value or "${" in value:
        return ""
    return f"a study has a name of letters a-z and A-Z, digits, '.', '_' and '-'; {write_line(key, plain)}"


def other_names(key: str, value: str) -> str:
    """cell=RNN, truncation=none"""
    name = OTHER_NAMES.get(key, {}).get(value.lower())
    return write_line(key, name) if name else ""


OTHER_NAMES = {
    "cell": dict.fromkeys(("rnn", "vanilla", "vanilla_rnn", "simple_rnn", "simplernn", "rnncell", "tanh"), "elman"),
    "truncation": dict.fromkeys(("none", "null", "inf", "no", "all", "0", "-1"), "full"),
}
"""Names that others use for choices of bpttlab."""


def lookalikes(key: str, value: str) -> str:
    """task=nοise, with a Greek letter"""
    line = f"{key}={value}" if not is_path(key) else key
    plain = unicodedata.normalize("NFKC", line.translate(_PLAIN))
    letter = next((letter for letter in line if not letter.isascii()), "")
    if not letter or not plain.isascii():
        return ""
    name = unicodedata.name(letter, f"U+{ord(letter):04X}")
    right = advise(plain if not is_path(key) else f"{plain}={value}") or f"write {shell_word(plain)}"
    return f"{letter!r} is the character {name}; {right}"


def quoted_values(key: str, value: str) -> str:
    """ "seed='range(0,8)'" """
    inner = value[1:-1].strip()
    in_quotes = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if not in_quotes or is_path(key) or not inner or value[0] in inner:
        return ""
    return advise(f"{key}={inner}") or write_line(key, inner)


LISTS = ("measure_at",)
"""Fields whose value may be a list; elsewhere several values are several runs."""


def list_in_brackets(key: str, value: str) -> str:
    """spectral_radius=[0.5,1.0]"""
    inner = value[1:-1].strip()
    if key.rpartition(".")[2] in LISTS:
        return ""
    in_brackets = len(value) > 2 and value[0] + value[-1] in ("[]", "()", "{}")
    if not in_brackets or ":" in inner or any(bracket in inner for bracket in "[]{}"):
        return ""
    if "(" in inner:
        return write_line(key, inner)
    return write_line(key, ",".join(item for item in re.split(r"[,;\s]+", inner) if item)) if inner else ""


def range_of_two(key: str, value: str) -> str:
    """seed=0..8, seed=0:8, spectral_radius=0.5-1.5"""
    found = _RANGE.fullmatch(value)
    if found is None or is_path(key):
        return ""
    first, last = (Decimal(number) for number in found.groups())
    if not (_is_whole(first) and _is_whole(last)):
        return values_or_steps(key, first, last)
    if last <= first:
        return write_line(key, f"range({first},{last},-1)")
    until, including = (write_line(key, f"range({first},{end})") for end in (last, last + 1))
    if not until or not including:
        return ""
    return f"{until} for {first} to {last - 1}, {including.removeprefix('write ')} for {first} to {last}"


def values_or_steps(key: str, first: Decimal, last: Decimal) -> str:
    """The two values, or steps between them, of numbers that are no integers."""
    both = write_line(key, f"{first},{last}")
    if last <= first:
        return both
    step = Decimal(10) ** (math.ceil((last - first).log10()) - 1)
    steps = shell_word(f"{key}=range({first},{last},{step})")
    return f"{both} for these two, or {steps} for steps of {step} without the end"


def range_of_three(key: str, value: str) -> str:
    """seed=0:8:2"""
    found = _SLICE.fullmatch(value)
    numbers = ",".join(found.groups()) if found else ""
    return f"{write_line(key, f'range({numbers})')} (first, end, step)" if numbers else ""


def functions_of_others(key: str, value: str) -> str:
    """spectral_radius=np.arange(0,1,0.1), seed=Range(0,8), seed=linspace(0,1,3)"""
    found = _CALL.fullmatch(value)
    if found is None:
        return ""
    name, arguments = found[1].lower(), found[2].strip().rstrip(",")
    if name in ("arange", "range", "xrange", "interval"):
        return (
            write_line(key, f"range({arguments})")
            or "write range(first,end,step), with the step left out where it is 1"
        )
    numbers = [part.strip() for part in arguments.split(",")]
    if name == "linspace" and len(numbers) == 3 and all(re.fullmatch(_NUMBER, number) for number in numbers):
        first, last, count = (float(number) for number in numbers)
        return write_line(key, ",".join(f"{one:.6g}" for one in np.linspace(first, last, min(int(abs(count)), 20))))
    return ""


def other_separators(key: str, value: str) -> str:
    """seed=0;1, seed=0 1 2, seed=0,1,"""
    items = [item for item in re.split(r"[,;|\s]+", value) if item]
    if (
        is_path(key)
        or len(items) < 1
        or ",".join(items) == value
        or any(set(item) & set("()[]{}'\"") for item in items)
    ):
        return ""
    return write_line(key, ",".join(items))


def fraction(key: str, value: str) -> str:
    """spectral_radius=1/2"""
    found = _FRACTION.fullmatch(value)
    return write_line(key, f"{int(found[1]) / int(found[2]):g}") if found and int(found[2]) else ""


def unclosed_brackets(key: str, value: str) -> str:
    """seed=range(0,8"""
    closing = {"(": ")", "[": "]", "{": "}"}
    expected: list[str] = []
    for letter in value:
        if letter in closing:
            expected.append(closing[letter])
        elif expected and letter == expected[-1]:
            expected.pop()
    whole = value + "".join(reversed(expected))
    if not expected or "'" in value or '"' in value:
        return ""
    return functions_of_others(key, whole) or list_in_brackets(key, whole) or write_line(key, whole)


def any_characters(key: str, value: str) -> str:
    """cell.path=größe=1.npz"""
    items = value.split(",") if is_path(key) else [value]
    if not value or is_readable(f"{key}={value}") or (not is_path(key) and any(mark in value for mark in "'\"\\")):
        return ""
    return write_line(key, ",".join(quote_text(item.strip()) for item in items))


def path_of_results(key: str, value: str) -> str:
    """results=a,b=c: one folder, whatever its name"""
    if key != "results" or "${" in value or is_one_text(f"{key}={value}"):
        return ""
    return write_line(key, quote_text(value))


def is_one_text(line: str) -> bool:
    """Whether the grammar of lines reads one string, number or the like, not several values, a list or a mapping."""
    try:
        parsed = OverridesParser.create().parse_override(line)
        return not parsed.is_sweep_override() and not isinstance(parsed.value(), list | dict)
    except Exception:  # as in `errors_of_line`
        return False


def quote_text(text: str) -> str:
    """A text in quotes of the grammar of lines, which read back as the text."""
    mark = '"' if "'" in text and '"' not in text else "'"
    doubled = re.sub(rf"(\\+)(?={mark}|$)", lambda found: found[1] * 2, text)
    return mark + doubled.replace(mark, f"\\{mark}") + mark


def doubled_equals(key: str, value: str) -> str:
    """seed==1"""
    return write_line(key, value.lstrip("= ")) if value.startswith("=") and not is_path(key) else ""


def is_path(key: str) -> bool:
    return key.rpartition(".")[2] in PATHS


def _is_whole(number: Decimal) -> bool:
    return number == number.to_integral_value() and number.as_tuple().exponent == 0


_RULES: tuple[Callable[[str, str], str], ...] = (
    path_of_results,
    study_name,
    other_names,
    lookalikes,
    doubled_equals,
    quoted_values,
    list_in_brackets,
    range_of_two,
    range_of_three,
    functions_of_others,
    unclosed_brackets,
    other_separators,
    fraction,
    any_characters,
)

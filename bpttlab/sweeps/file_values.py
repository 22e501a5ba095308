"""Which configuration file of a user gives a value that is refused.

    seed='minus': must be an integer >= 0     ->     conf/experiment/mine.yaml: seed='minus': must be an integer >= 0

A message names the field and the value. The values of all files that were read are kept as they are written there. A
field that a line of the command gives is not looked for: the line comes before the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bpttlab.errors import ConfigurationError
from bpttlab.fields import format_value
from bpttlab.sweeps.nested import leaves

_FIELD = re.compile(r"([A-Za-z_][\w.]*)(?=[=:])")
_SWEPT = "hydra.sweeper.params."


class FileValues(dict[str, dict[str, Any]]):
    """File -> field, by its dotted name -> value. Hydra copies its sources: all copies share this one."""

    def __deepcopy__(self, memo: object) -> FileValues:
        return self

    def add(self, file: str, package: str, content: Mapping[Any, Any]) -> None:
        """Notes the values of a file.

        Args:
            package: the field below which they are; "" or "_global_": none.
        """
        prefix = "" if package in ("", "_global_") else f"{package}."
        named = {str(name): value for name, value in content.items()}
        whole = {f"{prefix}{name}": value for name, value in named.items() if not isinstance(value, Mapping)}
        self[file] = {name.removeprefix(_SWEPT): value for name, value in leaves(named, prefix)} | whole

    def find(self, field: str, message: str) -> list[str]:
        """The files that give a field the value that a message names; or, if none does, all that give the field."""
        names = (field, f"{field}.name")  # a group is also refused by its name: cell='elmann'
        those = {file: values[name] for file, values in self.items() for name in names if name in values}
        same = [file for file, value in those.items() if message.startswith(f"{field}={format_value(value)}:")]
        return same or list(those)


def group_package(name: str) -> str:
    """The field below which the values of a file are that does not say it: that of its group."""
    return name.rpartition("/")[0].replace("/", ".")


@contextmanager
def name_files(values: Iterable[FileValues], lines: Iterable[str]) -> Iterator[None]:
    """Adds the file to an error that refuses a value which a file gives.

    Args:
        values: of the files that are read in this block.
        lines: of the command.
    """
    try:
        yield
    except ConfigurationError as error:
        found = _FIELD.match(str(error))
        given = {line.partition("=")[0].lstrip("+~") for line in lines}
        several = [one.find(found[1], str(error)) for one in values if found and found[1] not in given]
        files = list(dict.fromkeys(file for some in several for file in some))
        if not files:
            raise
        raise type(error)(f"{' or '.join(files)}: {error}") from error

"""The files and the command lines of docs/extending.md."""

from __future__ import annotations

import re
import shlex

from tests.support.commandline import REPOSITORY

PAGE = REPOSITORY / "docs" / "extending.md"
TEXT = PAGE.read_text(encoding="utf-8")

FILES = dict(re.findall(r"`(\w+\.py)`\n\n```python\n(.*?)```", TEXT, flags=re.DOTALL))
"""Their text by name."""

LINES = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]
"""The words of each command."""

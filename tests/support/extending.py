"""The files and the command lines of docs/extending.md."""

from __future__ import annotations

import re

from tests.support.commandline import REPOSITORY
from tests.support.pages import commands_of

PAGE = REPOSITORY / "docs" / "extending.md"
TEXT = PAGE.read_text(encoding="utf-8")

FILES = dict(re.findall(r"`(\w+\.py)`\n\n```python\n(.*?)```", TEXT, flags=re.DOTALL))
"""Their text by name."""

LINES = commands_of(TEXT)
"""The words of each command."""

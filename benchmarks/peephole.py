"""The cell with a kernel of its own that docs/extending.md prints, read from that page."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from bpttlab import plugins

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"


def read_cell() -> Any:
    """The class Peephole."""
    (text,) = re.findall(r"`peephole\.py`\n\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "peephole.py"
        file.write_text(text, encoding="utf-8")
        with plugins.use(file):
            return plugins.find("cell", "peephole")


Peephole = read_cell()

"""How much a line, a configuration file or a value may hold.

What is longer, deeper or more is no slip of the pen: it is refused in one line, before it takes more than two seconds
or 1 GB. Every limit is far above what a study needs. Times are of one core of 2020.
"""

from __future__ import annotations

MOST_RUNS = 1_000_000
"""Runs of one sweep, and values of one range: the plan of a million runs takes about 1 GB."""

USUAL_RUNS = 100_000
"""Runs of a sweep that does not say max_runs."""

LARGEST_INTEGER = 2**63 - 1
"""Of a field, in size: the stored tables have integers of 64 bits."""

# ------------------------------------------------------------------ override lines

LONGEST_LINE = 20_000
"""Characters of one override line: Hydra's parser takes up to 1 s for so many. A path has at most 4,096."""

LONGEST_LINES = 40_000
"""Characters of all override lines together."""

MOST_LINES = 500
"""Override lines of one command, at about 1 ms each."""

MOST_ELEMENTS = 2_000
"""Commas of one override line: the time for a list in brackets grows with their square. range() has no such limit."""

MOST_DIGITS = 400
"""Digits of a number that is written out: the largest float has 309 before the point."""

DEEPEST_BRACKETS = 20
"""Brackets within brackets, in a line or a file: a configuration has 3. Parsers recurse, and Python stops at 1,000."""

# ------------------------------------------------------------------ configuration files

LARGEST_CONFIGURATION = 1 << 17
"""Bytes of the configuration files of one run, 128 KiB: PyYAML reads about 100 kB in a second."""

MOST_FILE_VALUES = 2_000
"""Values in the configuration files of one run, where each alias counts as what it repeats: OmegaConf takes 0.1 ms
for each value, several times."""

MOST_INTERPOLATIONS = 12
"""Values ${...} of the configuration files of one run, and of its lines. Values that use others twice or three times
double or triple: 12 of them make at most 81 copies of one value."""

MOST_DEFAULTS = 16
"""Entries of the defaults lists of a run's files that add a file (`override` adds none). Files may name others that
name others, each several times: 16 entries add at most 324 files."""

MOST_FILES = 1_000
"""Files and folders in a folder of configuration."""

# ------------------------------------------------------------------ values

MOST_LAYERS = 1_000
"""Layers of a stacked cell: each is an object, and published networks have about ten."""

LONGEST_DILATION = 10_000
"""Steps that a dilated cell leaps: its state holds as many h."""

MOST_CHANNEL_STATES = 10_000
"""States of each channel of a selective diagonal cell; published networks have 16 to 256."""

LONGEST_HORIZON = 10_000
"""Steps that a task predicts ahead: each is computed, one by one. Chaotic series cannot be predicted for a hundredth of
it."""

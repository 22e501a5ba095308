"""Hashes of plugin files: eight digits where people read, every digit in files for programs."""

import pandas as pd

from bpttlab.figures.arrangement import arrange
from bpttlab.tables import format_table, writing
from bpttlab.tables.digests import short_digests

ONE, TWO, SHARED = "1" * 32, "2" * 32, "f" * 32


def test_the_digits_that_differ():
    found = short_digests([f"{ONE}+{SHARED}", f"{TWO}+{SHARED}", None])
    assert found == {f"{ONE}+{SHARED}": "11111111", f"{TWO}+{SHARED}": "22222222"}
    assert short_digests([f"{ONE}+{TWO}"]) == {f"{ONE}+{TWO}": "11111111+22222222"}
    assert short_digests([f"{ONE}+{SHARED}", SHARED]) == {f"{ONE}+{SHARED}": "11111111", SHARED: "ffffffff"}
    near = [ONE, ONE[:-1] + "2"]
    assert short_digests(near) == {value: value for value in near}


def summary(cells, digests):
    rows = {
        "task": "noise",
        "cell": cells,
        "plugins": digests,
        "sequence_length": 5,
        "networks": 3,
        "value": [0.5, 0.7],
    }
    return pd.DataFrame(rows)


def test_print_shortens_hashes_and_csv_keeps_them():
    frame = summary(["a", "b"], [f"{ONE}+{SHARED}", f"{TWO}+{SHARED}"])
    text = format_table(frame)
    assert "11111111" in text and "22222222" in text and ONE not in text and SHARED[:8] not in text
    assert f"{ONE}+{SHARED}" in writing.csv(frame)


def test_panels_name_hashes_only_if_nothing_else_differs():
    requested = {"initializer_target": "spectral_radius", "initializer_requested": 1.0}

    def names(cells, digests):
        frame = summary(cells, digests).assign(**requested)
        return list(arrange(frame, ["networks", "value"]).names.values())

    assert names(["a", "b"], [ONE, TWO]) == ["a", "b"]
    assert names(["a", "a"], [f"{ONE}+{SHARED}", f"{TWO}+{SHARED}"]) == ["plugins 11111111", "plugins 22222222"]

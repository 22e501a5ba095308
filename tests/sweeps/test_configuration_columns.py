"""The configuration columns of `runs`: what a field may hold, and what its column holds."""

import pytest

import bpttlab as lab
from bpttlab.store import schema
from bpttlab.sweeps import configuration_columns


def test_numbers_or_words_are_text_in_their_column(monkeypatch):
    """A value of another type than its column is taken for damage."""
    found, plain = set(), configuration_columns.column_of

    def observe(name, allowed, text):
        if str in allowed.types and {int, float, bool} & allowed.types:
            found.add(name)
        return plain(name, allowed, text)

    monkeypatch.setattr(configuration_columns, "column_of", observe)
    configuration_columns.columns_file()
    assert "truncation" in found and set(schema.NUMBERS_OR_WORDS) == found


@pytest.mark.parametrize("exponents", [1, 2, "all"])
def test_a_study_with_a_number_of_exponents_is_read(exponents):
    fields = {"sequence_length": 4, "batch_size": 2, "cell.hidden_size": 3, "engine": "numpy", "measure": "minimal"}
    training = {"training": "standard", "training.updates": 1, "training.measure_at": "ends"}
    lab.sweep(
        study=f"of_{exponents}", **fields, **training, penalty="flossing", **{"penalty.exponents": exponents}, workers=0
    )
    runs = lab.load(f"of_{exponents}").runs
    assert list(runs["penalty_exponents"]) == [str(exponents)] * 2

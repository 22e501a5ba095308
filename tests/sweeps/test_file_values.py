"""A value of a configuration file that is refused: the message names the file, the field and the value."""

import pytest

from bpttlab.cli import main

FILES = {
    "experiment/mine.yaml": "# @package _global_\nseed: minus\n",
    "experiment/fine.yaml": "# @package _global_\nseed: 4\n",
    "experiment/swept.yaml": "# @package _global_\nhydra: {sweeper: {params: {cell.hidden_size: '-4,5'}}}\n",
    "experiment/nested.yaml": "# @package _global_\ncell:\n  hidden_size: -4\n",
    "experiment/named.yaml": "# @package _global_\ncell: {name: elmann}\n",
    "experiment/unknown.yaml": "# @package _global_\nseeed: 1\n",
    "experiment/based.yaml": "# @package _global_\ndefaults: [/base@_global_]\n",
    "base.yaml": "batch_size: 0\n",
    "cell/mine.yaml": "name: elman\nhidden_size: -7\n",
}
REFUSED = {
    "experiment=mine": "experiment/mine.yaml: seed='minus': must be an integer >= 0",
    "experiment=fine,mine": "experiment/mine.yaml: seed='minus': must be an integer >= 0",
    "experiment=swept": "experiment/swept.yaml: cell.hidden_size=-4: must be",
    "experiment=nested": "experiment/nested.yaml: cell.hidden_size=-4: must be",
    "experiment=named": "experiment/named.yaml: cell='elmann': must be one of",
    "experiment=unknown": "experiment/unknown.yaml: seeed: there is no such field",
    "experiment=based": "base.yaml: batch_size=0: must be",
    "cell=mine": "cell/mine.yaml: cell.hidden_size=-7: must be",
}


def refuse(words, tmp_path, monkeypatch, capsys):
    """What a line says that is refused; the files are in conf/."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        file = tmp_path / "conf" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert main(["sweep", "study=x", "--config-dir", "conf", *words, "--dry-run"]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("line", REFUSED)
def test_a_value_of_a_file_is_refused_with_its_file(line, tmp_path, monkeypatch, capsys):
    assert f"bpttlab: conf/{REFUSED[line]}" in refuse([line], tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("words", [["experiment=fine", "seed=-1"], ["experiment=mine", "seed=-1"]])
def test_a_value_of_the_line_is_refused_without_a_file(words, tmp_path, monkeypatch, capsys):
    assert "bpttlab: seed=-1: must be" in refuse(words, tmp_path, monkeypatch, capsys)

"""The command: help that teaches, exit codes, and one line for every error."""

import sys
from pathlib import Path

import pytest

from bpttlab import cli, resources
from bpttlab.cli import arguments, main, status
from bpttlab.errors import ConfigurationError, LabError
from tests.support.commandline import bpttlab, run

pytestmark = pytest.mark.usefixtures("folder")


def test_interruptions_and_errors_have_their_exit_codes(monkeypatch, capsys):
    def raising(error):
        def command(_):
            raise error

        monkeypatch.setattr(status, "command", command)
        return main(["status"])

    assert raising(LabError("too little of everything")) == 2
    assert capsys.readouterr().err == "bpttlab: too little of everything\n"
    assert raising(LabError("red \x1b[31m, and\nmore")) == 2
    assert capsys.readouterr().err == "bpttlab: red \\x1b[31m, and\\nmore\n"
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "bpttlab: interrupted\n"


def test_key_values():
    keys = [arguments.STUDY, arguments.Key("format", "of files", "png", ("png", "svg"))]
    assert arguments.key_values(["study=a=b"], keys, "figures") == {"study": "a=b", "format": "png"}
    assert arguments.key_values(["study=?"], keys, "figures")["study"] == "?"
    for words, message in {
        ("study=a", "fromat=svg"): "figures has no word 'fromat'; it has study, format. Did you mean 'format'",
        ("study=a", "study=b"): r"study is given twice \(a, b\): give it once",
        ("study=a", "format=pgn"): "format=pgn: must be png or svg. Did you mean 'png'",
    }.items():
        with pytest.raises(ConfigurationError, match=message):
            arguments.key_values(words, keys, "figures")


@pytest.mark.parametrize(
    "line", ["--json study=a --watch results=b", "study=a results=b --json --watch", "study=a --json results=b --watch"]
)
def test_words_and_options_stand_in_any_order(line):
    parsed = arguments.parse_line(cli.build_parser(), ["status", *line.split()])
    assert (parsed.words, parsed.json, parsed.watch) == (["study=a", "results=b"], True, True)


def test_an_unknown_option_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigurationError, match=r"no option --jsn: --help, --watch, --json\. Did you mean '--json'"):
        arguments.parse_line(cli.build_parser(), ["status", "study=a", "--jsn"])


def test_a_full_disk_is_one_line():
    done = run("bash", "-c", f"{sys.executable} -m bpttlab --help > /dev/full")
    assert (done.returncode, done.stderr) == (2, "bpttlab: No space left on device\n")


def test_an_encoding_without_the_character_is_no_error(tmp_path):
    done = bpttlab("status", "study=é", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "study = '\\xe9'" in done.stderr


# ------------------------------------------------------------------ help


COMMANDS = sorted(cli.commands_of(cli.build_parser()))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_example(command, capsys):
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: bpttlab {command} ")
    assert shown.count(f"\n  bpttlab {command} ") >= 1
    assert "\nExit code: 0" in shown
    assert main(["help", command]) == 0
    assert capsys.readouterr().out == shown
    assert max(map(len, shown.splitlines())) <= 120


def test_the_help_names_every_command_and_every_group(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  bpttlab {command} " in shown for command in COMMANDS)
    taught = cli.sweep.help_text()
    for group in ("cell", "task", "scheme", "initializer", "measure"):
        for file in Path(resources.conf(), group).glob("*.yaml"):
            assert file.stem in taught, f"{group}={file.stem}"


def test_without_a_command_there_is_help_and_a_bad_exit_code(capsys):
    assert main([]) == 2
    assert "bpttlab sweep" in capsys.readouterr().out


def test_help_is_there_at_once():
    code = "import sys; from bpttlab.cli import main; main(['--help']); print(*sys.modules)"
    done = run(sys.executable, "-c", code)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"numpy", "pandas", "scipy", "hydra", "pyarrow", "matplotlib"}


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(studied):
    command = f"{sys.executable} -m bpttlab tables study=first | head -1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = run("bash", "-c", command, cwd=studied)
    assert done.stderr == ""
    assert done.stdout in ("0\n", "141\n")


def test_a_thread_that_cannot_start_is_one_line(monkeypatch, capsys):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(cli, "run_command", refuse)
    assert cli.main(["tables"]) == 2
    assert capsys.readouterr().err.startswith("bpttlab: a thread cannot be started: a limit on processes")


TOO_LITTLE = [ImportError("libx.so: failed to map\nsegment", name="libx"), MemoryError("no room")]


@pytest.mark.parametrize("error", TOO_LITTLE, ids=["import", "memory"])
def test_a_library_that_cannot_be_loaded_is_one_line(monkeypatch, capsys, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(cli, "run_command", fail)
    assert cli.main(["tables"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bpttlab: a library cannot be loaded, or memory is too little")
    assert said.count("\n") == 1


def test_a_module_of_the_package_that_is_missing_is_a_bug(monkeypatch):
    def fail(*_):
        raise ImportError("cannot import", name="bpttlab.cli.no_such")

    monkeypatch.setattr(cli, "run_command", fail)
    with pytest.raises(ImportError):
        cli.main(["tables"])


def test_closed_streams_discard_what_is_printed(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    assert cli.main(["no_such_command"]) == 2
    assert cli.main(["--version"]) == 0
    for stream in (sys.stdout, sys.stderr):
        stream.close()

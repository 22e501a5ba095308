"""Somebody else's configuration files are read within limits, and nothing in them is executed."""

import os
import pickle
import re

import pytest

from bpttlab import limits
from bpttlab.errors import ConfigurationError
from bpttlab.sweeps import hydra_composition
from bpttlab.sweeps.configuration_files import Counts, files_below, read_within_limits
from bpttlab.sweeps.hydra_settings import is_of_hydra
from tests.support.commandline import experiment_writer


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder for --config-dir in the current one; `write(name, text)` adds an experiment."""
    monkeypatch.chdir(tmp_path)
    return experiment_writer(tmp_path)


def compose(folder, *lines):
    own = [line for line in lines if not is_of_hydra(line)]
    return hydra_composition.composer(folder, lines).expand(own)


# ------------------------------------------------------------------ nothing is executed


class Bomb:
    """An object whose pickle writes a file when it is read."""

    def __reduce__(self):
        return os.system, ("touch executed",)


SETTINGS = {
    "callbacks: {x: {_target_: pandas.read_pickle, filepath_or_buffer: bomb.pkl}}": r"hydra.callbacks=.*read_pickle",
    "callbacks: {x: {_target_: pathlib.Path.touch, self: executed}}": "hydra.callbacks=",
    "hydra_logging: {handlers: {f: {class: logging.FileHandler, filename: executed}}}": "hydra.hydra_logging=",
    "job_logging: {handlers: {f: {(): os.system, command: touch executed}}}": "hydra.job_logging=",
    "launcher: {_target_: os.system, command: touch executed}": "hydra/launcher: os.system cannot run a study",
    "sweeper: {_target_: shutil.copy, src: bomb.pkl, dst: executed}": "hydra/sweeper: shutil.copy cannot run a study",
    "launcher: {x: [{_target_: os.system}]}": r"hydra.launcher.x.0._target_: must be left as it is",
    "sweeper: {params: {seed: {_target_: os.system}}}": r"hydra.sweeper.params.seed._target_",
    "callbacks: '${more}'": "hydra.callbacks=",
    "job: {env_set: {LD_PRELOAD: x.so}}": "hydra.job.env_set=.*x.so",
    "job: {env_copy: [NO_SUCH_VARIABLE]}": "NO_SUCH_VARIABLE",
    "job: {chdir: true}": "hydra.job.chdir=True: must be left as it is",
    "{run: {dir: /tmp/elsewhere}, output_subdir: .hydra}": "hydra.output_subdir=.hydra",
    "mode: RUN": "hydra.mode=RUN",
    "searchpath: ['pkg://this']": "searchpath",
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_that_hydra_would_execute_are_refused(own, tmp_path, settings):
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb()))
    text = f"more: {{x: 1}}\nhydra: {settings if settings.startswith('{') else '{' + settings + '}'}\n"
    with pytest.raises(ConfigurationError, match=SETTINGS[settings]) as caught:
        compose(own("theirs", text), "experiment=theirs")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bomb.pkl", "conf"]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("hydra/launcher/theirs", "hydra/launcher=theirs"),
        ("hydra/callbacks/theirs", "+hydra/callbacks=theirs"),
        ("hydra/job_logging/theirs", "hydra/job_logging=theirs"),
        ("hydra/theirs", "+hydra=theirs"),
        ("more/theirs", "+more@hydra.callbacks.x=theirs"),  # named before Hydra has its place
    ],
)
def test_a_file_of_a_group_of_hydra_makes_nothing(own, tmp_path, file, line):
    path = tmp_path / "conf" / f"{file}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("_target_: os.system\ncommand: touch executed\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"hydra|has _target_, and nothing is made from a file"):
        compose(own("plain", "seed: 1\n"), line)
    assert not (tmp_path / "executed").exists()


def test_a_package_cannot_be_searched_for_it_would_be_imported(tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text("open('executed', 'w')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"pkg://theirs is no folder; must be a list of folders"):
        hydra_composition.composer(lines=["hydra.searchpath=[pkg://theirs]"])
    with pytest.raises(ConfigurationError, match=r"there is no folder /no"):
        hydra_composition.composer(lines=["hydra.searchpath=[/no]"])
    assert not (tmp_path / "executed").exists()


def test_yaml_makes_no_object_of_python(own, tmp_path):
    folder = own("theirs", "seed: !!python/object/apply:os.system ['touch executed']\n")
    with pytest.raises(ConfigurationError, match=r"theirs.yaml, line 2: .* could not determine a constructor"):
        compose(folder, "experiment=theirs")
    assert not (tmp_path / "executed").exists()


# ------------------------------------------------------------------ limits

BOMB = "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
TOO_MUCH = {
    "an alias bomb": (BOMB, "values: [0-9]+, and at most 2000 are allowed"),
    "an alias within itself": ("a: &a [*a]\n", r"the alias \*a stands within what it repeats"),
    "a long file": ("#" * (limits.LARGEST_CONFIGURATION + 1), "bytes: .* at most 131072"),
    "many values": ("a: [" + "0," * 3000 + "0]\n", "values: 2001, and at most 2000"),
    "deep brackets": ("a: " + "[" * 500 + "]" * 500 + "\n", "values within values: 21, and at most 20"),
    "deep blocks": ("".join(" " * n + "a:\n" for n in range(500)), "values within values"),
    "many digits": ("seed: " + "9" * 5000 + "\n", "a number may have at most 400 digits"),
    "many hexadecimal digits": ("seed: 0x" + "f" * 5000 + "\n", "a number may have at most 400 digits"),
    "interpolations": ("".join(f"a{n}: '${{a{n - 1}}}${{a{n - 1}}}'\n" for n in range(1, 30)), r"interpolations .* 12"),
    "another resolver": ("a: ${now:%Y}\n", "has another interpolation than .*oc.env"),
    "a resolver in an interpolation": ("a: '${${b}:x}'\n", "has another interpolation"),
    "an escaped resolver": ('a: "\\x24{mine:x}"\n', "has another interpolation"),
    "a resolver within one": ("a: ${oc.decode:${mine:x}}\n", "has another interpolation"),
    "defaults": ("defaults:\n" + "  - /cell@a: gru\n" * 17, "entries of defaults: 17, and at most 16"),
    "a list of defaults": (f"defaults:\n  - cell: [{'a,' * 17}]\n", "entries of defaults"),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_a_file_that_holds_too_much_is_refused(tmp_path, what):
    text, told = TOO_MUCH[what]
    file = tmp_path / "x.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=told) as caught:
        read_within_limits(file)
    assert "x.yaml: " in str(caught.value)


def test_files_of_one_run_are_counted_together(tmp_path):
    file, counts = tmp_path / "x.yaml", Counts()
    file.write_text("defaults:\n  - a: b\n  - override /cell: gru\nseed: ${oc.env:SEED}\n", encoding="utf-8")
    read_within_limits(file, counts)
    assert (counts.values, counts.interpolations, counts.defaults) == (11, 1, 1)
    with pytest.raises(ConfigurationError, match=r"interpolations \$\{...\}: 13, and at most 12"):
        [read_within_limits(file, counts) for _ in range(12)]


def test_defaults_that_double_are_refused_when_composed(own, tmp_path):
    (tmp_path / "conf" / "d").mkdir(parents=True)
    for n in range(20):
        more = f"defaults:\n  - a{n - 1}@x\n  - a{n - 1}@y\n" if n else "seed: 1\n"
        (tmp_path / "conf" / "d" / f"a{n}.yaml").write_text(more, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="entries of defaults: .* at most 16"):
        compose(own("theirs", "defaults:\n  - /d/a19@z\n"), "experiment=theirs")


@pytest.mark.parametrize(
    "entries",
    [
        "/experiment/theirs@z",
        "theirs@z",
        "/experiment@z: theirs",
        "/experiment@z: [plain, theirs]",
        "/experiment@z: ${cell}",
        "/experiment/other@z",
    ],
)
def test_defaults_in_a_circle_are_refused(own, entries):
    own("plain", "seed: 1\n")
    own("other", "defaults:\n  - theirs@y\n")
    with pytest.raises(ConfigurationError, match=r"(theirs|other).yaml: its defaults lead back to it, in a circle"):
        compose(own("theirs", f"defaults:\n  - {entries}\n"), "experiment=theirs")


def test_defaults_that_lead_to_one_file_twice_are_no_circle(own):
    own("plain", "seed: 5\n")
    own("one", "defaults:\n  - plain\n")
    (run,) = compose(own("theirs", "defaults:\n  - one\n  - /cell@more: gru\n"), "experiment=theirs")
    assert run["seed"] == 5


def test_a_sweep_in_a_file_is_counted_before_it_is_planned(own):
    folder = own("huge", "hydra: {sweeper: {params: {seed: 'range(0,90000)', batch_size: 'range(1,90000)'}}}\n")
    with pytest.raises(ConfigurationError, match=r"asks for 8099910000 runs"):
        compose(folder, "experiment=huge")


NO_FILES = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": os.mkdir,
    "a link that leads nowhere": lambda path: path.symlink_to("nowhere"),
}
OTHER_KINDS = ("a device", "a folder")


@pytest.mark.parametrize(
    "kind",
    ["a pipe", "a link that leads nowhere", *(pytest.param(kind, marks=pytest.mark.slow) for kind in OTHER_KINDS)],
)
def test_what_is_no_ordinary_file_is_named_at_once(own, tmp_path, kind):
    NO_FILES[kind](tmp_path / "conf" / "experiment" / "odd.yaml")
    folder = own("plain", "defaults:\n  - odd\nseed: 1\n")
    for name in ("odd", "plain"):
        with pytest.raises(ConfigurationError, match=rf"conf/experiment/odd.yaml: is {kind}.*; must be a file of YAML"):
            compose(folder, f"experiment={name}")
    assert len(compose(folder, "cell=gru,elman", "task=noise,adding")) == 4  # for which all files are looked into


OTHER_CONTENTS = {
    "": "is empty; must begin with the line '# @package _global_'",
    "# seed: 1\n": "is empty; must begin with",
    "seed: 1\n": "gives no fields; must begin with",
    "- seed\n": "is a list; must be fields with their values",
    "3\n": "Invalid loaded object type",
    "seed: [1\n": ", line 2: cannot be read as YAML: .*, expected ',' or",
    "seed: \x00\n": r"has the character '\\x00', which no YAML has",
    b"seed: 1 # \xff\n": "is not text in UTF-8: byte 10",
    b"\xff\xfes\x00": "is not text in UTF-8: byte 0",
    "_target_: os.system\n": "has _target_, and nothing is made from a file",
    "cell: {_target_: os.system}\n": "has cell._target_, and nothing is made",
    "cell: [{_args_: [1]}]\n": "has cell.0._args_, and nothing is made",
}


@pytest.mark.parametrize("content", OTHER_CONTENTS)
def test_a_file_that_gives_no_fields_is_named(own, tmp_path, content):
    folder = own("plain", "seed: 1\n")
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "conf" / "experiment" / "theirs.yaml").write_bytes(data)
    with pytest.raises(ConfigurationError, match=rf"^conf/experiment/theirs.yaml.*{OTHER_CONTENTS[content]}") as caught:
        compose(folder, "experiment=theirs")
    assert "\n" not in str(caught.value)


WITHOUT_A_VALUE = {
    "seed: ${seed}": r"^seed=\$\{seed\} \(in conf/experiment/theirs.yaml\): leads back to itself",
    "seed: ${sede}": r"^seed=.*theirs.yaml\): it names the field 'sede', which does not exist. Did you mean 'seed'",
    "study: x${a}": r"^study=x\$\{a\} \(in .*theirs.yaml\): it names the field 'a'",
    "cell: {hidden_size: '${oc.env:NO_SUCH}'}": r"^cell.hidden_size=.*there is no variable 'NO_SUCH'",
}


@pytest.mark.parametrize("text", WITHOUT_A_VALUE)
def test_an_interpolation_without_a_value_names_field_and_file(own, text):
    with pytest.raises(ConfigurationError, match=WITHOUT_A_VALUE[text]):
        compose(own("theirs", text), "experiment=theirs")


@pytest.mark.parametrize("key", ["results", "study", "seed", "cell.hidden_size"])
def test_an_interpolation_on_a_line_names_its_field(key):
    for value, reason in (("${y}", "it names the field 'y'"), (f"${{{key}}}", "leads back to itself")):
        with pytest.raises(ConfigurationError, match=rf"^{re.escape(f'{key}={value}')}: {reason}"):
            compose(None, f"{key}={value}")


def test_a_folder_with_very_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MOST_FILES", 3)
    for name in "abcd":
        (tmp_path / f"{name}.yaml").touch()
    with pytest.raises(ConfigurationError, match="files and folders: 5, and at most 3"):
        list(files_below(tmp_path))


def test_the_interpolations_that_are_allowed_work(own, monkeypatch):
    monkeypatch.setenv("SEED", "7")
    folder = own(
        "theirs",
        "seed: ${oc.decode:${oc.env:SEED}}\nbatch_size: ${cell.hidden_size}\nstudy: ${oc.env:NO_SUCH,first}\n"
        "results: '${oc.env:SEED}/results'\nsequence_length: ${.batch_size}\n",
    )
    (run,) = compose(folder, "experiment=theirs", "cell.hidden_size=5")
    assert [run[name] for name in ("seed", "batch_size", "study", "results", "sequence_length")] == [
        *(7, 5, "first"),
        *("7/results", 5),
    ]

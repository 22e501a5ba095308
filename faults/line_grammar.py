"""Override lines, words of other commands and configuration files, drawn from grammars and then damaged.

Most are wrong, and many are what somebody would write who wants code to be executed, or memory to end.
"""

from __future__ import annotations

import random
from collections.abc import Callable

GROUPS = ("cell", "task", "scheme", "initializer", "measure", "experiment")
CHOICES = (
    *("elman", "gru", "lstm", "stacked", "from_file", "noise", "adding", "digits_rows", "file", "full", "windowed"),
    *("uoro", "identity", "none", "spectra", "gradient", "vanishing_exploding", "cliffs", "../config", "/etc/passwd"),
)
FIELDS = (
    *("seed", "spectral_radius", "sequence_length", "truncation", "batch_size", "dtype", "engine", "readout", "study"),
    *("results", "workers", "retry", "time_limit", "memory_limit", "max_runs", "scales.V", "cell.hidden_size"),
    *("cell.layers", "cell.of", "cell.path", "cell.label", "task.path", "task.delay", "task.symbols", "measure.lags"),
    *("initializer.gain", "scheme.cuts", "scheme.k1", "cell", "task", "cell.activation", "seed.more", "a", "a.b.c"),
)
HYDRA = (
    *("hydra.searchpath", "hydra.sweeper.params", "hydra.launcher._target_", "hydra.callbacks.x", "hydra.callbacks"),
    *("hydra.job_logging", "hydra.hydra_logging.handlers", "hydra.run.dir", "hydra.job.env_set.A", "hydra.x"),
    *("hydra.job.env_copy", "hydra.mode", "hydra/launcher", "hydra/callbacks", "hydra/job_logging", "hydra.verbose"),
    *("hydra.output_subdir", "hydra.job.chdir", "hydra/sweeper", "hydra/env", "hydra.help.template"),
)
TARGETS = (
    "{_target_:os.system,command:'touch executed'}",
    "{_target_:pandas.read_pickle,filepath_or_buffer:bomb.pkl}",
    '{x:{_target_:builtins.eval,_args_:[\'open("executed","w")\']}}',
    "{_target_:pathlib.Path.touch,_args_:[executed]}",
    "{_target_:shutil.copy,src:bomb.pkl,dst:executed}",
    "{_target_:logging.FileHandler,filename:executed}",
    "[{_target_:subprocess.Popen,args:[touch,executed]}]",
    "{version:1,handlers:{f:{class:logging.FileHandler,filename:executed}},root:{handlers:[f]}}",
    "{version:1,handlers:{f:{'()':os.system,command:'touch executed'}}}",
)
NUMBERS = (
    *(
        "0",
        "1",
        "-1",
        "2",
        "7",
        "0.5",
        "1e3",
        "1e9",
        "1e18",
        "1e308",
        "1e999",
        "-0.0",
        "nan",
        "inf",
        "-inf",
        ".5",
        "5.",
    ),
    *("1_000", "0x10", "1e-320", "9" * 20, "9" * 399, "9" * 401, "9" * 5000, "0." + "1" * 390, "true", "null", "full"),
)
INTERPOLATIONS = (
    *("${seed}", "${cell.hidden_size}", "${oc.env:HOME}", "${oc.env:NO_SUCH,7}", "${oc.decode:${oc.env:NO_SUCH,7}}"),
    *("${now:%Y}", "${hydra:runtime.cwd}", "${oc.create:{a:1}}", "${${seed}}", "${mine:x}", "${study}", "${.seed}"),
    *("${oc.deprecated:seed}", "${oc.select:seed}", "${", "$", "${a", "${}", "${oc.dict.keys:cell}", "\\${seed}"),
)
TEXTS = (
    *("x", "a b", "'a b.npz'", '"x"', "größe", "模型", "a\x1b[31mb", "a\tb", "a\\nb", "\x00", "a\u202eb", "\ud800"),
    *("../../x", "/dev/zero", "/dev/stdin", "~", ".", "..", "", "a" * 300, "a" * 5000, "%s%n", "$(touch executed)"),
    *("`touch executed`", "__import__('os')", "=1+1", "!!python/object:x", "con", "-", "--help", "a:b", "a@b", "*"),
)
VALID = (
    "seed=0,1,2",
    "seed=range(0,8)",
    "spectral_radius=0.5,1.0,1.5",
    "'seed=range(0,8,2)'",
    "task=noise,adding",
    "cell.hidden_size=32",
    "+measure.lags=[1,2,3]",
    "~cell.hidden_size",
    "task={name:noise}",
    "truncation=choice(full,5)",
    "seed=sort(shuffle(range(0,9)),reverse=true)",
    "hydra.mode=RUN",
    "hydra.job.name=${now:%Y}",
    "hydra/launcher=bpttlab",
    "cell.path='a b.npz'",
    "experiment=glob(*)",
    "study=first",
)
FUNCTIONS = ("range", "choice", "sort", "shuffle", "glob", "interval", "tag", "int", "float", "str", "bool", "json_str")
LETTERS = "[]{}(),=:.'\"\\$~+-/%@!*#&| \t\n\r\x00\x1b\x7f0123456789eE_abcRUNéßοѕ＝“\u200b\u202e\ud800🙂"
REPEATED = ("[", "(", "{a:", "0,", "x", "'", "\\", "${a:", "range(", "]", "a.", "${seed}", "9")

COLUMNS = ("task", "spectral_radius", "growth_rate", "seed", "K", "runs", "no_such", "a b", "\x1b[2J", "")
TABLES = ("growth", "headline", "runs", "jacobians", "no_such", "../x", "\x1b[31m", "all")


def value(rng: random.Random, level: int = 0) -> str:
    """A value of a line: a number, a text, an interpolation, or others in brackets or in a function."""
    kind = rng.random()
    if kind < 0.3 or level > 4:
        return rng.choice(NUMBERS)
    if kind < 0.5:
        return rng.choice(TEXTS)
    if kind < 0.6:
        return rng.choice(INTERPOLATIONS)
    if kind < 0.65:
        return rng.choice(TARGETS)
    inner = [value(rng, level + 1) for _ in range(rng.randrange(0, 4))]
    if kind < 0.75:
        return ",".join(inner)
    if kind < 0.8:
        return f"[{','.join(inner)}]"
    if kind < 0.85:
        return "{" + ",".join(f"{rng.choice('abc')}:{one}" for one in inner) + "}"
    return f"{rng.choice(FUNCTIONS)}({','.join(inner)})"


def range_of_numbers(rng: random.Random) -> str:
    return f"range({','.join(rng.choice(NUMBERS) for _ in range(rng.randrange(1, 4)))})"


def key(rng: random.Random) -> str:
    prefix = rng.choice(["", "", "", "", "+", "++", "~"])
    name = rng.choice([rng.choice(FIELDS), rng.choice(GROUPS), rng.choice(HYDRA)])
    return prefix + name + rng.choice(["", "", "", "", "", "@x", "@hydra.callbacks.x", ".a", "[0]", "@_global_"])


def line(rng: random.Random) -> str:
    """One override line, damaged in half of all cases."""
    if rng.random() < 0.15:
        return damage(rng.choice(VALID), rng)
    if rng.random() < 0.3:
        name = rng.choice(GROUPS)
        drawn = f"{name}={','.join(rng.choice(CHOICES) for _ in range(rng.randrange(1, 3)))}"
    elif rng.random() < 0.3:
        drawn = f"{rng.choice(FIELDS)}={rng.choice([range_of_numbers, value])(rng)}"
    else:
        drawn = f"{key(rng)}={value(rng)}"
    return damage(drawn, rng) if rng.random() < 0.5 else drawn


def damage(text: str, rng: random.Random, letters: str = LETTERS) -> str:
    """One to six characters changed, added or taken away; sometimes very many, or nested deep."""
    for _ in range(rng.randrange(1, 7)):
        place, letter = rng.randrange(len(text) + 1), rng.choice(letters)
        text = text[:place] + rng.choice([letter, letter, "", 2 * letter]) + text[place + rng.randrange(2) :]
    if rng.random() < 0.05:
        text += rng.choice(REPEATED) * rng.choice([9, 99, 999, 9999])
    return text


def words_of_sweep(rng: random.Random) -> list[str]:
    """A whole line of `bpttlab sweep`, which shows a plan or a configuration and computes nothing."""
    lines = [line(rng) for _ in range(rng.randrange(1, 4))]
    options = rng.choice([["--dry-run"], ["--dry-run"], ["--cfg", "all"], ["--cfg", "job", "--resolve"], ["--help"]])
    return ["sweep", *rng.choice([["study=fuzz"], []]), "max_runs=200", *lines, *options]


def words_of_reading(rng: random.Random) -> list[str]:
    """A line of a command that reads the study called first."""
    command = rng.choice(["tables", "status", "figures", "claims", "export"])
    study = f"study={rng.choice(['first', 'first', 'first', rng.choice(TEXTS)])}"
    words = [f"{rng.choice(['where', 'columns', 'table', 'networks', 'experiment'])}={condition(rng)}"]
    words += [f"table={rng.choice(TABLES)}"] * (rng.random() < 0.5)
    words = [damage(word, rng) if rng.random() < 0.4 else word for word in words]
    return [command, study, *words]


def condition(rng: random.Random) -> str:
    signs = ("=", ">=", "<", "!=", "==", "~", " ", "")
    parts = [f"{rng.choice(COLUMNS)}{rng.choice(signs)}{value(rng)}" for _ in range(rng.randrange(1, 4))]
    return rng.choice([" ", ",", ";"]).join(parts)


# ------------------------------------------------------------------ configuration files


def settings(rng: random.Random) -> str:
    """Settings of Hydra by which it would make an object or configure logging."""
    target = rng.choice([one for one in TARGETS if one.startswith("{")]).replace(":", ": ")
    node = rng.choice(["callbacks", "callbacks", "job_logging", "hydra_logging", "launcher", "sweeper", "env"])
    return f"hydra: {{{node}: {f'{{x: {target}}}' if node == 'callbacks' else target}}}"


YAML: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: f"{rng.choice(FIELDS)}: {value(rng)}",
    lambda rng: settings(rng),
    lambda rng: settings(rng),
    lambda rng: f"hydra: {{sweeper: {{params: {{{rng.choice(FIELDS)}: '{range_of_numbers(rng)}'}}}}}}",
    lambda rng: f"hydra: {{{rng.choice(HYDRA).partition('.')[2].partition('.')[0]}: {value(rng)}}}",
    lambda rng: f"defaults: [{{override /{rng.choice(GROUPS)}: {rng.choice(CHOICES)}}}, {value(rng)}]",
    lambda rng: f"defaults: [/experiment/drawn@{rng.choice('xyz')}, /cell@{rng.choice('xyz')}: gru]",
    lambda rng: "\n".join(
        ["a0: &a0 [1, 1, 1]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    ),
    lambda rng: "a: &a [*a]",
    lambda rng: f"a: {rng.choice('[{') * rng.choice([10, 100, 1000])}",
    lambda rng: "\n".join(f"a{n}: '${{a{n - 1}}}${{a{n - 1}}}'" for n in range(1, rng.choice([5, 40]))),
    lambda rng: "seed: !!python/object/apply:os.system ['touch executed']",
    lambda rng: (
        f"seed: {rng.choice(['0x' + 'f' * 5000, '9' * 5000, '1:' * 3000 + '1', '!!binary x', '2001-01-01', '~'])}"
    ),
    lambda rng: f"study: {rng.choice(INTERPOLATIONS)}",
    lambda rng: f"cell: {{name: {rng.choice(CHOICES)}, hidden_size: {value(rng)}}}",
    lambda rng: "a: [" + "0," * rng.choice([10, 3000, 60_000]) + "0]",
)
HEADERS = ("# @package _global_\n", "# @package _global_\n", "# @package hydra.callbacks.x\n", "# @package a b\n", "")


def configuration_file(rng: random.Random) -> str:
    """The text of a file experiment/drawn.yaml."""
    text = rng.choice(HEADERS) + "\n".join(rng.choice(YAML)(rng) for _ in range(rng.randrange(1, 3))) + "\n"
    return damage(text, rng) if rng.random() < 0.4 else text

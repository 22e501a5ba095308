"""The sweeper: override lines in, one plain dictionary per run out.

Hydra's own sweeper composes each run's configuration, and its launcher does so again: minutes for a thousand runs.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from bpttlab.errors import ConfigurationError
from bpttlab.sweeps.hydra_composition import Composer


class BpttlabSweeper(Sweeper):
    """Expands a sweep with `bpttlab.sweeps.hydra_composition` and gives all of its runs to the launcher at once."""

    def __init__(self, params: Any = None) -> None:
        """`params`, hydra.sweeper.params, is read by the composer itself: a swept experiment brings its own."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.loader: ConfigLoader = hydra_context.config_loader
        self.settings = config.hydra
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Measures every run that the override lines ask for."""
        launch = getattr(self.launcher, "launch_runs", None)
        if launch is None:
            raise ConfigurationError(
                f"hydra/launcher={type(self.launcher).__name__}: cannot run a study; leave hydra/launcher as it is"
            )
        composer = Composer(self.loader, self.settings.job.config_name, list(self.settings.overrides.hydra))
        return launch(composer.expand(arguments))


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="bpttlab",
    node={"_target_": f"{__name__}.{BpttlabSweeper.__name__}", "params": None},
    provider="bpttlab",
)

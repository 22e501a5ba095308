"""The sweeper: override lines in, one plain dictionary per run out.

Hydra's own sweeper composes each run's configuration, and its launcher composes it again: minutes for a thousand runs.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from bpttlab.sweeps.hydra_composition import Composer
from bpttlab.sweeps.hydra_settings import refuse_other_machinery


class BpttlabSweeper(Sweeper):
    """Expands a sweep with `bpttlab.sweeps.hydra_composition` and gives all of its runs to the launcher at once."""

    def __init__(self, params: Any = None) -> None:
        """`params`, hydra.sweeper.params, is read by the composer itself: a swept experiment brings its own."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        refuse_other_machinery(config.hydra)
        settings = config.hydra
        lines = list(settings.overrides.hydra)
        self.composer = Composer(hydra_context.config_loader, settings.job.config_name, lines, is_hydra_main=True)
        self.launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Calls the function with every run that the override lines ask for."""
        return self.launcher.launch_runs(self.composer.expand(arguments))


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="bpttlab",
    node={"_target_": f"{__name__}.{BpttlabSweeper.__name__}", "params": None},
    provider="bpttlab",
)

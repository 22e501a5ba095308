"""The launcher: gives all runs of a sweep at once to the function that `hydra.main` decorates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from bpttlab.sweeps.hydra_settings import refuse_other_machinery


class BpttlabLauncher(Launcher):
    """Calls the function once, in this process."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Refuses Hydra's own sweepers here, before they write a file into the current folder."""
        refuse_other_machinery(config.hydra)
        self.task_function = task_function

    def launch_runs(self, runs: Sequence[Mapping[str, Any]]) -> Any:
        """What the function returns for the whole sweep."""
        return self.task_function(runs)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Hydra's own sweepers call this; `setup` refused them already."""
        raise NotImplementedError


ConfigStore.instance().store(
    group="hydra/launcher",
    name="bpttlab",
    node={"_target_": f"{__name__}.{BpttlabLauncher.__name__}"},
    provider="bpttlab",
)

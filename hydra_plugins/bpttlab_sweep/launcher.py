"""The launcher: all runs of a sweep, handed at once to the function that the command gave to Hydra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from bpttlab.errors import ConfigurationError

SWEEPER = "hydra_plugins.bpttlab_sweep.sweeper.BpttlabSweeper"


class BpttlabLauncher(Launcher):
    """Runs them on this machine, in worker processes of `bpttlab.sweeps.scheduler`."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's own sweepers are refused here, for this is before they write a file into the current folder."""
        target = config.hydra.sweeper.get("_target_")
        if target != SWEEPER:
            raise ConfigurationError(f"hydra/sweeper: {target} cannot run a study; leave hydra/sweeper as it is")
        self.task_function = task_function

    def launch_runs(self, runs: Sequence[Mapping[str, Any]]) -> Any:
        """One call for the whole sweep: resuming, bundles, workers and the store are its business."""
        return self.task_function(runs)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """What Hydra's own sweepers call; refused by `setup` already."""
        raise NotImplementedError


ConfigStore.instance().store(
    group="hydra/launcher",
    name="bpttlab",
    node={"_target_": f"{__name__}.{BpttlabLauncher.__name__}"},
    provider="bpttlab",
)

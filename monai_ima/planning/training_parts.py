"""The parts of a bundle's training, built without the folder of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow
from monai.utils import set_determinism

from monai_ima.config_checks import check_overrides
from monai_ima.errors import RejectedError, root_cause

# What a training has beside its data, which stay where they are when it begins anew.
_ANEW = ("network_def", "network", "optimizer", "margins", "objective")


class TrainingParts:
    """What the ``train.json`` of a bundle builds: data, network, optimizer, objective.

    Args:
        configs: config files, as ``--config_file`` has them.
        **settings: by name, instead of those in the files.

    Attributes:
        configs: config files.
        settings: that were given.

    Raises:
        RejectedError: if a file is missing, or a setting was rejected.
    """

    def __init__(self, configs: Sequence[Path], **settings: Any) -> None:
        self.configs = list(configs)
        self.settings = settings
        if missing := [file for file in configs if not file.is_file()]:
            raise RejectedError(
                f"there is no {missing[0]}; expected the train.json of a bundle of monai_ima"
            )
        check_overrides(configs, settings)
        workflow = ConfigWorkflow([str(file) for file in configs], **settings)
        before = workflow.parser["initialize"]
        # all checks; no folder is opened, and nothing is built yet
        workflow.parser["initialize"] = [
            step for step in before if "output_dir" not in step and "run_dir" not in step
        ]
        workflow.parser.parse(reset=True)
        self.parser = workflow.parser
        try:
            workflow.initialize()
        except Exception as error:
            raise self._rejected(error) from error

    def __getitem__(self, id_: str) -> Any:
        """What the config has at a place such as ``train::dataloader``, built.

        Raises:
            RejectedError: if it cannot be built.
        """
        try:
            return self.parser.get_parsed_content(id_)
        except Exception as error:
            raise self._rejected(error) from error

    def begin_anew(self, seed: int, **settings: Any) -> None:
        """Make the network anew, and optimizer and objective when they are asked for next; data stay.

        Args:
            seed: of the network's first weights.
            settings: plain values of settings on which these alone depend.
        """
        resolver = self.parser.ref_resolver
        kept = {
            id_: built
            for id_, built in resolver.resolved_content.items()
            if id_.split(resolver.sep)[0] not in {*_ANEW, *settings}
        }
        for name, value in settings.items():
            self.parser[name] = value
        self.parser.parse(reset=True)
        resolver.resolved_content.update(kept)
        set_determinism(seed=seed)
        # first, since data that are read for the first time, or again, draw random numbers
        self["network"]

    def _rejected(self, error: BaseException) -> RejectedError:
        cause = root_cause(error)
        kind = "" if isinstance(cause, ValueError) else f"{type(cause).__name__}: "
        files = ", ".join(map(str, self.configs))
        return RejectedError(f"{kind}{cause} (in {files})")

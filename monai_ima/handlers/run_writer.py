"""TensorBoard's events of a run, from the first thing that the run logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.writer import FileWriter

from monai_ima.distributed import is_first


class RunWriter(SummaryWriter):
    """A ``SummaryWriter`` whose file is made when something is logged, not when it is constructed.

    A run that is rejected when it starts has logged nothing, and leaves no file. A layout of the
    custom scalars waits as well, and is not written again where a run goes on. Of several processes
    only the first one's writes.

    Args:
        log_dir: folder of the file.
        purge_step: where the run goes on: what it has logged from there on is dropped.

    Raises:
        FileNotFoundError: on logging, if the folder is there no more.
    """

    def __init__(self, log_dir: str, purge_step: int | None = None) -> None:
        self._layout: dict[str, Any] | None = None
        self._is_constructed = self._has_logged = False
        super().__init__(log_dir, purge_step=purge_step)
        self._is_constructed = True

    def add_custom_scalars(self, layout: dict[str, Any]) -> None:
        """Lay out the charts of a run that begins."""
        if self.purge_step is None:
            self._layout = layout

    def _get_file_writer(self) -> FileWriter | _Nowhere | None:
        if not self._is_constructed:  # the constructor asks for it
            return None
        if not is_first():
            return _Nowhere()
        if self._has_logged and not Path(self.log_dir).is_dir():
            raise FileNotFoundError(
                f"expected {self.log_dir} to be there as long as its run, got no such folder: it was "
                "removed or moved meanwhile; put it back and go on with --resume true, or start anew"
            )
        writer: FileWriter = super()._get_file_writer()  # type: ignore[no-untyped-call]  # torch's
        self._has_logged = True
        if self._layout is not None:
            layout, self._layout = self._layout, None
            super().add_custom_scalars(layout)  # asks again
        return writer


class _Nowhere:
    """Takes what a ``SummaryWriter`` has to write, and leaves it."""

    def add_summary(self, *_: Any) -> None:
        pass

    add_event = add_graph = add_onnx_graph = add_summary

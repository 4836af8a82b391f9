"""The plane of two classes, drawn as a network learns it."""

from __future__ import annotations

from pathlib import Path

from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from monai_ima.attacks import Norm, get_norm
from monai_ima.data import TensorSamples
from monai_ima.distributed import is_first
from monai_ima.handlers.files import write_whole
from monai_ima.handlers.interval import epochs_and_last
from monai_ima.margins import MarginStore
from monai_ima.report import as_image, plane_figure, plane_grid, spread_out
from monai_ima.robustness.measure import probabilities

_RESOLUTION = 240  # points of the grid along its width
_FRAME, _LAST_FRAME = 180, 2500  # milliseconds


class PlaneHandler:
    """Decision boundary, samples and margins before the first epoch and after every few.

    The image ``plane`` goes to TensorBoard, each picture to ``plane/epoch_<epoch>.png``, and at the
    end of the run all of them, also those before a resume, make the animation ``margins.gif``. Put
    it after the handler that updates margins.

    Args:
        samples: training samples ``(N, 2)`` of two classes; a sample's place here is its key in the
            margin store.
        classes: names of the classes.
        margins: margins to draw as balls; ``None`` for a method that has none.
        norm: what they are measured in.
        output_dir: where the files go.
        summary_writer: where the images go.
        interval: draw after every so many epochs, and after the last.
        balls: samples whose balls are drawn, spread over all samples.

    Raises:
        ValueError: if the samples are not in the plane, or a number is below 1.
    """

    def __init__(
        self,
        samples: TensorSamples,
        *,
        classes: tuple[str, ...],
        margins: MarginStore | None,
        norm: Norm | str,
        output_dir: str | Path,
        summary_writer: SummaryWriter,
        interval: int = 1,
        balls: int = 60,
    ) -> None:
        if samples.inputs.shape[1:] != (2,) or len(classes) != 2:
            raise ValueError(
                f"expected samples (N, 2) of 2 classes, got {tuple(samples.inputs.shape)} of "
                f"{len(classes)}; leave the handler out where there is no plane to draw"
            )
        if interval < 1 or balls < 1:
            raise ValueError(
                f"expected interval and balls to be at least 1, got {interval} and {balls}"
            )
        self.samples = samples
        self.classes = classes
        self.margins = margins
        self.norm = get_norm(norm)
        self.output_dir = Path(output_dir)
        self.summary_writer = summary_writer
        self.interval = interval
        self.shown = spread_out(samples.inputs.cpu(), min(balls, len(samples)))
        self.grid, self.extent = plane_grid(samples.inputs.cpu(), _RESOLUTION)

    def attach(self, engine: Engine) -> None:
        if not is_first():
            return
        # not STARTED, at which a resumed run may not know its epoch yet, or be rejected
        self._first = engine.add_event_handler(Events.EPOCH_STARTED, self.started)
        engine.add_event_handler(epochs_and_last(self.interval), self.draw)
        engine.add_event_handler(Events.COMPLETED, self.completed)

    def started(self, engine: SupervisedTrainer) -> None:
        """Begin with the untrained network; drop pictures that the run will draw again."""
        self._first.remove()
        done = engine.state.epoch - 1
        for path in self._pictures():
            if _epoch(path) > done:
                path.unlink()
        if done == 0:
            self._draw(engine, epoch=0)

    def draw(self, engine: SupervisedTrainer) -> None:
        """Draw the network and the margins as they are now."""
        self._draw(engine, engine.state.epoch)

    def _draw(self, engine: SupervisedTrainer, epoch: int) -> None:
        device = self.samples.inputs.device
        probability = probabilities(engine.network, self.grid.to(device).flatten(0, 1))[:, 1]
        margins = None if self.margins is None else self.margins.margins
        title = f"epoch {epoch}"
        if margins is not None:
            title += f", mean margin {margins.mean().item():.3f}"
        figure = plane_figure(
            self.samples.inputs,
            self.samples.labels,
            probability.reshape(self.grid.shape[:2]),
            self.extent,
            classes=self.classes,
            margins=margins,
            norm=self.norm.name,
            shown=self.shown,
            title=title,
        )
        pixels = as_image(figure)
        self.summary_writer.add_image("plane", pixels, epoch, dataformats="HWC")
        write_whole(
            self.output_dir / "plane" / f"epoch_{epoch:04}.png", Image.fromarray(pixels).save
        )

    def completed(self, engine: Engine) -> None:  # noqa: ARG002  Ignite hands the engine over
        """Make the animation of all pictures."""
        pictures = [Image.open(path).convert("RGB") for path in self._pictures()]
        # One palette for all, or small things change their color from frame to frame.
        palette = pictures[-1].quantize(256, Image.Quantize.MAXCOVERAGE)
        frames = [
            picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures
        ]
        times = [_FRAME] * (len(frames) - 1) + [_LAST_FRAME]

        def write(path: Path) -> None:
            frames[0].save(path, save_all=True, append_images=frames[1:], duration=times, loop=0)

        write_whole(self.output_dir / "margins.gif", write)

    def _pictures(self) -> list[Path]:
        return sorted((self.output_dir / "plane").glob("epoch_*.png"), key=_epoch)


def _epoch(picture: Path) -> int:
    return int(picture.stem.removeprefix("epoch_"))

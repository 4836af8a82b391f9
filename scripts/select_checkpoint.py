"""Choose eps_max after a training: the most robust of its epochs that is accurate enough.

    python scripts/select_checkpoint.py RUN --min-clean-accuracy 0.9 --config_file bundles/oct_ima/train.json

RUN is the output folder of a training that kept weights along the way (``--keep_interval 1``); the
config files and settings (``--dataset_dir FOLDER``) are those that it was trained with, of which
``--config_file RUN/config.json`` alone has all. Each kept
epoch is evaluated on the validation set, by the protocol ``screen``. Of those whose clean accuracy
is high enough, the one with the largest area under its curve becomes ``RUN/model_selected.pt``.
Accuracy is balanced, the mean over the classes: the plain one would let a model pass that gives the
most frequent class to everybody. On the test set, which the choice does not see, the curve of the
chosen epoch then stands beside the last one's, by the protocol ``minimum_norm``: in ``selection.png``, with
the trade-off, and in ``selection.json``.

Nothing is trained. Another threshold is another call, which evaluates only what no earlier call did,
and a call that was cut off goes on from its last evaluated samples.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from fire.parser import DefaultParseValue
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from monai.bundle import ConfigWorkflow

from monai_ima import __version__
from monai_ima.handlers import kept_weights
from monai_ima.handlers.checkpoint import read_run_checkpoint
from monai_ima.handlers.files import write_whole
from monai_ima.handlers.run_record import CONFIG, Section, read_record
from monai_ima.report import NORM_NAMES
from monai_ima.robustness import noise_levels

# Every epoch is measured in the same way: in the norm and at the levels of the training, the curve
# alone, by the attacks of the protocol.
CURVE_ONLY = {
    "evaluation_levels": "${@norm: @noise_levels}",
    "check_samples": 0,
    "noise_draws": 0,
    "auroc_steps": 0,
    "run": ["$@evaluator.run()"],
}
CHOSEN_HERE = {"checkpoint", "evaluation_dir", "section", *CURVE_ONLY}
OF_THE_TRAININGS_CURVE = {"eval_steps": None, "eval_restarts": None}
RESULTS = ("selection.json", "selection.png", "model_selected.pt")


def main() -> None:
    """Evaluate the kept epochs, choose one, and show what it is worth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("run", type=Path, help="output folder of the training")
    parser.add_argument(
        "--min-clean-accuracy",
        type=float,
        required=True,
        help="balanced, on the validation set; between 0 and 1",
    )
    parser.add_argument("--config_file", required=True, help="as it was trained with")
    arguments, settings = parser.parse_known_args()
    threshold = arguments.min_clean_accuracy
    try:
        check_threshold(threshold)
        trained = Trained.read(arguments.run, arguments.config_file, settings)
        trained.check_same_data()
    except RefusedError as reason:
        parser.exit(2, f"select_checkpoint.py: {reason}\n")
    models = [trained.evaluate(epoch, "validation", "screen") for epoch in trained.weights]
    print(epoch_table(models))
    for name in RESULTS:  # an earlier call's would be taken for the answer to this one
        (trained.folder / name).unlink(missing_ok=True)
    chosen = choose({m.epoch: (m.accuracy[0], m.area) for m in models}, threshold)
    if chosen is None:
        best = max(models, key=lambda model: (model.accuracy[0], model.area))
        parser.exit(
            1,
            f"\nselect_checkpoint.py: no kept epoch has a balanced clean accuracy of {threshold:g} on "
            f"the {best.n} validation samples; the best, epoch {best.epoch}, has "
            f"{best.accuracy[0]:.3f} (area {best.area:.3f}). Nothing is selected: lower "
            "--min-clean-accuracy, or train anew\n",
        )
    epochs = dict.fromkeys([chosen, max(trained.weights)])
    tested = [trained.evaluate(epoch, "test", "minimum_norm") for epoch in epochs]
    write(trained, threshold, chosen, models, tested)
    print(in_words(trained, threshold, chosen, models, tested))


class RefusedError(Exception):
    """There is nothing to choose from; says why, and what to do."""


def check_threshold(accuracy: float) -> None:
    """Refuse what is no accuracy, or asks nothing of a model, or everything."""
    if not 0 < accuracy < 1:
        raise RefusedError(
            f"expected --min-clean-accuracy between 0 and 1, got {accuracy:g}; 0.9 is 90 %"
        )


@dataclass(frozen=True)
class Model:
    """The weights of an epoch, evaluated.

    Attributes:
        epoch: after which they were kept.
        norm: of the noise.
        eps: the L noise levels, from 0.
        accuracy: the balanced one at each.
        plain_accuracy: of all samples alike.
        n: number of samples.
        protocol: of the attack.
        protocol_version: of that.
        warning: what a reader has to know of the data; empty if nothing.
    """

    epoch: int
    norm: str
    eps: list[float]
    accuracy: list[float]
    plain_accuracy: list[float]
    n: int
    protocol: str
    protocol_version: int
    warning: str

    @property
    def area(self) -> float:
        """Mean balanced accuracy over the levels from 0 to the largest."""
        accuracy, eps = torch.tensor([self.accuracy, self.eps], dtype=torch.float64)
        return torch.trapezoid(accuracy, eps).item() / self.eps[-1]


@dataclass(frozen=True)
class Trained:
    """A training that kept weights, with the bundle that made it.

    Attributes:
        folder: its output folder.
        configs: the bundle's config files, the evaluation's last.
        settings: what the command line said beside them.
        weights: the kept files by epoch.
    """

    folder: Path
    configs: list[str]
    settings: dict[str, Any]
    weights: dict[int, Path]

    @classmethod
    def read(cls, folder: Path, config_file: str, words: Sequence[str]) -> Trained:
        """From the words of the command line, which are read as ``monai.bundle run`` reads them."""
        names, values = words[::2], words[1::2]
        if len(names) != len(values) or not all(name.startswith("--") for name in names):
            raise RefusedError(
                f"expected settings as --NAME VALUE, after RUN, got {' '.join(words)}"
            )
        settings = {
            name.removeprefix("--"): DefaultParseValue(value)
            for name, value in zip(names, values, strict=True)
        }
        if Path(settings.pop("output_dir", folder)).resolve() != folder.resolve():
            raise RefusedError(f"expected RUN alone to name the run, got {folder} and --output_dir")
        if own := sorted(settings.keys() & CHOSEN_HERE):
            raise RefusedError(
                f"expected settings of the training, got --{own[0]}, which is the same for every "
                "choice; leave it out"
            )
        given = DefaultParseValue(config_file)
        configs = [str(file) for file in (given if isinstance(given, list | tuple) else [given])]
        configs.append(str(bundle_of(Path(configs[0])) / "evaluate.json"))
        if missing := [file for file in configs if not Path(file).is_file()]:
            raise RefusedError(
                f"there is no {missing[0]}; expected the config files of the training, with the "
                "bundle's evaluate.json beside the first"
            )
        weights = kept_weights(folder)
        if not weights or not (folder / "checkpoint.pt").exists():
            raise RefusedError(
                f"there are no kept weights in {folder}, or no checkpoint.pt; expected the output "
                "folder of a training with --keep_interval 1 or more, which keeps those of every "
                "epoch or of every so many"
            )
        return cls(folder, configs, settings, weights)

    def workflow(self, folder: Path, **settings: Any) -> ConfigWorkflow:
        """The bundle's evaluation, ready to run."""
        own = {"output_dir": str(self.folder), "evaluation_dir": str(folder), **settings}
        workflow = ConfigWorkflow(
            self.configs, **self.settings | OF_THE_TRAININGS_CURVE | CURVE_ONLY | own
        )
        try:
            workflow.initialize()
        except RuntimeError as failed:  # MONAI's, of an expression
            if isinstance(failed.__cause__, ValueError):
                raise RefusedError(str(failed.__cause__)) from failed
            raise
        return workflow

    def check_same_data(self) -> None:
        """Refuse settings under which the validation set may hold what the run was trained on."""
        try:
            checkpoint = read_run_checkpoint(self.folder)
        except ValueError as reason:
            raise RefusedError(str(reason)) from reason
        if (last := max(self.weights)) < checkpoint["epoch"]:
            raise RefusedError(
                f"expected the weights of the last epoch among the kept ones, but {self.folder} is at "
                f"epoch {checkpoint['epoch']} and they end at {last}; train anew with --keep_interval, "
                "or resume an unfinished run with it"
            )
        identity = checkpoint["identity"]
        config = self.workflow(self.folder / "selection").parser
        self.check_same_levels(noise_levels(config.get_parsed_content("noise_levels")).tolist())
        data = config.get_parsed_content("datalist")
        now = {"norm": config.get_parsed_content("norm"), "training_data": data.fingerprint}
        differing = [name for name, value in now.items() if identity[name] != value]
        record = read_record(self.folder)  # none of an older run
        if record and not differing:
            same = record.sections["validation"] == Section.of(data.validation)
            differing = [] if same else ["validation_data"]
        if differing:
            raise RefusedError(
                f"expected the config files and settings that {self.folder} was trained with, got "
                f"another {' and '.join(differing).replace('_', ' ')}; give the same --config_file, "
                "--dataset_dir, --seed, ... again"
            )

    def check_same_levels(self, levels: list[float]) -> None:
        """Refuse levels other than those of the training, whose area is another."""
        path = self.folder / "robustness.json"
        trained = (
            json.loads(path.read_text("utf-8"))["curves"][-1]["eps"] if path.exists() else levels
        )
        if levels != trained:
            raise RefusedError(
                f"expected the noise_levels that {self.folder} was trained with, {trained}, got "
                f"{levels}; leave --noise_levels out, or give the same again"
            )

    def evaluate(self, epoch: int, section: str, protocol: str) -> Model:
        """The curve of an epoch, whose evaluation goes on where an earlier call left it."""
        folder = self.folder / "selection" / section / f"epoch_{epoch:04}"
        checkpoint = str(self.weights[epoch])
        self.workflow(folder, checkpoint=checkpoint, section=section, protocol=protocol).run()
        report = json.loads((folder / "robustness.json").read_text("utf-8"))
        (curve,) = report["curves"]
        return Model(
            epoch,
            norm=curve["norm"],
            eps=curve["eps"],
            accuracy=curve["balanced_accuracy"],
            plain_accuracy=curve["accuracy"],
            n=curve["n"],
            protocol=report["attack"]["protocol"],
            protocol_version=report["attack"]["version"],
            warning=report["warning"],
        )


def bundle_of(config: Path) -> Path:
    """The folder of the bundle, which the config that a run has written of itself names."""
    if config.name == CONFIG and config.is_file():
        return Path(json.loads(config.read_text("utf-8"))["bundle_root"])
    return config.parent


def choose(epochs: Mapping[int, tuple[float, float]], threshold: float) -> int | None:
    """The epoch with the largest area of those that are accurate enough.

    Of equal areas the more accurate, and of equal models the earlier.

    Args:
        epochs: clean accuracy and area under the curve of each.
        threshold: clean accuracy that is enough.

    Returns:
        The epoch, or ``None`` if none is accurate enough.
    """
    enough = [epoch for epoch, (accuracy, _) in epochs.items() if reaches(accuracy, threshold)]
    return max(enough, key=lambda epoch: (*epochs[epoch][::-1], -epoch), default=None)


def reaches(accuracy: float, threshold: float) -> bool:
    """Whether it is enough; a mean over classes is rounded: 0.9 may be 0.8999999999999999."""
    return accuracy > threshold - 1e-9


def write(
    trained: Trained,
    threshold: float,
    chosen: int,
    models: Sequence[Model],
    tested: Sequence[Model],
) -> None:
    """The chosen weights, the figure, and all figures in one file, which comes last."""
    content = {
        "version": __version__,
        "min_clean_accuracy": threshold,
        "accuracy": "balanced",
        "chosen_on": "validation set, protocol screen",
        "shown_on": "test set, protocol minimum_norm",
        "epoch": chosen,
        "last_epoch": max(trained.weights),
        "validation": [asdict(model) | {"area": model.area} for model in models],
        "test": [asdict(model) | {"area": model.area} for model in tested],
    }
    figures, figure, weights = (trained.folder / name for name in RESULTS)
    write_whole(weights, lambda path: shutil.copyfile(trained.weights[chosen], path))
    write_whole(figure, draw(threshold, chosen, models, tested).savefig)
    write_whole(
        figures, lambda path: path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    )


def epoch_table(models: Sequence[Model]) -> str:
    """A line an epoch, on the validation set."""
    rows = [
        (str(m.epoch), f"{m.accuracy[0]:.3f}", f"{m.plain_accuracy[0]:.3f}", f"{m.area:.3f}")
        for m in models
    ]
    return "\n" + table([("epoch", "balanced clean accuracy", "plain", "area"), *rows])


def evaluated(version: str, model: Model) -> str:
    """By what a model was evaluated, and on how many samples, in a sentence."""
    return (
        f"Evaluated by `{model.protocol}`, version {model.protocol_version} (monai_ima {version}), "
        f"on {model.n:,} samples."
    )


def curves_table(chosen: int, models: Sequence[Model]) -> str:
    """A line for the chosen epoch and one for the last, a column a level."""
    rows = [
        (name(model, chosen), *(f"{value:.3f}" for value in (*model.accuracy, model.area)))
        for model in models
    ]
    return table([("", *(f"{eps:g}" for eps in models[0].eps), "area"), *rows])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first of which is the heading, in Markdown."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def in_words(
    trained: Trained,
    threshold: float,
    chosen: int,
    models: Sequence[Model],
    tested: Sequence[Model],
) -> str:
    """Which epoch was chosen, what it is worth on the test set, and where all is."""
    (best,) = (model for model in models if model.epoch == chosen)
    selected = tested[0]
    choice = (
        f"\nEpoch {chosen} is the most robust of the kept epochs with a balanced clean accuracy of at "
        f"least {threshold:g}: it has {best.accuracy[0]:.3f}, and the area {best.area:.3f} "
        f"({best.n} validation samples, protocol screen, {NORM_NAMES[best.norm]})."
    )
    lines = [
        choice,
        "\nBalanced accuracy on the test set:\n",
        curves_table(chosen, tested),
        f"\n{evaluated(__version__, selected)}\n",
    ]
    if not reaches(selected.accuracy[0], threshold):
        lines.append(
            f"On the test set its clean accuracy is {selected.accuracy[0]:.3f}, below {threshold:g}: "
            "the validation set is a sample too. Where the threshold must hold, ask for more.\n"
        )
    if selected.warning:
        lines.append(f"WARNING: {selected.warning}\n")
    if len(tested) == 1:
        lines.append("It is the last epoch.\n")
    else:
        folders = (trained.folder / f"selection/test/epoch_{m.epoch:04}" for m in tested)
        lines.append(f"python scripts/compare.py {' '.join(map(str, folders))}  what is chance")
    lines.append(f"{trained.folder / 'model_selected.pt'}  its weights")
    lines.append(f"{trained.folder / 'selection.png'}  the trade-off; .json with all figures")
    return "\n".join(lines)


def name(model: Model, chosen: int) -> str:
    """What a model is called in table and figure."""
    return f"{'selected' if model.epoch == chosen else 'last'}, epoch {model.epoch}"


def draw(threshold: float, chosen: int, models: Sequence[Model], tested: Sequence[Model]) -> Figure:
    """The trade-off, a point an epoch, and the curves of the chosen and the last one."""
    figure = Figure(figsize=(9.6, 4), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_trade_off(left, threshold, chosen, models)
    for model in tested:
        color = "C3" if model.epoch == chosen else "0.5"
        right.plot(model.eps, model.accuracy, "o-", ms=4, color=color, label=name(model, chosen))
    right.set_xlabel(f"noise level ({NORM_NAMES[tested[0].norm]})")
    right.set_ylabel("balanced accuracy under attack")
    right.set_title("test set", loc="left", fontsize="medium")
    right.set_ylim(0, 1.02)
    right.set_xlim(left=0)
    right.locator_params(axis="x", nbins=5)
    right.xaxis.set_major_formatter("{x:g}")
    right.grid(alpha=0.3)
    right.legend(frameon=False)
    return figure


def draw_trade_off(axes: Axes, threshold: float, chosen: int, models: Sequence[Model]) -> None:
    """Area under the curve against clean accuracy, on the validation set."""
    accuracy, area = [m.accuracy[0] for m in models], [m.area for m in models]
    axes.plot(accuracy, area, color="0.8", lw=1, zorder=1)
    points = axes.scatter(accuracy, area, c=[m.epoch for m in models], cmap="viridis", s=28)
    axes.figure.colorbar(points, ax=axes, label="epoch", ticks=MaxNLocator(integer=True))
    (best,) = (model for model in models if model.epoch == chosen)
    axes.scatter(
        [best.accuracy[0]], [best.area], s=130, facecolors="none", edgecolors="C3", linewidths=2,
        label=f"selected, epoch {chosen}",
    )  # fmt: skip
    axes.axvline(threshold, color="0.3", ls=":", label=f"threshold {threshold:g}")
    axes.set_xlabel("balanced clean accuracy")
    axes.set_ylabel("area under the curve")
    axes.set_title("validation set", loc="left", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


if __name__ == "__main__":
    main()

import csv
import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from folders import rows_in

from monai_ima.cli.main import main
from monai_ima.errors import RejectedError
from monai_ima.evaluation import compare, read_evaluation
from monai_ima.evaluation.comparison_report import comparison_figure
from monai_ima.handlers.run_record import RunRecord, Section


def write_evaluation(
    folder, margins, *, eps=(0, 0.1, 0.2), patients=None, labels=None, warning="", **attack
):
    """The files of an evaluation whose samples, the same for all, stand below their margins."""
    if not isinstance(margins, dict):
        margins, eps = {"linf": margins}, {"linf": eps}
    rows = [
        {"id": f"image {i:03}", "patient": "", "label": "DME", "prediction": "DME"}
        for i in range(len(next(iter(margins.values()))))
    ]
    for row, patient in zip(rows, patients or [], strict=False):
        row["patient"] = patient
    for row, label in zip(rows, labels or [], strict=False):
        row["label"] = label
    curves = []
    for norm, distances in margins.items():
        for row, distance in zip(rows, distances, strict=True):
            fallen = [level for level in eps[norm] if level >= distance]
            row[f"broke_at_{norm}"] = str(float(fallen[0])) if fallen else ""
            row[f"broken_as_{norm}"] = "CNV" if fallen else ""
            row[f"margin_{norm}"] = "" if distance == math.inf else str(distance)
        median = sorted(distances)[(len(rows) - 1) // 2] if any(distances) else math.inf
        accuracy = [sum(d > level for d in distances) / len(rows) for level in eps[norm]]
        curves.append(
            {
                "norm": norm,
                "n": len(rows),
                "eps": [float(level) for level in eps[norm]],
                "accuracy": accuracy,
                "low": [0.9 * value for value in accuracy],
                "high": [0.9 * value + 0.1 for value in accuracy],
                "patient_low": [0.8 * value for value in accuracy] if patients else None,
                "patient_high": [0.8 * value + 0.2 for value in accuracy] if patients else None,
                "median_margin": None if median == math.inf else median,
            }
        )
    attack = {"protocol": "paper", "description": "words", "steps": 100, "seed": 0, **attack}
    folder.mkdir(parents=True, exist_ok=True)
    report = {"attack": attack, "curves": curves, "warning": warning}
    (folder / "robustness.json").write_text(json.dumps(report))
    write_rows(folder, rows)
    return str(folder)


def write_rows(folder, rows):
    with (Path(folder) / "samples.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def written(tmp_path):
    """Write evaluations of these margins, by their names, with settings of all; their folders."""

    def write(margins, **settings):
        return [write_evaluation(tmp_path / name, m, **settings) for name, m in margins.items()]

    return write


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run the command on these arguments, give back what it prints."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        main(["compare", *arguments])
        return capsys.readouterr().out

    return run


@pytest.fixture
def rejection(command, capsys, tmp_path):
    """What the command says when it rejects what was asked, leaving no file."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            command(*arguments)
        assert ended.value.code == 2
        assert not (tmp_path / "runs").exists()
        return capsys.readouterr().err

    return run


def test_files_are_what_is_printed(command, written, tmp_path):
    runs = written({"ce": [0.15, 0.3], "ima": [0.15, 0.3]})

    text = command(*runs, "--output", str(tmp_path / "both"))

    files = sorted(path.name for path in (tmp_path / "both").iterdir())
    assert files == ["compare.csv", "compare.md", "compare.png", "compare.xlsx"]
    assert text == (tmp_path / "both" / "compare.md").read_text()
    assert text.startswith("# 2 runs on the same 2 samples\n\n## L∞\n")
    assert (tmp_path / "both" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_table_by_hand(command, written, tmp_path):
    margins = [0.0, 0.05, 0.15, 0.6]
    norms = {"linf": [0, 0.1, 0.5], "l2": [0, 1]}
    both = {"linf": margins, "l2": [10 * margin for margin in margins]}
    robust = dict.fromkeys(norms, [math.inf] * 4)

    lines = command(*written({"ce": both, "a|b": robust}, eps=norms)).splitlines()

    area = (0.1 * (0.75 + 0.5) / 2 + 0.4 * (0.5 + 0.25) / 2) / 0.5
    assert "| run | protocol | n | clean | 0.1 | 0.5 | area (95 % interval) | median margin |" in (
        lines
    )
    (line, l2_line) = (line for line in lines if line.startswith("| ce |"))
    assert line.startswith(f"| ce | paper | 4 | 0.750 | 0.500 | 0.250 | {area:.3f} (")
    assert line.endswith(") | 0.05 |")
    assert l2_line.startswith("| ce | paper | 4 | 0.750 | 0.500 | 0.625 (")
    assert r"| a\|b | paper | 4 | 1.000 | 1.000 | 1.000 | 1.000 (0.510 to 1.000) | none |" in lines

    table = rows_in(tmp_path, "runs/compare/compare.csv")
    assert [(row["norm"], row["run"]) for row in table] == [
        *(("linf", "ce"), ("linf", "a|b"), ("l2", "ce"), ("l2", "a|b"))
    ]
    assert [row["median_margin"] for row in table] == ["0.05", "", "0.5", ""]
    assert [row["clean_accuracy"] for row in table] == ["0.75", "1.0", "0.75", "1.0"]
    assert [row["accuracy_at_0.1"] for row in table] == ["0.5", "1.0", "", ""]
    assert [row["accuracy_at_0.5"] for row in table] == ["0.25", "1.0", "", ""]
    assert [row["accuracy_at_1"] for row in table] == ["", "", "0.5", "1.0"]
    assert [row["n"] for row in table] == ["4"] * 4
    low, found, high = (float(table[0][name]) for name in ("area_low", "area", "area_high"))
    assert low < found < high
    assert found == pytest.approx(area)


def test_differences_beyond_chance_in_words(command, written):
    margins = {"ce": [0.05] * 20 + [0.5, 0.15], "ima": [0.15] * 20 + [0.05, 0.15]}

    text = command(*written(margins))

    # 20 against 1 of 21, two-sided; the only one of three tests that is not 1
    p = 3 * 2 * (1 + 21) / 2**21
    assert (
        f"  - at 0.1 (linf) ima is robust for 20 samples where ce is not, the reverse for 1: "
        f"p = {p:.2g} (adjusted)\n"
    ) in text
    assert text.count("(adjusted)") == 1
    area = (20 * 0.1 - 1 * 0.15) / 0.2 / 22
    (line,) = (line for line in text.splitlines() if line.startswith("- **ce and ima**"))
    assert line.startswith("- **ce and ima**: the area of ima is larger than that of ce by 0.")
    assert line.endswith("), beyond chance")
    median, low, high = map(float, re.findall(r"\d\.\d+", line))
    assert median == pytest.approx(area, abs=0.03)
    assert 0 < low < median < high < 0.5 + 1e-9


def test_a_run_without_a_correct_sample_has_no_median_margin(command, written):
    """ "none" would say that less than half are misclassified at any level."""
    text = command(*written({"a": [0.0, 0.0], "b": [0.15, math.inf]}))
    (line,) = (line for line in text.splitlines() if line.startswith("| a |"))
    assert line.endswith(") | \N{EN DASH} |")


@pytest.mark.parametrize("patients", [None, ["p0", "p0", "p1"]])
def test_equal_runs_do_not_differ(command, written, patients):
    text = command(*written({name: [0.05, 0.3, 0.15] for name in "ab"}, patients=patients))

    assert (
        "\n- **a and b**: there is no difference, the same samples are robust at each level\n\n"
        in text
    )
    for words in ("larger than", "(adjusted)", "too few to tell"):
        assert words not in text


def test_equal_areas_of_different_samples_are_not_called_larger(command, written):
    text = command(*written({"a": [0.05, 0.15] * 6, "b": [0.15, 0.05] * 6}))

    assert "- **a and b**: the areas differ by 0.000 (" in text
    assert "), which chance may explain\n" in text
    assert "  - at no level is a difference beyond chance: p = 1 (adjusted)\n" in text
    assert "larger than" not in text


@pytest.mark.parametrize(("number", "named"), [(1, "1 patient"), (9, "9 patients")])
def test_areas_of_few_patients_tell_nothing(command, written, tmp_path, number, named):
    patients = [f"p{i % number}" for i in range(40)]

    text = command(*written({"a": [0.05] * 40, "b": [0.15] * 40}, patients=patients))

    assert text.startswith(f"# 2 runs on the same 40 samples of {named}\n")
    assert (
        "- **a and b**: the area of b is larger than that of a by 0.500; "
        f"only {named}: too few to tell whether the difference of areas is beyond chance\n"
    ) in text
    assert "| a | paper | 40 | 1.000 | 0.000 | 0.000 | 0.250 (\N{EN DASH}) |" in text
    assert ", beyond chance\n" not in text
    assert "bootstrap" not in text
    assert "trust the areas" not in text
    assert f"with only {named} nothing here tells" in text
    table = rows_in(tmp_path, "runs/compare/compare.csv")
    assert [(row["area_low"], row["area_high"]) for row in table] == [("", "")] * 2


@pytest.mark.parametrize("patients", [None, [f"p{i // 2}" for i in range(60)]])
@pytest.mark.parametrize("differing", [5, 6])
def test_few_samples_that_differ_tell_nothing_of_the_areas(command, written, patients, differing):
    """By chance five do so in one direction once in 16 times; drawn anew, nearly always."""
    margins = {"a": [0.15] * 60, "b": ([0.3, 0.15] if patients else [0.3]) * differing}
    margins["b"] += [0.15] * (60 - len(margins["b"]))

    text = command(*written(margins, patients=patients))

    (line,) = (line for line in text.splitlines() if line.startswith("- **a and b**"))
    assert line.startswith("- **a and b**: the area of b is larger than that of a by 0.0")
    unit = "patients" if patients else "samples"
    few = f"; only 5 {unit} tell them apart: too few to tell whether the difference of areas is beyond chance"
    assert line.endswith(few if differing == 5 else "), beyond chance")


def test_a_larger_area_may_be_chance(command, written):
    text = command(*written({"a": [0.15] * 12, "b": [0.15] * 11 + [0.3]}))

    (line,) = (line for line in text.splitlines() if line.startswith("- **a and b**"))
    median, low, high = map(float, re.findall(r"\d\.\d+", line))
    assert 0 == low < median < high
    assert "the area of b is larger" in line
    assert line.endswith(", which chance may explain")


def test_difference_of_areas_is_a_paired_one(command, written):
    margins = [0.05, 0.15] * 10

    # Each sample stands for one level more, which is worth half or a quarter of the range.
    text = command(*written({"a": margins, "b": [margin + 0.1 for margin in margins]}))

    (line,) = (line for line in text.splitlines() if line.startswith("- **a and b**"))
    _, low, high = map(float, re.findall(r"\d\.\d+", line))
    assert 0.25 < low < 0.375 < high < 0.5
    assert high - low < 0.15


def test_patients_are_drawn_where_all_are_known(command, tmp_path):
    margins = [[0.05] * 40 + [0.3] * 40, [0.3] * 40 + [0.05] * 40]
    # five stand, five fall: of ten drawn, 2 to 8 stand
    patients = [f"p{i // 8}" for i in range(80)]

    def compared(*known):
        triples = zip("ab", margins, known, strict=True)
        return command(*(write_evaluation(tmp_path / n, m, patients=p) for n, m, p in triples))

    for text in (compared(patients, patients), compared(None, patients)):
        assert text.startswith("# 2 runs on the same 80 samples of 10 patients\n")
        assert "bootstrap draws of the 10 patients" in text
        assert "| a | paper | 80 | 1.000 | 0.500 | 0.500 | 0.625 (0.400 to 0.850)" in text
        assert "where tests and areas disagree, trust the areas" in text
    for text in (compared(None, None), compared([*patients[:-1], ""], None)):
        assert text.startswith("# 2 runs on the same 80 samples\n")
        assert "bootstrap draws of the samples" in text
        assert "(0.400 to 0.850)" not in text
        assert "patient" not in text
    single = [f"p{i}" for i in range(80)]
    assert "which those of one patient are not" not in compared(single, single)


def test_samples_are_paired_by_their_ids(command, written):
    runs = written({"a": [0.05] * 9 + [0.15] * 9, "b": [0.15] * 9 + [0.05] * 9})
    text = command(*runs)
    write_rows(runs[1], rows_in(Path(runs[1]))[::-1])

    assert command(*runs) == text
    assert "which chance may explain" in text


def test_tests_of_all_pairs_are_adjusted_together(command, written):
    text = command(*written({"a": [0.05] * 12, "b": [0.15] * 12, "c": [0.15] * 12}))

    # Two of the nine tests have p = 2 / 2^12: nine times that, and never less for the second.
    p = f"p = {9 * 2 / 2**12:.2g} (adjusted)"
    assert text.count(p) == 2
    for name in "bc":
        said = f"at 0.1 (linf) {name} is robust for 12 samples where a is not, the reverse for 0: "
        assert f"  - {said}{p}" in text


def test_runs_are_named_by_as_much_of_their_folders_as_is_needed(command, written):
    runs = written({name: [0.05, 0.3] for name in ("seed0/ce", "seed0/ima", "seed1/ima")})

    text = command(*runs)
    named = command(*runs, "--names", "plain, first,second")

    for name in ("ce", "seed0/ima", "seed1/ima"):
        assert f"\n| {name} | paper |" in text
    for name in ("plain", "first", "second"):
        assert f"\n| {name} | paper |" in named


def test_what_not_all_runs_have_is_left_out_and_named(command, tmp_path):
    margins = [0.05, 0.15, 0.3]
    runs = [
        write_evaluation(
            tmp_path / "a",
            {"linf": margins, "l2": margins},
            eps={"linf": [0, 0.1, 0.2], "l2": [0, 1]},
        ),
        write_evaluation(tmp_path / "b", margins, eps=(0, 0.05, 0.1, 0.4)),
    ]

    text = command(*runs)

    assert "Left out is the norm that not all runs have: linf and l2 in a, linf in b." in text
    assert "Left out are the levels (linf) that not all runs have: 0.05, 0.2, 0.4." in text
    assert "| run | protocol | n | clean | 0.1 | area" in text
    for name in ("a", "b"):
        assert f"\n| {name} | paper | 3 | 1.000 | 0.667 | 0.833 (" in text
    assert "## L2" not in text


def test_levels_that_differ_only_in_precision_are_the_same(command, tmp_path):
    exact = write_evaluation(tmp_path / "a", [0.05, 0.15])
    single = write_evaluation(tmp_path / "b", [0.05, 0.15], eps=np.float32([0, 0.1, 0.2]))

    assert "Left out" not in command(exact, single)


def test_attacks_that_differ_are_warned_about(command, tmp_path):
    runs = [
        write_evaluation(tmp_path / "a", [0.3] * 2, seed=1, description="some"),
        write_evaluation(tmp_path / "b", [0.3] * 2, protocol="screen", steps=20, queries=5),
    ]

    text = command(*runs)

    assert (
        "\n**WARNING: the attacks differ.** protocol is paper in a, screen in b; queries is None in "
        "a, 5 in b; steps is 100 in a, 20 in b. "
    ) in text


def test_models_that_see_the_samples_differently_are_warned_about(command, tmp_path):
    runs = []
    for name, side in {"a": 32, "b": 32, "c": 64}.items():
        section = Section(["i"], ["0"], [], "f")
        parts = {"preprocessing": {"_target_": "Compose"}, "bounds": [0, 1]}
        sections = dict.fromkeys(("training", "validation", "test"), section)
        RunRecord({"image_size": [side, side]}, parts, ["DME"], sections, {}).write(tmp_path / name)
        runs.append(write_evaluation(tmp_path / name / "evaluation", [0.3] * 2))

    assert "WARNING" not in command(*runs[:2], "--names", "a,b")
    assert (
        "\n**WARNING: the models see the samples differently.** image_size#0 is 32 in b, 64 in c; "
        "image_size#1 is 32 in b, 64 in c. "
    ) in command(*runs, "--names", "a,b,c")


def test_the_version_of_a_protocol_stands_beside_its_name(command, written):
    text = command(*written(dict.fromkeys("ab", [0.3] * 2), version=3))

    assert "\n| a | paper, version 3 | 2 |" in text
    assert "WARNING" not in text


@pytest.mark.parametrize(
    ("older", "said"),
    [({"version": 2}, "got 2 in a and 3 in b"), ({}, "got unknown in a and 3 in b")],
)
def test_other_versions_of_a_protocol_are_rejected(rejection, tmp_path, older, said):
    runs = [
        write_evaluation(tmp_path / "a", [0.3] * 2, **older),
        write_evaluation(tmp_path / "b", [0.3] * 2, version=3),
    ]

    text = rejection(*runs)

    assert f"the same version of the protocol paper in all runs, {said}; evaluate" in text


def test_versions_of_other_protocols_have_nothing_to_do_with_one_another(command, tmp_path):
    runs = [
        write_evaluation(tmp_path / "a", [0.3] * 2, version=3),
        write_evaluation(tmp_path / "b", [0.3] * 2, version=1, protocol="screen"),
    ]

    warned = "the attacks differ.** protocol is paper in a, screen in b. What follows"
    assert warned in command(*runs)


def test_what_is_to_know_of_the_data_is_said_once(command, tmp_path):
    runs = [
        write_evaluation(tmp_path / name, [0.3] * 2, warning=warning)
        for name, warning in {"a": "Known patients.", "b": "", "c": "Known patients."}.items()
    ]

    assert command(*runs).count("\n**WARNING:** Known patients.\n") == 1


@pytest.mark.parametrize("setting", ["seed", "batch_size", "check_samples"])
def test_what_makes_no_other_attack_is_not_warned_about(command, tmp_path, setting):
    runs = [
        write_evaluation(tmp_path / name, [0.3] * 2, **{setting: value})
        for value, name in enumerate("ab")
    ]

    assert "WARNING" not in command(*runs)


@pytest.mark.parametrize("number", [2, 9])
@pytest.mark.parametrize("patients", [None, ["p"] * 4])
def test_figure_has_a_line_and_a_band_for_each_run_in_each_norm(tmp_path, number, patients):
    names = [f"_${i}^$" for i in range(number)]
    norms = {"linf": [0, 0.1], "l2": [0, 1, 2]}
    for i, name in enumerate(names):
        margins = [0.05 * i, 0.1 * i, 0.15 * i, 0.2 * i]
        write_evaluation(
            tmp_path / name, dict.fromkeys(norms, margins), eps=norms, patients=patients
        )
    runs = [read_evaluation(tmp_path / name, name) for name in names]

    figure = comparison_figure(compare(runs))

    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    colors = [line.get_color() for line in legend.get_lines()]
    assert len(set(colors)) == number
    scale = 0.8 if patients else 0.9
    assert [axes.get_title() for axes in figure.axes] == ["L∞", "L2"]
    for axes, norm in zip(figure.axes, norms, strict=True):
        assert [line.get_color() for line in axes.lines] == colors
        for run, line, band in zip(runs, axes.lines, axes.collections, strict=True):
            accuracy = run.curves[norm].robust.double().mean(dim=0).numpy()
            np.testing.assert_allclose(line.get_xdata(), norms[norm])
            np.testing.assert_allclose(line.get_ydata(), accuracy)
            assert 0.05 < band.get_alpha() < 0.2
            lowest = band.get_paths()[0].vertices[:, 1].min()
            assert lowest == pytest.approx(scale * accuracy.min())
    figure.savefig(tmp_path / "figure.png")  # and no warning of a name that reads like a formula


def edited(folder, edit):
    path = Path(folder) / "robustness.json"
    report = json.loads(path.read_text())
    edit(report)
    path.write_text(json.dumps(report))


def unfinished(run):
    (run / "robustness.json").rename(run / "progress.records")


def without_samples(run):
    (run / "samples.csv").unlink()


def no_rows(run):
    (run / "samples.csv").write_text("id,patient,label\n")


def cut_short(run):
    path = run / "samples.csv"
    path.write_text(path.read_text()[:-20])


def not_json(run):
    (run / "robustness.json").write_text('{"attack"')


def without_curves(run):
    edited(run, lambda report: report.pop("curves"))


def without_column(run):
    write_rows(
        run, [{"id": row["id"], "label": "DME", "patient": ""} for row in rows_in(Path(run))]
    )


def of_a_training(run):
    edited(run, lambda report: report.update(attack=[]))


def other_accuracy(run):
    edited(run, lambda report: report["curves"][0]["accuracy"].__setitem__(1, 0.75))


def other_number(run):
    edited(run, lambda report: report["curves"][0].update(n=5, accuracy=[0.8, 0.4, 0.2]))


def changed_row(run, **values):
    rows = rows_in(Path(run))
    rows[1].update(values)
    write_rows(run, rows)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            unfinished,
            "the evaluation in {run} is not finished; run it again with the same settings",
        ),
        (without_samples, "there is no {run}/samples.csv; expected {run} to be the output folder"),
        (no_rows, "there is no sample in {run}/samples.csv"),
        (cut_short, "expected sample 4 of {run}/samples.csv to have the columns of the heading"),
        (
            not_json,
            "expected {run}/robustness.json to be the report of an evaluation, got a damaged file: Expecting",
        ),
        (without_curves, "there is no 'curves' in them; run the evaluation again"),
        (without_column, "there is no 'broke_at_linf' in them"),
        (of_a_training, "cannot be read (list indices"),
        (
            other_accuracy,
            "2 of 4 samples are robust at 0.1 (linf), but robustness.json beside it says 3",
        ),
        (
            other_number,
            "4 of 4 samples are robust at 0 (linf), but robustness.json beside it says 4 of 5",
        ),
        (
            lambda run: changed_row(run, broke_at_linf="0.13"),
            "image 001 is misclassified from 0.13 on, which is none of [0.0, 0.1, 0.2]",
        ),
        (
            lambda run: changed_row(run, broke_at_linf="soon"),
            "cannot be read (could not convert string to float: 'soon')",
        ),
        (
            lambda run: changed_row(run, id="image 000"),
            "expected different ids in {run}/samples.csv, got 'image 000' 2 times",
        ),
        (
            lambda run: changed_row(run, id="another"),
            "1 of the 4 of good are not among the 4 of spoilt (image 001); evaluate both",
        ),
        (
            lambda run: changed_row(run, label="CNV"),
            "the same label in all runs, but 1 of 4 do not (image 001 has DME in good and CNV in",
        ),
        (
            lambda run: changed_row(run, patient="p9"),
            "the same patient in all runs, but 1 of 4 do not (image 001 has p1 in good and p9 in",
        ),
    ],
)
def test_bad_runs_are_rejected_with_a_message(rejection, tmp_path, spoil, words):
    good, spoilt = (tmp_path / name for name in ("good", "spoilt"))
    for run in (good, spoilt):
        write_evaluation(run, [0.05, 0.05, 0.15, 0.3], patients=["p0", "p1", "p2", "p2"])
    spoil(spoilt)

    said = rejection(str(good), str(spoilt))

    assert said.startswith("monai-ima compare: ")
    assert words.format(run=spoilt) in said


def test_samples_that_only_the_second_run_has_are_named(rejection, written):
    said = rejection(*written({"r2": [0.3] * 2, "r7": [0.3] * 7}))

    missing = "(image 002, image 003, image 004, ...)"
    assert f"5 of the 7 of r7 are not among the 2 of r2 {missing}" in said


def test_runs_without_a_common_norm_or_level_are_rejected(rejection, tmp_path):
    runs = [
        write_evaluation(tmp_path / "a", [0.3], eps=(0, 0.1)),
        write_evaluation(tmp_path / "b", [0.3], eps=(0, 0.2)),
        write_evaluation(tmp_path / "c", {"l2": [0.3]}, eps={"l2": (0, 0.1)}),
    ]

    assert "a noise level (linf) that all runs share, got [0.0, 0.1] in a, [0.0, 0.2] in b" in (
        rejection(*runs[:2])
    )
    assert "a norm that all runs were evaluated in, got linf in a, l2 in c" in (
        rejection(runs[0], runs[2])
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a"], "expected two runs or more, got only a; name another one"),
        (["a", "b", "./a"], "a is named 2 times"),
        (["a", "b", "--names", "x"], "expected --names to be 2 different names"),
        (["a", "b", "--names", "x,x"], "got 'x,x'"),
        (["a", "b", "--names", "x,"], "got 'x,'"),
        (
            ["a", "nowhere"],
            "there is no nowhere/robustness.json; expected nowhere to be the output",
        ),
    ],
)
def test_bad_arguments_are_rejected_with_a_message(rejection, written, arguments, words):
    written({"a": [0.3], "b": [0.3]})

    assert words in rejection(*arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(b"DME", b"CNV", 1), "to be as the evaluation wrote it, got a"),
        (lambda text: text.replace(b"DME", b"\xff", 1), "samples.csv cannot be read ('utf-8'"),
    ],
)
def test_a_table_that_was_changed_after_the_evaluation_is_rejected(tmp_path, change, message):
    folder = Path(write_evaluation(tmp_path / "run", [0.05, 0.3]))
    table, report = folder / "samples.csv", folder / "robustness.json"
    digests = {"samples.csv": hashlib.sha256(table.read_bytes()).hexdigest()}
    report.write_text(json.dumps(json.loads(report.read_text()) | {"digests": digests}))
    assert read_evaluation(folder, "a").labels == {"image 000": "DME", "image 001": "DME"}

    table.write_bytes(change(table.read_bytes()))
    with pytest.raises(RejectedError, match=re.escape(message)):
        read_evaluation(folder, "a")

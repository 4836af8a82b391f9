"""The figures of the comparison, by hand; and a whole run, cut off and gone on with."""

import json
from pathlib import Path

import pytest
import torch
from bundle_run import Command, fork_commands

from monai_ima.cli.main import main
from monai_ima.data import write_synthetic_ecg
from monai_ima.errors import RejectedError
from monai_ima.experiments import (
    DATA_SETS,
    Request,
    evaluated,
    read_results,
    results_figure,
    split_method,
)
from monai_ima.experiments.areas import area, of_drawn_patients
from monai_ima.experiments.request import known_to_an_evaluation
from monai_ima.experiments.result_tables import area_table, curve_table
from monai_ima.experiments.run import numbered_patients, run as make_run, samples
from monai_ima.robustness import Paper, Screen


def patients_of(names):
    """As of a result, with names that are numbers in order."""
    if names is None:
        return {"patients": None, "patients_fingerprint": None}
    return {"patients": names, "patients_fingerprint": f"{min(names):08x}{max(names):07x}"}


def run(method, margins, labels=(0, 0, 0, 1), seed=0, eps=(0, 0.1, 0.2), patients=None):
    robust = [[float(m is None or m > e) for e in eps] for m in margins]
    balanced = [
        sum(
            sum(r[c] for r, y in zip(robust, labels, strict=True) if y == k) / labels.count(k)
            for k in (0, 1)
        )
        / 2
        for c in range(len(eps))
    ]
    curve = {"eps": list(eps), "balanced_accuracy": balanced, "n": len(labels)}
    curve["accuracy"] = [sum(column) / len(robust) for column in zip(*robust, strict=True)]
    return {
        "version": "0.2.0",
        "attack": {"protocol": Paper.name, "version": Paper.version},
        **patients_of(patients),
        "method": method,
        "norm": "linf",
        "seed": seed,
        "options": {"norm": "linf", "seed": str(seed)},
        "budget_minutes": None,
        "seconds": 60,
        "labels": list(labels),
        "margins": margins,
        "curve": curve,
    }


def test_area_is_that_under_the_curve():
    example = run("ima", [None, 0.15, 0, 0.05])
    for accuracy in ("accuracy", "balanced_accuracy"):
        curve = torch.tensor(example["curve"][accuracy], dtype=torch.float64)
        eps = torch.tensor([0, 0.1, 0.2], dtype=torch.float64)
        assert area(example, accuracy) == pytest.approx((torch.trapezoid(curve, eps) / 0.2).item())


def test_tables_have_a_line_a_method_and_ima_last():
    runs = [run("adv0.1", [0.05] * 4), run("ima", [None] * 4), run("ima", [0.15] * 4, seed=1)]
    lines = curve_table(runs, "accuracy").splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["| method", "| ---", "| adv0.1", "| ima"]
    # Wilson's interval of 4 alike: they may be as many as 49 % others
    assert "1.000 ± 0.490 | 0.000 ± 0.490" in lines[2]
    assert "0.500 (0.000 to 1.000)" in lines[3]


def test_difference_of_areas_is_paired():
    runs = [run("ce", [0.05, 0.15, 0.25, 0]), run("ima", [0.15, 0.25, None, 0.05])]
    runs = [dict(one, seed=seed) for seed in (0, 1) for one in runs]
    (line,) = area_table(runs, "accuracy").splitlines()[2:]
    # areas of the samples: 1/4, 3/4, 1, 0 against 3/4, 1, 1, 1/4
    assert line.startswith("| ce | 2 | +0.250 | ")
    low, high = (float(word) for word in line.split(" | ")[3].removesuffix(" |").split(" to "))
    assert low < 0.25 < high


def test_intervals_are_over_patients_where_they_are_known():
    patients = [place // 8 for place in range(80)]
    halves = [[0.05] * 40 + [None] * 40, [None] * 40 + [0.05] * 40]
    runs = [
        run(method, margins, [0, 1] * 40, patients=patients, eps=(0, 0.1))
        for method, margins in zip(("ce", "ima"), halves, strict=True)
    ]

    heading, _, line = area_table(runs, "accuracy").splitlines()
    # areas of samples 1/2 and 1: of ten patients drawn, 2 to 8 are of either half
    assert heading.endswith("| 95 % interval over patients, of these trainings |")
    assert line == "| ce | 1 | +0.000 | -0.300 to +0.300 |"
    cell = curve_table(runs, "accuracy").splitlines()[2].split(" | ")[3]
    assert cell == "0.500 ± 0.300"
    samples = [one | {"patients": None} for one in runs]
    heading, _, line = area_table(samples, "accuracy").splitlines()
    assert heading.endswith("| 95 % interval over samples, of these trainings |")
    low, high = map(float, line.split(" | ")[3].removesuffix(" |").split(" to "))
    assert -0.15 < low < -0.05 < 0.05 < high < 0.15
    assert "on 80 samples of 10 patients." in evaluated(runs)


def test_a_class_counts_as_much_whoever_is_drawn():
    # half of the patients are of the small class, which is robust: any draw of both is balanced
    patients = [*range(40)] + [*range(20)] * 20
    values = torch.tensor([[1.0]] * 40 + [[0.0]] * 400, dtype=torch.float64)
    example = run("ima", [0] * 440, [1] * 40 + [0] * 400, patients=patients)
    drawn = of_drawn_patients(values, example, "balanced_accuracy")
    assert drawn.unique().tolist() == [0.5]
    plain = of_drawn_patients(values, example, "accuracy")
    assert plain.mean().item() == pytest.approx(40 / 440, rel=0.1)


def test_few_patients_give_no_interval():
    patients = [0, 1, 2, 2]
    runs = [run(method, [0.05] * 4, patients=patients) for method in ("ce", "ima")]
    heading, _, line = area_table(runs, "accuracy").splitlines()
    assert heading.endswith("| 95 % interval of these trainings |")
    assert line == "| ce | 1 | +0.000 | none: fewer than 10 patients |"
    assert "±" not in curve_table(runs, "accuracy")


def test_the_same_patients_in_several_seeds_are_no_more_patients():
    patients = [*range(20)]

    def interval(seeds, names):
        runs = [
            run(method, margins, [0, 1] * 10, patients=names(seed), seed=seed)
            for seed in seeds
            for method, margins in (("ce", [0.05, None] * 10), ("ima", [None] * 20))
        ]
        line = area_table(runs, "accuracy").splitlines()[2]
        low, high = map(float, line.split(" | ")[3].removesuffix(" |").split(" to "))
        return high - low

    one = interval([0], lambda seed: patients)
    assert interval([0, 1, 2, 3], lambda seed: patients) == one
    others = interval([0, 1, 2, 3], lambda seed: [100 * seed + name for name in patients])
    assert others == pytest.approx(one / 2, rel=0.1)


def test_patients_are_numbers_of_the_same_people():
    first, second = numbered_patients(["201", "100", "201"]), numbered_patients(["100", "201"])
    assert first["patients"] == [1, 0, 1]
    assert first["patients_fingerprint"] == second["patients_fingerprint"]
    assert (
        first["patients_fingerprint"] != numbered_patients(["100", "202"])["patients_fingerprint"]
    )
    assert set(numbered_patients(["100", ""]).values()) == {None}


def test_a_margin_just_above_a_level_stays_there(tmp_path):
    path = tmp_path / "samples.csv"
    path.write_text(
        "id,patient,label,margin_l2,broken_as_l2\n0,p,a,1.0000001,b\n1,p,b,,\n2,q,b,0.0,a\n"
    )
    assert samples(tmp_path, ["a", "b"], "l2") == {
        "labels": [0, 1, 1],
        "margins": [1.0000001, None, 0],
        "broken_as": [1, None, 0],
        **numbered_patients(["p", "p", "q"]),
    }


@pytest.mark.parametrize("data", ["ecg", "fashion_mnist", "moons", "oct", "svhn"])
def test_levels_are_those_of_the_bundle(data):
    own = DATA_SETS[data]
    config = own.config("train")
    assert own.levels(config["norm"]) == config["noise_levels"]
    assert own.levels(config["norm"])[-1] == config["eps_max"]
    assert own.levels("l2") == own.config("evaluate")["evaluation_levels"]["l2"]


def test_levels_of_volumes_are_their_own():
    own = DATA_SETS["hippocampus"]
    assert own.levels("linf") == [0, 0.005, 0.01, 0.02, 0.03, 0.04]
    assert own.levels("l2") == own.config("evaluate")["evaluation_levels"]["l2"]


def test_other_samples_are_not_paired():
    with pytest.raises(RejectedError, match="the same training and test samples"):
        area_table([run("ce", [0] * 4), run("ima", [0] * 4, (0, 1, 1, 1))], "accuracy")
    runs = [run(method, [0] * 4) | {"training_data": method} for method in ("ce", "ima")]
    with pytest.raises(RejectedError, match="the same training and test samples"):
        area_table(runs, "accuracy")


def test_method_names_hold_the_strength():
    assert split_method("adv0.05") == ("adv", {"adv_eps": "0.05"})
    assert split_method("trades1") == ("trades", {"trades_beta": "1"})
    assert split_method("ima") == ("ima", {})


@pytest.mark.slow
def test_cut_off_and_started_again_it_ends_with_the_same_table(tmp_path):
    beats = write_synthetic_ecg(tmp_path / "ecg", patients=12, beats_per_patient=60, seed=0)

    def start(name):
        return Command(
            *("monai_ima", "reproduce", "ecg", "--methods", "ce", "ima"),
            *("--output", tmp_path / name, "--runs", tmp_path / f"{name}_runs"),
            *("--dataset_dir", beats, "--max_epochs", "3", "--epoch_size", "256"),
            *("--attack_steps", "2", "--margin_steps", "2", "--evaluation_per_class", "4"),
            *("--device", "cpu"),
            prepare=fork_commands,
        )

    def table(ended):
        """Without the minutes."""
        assert ended.returncode == 0, ended.stderr
        lines = ended.stdout.splitlines()
        return [line.split(" | ")[:-1] for line in lines if line.startswith("|")]

    broken = start("broken")
    broken.wait_for(tmp_path / "broken_runs/ecg/default_linf_ima_seed0/training/checkpoint.pt")
    broken.kill()
    assert not (tmp_path / "broken" / "default_linf_ima_seed0.json").exists()
    assert table(start("broken").end()) == table(start("straight").end())
    first, second = (
        json.loads((tmp_path / name / "default_linf_ima_seed0.json").read_text())
        for name in ("straight", "broken")
    )
    assert first["margins"] == second["margins"]


@pytest.mark.parametrize("own", ["adv_eps", "trades_beta", "ddn_steps", "iaat_gamma"])
def test_an_evaluation_does_not_get_what_only_an_objective_knows(own):
    options = {"norm": "l2", own: "2", "seed": "0"}
    assert known_to_an_evaluation(options) == {"norm": "l2", "seed": "0"}


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """Give the command where no bundle can be run; how it ended and what it said."""
    monkeypatch.setattr("monai_ima.experiments.run.run_bundle", None)

    def call(*words):
        folders = ("--output", str(tmp_path / "results"), "--runs", str(tmp_path / "runs"))
        code = 0
        try:
            main(["reproduce", "moons", *folders, *words])
        except SystemExit as ended:
            code = ended.code
        return code, "".join(capsys.readouterr())

    return call


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "IMA"], "expected a method among adv, ce, ddn, iaat, ima, mma, trades"),
        (["--methods", "mma0.1"], "got 'mma0.1'"),
        (["--methods", "adv0.1x"], "got 'adv0.1x'"),
        (["--methods", "ce", "--max_epochs=2"], "as --NAME VALUE, got --max_epochs=2"),
        (["--methods", "ce", "--max_epochs"], "as --NAME VALUE, got --max_epochs"),
        (["--methods", "ce", "--noise_levels", "[0.1]"], "expected no --noise_levels"),
        (["--methods", "adv", "ce", "--adv_eps", "0.1"], "with the method adv alone, got also ce"),
        (["--methods", "ce", "--protocol", "weak"], "expected protocol to be one of ['blackbox'"),
        (["--methods", "ce", "--protocol"], "expected one argument"),
        (["--methods", "ce", "--trian#amp", "true"], "no trian; did you mean --train#amp?"),
        ([], "no results default in linf in"),
    ],
)
def test_what_cannot_be_done_is_rejected_before_anything_runs(command, words, said):
    code, text = command(*words)
    assert code == 2
    assert said in text


def test_a_run_that_is_there_with_other_options_is_rejected(command, tmp_path):
    options = {"eps_max": "0.3", "norm": "linf", "seed": "0"}
    options["noise_levels"] = "[0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]"
    (tmp_path / "results").mkdir()
    path = tmp_path / "results" / "default_linf_ce_seed0.json"
    path.write_text(json.dumps(run("ce", [0.05, None] * 2) | {"options": options}))
    assert "| ce | 1 | " in command("--methods", "ce", "--protocol", "paper")[1]

    code, text = command("--methods", "ce", "--protocol", "paper", "--max_epochs", "3")

    assert code == 2
    assert "max_epochs is None there, 3 here" in text


PAPER = {"protocol": "paper", "version": Paper.version}
OTHERS = {
    "protocol": {"protocol": "screen", "version": Screen.version},
    "version": {"protocol": "paper", "version": Paper.version - 1},
    "unknown": {"protocol": "paper"},
}


@pytest.mark.parametrize("other", OTHERS)
def test_runs_of_other_protocols_are_not_put_into_one_table(tmp_path, other):
    for method, attack in (("ce", PAPER), ("ima", OTHERS[other])):
        path = tmp_path / f"small_l2_{method}_seed0.json"
        path.write_text(json.dumps(run(method, [0.05] * 4) | {"attack": attack}))

    with pytest.raises(RejectedError) as rejected:
        read_results(tmp_path, "small", "l2")

    name, version = OTHERS[other]["protocol"], OTHERS[other].get("version", "unknown")
    assert (
        f"got paper, version {Paper.version} (small_l2_ce_seed0.json); {name}, version {version} "
        "(small_l2_ima_seed0.json). To evaluate a run again, move its file "
    ) in str(rejected.value)
    assert "--protocol" in str(rejected.value)


def written_run(folder, attack):
    folder.mkdir()
    path = folder / "default_linf_ce_seed0.json"
    content = run("ce", [0.05, None] * 2) | {"attack": attack}
    if "version" not in attack:
        del content["version"]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_there_by_another_protocol_is_rejected_before_anything_runs(
    command, tmp_path, other
):
    written_run(tmp_path / "results", OTHERS[other])

    code, text = command("--methods", "ima", "--protocol", "paper")

    assert code == 2
    assert f"paper, version {Paper.version} (what is asked for here)" in text
    assert not (tmp_path / "runs").exists()


def test_a_table_of_older_runs_says_so(command, tmp_path):
    written_run(tmp_path / "results", OTHERS["unknown"])

    code, text = command()

    assert code == 0
    assert "\nEvaluated by `paper`, version unknown (monai_ima 0.1.0), on 4 samples.\n" in text
    assert command("--protocol", "paper")[0] == 2


def test_the_versions_of_training_and_evaluation_are_told():
    runs = [run("ce", [0] * 4), run("ima", [0] * 4) | {"version": "0.3.0"}]
    by = f"Evaluated by `paper`, version {Paper.version} (monai_ima"
    assert evaluated(runs) == f"{by} 0.2.0 and 0.3.0), on 4 samples."
    older = [one | {"training_version": "0.1.0"} for one in runs[:1]]
    assert evaluated(older) == f"{by} 0.2.0), trained by monai_ima 0.1.0, on 4 samples."


@pytest.fixture
def bundle_runs(monkeypatch, tmp_path):
    """What would be run, in place of it; as little is left as is read afterwards."""
    calls = []

    def command(configs, options):
        training = Path(options["output_dir"])
        training.mkdir(parents=True, exist_ok=True)
        calls.append(options)
        if "evaluation_dir" not in options:
            checkpoint = {"epoch": 1, "best": None, "objects": {}}
            checkpoint["identity"] = {"training_data": "f"}
            torch.save(checkpoint, training / "checkpoint.pt")
            (training / "model.pt").touch()
            report = {"settings": {}, "versions": {"monai_ima": "0.2.0"}}
            (training / "robustness.json").write_text(json.dumps(report))
            return 61.4
        folder = Path(options["evaluation_dir"])
        folder.mkdir(exist_ok=True)
        (folder / "samples.csv").write_text(
            "id,patient,label,margin_linf,broken_as_linf\n0,p,a,0.1,b\n1,q,b,0.0,a\n"
        )
        attack = {"protocol": options["protocol"], "version": len(calls)}
        report = {"versions": {"monai_ima": "0.3.0"}, "attack": attack, "classes": ["a", "b"]}
        (folder / "robustness.json").write_text(json.dumps(report | {"curves": [{"n": 2}]}))
        return 5.0

    monkeypatch.setattr("monai_ima.experiments.run.run_bundle", command)
    return calls


def test_a_finished_training_is_evaluated_again_by_whichever_protocol(bundle_runs, tmp_path):
    asked = Request("moons", "small", "linf", "paper", "adv0.1", 0, {"norm": "linf"})
    folder = tmp_path / "run"

    first = make_run(asked, folder)
    assert json.loads((folder / "seconds.json").read_text()) == first["seconds"] == 61
    second = make_run(asked._replace(protocol="strong"), folder)

    kinds = ["evaluation" if "evaluation_dir" in one else "training" for one in bundle_runs]
    assert kinds == ["training", "evaluation", "evaluation"]
    assert [one.get("protocol") for one in bundle_runs] == ["screen", "paper", "strong"]
    assert "adv_eps" not in bundle_runs[1]
    assert second["seconds"] == 61
    for one, attack in (
        (first, {"protocol": "paper", "version": 2}),
        (second, {"protocol": "strong", "version": 3}),
    ):
        assert one["attack"] == attack
        assert (one["version"], one["training_version"]) == ("0.3.0", "0.2.0")


def test_the_time_of_a_training_that_was_cut_off_stays_unknown(bundle_runs, tmp_path):
    asked = Request("moons", "small", "linf", "paper", "ima", 0, {"norm": "linf"})
    (tmp_path / "run" / "training").mkdir(parents=True)
    (tmp_path / "run" / "training" / "checkpoint.pt").touch()

    assert make_run(asked, tmp_path / "run")["seconds"] is None
    assert bundle_runs[0]["resume"] == "true"
    assert make_run(asked, tmp_path / "run")["seconds"] is None
    assert len(bundle_runs) == 3


def test_a_training_that_does_not_name_its_version_is_older(bundle_runs, tmp_path):
    asked = Request("moons", "small", "linf", "paper", "ima", 0, {"norm": "linf"})
    make_run(asked, tmp_path)
    (tmp_path / "training" / "robustness.json").write_text(json.dumps({"settings": {}}))
    assert make_run(asked, tmp_path)["training_version"] == "0.1.0"


def test_a_folder_that_was_begun_with_other_options_is_rejected(command, tmp_path):
    asked = tmp_path / "runs/moons/default_linf_ce_seed0/asked.json"
    asked.parent.mkdir(parents=True)
    asked.write_text(json.dumps({"max_epochs": "8"}))

    code, text = command("--methods", "ce", "--max_epochs", "4")

    assert code == 2
    assert "max_epochs is 8 there, 4 here" in text
    assert json.loads(asked.read_text()) == {"max_epochs": "8"}


def test_runs_of_other_options_are_not_put_into_one_table(tmp_path):
    for one in (run("ce", [0.05] * 4), run("adv0.1", [0.1] * 4), run("ima", [0.2] * 4, seed=1)):
        one["options"] |= {"adv_eps": "0.1"} if one["method"] == "adv0.1" else {}
        path = tmp_path / f"small_linf_{one['method']}_seed{one['seed']}.json"
        path.write_text(json.dumps(one))
    assert [one["method"] for one in read_results(tmp_path, "small", "linf")][-1] == "ima"
    path.write_text(json.dumps(one | {"options": one["options"] | {"noise": "0.3"}}))
    with pytest.raises(RejectedError, match="noise is "):
        read_results(tmp_path, "small", "linf")


def test_seeds_of_a_method_have_the_same_options(tmp_path):
    for seed, eps in enumerate(("0.1", "0.3")):
        one = run("adv", [0.05] * 4, seed=seed)
        one["options"]["adv_eps"] = eps
        (tmp_path / f"small_linf_adv_seed{seed}.json").write_text(json.dumps(one))
    with pytest.raises(RejectedError, match=r"of adv adv_eps is 0\.[13] there"):
        read_results(tmp_path, "small", "linf")


def test_each_method_has_a_color_of_its_own():
    methods = ["adv0.1", "adv0.3", "ce", "iaat", "ima", "mma", "trades6"]
    (axes,) = results_figure([run(method, [0.05] * 4) for method in methods], "accuracy").axes
    assert len({line.get_color() for line in axes.lines}) == len(methods)


def test_time_of_a_training_that_was_cut_off_is_not_known():
    runs = [run("ce", [0.05] * 4), run("ima", [0.05] * 4) | {"seconds": None}]
    lines = curve_table(runs, "accuracy").splitlines()
    assert [line.split(" | ")[-1] for line in lines[2:]] == ["1.0 |", "unknown |"]

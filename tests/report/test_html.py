"""The page: it loads nothing, its numbers are the report's, and it warns when it must."""

import base64
import json
import math
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import torch
from report.synthetic import (
    attacked,
    ecg_example,
    oct_example,
    synthetic_report,
    volume_example,
)

from monai_ima.report import html, html_report
from monai_ima.report.html import answer

VOID = {"meta", "img", "br"}
DASH = "\N{EN DASH}"


class Page(HTMLParser):
    """Tags, attributes, tables as rows of cells, and what is said, of a page that must be well formed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.tables, self.words, self.open = [], [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data.strip()

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def table(self, header):
        """Rows below the first header that begins like this."""
        return next(rows[1:] for rows in self.tables if rows[0][: len(header)] == header)


BOTH = ("linf", "l2")


def render(examples=None, change=None, norms=("l2",), **settings):
    report, margins, labels, probabilities = synthetic_report(norms=norms, **settings)
    report = json.loads(json.dumps(report, allow_nan=False))
    if change is not None:
        change(report)
    return report, html_report(
        report,
        margins=margins,
        labels=labels,
        probabilities=probabilities,
        examples=dict.fromkeys(margins, examples) if examples else {},
    )


def some_examples():
    return [
        oct_example("most fragile", 0, 0.004, size=(64, 64)),
        oct_example("hardest to break", 1, math.inf, size=(64, 64)),
    ]


@pytest.fixture
def no_figures(monkeypatch):
    """For tests of words and tables alone: figures take most of the time."""
    names = ("curve", "classes", "margins", "white_noise")
    monkeypatch.setattr(html, "_figures", lambda *_: dict.fromkeys(names, "data:"))


@pytest.fixture(scope="module")
def page_of_both():
    return render(some_examples(), norms=BOTH)[1]


def test_nothing_is_loaded_from_elsewhere(page_of_both):
    page = Page(page_of_both)
    links = [
        value for name, value in page.attributes if name in ("src", "href", "srcset", "action")
    ]
    anchors = [link[1:] for link in links if link.startswith("#")]
    images = [link for link in links if link.startswith("data:image/")]
    assert len(anchors) + len(images) == len(links)
    assert len(images) == 2 * (4 + 2)
    assert set(anchors) <= {value for name, value in page.attributes if name == "id"}
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert "url(" not in page_of_both
    assert "@import" not in page_of_both
    for image in images:
        content = base64.b64decode(image.partition(",")[2])
        if image.startswith("data:image/svg"):
            assert set(re.findall(rb'href="(.)', content)) <= {b"#"}
            assert set(re.findall(rb"url\((.)", content)) <= {b"#"}


def test_headings_step_down_and_pictures_have_words(page_of_both):
    page = Page(page_of_both)
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    words = [value for name, value in page.attributes if name == "alt"]
    assert len(words) == page.tags.count("img")
    assert "sample-0-0.png, true class CNV: clean CNV 0.94, attacked DME 0.50" in words


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("threshold", "said"),
    [
        (0.123456, "0.1235"),
        (0.876543, "0.8765"),
        (0.9999599814414978, "0.99995998"),
        (0.9999999403953552, "0.9999999404"),
        (1.0, "1"),
        (2e-7, "2e-07"),
        (None, "never"),
    ],
)
def test_a_threshold_near_one_is_not_said_to_be_one(threshold, said):
    def change(report):
        report["without_noise"]["two_classes"]["points"][1]["threshold"] = threshold

    page = Page(render(change=change, classes=TWO)[1])
    rows = page.table(["", "as it answers", "at a specificity of at least 0.9"])
    assert rows[0][1:] == ["0.5", said]


@pytest.mark.usefixtures("no_figures")
def test_the_levels_table_holds_the_numbers_of_the_report():
    report, content = render()
    (curve,) = report["curves"]
    rows = Page(content).table(["noise level", "accuracy"])
    assert len(rows) == len(curve["eps"])
    for i, row in enumerate(rows):
        assert row == [
            f"{curve['eps'][i]:g}",
            f"{curve['accuracy'][i]:.3f}",
            f"{curve['low'][i]:.3f}{DASH}{curve['high'][i]:.3f}",
            f"{curve['patient_low'][i]:.3f}{DASH}{curve['patient_high'][i]:.3f}",
            f"{curve['balanced_accuracy'][i]:.3f}",
            f"{curve['auroc'][i]:.3f}",
        ]


@pytest.mark.usefixtures("no_figures")
def test_levels_are_said_in_the_units_of_the_data():
    units = {"name": "grey levels of 255", "per_unit": 255}
    report, content = render(units=units, norms=BOTH)
    page = Page(content)
    linf, l2 = report["curves"]
    (rows,) = [t for t in page.tables if t[0][:2] == ["noise level", "in grey levels of 255"]]
    assert [row[:2] for row in rows[1:]] == [[f"{e:g}", f"{255 * e:.3g}"] for e in linf["eps"]]
    spread = ["noise level", "in grey levels of 255, if spread evenly"]
    (rows,) = [t for t in page.tables if t[0][:2] == spread]
    assert [row[:2] for row in rows[1:]] == [[f"{e:g}", f"{255 * e / 64:.3g}"] for e in l2["eps"]]
    said = f"(L2, in units of the input: {255 * l2['median_margin'] / 64:.3g} grey levels of 255"
    assert f"{said} in every pixel, if spread evenly)" in page.text
    assert "The largest level, 0.03, is 7.65 grey levels of 255 in every pixel." in page.text
    spread = (
        "1.5, is 5.98 grey levels of 255 in every pixel if it is spread evenly, or 59.7 grey levels of "
        "255 if only one pixel in a hundred is changed. A quarter as many may change by twice as much."
    )
    assert spread in page.text
    assert "grey levels" not in Page(render(norms=BOTH)[1]).text


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("orientation", [None, "RAS"])
def test_pictures_of_volumes_say_which_way_round_they_are(orientation):
    def change(report):
        report["inputs"] |= {"shape": [1, 32, 48, 32], "orientation": orientation}

    text = Page(render([volume_example("most fragile", 0, 0.02)], change)[1]).text
    assert ("the patient's right at the left" in text) == (orientation is not None)
    assert ("which way round they lie is not known" in text) == (orientation is None)
    assert "equally probable there, by construction: that is no sign of doubt" in text


TWO = ("NORMAL", "DME")


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("named", [None, "NORMAL"])
def test_of_two_classes_one_is_the_positive_one(named):
    report, content = render(classes=TWO, prevalence=0.02, positive_class=named)
    page, clean = Page(content), report["without_noise"]
    at = TWO.index(named or "DME")
    assert f"The positive class is {TWO[at]}" in page.text
    assert ("the second of the two, as the setting positive_class names none" in page.text) == (
        named is None
    )
    assert "Predictive values hold where 2 % of those examined are" in page.text
    assert "in a clinic it may be another share" not in page.text
    assert "was chosen on these same samples" in page.text
    assert page.text.count("ROC curve;") == 0  # words of the picture are no text of the page
    assert page.tags.count("img") == 1 + 4
    rows = page.table(["", "as it answers", "at a specificity of at least 0.9"])
    points = clean["two_classes"]["points"]
    assert rows[0][1:] == ["0.5", f"{points[1]['threshold']:.4g}"]
    for row, rate in zip(rows[1:3], ("sensitivity", "specificity"), strict=True):
        assert row[0].startswith(rate)
        assert row[1:] == [
            f"{p[rate]:.3f} ({p[f'{rate}_low']:.3f}{DASH}{p[f'{rate}_high']:.3f})" for p in points
        ]
    assert [row[1:] for row in rows[3:]] == [
        [f"{point[value]:.3f}" for point in points] for value in ("ppv", "npv")
    ]
    (curve,) = report["curves"]
    rows = page.table(["at noise level"])
    assert rows[0][1:] == [f"{value:.3f}" for value in curve["per_class"][at]]
    assert rows[3][1:] == [f"{value:.3f}" for value in curve["two_classes"]["npv"]]


@pytest.mark.usefixtures("no_figures")
def test_the_confusion_the_calibration_and_the_errors_are_those_of_the_report():
    report, content = render()
    page, clean = Page(content), report["without_noise"]
    tables = [rows for rows in page.tables if rows[0][0] == "true class"]
    (curve,) = report["curves"]
    for rows, counts in zip(tables, [clean["confusion"], *curve["confusion"]], strict=True):
        assert rows[0][1:] == [f"called {name}" for name in report["classes"]]
        assert [[int(cell) for cell in row[1:]] for row in rows[1:]] == counts
    bins = page.table(["probability", "n"])
    assert [int(row[1]) for row in bins] == [part["n"] for part in clean["calibration"]]
    assert f"Expected calibration error: {clean['calibration_error']:.3f}" in page.text
    assert f"Brier score: {clean['brier']:.3f}" in page.text
    assert f"Macro AUROC: {clean['auroc']:.3f}." in page.text
    wrong = clean["misclassified"]
    assert f"Misclassified samples: {wrong['count']} of 128" in page.text
    rows = page.table(["sample", "patient", "true class"])
    assert [row[:2] for row in rows] == [[row["id"], row["patient"]] for row in wrong["shown"]]
    fragile = curve["most_fragile"]
    assert fragile["count"] > len(fragile["shown"]) == 20
    assert f"{fragile['count'] - 20} more patients are in samples.csv" in page.text
    rows = page.table(["patient", "samples of the patient"])
    assert [row[:3] for row in rows] == [
        [row["patient"], str(row["samples"]), row["id"]] for row in fragile["shown"]
    ]


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("count", "said"), [(20, ""), (21, "1 more patient is in samples.csv")])
def test_how_many_more_there_are_is_said_in_words(count, said):
    def change(report):
        report["curves"][0]["most_fragile"]["count"] = count

    text = Page(render(change=change)[1]).text
    assert said in text
    assert text.count("more patient") == bool(said)


@pytest.mark.usefixtures("no_figures")
def test_the_page_begins_with_what_it_is_not_for_and_says_what_each_norm_asks():
    text = Page(render(norms=BOTH)[1]).text.removeprefix("Robustness of a classifier ")
    assert text.startswith("For research; not for clinical use.")
    assert "can a faint change all over the input turn the answer? Every pixel may change" in text
    assert "can a change of limited total energy turn the answer, wherever it is?" in text


@pytest.mark.usefixtures("no_figures")
def test_the_class_tables_hold_the_numbers_of_the_report():
    report, content = render()
    (curve,) = report["curves"]
    tables = [rows for rows in Page(content).tables if rows[0][0] == "class"]
    keys = ("per_class", "specificity", "positive_predictive_value")
    for rows, key in zip(tables, keys, strict=True):
        assert rows[0] == ["class", "n", *(f"{eps:g}" for eps in curve["eps"])]
        assert [row[0] for row in rows[1:]] == report["classes"]
        assert [int(row[1]) for row in rows[1:]] == report["class_counts"]
        assert [row[2:] for row in rows[1:]] == [
            [f"{value:.3f}" for value in values] for values in curve[key]
        ]


@pytest.mark.usefixtures("no_figures")
def test_settings_versions_checks_and_cost_are_told():
    report, content = render(norms=("linf",))
    page = Page(content)
    told = {row[0]: row[1] for rows in page.tables for row in rows if len(row) == 2}
    assert told["noise_levels"] == "0, 0.005, 0.01"
    assert told["resume"] == "no"
    assert told["torch"] == "2.13.0"
    assert told["seed"] == "0"
    assert told["class of the network"] == "ConvNet"
    assert told["parameters"] == "1,234,567"
    assert told["what it is given"] == "64 x 64 pixels"
    correct = round(128 * report["curves"][0]["accuracy"][0])
    assert correct < 128
    cost = ["L∞", "612.4", "598.1", f"0 of {correct} correctly classified"]
    assert page.table(["norm", "forward passes"]) == [cost]
    assert (
        "Those of the white noise, of the AUROC's own attack and of the checks are not among them."
        in page.text
    )
    checks = page.table(["question"])
    assert [row[3] for row in checks] == [check["verdict"] for check in report["checks"]]
    assert checks[1][4] == "steps:\xa010, 100, 1000accuracy:\xa00.4844, 0.4453, 0.4375"
    assert report["attack"]["description"] in page.text


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("failed", [(), ("large_eps",), ("more_iterations", "zero_gradient")])
def test_a_banner_warns_if_and_only_if_a_check_failed(failed):
    _, content = render(failed=failed)
    page = Page(content)
    assert ("Do not trust this curve" in page.text) == bool(failed)
    assert ("class", "banner failed") in page.attributes or not failed
    assert ("All 5 checks that were run passed" in page.text) == (not failed)
    assert page.text.count("FAILED") == len(failed)
    if failed:
        assert f"{len(failed)} of 5 checks failed" in page.text
        assert page.text.index("Do not trust") < page.text.index("Half of the correctly")
    assert ("Does a large enough noise break every sample? No (L2)." in page.text) == (
        "large_eps" in failed
    )
    assert ("Does every sample have a gradient to follow? No (L2)." in page.text) == (
        "zero_gradient" in failed
    )


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("failed", [(), ("large_eps",)])
def test_a_warning_of_the_data_stands_above_the_answer_and_below_what_failed(failed):
    warning = "beats of one patient are on both sides"
    page = Page(render(change=lambda report: report.update(warning=warning), failed=failed)[1])
    assert ("class", "banner warning") in page.attributes
    assert page.text.count(f"What to know of the data: {warning}") == 1
    assert page.text.index(warning) < page.text.index("Half of the correctly")
    assert not failed or page.text.index("Do not trust") < page.text.index(warning)


@pytest.mark.usefixtures("no_figures")
def test_without_a_warning_of_the_data_there_is_no_box():
    page = Page(render()[1])
    assert ("class", "banner warning") not in page.attributes
    assert "What to know of the data" not in page.text


@pytest.mark.usefixtures("no_figures")
def test_a_check_of_all_norms_that_failed_marks_every_curve():
    failed = {"name": "logits", "norm": None, "passed": False, "verdict": "", "figures": {}}
    page = Page(render(change=lambda report: report["checks"].append(failed), norms=BOTH)[1])
    assert "Does the model return logits? No (all)." in page.text
    assert page.text.count("A check of this curve failed") == 2


@pytest.mark.usefixtures("no_figures")
def test_only_the_curve_whose_check_failed_is_marked():
    def fail(report):
        report["checks"][-1]["passed"] = False

    page = Page(render(change=fail, norms=BOTH)[1])
    assert page.text.count("A check of this curve failed") == 1
    assert "L2 noise A check of this curve failed" in page.text


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("failed", [(), ("monotone",)])
def test_checks_that_were_not_run_are_named(failed):
    page = Page(render(failed=failed, norms=BOTH)[1])
    question = "Do the strongest attacks lower the curve only a little?"
    assert f"Not run: {question} (L∞, L2)" in page.text


@pytest.mark.usefixtures("no_figures")
def test_checks_that_were_mostly_not_run_are_no_good_sign():
    def skip(report):
        for check in report["checks"][1:]:
            check["passed"] = None

    page = Page(render(change=skip)[1])
    assert "Only 1 of 6 checks was run, and passed: nothing here says" in page.text
    assert ("class", "banner unchecked") in page.attributes
    assert ("class", "banner passed") not in page.attributes


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("failed", [(), ("large_eps",)])
def test_what_speaks_against_the_clean_answers_comes_first(failed):
    finding = {"name": "one_class", "verdict": "every <b> is DME", "advice": "Look", "figures": {}}
    page = Page(
        render(change=lambda report: report.update(clean_findings=[finding]), failed=failed)[1]
    )
    head = page.text.index("Clean accuracy first: the classifier or its data are in doubt")
    assert page.text.index("Every <b> is DME. Look.") > head
    for later in ("Half of the correctly", "Do not trust" if failed else "All 5 checks"):
        assert head < page.text.index(later)
    assert "Clean accuracy first" not in Page(render(failed=failed)[1]).text


@pytest.mark.usefixtures("no_figures")
def test_without_checks_the_page_says_that_nothing_was_checked():
    for checks in (
        [],
        [{"name": "strong", "norm": "l2", "passed": None, "verdict": "", "figures": {}}],
    ):
        page = Page(render(change=lambda report, checks=checks: report.update(checks=checks))[1])
        assert "No check was run: nothing here says" in page.text
        assert "passed:" not in page.text
        assert "Do not trust" not in page.text


def test_names_cannot_become_markup():
    evil = "<script>alert('x')</script>"

    def change(report):
        report["settings"] = {evil: evil}
        report["warning"] = evil
        report["clean_findings"] = [{"name": evil, "verdict": evil, "advice": evil, "figures": {}}]
        report["attack"]["description"] = evil
        report["checks"][0] |= {"name": evil, "verdict": evil, "figures": {evil: [evil]}}
        report["checks"][0]["passed"] = False

    example = oct_example(evil, 0, 0.01, size=(32, 32))
    object.__setattr__(example, "id", evil)
    object.__setattr__(example, "patient", evil)
    _, content = render([example], change, classes=(evil, "a & b", "$x$", '"'))
    assert evil not in content
    page = Page(content)
    assert "script" not in page.tags
    assert evil in page.text
    assert "a & b" in page.text


def test_the_same_report_gives_the_same_bytes(page_of_both):
    assert render(some_examples(), norms=BOTH)[1] == page_of_both


def test_a_page_with_a_dozen_images_is_small_enough_to_send():
    images = [oct_example("most fragile", i % 4, 0.01, (224, 224), seed=i) for i in range(6)]
    assert len(render(images, norms=BOTH)[1]) < 4e6


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("patients", "named"), [(1, "1 patient"), (9, "9 patients")])
def test_few_patients_are_said_to_be_too_few(patients, named):
    def change(report):
        without("patient_low", "patient_high")(report)
        report["patients"] = patients

    said = f"There are only {named}: too few for an interval over patients"
    quote = "the interval over patients is the one to quote"
    for n, narrow in ((128, True), (patients, False)):
        text = Page(render(change=change, norms=BOTH, n=n)[1]).text
        assert text.count(said) == 2 + 1  # below each curve, and where intervals are explained
        assert ("too narrow where one patient gave several" in text) == narrow
        assert quote not in text
    enough, unknown = (Page(render(change=c)[1]).text for c in (None, without("patient_low")))
    assert quote in enough
    assert quote not in unknown
    assert "too few" not in enough + unknown


@pytest.mark.usefixtures("no_figures")
def test_the_white_noise_is_described_in_each_norm():
    linf, l2 = (Page(render(norms=(norm,))[1]).text for norm in BOTH)
    for text, gaussian in (
        (linf, "with the level as its standard deviation"),
        (l2, "of about the level's length"),
    ):
        assert f"drawn from the ball of the level's radius. Gaussian: {gaussian}." in text


@pytest.mark.usefixtures("no_figures")
def test_gradients_that_were_not_looked_at_are_a_dash():
    page = Page(render(change=without("zero_gradients"))[1])
    assert page.table(["norm", "forward passes"]) == [["L2", "612.4", "598.1", DASH]]


def test_class_names_that_the_font_lacks_do_not_warn():
    example = oct_example("most fragile", 0, 0.01, size=(32, 32))
    content = render([example], classes=("正常", "異常", "不明", "其他"))[1]  # warnings are errors
    assert "正常" in Page(content).text


def empty_class(report):
    for curve in report["curves"]:
        curve["per_class"][1] = [None] * len(curve["eps"])


def nobody_given(report):
    for curve in report["curves"]:
        curve["positive_predictive_value"][1] = [None] * len(curve["eps"])


def with_nan(report):
    for curve in report["curves"]:
        curve["per_class"][1] = [math.nan] * len(curve["eps"])


def without(*names):
    def change(report):
        report["patients"] = None
        for curve in report["curves"]:
            curve.update(dict.fromkeys(names))

    return change


def all_wrong(report):
    for curve in report["curves"]:
        nothing = [0.0] * len(curve["eps"])
        curve.update(accuracy=nothing, low=nothing, median_margin=None)


@pytest.mark.parametrize(
    ("settings", "change", "said"),
    [
        ({"levels": 2}, None, "Half of the correctly classified samples"),
        ({"classes": ("no", "yes"), "norms": BOTH}, None, "2 classes (no 76, yes 52)"),
        ({"classes": [f"c{i}" for i in range(20)]}, None, "20 classes, under the worst"),
        ({"classes": ("no", "yes"), "n": 1}, None, "1 sample of 41 patients"),
        ({"classes": ("no", "yes"), "n": 1}, all_wrong, "there is no robustness to measure"),
        ({}, all_wrong, "no sample is correct without noise"),
        ({}, empty_class, "DME 26" + 7 * f" {DASH}"),
        ({}, nobody_given, "DME 26" + 7 * f" {DASH}"),
        ({}, with_nan, "DME 26" + 7 * f" {DASH}"),
        ({}, without("median_margin"), "more than half of the correct ones are robust"),
        ({}, without("white_noise"), "White noise was not measured."),
        ({}, without("auroc"), "128 samples, patients not recorded for every sample"),
        ({}, without("patient_low", "patient_high"), "patients not recorded for every sample"),
        ({"bounds": None}, None, "bounds none"),
    ],
)
def test_a_page_is_made_of_every_report(settings, change, said):
    _, content = render(change=change, **settings)
    page = Page(content)
    assert said in page.text
    assert "No samples were kept to be shown." in page.text
    assert not re.search(r"\b(nan|None|inf)\b", page.text)


@pytest.mark.usefixtures("no_figures")
def test_what_was_not_measured_has_no_column():
    change = without("auroc", "patient_low", "patient_high")
    page = Page(render(change=change)[1])
    (header,) = [rows[0] for rows in page.tables if rows[0][0] == "noise level"]
    assert header == ["noise level", "accuracy", "95 % over samples", "balanced accuracy"]
    assert "macro AUROC" not in page.text
    assert "AUROC has an attack of its own" not in page.text


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    "example",
    [
        ecg_example("most fragile", 0, 0.02),
        ecg_example("most fragile", 1, math.inf, channels=3),
        volume_example("most fragile", 0, 0.02),
        attacked(torch.rand(3, 24, 20), "most fragile", 0, 0.02, 4, seed=0),
    ],
    ids=["signal", "leads", "volume", "color"],
)
def test_samples_of_every_kind_are_shown(example):
    page = Page(render([example], classes=("A", "B", "C", "D", "E"))[1])
    assert page.text.count("Most fragile") == 1
    assert page.tags.count("img") == 4 + 1


CURVE = {
    "norm": "linf",
    "eps": [0.0, 0.005, 0.01, 0.03],
    "accuracy": [0.93, 0.7, 0.44, 0.02],
    "low": [0.88, 0.6, 0.36, 0.0],
    "high": [0.96, 0.8, 0.53, 0.05],
    "median_margin": 0.0124,
}


def test_the_answer_says_where_half_are_misclassified_and_what_is_left_there():
    assert answer(CURVE) == (
        "Half of the correctly classified samples are misclassified at a noise of 0.0124 (L∞, in "
        "units of the input); at 0.01 accuracy falls from 0.93 to 0.44 (95 % 0.36 to 0.53)."
    )


def test_where_patients_are_known_the_head_has_their_intervals():
    """The one over samples is too narrow where a patient gave several."""
    by_patient = {"patient_low": [0.8, 0.5, 0.29, 0.0], "patient_high": [0.98, 0.8, 0.6, 0.1]}
    assert "0.93 to 0.44 (95 % over patients 0.29 to 0.60)." in answer(CURVE | by_patient)
    report, content = render()
    (curve,) = report["curves"]
    text = Page(content).text
    said = re.findall(
        r"95 % over (\w+) ([\d.]+) to ([\d.]+)", text[text.index("Accuracy at") - 99 :]
    )
    ends = [(curve["patient_low"][i], curve["patient_high"][i]) for i in (0, -1)]
    ends.append((curve["auc_low"], curve["auc_high"]))
    assert said == [("patients", f"{low:.3f}", f"{high:.3f}") for low, high in ends]
    text = Page(render(change=without("patient_low", "patient_high"))[1]).text
    said = re.findall(r"95 % over (\w+) ([\d.]+) to", text)
    assert said[:2] == [("samples", f"{curve['low'][i]:.3f}") for i in (0, -1)]
    assert [over for over, _ in said] == ["samples"] * 3


def test_the_answer_of_a_classifier_that_mostly_stands():
    standing = CURVE | {"norm": "l2", "accuracy": [0.9] * 4, "median_margin": None}
    assert answer(standing) == (
        "More than half of the correctly classified samples are robust at the largest noise tried, 0.03 "
        "(L2, in units of the input); at 0.03 accuracy stays at 0.90 (95 % 0.00 to 0.05)."
    )


def test_an_accuracy_that_falls_by_less_than_is_shown_does_not_fall_in_words():
    curve = CURVE | {"accuracy": [0.924, 0.921, 0.918, 0.915]}
    assert "at 0.01 accuracy stays at 0.92 (95 %" in answer(curve)


@pytest.mark.parametrize("cut", ["margins", "probabilities", "norm"])
def test_margins_that_do_not_fit_the_report_are_refused(cut):
    report, margins, labels, probabilities = synthetic_report(norms=("l2",))
    if cut == "margins":
        margins["l2"] = margins["l2"][:-1]
    elif cut == "probabilities":
        probabilities = probabilities[:-1]
    else:
        margins = {"linf": margins["l2"]}
    with pytest.raises(ValueError, match=r"expected margins of norm 'l2'.*pass one value a sample"):
        html_report(
            report, margins=margins, labels=labels, probabilities=probabilities, examples={}
        )

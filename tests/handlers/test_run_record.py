"""What a run has written of itself is read as it was, or not at all."""

import json

import pytest

from monai_ima.handlers.run_record import RunRecord, Section, differences, read_record


def record():
    section = Section(["a", "b"], ["00", "01"], ["p", "q"], "ab")
    return RunRecord(
        {"seed": 0, "fractions": [0.7, 0.3]},
        {"network_def": {"_target_": "net", "act": "relu"}},
        ["x", "y"],
        {"training": section, "validation": section, "test": Section(["c"], ["02"], ["r"], "c")},
        {"torch": "2"},
    )


def test_it_is_read_as_it_was_written(tmp_path):
    record().write(tmp_path)
    assert read_record(tmp_path) == record()
    assert read_record(tmp_path / "nowhere") is None


def test_a_run_is_split_by_patient_if_none_is_on_two_sides():
    assert record().is_split_by_patient
    for patients in (["p"], []):
        other = record()
        other.sections["test"] = Section(["c"], ["02"], patients, "c")
        assert not other.is_split_by_patient


BAD = {
    "empty": (lambda text: "", "a damaged file: Expecting value"),
    "cut short": (lambda text: text[:200], "a damaged file: "),
    "a list": (lambda text: "[]", "a file of another kind"),
    "another": (lambda text: '{"curves": []}', "a file of another kind"),
    "newer": (
        lambda text: json.dumps(json.loads(text) | {"format": 2}),
        "one of format 2, where monai_ima ",
    ),
    "changed": (lambda text: text.replace('"relu"', '"tanh"'), "a file that was changed after"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_record_is_named_with_the_way_out(tmp_path, case):
    change, message = BAD[case]
    record().write(tmp_path)
    path = tmp_path / "run.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=r"of what they were trained on$") as error:
        read_record(tmp_path)
    assert f"expected {path} to be what a run has written of itself, got {message}" in str(
        error.value
    )


def test_differences_name_the_place_and_both_values():
    old = {"act": "relu", "size": [1, 2], "deep": {"a": (1, 2), "gone": 0}, "long": [1]}
    new = {"act": "tanh", "size": (1, 3), "deep": {"a": [1, 2], "new": 5}, "long": [1, 2]}
    assert list(differences(old, new)) == [
        ("act", "relu", "tanh"),
        ("size#1", 2, 3),
        ("deep#new", None, 5),
        ("deep#gone", 0, None),
        ("long", [1], [1, 2]),
    ]
    assert list(differences(old, old)) == []

"""Processes that have copies of one data set go on, those that have other samples are rejected."""

import pytest

from monai_ima.data import same_samples
from monai_ima.data.content import at_a_glance
from monai_ima.data.same_samples import check_same_samples
from monai_ima.handlers import RobustnessEvaluation


def section(folder, content=b"abc", label=0):
    folder.mkdir()
    (folder / "1.png").write_bytes(content)
    return [{"image": str(folder / "1.png"), "id": "1.png", "label": label}]


@pytest.fixture
def another_has(monkeypatch):
    """Have a second process with these samples."""

    def have(samples):
        monkeypatch.setattr(same_samples, "processes", lambda: 2)
        monkeypatch.setattr(
            same_samples,
            "from_all",
            lambda mine: [mine, dict.fromkeys(mine, at_a_glance(samples))],
        )

    return have


def test_a_copy_in_another_folder_is_the_same(tmp_path, another_has):
    another_has(section(tmp_path / "b"))
    check_same_samples({"training": section(tmp_path / "a")})


@pytest.mark.parametrize("other", [{"content": b"abcd"}, {"content": b"xyz"}, {"label": 1}])
def test_another_file_or_label_is_rejected_with_the_process_and_the_section(
    tmp_path, another_has, other
):
    another_has(section(tmp_path / "b", **other))
    with pytest.raises(
        ValueError, match=r"in process 1 other ones of test \(1 samples\).*one copy"
    ):
        check_same_samples({"test": section(tmp_path / "a")})


def test_few_files_are_read_of_many_samples(tmp_path, monkeypatch):
    (sample,) = section(tmp_path / "a")
    read = []
    whole = type(tmp_path).read_bytes
    monkeypatch.setattr(type(tmp_path), "read_bytes", lambda path: read.append(path) or whole(path))
    assert at_a_glance([sample] * 1000)[0] == 1000
    assert len(read) == 16


def test_an_evaluation_rejects_them_before_anything_is_written(tmp_path, another_has):
    another_has(section(tmp_path / "b", label=1))
    evaluation = RobustnessEvaluation(
        noise_levels={"linf": [0.1]},
        samples=section(tmp_path / "a"),
        class_names=["A", "B"],
        output_dir=tmp_path / "evaluation",
    )
    with pytest.raises(ValueError, match="other ones of the evaluation"):
        evaluation.started(None)
    assert not (tmp_path / "evaluation").exists()

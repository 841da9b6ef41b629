from __future__ import annotations

from pathlib import Path

import pytest

from logbert_engine.data.templates import find_templates
from logbert_engine.protocol.errors import DataError

TEXT = 'event_id,template\n1,"<*>Adding, an existing block<*>"\n007,seven\nE9,nine\n'
FOUND = {"1": "<*>Adding, an existing block<*>", "7": "seven", "E9": "nine"}


@pytest.mark.parametrize("place", ["data/train", "data"])
def test_templates_are_found_beside_the_files_and_in_the_directory_above(tmp_path: Path, place: str) -> None:
    train = tmp_path / "data" / "train"
    train.mkdir(parents=True)
    (tmp_path / place / "vocabulary.csv").write_text(TEXT)
    assert find_templates(train, None) == FOUND
    assert find_templates(train / "preprocessed_logs_2025-02-24.json", None) == FOUND


def test_the_nearest_file_counts_and_a_given_one_above_all(tmp_path: Path) -> None:
    train = tmp_path / "train"
    train.mkdir()
    (tmp_path / "vocabulary.csv").write_text(TEXT)
    (train / "vocabulary.csv").write_text("event_id,template\n1,near\n")
    assert find_templates(train, None) == {"1": "near"}
    assert find_templates(train, str(tmp_path / "vocabulary.csv")) == FOUND


def test_without_a_file_there_are_no_templates(tmp_path: Path) -> None:
    assert find_templates(tmp_path, None) == {}


def test_the_columns_of_loghub_are_known(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufeffEventId,Occurrences,EventTemplate\nE1,4,one <*>\n", encoding="utf-8")
    assert find_templates(tmp_path, str(path)) == {"E1": "one <*>"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "needs the columns event_id and template"),
        (b"token,count\na,1\n", "needs the columns event_id and template"),
        (b"event_id,template\n1\n", ":2: 1 columns where 2 are named"),
        (b"event_id,template\n1,\xff\n", "not a CSV file in UTF-8"),
    ],
)
def test_a_file_of_another_shape_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "vocabulary.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        find_templates(tmp_path, None)
    assert "vocabulary.csv" in str(caught.value)


def test_a_given_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file of templates .*gone\.csv"):
        find_templates(tmp_path, str(tmp_path / "gone.csv"))


@pytest.mark.shared
def test_the_templates_of_hdfs_are_found_from_each_pool(shared_data: Path) -> None:
    templates = find_templates(shared_data / "hdfs" / "train", None)
    assert templates["2"] == "<*>Verification succeeded for<*>"

"""A file of answers is continued by what made it, and by nothing else."""

from pathlib import Path

import pytest

from groundling.runtime.answer_file import AnswerFile


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"image": "a.png", "expression": "b", "box": [1, 2, 3, 4]}\n')
    with pytest.raises(ValueError, match="choose another file"):
        AnswerFile(tmp_path / "mine.jsonl", {"model": "x"})
    assert (tmp_path / "mine.jsonl").read_text().startswith('{"image"')
    AnswerFile(tmp_path / "new.jsonl", {"model": "x"}).close()
    (tmp_path / "new.jsonl").write_text("[]\n")
    with pytest.raises(ValueError, match=r"new.jsonl:1: not an answer of groundling"):
        AnswerFile(tmp_path / "new.jsonl", {"model": "x"})

"""A small model in a folder, data beside it, and the command line, called in this process."""

from pathlib import Path
from typing import NamedTuple

import pytest
import tiny
from scrambled import scrambled

from groundling import checkpoint
from groundling.cli import main
from groundling.data import jsonl
from groundling.models.answers import STREET, AnswersConfig
from groundling.models.lads import Lads, LadsConfig
from groundling.models.mdetr import Mdetr, MdetrConfig
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.roberta import RobertaTextConfig
from groundling.words.wordpiece import Tokenizer

WORDS = ("red square", "the blue one on the left", "green square on the right", "left")


def model_folder(folder: Path, config: LadsConfig = tiny.MODEL) -> Path:
    """A checkpoint with random weights, about half of its gates open."""
    tokenizer = Tokenizer.train(WORDS, config.text.vocabulary, config.text.tokens)
    return checkpoint.save(folder, scrambled(Lads(config)), tokenizer, training={"run": "none", "step": 0})


def mdetr_folder(folder: Path, answers: AnswersConfig | None = STREET, masks: bool = True) -> Path:
    """A checkpoint of an MDETR with random weights that grounds; by default, it answers and segments too."""
    text = RobertaTextConfig(vocabulary=300, layers=1, dim=16, heads=2, ffn=32, tokens=96, positions=98)
    config = MdetrConfig(
        image_size=64,
        text=text,
        blocks=(1, 1, 1),
        width=4,
        expansion=2,
        stem_width=8,
        dim=16,
        heads=2,
        ffn=24,
        layers=1,
        decoder_layers=1,
        queries=5,
        contrastive=0,
        answers=answers,
        masks=masks,
    )
    tokenizer = ByteTokenizer.train(WORDS, text.vocabulary, text.tokens)
    return checkpoint.save(folder, scrambled(Mdetr(config)), tokenizer)


def data_folder(folder: Path, images: int = 4) -> Path:
    """A JSON Lines dataset of squares, `val` and `test`, four expressions an image."""
    samples = tiny.drawn(folder / "images", images).samples
    jsonl.write(folder / "val.jsonl", samples)
    jsonl.write(folder / "test.jsonl", samples[: len(samples) // 2])
    return folder


class Ran(NamedTuple):
    """What a command line left behind."""

    code: int
    out: str
    err: str

    def complaint(self) -> str:
        """Its only line on stderr; nothing on stdout, and the exit code of what cannot be done."""
        assert (self.code, self.out) == (2, ""), self
        return self.only_line()

    def only_line(self) -> str:
        """Its only line on stderr, in our form."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("groundling: ")
        return lines[0]


class Shell:
    """Calls the command line as a process would, without the cost of one."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: object) -> Ran:
        self.capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ran(code, *self.capsys.readouterr())

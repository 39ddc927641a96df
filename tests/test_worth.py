"""Accuracy beside milliseconds: every candidate answers the same requests, and the plot is written."""

from pathlib import Path

import tiny
from PIL import Image
from scrambled import scrambled
from small import WORDS
from worth import Candidate, drawn, measured

from groundling.ask.grounder import Grounder
from groundling.data.caption import CaptionSet, referring
from groundling.evaluate import answers
from groundling.models import build
from groundling.words.wordpiece import Tokenizer


def test_each_candidate_has_its_accuracy_and_its_times(tmp_path: Path) -> None:
    tokenizer, dataset = Tokenizer.train(WORDS, 120, 12), tiny.drawn(tmp_path, images=6)
    captions = CaptionSet("drawn", "val", tuple(map(referring, dataset.samples)))
    adaptive = scrambled(build(tiny.MODEL))
    static = scrambled(build(tiny.MODEL.model_copy(update={"gating": None})))
    candidates = [
        Candidate("words, chosen", Grounder(adaptive, tokenizer), None),
        Candidate("words, budget 0.8", Grounder(adaptive, tokenizer), 0.8),
        Candidate("static", Grounder(static, tokenizer), None),
    ]
    found = measured(candidates, captions, 4)
    assert [each.name for each in found] == [each.name for each in candidates]
    assert found[2].macs == 1
    assert found[1].macs <= min(0.8, found[0].macs) + 1e-6
    assert all(each.first > 0 < each.again for each in found)
    right = [outcome.iou >= 0.5 for outcome in answers(adaptive, tokenizer, dataset.samples)]
    assert found[0].recall == sum(right) / len(right)
    drawn(found, tmp_path / "worth.png")
    assert Image.open(tmp_path / "worth.png").size[0] > 500

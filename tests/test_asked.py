"""What one asks an MDETR through a Grounder and on the command line, and the results one gets."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scrambled import scrambled
from small import Shell, model_folder
from test_asking import ASKED, CAPTION, PHOTO, TEXT, WORDS, model, trained
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.testing import assert_close

from groundling import checkpoint
from groundling.ask.asking import answer, detect_names, ground_phrases, segment
from groundling.ask.grounder import Grounder, UnknownWordWarning, load_grounder
from groundling.layers.fused import Linear
from groundling.layers.resnet import FrozenBatchNorm2d
from groundling.models.mdetr import Mdetr
from groundling.pictures.masks import Rle, read_rle
from groundling.results import Answer, CaptionGrounding, Cost, Detection, PhraseObjects, Segmentation
from groundling.words.byte_pairs import ByteTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> ByteTokenizer:
    return trained()


def test_the_object_a_user_holds_asks_the_same(tokenizer: ByteTokenizer) -> None:
    mdetr = model()
    grounder = Grounder(mdetr, tokenizer)
    phrases = grounder.ground_phrases(PHOTO, CAPTION, spans=[(2, 9)], threshold=0.0)
    direct = ground_phrases(mdetr, tokenizer, PHOTO, CAPTION, spans=[(2, 9)], threshold=0.0)
    assert phrases.phrases == direct.phrases
    assert phrases.detections().objects == direct.phrases[0].objects
    names = ["red car", "dogs"]
    found = grounder.detect(PHOTO, names, threshold=0.0)
    assert found.objects == detect_names(mdetr, tokenizer, PHOTO, names, threshold=0.0).objects
    assert grounder.answer(PHOTO, CAPTION).answer == answer(mdetr, tokenizer, PHOTO, CAPTION).answer
    said = grounder.segment(PHOTO, CAPTION, threshold=0.1).mask
    assert said == segment(mdetr, tokenizer, PHOTO, CAPTION, threshold=0.1).mask


def test_words_that_the_model_was_never_taught_are_said(tokenizer: ByteTokenizer) -> None:
    """Only `ground` did so."""
    grounder = Grounder(model(), tokenizer)
    for ask in (grounder.ground_phrases, grounder.answer, grounder.segment):
        with pytest.warns(UnknownWordWarning, match="never taught 'zebra'"):
            ask(PHOTO, "a red zebra")
    with pytest.warns(UnknownWordWarning, match="never taught 'zebra'"):
        grounder.detect(PHOTO, ["red car", "zebra"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grounder.answer(PHOTO, CAPTION)


def test_spans_may_be_numpys(tokenizer: ByteTokenizer) -> None:
    begin, end = np.array([2, 9])
    found = Grounder(model(), tokenizer).ground_phrases(PHOTO, CAPTION, spans=[(begin, end)], threshold=0.0)
    assert json.loads(json.dumps(found.as_dict()))["phrases"][0]["span"] == [2, 9]


def test_a_request_takes_the_fast_paths(tokenizer: ByteTokenizer) -> None:
    """Requests of an MDETR ran the model as it was trained: norms not folded, no linear map packed."""
    mdetr = model()
    grounder, ran = Grounder(mdetr, tokenizer), set[nn.Module]()
    watch = register_module_forward_hook(lambda module, inputs, output: ran.add(module))
    with watch:
        grounder.ground_phrases(PHOTO, CAPTION, spans=[(2, 9)])
    assert not [each for each in ran if isinstance(each, FrozenBatchNorm2d)]
    linear = [each for each in ran if isinstance(each, nn.Linear)]
    assert len(linear) > 6 * TEXT.layers
    assert all(isinstance(each, Linear) and each.packed for each in linear)
    found, plain = (
        ask(PHOTO, CAPTION, threshold=0.0) for ask in (grounder.answer, partial(answer, mdetr, tokenizer))
    )
    assert found.confidence == pytest.approx(plain.confidence, rel=1e-4)
    assert_close(
        *(torch.tensor([each.box for each in one.evidence]) for one in (found, plain)), rtol=1e-3, atol=1e-2
    )


def test_a_request_leaves_the_model_in_its_mode(tokenizer: ByteTokenizer) -> None:
    """Each request put the model that all share into evaluation mode, in the middle of its training too."""
    mdetr = model()
    grounder = Grounder(mdetr, tokenizer)
    before = grounder.ground_phrases(PHOTO, CAPTION, spans=[(2, 9)], threshold=0.0)
    mdetr.train()
    after = grounder.ground_phrases(PHOTO, CAPTION, spans=[(2, 9)], threshold=0.0)
    assert mdetr.training
    assert mdetr.net.training
    assert after.phrases == before.phrases
    with pytest.raises(ValueError, match=r"a model in training mode answers at random; call model\.eval"):
        ground_phrases(mdetr, tokenizer, PHOTO, CAPTION, spans=[(2, 9)])


def test_a_model_for_one_object_says_whose_phrases_are(tmp_path: Path) -> None:
    grounder = load_grounder(model_folder(tmp_path / "lads"))
    tasks = {
        grounder.ground_phrases: "find all objects of a text",
        grounder.answer: "answer questions",
        grounder.segment: "segment",
    }
    for ask, task in tasks.items():
        with pytest.raises(ValueError, match=rf"\(lads\) cannot {task}; .* mdetr_street"):
            ask(PHOTO, CAPTION)
    with pytest.raises(ValueError, match=r"\(lads\) cannot find all objects of a text; .* mdetr_street"):
        grounder.detect(PHOTO, ["dog"])
    with pytest.raises(ValueError, match="this model finds objects by their names; give names"):
        Grounder(model(), ByteTokenizer.train([CAPTION], 300, 24)).detect(PHOTO)


def test_the_command_line(
    tokenizer: ByteTokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Threshold 0 shows what a model with random weights found."""
    shell, picture, out = Shell(capsys), tmp_path / "photo.png", tmp_path / "out.png"
    PHOTO.save(picture)
    folder = checkpoint.save(tmp_path / "mdetr", model(), tokenizer)
    all_of = ("--model", folder, "--threshold", 0)
    told = shell("phrases", picture, CAPTION, *all_of, "--json", "--out", out)
    found = json.loads(told.out)
    assert [phrase["phrase"] for phrase in found["phrases"]] == ["A red car", "two red dogs"]
    assert Image.open(out).width == 8 * PHOTO.width
    assert Image.open(out).height > 8 * PHOTO.height  # the caption is below the picture
    assert "phrases by rules" in shell("phrases", picture, CAPTION, *all_of).out
    assert json.loads(shell("answer", picture, CAPTION, *all_of, "--json").out)["kind"] in WORDS
    assert "read as a question about " in shell("answer", picture, CAPTION, *all_of, "--out", out).out
    assert Image.open(out).height > 8 * PHOTO.height
    found = json.loads(shell("segment", picture, CAPTION, *all_of, "--json", "--out", out).out)
    assert int((np.asarray(Image.open(out)) > 0).sum()) == read_rle(found["mask"]).area
    over = tmp_path / "over.jpg"
    assert "of the picture" in shell("segment", picture, CAPTION, *all_of, "--overlay", over).out
    assert Image.open(over).width == 8 * PHOTO.width
    same = shell("segment", picture, CAPTION, *all_of, "--out", out, "--overlay", out)
    assert "are two pictures" in same.complaint()
    out.unlink()
    half = shell("segment", picture, CAPTION, *all_of, "--out", out, "--overlay", tmp_path / "mdetr.png")
    assert half.code == 0
    out.unlink()
    half = shell("segment", picture, CAPTION, *all_of, "--out", out, "--overlay", picture / "over.png")
    assert "photo.png" in half.complaint()
    assert not out.exists()
    assert (
        "a mask is saved as a PNG"
        in shell("segment", picture, CAPTION, *all_of, "--out", "m.jpg").complaint()
    )
    sure = checkpoint.save(tmp_path / "sure", scrambled(Mdetr(ASKED), 6), tokenizer)
    told = shell("detect", picture, "red car", "dogs", "--model", sure, "--threshold", 0, "--json").out
    assert {each["label"] for each in json.loads(told)["objects"]} == {"red car", "dogs"}
    assert "no noun phrase was found in 'it is'" in shell("phrases", picture, "it is", *all_of).complaint()
    wrong = shell("detect", picture, *all_of).complaint()  # it said that `ground` runs it
    assert "this model finds objects by their names; give names" in wrong


# ------------------------------------------------------------------------------------------------ results

COMMON = ("a dog", Cost({"all": 4}, 4), 90, 40, 1.0, "")
IN = Detection("dog", (0, 0, 9, 9), 0.5)
OUT = Detection("dog", (0, 0, 91, 9), 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: CaptionGrounding(*COMMON, (PhraseObjects("dog", (2, 5), (OUT,)),), "rules"),
            "lies outside its image",
        ),
        (
            lambda: CaptionGrounding(*COMMON, (PhraseObjects("dog", (1, 4), (IN,)),), "rules"),
            r"characters \(1, 4\) of .* are not 'dog'",
        ),
        (lambda: CaptionGrounding(*COMMON, (PhraseObjects("dog", (2, 9), (IN,)),), "rules"), "are not 'dog'"),
        (
            lambda: CaptionGrounding(
                *COMMON, (PhraseObjects("dog", (2, 5), (IN, replace(IN, score=0.6))),), "rules"
            ),
            "the highest first",
        ),
        (lambda: Answer(*COMMON, "yes", None, 1.1, ()), "confidence must be a number from 0 to 1, given 1.1"),
        (lambda: Answer(*COMMON, "yes", None, 0.5, (OUT,)), "lies outside its image"),
        (
            lambda: Segmentation(*COMMON, mask=Rle(2, 3, (6,)), objects=()),
            "the mask has 2×3 pixels, height first, and the image 40×90",
        ),
    ],
)
def test_results_are_checked(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

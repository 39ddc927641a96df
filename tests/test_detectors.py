"""Detectors have their published sizes, read what they should, and answer with boxes of the picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from detectors import DETECTORS, Detector, Size, grounding_dino_text, omdet_turbo_text, owlv2_text
from PIL import Image
from torch import Tensor, nn

WORDS = "red square on the left"
SMALL = {
    "grounding_dino_tiny": Size(96, 128, 8),
    "owlv2_base": Size(64, 64, 8),
    "omdet_turbo_tiny": Size(96, 96, 8),
}


def picture(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def small(name: str) -> Detector:
    return replace(DETECTORS[name], size=SMALL[name])


# Millions of parameters: Grounding DINO's paper, table 2; the published OWLv2 and OmDet-Turbo checkpoints.
@pytest.mark.parametrize(
    ("name", "height", "width", "millions"),
    [
        ("grounding_dino_tiny", 800, 1066, 172),
        ("owlv2_base", 960, 960, 155),
        ("omdet_turbo_tiny", 640, 640, 115),
    ],
)
def test_published_sizes(name: str, height: int, width: int, millions: int) -> None:
    detector = DETECTORS[name]
    assert (detector.size.height, detector.size.width) == (height, width)
    with torch.device("meta"):
        network = detector.build(detector.size)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6) == millions


@pytest.mark.parametrize("name", SMALL)
def test_attention_is_fused_where_it_can_be(name: str) -> None:
    with torch.device("meta"):
        network = small(name).build(SMALL[name])
    able = [part for part in network.modules() if getattr(part, "_supports_sdpa", False)]
    assert able
    assert all(part.config._attn_implementation == "sdpa" for part in able)


@pytest.mark.parametrize("name", SMALL)
def test_boxes_lie_in_their_picture(name: str) -> None:
    detector = small(name)
    network = detector.build(detector.size).eval()
    for width, height in ((60, 20), (20, 60), (200, 150)):
        x1, y1, x2, y2 = detector.find(network, picture(width, height), WORDS)
        assert 0 <= x1 <= x2 <= width  # not less: a random box may lie in the padding
        assert 0 <= y1 <= y2 <= height


class Known(nn.Module):
    """A network whose second query is the surest, about its second word."""

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> dict[str, Tensor]:
        assert pixel_values.shape == (1, 3, 40, 40)
        logits = torch.tensor([[[1.0, 0.0], [-9.0, 2.0], [0.5, 1.5]]])
        boxes = torch.tensor([[[0.1, 0.1, 0.1, 0.1], [0.5, 0.5, 0.5, 0.25], [0.9, 0.9, 0.1, 0.1]]])
        return {"logits": logits, "pred_boxes": boxes}


@pytest.mark.parametrize(
    ("padded", "box"),
    # A square of 80 shows the picture from its 20th row on: 40±10 there is 20±10 in the picture.
    [(False, (20, 15, 60, 25)), (True, (20, 10, 60, 30))],
)
def test_the_best_box_by_hand(padded: bool, box: tuple[float, ...]) -> None:
    text = DETECTORS["grounding_dino_tiny"].text
    known = Detector(lambda _: Known(), text, ("logits", "pred_boxes"), padded, Size(40, 40))
    assert known.find(Known(), picture(80, 40), WORDS) == pytest.approx(box, abs=1e-4)


def test_tokens_between_special_ones() -> None:
    (ids,) = grounding_dino_text("red car, left")["input_ids"].tolist()
    assert (ids[0], ids[-2:], len(ids)) == (101, [1012, 102], 7)
    assert min(ids[1:5]) >= 1996
    assert [ids] == grounding_dino_text("red car, left")["input_ids"].tolist()
    assert [ids] != grounding_dino_text("red car, right")["input_ids"].tolist()

    text = owlv2_text("red car")
    assert text["input_ids"][0, [0, 3]].tolist() == [49_406, 49_407]
    assert text["attention_mask"].tolist() == [[1] * 4 + [0] * 12]
    assert text["input_ids"][0, 4:].tolist() == [0] * 12
    assert owlv2_text("car " * 40)["input_ids"][0, -1] == 49_407
    assert owlv2_text("car " * 40)["input_ids"].shape == (1, 16)

    text = omdet_turbo_text("red car")
    assert text["classes_attention_mask"].sum() == 4
    assert text["tasks_attention_mask"].sum() == 6  # Detect red car .
    assert text["tasks_input_ids"].shape == text["classes_input_ids"].shape == (1, 77)


def test_omdet_reads_the_same_words_again() -> None:
    """Its cache of words would compare a warm peer with a cold model."""
    detector = small("omdet_turbo_tiny")
    network, read = detector.build(detector.size).eval(), []
    network.language_backbone.register_forward_hook(lambda *_: read.append(1))
    with torch.inference_mode():
        for _ in range(2):
            network(pixel_values=torch.zeros(1, 3, 96, 96), **detector.text(WORDS))
    assert len(read) == 4  # class and task, twice

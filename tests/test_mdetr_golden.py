"""An imported MDETR from picture to pixels, beside numbers of the released code (../shared; skipped without).

Five pictures of different shapes, three captions. The network must see each picture by itself at the released
size, unpadded, and its boxes are shares of the picture.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import groundling
from groundling.ask.asking import rank_boxes
from groundling.ask.grounder import Grounder
from groundling.importers.mdetr import import_mdetr
from groundling.pictures.images import open_image
from groundling.pictures.placement import Resize

GOLDEN = Path(__file__).parents[2] / "shared" / "data" / "golden" / "mdetr"
pytestmark = pytest.mark.skipif(
    not (GOLDEN / "mdetr.json").is_file(), reason="numbers of the released MDETR lie in ../shared/data/golden"
)


def said() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / "mdetr.json").read_text())
    return found


def weight(salt: str, key: str, shape: list[int]) -> Tensor:
    """The rule of the golden README."""

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(zlib.crc32((salt + key).encode()))

    r = torch.randn(shape, generator=generator())
    if key.endswith("running_var"):
        return 0.75 + 0.5 * torch.rand(shape, generator=generator())
    if len(shape) < 2:
        return 1 + 0.1 * r if key.endswith("weight") else 0.1 * r
    if "query_embed" in key:
        return 3 * r
    if "embeddings" in key:
        return 0.5 * r
    gain = 1.4 if "backbone" in key else 2.5 if "bbox_embed.layers.2" in key else 1.0
    return gain * r / r[0].numel() ** 0.5


def weights(golden: Mapping[str, Any]) -> dict[str, Tensor]:
    found = {}
    for key, shape in golden["keys"].items():
        if key.endswith("position_ids"):
            found[key] = torch.arange(shape[-1]).expand(shape).clone()
        else:
            found[key] = weight(golden["salt"], key, shape)
    return found


@pytest.fixture(scope="module")
def grounder(tmp_path_factory: pytest.TempPathFactory) -> Grounder:
    golden, folder = said(), tmp_path_factory.mktemp("golden")
    model = weights(golden)
    held = {"model": {key: torch.zeros_like(value) for key, value in model.items()}}
    torch.save({**held, "model_ema": model, "args": golden["args"]}, folder / "golden.pth")
    out = import_mdetr(
        folder / "golden.pth",
        folder / "model",
        text=GOLDEN,
        resize=Resize(short_side=golden["resize"]["short"], long_side=golden["resize"]["longest"]),
    )
    loaded = groundling.load(out)
    assert isinstance(loaded, Grounder)
    return loaded


CASES = range(len(said()["cases"])) if (GOLDEN / "mdetr.json").is_file() else range(0)


@pytest.mark.parametrize("number", CASES)
def test_each_query_is_the_released_one(grounder: Grounder, number: int) -> None:
    case = said()["cases"][number]
    model, tokenizer = grounder.finder()
    seen = model.config.framing.see(open_image(GOLDEN / case["image"]))
    assert seen.pixels.shape[1:] == (case["network_height"], case["network_width"])
    given = model.config.framing.input([seen])
    assert bool(given.shown.all())
    tokens = tokenizer.encode([case["caption"]])
    assert tokens.ids[0].tolist() == case["token_ids"]
    with torch.inference_mode():
        memory = model.net.read(given.images, model.text(tokens), tokens, shown=given.shown)
        found = model.net.objects(model.net.decode(memory)[-1])
    assert_close(found.boxes_cxcywh01[0], torch.tensor(case["boxes_cxcywh01"]), atol=1e-4, rtol=0)
    assert_close(found.objectness[0], torch.tensor(case["scores"]), atol=1e-4, rtol=0)
    longest = max(case["width"], case["height"])
    pixels, expected = seen.placement.pixels(found.boxes_cxcywh01[0]), torch.tensor(case["boxes_xyxy"])
    assert_close(pixels, expected, atol=0.05 * longest / 1000, rtol=0)


def clipped(case: Mapping[str, Any]) -> Tensor:
    width, height = case["width"], case["height"]
    boxes = torch.tensor(case["boxes_xyxy"])
    return torch.minimum(boxes.clamp(min=0), torch.tensor([width, height] * 2))


def close(found: Any, expected: Tensor, case: Mapping[str, Any]) -> None:
    longest = max(case["width"], case["height"])
    assert_close(torch.tensor(found), expected, atol=0.05 * longest / 1000, rtol=0)


@pytest.mark.parametrize("number", CASES)
def test_answers_are_the_released_ones_in_pixels(grounder: Grounder, number: int) -> None:
    case = said()["cases"][number]
    picture, boxes, scores = GOLDEN / case["image"], clipped(case), torch.tensor(case["scores"])
    order = scores.argsort(descending=True)
    found = grounder.ground(picture, case["caption"])
    near = scores > scores.max() - 2e-4  # two queries that are this close may change places
    distance = (torch.tensor(found.box) - boxes[near]).abs().amax(-1)
    assert float(distance.min()) <= 0.05 * max(case["width"], case["height"]) / 1000
    assert found.score == pytest.approx(float(scores.max()), abs=1e-4)
    (ranked,) = rank_boxes(*grounder.finder(), picture, [case["caption"]])
    assert_close(torch.tensor([each.score for each in ranked]), scores[order], atol=1e-4, rtol=0)
    for each in ranked:
        distance = (torch.tensor(each.box) - boxes).abs().amax(-1)
        assert float(distance.min()) <= 0.05 * max(case["width"], case["height"]) / 1000


def test_a_batch_is_padded_and_masked(grounder: Grounder) -> None:
    """What lies beside a picture moves boxes a little, as in the released code, not by their frame."""
    cases = {case["image"]: case for case in said()["cases"]}
    requests = [(GOLDEN / image, case["caption"]) for image, case in cases.items()]
    together = grounder.ground_batch(requests)
    alone = [grounder.ground(*request) for request in requests]
    widths = [each.width for each in together]
    assert widths == [case["width"] for case in cases.values()]
    pair = grounder.ground_batch([requests[0], requests[0]])
    close(pair[0].box, torch.tensor(alone[0].box), cases[Path(alone[0].image).name])
    assert pair[0].cost == alone[0].cost
    assert together[0].cost.full > alone[0].cost.full

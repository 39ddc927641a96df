"""From picture to pixels, each system beside a second forward that begins and ends where the user does.

Pictures are not square, weights are all scrambled, and what prepares pictures here shares nothing with the
library: whichever frame a box is in, and whatever lies beside a picture, it shows in pixels of the picture.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from scrambled import scrambled
from test_detr import CONFIG as DETR_CONFIG
from test_detr import pair  # noqa: F401  (a fixture)
from test_mdetr import CONFIG as MDETR_CONFIG
from test_mdetr import Plain
from test_transvg_model import CONFIG as TRANSVG_CONFIG
from test_transvg_model import authors_forward, detr_encoder, detr_positions
from torch import Tensor
from torch.testing import assert_close

import groundling
from groundling.ask.asking import rank_boxes, segment
from groundling.ask.detector import Detector, detect_all
from groundling.ask.grounder import Grounder
from groundling.data.caption import Caption, CaptionSet, Phrase
from groundling.data.loader import Plan
from groundling.data.modulated import CaptionTrainingSet, Learned
from groundling.data.sample import Dataset, Sample
from groundling.evaluate.one_box import answers
from groundling.models.lads import Lads, LadsConfig
from groundling.models.mdetr import Mdetr, MdetrConfig
from groundling.models.objects import joined
from groundling.models.transvg import TransVG
from groundling.pictures.masks import decode
from groundling.pictures.placement import Canvas, Corner, Resize, with_area
from groundling.protocols.phrasecut import box_overlap
from groundling.protocols.ranking import by_score
from groundling.runtime.export import export
from groundling.runtime.exported import ExportedGrounder
from groundling.selection import Selection
from groundling.words.bert import TextConfig
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.tokens import Tokens
from groundling.words.wordpiece import Tokenizer

SIZES = [(90, 40), (37, 70), (120, 33)]
WORDS = "the red square on the left"
MEAN, STD = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
Prepared = tuple[Tensor, Tensor]  # (1, 3, H, W), and 1 where there is padding, (1, H, W)


def photo(width: int, height: int) -> Image.Image:
    """Blocks of colour: noise would be grey once scaled."""
    rough = np.random.default_rng(width).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.NEAREST)


# --------------------------------------------------------------------------------- pictures, prepared by hand


def scaled(picture: Image.Image, width: int, height: int) -> NDArray[Any]:
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)) / 255
    return (pixels - MEAN) / STD


def prepared(pixels: NDArray[Any], shape: tuple[int, int], left: int, top: int, beside: Any) -> Prepared:
    """Normalised pixels (h, w, 3) on a canvas of this (height, width)."""
    canvas, mask = np.empty((*shape, 3)), torch.ones(1, *shape)
    canvas[:] = beside
    high, wide = pixels.shape[:2]
    canvas[top : top + high, left : left + wide] = pixels
    mask[:, top : top + high, left : left + wide] = 0
    return torch.from_numpy(canvas).permute(2, 0, 1)[None].float(), mask


def on_canvas(picture: Image.Image, size: int, beside: Any) -> tuple[Prepared, Tensor]:
    """The long side fills a square, the picture is centred; and [left, top, pixels across a pixel, down]."""
    scale = size / max(picture.size)
    wide, high = (max(1, round(side * scale)) for side in picture.size)
    left, top = (size - wide) // 2, (size - high) // 2
    return prepared(scaled(picture, wide, high), (size, size), left, top, beside), torch.tensor(
        [left, top, wide / picture.width, high / picture.height]
    )


def released_sides(picture: Image.Image, short: int, longest: int) -> tuple[int, int]:
    """DETR's get_size_with_aspect_ratio, width first."""
    w, h = picture.size
    if max(w, h) / min(w, h) * short > longest:
        short = round(longest * min(w, h) / max(w, h))
    return (short, int(short * h / w)) if w < h else (int(short * w / h), short)


def alone(picture: Image.Image, short: int, longest: int) -> Prepared:
    wide, high = released_sides(picture, short, longest)
    return prepared(scaled(picture, wide, high), (high, wide), 0, 0, 0)


def corners(boxes: Tensor) -> Tensor:
    cx, cy, w, h = boxes.unbind(-1)
    return torch.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), -1)


def cut(boxes: Tensor, picture: Image.Image) -> Tensor:
    found = torch.minimum(boxes.clamp(min=0), torch.tensor([*picture.size, *picture.size]))
    return with_area(found, *picture.size)


def from_canvas(boxes: Tensor, size: int, place: Tensor, picture: Image.Image) -> Tensor:
    return cut((corners(boxes) * size - place[:2].repeat(2)) / place[2:].repeat(2), picture)


def from_image(boxes: Tensor, picture: Image.Image) -> Tensor:
    return cut(corners(boxes) * torch.tensor([*picture.size, *picture.size]), picture)


def close(found: Any, expected: Tensor, picture: Image.Image, share: float = 2e-4) -> None:
    assert_close(torch.as_tensor(found), expected, atol=share * max(picture.size), rtol=0)


# ------------------------------------------------------------------------------------------------- systems


def byte_tokenizer(config: MdetrConfig) -> ByteTokenizer:
    return ByteTokenizer.train([WORDS] * 3, config.text.vocabulary, config.text.tokens)


class Boxes(Plain):
    """Logits and boxes alone."""

    def __init__(self, net: Any) -> None:
        super().__init__(net)
        self.asked = ("query_embed", "answers.embed")[: 1 + (net.answers is not None)]

    def heads(self, hidden: list[Tensor], *_: Any) -> dict[str, Tensor]:
        found = hidden[-1][:, : self.net.config.queries]
        return {
            "logits": self.linear("class_embed", found),
            "boxes": self.mlp("bbox_embed", found).sigmoid(),
        }


def queries(mdetr: Mdetr, given: Prepared, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Boxes (Q, 4) and scores (Q,) of the first row."""
    with torch.no_grad():
        found = Boxes(mdetr.net)(*given, mdetr.text(tokens), tokens.padding)
    return found["boxes"][0], 1 - found["logits"].softmax(-1)[0, :, -1]


RELEASED = Resize(short_side=64, long_side=100)


def released(resize: Resize | None = RELEASED, **changes: Any) -> Mdetr:
    config = MDETR_CONFIG.model_copy(
        update={"resize": resize, "answers": None, "is_final": False, "masks": False, **changes}
    )
    made = scrambled(Mdetr(config), 5)
    with torch.no_grad():
        made.net.query_embed.weight *= 6  # else all queries say the same box
        made.net.bbox_embed.layers[-1].weight *= 3
        made.net.class_embed.weight *= 6
    return made


@pytest.mark.parametrize("size", SIZES)
def test_an_mdetr_sees_a_picture_by_itself_and_says_shares_of_it(size: tuple[int, int]) -> None:
    mdetr, picture = released(), photo(*size)
    words = byte_tokenizer(mdetr.config)
    boxes, scores = queries(mdetr, alone(picture, 64, 100), words.encode([WORDS]))
    expected, grounder = from_image(boxes, picture), Grounder(mdetr, words)
    assert (expected.amax(0) - expected.amin(0)).max() > 0.2  # queries differ
    found = grounder.ground(picture, WORDS)
    close(found.box, expected[scores.argmax()], picture)
    assert found.score == pytest.approx(float(scores.max()), abs=1e-4)
    (ranked,) = rank_boxes(*grounder.finder(), picture, [WORDS])
    close([each.box for each in ranked], expected[scores.argsort(descending=True)], picture)
    wide, high = released_sides(picture, 64, 100)
    assert found.cost.full == mdetr.costs(high, wide).cost(None, found_tokens(words)).full


def found_tokens(words: Any) -> int:
    return int(words.encode([WORDS]).ids.shape[1])


def test_a_batch_of_mdetrs_pictures_is_padded_at_the_right_and_at_the_bottom() -> None:
    mdetr, pictures = released(), [photo(*size) for size in SIZES]
    words = byte_tokenizer(mdetr.config)
    each = [alone(picture, 64, 100) for picture in pictures]
    shape = [max(given[1].shape[side] for given in each) for side in (1, 2)]
    padded = torch.zeros(len(each), 3, *shape)
    mask = torch.ones(len(each), *shape)
    for row, (pixels, own) in enumerate(each):
        padded[row, :, : own.shape[1], : own.shape[2]] = pixels[0]
        mask[row, : own.shape[1], : own.shape[2]] = 0
    found = Grounder(mdetr, words).ground_batch([(picture, WORDS) for picture in pictures])
    for row, picture in enumerate(pictures):
        given = padded[row : row + 1], mask[row : row + 1]
        boxes, scores = queries(mdetr, given, words.encode([WORDS]))
        close(found[row].box, from_image(boxes, picture)[scores.argmax()], picture)


@pytest.mark.parametrize("size", SIZES)
def test_an_mdetr_on_a_canvas_says_shares_of_the_canvas(size: tuple[int, int]) -> None:
    mdetr, picture = released(resize=None), photo(*size)
    words = byte_tokenizer(mdetr.config)
    colour = (np.array((124, 116, 104)) / 255 - MEAN) / STD
    given, place = on_canvas(picture, 64, colour)
    boxes, scores = queries(mdetr, given, words.encode([WORDS]))
    expected = from_canvas(boxes, 64, place, picture)[scores.argmax()]
    close(Grounder(mdetr, words).ground(picture, WORDS).box, expected, picture)


@pytest.mark.parametrize("size", SIZES)
def test_a_mask_lies_where_the_picture_does(size: tuple[int, int]) -> None:
    """At the picture's own size, from the logits of its unpadded input."""
    mdetr, picture = released(masks=True, answers=MDETR_CONFIG.answers, is_final=True), photo(*size)
    words = byte_tokenizer(mdetr.config)
    tokens, given = words.encode([WORDS]), alone(picture, 64, 100)
    with torch.no_grad():
        found = Plain(mdetr.net)(*given, mdetr.text(tokens), tokens.padding)
    scores = (1 - found["logits"].softmax(-1)[0, :, -1]) * found["final"][0].sigmoid()
    threshold = float(scores.sort().values[-3:-1].mean())
    kept = found["masks"][0][scores >= threshold][:, None]
    whole = F.interpolate(kept, size=given[1].shape[1:], mode="bilinear")
    whole = F.interpolate(whole, size=(picture.height, picture.width), mode="bilinear")
    model, tokenizer = Grounder(mdetr, words).finder()
    mask = decode(segment(model, tokenizer, picture, WORDS, threshold=threshold).mask)
    expected = (whole[:, 0] > 0).any(0).numpy()
    assert mask.shape == expected.shape
    assert (mask != expected).mean() < 0.002


def transvg() -> tuple[TransVG, Tokenizer]:
    made = scrambled(TransVG(TRANSVG_CONFIG), 3)
    with torch.no_grad():
        made.net.box_head.layers[-1].weight *= 20
    return made, Tokenizer.train([WORDS] * 3, TRANSVG_CONFIG.text.vocabulary, TRANSVG_CONFIG.text.tokens)


def transvg_boxes(model: TransVG, words: Tokenizer, given: Prepared) -> Tensor:
    tokens = words.encode([WORDS])
    with torch.no_grad():
        return authors_forward(model.net, *given, model.text(tokens), tokens)


@pytest.mark.parametrize("size", SIZES)
def test_a_transvg_is_zero_beside_a_centred_picture(size: tuple[int, int]) -> None:
    (model, words), picture = transvg(), photo(*size)
    given, place = on_canvas(picture, 64, 0)
    (expected,) = from_canvas(transvg_boxes(model, words, given), 64, place, picture)
    close(Grounder(model, words).ground(picture, WORDS).box, expected, picture)
    (together, _) = Grounder(model, words).ground_batch([(picture, WORDS), (photo(50, 50), WORDS)])
    close(together.box, expected, picture)


LADS = LadsConfig(
    image_size=64,
    text=TextConfig(vocabulary=120, layers=1, dim=16, heads=2, ffn=32, tokens=12, dropout=0.0),
    blocks=(1, 1, 1),
    width=8,
    expansion=2,
    stem="conv3",
    stem_width=8,
    norm="batch",
    dim=16,
    heads=2,
    ffn=32,
    layers=2,
    dropout=0.0,
    head="dense",
)


def lads_boxes(model: Lads, tokens: Tokens, given: Prepared) -> tuple[Tensor, Tensor]:
    """Everything on: visual tokens and words through an encoder, the best cell answers."""
    net, size = model.net, model.config.grid
    with torch.no_grad():
        visual = F.linear(
            net.backbone(given[0]).flatten(2).transpose(1, 2), net.visual_proj.weight, net.visual_proj.bias
        )
        linear, norm = net.text_proj
        words = F.linear(model.text(tokens), linear.weight, linear.bias)
        words = F.layer_norm(words, words.shape[-1:], norm.weight, norm.bias)
        nowhere = torch.zeros(1, words.shape[1], model.config.dim)
        dim = model.config.dim
        places = detr_positions(torch.zeros(1, size, size).bool(), dim)
        x = torch.cat([words, visual], 1)
        x = detr_encoder(net.encoder, x, torch.cat([nowhere, places], 1), torch.zeros(1, x.shape[1]).bool())
        out = x[0, words.shape[1] :]
        for layer in net.dense_head.layers[:-1]:
            out = F.linear(out, layer.weight, layer.bias).relu()
        out = F.linear(out, net.dense_head.layers[-1].weight, net.dense_head.layers[-1].bias)
    best = int(out[:, 0].argmax())
    row, column = divmod(best, size)
    centre = torch.tensor([(column + 0.5) / size, (row + 0.5) / size]).logit()
    prior = torch.cat([centre, torch.tensor([-1.0, -1.0])])
    return (out[best, 1:] + prior).sigmoid(), out[:, 0].softmax(0)[best]


COLOUR = (np.array((124, 116, 104)) / 255 - MEAN) / STD


@pytest.mark.parametrize("size", SIZES)
def test_a_lads_on_its_canvas(size: tuple[int, int]) -> None:
    model, picture = scrambled(Lads(LADS), 2), photo(*size)
    words = Tokenizer.train([WORDS] * 3, 120, 12)
    given, place = on_canvas(picture, 64, COLOUR)
    box, score = lads_boxes(model, words.encode([WORDS]), given)
    found = Grounder(model, words).ground(picture, WORDS, selection=Selection.all_on(model.units()))
    assert found.score == pytest.approx(float(score), abs=1e-4)
    close(found.box, from_canvas(box, 64, place, picture), picture)


@pytest.mark.parametrize("name", ["lads_street", "mdetr_street", "mdetr_adaptive"])
@pytest.mark.parametrize("size", [(200, 90), (70, 150)])
def test_a_packaged_model_on_its_canvas(name: str, size: tuple[int, int]) -> None:
    """Padded with the colour that it was trained with, and as its answers were before masks were explicit."""
    grounder, picture = groundling.load(name), photo(*size)
    assert isinstance(grounder, Grounder)
    model, tokens = grounder.model, grounder.tokenizer.encode(["the red car"])
    given, place = on_canvas(picture, 160, COLOUR)
    everything = Selection.all_on(model.units())
    found = grounder.ground(picture, "the red car", selection=everything)
    if isinstance(model, Lads):
        assert model.config.vote == 1  # the second forward knows no voting cells
        box, score = lads_boxes(model, tokens, given)
    else:
        assert isinstance(model, Mdetr)
        boxes, scores = queries(model, given, tokens)
        xyxy = corners(boxes)
        near = torchvision_free_iou(xyxy) > model.config.overlap
        sure, surest = joined(scores[None], (near | torch.eye(len(boxes), dtype=torch.bool))[None])
        best = int(sure[0].argmax())
        box, score = boxes[surest[0, best]], sure[0, best]
    assert found.score == pytest.approx(float(score), abs=1e-3)
    close(found.box, from_canvas(box, 160, place, picture), picture, share=1e-3)


def torchvision_free_iou(boxes: Tensor) -> Tensor:
    sides = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - torch.maximum(
        boxes[:, None, :2], boxes[None, :, :2]
    )
    shared = sides.clamp(min=0).prod(-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return shared / (areas[:, None] + areas[None] - shared)


@pytest.mark.parametrize("size", SIZES)
def test_a_detr_says_shares_of_the_picture(pair: Any, size: tuple[int, int]) -> None:  # noqa: F811
    """Beside transformers' network, alone and in a padded batch."""
    ours, theirs = pair
    ours.config = DETR_CONFIG.model_copy(update={"short_side": 64, "long_side": 100})
    picture, other = photo(*size), photo(60, 60)
    pixels, mask = alone(picture, 64, 100)
    with torch.no_grad():
        found = theirs(pixel_values=pixels, pixel_mask=(1 - mask).long())
    expected = from_image(found.pred_boxes[0], picture)
    scores, labels = found.logits[0].softmax(-1)[:, :-1].max(-1)
    detected = Detector(ours).detect(picture, threshold=0)
    order = scores.argsort(descending=True)
    close([each.box for each in detected], expected[order], picture)
    assert [each.label for each in detected] == [DETR_CONFIG.categories[label] for label in labels[order]]
    ((_, first), _) = detect_all(ours, [(0, picture), (1, other)], batch=2)
    own, second = alone(picture, 64, 100), alone(other, 64, 100)
    shape = [max(own[1].shape[side], second[1].shape[side]) for side in (1, 2)]
    padded, shown = torch.zeros(1, 3, *shape), torch.zeros(1, *shape)
    padded[:, :, : mask.shape[1], : mask.shape[2]] = pixels
    shown[:, : mask.shape[1], : mask.shape[2]] = 1
    with torch.no_grad():
        found = theirs(pixel_values=padded, pixel_mask=shown.long())
    close(first.boxes, from_image(found.pred_boxes[0], picture), picture)


# ----------------------------------------------------------------------------------------- files and batches


@pytest.mark.parametrize("form", ["onnx", "openvino"])
@pytest.mark.parametrize("raw", [False, True])
def test_an_exported_mdetr_takes_pictures_of_any_shape(form: Any, raw: bool, tmp_path: Path) -> None:
    """Of the shape that it was made for unpadded, of others at the upper left, masked."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip(form if form == "openvino" else "onnxscript")
    mdetr, pictures = released(), [photo(*size) for size in SIZES[:2]]
    words = byte_tokenizer(mdetr.config)
    wide, high = released_sides(pictures[0], 64, 100)
    out = tmp_path / ("one.xml" if form == "openvino" else "one.onnx")
    card = export(
        mdetr, words, out, name="m", expression=WORDS, raw=raw, form=form, sides=(high, wide)
    )  # fmt: skip
    assert (card.height, card.width, card.place, card.masked) == (high, wide, "corner", True)
    assert (card.box, card.padding) == ("xyxy, shares of the picture", None)
    opened = ExportedGrounder(out)
    (found,) = opened.ground(pictures[0])
    boxes, scores = queries(mdetr, alone(pictures[0], 64, 100), words.encode([WORDS]))
    close(found.box, from_image(boxes, pictures[0])[scores.argmax()], pictures[0])
    scale = min(wide / pictures[1].width, high / pictures[1].height)
    small = scaled(pictures[1], int(pictures[1].width * scale), high)
    boxes, scores = queries(mdetr, prepared(small, (high, wide), 0, 0, 0), words.encode([WORDS]))
    (found,) = opened.ground(pictures[1])
    close(found.box, from_image(boxes, pictures[1])[scores.argmax()], pictures[1], share=2e-3)


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_an_exported_transvg_reads_its_mask(form: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip(form if form == "openvino" else "onnxscript")
    (model, words), picture = transvg(), photo(*SIZES[0])
    out = tmp_path / ("any.xml" if form == "openvino" else "any.onnx")
    card = export(model, words, out, name="t", raw=True, form=form)
    assert (card.place, card.masked, card.box) == ("centre", True, "xyxy, pixels of the canvas")
    given, place = on_canvas(picture, 64, 0)
    (expected,) = from_canvas(transvg_boxes(model, words, given), 64, place, picture)
    (found,) = ExportedGrounder(out).ground(picture, WORDS)
    close(found.box, expected, picture)
    with pytest.raises(ValueError, match=r"sees 64 x 64 pixels, .* no other size, given 64 x 90"):
        export(model, words, tmp_path / "b.onnx", name="t", sides=(64, 90))


def test_evaluation_reads_boxes_as_answers_do(tmp_path: Path) -> None:
    """Alone, for batches of released MDETRs are padded: one picture a batch."""
    samples = []
    for number, size in enumerate(SIZES):
        photo(*size).save(tmp_path / f"{number}.png")
        samples.append(Sample(str(number), tmp_path / f"{number}.png", WORDS, (0.0, 0.0, 9.0, 9.0)))
    data = Dataset("drawn", "val", tuple(samples))
    for model, words in ((released(), byte_tokenizer(MDETR_CONFIG)), transvg()):
        outcomes = [*answers(model, words, data.samples, batch=1)]
        for outcome, size in zip(outcomes, SIZES, strict=True):
            picture = photo(*size)
            if isinstance(model, Mdetr):
                boxes, scores = queries(model, alone(picture, 64, 100), words.encode([WORDS]))
                close(outcome.box, from_image(boxes, picture)[scores.argmax()], picture)
            else:
                given, place = on_canvas(picture, 64, 0)
                (expected,) = from_canvas(transvg_boxes(model, words, given), 64, place, picture)
                close(outcome.box, expected, picture)


# ------------------------------------------------------------------------------------------------ training


def test_targets_of_an_imported_mdetr_are_shares_of_the_picture(tmp_path: Path) -> None:
    """An 80 × 40 and a 30 × 60 picture, short side 20: 40 × 20 and 20 × 40 pixels in a batch of 40 × 40."""
    Image.new("RGB", (80, 40), (255, 255, 255)).save(tmp_path / "wide.png")
    Image.new("RGB", (30, 60), (255, 255, 255)).save(tmp_path / "tall.png")
    polygon = ((0.0, 0.0, 40.0, 0.0, 40.0, 20.0, 0.0, 20.0),)
    cats = (
        Phrase(((0, 5),), ((20.0, 10.0, 60.0, 30.0),), (polygon,)),
        Phrase(((0, 5),), ((0.0, 0.0, 15.0, 60.0),)),
    )
    rows = tuple(
        Caption(name, tmp_path / f"{name}.png", "a cat", (cat,))
        for name, cat in zip(("wide", "tall"), cats, strict=True)
    )
    words = ByteTokenizer.train(["a cat"] * 3, 300, 12)
    framing, plan = Resize(short_side=20, long_side=99), Plan(0, 2, 1, mirror=False)
    data = CaptionTrainingSet(CaptionSet("d", "train", rows), words, framing, plan, Learned(13, masks=True))
    examples = sorted(data.examples(0), key=lambda example: example.image.name, reverse=True)
    batch = data.collate(examples)  # wide, then tall
    assert batch.images.shape == (2, 3, 40, 40)
    assert batch.shown.sum((1, 2)).tolist() == [40 * 20, 20 * 40]
    assert batch.shown[0, :20].all()
    assert batch.shown[1, :, :20].all()
    expected = torch.tensor([[[0.5, 0.5, 0.5, 0.5]], [[0.25, 0.5, 0.5, 1.0]]])
    assert_close(batch.targets.boxes_cxcywh01, expected)
    assert batch.targets.masks is not None
    mask = torch.zeros(40, 40, dtype=torch.bool)
    mask[:10, :20] = True
    assert torch.equal(batch.targets.masks[0, 0], mask)
    given = framing.normalise(batch.images, batch.shown)
    assert (given[0, :, 20:] == 0).all()
    assert (given[1, :, :, 20:] == 0).all()
    assert (given[0, :, :20] > 2).all()
    turned = data.collate([type(e)(e.image, e.samples, True, e.seed) for e in examples])
    assert_close(turned.targets.boxes_cxcywh01[1, 0], torch.tensor([0.75, 0.5, 0.5, 1.0]))
    assert torch.equal(turned.shown, batch.shown)


# -------------------------------------------------------------------------------------------------- strips


STRIPS = [(400, 10), (10, 400), (1000, 3), (2, 700), (5000, 1), (1, 1)]


@pytest.fixture(scope="module")
def street() -> list[Grounder]:
    found = [groundling.load(name) for name in ("lads_street", "mdetr_street", "mdetr_adaptive")]
    return [each for each in found if isinstance(each, Grounder)]


@pytest.mark.parametrize("size", STRIPS)
def test_a_box_has_an_area_in_a_strip(street: list[Grounder], size: tuple[int, int]) -> None:
    picture = photo(*size)
    mdetr = released()
    for grounder in [*street, Grounder(mdetr, byte_tokenizer(mdetr.config)), Grounder(*transvg())]:
        boxes = [grounder.ground(picture, words).box for words in ("left", "the red car", "the man")]
        boxes.append(grounder.ground_batch([(picture, "the dog"), (photo(30, 40), "dog")])[0].box)
        for x1, y1, x2, y2 in boxes:
            assert 0 <= x1 < x2 <= size[0]
            assert 0 <= y1 < y2 <= size[1]


def test_what_vanishes_is_a_pixel_and_all_else_stays() -> None:
    boxes = [[3.0, 5.0, 9.0, 5.0], [0.0, 0.0, 0.0, 7.0], [9.995, 1.0, 10.0, 2.0], [1.0, 2.0, 1.5, 3.0]]
    expected = [[3.0, 4.5, 9.0, 5.5], [0.0, 0.0, 1.0, 7.0], [9.0, 1.0, 10.0, 2.0], [1.0, 2.0, 1.5, 3.0]]
    assert_close(with_area(torch.tensor(boxes), 10, 8), torch.tensor(expected))


# ---------------------------------------------------------------------------------------------------- rules


def test_framings_say_where_a_picture_lies() -> None:
    picture = photo(90, 40)
    place = Canvas(size=64).see(picture).placement
    assert (place.left, place.top, place.wide, place.high) == (0, 18, 64, 28)
    place = Resize(short_side=20, long_side=30).see(picture).placement
    assert (place.canvas_width, place.canvas_height, place.frame) == (29, 13, "image")
    place = Corner(height=64, width=90).see(picture).placement
    assert (place.wide, place.high, place.canvas_width, place.canvas_height) == (90, 40, 90, 64)
    box = torch.tensor([[10.0, 5.0, 80.0, 31.0]])
    for framing in (Canvas(size=64), Resize(short_side=20, long_side=30), Corner(height=64, width=90)):
        place = framing.see(picture).placement
        assert_close(place.pixels(place.shares(box)), box, atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="short_side 90 is longer than long_side 30"):
        Resize(short_side=90, long_side=30)


def test_a_box_as_the_released_code_compares_it() -> None:
    """TransVG's is cut to the canvas, MDETR's not at all; an answer is cut to the picture."""
    picture, box = photo(80, 40), torch.tensor([0.1, 0.5, 0.4, 1.2])  # from -0.1 to 0.3, from -0.1 to 1.1
    place = Canvas(size=80).see(picture).placement  # rows 20 to 60 show the picture
    assert_close(place.boxes(box), torch.tensor([0.0, 0.0, 24.0, 40.0]))
    assert_close(place.boxes(box, "released"), torch.tensor([0.0, -20.0, 24.0, 60.0]))
    place = Resize(short_side=20, long_side=99).see(picture).placement
    assert_close(place.boxes(box), torch.tensor([0.0, 0.0, 24.0, 40.0]))
    assert_close(place.boxes(box, "released"), torch.tensor([-8.0, -4.0, 24.0, 44.0]))


def test_what_counts_as_in_the_released_evaluators() -> None:
    """Of equal scores the larger box first; PhraseCut's boxes on whole pixels, one smaller."""
    boxes = [[1.0, 9.0, 4.0, 10.0], [2.0, 0.0, 3.0, 1.0], [0.0, 0.0, 9.0, 9.0]]
    assert by_score(boxes, [0.5, 0.5, 0.9]).tolist() == [boxes[2], boxes[0], boxes[1]]
    assert by_score(boxes, [0.5, 0.5, 0.9], larger_first=True).tolist() == [boxes[2], boxes[1], boxes[0]]
    found, true = [[0.6, 0.2, 10.9, 10.0]], [[0.0, 0.0, 11.0, 6.0]]  # drawn: 9 x 9, 10 x 5
    exact = box_overlap([found], [true]).all.mean_iou
    assert exact == pytest.approx(10.3 * 5.8 / (10.3 * 9.8 + 66 - 10.3 * 5.8))
    drawn = box_overlap([found], [true], drawn=True)
    assert (drawn.of, drawn.all.mean_iou) == ("drawn boxes", pytest.approx(9 * 5 / (9 * 9 + 10 * 5 - 9 * 5)))

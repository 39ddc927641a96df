"""LADS for photographs: the subnet is the masked supernet, and shared pictures are pictures one by one."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import LATE, lads, late, random_selection, random_tokens
from PIL import Image
from torch import Tensor
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from groundling.ask.grounder import Grounder
from groundling.data.phrases import PhraseBatch
from groundling.dynamic.extract import extract
from groundling.layers.transformer import sine_positions
from groundling.losses.phrases import leaders, seen
from groundling.models import PRESETS, build, parse_config
from groundling.models.late import LateLads
from groundling.pictures.boxes import cxcywh_to_xyxy
from groundling.runtime import batched
from groundling.runtime.batched import Rows
from groundling.selection import Selection
from groundling.words.tokens import Tokens
from groundling.words.wordpiece import Tokenizer


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
@pytest.mark.parametrize("seed", range(6))
def test_a_subnet_is_the_masked_supernet(seed: int) -> None:
    model, tokens = late(seed), random_tokens(1, 5, 60, seed)
    selection = random_selection(model.units(), torch.Generator().manual_seed(seed))
    text, image = model.text(tokens), pictures(1, seed)
    masked = model.net(image, text, tokens, selection.gates())
    dense = extract(model, selection)(image, text, tokens)
    assert_close(dense.boxes_cxcywh01, masked.boxes_cxcywh01, rtol=1e-4, atol=1e-4)
    assert_close(dense.dense_logits[0], masked.dense_logits[0], rtol=1e-3, atol=1e-3)
    assert_close(dense.present, masked.present, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_a_batch_is_its_rows() -> None:
    model, generator = late(1), torch.Generator().manual_seed(1)
    selections = [random_selection(model.units(), generator) for _ in range(5)]
    selections += [selections[0], Selection.all_on(model.units())]
    rows = len(selections)
    words, index, images = random_tokens(rows, rows + 3, 60), torch.arange(rows) % 3, pictures(3)
    text = model.text(words)
    whole = extract(model, Selection.all_on(model.units()))
    for at_once in (None, 2):
        found = batched.run(whole, Rows(selections, images, index, text, words), at_once=at_once)
        for row, selection in enumerate(selections):
            length = int((~words.padding[row]).sum())
            own = Tokens(words.ids[row : row + 1, :length], words.padding[row : row + 1, :length])
            alone = extract(model, selection)(images[index[row]][None], text[row : row + 1, :length], own)
            assert_close(found.boxes_cxcywh01[row], alone.boxes_cxcywh01[0], rtol=1e-3, atol=1e-3)
            assert found.present is not None
            assert alone.present is not None
            assert_close(found.present[row], alone.present[0], rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_phrases_that_share_a_picture_are_those_that_have_their_own() -> None:
    model, tokens, index = late(2), random_tokens(4, 6, 60), torch.tensor([0, 1, 1, 0])
    text, images = model.text(tokens), pictures(2)
    shared = model.net(images, text, tokens, None, index)
    alone = model.net(images[index], text, tokens)
    assert_close(shared.boxes_cxcywh01, alone.boxes_cxcywh01)
    assert_close(shared.present, alone.present)


@torch.no_grad()
def test_kept_features_say_what_pictures_say() -> None:
    """Also under gates, of phrases and of pictures: the blocks before the first level have none."""
    model, tokens, index = late(3), random_tokens(4, 6, 60, padded=False), torch.tensor([0, 0, 1, 1])
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    maps = tuple(model.net.backbone.each_level(model.config.framing.normalise(pixels)))
    text, fields = model.text(tokens), (tokens.ids, tokens.padding, None, torch.zeros(4, 1, 4), index, ())
    kept, shown = PhraseBatch(None, maps, index, *fields), PhraseBatch(pixels, None, index, *fields)
    selection = random_selection(model.units(), torch.Generator().manual_seed(3))
    for rows, of_pictures in ((None, False), (4, False), (2, True)):
        gates = None if rows is None else {k: g.expand(rows, -1) for k, g in selection.gates().items()}
        ours, theirs = (seen(model, each, text, tokens, gates, of_pictures) for each in (kept, shown))
        assert_close(ours.boxes_cxcywh01, theirs.boxes_cxcywh01, rtol=1e-4, atol=1e-4)
        assert_close(ours.dense_logits[0], theirs.dense_logits[0], rtol=1e-4, atol=1e-4)
    assert {unit.name for unit in model.units()}.isdisjoint({f"blocks.{n}.conv2" for n in range(5)})


def test_each_picture_has_another_leader_at_each_step() -> None:
    index = torch.tensor([0, 0, 0, 1, 1, 1])
    assert [leaders(index, step).tolist() for step in range(4)] == [[0, 3], [1, 4], [2, 5], [0, 3]]


@torch.no_grad()
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_macs_are_those_of_a_second_counter(rate: float) -> None:
    model, tokens = late(4), random_tokens(1, 7, 60, padded=False)
    generator = torch.Generator().manual_seed(4)
    selection = Selection(
        tuple(
            (u.name, tuple((torch.rand(u.size, generator=generator) < rate).tolist())) for u in model.units()
        )
    )
    net, text = extract(model, selection), model.text(tokens)
    with (
        FlopCounterMode(display=False) as counter,
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        net(pictures(1), text, tokens)
    parts = model.cost_model.count(selection, 7)
    ours = sum(macs for name, macs in parts.items() if name not in ("text", "selector"))
    voted = 16 * 16 + 16 * 16  # cells that vote for one another are a product too
    assert abs(2 * ours - counter.get_total_flops()) <= 4 * voted


def test_a_wide_picture_keeps_its_boxes() -> None:
    """Boxes are shares of the picture, whatever the square does to its shape."""
    framing = LATE.framing
    seen_ = framing.see(Image.new("RGB", (300, 100)))
    assert tuple(seen_.pixels.shape) == (3, 64, 64)
    boxes = torch.tensor([[30.0, 20.0, 180.0, 70.0]])
    shares = seen_.placement.shares(boxes)
    assert_close(cxcywh_to_xyxy(shares), torch.tensor([[0.1, 0.2, 0.6, 0.7]]))
    assert_close(seen_.placement.boxes(shares), boxes)
    assert seen_.placement == framing.place(300, 100)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="image_size 100 must be a multiple of 32"):
        parse_config({"system": "lads_late", "image_size": 100})
    with pytest.raises(ValueError, match="backbone"):
        parse_config({"system": "lads_late", "backbone": 7})
    assert build(PRESETS["lads_photo"].model_copy(update={"text": LATE.text})).selector is not None


# ------------------------------------------------------------ beside a second forward, from picture to pixels


def lite_levels(net: Any, x: Tensor) -> list[Tensor]:
    """EfficientNet-Lite0 whose norms are folded, with TensorFlow's SAME padding, on the same tensors."""

    def conv(x: Tensor, layer: Any, stride: int = 1) -> Tensor:
        kernel = layer.weight.shape[-1]
        down, along = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:])
        x = F.pad(x, (along // 2, along - along // 2, down // 2, down - down // 2))
        return F.conv2d(x, layer.weight, layer.bias, stride, groups=layer.groups)

    x, found = conv(x, net.conv1, 2).clamp(0, 6), []
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    for index, (block, stride) in enumerate(zip(net.blocks, strides, strict=True)):
        y = x if block.conv1 is None else conv(x, block.conv1).clamp(0, 6)
        y = conv(conv(y, block.conv2, stride).clamp(0, 6), block.conv3)
        x = x + y if stride == 1 and x.shape == y.shape else y
        found += [x] if index in (4, 10, 15) else []
    return found


def attention(layer: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    found, _ = F.multi_head_attention_forward(
        *(each.transpose(0, 1) for each in (query, key, value)), query.shape[-1], layer.heads,
        layer.in_proj_weight, layer.in_proj_bias, None, None, False, 0.0,
        layer.out_proj.weight, layer.out_proj.bias, training=False,
    )  # fmt: skip
    return found.transpose(0, 1)


def normed(layer: Any, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], layer.weight, layer.bias)


def lin(layer: Any, x: Tensor) -> Tensor:
    return x @ layer.weight.T + layer.bias


def mlp(layers: Any, x: Tensor) -> Tensor:
    for layer in layers[:-1]:
        x = lin(layer, x).relu()
    return lin(layers[-1], x)


def second_forward(model: LateLads, x: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor, Tensor]:
    """Cells' boxes as corners (V, 4), their probabilities (V,), and how likely the thing is there."""
    net, bert, ids = model.net, model.text.bert, tokens.ids
    read = bert(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    bare = bert.embeddings.word_embeddings.weight[ids]
    bare = (bare - bare.mean(-1, keepdim=True)) / (bare.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    words = normed(net.text_proj[1], lin(net.text_proj[0], torch.cat((read, bare), -1)))

    fine, middle, coarse = lite_levels(net.backbone, x)
    side = middle.shape[-1]
    coarse = F.conv2d(coarse, net.join.coarse.weight, net.join.coarse.bias)
    coarse = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :side, :side]
    cells = F.conv2d(fine, net.join.fine.weight, net.join.fine.bias, 2, 1) + coarse
    cells = cells + F.conv2d(middle, net.join.middle.weight, net.join.middle.bias)
    places = sine_positions(side, side, net.config.dim)
    cells = normed(net.join.norm, cells.flatten(2).transpose(1, 2)) + places
    for layer in net.encoder.layers:
        asked = cells + places
        cells = normed(layer.norm1, cells + attention(layer.self_attn, asked, asked, cells))
        cells = normed(layer.norm2, cells + lin(layer.linear2, lin(layer.linear1, cells).relu()))

    reader = net.reader
    words = normed(reader.norm1, words + attention(reader.look, words, cells + places, cells))
    words = normed(reader.norm2, words + lin(reader.linear2, lin(reader.linear1, words).relu()))
    whole = words.mean(1)
    scale, shift = lin(reader.modulate, whole).chunk(2, -1)
    said = normed(reader.norm3, cells + attention(reader.read, cells + places, words, words))
    said = said * (1 + scale[:, None]) + shift[:, None]
    dense = mlp(net.dense_head.layers, said)[0]
    centres = (torch.arange(side) + 0.5) / side
    prior = torch.stack((centres.repeat(side), centres.repeat_interleave(side)), 1).logit()
    x, y, w, h = (dense[:, 1:] + torch.cat((prior, torch.full_like(prior, -1.0)), 1)).sigmoid().T
    likely = dense[:, 0].softmax(0)
    present = mlp(net.present_head.layers, torch.cat(((likely @ said[0])[None], whole), 1)).sigmoid()[0, 0]
    return torch.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), 1), likely, present


def vote(boxes: Tensor, likely: Tensor, overlap: float) -> tuple[Tensor, float]:
    """Cell by cell, in plain Python."""

    def alike(a: list[float], b: list[float]) -> float:
        both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
        return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)

    rows, best = boxes.tolist(), (torch.zeros(4), -1.0)
    for row in rows:
        near = torch.tensor([alike(row, other) >= overlap for other in rows])
        if (score := float(likely[near].sum())) > best[1]:
            best = (likely[near] @ boxes[near]) / likely[near].sum(), score
    return best


@torch.no_grad()
@pytest.mark.parametrize("size", [(90, 40), (37, 70), (120, 33)])
def test_from_picture_to_pixels(size: tuple[int, int]) -> None:
    model = late(7)
    model.net.dense_head.layers[-1].weight.mul_(4)  # else all cells say much the same
    tokenizer = Tokenizer.train(["the red square on the left"], 130, 12)
    rough = np.random.default_rng(size[0]).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    picture = Image.fromarray(rough).resize(size, Image.Resampling.NEAREST)
    pixels = np.asarray(picture.resize((64, 64), Image.Resampling.BILINEAR)).astype(np.float32)
    given = torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None]
    boxes, likely, present = second_forward(model, given, tokenizer.encode(["the red square"]))
    box, score = vote(boxes, likely, LATE.vote)
    expected = (box * torch.tensor([*size, *size])).clamp(min=0).minimum(torch.tensor([*size, *size]))
    everything = Selection.all_on(model.units())
    found = Grounder(model, tokenizer).ground(picture, "the red square", selection=everything)
    assert_close(torch.tensor(found.box), expected, atol=1e-3 * max(size), rtol=0)
    assert found.score == pytest.approx(min(score, 1.0), abs=1e-3)
    assert found.present == pytest.approx(float(present), abs=1e-3)


def test_what_is_not_there_has_no_box() -> None:
    model, tokenizer = late(8), Tokenizer.train(["the red square on the left"], 130, 12)
    grounder, picture = Grounder(model, tokenizer), Image.new("RGB", (60, 40), (200, 30, 30))
    sure = grounder.ground(picture, "square").present
    assert sure is not None
    there, gone = (grounder.ground(picture, "square", absent=each) for each in (sure - 0.01, sure + 0.01))
    assert there.box is not None
    assert (gone.box, list(gone.found()), gone.as_dict()["box"]) == (None, [], None)
    assert repr(gone).startswith("Grounding('square', box=None")
    assert set(gone.as_row()) == set(there.as_row())
    assert gone.as_coco(1, 1) == []
    assert gone.draw(picture).size == there.draw(picture).size
    (batched_,) = grounder.ground_batch([(picture, "square")], absent=sure + 0.01)
    assert (batched_.box, batched_.present) == (None, pytest.approx(sure, abs=1e-5))
    with pytest.raises(ValueError, match="absent must be a number from 0 to 1, given 2"):
        grounder.ground(picture, "square", absent=2)
    other = Grounder(lads("paper"), Tokenizer.train(["square"], 130, 12))
    with pytest.raises(ValueError, match=r"cannot say that something is not in the picture; .*lads_photo"):
        other.ground(picture, "square", absent=0.5)

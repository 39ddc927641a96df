"""TransVG against a second implementation that pads as its authors do, and its letterbox, size and cost."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scrambled import scrambled
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from groundling.dynamic.extract import extract
from groundling.evaluate import answers
from groundling.layers.transformer import shown_cells
from groundling.losses.grounding import GroundingLoss, grounding_losses
from groundling.models import PRESETS, build, parse_config
from groundling.models.transvg import TransVG, TransVGConfig
from groundling.pictures.placement import Placement, Seen, together
from groundling.selection import Selection
from groundling.words.bert import TextConfig
from groundling.words.tokens import Tokens
from groundling.words.wordpiece import Tokenizer

CONFIG = TransVGConfig(
    image_size=64,
    text=TextConfig(vocabulary=120, layers=2, dim=16, heads=2, ffn=32, tokens=12),
    blocks=(1, 2),
    width=4,
    expansion=2,
    stem_width=8,
    norm="frozen",
    dim=16,
    heads=2,
    ffn=24,
    layers=2,
    visual_layers=2,
)


def model() -> TransVG:
    return scrambled(TransVG(CONFIG), 3)


def canvas(width: int, height: int, seed: int = 0) -> Seen:
    """A noise image of these sizes on the square canvas."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return CONFIG.framing.see(Image.fromarray(noise))


SIZES = ((90, 40), (50, 50), (30, 70))  # a wide, a square and a tall one


def some_images() -> Tensor:
    return CONFIG.framing.input([canvas(*size) for size in SIZES]).images


def some_shown() -> Tensor:
    return together([canvas(*size) for size in SIZES]).shown


def some_tokens(count: int = 3) -> Tokens:
    ids = torch.randint(5, 120, (count, 9), generator=torch.Generator().manual_seed(2))
    padding = torch.arange(9) >= torch.tensor([9, 5, 3])[:count, None]
    return Tokens(ids.masked_fill(padding, 0), padding)


# ---------------------------------------------------------------------------------- a second implementation


def authors_masks(placements: list[Placement]) -> Tensor:
    """1 = padding, as their transform writes it: from where the image was put, not from its colours."""
    masks = torch.ones(len(placements), 64, 64)
    for mask, place in zip(masks, placements, strict=True):
        x1, y1, x2, y2 = (
            place.apply(torch.tensor([0.0, 0.0, place.width, place.height])).round().int().tolist()
        )
        mask[y1:y2, x1:x2] = 0
    return masks


def detr_positions(mask: Tensor, dim: int) -> Tensor:
    keep, axes = ~mask, []
    for axis in (1, 2):
        place = keep.cumsum(axis, dtype=torch.float32)
        place = place / (place[:, -1:, :] if axis == 1 else place[:, :, -1:]).add(1e-6) * 2 * torch.pi
        channels = []
        for k in range(dim // 4):
            angle = place / 10_000 ** (4 * k / dim)
            channels += [angle.sin(), angle.cos()]
        axes.append(torch.stack(channels, dim=-1))
    return torch.cat(axes, dim=-1).flatten(1, 2)


def detr_encoder(encoder: nn.Module, x: Tensor, positions: Tensor, padding: Tensor) -> Tensor:
    """With torch's attention, sequence first, as DETR's transformer.py is written."""
    for layer in encoder.layers:
        dim = x.shape[-1]
        attention = nn.MultiheadAttention(dim, layer.self_attn.heads)
        attention.load_state_dict(layer.self_attn.state_dict())
        q = (x + positions).transpose(0, 1)
        y = attention(q, q, x.transpose(0, 1), key_padding_mask=padding)[0].transpose(0, 1)
        x = F.layer_norm(x + y, (dim,), layer.norm1.weight, layer.norm1.bias)
        y = layer.linear2(F.relu(layer.linear1(x)))
        x = F.layer_norm(x + y, (dim,), layer.norm2.weight, layer.norm2.bias)
    return x


def authors_forward(net: Any, images: Tensor, masks: Tensor, text: Tensor, tokens: Tokens) -> Tensor:
    """Words always padded to the limit, one learned position each; masks by nearest interpolation."""
    features = net.backbone(images)
    mask = F.interpolate(masks[None], size=features.shape[-2:])[0].bool()
    source = F.conv2d(features, net.input_proj.weight[:, :, None, None], net.input_proj.bias)
    visual = detr_encoder(
        net.visual_encoder, source.flatten(2).transpose(1, 2), detr_positions(mask, 16), mask.flatten(1)
    )
    missing = CONFIG.text.tokens - tokens.ids.shape[1]
    words = F.pad(net.text_proj(text), (0, 0, 0, missing))
    reg = net.reg_token.weight[None].repeat(len(images), 1, 1)
    joined = torch.cat([reg, words, net.visual_proj(visual)], dim=1)
    padding = torch.cat(
        [
            torch.zeros(len(images), 1).bool(),
            F.pad(tokens.padding, (0, missing), value=True),
            mask.flatten(1),
        ],
        1,
    )
    out = detr_encoder(net.encoder, joined, net.vl_pos_embed.weight[None], padding)
    return net.box_head(out[:, 0]).sigmoid()


def test_it_is_the_authors_network() -> None:
    """Letterboxed images of three shapes, words of three lengths, every weight scrambled."""
    transvg, tokens = model(), some_tokens()
    masks = authors_masks([canvas(*size).placement for size in SIZES])
    assert [round(share, 2) for share in masks.mean((1, 2)).tolist()] == [0.56, 0.0, 0.58]
    text = transvg.text(tokens)
    expected = authors_forward(transvg.net, some_images(), masks, text, tokens)
    found = transvg.net(some_images(), text, tokens, shown=some_shown())
    assert bool((some_images()[masks[:, None].expand(-1, 3, -1, -1) == 1] == 0).all())
    assert found.scores is None
    assert expected.std(0).min() > 1e-3  # the three answers differ
    assert_close(found.boxes_cxcywh01, expected, rtol=1e-5, atol=1e-5)


def test_an_answer_does_not_depend_on_what_else_is_asked() -> None:
    transvg, images, tokens, shown = model(), some_images(), some_tokens(), some_shown()
    together = transvg(images, tokens, shown=shown).boxes_cxcywh01
    for row in range(3):
        length = int((~tokens.padding[row]).sum())
        alone = Tokens(tokens.ids[row : row + 1, :length], tokens.padding[row : row + 1, :length])
        own = slice(row, row + 1)
        assert_close(transvg(images[own], alone, shown=shown[own]).boxes_cxcywh01[0], together[row])


def test_several_expressions_may_be_about_one_image() -> None:
    transvg, images, tokens, shown = model(), some_images(), some_tokens(), some_shown()
    index = torch.tensor([2, 0, 2])
    repeated = transvg(images[index], tokens, shown=shown[index]).boxes_cxcywh01
    found = transvg(images, tokens, image_index=index, shown=shown).boxes_cxcywh01
    assert_close(found, repeated)


# -------------------------------------------------------------------------------------------- letterboxes


def nearest_cells(place: Placement, grid: int) -> Tensor:
    """Cells whose first pixel shows the image."""
    return authors_masks([place])[0, :: 64 // grid, :: 64 // grid] == 0


def cells_of(shown: Tensor, grid: int) -> Tensor:
    return shown_cells(shown[None], torch.zeros(1, 1, grid, grid))[0]


def test_a_letterbox_by_hand() -> None:
    """A 64×32 image lies in rows 16 to 47: cells 2 to 5 of eight rows of 8 pixels."""
    place = canvas(64, 32).placement
    assert (place.top, place.left) == (16, 0)
    cells = cells_of(place.shown(), 8)
    assert cells.all(dim=1).tolist() == [False, False, True, True, True, True, False, False]
    assert not cells[[0, 1, 6, 7]].any()
    assert cells_of(canvas(50, 50).placement.shown(), 8).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(8, 200), st.integers(8, 200), st.sampled_from([4, 8, 16]), st.integers(0, 9))
def test_the_padding_seen_is_the_padding_made(width: int, height: int, grid: int, seed: int) -> None:
    place = canvas(width, height, seed).placement
    expected = nearest_cells(place, grid)
    if expected.any():
        assert torch.equal(cells_of(place.shown(), grid), expected)


def test_a_picture_of_the_padding_colour_is_a_picture() -> None:
    """What is padding follows from where the picture lies, never from its colour."""
    for colour in ((124, 116, 104), (0, 0, 0)):
        flat = CONFIG.framing.see(Image.new("RGB", (64, 48), colour))
        noise = canvas(64, 48)
        assert torch.equal(CONFIG.framing.input([flat]).shown, CONFIG.framing.input([noise]).shown)


@pytest.mark.parametrize(
    "rows", [slice(0, 0), slice(29, 32)], ids=["nothing but padding", "a strip between cells"]
)
def test_where_no_cell_shows_the_image_all_are_attended_to(rows: slice) -> None:
    """No cell at all would leave a softmax over nothing: NaN boxes."""
    shown = torch.zeros(64, 64, dtype=torch.bool)
    shown[rows] = True
    assert cells_of(shown, 4).all()
    found = model()(torch.rand(1, 3, 64, 64), some_tokens(1), shown=shown[None])
    assert bool(found.boxes_cxcywh01.isfinite().all())


# --------------------------------------------------------------------------------------------------- cost


def test_its_size_is_the_published_one() -> None:
    """Counted by hand; TransVG prints 149.52 M: those that train, with the pooler nobody uses."""
    dim, ffn, wide = 256, 2048, 768
    convolutions = 3 * 64 * 49
    for stage, depth in enumerate((3, 4, 6, 3)):
        width, outputs = 64 * 2**stage, 256 * 2**stage
        inputs = 64 if stage == 0 else outputs // 2
        convolutions += inputs * width + 9 * width**2 + width * outputs + inputs * outputs
        convolutions += (depth - 1) * (outputs * width + 9 * width**2 + width * outputs)
    encoder = 6 * (4 * dim * (dim + 1) + 2 * dim * ffn + ffn + dim + 4 * dim)
    bert = (30_522 + 512 + 2 + 2) * wide + 12 * (12 * wide**2 + 13 * wide)
    projections = (2048 + 1) * dim + (dim + 1) * dim + (wide + 1) * dim
    learned = dim + (1 + 20 + 400) * dim
    head = 2 * dim * (dim + 1) + 4 * (dim + 1)
    expected = convolutions + 2 * encoder + bert + projections + learned + head
    with torch.device("meta"):
        transvg = build(PRESETS["transvg_r50"])
    assert sum(p.numel() for p in transvg.parameters()) == expected == 149_155_268
    frozen = sum(
        p.numel()
        for n, p in transvg.net.named_parameters()
        if n.startswith(("backbone.conv1", "backbone.layer1"))
    )
    assert round((expected - frozen + wide * (wide + 1)) / 1e6, 2) == 149.52
    assert (transvg.config.grid, transvg.units(), transvg.selector) == (20, (), None)


@pytest.mark.parametrize("words", [3, 12])
@pytest.mark.parametrize("size", [64, 90])
def test_its_cost_is_what_the_flop_counter_counts(words: int, size: int) -> None:
    transvg = scrambled(TransVG(CONFIG.model_copy(update={"image_size": size})))
    tokens = Tokens(torch.randint(5, 120, (1, words)), torch.zeros(1, words, dtype=torch.bool))
    # the fused attention for CPUs is not in the counter's list
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        transvg(torch.randn(1, 3, size, size), tokens)
    cost = transvg.cost_model.cost(None, words)
    assert cost.share == 1.0
    assert cost == transvg.cost_model.cost(Selection(()), words)
    assert abs(cost.macs * 2 / counter.get_total_flops() - 1) < 0.01


def test_its_cost_at_640_pixels() -> None:
    """ResNet-50 with its stride in the 3×3 is 4.09 GMACs at 224 px, so 33.4 here."""
    with torch.device("meta"):
        cost = build(PRESETS["transvg_r50"]).cost_model.cost(None, 20)
    vision = sum(cost.parts[part] for part in ("stem", "layer1", "layer2", "layer3", "layer4"))
    assert vision == pytest.approx(4.087e9 * (640 / 224) ** 2, rel=2e-3)
    assert cost.parts["visual_encoder"] == 6 * (400 * (4 * 256**2 + 2 * 256 * 2048) + 2 * 400**2 * 256)
    assert cost.parts["attention"] == 6 * (421 * 4 * 256**2 + 2 * 421**2 * 256)
    assert cost.parts["head"] == 256 * (256 + 256 + 4)


# ------------------------------------------------------------------------------------- as others here use it


def test_the_extracted_network_answers_the_same_and_leaves_the_model_as_it_was() -> None:
    transvg = model().train()
    subnet = extract(transvg, Selection(()))
    assert all(part.training for part in transvg.modules())
    assert not any(part.training for part in subnet.modules())
    transvg.eval()
    text = transvg.text(some_tokens())
    expected = transvg.net(some_images(), text, some_tokens()).boxes_cxcywh01
    assert_close(subnet(some_images(), text, some_tokens()).boxes_cxcywh01, expected, rtol=1e-4, atol=1e-5)
    assert not any("bn" in name for name, _ in subnet.named_buffers())
    with pytest.raises(ValueError, match="another network"):
        extract(transvg, Selection((("layer1.0", (True,)),)))
    with pytest.raises(ValueError, match="static"):
        transvg(some_images(), some_tokens(), {"layer1.0": torch.ones(1, 1)})


def test_configurations_print_and_parse() -> None:
    assert parse_config(CONFIG.model_dump(mode="json")) == CONFIG
    assert isinstance(build(CONFIG.model_dump(mode="json")), TransVG)
    with pytest.raises(ValueError, match=r"configuration of transvg: gating: Extra inputs"):
        build({**CONFIG.model_dump(), "gating": None})
    with pytest.raises(ValueError, match=r"no system 'transvgg'; there are lads, lads_late, transvg"):
        build({"system": "transvgg"})


def test_it_evaluates_like_any_other_system(tmp_path: Path) -> None:
    data = tiny.drawn(tmp_path, images=3)
    tokenizer = Tokenizer.train([s.expression for s in data.samples], 120, limit=12)
    outcomes = list(answers(model(), tokenizer, data.samples, batch=5))
    assert len(outcomes) == len(data.samples)
    assert {(outcome.share, outcome.selection) for outcome in outcomes} == {(1.0, Selection(()))}


def test_training_reaches_every_parameter() -> None:
    transvg, tokens = model().train(), some_tokens()
    tokens = Tokens(tokens.ids, tokens.padding)
    given = together([canvas(*size) for size in SIZES])
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.4, 0.6, 0.3, 0.5], [0.7, 0.3, 0.2, 0.4]])

    class Asked:
        images, shown, boxes_cxcywh01, image_index = given.pixels, given.shown, boxes, None
        ids, padding = tokens.ids, tokens.padding

    losses = grounding_losses(transvg, Asked, None, GroundingLoss())  # type: ignore[arg-type]
    assert set(losses) == {"l1", "giou", "metric/prec@0.5"}
    (losses["l1"] + losses["giou"]).backward()
    assert not [name for name, p in transvg.named_parameters() if p.grad is None or not bool(p.grad.any())]

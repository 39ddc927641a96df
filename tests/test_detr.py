"""DETR against transformers' with copied weights, its subnets against masks, its cost against torch."""

from typing import Any

import pytest
import torch
from conftest import random_selection
from scrambled import scrambled
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from groundling.dynamic.blocks import BlockCache
from groundling.dynamic.extract import extract
from groundling.models import DETR, build, parse_config
from groundling.models.coco_names import COCO_NAMES
from groundling.models.detr import Detr, DetrConfig, SetPrediction
from groundling.selection import Selection, Unit

CONFIG = DetrConfig(
    categories=("man", "dog", "car"),
    queries=7,
    blocks=(2, 1, 1, 1),
    width=4,
    stem_width=8,
    dim=16,
    heads=2,
    ffn=24,
    encoder_layers=2,
    decoder_layers=3,
)
OTHERS = {
    "a light stem": {"stem": "conv3", "norm": "batch", "expansion": 2, "blocks": (1, 2)},
    "no norms": {"norm": "none", "encoder_layers": 1, "decoder_layers": 1},
}


def model(**changes: Any) -> Detr:
    """Every weight random; what sets queries apart is enlarged, else they would all say the same."""
    made = scrambled(Detr(DetrConfig.model_validate({**CONFIG.model_dump(), **changes})), 3)
    with torch.no_grad():
        for name, tensor in made.state_dict().items():
            if ".norm" in name or "class_embed" in name:
                tensor *= 2
            elif "attn" in name or "query_embed" in name:
                tensor *= 4
    return made


def images(*sizes: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Noise images of (height, width), zeros to the right and below, and where they are."""
    height, width = (max(side) for side in zip(*sizes, strict=True))
    pixels, shown = torch.zeros(len(sizes), 3, height, width), torch.zeros(len(sizes), height, width)
    generator = torch.Generator().manual_seed(1)
    for row, (h, w) in enumerate(sizes):
        pixels[row, :, :h, :w] = torch.randn(3, h, w, generator=generator)
        shown[row, :h, :w] = 1
    return pixels, shown.bool()


# ------------------------------------------------------------------------------- transformers' implementation


def theirs(weights: dict[str, Tensor]) -> Any:
    """DetrForObjectDetection with a transformers ResNet, holding the weights of ours."""
    transformers = pytest.importorskip("transformers")
    backbone = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 32, 64, 128],
        depths=[2, 1, 1, 1],
        layer_type="bottleneck",
        out_features=["stage4"],
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        backbone_config=backbone,
        num_queries=7,
        d_model=16,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        num_labels=3,
    )
    reference = transformers.DetrForObjectDetection(config).eval()
    reference.load_state_dict({renamed(k): v for k, v in weights_by_part(weights).items()}, strict=True)
    return reference


def weights_by_part(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values under names of their own, as transformers keeps them."""
    found = {}
    for name, tensor in weights.items():
        if ".in_proj_" in name:
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                found[name.replace("in_proj_", f"{part}_proj.")] = rows
        else:
            found[name] = tensor
    return found


def renamed(name: str) -> str:
    """Ours → transformers'; written out for this test, so that it is no copy of the importer's table."""
    head, _, rest = name.removeprefix("net.").partition(".")
    if head == "backbone":
        return "model.backbone.model." + resnet_name(rest)
    if head in ("encoder", "decoder"):
        norms = {"encoder": ("self_attn", "final"), "decoder": ("self_attn", "encoder_attn", "final")}[head]
        for number, norm in enumerate(norms):
            rest = rest.replace(f".norm{number + 1}.", f".{norm}_layer_norm.")
        rest = rest.replace("multihead_attn", "encoder_attn").replace("out_proj", "o_proj")
        rest = rest.replace("linear1", "mlp.fc1").replace("linear2", "mlp.fc2")
        return f"model.{head}." + (rest if rest.startswith("layers.") else f"layernorm.{rest[5:]}")
    tops = {
        "input_proj": "model.input_projection",
        "query_embed": "model.query_position_embeddings",
        "class_embed": "class_labels_classifier",
        "bbox_embed": "bbox_predictor",
    }
    return f"{tops[head]}.{rest}"


def resnet_name(name: str) -> str:
    kinds = {"c": "convolution", "b": "normalization"}
    if not name.startswith("layer"):
        return f"embedder.embedder.{kinds[name[0]]}.{name.split('.')[1]}"
    stage, block, part, *tensor = name.split(".")
    place = f"encoder.stages.{int(stage[5:]) - 1}.layers.{block}."
    if part == "downsample":
        return f"{place}shortcut.{('convolution', 'normalization')[int(tensor[0])]}.{tensor[1]}"
    return f"{place}layer.{int(part[-1]) - 1}.{kinds[part[0]]}.{tensor[0]}"


@pytest.fixture(scope="module")
def pair() -> tuple[Detr, Any]:
    ours = model()
    return ours, theirs(ours.state_dict())


@pytest.mark.parametrize(
    "sizes",
    [[(96, 128)], [(70, 50)], [(64, 64), (64, 64)], [(96, 64), (40, 90), (33, 33)]],
    ids=["single", "odd", "batch", "padded"],
)
@torch.no_grad()
def test_it_answers_as_transformers_does(pair: tuple[Detr, Any], sizes: list[tuple[int, int]]) -> None:
    ours, reference = pair
    pixels, shown = images(*sizes)
    expected = reference(pixels, shown.long())
    found = ours(pixels, shown)
    assert_close(found.logits, expected.logits, rtol=0, atol=1e-4)
    assert_close(found.boxes_cxcywh01, expected.pred_boxes, rtol=0, atol=1e-4)
    assert found.logits.std(1).min() > 2e-3  # queries do not say all the same


@torch.no_grad()
def test_masked_padding_matters(pair: tuple[Detr, Any]) -> None:
    """The comparison above would see a forgotten mask."""
    pixels, shown = images((96, 64), (40, 90))
    masked, blind = (pair[0](pixels, mask).logits for mask in (shown, None))
    assert (masked - blind).abs().max() > 1e-2


@torch.no_grad()
def test_a_batch_is_its_images_where_nothing_is_padded() -> None:
    ours = model()
    pixels, shown = images((64, 96), (64, 96), (64, 96))
    whole = ours(pixels, shown)
    for row in range(3):
        alone = ours(pixels[row : row + 1])
        assert_close(alone.logits[0], whole.logits[row], rtol=0, atol=1e-5)
        assert_close(alone.boxes_cxcywh01[0], whole.boxes_cxcywh01[row], rtol=0, atol=1e-5)


@torch.no_grad()
def test_an_image_too_thin_for_a_cell_is_attended_to_everywhere() -> None:
    """Its columns lie between the first pixels of cells: no cell would be left, and NaN the answer."""
    pixels, shown = images((64, 64))
    shown[:, :, :] = False
    shown[:, :, 3:9] = True
    found = model()(pixels, shown)
    assert bool(found.logits.isfinite().all())
    assert_close(found.logits, model()(pixels, None).logits)


def test_every_decoder_layer_answers_in_training() -> None:
    ours = model(dropout=0.0)
    pixels, _ = images((64, 64))
    last = ours(pixels)
    assert len(last.layers) == 1
    every: SetPrediction = ours.train()(pixels)
    assert len(every.layers) == 3
    assert_close(every.logits, last.logits)
    assert not torch.equal(every.layers[0][0], every.logits)


# ------------------------------------------------------------------------------------------------- subnets


def corners(units: tuple[Unit, ...]) -> list[Selection]:
    return [Selection.all_on(units), Selection.all_off(units)]


@pytest.mark.parametrize("changes", [{}, *OTHERS.values()], ids=["DETR", *OTHERS])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@torch.no_grad()
def test_a_subnet_equals_the_masked_network(changes: Any, dtype: torch.dtype, tolerance: float) -> None:
    ours = model(**changes).to(dtype)
    generator, (pixels, shown) = torch.Generator().manual_seed(2), images((64, 40), (48, 64))
    for selection in [
        *corners(ours.units()),
        *(random_selection(ours.units(), generator) for _ in range(12)),
    ]:
        gates = {name: gate.to(dtype).expand(2, -1) for name, gate in selection.gates().items()}
        masked, dense = ours(pixels.to(dtype), shown, gates), extract(ours, selection)
        found = dense(pixels.to(dtype), shown)
        assert (found.logits - masked.logits).abs().max() <= tolerance
        assert (found.boxes_cxcywh01 - masked.boxes_cxcywh01).abs().max() <= tolerance


@torch.no_grad()
def test_every_unit_matters() -> None:
    """The comparison above would see a forgotten unit, and the whole network runs without gates."""
    ours, (pixels, shown) = model(), images((64, 40), (48, 64))
    everything = Selection.all_on(ours.units())
    whole = ours(pixels, shown, everything.gates()).logits
    assert_close(whole, ours(pixels, shown).logits)
    for unit in ours.units():
        bits = dict(everything.units) | {unit.name: (False,) * unit.size}
        less = ours(pixels, shown, Selection(tuple(bits.items())).gates()).logits
        assert (whole - less).abs().max() > 1e-4, unit


def test_subnets_are_cached_and_dense() -> None:
    ours = model()
    cache = BlockCache(ours, 2**24)
    off = Selection.all_off(ours.units())
    assert [*cache.get(off).encoder.layers] == [*cache.get(off).encoder.layers]  # the very same modules
    left = cache.get(off).state_dict()
    assert not [name for name in left if "attn" in name or "linear" in name or ".bn" in name]
    whole = cache.get(Selection.all_on(ours.units()))
    assert whole.query_embed.weight is ours.net.query_embed.weight  # shared, not copied


# ---------------------------------------------------------------------------------------------------- cost


@pytest.mark.parametrize("sizes", [(64, 64), (96, 50)])
@torch.no_grad()
def test_macs_are_those_that_torch_counts(sizes: tuple[int, int]) -> None:
    ours, generator = model(), torch.Generator().manual_seed(4)
    pixels, _ = images(sizes)
    for selection in (*corners(ours.units()), random_selection(ours.units(), generator)):
        net = extract(ours, selection)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            net(pixels)
        cost = ours.cost_model(*sizes).cost(selection)
        assert sum(counter.get_flop_counts()["Global"].values()) == 2 * cost.macs
        assert cost.full == ours.cost_model(*sizes).cost().macs


def test_detr_r50_is_as_large_as_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        ours = build(DETR["detr_r50"])
        backbone = transformers.ResNetConfig(out_features=["stage4"])  # of ResNet-50
        config = transformers.DetrConfig(use_timm_backbone=False, backbone_config=backbone, num_labels=91)
        reference = transformers.DetrForObjectDetection(config)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in reference.parameters())


# ------------------------------------------------------------------------------------------- configuration


def test_a_configuration_reads_back_and_says_what_does_not_fit() -> None:
    assert parse_config(CONFIG.model_dump(mode="json")) == CONFIG
    assert isinstance(build({"system": "detr", **CONFIG.model_dump()}), Detr)
    for fields, message in (
        ({"categories": []}, "configuration of detr: categories"),
        ({"short_side": 900, "long_side": 800}, "short_side 900 is longer than long_side 800"),
        ({"heads": 3}, "dim 256 must be a multiple of 4 and of heads, 3"),
        ({"text": {}}, "configuration of detr: text: Extra inputs"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_config({"system": "detr", **fields})


def test_cocos_names_have_their_ids() -> None:
    assert len(COCO_NAMES) == 91
    assert [COCO_NAMES[i] for i in (0, 1, 12, 13, 37, 90)] == [
        "N/A", "person", "N/A", "stop sign", "sports ball", "toothbrush",
    ]  # fmt: skip
    assert len(set(COCO_NAMES) - {"N/A"}) == 80


@pytest.mark.parametrize("name", DETR)
def test_presets_can_be_built(name: str) -> None:
    with torch.device("meta"):
        assert build(DETR[name]).config == DETR[name]

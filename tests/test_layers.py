"""Layers against torch's and transformers' own, with every weight scrambled, and subnets against masks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scrambled import scrambled
from torch import Tensor, nn
from torch.testing import assert_close

from groundling.layers.resnet import BasicBlock, Bottleneck, FrozenBatchNorm2d, ResNet, fold, units
from groundling.layers.transformer import (
    MLP,
    Encoder,
    EncoderLayer,
    sine_positions,
    sine_positions_within,
)
from groundling.selection import Selection


@pytest.fixture(autouse=True)
def _slow_path():
    """torch's fused encoder layer drops padded rows; the layers are compared on all of them."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


def reference_layer(dim: int = 32, heads: int = 4, ffn: int = 48) -> nn.TransformerEncoderLayer:
    return scrambled(nn.TransformerEncoderLayer(dim, heads, ffn, dropout=0.1, batch_first=True).double())


def same_layer(reference: nn.TransformerEncoderLayer) -> EncoderLayer:
    layer = EncoderLayer(32, 4, 48, dropout=0.1).double().eval()
    layer.load_state_dict(reference.state_dict(), strict=True)  # the names are torch's and DETR's
    return layer


PADDING = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])
X = torch.randn(2, 7, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
POSITIONS = torch.randn(7, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("padding", [None, PADDING], ids=["whole", "padded"])
def test_an_encoder_layer_is_torchs_where_positions_are_zero(padding: Tensor | None) -> None:
    reference = reference_layer()
    ours = same_layer(reference)(X, torch.zeros_like(POSITIONS), None if padding is None else ~padding)
    assert_close(ours, reference(X, src_key_padding_mask=padding))


@pytest.mark.parametrize("padding", [None, PADDING], ids=["whole", "padded"])
def test_positions_are_added_to_queries_and_keys_not_to_values(padding: Tensor | None) -> None:
    """DETR's rule, said with torch's attention; one position per row of the batch may differ."""
    reference, positions = reference_layer(), torch.stack((POSITIONS, POSITIONS.flip(0)))
    asked = X + positions
    attended, _ = reference.self_attn(asked, asked, X, key_padding_mask=padding)
    x = reference.norm1(X + attended)
    expected = reference.norm2(x + reference.linear2(reference.linear1(x).relu()))
    keep = None if padding is None else ~padding
    assert_close(same_layer(reference)(X, positions, keep), expected)
    rows = [
        same_layer(reference)(X[i : i + 1], positions[i], None if keep is None else keep[i : i + 1])
        for i in (0, 1)
    ]
    assert_close(torch.cat(rows), expected)


def test_an_encoder_is_its_layers_and_returns_each_output() -> None:
    encoder = scrambled(Encoder(3, 32, 4, 48, 0.1).double())
    outputs, x = encoder(X, POSITIONS, ~PADDING), X
    for layer, output in zip(encoder.layers, outputs, strict=True):
        x = layer(x, POSITIONS, ~PADDING)
        assert_close(output, x)


@settings(deadline=None, max_examples=12)
@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_an_extracted_encoder_equals_the_masked_one(bits: list[bool]) -> None:
    encoder = scrambled(Encoder(3, 32, 4, 48, 0.1).double())
    names = [unit.name for unit in encoder.units()]
    selection = Selection(tuple((name, (bit,)) for name, bit in zip(names, bits, strict=True)))
    gates = {name: gate.double().expand(2, -1) for name, gate in selection.gates().items()}
    masked = encoder(X, POSITIONS, ~PADDING, gates)[-1]
    dense = encoder.extract(selection)
    assert_close(dense(X, POSITIONS, ~PADDING)[-1], masked)
    assert sum("self_attn.out_proj.weight" in name for name in dense.state_dict()) == sum(bits[0::2])
    assert sum("linear1.weight" in name for name in dense.state_dict()) == sum(bits[1::2])


def test_a_gate_scales_its_sublayer_only() -> None:
    layer, half = same_layer(reference_layer()), torch.full((2, 1), 0.5, dtype=torch.float64)
    attended = layer.norm1(X + 0.5 * layer.self_attn(X, POSITIONS, None))
    expected = layer.norm2(attended + layer.linear2(layer.linear1(attended).relu()))
    assert_close(layer(X, POSITIONS, attention=half), expected)


def test_attention_dropout_acts_in_training_only() -> None:
    layer = same_layer(reference_layer())
    assert_close(layer(X, POSITIONS), layer(X, POSITIONS))
    assert not torch.equal(layer.train()(X, POSITIONS), layer(X, POSITIONS))


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 7), (1, 5)])
def test_sine_positions_are_detrs(height: int, width: int) -> None:
    detr = pytest.importorskip("transformers.models.detr.modeling_detr")
    embed = detr.DetrSinePositionEmbedding(16, normalize=True)
    theirs = embed(shape=torch.Size((1, 3, height, width)), device="cpu", dtype=torch.float32)
    assert_close(sine_positions(height, width, 32), theirs[0].flatten(1).T)


def test_sine_positions_run_over_the_image_and_not_over_its_padding() -> None:
    detr = pytest.importorskip("transformers.models.detr.modeling_detr")
    keep = torch.zeros(2, 6, 6, dtype=torch.bool)
    keep[0, 1:5], keep[1, :, 2:4] = True, True
    theirs = detr.DetrSinePositionEmbedding(16, normalize=True)(
        shape=torch.Size((2, 3, 6, 6)), device="cpu", dtype=torch.float32, mask=keep
    )
    ours = sine_positions_within(keep, 32)
    theirs = theirs.flatten(2).transpose(1, 2)
    assert_close(ours[keep.flatten(1)], theirs[keep.flatten(1)])
    assert_close(ours[0].view(6, 6, 32)[1:5], sine_positions(4, 6, 32).view(4, 6, 32))  # as if cut out


def test_the_first_position_by_hand() -> None:
    """Cell (row 0, column 1) of a 2×4 grid, 8 channels: y = 1/2 and x = 2/4 of 2π, steps 1, 1, 100, 100."""
    half_turn = torch.tensor(torch.pi)
    one = torch.stack((half_turn.sin(), half_turn.cos(), (half_turn / 100).sin(), (half_turn / 100).cos()))
    assert_close(sine_positions(2, 4, 8)[1], torch.cat((one, one)), atol=1e-5, rtol=0)


def test_an_mlp_is_linear_layers_with_relu_between() -> None:
    mlp = scrambled(MLP(6, 10, 4, 3))
    first, second, third = mlp.layers
    x = torch.randn(5, 6)
    assert_close(mlp(x), nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)(x))
    assert [tuple(layer.weight.shape) for layer in mlp.layers] == [(10, 6), (10, 10), (4, 10)]


# ------------------------------------------------------------------------------------------------ ResNet


def test_a_frozen_norm_is_a_batch_norm_in_evaluation() -> None:
    batch, frozen = scrambled(nn.BatchNorm2d(5)), FrozenBatchNorm2d(5)
    frozen.load_state_dict({k: v for k, v in batch.state_dict().items() if k != "num_batches_tracked"})
    x = torch.randn(2, 5, 3, 3)
    assert_close(frozen.train()(x), batch(x))
    assert not list(frozen.parameters())


def test_a_folded_convolution_equals_convolution_and_norm() -> None:
    conv, norm = (
        scrambled(nn.Conv2d(4, 6, 3, 2, 1, bias=False).double()),
        scrambled(nn.BatchNorm2d(6).double()),
    )
    x = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    assert_close(fold(conv, norm)(x), norm(conv(x)))
    rows, columns = (
        torch.tensor([True, False, True, True, False, False]),
        torch.tensor([True, False, True, True]),
    )
    only = x * columns[:, None, None]
    assert_close(fold(conv, norm, rows, columns)(x[:, columns]), norm(conv(only))[:, rows])


def block(stride: int, norm: str, inner: bool = True) -> Bottleneck:
    return scrambled(Bottleneck(6, 4, 8 if stride > 1 else 6, stride, norm).double())


BITS = st.lists(st.booleans(), min_size=4, max_size=4)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([1, 2]), st.sampled_from(["frozen", "batch", "none"]), st.booleans(), BITS, BITS)
def test_an_extracted_block_equals_the_masked_one(
    stride: int, norm: str, layer: bool, filters: list[bool], inner: list[bool]
) -> None:
    supernet = block(stride, norm)
    x = torch.randn(2, 6, 5, 5, dtype=torch.float64).relu()  # blocks read what a ReLU wrote
    gates = [torch.tensor([bits], dtype=torch.float64).expand(2, -1) for bits in ([layer], filters, inner)]
    masked = supernet(x, *gates)
    dense = supernet.extract(layer, torch.tensor(filters), torch.tensor(inner))
    assert_close(dense(x), masked)
    runs = layer and any(filters) and any(inner)
    assert (dense.conv1 is not None) == runs
    if runs:
        assert dense.conv2.weight.shape[:2] == (sum(filters), sum(inner))


@pytest.mark.parametrize("norm", ["frozen", "batch", "none"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("on", [True, False])
def test_a_basic_block_is_there_or_not(stride: int, norm: str, on: bool) -> None:
    supernet = scrambled(BasicBlock(6, 8 if stride > 1 else 6, 8 if stride > 1 else 6, stride, norm).double())
    x = torch.randn(2, 6, 5, 5, dtype=torch.float64).relu()
    dense = supernet.extract(on, None, None)
    assert_close(dense(x), supernet(x, torch.full((2, 1), float(on), dtype=torch.float64)))
    assert (dense.conv1 is not None) == on


def test_a_basic_resnet_has_no_filters_to_leave_out() -> None:
    found = units(ResNet((2, 2), width=4, expansion=1, block="basic"), "all", inner=True)
    assert [(unit.name, unit.kind) for unit in found] == [
        (f"layer{stage}.{index}", "layer") for stage in (1, 2) for index in (0, 1)
    ]


def test_resnet50_has_the_units_of_the_paper_and_of_the_released_code() -> None:
    """13 layers and 2880 filters in the code, 12 by Eq. 6; all 16 blocks where strided ones are gated too."""
    with torch.device("meta"):
        resnet = ResNet((3, 4, 6, 3))
    count = {}
    for rule in ("released", "paper", "all"):
        found = units(resnet, rule, inner=False)
        count[rule] = len(found) // 2, sum(unit.size for unit in found if unit.kind == "filters")
    assert count == {"released": (13, 2880), "paper": (12, 2816), "all": (16, 3776)}
    assert sum(unit.kind == "filters" for unit in units(resnet, "released", inner=True)) == 26


@pytest.mark.parametrize("stem", ["conv7", "conv3"])
@pytest.mark.parametrize("size", [32, 40])
def test_an_extracted_resnet_equals_the_masked_one(stem: str, size: int) -> None:
    resnet = scrambled(ResNet((2, 1), width=4, expansion=2, stem=stem, stem_width=8, norm="batch").double())
    generator, images = torch.Generator().manual_seed(3), torch.randn(2, 3, size, size, dtype=torch.float64)
    for _ in range(5):
        bits = tuple(
            (unit.name, tuple((torch.rand(unit.size, generator=generator) < 0.6).tolist()))
            for unit in units(resnet, "all", inner=True)
        )
        selection = Selection(bits)
        gates = {name: gate.double().expand(2, -1) for name, gate in selection.gates().items()}
        out = resnet.extract(selection)(images)
        assert_close(out, resnet(images, gates))
        assert out.shape[1:] == (resnet.channels, -(-size // resnet.stride), -(-size // resnet.stride))

"""The decoder against torch's own, with every weight scrambled, and extracted decoders against masks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scrambled import scrambled
from torch import Tensor, nn
from torch.testing import assert_close

from groundling.layers.decoder import Decoder, DecoderLayer
from groundling.selection import Selection


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


X, PLACES = drawn(2, 5, 32, seed=1), drawn(5, 32, seed=2)
MEMORY, POSITIONS = drawn(2, 7, 32, seed=3), drawn(7, 32, seed=4)
PADDING = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])
BOTH = pytest.mark.parametrize("padding", [None, PADDING], ids=["whole", "padded"])


def reference(layers: int = 3) -> nn.TransformerDecoder:
    layer = nn.TransformerDecoderLayer(32, 4, 48, dropout=0.1, batch_first=True)
    return scrambled(nn.TransformerDecoder(layer, layers, nn.LayerNorm(32)).double(), 5)


def decoder(layers: int = 3) -> Decoder:
    """Ours with torch's weights, whose names are the same."""
    ours = Decoder(layers, 32, 4, 48, dropout=0.1).double().eval()
    ours.load_state_dict(reference(layers).state_dict(), strict=True)
    return ours


def kept(padding: Tensor | None) -> Tensor | None:
    return None if padding is None else ~padding


@BOTH
def test_a_decoder_is_torchs_where_positions_are_zero(padding: Tensor | None) -> None:
    outputs = decoder()(X, 0 * PLACES, MEMORY, 0 * POSITIONS, kept(padding))
    assert_close(outputs[-1], reference()(X, MEMORY, memory_key_padding_mask=padding))


def test_every_layers_output_is_that_of_a_decoder_which_ends_there() -> None:
    outputs = decoder()(X, PLACES, MEMORY, POSITIONS)
    for depth in (1, 2, 3):
        shorter = Decoder(depth, 32, 4, 48, 0.1).double().eval()
        weights = decoder().state_dict()
        shorter.load_state_dict({name: weights[name] for name in shorter.state_dict()})
        assert_close(shorter(X, PLACES, MEMORY, POSITIONS)[-1], outputs[depth - 1])


@BOTH
def test_places_are_added_to_queries_and_keys_not_to_values(padding: Tensor | None) -> None:
    """DETR's rule, said with torch's attention; each row of the batch may have positions of its own."""
    theirs = reference(1).layers[0]
    places, positions = torch.stack((PLACES, PLACES.flip(0))), torch.stack((POSITIONS, POSITIONS.flip(0)))
    asked = X + places
    x = theirs.norm1(X + theirs.self_attn(asked, asked, X)[0])
    seen, _ = theirs.multihead_attn(x + places, MEMORY + positions, MEMORY, key_padding_mask=padding)
    x = theirs.norm2(x + seen)
    expected = theirs.norm3(x + theirs.linear2(theirs.linear1(x).relu()))
    layer, keep = decoder(1).layers[0], kept(padding)
    assert_close(layer(X, places, MEMORY, positions, keep), expected)
    rows = [
        layer(
            X[i : i + 1],
            places[i],
            MEMORY[i : i + 1],
            positions[i],
            None if keep is None else keep[i : i + 1],
        )
        for i in (0, 1)
    ]
    assert_close(torch.cat(rows), expected)


def test_without_gradients_the_fused_attention_says_the_same() -> None:
    spelled = decoder()(X, PLACES, MEMORY, POSITIONS, ~PADDING)[-1]
    with torch.no_grad():
        assert_close(decoder()(X, PLACES, MEMORY, POSITIONS, ~PADDING)[-1], spelled)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.booleans(), min_size=9, max_size=9))
def test_an_extracted_decoder_equals_the_masked_one(bits: list[bool]) -> None:
    whole = decoder()
    names = [unit.name for unit in whole.units()]
    selection = Selection(tuple((name, (bit,)) for name, bit in zip(names, bits, strict=True)))
    gates = {name: gate.double().expand(2, -1) for name, gate in selection.gates().items()}
    masked = whole(X, PLACES, MEMORY, POSITIONS, ~PADDING, gates)
    dense = whole.extract(selection)
    for ours, expected in zip(dense(X, PLACES, MEMORY, POSITIONS, ~PADDING), masked, strict=True):
        assert_close(ours, expected, rtol=0, atol=1e-9)
    left = list(dense.state_dict())
    assert sum("self_attn.out_proj.weight" in name for name in left) == sum(bits[0::3])
    assert sum("multihead_attn.out_proj.weight" in name for name in left) == sum(bits[1::3])
    assert sum("linear1.weight" in name for name in left) == sum(bits[2::3])


def test_a_subnet_shares_weights_and_not_the_mode() -> None:
    whole = decoder()
    dense = whole.extract(Selection.all_on(whole.units()))
    assert dense.layers[0].multihead_attn.in_proj_weight is whole.layers[0].multihead_attn.in_proj_weight
    whole.train()
    assert not dense.layers[0].multihead_attn.training


def test_units_are_three_a_layer() -> None:
    assert [(unit.name, unit.kind, unit.group) for unit in Decoder(1, 8, 2, 8, 0.0).units("net.decoder")] == [
        ("net.decoder.0.attention", "attention", "net.decoder.0"),
        ("net.decoder.0.cross_attention", "attention", "net.decoder.0"),
        ("net.decoder.0.ffn", "ffn", "net.decoder.0"),
    ]


def test_a_gate_scales_its_sublayer_only() -> None:
    layer, half = decoder(1).layers[0], torch.full((2, 1), 0.5, dtype=torch.float64)
    x = layer.norm1(X + layer.self_attn(X, PLACES, None))
    x = layer.norm2(x + 0.5 * layer.multihead_attn(x, PLACES, MEMORY, POSITIONS, None))
    expected = layer.norm3(x + layer.linear2(layer.linear1(x).relu()))
    assert_close(layer(X, PLACES, MEMORY, POSITIONS, cross_attention=half), expected)


def test_dropout_acts_in_training_only() -> None:
    layer: DecoderLayer = decoder(1).layers[0]
    given = X, PLACES, MEMORY, POSITIONS
    assert_close(layer(*given), layer(*given))
    assert not torch.equal(layer.train()(*given), layer(*given))

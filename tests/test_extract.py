"""An extracted subnet equals its masked supernet, is dense, and shares what it can."""

import pytest
import torch
from conftest import SHAPES, lads, random_selection, random_tokens
from scrambled import scrambled
from torch import Tensor, nn

from groundling.dynamic.extract import extract
from groundling.dynamic.gates import LanguageGates
from groundling.layers.resnet import BasicBlock
from groundling.models import PRESETS
from groundling.models.lads import GroundingNet, Lads
from groundling.selection import Selection, Unit, is_filters
from groundling.words.bert import TextConfig
from groundling.words.tokens import Tokens


def special_selections(units: tuple[Unit, ...]) -> dict[str, Selection]:
    """The corners: what a random Selection hardly ever is."""

    def choose(layers: bool, conv2: str, conv1: str) -> Selection:
        bits = {"all": lambda n: (True,) * n, "none": lambda n: (False,) * n}
        bits["last"] = lambda n: (False,) * (n - 1) + (True,)
        kinds = {"conv2": bits[conv2], "conv1": bits[conv1]}
        return Selection(
            tuple(
                (u.name, kinds[u.name[-5:]](u.size) if is_filters(u.name) else (layers,) * u.size)
                for u in units
            )
        )

    return {
        "all on": Selection.all_on(units),
        "all off": Selection.all_off(units),
        "layers off, filters on": choose(False, "all", "all"),
        "one filter left": choose(True, "last", "last"),
        "one filter of the 3×3": choose(True, "last", "all"),
        "all filters off but layers on": choose(True, "none", "none"),
        "3×3 off, 1×1 on": choose(True, "none", "all"),
        "1×1 off, 3×3 on": choose(True, "all", "none"),
        "1×1 off, one of the 3×3": choose(True, "last", "none"),
    }


class Seen(nn.Module):
    """All that a network computes: prediction, and the fused tokens before heads round them to float32."""

    def __init__(self, net: GroundingNet) -> None:
        super().__init__()
        self.net = net

    @torch.no_grad()
    def forward(self, images: Tensor, text: Tensor, tokens: Tokens, **gates: object) -> list[Tensor]:
        fused: list[Tensor] = []
        hook = self.net.encoder.layers[-1].register_forward_hook(lambda *args: fused.append(args[2]))
        answer = self.net(images, text, tokens, **gates)
        hook.remove()
        scores = [] if answer.scores is None else [answer.scores, *answer.dense_logits]
        return [answer.boxes_cxcywh01, *scores, *fused]


def inputs(model: Lads, rows: int = 2) -> tuple[Tensor, Tensor, Tokens]:
    """Random images and text features in the model's precision; all rows but the first end in padding."""
    generator = torch.Generator().manual_seed(1)
    dtype = model.net.visual_proj.weight.dtype
    size, tokens = model.config.image_size, random_tokens(rows, 5, 50)
    images = torch.randn(rows, 3, size, size, generator=generator).to(dtype)
    return images, torch.randn(rows, 5, model.config.text.dim, generator=generator).to(dtype), tokens


def difference(model: Lads, selection: Selection, given: tuple[Tensor, Tensor, Tokens]) -> float:
    masked = Seen(model.net)(*given, gates=selection.gates())
    dense = Seen(extract(model, selection))(*given)
    return max(float((a - b).abs().max()) for a, b in zip(masked, dense, strict=True))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_subnet_equals_masked_supernet(shape: str, dtype: torch.dtype, tolerance: float) -> None:
    """Over all shapes and both precisions: each 63 corners and 105 random Selections."""
    model = lads(shape).to(dtype)
    generator, given = torch.Generator().manual_seed(2), inputs(model)
    cases = special_selections(model.units())
    cases |= {f"random {i}": random_selection(model.units(), generator) for i in range(15)}
    apart = {name: difference(model, selection, given) for name, selection in cases.items()}
    assert max(apart.values()) <= tolerance, apart


def test_units_matter() -> None:
    """The comparison above would see a forgotten unit: leaving any one out changes the answer."""
    model = lads("inner")
    given, everything = inputs(model), Selection.all_on(model.units())
    whole = Seen(model.net)(*given, gates=everything.gates())[-1]
    for unit in model.units():
        bits = dict(everything.units) | {unit.name: (False,) * unit.size}
        less = Seen(model.net)(*given, gates=Selection(tuple(bits.items())).gates())[-1]
        assert (whole - less).abs().max() > 1e-3, unit


@pytest.fixture(scope="module")
def resnet50() -> Lads:
    small = {"image_size": 64, "text": TextConfig(layers=1, vocabulary=50)}
    return scrambled(Lads(PRESETS["lads_r50"].model_copy(update=small)))


def test_real_size(resnet50: Lads) -> None:
    units, generator, given = resnet50.units(), torch.Generator().manual_seed(3), inputs(resnet50)
    cases = [random_selection(units, generator) for _ in range(3)]
    cases += [
        special_selections(units)[name] for name in ("one filter left", "all filters off but layers on")
    ]
    for selection in cases:
        assert difference(resnet50, selection, given) <= 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_masked_remains(shape: str) -> None:
    """Weights have the sizes that the Selection says, and no gate, norm or buffer of one is left."""
    model, generator = lads(shape), torch.Generator().manual_seed(4)
    for _ in range(4):
        selection = random_selection(model.units(), generator)
        subnet = extract(model, selection)
        forbidden = (LanguageGates, nn.modules.batchnorm._BatchNorm)
        assert not any(isinstance(m, forbidden) or "Frozen" in type(m).__name__ for m in subnet.modules())
        assert not any("gate" in name or "selector" in name for name, _ in subnet.named_parameters())
        for name, block in subnet.backbone.named_blocks():
            inner = selection.count(f"{name}.conv1", block.width)
            filters = selection.count(f"{name}.conv2", block.width)
            if not (selection.on(name) and inner and filters):
                assert not any(key.startswith("conv") for key, _ in block.named_parameters())
                continue
            if isinstance(block, BasicBlock):  # all or nothing
                assert block.conv1.weight.shape == (block.width, block.inputs, 3, 3)
                assert block.conv2.weight.shape == (block.outputs, block.width, 3, 3)
                continue
            assert block.conv1.weight.shape == (inner, block.inputs, 1, 1)
            assert block.conv2.weight.shape == (filters, inner, 3, 3)
            assert block.conv3.weight.shape == (block.outputs, filters, 1, 1)
        for i, layer in enumerate(subnet.encoder.layers):
            assert (layer.self_attn is None) != selection.on(f"encoder.{i}.attention")
            assert (layer.linear1 is None) == (layer.linear2 is None) != selection.on(f"encoder.{i}.ffn")


def test_what_is_not_sliced_is_shared() -> None:
    model = lads("without norms")
    subnet = extract(model, Selection.all_on(model.units()))
    own = dict(subnet.named_parameters())
    one_by_one = {name for name in own if own[name].shape[2:] == (1, 1)}
    for name, weight in model.net.named_parameters():
        # with no norm to fold, 1×1 convolutions are used as they lie in memory; 3×3 ones are laid out anew
        if not name.startswith("backbone") or name in one_by_one:
            assert own[name].data_ptr() == weight.data_ptr(), name
    assert subnet.positions.data_ptr() == model.net.positions.data_ptr()


def test_extraction_leaves_no_trace_on_the_supernet() -> None:
    """Dropout of a supernet in training was off after an extraction: the subnet had its very modules."""
    model = lads("all").train()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    subnet = extract(model, Selection.all_on(model.units()))
    assert all(module.training for module in model.modules())
    assert not any(module.training for module in subnet.modules())
    model.eval().train()
    assert not any(module.training for module in subnet.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_static_network_folds_its_norms() -> None:
    config = SHAPES["paper"].model_copy(update={"gating": None})
    model = scrambled(Lads(config))
    assert model.units() == ()
    assert difference(model, Selection(()), inputs(model)) <= 1e-4


def test_selection_of_another_supernet() -> None:
    with pytest.raises(ValueError, match="another network"):
        extract(lads("paper"), Selection.all_on(lads("all").units()))


def test_constant_is_exact_under_autocast() -> None:
    """What is left of a layer without filters was a matrix product, which autocast rounds to bf16."""
    model = lads("inner")
    selection = special_selections(model.units())["1×1 off, 3×3 on"]
    plain = extract(model, selection).state_dict()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = extract(model, selection).state_dict()
    assert all(torch.equal(plain[name], rounded[name]) for name in plain)

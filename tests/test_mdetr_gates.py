"""Language gates on MDETR: a subnet equals the masked network, every unit matters and is counted."""

from pathlib import Path

import pytest
import torch
from conftest import random_selection
from PIL import Image
from scrambled import scrambled
from test_extract import special_selections
from test_mdetr import CONFIG, some_images, some_tokens
from torch import Tensor
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from groundling import checkpoint
from groundling.ask.asking import answer, answer_all, ground_phrases
from groundling.ask.grounder import load
from groundling.dynamic.extract import extract
from groundling.dynamic.gates import hard_gates
from groundling.layers.resnet import Gates
from groundling.models import MDETR, build, parse_config
from groundling.models.answers import STREET
from groundling.models.lads import GatingConfig
from groundling.models.mdetr import Mdetr, MdetrNet
from groundling.pictures.placement import normalise, to_tensor
from groundling.selection import Selection
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.tokens import Tokens

GATED = CONFIG.model_copy(
    update={"gating": GatingConfig(blocks="all", inner_filters=True, hidden=8), "norm": "batch"}
)


def model(norm: str = "batch") -> Mdetr:
    return scrambled(Mdetr(GATED.model_copy(update={"norm": norm})), 5)


Given = tuple[Tensor, Tensor, Tokens]


def inputs(mdetr: Mdetr, dtype: torch.dtype = torch.float32) -> Given:
    tokens = some_tokens()
    text = torch.randn(3, 9, CONFIG.text.dim, generator=torch.Generator().manual_seed(1))
    return some_images().to(dtype), text.to(dtype), tokens


@torch.no_grad()
def seen(net: MdetrNet, given: Given, gates: Gates | None = None) -> list[Tensor]:
    """Every decoder layer's output, all heads on them but for what they round, and where masks come from."""
    images, text, tokens = given
    memory = net.read(images, text, tokens, gates=gates)
    hidden = net.decode(memory)
    return [*hidden, *memory.lower, memory.encoded, net.class_embed(hidden[-1]), net.bbox_embed(hidden[-1])]


def difference(mdetr: Mdetr, selection: Selection, given: Given) -> float:
    gates = {name: gate.to(given[0].dtype) for name, gate in selection.gates().items()}
    masked, dense = seen(mdetr.net, given, gates), seen(extract(mdetr, selection), given)
    return max(float((a - b).abs().max()) for a, b in zip(masked, dense, strict=True))


@pytest.mark.parametrize("norm", ["batch", "frozen"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_a_subnet_equals_the_masked_network(norm: str, dtype: torch.dtype, tolerance: float) -> None:
    mdetr = model(norm).to(dtype)
    units, generator, given = mdetr.units(), torch.Generator().manual_seed(2), inputs(mdetr, dtype)
    cases = special_selections(units) | {f"{i}": random_selection(units, generator) for i in range(20)}
    apart = {name: difference(mdetr, selection, given) for name, selection in cases.items()}
    assert max(apart.values()) <= tolerance, apart


def test_every_unit_matters() -> None:
    mdetr = model()
    given, everything = inputs(mdetr), Selection.all_on(mdetr.units())
    whole = seen(mdetr.net, given, everything.gates())
    assert_close(whole, seen(mdetr.net, given))
    for unit in mdetr.units():
        bits = dict(everything.units) | {unit.name: (False,) * unit.size}
        less = seen(mdetr.net, given, Selection(tuple(bits.items())).gates())
        assert max(float((a - b).abs().max()) for a, b in zip(whole, less, strict=True)) > 1e-4, unit
    names = {unit.name for unit in mdetr.units()}
    assert {"layer1.0.conv1", "encoder.1.ffn", "decoder.2.cross_attention", "decoder.0.attention"} <= names


def test_each_caption_has_the_backbone_of_its_own_gates() -> None:
    """Two captions of one image, of which one leaves a block out."""
    mdetr = model()
    images, text, tokens = inputs(mdetr)
    gates = Selection.all_on(mdetr.units()).gates()
    gates = {name: gate.expand(3, -1).clone() for name, gate in gates.items()}
    gates["layer2.0"][1] = 0
    with torch.no_grad():
        together = mdetr.net.read(images, text, tokens, torch.tensor([0, 0, 2]), gates)
        alone = mdetr.net.read(images[[0, 0, 2]], text, tokens, gates=gates)
        plain = mdetr.net.read(images, text, tokens, torch.tensor([0, 0, 2]))
    assert_close(together.encoded, alone.encoded)
    assert_close(together.encoded[[0, 2]], plain.encoded[[0, 2]], rtol=1e-4, atol=1e-4)
    assert (together.encoded[1] - plain.encoded[1]).abs().max() > 1e-3
    rows = together.of(torch.tensor([1]))
    assert_close(mdetr.net.decode(rows)[-1], mdetr.net.decode(together)[-1][1:2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("number", range(4))
def test_macs_of_a_selection_are_what_torch_counts(number: int) -> None:
    """Backbone to heads, without the text encoder and the selector; constant outputs cost nothing."""
    mdetr = model()
    selection = random_selection(mdetr.units(), torch.Generator().manual_seed(number))
    subnet, (images, text, _) = extract(mdetr, selection), inputs(mdetr)
    one = Tokens(torch.full((1, 9), 7), torch.zeros(1, 9, dtype=torch.bool))
    with (
        torch.no_grad(),
        FlopCounterMode(display=False) as counter,
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        subnet.objects(subnet.decode(subnet.read(images[1:2], text[:1], one))[-1])
    parts = mdetr.cost_model.count(selection, 9)
    asked = sum(macs for name, macs in parts.items() if name not in ("text", "selector"))
    assert asked == pytest.approx(counter.get_total_flops() / 2, rel=1e-6)


def test_the_expected_share_of_hard_gates_is_their_share() -> None:
    mdetr = model()
    generator = torch.Generator().manual_seed(4)
    for selection in (random_selection(mdetr.units(), generator) for _ in range(5)):
        cost = mdetr.cost_model.cost(selection, 9)
        share = mdetr.cost_model.expected_share(selection.gates(), 9)
        assert float(share) == pytest.approx(sum(cost.parts.values()) / cost.full, rel=1e-5)
        asked = mdetr.cost_model.asked(9, selection, answers=True)
        assert asked.full - sum(asked.parts.values()) == cost.full - sum(cost.parts.values())


def test_what_is_asked_runs_the_subnet_that_its_words_choose() -> None:
    """The answer is the masked network's for the question's gates, and the cost that of its Selection."""
    config = GATED.model_copy(update={"answers": STREET, "is_final": False})
    mdetr = scrambled(Mdetr(config), 8)
    tokenizer = ByteTokenizer.train(["a red car"] * 9, 290, 12)
    picture = Image.effect_noise((64, 64), 90).convert("RGB")
    tokens = tokenizer.encode(["a red car"])
    with torch.no_grad():
        text = mdetr.text(tokens)
        assert mdetr.selector is not None
        gates = hard_gates(mdetr.selector(text, tokens))
        selection = Selection.from_gates(gates)
        memory = mdetr.net.read(normalise(to_tensor(picture))[None], text, tokens, gates=gates)
        hidden = mdetr.net.decode(memory)
        logits = mdetr.net.answer(hidden)
    assert 0 < selection.layers_on < selection.layers
    found = answer(mdetr, tokenizer, picture, "a red car", threshold=0)
    likely = logits["type"].softmax(-1)[0]
    kind = found.kind
    assert kind == STREET.types[int(likely.argmax())]
    sure = float(likely.max() * logits[kind].softmax(-1).max())
    assert found.confidence == pytest.approx(sure, rel=1e-3)
    assert found.cost == mdetr.cost_model.asked(tokens.ids.shape[1], selection, answers=True)
    grounded = ground_phrases(mdetr, tokenizer, picture, "a red car", spans=[(0, 9)], threshold=0)
    assert grounded.cost.parts["selector"] > 0
    assert sum(grounded.cost.parts.values()) < grounded.cost.full
    twice = answer_all(mdetr, tokenizer, picture, ["a car", "a red car"], threshold=0)
    assert (twice[1].evidence, twice[1].cost) == (found.evidence, found.cost)  # each sees by its own subnet


def test_expressions_together_run_what_each_of_them_chooses(tmp_path: Path) -> None:
    mdetr = scrambled(Mdetr(GATED), 8)
    assert mdetr.selector is not None
    with torch.no_grad():
        for parameter in mdetr.selector.parameters():
            parameter.mul_(10 if parameter.dim() > 1 else 1)  # or all words would choose as the biases do
    words = ["a red car", "cars", "a a red"]
    tokenizer = ByteTokenizer.train(["a red car"] * 9, 290, 12)
    grounder = load(checkpoint.save(tmp_path / "gated", mdetr, tokenizer, training={"run": "none"}))
    picture = Image.effect_noise((64, 64), 90).convert("RGB")
    alone = [grounder.ground(picture, text) for text in words]
    together = grounder.ground_batch([(picture, text) for text in words])
    assert len({found.selection for found in alone}) > 1
    for one, other in zip(alone, together, strict=True):
        assert one.selection == other.selection
        assert one.box == pytest.approx(other.box, abs=1e-2)
    (plain,) = ground_phrases(mdetr, tokenizer, picture, "a red car", spans=[(0, 9)], threshold=0).phrases
    folded = grounder.ground_phrases(picture, "a red car", spans=[(0, 9)], threshold=0)
    before = grounder.subnets.stats
    assert (
        grounder.ground_phrases(picture, "a red car", spans=[(0, 9)], threshold=0).phrases == folded.phrases
    )
    assert grounder.subnets.stats.hits > before.hits
    assert (grounder.subnets.stats.misses, grounder.subnets.stats.held) == (before.misses, before.held)
    assert folded.cost.full > sum(folded.cost.parts.values())
    for one, other in zip(plain.objects, folded.phrases[0].objects, strict=True):
        assert one.box == pytest.approx(other.box, abs=1e-2)
    whole = sum(alone[0].cost.parts.values()) / alone[0].cost.full
    less = grounder.ground(picture, words[0], budget=0.95 * whole)
    assert sum(less.cost.parts.values()) / less.cost.full <= 0.95 * whole


def test_a_gated_configuration_prints_and_parses() -> None:
    assert parse_config(GATED.model_dump(mode="json")) == GATED
    with torch.device("meta"):
        adaptive = build(MDETR["mdetr_adaptive"])
    assert sum(t.numel() for t in adaptive.state_dict().values()) * 4 <= 12 * 2**20
    assert isinstance(adaptive, Mdetr)
    assert adaptive.selector is not None

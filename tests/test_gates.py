"""Language gates against the paper's equations written out, and their noise against its distribution."""

import math
from collections.abc import Sequence

import pytest
import torch
from conftest import SHAPES, lads, random_tokens
from scipy import stats
from scrambled import scrambled
from torch import Tensor

from groundling.dynamic.gates import Draw, LanguageGates, decided, hard_gates, soft_gates, tossed_gates
from groundling.layers.fused import packed
from groundling.layers.resnet import ResNet, units
from groundling.layers.transformer import Encoder
from groundling.models.lads import Lads
from groundling.selection import Selection, Unit
from groundling.words.tokens import Tokens

UNITS = (
    Unit("layer1.0", "layer", 1, "layer1.0"),
    Unit("layer1.0.conv2", "filters", 3, "layer1.0"),
    Unit("encoder.0.attention", "attention", 1, "encoder.0"),
    Unit("encoder.0.ffn", "ffn", 1, "encoder.0"),
)
Matrix = Sequence[Sequence[float]]


def gelu(x: float) -> float:
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def written_out(gates: LanguageGates, words: Matrix) -> dict[str, list[float]]:
    """Eq. 1-3 in plain numbers for one expression (no padding)."""
    relevance = {}
    for g, group in enumerate(gates.groups):
        e_g = gates.pool.weight[g].tolist()
        raw = [math.exp(dot(e_g, word)) for word in words]
        alpha = [value / sum(raw) for value in raw]  # (1); the bias of the map is not needed
        h = [
            math.fsum(a * word[d] for a, word in zip(alpha, words, strict=True)) for d in range(len(e_g))
        ]  # (2)
        w_1 = gates.first_weight[g].T.tolist()
        hidden = [gelu(dot(row, h) + b) for row, b in zip(w_1, gates.first_bias[g].tolist(), strict=True)]
        for unit in gates.units:
            if unit.group == group:
                head = gates.heads[unit.name.replace(".", "_")]
                pairs = zip(head.weight.tolist(), head.bias.tolist(), strict=True)
                relevance[unit.name] = [dot(row, hidden) + b for row, b in pairs]  # (3)
    return relevance


def test_relevance_is_equations_1_to_3() -> None:
    gates = scrambled(LanguageGates(UNITS, dim=3, hidden=2))
    words = [[0.2, -1.0, 0.5], [1.5, 0.3, -0.7]]
    # a padded row: what lies behind the words has no say
    text = torch.tensor([[*words, [9.0, 9.0, 9.0]], [*words[::-1], [0.1, 0.2, 0.3]]])
    tokens = Tokens(torch.zeros(2, 3, dtype=torch.long), torch.tensor([[False, False, True], [False] * 3]))
    relevance = gates(text, tokens)
    for row, given in enumerate((words, text[1].tolist())):
        for name, scores in written_out(gates, given).items():
            assert relevance[name][row].tolist() == pytest.approx(scores, abs=1e-5)
    alpha = gates.attend(text, tokens)
    assert (alpha[0, 2] == 0).all()
    torch.testing.assert_close(alpha.sum(1), torch.ones(2, 2))


def test_layer_heads_share_their_hidden_map() -> None:
    """W_1 of Eq. 3 is one per layer, shared by its heads; attention and feed-forward are one layer's."""
    gates = LanguageGates(UNITS, dim=3, hidden=2)
    assert gates.groups == ("layer1.0", "encoder.0")
    assert gates.first_weight.shape == (2, 3, 2)


def test_gates_are_equations_4_and_5() -> None:
    """σ of r plus noise; where the coin says hard, 1 from one half on."""
    relevance = {"a": torch.tensor([[-20.0, -0.5, 0.0, 0.5, 20.0]])}
    plain = soft_gates(relevance)["a"][0].tolist()
    assert plain == pytest.approx([1 / (1 + math.exp(-r)) for r in (-20, -0.5, 0, 0.5, 20)])
    hard_steps = 0
    for step in range(20):
        draw = Draw(0, step, 0, 1, 1)
        soft = soft_gates(relevance, draw)
        gates = tossed_gates(soft, draw)
        if not torch.equal(gates["a"], soft["a"]):
            hard_steps += 1
            torch.testing.assert_close(gates["a"], (soft["a"] >= 0.5).float())
    assert 3 < hard_steps < 17


def test_evaluation_has_no_noise() -> None:
    relevance = {"a": torch.tensor([[-1e-6, -0.0, 0.0, 1e-6, -3.0, 3.0]])}
    assert hard_gates(relevance)["a"].tolist() == [[0, 1, 1, 1, 0, 1]]  # on where r ≥ 0
    assert Selection.from_gates(hard_gates(relevance)).units[0][1] == (False, True, True, True, False, True)


def test_hard_gates_are_equation_5_without_noise() -> None:
    """1 where σ(r) is at least one half, worked out number by number; whatever the generator's state."""
    drawn = torch.Generator().manual_seed(4)
    relevance = {name: torch.randn(5, size, generator=drawn) for name, size in (("a", 7), ("b", 1))}
    written = {
        name: [[float(1 / (1 + math.exp(-r)) >= 0.5) for r in row] for row in scores.tolist()]
        for name, scores in relevance.items()
    }
    assert {0.0, 1.0} == {gate for rows in written.values() for row in rows for gate in row}
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found = hard_gates(relevance)
        assert {name: gates.tolist() for name, gates in found.items()} == written
        assert torch.equal(torch.get_rng_state(), before)


# --- noise -----------------------------------------------------------------------------------------


def noise(step: int, rows: int = 64, columns: int = 300, seed: int = 0) -> Tensor:
    """ε of Eq. 4: what soft gates of r = 0 are before σ."""
    soft = soft_gates({"a": torch.zeros(rows, columns)}, Draw(seed, step, 0, rows, rows))["a"].double()
    return (soft / (1 - soft)).log()


def test_noise_is_logistic() -> None:
    """Kolmogorov-Smirnov against Logistic(0, 1); its variance is π²/3."""
    sample = noise(3).flatten()
    assert stats.kstest(sample.numpy(), "logistic").pvalue > 1e-3
    assert float(sample.mean()) == pytest.approx(0, abs=0.06)
    assert float(sample.var()) == pytest.approx(math.pi**2 / 3, rel=0.05)


def test_noise_is_new_in_every_step_row_filter_and_run() -> None:
    first, later, other_run = noise(1), noise(2), noise(1, seed=1)
    assert torch.equal(first, noise(1))
    for a, b in ((first, later), (first, other_run), (first[:-1], first[1:]), (first[:, :-1], first[:, 1:])):
        assert abs(float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1])) < 0.04
    two = soft_gates({"a": torch.zeros(8, 50), "b": torch.zeros(8, 50)}, Draw(0, 0, 0, 8, 8))
    assert not torch.equal(two["a"], two["b"])


def coins(steps: int) -> list[bool]:
    """Which steps are soft."""
    soft = {"a": torch.tensor([[0.3]])}
    return [bool(tossed_gates(soft, Draw(0, step, 0, 1, 1))["a"] == soft["a"]) for step in range(steps)]


def test_batch_coin_is_fair_and_without_memory() -> None:
    """Neighbouring steps have neighbouring seeds, which must not show."""
    tossed = torch.tensor(coins(600)).double()
    assert float(tossed.mean()) == pytest.approx(0.5, abs=0.08)
    for lag in (1, 2, 3, 7):
        pair = torch.stack((tossed[:-lag], tossed[lag:]))
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.15
    first_noise = torch.tensor([float(noise(step, 1, 1)) for step in range(600)])
    assert abs(float(torch.corrcoef(torch.stack((tossed, first_noise.double())))[0, 1])) < 0.15


def test_batch_coin_is_one_for_all_and_element_coin_one_for_each() -> None:
    soft = {"a": torch.full((50, 40), 0.3), "b": torch.full((50, 1), 0.9)}
    for step in range(8):
        gates = tossed_gates(soft, Draw(0, step, 0, 50, 50), "batch")
        kept = {bool((gates[name] == soft[name]).all()) for name in soft}
        assert len(kept) == 1
        assert kept == {True} or ((gates["a"] == 0).all() and (gates["b"] > 0.99).all())
    element = tossed_gates(soft, Draw(0, 0, 0, 50, 50), "element")["a"]
    assert sorted(element.unique().tolist()) == pytest.approx([0.0, 0.3])
    assert float((element == 0).double().mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("coin", ["batch", "element"])
def test_hard_gates_pass_the_gradient_of_soft_ones(coin: str) -> None:
    for step in range(6):
        draw = Draw(0, step, 0, 4, 4)
        relevance = torch.randn(4, 5, generator=torch.Generator().manual_seed(step)).requires_grad_()
        soft = soft_gates({"a": relevance}, draw)
        weight = torch.arange(20.0).view(4, 5)
        (got,) = torch.autograd.grad((tossed_gates(soft, draw, coin)["a"] * weight).sum(), relevance)
        s = soft["a"].detach()
        torch.testing.assert_close(got, weight * s * (1 - s))


@pytest.mark.parametrize("coin", ["batch", "element"])
def test_parts_of_a_draw_are_parts_of_the_whole(coin: str) -> None:
    """A batch cut over processes sees the noise and coins that one process would have seen."""
    generator = torch.Generator().manual_seed(0)
    relevance = {"a": torch.randn(12, 7, generator=generator), "b": torch.randn(12, 1, generator=generator)}
    for step in range(4):
        draw = Draw(3, step, 0, 12, 12)
        soft = soft_gates(relevance, draw)
        whole = tossed_gates(soft, draw, coin)
        for first, count in ((0, 5), (5, 4), (9, 3)):
            part = Draw(3, step, first, count, 12)
            some = soft_gates({n: r[first : first + count] for n, r in relevance.items()}, part)
            gates = tossed_gates(some, part, coin)
            for name in relevance:
                mine = slice(first, first + count)
                torch.testing.assert_close(some[name], soft[name][mine], atol=1e-6, rtol=0)
                torch.testing.assert_close(gates[name], whole[name][mine], atol=1e-6, rtol=0)


def test_noise_leaves_torch_s_own_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    draw = Draw(0, 0, 0, 2, 2)
    tossed_gates(soft_gates({"a": torch.zeros(2, 3)}, draw), draw, "element")
    assert torch.equal(torch.get_rng_state(), before)


# --- the gating network of LADS on ResNet-50 ---------------------------------------------------------


@pytest.fixture(scope="module")
def resnet50_units() -> tuple[Unit, ...]:
    with torch.device("meta"):
        return units(ResNet((3, 4, 6, 3)), "released", inner=False) + Encoder(6, 256, 8, 2048, 0.1).units()


def test_gates_of_resnet50(resnet50_units: tuple[Unit, ...]) -> None:
    """methods.md 1.2: 13 layers, 3·64 + 3·128 + 5·256 + 2·512 filters, 6 attentions, 6 feed-forwards."""
    sizes: dict[str, int] = {}
    for unit in resnet50_units:
        sizes[unit.kind] = sizes.get(unit.kind, 0) + unit.size
    assert sizes == {"layer": 13, "filters": 2880, "attention": 6, "ffn": 6}
    strided = {"layer2.0", "layer3.0", "layer4.0"}
    assert not strided & {unit.name for unit in resnet50_units}


@pytest.mark.parametrize(("gated", "layers"), [("released", 13), ("paper", 12), ("all", 16)])
def test_which_blocks_are_gated(gated: str, layers: int) -> None:
    """The paper's x + F(x) gates the 12 blocks with an identity shortcut; its released code layer1.0 too."""
    with torch.device("meta"):
        found = units(ResNet((3, 4, 6, 3)), gated, inner=True)
    assert sum(unit.kind == "layer" for unit in found) == layers
    assert sum(unit.kind == "filters" for unit in found) == 2 * layers


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_size_of_the_released_gating_network(resnet50_units: tuple[Unit, ...]) -> None:
    gates = LanguageGates(resnet50_units, 768, hidden=32, trunk="released")
    norms = [parameters(norm) for norm in gates.norms]
    heads = dict.fromkeys(("filters", "layer", "attention", "ffn"), 0)
    for unit in resnet50_units:
        heads[unit.kind] += parameters(gates.heads[unit.name.replace(".", "_")])
    assert parameters(gates.pool) == 14_611  # 19 embeddings and biases
    assert norms == [29_184, 1_216, 2_432]
    assert parameters(gates.first) == 467_552  # 19 groups of 768 → 32
    assert parameters(gates.second) == 40_128  # 19 groups of 32 → 64
    assert (heads["filters"], heads["layer"], heads["attention"] + heads["ffn"]) == (95_040, 429, 396)
    assert parameters(gates) == 650_988


def test_size_of_the_paper_s_gating_network(resnet50_units: tuple[Unit, ...]) -> None:
    assert parameters(LanguageGates(resnet50_units, 768, hidden=32)) == pytest.approx(600_000, rel=0.1)


@pytest.mark.parametrize("trunk", ["paper", "released"])
def test_gates_start_nearly_open(trunk: str) -> None:
    """Biases of +3 (σ = 0.95); each expression still differs."""
    torch.manual_seed(0)
    gates = LanguageGates(UNITS, dim=16, hidden=8, trunk=trunk).eval()
    with torch.no_grad():
        relevance = gates(torch.randn(20, 5, 16), random_tokens(20, 5, 50, padded=False))
    for scores in relevance.values():
        assert float(scores.mean()) == pytest.approx(3, abs=1)
        assert float(scores.std(0).min()) > 0


def test_released_trunk_by_its_layers() -> None:
    """BN → GELU → 768→32 → BN → GELU → 32→64 → BN → GELU per layer, the 64 split between its two heads."""
    gates = scrambled(LanguageGates(UNITS, dim=3, hidden=2, trunk="released"))
    text, tokens = torch.randn(4, 5, 3), random_tokens(4, 5, 50)
    pooled = torch.einsum("elg,eld->egd", gates.attend(text, tokens), text)
    relevance = gates(text, tokens)
    gelu_ = torch.nn.functional.gelu
    for g, group in enumerate(gates.groups):

        def norm(index: int, x: Tensor, g: int = g) -> Tensor:
            bn, mine = gates.norms[index], slice(g * x.shape[1], (g + 1) * x.shape[1])
            scale = bn.weight[mine] / (bn.running_var[mine] + bn.eps).sqrt()
            return gelu_((x - bn.running_mean[mine]) * scale + bn.bias[mine])

        x = norm(0, pooled[:, g])
        for index, conv, width in ((1, gates.first, 2), (2, gates.second, 4)):
            mine = slice(g * width, (g + 1) * width)
            x = norm(index, x @ conv.weight[mine, :, 0].T + conv.bias[mine])
        for place, unit in enumerate(unit for unit in UNITS if unit.group == group):
            head = gates.heads[unit.name.replace(".", "_")]
            expected = x[:, 2 * place : 2 * place + 2] @ head.weight.T + head.bias
            torch.testing.assert_close(relevance[unit.name], expected)


# --- a batch is its expressions ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_equals_one_by_one(shape: str) -> None:
    """Expressions of different lengths, padded to the longest: scores, gates and boxes are each one's own."""
    model: Lads = lads(shape)
    size, tokens = model.config.image_size, random_tokens(4, 8, 50)
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    index = torch.tensor([0, 2, 1, 2])
    with torch.no_grad():
        text = model.text(tokens)
        relevance = model.selector(text, tokens)
        gates = hard_gates(relevance)
        together = model.net(images, text, tokens, gates, index)
        open_together = model.net(images, text, tokens, None, index)
        for row in range(4):
            words = int((~tokens.padding[row]).sum())
            alone = Tokens(tokens.ids[row : row + 1, :words], tokens.padding[row : row + 1, :words])
            text_alone = model.text(alone)
            for name, scores in model.selector(text_alone, alone).items():
                torch.testing.assert_close(scores[0], relevance[name][row], atol=1e-5, rtol=0)
            mine = {name: gate[row : row + 1] for name, gate in gates.items()}
            for found, given in ((together, mine), (open_together, None)):
                answer = model.net(images[index[row]][None], text_alone, alone, given)
                torch.testing.assert_close(
                    answer.boxes_cxcywh01[0], found.boxes_cxcywh01[row], atol=1e-5, rtol=0
                )
                if found.scores is not None:
                    torch.testing.assert_close(answer.scores[0], found.scores[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_packed_gates_are_those_one_by_one(shape: str) -> None:
    """All heads as one product, for answers alone; and what they decide is what hard gates say."""
    model = lads(shape)
    selector = model.selector
    assert selector is not None
    tokens = random_tokens(3, 6, 50)
    text = torch.randn(3, 6, model.config.text.dim, generator=torch.Generator().manual_seed(1))
    plain, twin = selector(text, tokens), packed(selector)
    with torch.no_grad():
        found = twin(text, tokens)
    assert [*found] == [*plain]
    for name, scores in plain.items():
        torch.testing.assert_close(found[name], scores)
    assert twin(text, tokens)["encoder.0.ffn"].requires_grad  # with gradients: the heads themselves
    assert selector.packed == ()
    gates = hard_gates(found)
    assert decided(found) == [Selection.from_gates(gates, row) for row in range(3)]

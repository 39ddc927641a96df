"""An extracted subnet equals its masked supernet, is dense, shares what it can, is cached within bounds."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import SHAPES, lads, random_selection, random_tokens
from scrambled import scrambled
from torch import Tensor, nn

from groundling.dynamic.extract import ENTRY_BYTES, SubnetCache, extract, storages
from groundling.dynamic.gates import LanguageGates
from groundling.layers.resnet import BasicBlock
from groundling.models import PRESETS
from groundling.models.lads import GroundingNet, Lads
from groundling.selection import Selection, Unit, is_filters, layer_of
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
    with pytest.raises(ValueError, match="another supernet"):
        extract(lads("paper"), Selection.all_on(lads("all").units()))
    with pytest.raises(ValueError, match="another supernet"):
        SubnetCache(lads("paper"), 0).get(Selection.all_on(lads("all").units()))


def test_constant_is_exact_under_autocast() -> None:
    """What is left of a layer without filters was a matrix product, which autocast rounds to bf16."""
    model = lads("inner")
    selection = special_selections(model.units())["1×1 off, 3×3 on"]
    plain = extract(model, selection).state_dict()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = extract(model, selection).state_dict()
    assert all(torch.equal(plain[name], rounded[name]) for name in plain)


# --- the cache -------------------------------------------------------------------------------------


def answer(net: GroundingNet, given: tuple[Tensor, Tensor, Tokens]) -> Tensor:
    return Seen(net)(*given)[-1]


def some_selections(model: Lads, count: int, seed: int = 5) -> list[Selection]:
    generator = torch.Generator().manual_seed(seed)
    return [random_selection(model.units(), generator) for _ in range(count)]


def own_bytes(cache: SubnetCache[GroundingNet], model: Lads, selection: Selection) -> int:
    """Bytes of a subnet that neither the supernet nor the folded whole holds, counted another way."""
    shared = [*model.net.parameters(), *model.net.buffers()]
    whole = SubnetCache(model, 0)
    shared += list(whole.get(Selection.all_on(model.units())).parameters())
    places = {tensor.data_ptr() for tensor in shared}
    net = whole.get(selection)
    tensors = [*net.parameters(), *net.buffers()]
    return sum(t.numel() * t.element_size() for t in tensors if t.numel() and t.data_ptr() not in places)


@pytest.mark.parametrize("shape", SHAPES)
def test_cached_subnet_is_the_extracted_one(shape: str) -> None:
    model = lads(shape)
    cache, given = SubnetCache(model, 2**30), inputs(model)
    for selection in [*special_selections(model.units()).values(), *some_selections(model, 3)]:
        torch.testing.assert_close(
            answer(cache.get(selection), given), answer(extract(model, selection), given)
        )


def test_cached_subnets_share_what_they_do_not_slice() -> None:
    """Also convolutions whose norms were folded, which `extract` alone must make anew."""
    model = lads("released")
    cache = SubnetCache(model, 2**30)
    one, two = (cache.get(selection) for selection in some_selections(model, 2))
    assert one.backbone.conv1.weight.data_ptr() == two.backbone.conv1.weight.data_ptr()
    strided = (net.backbone.layer2[0].conv2.weight.data_ptr() for net in (one, two))  # not gated here
    assert len(set(strided)) == 1


def test_cache_keeps_what_was_used_last() -> None:
    model = lads("all")
    first, second, third = some_selections(model, 3)
    probe = SubnetCache(model, 2**30)
    sizes = {}
    for selection in (first, second, third):
        before = probe.stats.bytes
        probe.get(selection)
        sizes[selection] = probe.stats.bytes - before
    assert sizes[first] == ENTRY_BYTES + own_bytes(probe, model, first) > ENTRY_BYTES

    cache = SubnetCache(model, sum(sizes.values()) - 1)
    kept = cache.get(first)
    cache.get(second)
    assert cache.get(first) is kept
    cache.get(third)  # no room for all three: the second was not used for longest
    assert cache.get(first) is kept
    stats = cache.stats
    assert (stats.hits, stats.misses, stats.subnets) == (2, 3, 2)
    assert stats.bytes == sizes[first] + sizes[third] <= cache.limit_bytes
    cache.get(second)
    assert cache.stats.misses == 4


def test_cache_is_bounded_where_subnets_share_all_weights() -> None:
    """Whole layers on or off: such subnets have no weights of their own, and any number of them was kept."""
    model = lads("all")
    whole = Selection.all_on(model.units())
    layers = [unit.name for unit in model.units() if unit.kind != "filters"]
    off = [dict(whole.units) | {name: (False,)} for name in layers]
    selections = [whole, *(Selection(tuple(units.items())) for units in off)]
    cache = SubnetCache(model, 3 * ENTRY_BYTES + 100)
    assert [own_bytes(cache, model, selection) for selection in selections] == [0] * len(selections)
    for selection in selections:
        cache.get(selection)
    assert len(selections) > 6
    assert (cache.stats.subnets, cache.stats.bytes) == (3, 3 * ENTRY_BYTES)


def test_selections_of_one_subnet_share_it() -> None:
    model = lads("inner")
    off = {u.name: (False,) * u.size for u in model.units()}
    idle = off | {u.name: (True,) * u.size for u in model.units() if is_filters(u.name)}
    cache = SubnetCache(model, 2**30)
    assert cache.get(Selection(tuple(off.items()))) is cache.get(Selection(tuple(idle.items())))


def test_subnet_larger_than_the_cache_is_not_kept() -> None:
    """And does not push out what is there."""
    model = lads("all")
    layer = next(u.name for u in model.units() if u.kind == "layer")
    small = {
        u.name: tuple(i == 0 for i in range(u.size))
        if layer in (u.name, layer_of(u.name))
        else (False,) * u.size
        for u in model.units()
    }
    tiny, large = Selection(tuple(small.items())), some_selections(model, 1)[0]
    limit = ENTRY_BYTES + own_bytes(SubnetCache(model, 0), model, tiny)
    cache, given = SubnetCache(model, limit), inputs(model)
    kept = cache.get(tiny)
    torch.testing.assert_close(answer(cache.get(large), given), answer(extract(model, large), given))
    assert cache.get(tiny) is kept
    assert (cache.stats.subnets, cache.stats.bytes) == (1, limit)
    with pytest.raises(ValueError, match="-1 bytes"):
        SubnetCache(model, -1)


def test_clear_after_training() -> None:
    model = lads("paper")
    cache, given, selection = SubnetCache(model, 2**30), inputs(model), some_selections(model, 1)[0]
    old = answer(cache.get(selection), given)
    scrambled(model, seed=9)
    cache.clear()
    assert (cache.stats.subnets, cache.stats.bytes) == (0, 0)
    new = answer(cache.get(selection), given)
    torch.testing.assert_close(new, answer(extract(model, selection), given))
    assert not torch.allclose(old, new)


def test_clear_during_an_extraction() -> None:
    """Who asked gets the subnet, but weights that are gone by now are not kept."""
    model = lads("paper")
    cache, selection = SubnetCache(model, 2**30), some_selections(model, 1)[0]
    cache.get(Selection.all_off(model.units()))  # folds the supernet
    started, go_on, found = threading.Event(), threading.Event(), []
    whole = cache._shelf.whole(model, model.units())
    extract_now = whole.extract

    def slowly(wanted: Selection) -> GroundingNet:
        started.set()
        go_on.wait()
        return extract_now(wanted)

    whole.extract = slowly  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: found.append(cache.get(selection)))
    thread.start()
    started.wait()
    cache.clear()
    go_on.set()
    thread.join()
    assert len(found) == 1
    assert cache.stats.subnets == 0
    assert cache.get(selection) is not found[0]


def test_failed_extraction_is_tried_again() -> None:
    model = lads("paper")
    cache, selection = SubnetCache(model, 2**30), Selection.all_off(model.units())
    broken, model.net.extract = model.net.extract, None  # type: ignore[method-assign, assignment]
    with pytest.raises(TypeError):
        cache.get(selection)
    model.net.extract = broken  # type: ignore[method-assign]
    cache.get(selection)
    assert cache.stats.subnets == 1


def test_sixteen_threads_get_the_answers_of_one() -> None:
    """Also while subnets are pushed out; each Selection is extracted once where all of them have room."""
    model = lads("inner")
    selections, given = some_selections(model, 6), inputs(model)
    alone = [answer(extract(model, selection), given) for selection in selections]
    for limit, once in ((2**30, True), (3 * ENTRY_BYTES, False)):
        cache, barrier = SubnetCache(model, limit), threading.Barrier(16)

        def work(thread: int, cache=cache, barrier=barrier) -> list[tuple[int, Tensor]]:
            barrier.wait()
            order = [(thread + i) % len(selections) for i in range(2 * len(selections))]
            return [(i, answer(cache.get(selections[i]), given)) for i in order]

        with ThreadPoolExecutor(16) as pool:
            for found in pool.map(work, range(16)):
                for i, out in found:
                    assert torch.equal(out, alone[i]) or torch.allclose(out, alone[i], atol=1e-6)
        stats = cache.stats
        assert stats.hits + stats.misses == 16 * 2 * len(selections)
        assert stats.bytes <= limit
        assert not once or stats.misses == len(selections)


def test_subnet_made_in_inference_mode_is_usable_outside() -> None:
    model = lads("paper")
    cache, selection = SubnetCache(model, 2**30), some_selections(model, 1)[0]
    with torch.inference_mode():
        net = cache.get(selection)
    assert not any(tensor.is_inference() for tensor in (*net.parameters(), *net.buffers()))
    assert storages(net)

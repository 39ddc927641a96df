"""Parts that were cut before: the answers of an extraction, in at most so many bytes, for all threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import SHAPES, lads, random_selection
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from scrambled import scrambled
from test_extract import inputs, special_selections
from torch import Tensor

from groundling.dynamic.blocks import ENTRY_BYTES, BlockCache, storages
from groundling.dynamic.extract import extract
from groundling.models.lads import GroundingNet, Lads
from groundling.selection import Selection, is_filters
from groundling.words.tokens import Tokens

Given = tuple[Tensor, Tensor, Tokens]


@torch.no_grad()
def answer(net: GroundingNet, given: Given) -> Tensor:
    """Boxes, and scores where there are some, in the network's precision."""
    found = net(*given)
    return torch.cat([found.boxes_cxcywh01.flatten(), *(each.flatten() for each in found.dense_logits)])


def some_selections(model: Lads, count: int, seed: int = 5) -> list[Selection]:
    generator = torch.Generator().manual_seed(seed)
    return [random_selection(model.units(), generator) for _ in range(count)]


def blocks(net: GroundingNet) -> dict[str, int]:
    """The very modules that a network is put together from."""
    found = {name: id(block) for name, block in net.backbone.named_blocks()}
    return found | {f"encoder.{i}": id(layer) for i, layer in enumerate(net.encoder.layers)}


def own_bytes(cache: BlockCache[GroundingNet], model: Lads, selection: Selection) -> int:
    """Bytes of a subnet that neither the supernet nor the folded whole holds, counted another way."""
    whole = cache.whole()
    shared = [*model.net.parameters(), *model.net.buffers(), *whole.parameters(), *whole.buffers()]
    places = {tensor.data_ptr() for tensor in shared}
    net = cache.get(selection)
    tensors = {t.data_ptr(): t for t in (*net.parameters(), *net.buffers()) if t.numel()}
    return sum(t.numel() * t.element_size() for place, t in tensors.items() if place not in places)


@pytest.mark.parametrize("shape", SHAPES)
def test_cached_subnet_is_the_extracted_one(shape: str) -> None:
    model = lads(shape)
    cache, given = BlockCache(model, 2**30), inputs(model)
    chosen = [*special_selections(model.units()).values(), *some_selections(model, 3)]
    for selection in [*chosen, *chosen]:  # cut, then put together from what was cut
        expected = answer(extract(model, selection), given)
        torch.testing.assert_close(answer(cache.get(selection), given), expected)
        torch.testing.assert_close(answer(cache.plain(selection), given), expected)


def test_a_block_is_cut_once_for_all_subnets_that_keep_the_same_of_it() -> None:
    model = lads("inner")
    one, two = some_selections(model, 2)
    cache = BlockCache(model, 2**30)
    first, second = blocks(cache.get(one)), blocks(cache.get(two))
    name = next(name for name in first if first[name] != second[name])
    theirs = dict(one.units)
    mixed = Selection(tuple((n, theirs[n] if n.startswith(name) else bits) for n, bits in two.units))
    before = cache.stats
    found = blocks(cache.get(mixed))
    assert cache.stats.misses == before.misses  # a Selection that was not seen, of parts that were
    assert found[name] == first[name] != second[name]
    assert {n: p for n, p in found.items() if n != name} == {n: p for n, p in second.items() if n != name}


def test_parts_share_what_they_do_not_slice() -> None:
    """Also convolutions whose norms were folded, which `extract` alone must make anew."""
    model = lads("released")
    cache = BlockCache(model, 2**30)
    one, two = (cache.get(selection) for selection in some_selections(model, 2))
    assert one.backbone.conv1.weight.data_ptr() == two.backbone.conv1.weight.data_ptr()
    strided = (net.backbone.layer2[0].conv2.weight.data_ptr() for net in (one, two))  # not gated here
    assert set(strided) == {cache.whole().backbone.layer2[0].conv2.weight.data_ptr()}


def test_selections_of_one_subnet_share_its_parts() -> None:
    """Filters of a layer that is off, and those of a 1×1 of which nothing comes, tell no blocks apart."""
    model = lads("inner")
    off = {u.name: (False,) * u.size for u in model.units()}
    idle = off | {u.name: (True,) * u.size for u in model.units() if is_filters(u.name)}
    layers = {u.name: (True,) for u in model.units() if u.kind == "layer"}
    inner = layers | {u.name: (True,) * u.size for u in model.units() if u.name.endswith("conv1")}
    cache = BlockCache(model, 2**30)
    for one, other in ((off, idle), (off | layers, off | inner)):
        first, second = (cache.get(Selection(tuple(units.items()))) for units in (one, other))
        assert blocks(first) == blocks(second)


def test_what_is_held_is_counted() -> None:
    model = lads("all")
    cache, (selection,) = BlockCache(model, 2**30), some_selections(model, 1)
    own = own_bytes(cache, model, selection)
    stats = cache.stats
    assert stats.bytes == own + ENTRY_BYTES * stats.held
    assert own > 0
    assert (stats.hits, stats.misses) == (0, stats.held)
    cache.get(selection)
    assert cache.stats == type(stats)(stats.held, stats.held, stats.held, stats.bytes)
    whole = BlockCache(model, 2**30)
    whole.get(Selection.all_on(model.units()))
    assert whole.stats.bytes == ENTRY_BYTES * whole.stats.held  # all of its weights are shared


@settings(max_examples=25, deadline=None)
@drawn(st.lists(st.integers(0, 7), min_size=1, max_size=12), st.integers(0, 12), st.booleans())
def test_the_bound_holds_whatever_is_asked(order: list[int], entries: int, sliced: bool) -> None:
    """After every request: no more bytes than allowed, counted once more over what is really held."""
    model = lads("inner" if sliced else "all")
    selections = [Selection.all_off(model.units()), *some_selections(model, 7)]
    limit = int(entries * (ENTRY_BYTES + 2500))
    cache = BlockCache(model, limit)
    for place in order:
        cache.get(selections[place])
        shelf = cache.cutter
        shared = {*storages(model.net), *storages(cache.whole())}
        held = {p: n for part in shelf._parts.values() for p, n in storages(part).items() if p not in shared}
        assert cache.stats.bytes == sum(held.values()) + ENTRY_BYTES * len(shelf._parts) <= limit
        assert cache.stats.held == len(shelf._parts) == len(shelf._sizes)


def test_parts_used_last_are_kept() -> None:
    model = lads("all")
    first, second, third = some_selections(model, 3)
    probe = BlockCache(model, 2**30)
    sizes = []
    for selection in (first, second, third):
        before = probe.stats.bytes
        probe.get(selection)
        sizes.append(probe.stats.bytes - before)
    cache = BlockCache(model, sum(sizes) - 1)
    kept = blocks(cache.get(first))
    cache.get(second)
    assert blocks(cache.get(first)) == kept
    cache.get(third)  # no room for all: what only the second has was not used for longest
    assert blocks(cache.get(first)) == kept
    before = cache.stats.misses
    cache.get(second)
    assert cache.stats.misses > before


def test_any_number_of_selections_leaves_no_more_entries_than_there_are_parts() -> None:
    """Whole layers on or off: subnets have no weights of their own, and any number of them was kept."""
    model = lads("all")
    whole = Selection.all_on(model.units())
    layers = [unit.name for unit in model.units() if unit.kind != "filters"]
    generator = torch.Generator().manual_seed(1)
    cache = BlockCache(model, 2**30)
    cache.get(whole)
    parts = cache.stats.held
    for _ in range(60):
        off = {name: (bool(torch.rand((), generator=generator) < 0.5),) for name in layers}
        cache.get(Selection(tuple((dict(whole.units) | off).items())))
    blocks_, sublayers = len([*model.net.backbone.named_blocks()]), len(model.net.encoder.layers)
    assert cache.stats.held <= parts + blocks_ + 3 * sublayers
    small = BlockCache(model, 3 * ENTRY_BYTES + 100)
    small.get(whole)
    assert (small.stats.held, small.stats.bytes) == (3, 3 * ENTRY_BYTES)


def test_a_part_larger_than_the_cache_is_not_kept() -> None:
    model, (selection,) = lads("all"), some_selections(lads("all"), 1)
    cache, given = BlockCache(model, ENTRY_BYTES - 1), inputs(model)
    torch.testing.assert_close(answer(cache.get(selection), given), answer(extract(model, selection), given))
    assert (cache.stats.held, cache.stats.bytes) == (0, 0)
    with pytest.raises(ValueError, match="-1 bytes"):
        BlockCache(model, -1)
    with pytest.raises(ValueError, match="another network"):
        cache.get(Selection.all_on(lads("paper").units()))
    with pytest.raises(ValueError, match="another network"):
        cache.plain(Selection.all_on(lads("paper").units()))


def test_clear_after_training() -> None:
    model = lads("paper")
    cache, given, selection = BlockCache(model, 2**30), inputs(model), some_selections(model, 1)[0]
    old = answer(cache.get(selection), given)
    scrambled(model, seed=9)
    before = cache.stats
    cache.clear()
    assert cache.stats == type(before)(before.hits, before.misses, 0, 0)
    new = answer(cache.get(selection), given)
    torch.testing.assert_close(new, answer(extract(model, selection), given))
    assert not torch.allclose(old, new)


def test_clear_while_a_part_is_cut() -> None:
    """Who asked gets it, but weights that are gone by now are not kept."""
    model = lads("paper")
    cache, selection = BlockCache(model, 2**30), some_selections(model, 1)[0]
    cache.get(Selection.all_off(model.units()))  # folds the supernet
    started, go_on, found = threading.Event(), threading.Event(), []
    name = next(u.name for u in model.units() if u.kind == "layer" and selection.on(u.name))
    block = dict(cache.whole().backbone.named_blocks())[name]
    extract_now = block.extract

    def slowly(*kept: object) -> object:
        started.set()
        go_on.wait()
        return extract_now(*kept)

    block.extract = slowly  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: found.append(cache.get(selection)))
    thread.start()
    started.wait()
    cache.clear()
    go_on.set()
    thread.join()
    assert len(found) == 1
    assert cache.stats.held == 0
    assert not set(blocks(cache.get(selection)).values()) & set(blocks(found[0]).values())


def test_a_cut_that_failed_is_tried_again() -> None:
    model = lads("paper")
    cache, selection = BlockCache(model, 2**30), Selection.all_on(model.units())
    block = dict(cache.whole().backbone.named_blocks())["layer1.0"]
    block.extract = None  # type: ignore[method-assign, assignment]
    with pytest.raises(TypeError):
        cache.get(selection)
    del block.extract
    cache.get(selection)
    assert cache.stats.held == len(cache.cutter._parts)


def test_sixteen_threads_get_the_answers_of_one() -> None:
    """Also while parts are pushed out; each is cut once where all of them have room."""
    model = lads("inner")
    selections, given = some_selections(model, 6), inputs(model)
    alone = [answer(extract(model, selection), given) for selection in selections]
    for limit, once in ((2**30, True), (9 * ENTRY_BYTES, False)):
        cache, barrier = BlockCache(model, limit), threading.Barrier(16)

        def work(thread: int, cache=cache, barrier=barrier) -> list[tuple[int, Tensor]]:
            barrier.wait()
            order = [(thread + i) % len(selections) for i in range(2 * len(selections))]
            return [(i, answer(cache.get(selections[i]), given)) for i in order]

        with ThreadPoolExecutor(16) as pool:
            for found in pool.map(work, range(16)):
                for i, out in found:
                    assert torch.equal(out, alone[i]) or torch.allclose(out, alone[i], atol=1e-6)
        stats = cache.stats
        assert stats.bytes <= limit
        assert not once or stats.misses == stats.held


def test_parts_made_in_inference_mode_are_usable_outside() -> None:
    model = lads("paper")
    cache, selection = BlockCache(model, 2**30), some_selections(model, 1)[0]
    with torch.inference_mode():
        net = cache.get(selection)
    assert not any(tensor.is_inference() for tensor in (*net.parameters(), *net.buffers()))
    assert storages(net)

"""Requests with different Selections in one forward: nothing that is off is computed for any of them.

Rows that skip a layer leave the batch for it. Rows with different filters either run one group after another
(each group's rows share a block), all rows layer by layer or a few at once through all layers, or share one
grouped product over weights that are gathered for each row and padded to the batch's largest count: which is
fastest depends on the device.
Shapes: I images, E rows (expressions), C channels, K filters, H, W; L tokens, D channels.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundling.dynamic.blocks import BlockCache
from groundling.layers.cutting import ANEW, Cutter
from groundling.layers.resnet import Bottleneck, cut
from groundling.layers.transformer import Encoder, EncoderLayer
from groundling.models.supernet import FusionNetwork, Network, Prediction
from groundling.selection import Selection
from groundling.words.tokens import Tokens

Filters = tuple[bool, ...] | None  # None: all
Kept = tuple[bool, Filters, Filters]  # of a block, as `Selection.of_block` says
# Of each row, the tensor that it lies in and its place there: rows that skip a block are not copied.
State = list[tuple[Tensor, int]]
# Rows that go through the backbone together "in parts": of 32 for lads_street, 1 took 5.8 ms a row, 4 5.7,
# 8 5.4, 16 5.5 and all together 6.5.
AT_ONCE = 8
TRIALS = 2  # of each way of running a batch: the last one counts


@dataclass(frozen=True)
class Rows:
    """What a batch asks: for each row a Selection, the place of its image, and its words.

    `pixels` (I, 3, H, W), `image_index` (E,), `text` (E, L, D), and what of the pixels is no padding,
    `shown` (I, H, W), None for all. ValueError unless each row has one of each.
    """

    selections: Sequence[Selection]
    pixels: Tensor
    image_index: Tensor
    text: Tensor
    tokens: Tokens
    shown: Tensor | None = None

    def __post_init__(self) -> None:
        if not len(self.selections) == len(self.image_index) == len(self.text):
            raise ValueError(
                f"{len(self.selections)} Selections, {len(self.image_index)} image indices and "
                f"{len(self.text)} texts: each row has one of each"
            )

    def __len__(self) -> int:
        return len(self.selections)


def run(
    net: FusionNetwork,
    rows: Rows,
    *,
    grouped: bool = False,
    at_once: int | None = None,
    cutter: Cutter = ANEW,
) -> Prediction:
    """Answers of all rows; `net` is the network with everything on and its norms folded (`extract`).

    Equal to each row's own subnet. What does not depend on words is done once for each image. at_once: so
    many rows go through the backbone together, those with like Selections, as far as a processor's cache
    holds; None: all. Blocks come from the cutter.
    """
    seen, chosen = net.backbone.see(rows.pixels), rows.selections
    state: State = [(seen, image) for image in rows.image_index.tolist()]
    order = sorted(range(len(rows)), key=lambda row: chosen[row].units) if at_once else [*range(len(rows))]
    size, everyone = at_once or len(rows), range(len(rows))
    levels: dict[str, State] = {name: list(state) for name in net.backbone.levels}
    for begin in range(0, len(rows), size):
        some = order[begin : begin + size]
        for name, block in net.backbone.named_blocks():
            _block(block, name, state, some, chosen, grouped, cutter)
            if name in levels:
                for row in some:
                    levels[name][row] = state[row]
    visual = net.cells([_gathered(level, everyone) for level in levels.values()])
    joined, positions, keep = net.joined(visual, rows.text, rows.tokens)
    encoded = _encoded(net.encoder, joined, positions, keep, chosen)
    return net.predict([encoded], rows.text, rows.tokens)


class Batcher:
    """Runs batches in the way that was fastest here for about as many rows; threads can share it.

    The first batches of a size run in each way in turn, twice: the first time prepares, the second counts.
    """

    WAYS = ("one by one", "together", "in parts", "grouped")

    def __init__(self, cache: BlockCache[Network]) -> None:
        self.cache = cache
        # rows, as the exponent of the next power of 2 → way → seconds a row
        self.times: dict[int, dict[str, list[float]]] = {}

    def run(self, rows: Rows) -> Prediction:
        """Answers of all rows, as `run` gives them."""
        whole = self.cache.whole()
        if not isinstance(whole, FusionNetwork):  # a static network has one way, and an MDETR that chooses
            if any(selection.units for selection in rows.selections):
                return self._one_by_one(rows)
            answer: Prediction = whole(
                rows.pixels, rows.text, rows.tokens, image_index=rows.image_index, shown=rows.shown
            )
            return answer
        times = self.times.setdefault((len(rows) - 1).bit_length(), {way: [] for way in self.WAYS})
        way = self.choose(times)
        began = time.perf_counter()
        alone, grouped = way == "one by one", way == "grouped"
        if alone:
            found = self._one_by_one(rows)
        else:
            size = AT_ONCE if way == "in parts" else None
            found = run(whole, rows, grouped=grouped, at_once=size, cutter=self.cache.cutter)
        if found.boxes_cxcywh01.is_cuda:
            torch.cuda.synchronize()
        if len(times[way]) < TRIALS:
            times[way].append((time.perf_counter() - began) / len(rows))
        return found

    @staticmethod
    def choose(times: Mapping[str, Sequence[float]]) -> str:
        """The way that was tried least, and once all were tried enough, the fastest."""
        least = min(times, key=lambda way: len(times[way]))
        return least if len(times[least]) < TRIALS else min(times, key=lambda way: times[way][-1])

    def _one_by_one(self, rows: Rows) -> Prediction:
        answers, tokens = list[Prediction](), rows.tokens
        for row, selection in enumerate(rows.selections):
            words = slice(0, int((~tokens.padding[row]).sum()))
            image = rows.image_index[row : row + 1]
            answers.append(
                self.cache.get(selection)(
                    rows.pixels[image],
                    rows.text[row : row + 1, words],
                    Tokens(tokens.ids[row : row + 1, words], tokens.padding[row : row + 1, words]),
                    shown=None if rows.shown is None else rows.shown[image],
                )
            )
        boxes = torch.cat([answer.boxes_cxcywh01 for answer in answers])
        scores = [answer.scores for answer in answers if answer.scores is not None]
        present = [answer.present for answer in answers if answer.present is not None]
        return Prediction(
            boxes, torch.cat(scores) if scores else None, present=torch.cat(present) if present else None
        )


def _block(
    block: nn.Module,
    name: str,
    state: State,
    rows: Sequence[int],
    selections: Sequence[Selection],
    grouped: bool,
    cutter: Cutter,
) -> None:
    """One residual block for some rows: each (C, H, W) → (C', H', W')."""
    groups: dict[Kept, list[int]] = {}
    for row in rows:
        groups.setdefault(selections[row].of_block(name), []).append(row)
    on = {kept: some for kept, some in groups.items() if kept[0]}
    if grouped and len(on) > 1 and isinstance(block, Bottleneck):
        kept = {row: each[1:] for each, some in on.items() for row in some}
        _put(state, [*kept], _grouped(block, _gathered(state, [*kept]), [*kept.values()]))
        groups = {kept: some for kept, some in groups.items() if not kept[0]}
    for some in groups.values():
        dense: Any = cut(name, block, selections[some[0]], cutter)
        if not dense.idle:
            _put(state, some, dense(_gathered(state, some)))


def _gathered(state: State, rows: Sequence[int]) -> Tensor:
    """These rows in one tensor (R, C, H, W); the very tensor where they are all of one, in its order."""
    first, _ = state[rows[0]]
    if len(first) == len(rows) and all(
        state[row][0] is first and state[row][1] == at for at, row in enumerate(rows)
    ):
        return first
    return torch.cat([held[at : at + 1] for held, at in (state[row] for row in rows)])


def _put(state: State, rows: Sequence[int], x: Tensor) -> None:
    for at, row in enumerate(rows):
        state[row] = (x, at)


def _grouped(block: Bottleneck, x: Tensor, kept: Sequence[tuple[Filters, Filters]]) -> Tensor:
    """The block of rows that keep different filters, as three products over gathered weights."""
    assert isinstance(block.conv1, nn.Conv2d)
    rows = len(kept)
    filters = _places([each[0] for each in kept], block.width, x.device)
    inner = _places([each[1] for each in kept], block.width, x.device)
    if inner is None:
        y = F.relu(block.conv1(x))
        first = torch.arange(block.width, device=x.device).expand(rows, -1)
    else:
        weight, bias = _padded(block.conv1)
        y = weight[inner].flatten(2) @ x.flatten(2) + bias[inner][..., None]
        y, first = F.relu(y).view(rows, -1, *x.shape[2:]), inner
    second = torch.arange(block.width, device=x.device).expand(rows, -1) if filters is None else filters
    weight, bias = _padded(block.conv2)
    weight = F.pad(weight, (0, 0, 0, 0, 0, 1))  # an input that is not there, too
    weight = weight[second[:, :, None], first[:, None, :]].flatten(0, 1)
    y = F.conv2d(y.reshape(1, -1, *y.shape[2:]), weight, bias[second].flatten(), block.stride, 1, groups=rows)
    y = F.relu(y).view(rows, -1, y.shape[2] * y.shape[3])
    last = F.pad(block.conv3.weight.flatten(1), (0, 1)).T[second]  # (rows, K, C')
    out = torch.baddbmm(_bias(block.conv3)[:, None], last.transpose(1, 2), y)
    shortcut = x if block.downsample is None else block.downsample(x)
    return F.relu(shortcut + out.view_as(shortcut))


def _places(kept: Sequence[Filters], width: int, device: torch.device) -> Tensor | None:
    """(rows, K) which filters each row keeps, `width` where it keeps fewer; None where all keep all."""
    if all(each is None for each in kept):
        return None
    places = [[i for i in range(width) if each is None or each[i]] for each in kept]
    most = max(1, *map(len, places))
    return torch.tensor([row + [width] * (most - len(row)) for row in places], device=device)


def _padded(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weights and biases with one filter more, of zeros."""
    return F.pad(conv.weight, (0, 0, 0, 0, 0, 0, 0, 1)), F.pad(_bias(conv), (0, 1))


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None, "norms are folded into biases"
    return conv.bias


def _encoded(
    encoder: Encoder, x: Tensor, positions: Tensor, keep: Tensor | None, selections: Sequence[Selection]
) -> Tensor:
    """The last output of the encoder (E, T, D): a sublayer sees the rows that have it on."""
    for index, layer in enumerate(encoder.layers):
        assert isinstance(layer, EncoderLayer)
        assert layer.self_attn is not None
        assert layer.linear1 is not None
        assert layer.linear2 is not None
        rows = [i for i, selection in enumerate(selections) if selection.on(f"encoder.{index}.attention")]
        if rows:
            seen = x if len(rows) == len(x) else x[rows]
            mask = keep if keep is None or len(rows) == len(x) else keep[rows]
            x = _added(x, rows, layer.self_attn(seen, positions, mask))
        x = layer.norm1(x)
        rows = [i for i, selection in enumerate(selections) if selection.on(f"encoder.{index}.ffn")]
        if rows:
            seen = x if len(rows) == len(x) else x[rows]
            x = _added(x, rows, layer.linear2(F.relu(layer.linear1(seen))))
        x = layer.norm2(x)
    return x


def _added(x: Tensor, rows: list[int], change: Tensor) -> Tensor:
    if len(rows) == len(x):
        return x + change
    return x.index_add(0, torch.tensor(rows, device=x.device), change)


def _rows(x: Tensor, rows: list[int]) -> Tensor:
    """Some rows, in this order; a view where they lie together."""
    first = rows[0]
    if rows == [*range(first, first + len(rows))]:
        return x if len(rows) == len(x) else x[first : first + len(rows)]
    return x.index_select(0, torch.tensor(rows, device=x.device))

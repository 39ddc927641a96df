"""MDETR against a second implementation on torch's own attention, as its authors order it, and its cost."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scrambled import scrambled
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from groundling.dynamic.extract import extract
from groundling.models import PRESETS, build, parse_config
from groundling.models.answers import CLEVR, GQA, AnswerKind, AnswersConfig
from groundling.models.mdetr import Mdetr, MdetrConfig, SoftTokens
from groundling.models.objects import Objects, joined
from groundling.pictures.placement import Seen, together
from groundling.selection import Selection
from groundling.words.roberta import RobertaTextConfig
from groundling.words.tokens import Tokens

SMALL_ANSWERS = AnswersConfig(
    kinds=(
        AnswerKind(name="obj", outputs=2),
        AnswerKind(name="many", outputs=4, layers=3),
        AnswerKind(name="yes", outputs=1),
    ),
    types=("yes", "obj", "many"),
    layer="first",
)
CONFIG = MdetrConfig(
    image_size=64,
    text=RobertaTextConfig(vocabulary=300, layers=2, dim=16, heads=2, ffn=32, tokens=12, positions=14),
    blocks=(1, 1, 1),
    width=4,
    expansion=2,
    stem_width=8,
    dim=16,
    heads=2,
    ffn=24,
    layers=2,
    decoder_layers=3,
    queries=5,
    contrastive=6,
    answers=SMALL_ANSWERS,
    is_final=True,
    masks=True,
)


def model(config: MdetrConfig = CONFIG) -> Mdetr:
    return scrambled(Mdetr(config), 3)


def canvas(width: int, height: int) -> Seen:
    noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return CONFIG.framing.see(Image.fromarray(noise))


PLACED = [canvas(*size) for size in ((90, 40), (50, 50), (30, 70))]


def some_images(rows: int = 3) -> Tensor:
    """A wide, a square and a tall one."""
    return CONFIG.framing.input(PLACED[:rows]).images


SHOWN = together(PLACED).shown


def some_tokens(lengths: tuple[int, ...] = (9, 5, 3)) -> Tokens:
    ids = torch.randint(5, 300, (len(lengths), 9), generator=torch.Generator().manual_seed(2))
    padding = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
    return Tokens(ids[:, : max(lengths)].masked_fill(padding, 1), padding)


# ---------------------------------------------------------------------------------- a second implementation


def padded_pixels() -> Tensor:
    """1 = padding, from where each image was put, not from its colours."""
    masks = torch.ones(len(PLACED), 64, 64)
    for mask, seen in zip(masks, PLACED, strict=True):
        place = seen.placement
        corners = place.apply(torch.tensor([0.0, 0.0, place.width, place.height]))
        x1, y1, x2, y2 = corners.round().int().tolist()
        mask[y1:y2, x1:x2] = 0
    return masks


def sine(mask: Tensor, dim: int) -> Tensor:
    """Positions (B, h·w, dim) of cells that are not padding, channel by channel."""
    axes = []
    for axis in (1, 2):
        place = (~mask).cumsum(axis, dtype=torch.float32)
        place = place / (place[:, -1:, :] if axis == 1 else place[:, :, -1:]).add(1e-6) * 2 * torch.pi
        for k in range(dim // 4):
            angle = place / 10_000 ** (4 * k / dim)
            axes += [angle.sin(), angle.cos()]
    return torch.stack(axes, dim=-1).flatten(1, 2)


class Plain:
    """MDETR on nn.MultiheadAttention, sequence first, with the weights of ours by their names."""

    asked = ("query_embed", "answers.embed")

    def __init__(self, net: Any) -> None:
        self.net, self.weights, self.dim = net, net.state_dict(), net.config.dim

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def norm(self, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
        return F.layer_norm(
            x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], eps
        )

    def mlp(self, name: str, x: Tensor, layers: int = 3) -> Tensor:
        for layer in range(layers - 1):
            x = self.linear(f"{name}.layers.{layer}", x).relu()
        return self.linear(f"{name}.layers.{layers - 1}", x)

    def attention(self, name: str, q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None) -> Tensor:
        attention = nn.MultiheadAttention(self.dim, self.net.config.heads)
        attention.load_state_dict({key: self.weights[f"{name}.{key}"] for key in attention.state_dict()})
        return attention(q, k, v, key_padding_mask=padding, need_weights=True)[0]

    def __call__(self, images: Tensor, mask: Tensor, text: Tensor, padding: Tensor) -> dict[str, Tensor]:
        config, *lower = self.net.config, *self.net.backbone.each_stage(images)
        features = lower.pop()
        mask = F.interpolate(mask[None], size=features.shape[-2:])[0].bool()
        projected = torch.einsum("bchw,dc->bdhw", features, self.weights["input_proj.weight"])
        projected = projected + self.weights["input_proj.bias"][:, None, None]
        words = self.norm("resizer.1", self.linear("resizer.0", text), 1e-12)
        x = torch.cat([projected.flatten(2).permute(2, 0, 1), words.transpose(0, 1)])
        pos = torch.cat([sine(mask, self.dim).transpose(0, 1), torch.zeros_like(words.transpose(0, 1))])
        unseen = torch.cat([mask.flatten(1), padding], dim=1)
        for i in range(config.layers):
            name = f"encoder.layers.{i}"
            x = self.norm(
                f"{name}.norm1", x + self.attention(f"{name}.self_attn", x + pos, x + pos, x, unseen)
            )
            x = self.norm(
                f"{name}.norm2",
                x + self.linear(f"{name}.linear2", self.linear(f"{name}.linear1", x).relu()),
            )
        learned = torch.cat([self.weights[f"{name}.weight"] for name in self.asked])
        places = learned[:, None].repeat(1, len(images), 1)
        y, hidden = torch.zeros_like(places), []
        for i in range(config.decoder_layers):
            name = f"decoder.layers.{i}"
            q = y + places
            y = self.norm(f"{name}.norm1", y + self.attention(f"{name}.self_attn", q, q, y, None))
            seen = self.attention(f"{name}.multihead_attn", y + places, x + pos, x, unseen)
            y = self.norm(f"{name}.norm2", y + seen)
            y = self.norm(
                f"{name}.norm3",
                y + self.linear(f"{name}.linear2", self.linear(f"{name}.linear1", y).relu()),
            )
            hidden.append(self.norm("decoder.norm", y).transpose(0, 1))
        return self.heads(hidden, x, projected, mask, lower[::-1])

    def heads(
        self, hidden: list[Tensor], x: Tensor, projected: Tensor, mask: Tensor, lower: list[Tensor]
    ) -> dict[str, Tensor]:
        config, cells = self.net.config, mask[0].numel()
        found, first = hidden[-1][:, : config.queries], hidden[0]
        out = {
            "logits": self.linear("class_embed", found),
            "boxes": self.mlp("bbox_embed", found).sigmoid(),
            "final": self.linear("final_embed", found).squeeze(-1),
            "queries": F.normalize(self.linear("align_queries", found), p=2, dim=-1),
            "words": F.normalize(self.linear("align_words", x[cells:].transpose(0, 1)), p=2, dim=-1),
            "type": self.linear("answers.heads.type_head", first[:, -4]),
            "obj": self.linear("answers.heads.obj_head", first[:, -3]),
            "many": self.mlp("answers.heads.many_head", first[:, -2]),
            "yes": self.linear("answers.heads.yes_head", first[:, -1]),
        }
        heads = config.heads
        memory = x[:cells].permute(1, 2, 0).unflatten(2, mask.shape[-2:])
        k = F.conv2d(
            memory,
            self.weights["mask_head.attention.k_linear.weight"][:, :, None, None],
            self.weights["mask_head.attention.k_linear.bias"],
        )
        q = self.linear("mask_head.attention.q_linear", found).unflatten(-1, (heads, -1))
        k = k.unflatten(1, (heads, -1))
        looks = torch.einsum("bqnc,bnchw->bqnhw", q * (self.dim / heads) ** -0.5, k)
        looks = looks.masked_fill(mask[:, None, None], float("-inf"))
        looks = looks.flatten(3).softmax(-1).view_as(looks)
        out["masks"] = torch.stack(
            [self.mask(projected, looks[:, i], lower) for i in range(config.queries)], dim=1
        )
        return out

    def mask(self, projected: Tensor, looks: Tensor, lower: list[Tensor]) -> Tensor:
        """Of one query."""
        x = torch.cat([projected, looks], dim=1)
        for i in range(4):
            if i > 1:
                adapter = [self.weights[f"mask_head.adapters.{i - 2}.{part}"] for part in ("weight", "bias")]
                finer = F.conv2d(lower[i - 2], *adapter)
                x = finer + F.interpolate(x, size=finer.shape[-2:])
            x = F.conv2d(
                x,
                self.weights[f"mask_head.convolutions.{i}.weight"],
                self.weights[f"mask_head.convolutions.{i}.bias"],
                padding=1,
            )
            groups = {18: 2, 8: 8, 4: 4, 2: 2}[x.shape[1]]
            norm = [self.weights[f"mask_head.norms.{i}.{part}"] for part in ("weight", "bias")]
            x = F.group_norm(x, groups, *norm).relu()
        out = [self.weights[f"mask_head.out.{part}"] for part in ("weight", "bias")]
        return F.conv2d(x, *out, padding=1)[:, 0]


def everything(
    mdetr: Mdetr,
    images: Tensor,
    tokens: Tokens,
    index: Tensor | None = None,
    shown: Tensor | None = None,
) -> dict[str, Tensor]:
    net = mdetr.net
    memory = net.read(images, mdetr.text(tokens), tokens, index, shown=shown)
    hidden = net.decode(memory)
    objects = net.soft_tokens(hidden[-1])
    assert objects.final is not None
    queries, words = net.align(hidden[-1], memory)
    return {
        "logits": objects.logits,
        "boxes": objects.boxes_cxcywh01,
        "final": objects.final,
        "queries": queries,
        "words": words,
        "masks": net.masks(hidden[-1][:, : net.config.queries], memory),
        **net.answer(hidden),
    }


@pytest.mark.parametrize("rows", [[0, 1, 2], [1, 1]], ids=["padded", "unpadded"])
def test_it_is_the_authors_network(rows: list[int]) -> None:
    """Images of three shapes with captions of three lengths; a square one twice, without any padding."""
    mdetr = model()
    images = some_images()[rows]
    tokens = some_tokens() if len(rows) > 2 else some_tokens((7, 7))
    assert (padded_pixels()[rows].sum() > 0) == (len(rows) > 2) == tokens.padded
    with torch.no_grad():  # a fresh nn.MultiheadAttention trains: no fast path
        expected = Plain(mdetr.net)(images, padded_pixels()[rows], mdetr.text(tokens), tokens.padding)
        found = everything(mdetr, images, tokens, shown=SHOWN[rows])
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if name == "words":
            assert_close(found[name][~tokens.padding], values[~tokens.padding], rtol=1e-4, atol=1e-4)
        else:
            assert values.std() > 1e-3, name
            assert_close(found[name], values, rtol=1e-4, atol=1e-4, msg=name)


def test_an_answer_does_not_depend_on_what_else_is_asked() -> None:
    mdetr, images, tokens = model(), some_images(), some_tokens()
    together = everything(mdetr, images, tokens, shown=SHOWN)
    for row in range(3):
        length = int((~tokens.padding[row]).sum())
        alone = Tokens(tokens.ids[row : row + 1, :length], tokens.padding[row : row + 1, :length])
        for name, values in everything(
            mdetr, images[row : row + 1], alone, shown=SHOWN[row : row + 1]
        ).items():
            expected = together[name][row, :length] if name == "words" else together[name][row]
            assert_close(values[0], expected, rtol=1e-4, atol=1e-5)


def test_several_captions_may_be_about_one_image() -> None:
    mdetr, images, tokens = model(), some_images(), some_tokens()
    index = torch.tensor([2, 0, 2])
    expected = everything(mdetr, images[index], tokens, shown=SHOWN[index])
    assert_close(everything(mdetr, images, tokens, index, SHOWN), expected, rtol=1e-4, atol=1e-5)


def test_the_layer_that_answers_is_an_option() -> None:
    last = CONFIG.model_copy(update={"answers": SMALL_ANSWERS.model_copy(update={"layer": "last"})})
    mdetr, tokens = model(), some_tokens()
    hidden = mdetr.net.decode(mdetr.net.read(some_images(), mdetr.text(tokens), tokens))
    first = mdetr.net.answer(hidden)
    assert_close(first, mdetr.net.answer(hidden[:1]))
    other = Mdetr(last).eval()
    other.load_state_dict(mdetr.state_dict())
    assert_close(other.net.answer(hidden), mdetr.net.answer(hidden[-1:]))
    assert not torch.equal(other.net.answer(hidden)["obj"], first["obj"])


def test_a_score_is_how_little_it_is_no_object_and_how_much_it_is_final() -> None:
    mdetr, tokens = model(), some_tokens()
    found = everything(mdetr, some_images(), tokens)
    scores = (1 - found["logits"].softmax(-1)[..., -1]) * found["final"].sigmoid()
    best = scores.argmax(1)
    prediction = mdetr(some_images(), tokens)
    assert_close(prediction.scores, scores.amax(1))
    assert_close(prediction.boxes_cxcywh01, found["boxes"][torch.arange(3), best])


def test_queries_of_one_object_make_it_likelier() -> None:
    """Two of 0.5 and 0.6 side by side, 1 − 0.5 · 0.4, beat one of 0.7; one below 0 is none's."""
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = same[2, 3] = same[3, 2] = True
    sure, surest = joined(torch.tensor([[0.5, 0.6, 0.7, -1.0]]), same[None])
    assert_close(sure[0], torch.tensor([0.8, 0.8, 0.7, 0.7]))
    assert surest[0].tolist() == [1, 1, 2, 2]


def test_a_system_says_by_its_own_rule_how_sure_it_is_of_a_span() -> None:
    """GLIP's sub-words have a mean, X-DETR's phrase is one token, MDETR's query is a word's or not."""
    boxes = torch.full((1, 2, 4), 0.5)
    tokens = torch.tensor([[[0.9, 0.5, 0.1], [0.2, 0.1, 0.8]]])
    glip = Objects(boxes, tokens, torch.ones(1, 2), "mean")
    assert_close(glip.of_span([0, 1]), torch.tensor([[0.7, 0.15]]))
    assert_close(replace(glip, span="max").of_span([0, 1]), torch.tensor([[0.9, 0.2]]))
    assert_close(glip.of_span([2]), torch.tensor([[0.1, 0.8]]))
    mdetr = Objects(boxes, tokens, torch.tensor([[0.6, 0.3]]))
    assert_close(mdetr.of_span([0, 1]), torch.tensor([[0.6, -1.0]]))
    assert_close(mdetr.of_likeliest([0, 1]), torch.tensor([[0.9, 0.2]]))
    box, sure = mdetr.surest()
    assert_close((box, sure), (boxes[:, 0], torch.tensor([0.6])))


def test_the_object_of_an_expression_is_what_most_queries_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A box of half the height has an IoU of ½; an empty one is the same as itself."""
    net = model(CONFIG.model_copy(update={"overlap": 0.45, "is_final": False})).net
    boxes = torch.tensor([(0.5, 0.5, 0.4, 0.4), (0.5, 0.5, 0.4, 0.2), (0.2, 0.2, 0.1, 0.1), (0.8, 0.8, 0, 0)])
    there = torch.tensor([0.4, 0.5, 0.6, 0.1])
    logits = torch.stack((there, 1 - there), -1).log()
    said = SoftTokens(logits[None], boxes[None], None).objects(0.45)
    assert said.same()[0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert replace(said, overlap=0.55).same()[0].int().tolist() == torch.eye(4).int().tolist()
    monkeypatch.setattr(net, "objects", lambda hidden: said)
    tokens, text = some_tokens((3,)), torch.zeros(1, 3, 16)
    found = net(some_images()[:1], text, tokens)
    assert_close(found.scores, torch.tensor([1 - 0.6 * 0.5]))
    assert_close(found.boxes_cxcywh01, boxes[None, 1])
    monkeypatch.setattr(net, "objects", lambda hidden: replace(said, overlap=1.0))
    apart = net(some_images()[:1], text, tokens)
    assert_close(apart.boxes_cxcywh01, boxes[None, 2])


@pytest.mark.parametrize(
    ("part", "update"),
    [("answer", {"answers": None}), ("masks", {"masks": False}), ("align", {"contrastive": 0})],
)
def test_what_a_model_does_not_have_is_said(part: str, update: dict[str, Any]) -> None:
    mdetr, tokens = model(CONFIG.model_copy(update=update)), some_tokens()
    memory = mdetr.net.read(some_images(), mdetr.text(tokens), tokens)
    hidden = mdetr.net.decode(memory)
    with pytest.raises(ValueError, match="this MDETR has no"):
        mdetr.net.answer(hidden) if part == "answer" else getattr(mdetr.net, part)(hidden[-1], memory)


# --------------------------------------------------------------------------------------- sizes and cost


def test_its_size_is_the_published_one() -> None:
    """185 M in the paper's table: ResNet-101's 42.5 M convolutions, RoBERTa's 124 M, 17.4 M transformer."""
    with torch.device("meta"):
        mdetr = build(PRESETS["mdetr_r101"])
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in mdetr.net.named_children()}
    assert count["backbone"] == 42_394_816
    dim, ffn = 256, 2048
    attention, feed = 4 * dim * (dim + 1), 2 * dim * ffn + ffn + dim
    assert count["encoder"] == 6 * (attention + feed + 4 * dim)
    assert count["decoder"] == 6 * (2 * attention + feed + 6 * dim) + 2 * dim
    assert sum(p.numel() for p in mdetr.text.parameters()) == 124_645_632 - 768 * 769  # no pooler
    assert round(sum(p.numel() for p in mdetr.parameters()) / 1e6) == 185
    assert (mdetr.config.slots, mdetr.config.grid, mdetr.units()) == (255, 34, ())


@pytest.mark.parametrize("size", [64, 90])
@pytest.mark.parametrize("words", [3, 12])
def test_its_cost_is_what_the_flop_counter_counts(words: int, size: int) -> None:
    mdetr = scrambled(Mdetr(CONFIG.model_copy(update={"image_size": size})))
    tokens = Tokens(torch.randint(5, 300, (1, words)), torch.zeros(1, words, dtype=torch.bool))
    images, net = torch.randn(1, 3, size, size), mdetr.net

    def count(run: Any) -> int:
        # the fused attention for CPUs is not in the counter's list
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            run()
        return int(counter.get_total_flops()) // 2

    found = count(lambda: mdetr(images, tokens))
    cost = mdetr.cost_model.cost(None, words)
    assert cost == mdetr.cost_model.cost(Selection(()), words) == mdetr.cost_model.asked(words)
    assert abs(cost.macs / found - 1) < 0.01
    with torch.no_grad():
        memory = net.read(images, mdetr.text(tokens), tokens)
        hidden = net.decode(memory)
    asked = mdetr.cost_model.asked(words, answers=True, masks=2)
    assert asked.parts["answers"] == count(lambda: net.answer(hidden))
    assert asked.parts["masks"] == count(lambda: net.masks(hidden[-1][:, :2], memory))


# ------------------------------------------------------------------------------------- as others here use it


def test_the_extracted_network_answers_the_same_and_leaves_the_model_as_it_was() -> None:
    mdetr, tokens = model().train(), some_tokens()
    subnet = extract(mdetr, Selection(()))
    assert all(part.training for part in mdetr.modules())
    assert not any(part.training for part in subnet.modules())
    mdetr.eval()
    text = mdetr.text(tokens)
    expected, found = mdetr.net(some_images(), text, tokens), subnet(some_images(), text, tokens)
    assert_close(found.boxes_cxcywh01, expected.boxes_cxcywh01, rtol=1e-4, atol=1e-5)
    memory = mdetr.net.read(some_images(), text, tokens)
    folded = subnet.read(some_images(), text, tokens)
    masks = (
        net.masks(net.decode(read)[-1][:, :2], read) for net, read in ((mdetr.net, memory), (subnet, folded))
    )
    assert_close(*masks, rtol=1e-4, atol=1e-4)
    assert subnet.answers is not None
    assert not any("bn" in name for name, _ in subnet.named_buffers())


def test_configurations_print_and_parse() -> None:
    assert parse_config(CONFIG.model_dump(mode="json")) == CONFIG
    assert isinstance(build(CONFIG.model_dump(mode="json")), Mdetr)
    assert [GQA.queries, CLEVR.queries, AnswersConfig(kinds=(GQA.kinds[0],)).queries] == [6, 4, 1]
    with pytest.raises(ValueError, match=r"types obj are not the kinds obj, rel, attr, cat, global"):
        AnswersConfig(kinds=GQA.kinds, types=("obj",))
    with pytest.raises(ValueError, match="each needs a name of its own"):
        AnswersConfig(kinds=(GQA.kinds[0], GQA.kinds[0]), types=("obj", "obj"))
    with pytest.raises(ValueError, match="yes: 3 words for 2 answers"):
        AnswerKind(name="yes", outputs=1, words=("no", "yes", "maybe"))


def test_the_small_preset_fits_a_package() -> None:
    with torch.device("meta"):
        street = build(PRESETS["mdetr_street"])
    assert sum(t.numel() for t in street.state_dict().values()) * 4 <= 12 * 2**20


def test_training_reaches_every_parameter() -> None:
    mdetr = model().train()
    sum(
        values.square().sum() for values in everything(mdetr, some_images(), some_tokens()).values()
    ).backward()
    untouched = {name for name, p in mdetr.named_parameters() if p.grad is None or not bool(p.grad.any())}
    # what adds the same to all keys changes no attention
    assert {name for name in untouched if not name.endswith(("key.bias", "k_linear.bias"))} == set()

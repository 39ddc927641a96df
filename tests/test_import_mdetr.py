"""Released MDETRs: every published name and shape has its place, and the answers stay the same."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from scrambled import scrambled
from small import Shell
from test_import_detr import Shapes, basic_shapes, linear, norm, resnet_shapes
from test_mdetr import CONFIG, everything, some_images, some_tokens
from torch import Tensor
from torch.testing import assert_close

from groundling import checkpoint
from groundling.importers.mdetr import (
    DECODER,
    LEFT_OUT,
    PLACES,
    answers_of,
    as_ours,
    check_options,
    config_of,
    import_mdetr,
    words_of,
)
from groundling.models import PRESETS, build
from groundling.models.answers import GQA
from groundling.models.mdetr import Mdetr
from groundling.words.byte_pairs import ByteTokenizer

FILE = Path("mdetr.pth")
D = 256

# ---------------------------------------------------------------------------- the layout, as it is published


def roberta(layers: int = 12, d: int = 768, ffn: int = 3072) -> Shapes:
    place = "transformer.text_encoder."
    found: Shapes = {
        f"{place}embeddings.position_ids": (1, 514),
        f"{place}embeddings.word_embeddings.weight": (50_265, d),
        f"{place}embeddings.position_embeddings.weight": (514, d),
        f"{place}embeddings.token_type_embeddings.weight": (1, d),
        **norm(f"{place}embeddings.LayerNorm", d),
        **linear(f"{place}pooler.dense", d, d),
    }
    for i in range(layers):
        layer = f"{place}encoder.layer.{i}."
        for part in ("query", "key", "value"):
            found |= linear(f"{layer}attention.self.{part}", d, d)
        found |= linear(f"{layer}attention.output.dense", d, d) | norm(
            f"{layer}attention.output.LayerNorm", d
        )
        found |= linear(f"{layer}intermediate.dense", ffn, d) | linear(f"{layer}output.dense", d, ffn)
        found |= norm(f"{layer}output.LayerNorm", d)
    return found


def transformer(layers: int = 6, ffn: int = 2048) -> Shapes:
    found = linear("transformer.resizer.fc", D, 768) | norm("transformer.resizer.layer_norm", D)
    found |= norm("transformer.decoder.norm", D)
    for stack, attentions, norms in (
        ("encoder", ("self_attn",), (1, 2)),
        ("decoder", ("self_attn", "cross_attn_image"), (1, 3, 4)),
    ):
        for i in range(layers):
            place = f"transformer.{stack}.layers.{i}."
            for attention in attentions:
                found |= {f"{place}{attention}.in_proj_weight": (3 * D, D)}
                found |= {f"{place}{attention}.in_proj_bias": (3 * D,)}
                found |= linear(f"{place}{attention}.out_proj", D, D)
            found |= linear(f"{place}linear1", ffn, D) | linear(f"{place}linear2", D, ffn)
            for number in norms:
                found |= norm(f"{place}norm{number}", D)
    return found


def pretrained(queries: int = 100, resnet: Shapes | None = None, words: int = 12) -> Shapes:
    """methods §5b, checkpoint layout, with ResNet-101."""
    body = resnet or resnet_shapes((3, 4, 23, 3))
    found = {f"backbone.0.body.{name}": shape for name, shape in body.items()}
    found |= {"input_proj.weight": (D, 2048 if resnet is None else 512, 1, 1), "input_proj.bias": (D,)}
    found |= {"query_embed.weight": (queries, D), **roberta(words), **transformer()}
    found |= linear("class_embed", 256, D)
    for number, outputs in enumerate((D, D, 4)):
        found |= linear(f"bbox_embed.layers.{number}", outputs, D)
    found |= linear("contrastive_align_projection_image", 64, D)
    return found | linear("contrastive_align_projection_text", 64, D)


def gqa() -> Shapes:
    found = {**pretrained(), "qa_embed.weight": (6, D)}
    sizes = {"type": 5, "rel": 1594, "obj": 3, "global": 111, "attr": 403, "cat": 678}
    for name, outputs in sizes.items():
        found |= linear(f"answer_{name}_head", outputs, D)
    return found


def one_head() -> Shapes:
    return {**pretrained(), "qa_embed.weight": (1, D), **linear("answer_head", 1853, D)}


def clevr() -> Shapes:
    """On a ResNet-18 and DistilRoBERTa, with the README's 25 queries."""
    found = pretrained(25, basic_shapes(), words=6)
    found |= {"qa_embed.weight": (4, D), **linear("isfinal_embed", 1, D)}
    for name, outputs in {"type": 3, "binary": 1, "attr": 15}.items():
        found |= linear(f"answer_{name}_head", outputs, D)
    for number, outputs in enumerate((D, D, 20)):
        found |= linear(f"answer_reg_head.layers.{number}", outputs, D)
    return found


def phrasecut() -> Shapes:
    """Everything under `detr.`, and fine-tuned without alignment."""
    found = {f"detr.{name}": shape for name, shape in pretrained().items() if "contrastive" not in name}
    found |= linear("bbox_attention.q_linear", D, D) | linear("bbox_attention.k_linear", D, D)
    widths = (264, 264, 128, 64, 32, 16)
    for i in range(1, 6):
        found |= {f"mask_head.lay{i}.weight": (widths[i], widths[i - 1], 3, 3)}
        found |= {f"mask_head.lay{i}.bias": (widths[i],), **norm(f"mask_head.gn{i}", widths[i])}
    for i, channels in enumerate((1024, 512, 256), 1):
        found |= {f"mask_head.adapter{i}.weight": (widths[i + 1], channels, 1, 1)}
        found |= {f"mask_head.adapter{i}.bias": (widths[i + 1],)}
    return found | {"mask_head.out_lay.weight": (1, 16, 3, 3), "mask_head.out_lay.bias": (1,)}


LAYOUTS = {
    "mdetr_r101": pretrained,
    "mdetr_r101_gqa": gqa,
    "mdetr_r101_gqa_single": one_head,
    "mdetr_r18_clevr": clevr,
    "mdetr_r101_phrasecut": phrasecut,
}


def empty(shapes: Shapes) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize("preset", LAYOUTS)
def test_every_published_name_has_its_place_and_every_place_its_name(preset: str) -> None:
    tensors = as_ours(empty(LAYOUTS[preset]()), FILE)
    config = config_of(tensors, FILE, 8, {})
    assert config == PRESETS[preset]
    with torch.device("meta"):
        mdetr = build(config)
    assert {n: t.shape for n, t in tensors.items()} == {n: t.shape for n, t in mdetr.state_dict().items()}


def test_every_row_of_the_tables_is_used() -> None:
    names = {name.removeprefix("detr.") for layout in LAYOUTS.values() for name in layout()}
    assert all(any(name.startswith(place) for name in names) for place in PLACES)
    assert all(any(f".{part}" in name for name in names) for part in DECODER)
    assert set(LEFT_OUT) <= names


# ------------------------------------------------------------------------------------------ whole and small


def as_published(model: Mdetr, wrapped: bool = False) -> dict[str, Tensor]:
    """The layout of a small model, written by its names, not by the importer's tables."""
    found: dict[str, Tensor] = {}
    simple = {"align_queries": "contrastive_align_projection_image", "final_embed": "isfinal_embed"}
    simple |= {"align_words": "contrastive_align_projection_text", "backbone": "backbone.0.body"}
    for name, tensor in model.state_dict().items():
        part, _, rest = name.removeprefix("net.").partition(".")
        if part == "text":
            name = f"transformer.text_encoder.{rest.removeprefix('roberta.')}"
        elif part in ("encoder", "decoder"):
            rest = rest.replace("multihead_attn", "cross_attn_image")
            if part == "decoder":
                rest = rest.replace("norm3", "norm4").replace("norm2", "norm3")
            name = f"transformer.{part}.{rest}"
        elif part == "resizer":
            name = "transformer.resizer." + rest.replace("0.", "fc.").replace("1.", "layer_norm.")
        elif part == "answers":
            name = rest.replace("embed", "qa_embed") if "embed" in rest else rest.replace("heads.", "answer_")
        elif part == "mask_head":
            name = mask_name(rest)
        else:
            name = f"{simple.get(part, part)}.{rest}"
        if name == "input_proj.weight":
            tensor = tensor[:, :, None, None]
        found[("detr." if wrapped and part != "mask_head" else "") + name] = tensor.clone()
    found["transformer.text_encoder.embeddings.position_ids"] = torch.arange(14)[None]
    return found


def mask_name(rest: str) -> str:
    part, index, *tail = rest.split(".")
    if part == "attention":
        return f"bbox_attention.{'.'.join([index, *tail])}"
    if part == "out":
        return f"mask_head.out_lay.{index}"
    short = {"convolutions": "lay", "norms": "gn", "adapters": "adapter"}[part]
    return f"mask_head.{short}{int(index) + 1}.{'.'.join(tail)}"


SMALL = CONFIG.model_copy(
    update={
        "heads": 2,
        "text": CONFIG.text.model_copy(update={"heads": 1}),
        "answers": GQA.model_copy(
            update={"kinds": tuple(kind.model_copy(update={"outputs": 3}) for kind in GQA.kinds)}
        ),
    }
)


@pytest.fixture
def roberta_base(tmp_path: Path) -> Path:
    ByteTokenizer.train(["a red car"], 270, 12).save(tmp_path / "tokenizer.json")
    return tmp_path / "tokenizer.json"


def released(path: Path, **parts: Any) -> Path:
    arguments = argparse.Namespace(nheads=2, dataset_file="gqa")
    torch.save({"optimizer": {"state": {}}, "epoch": 4, "args": arguments, **parts}, path)
    return path


@pytest.mark.parametrize("wrapped", [False, True], ids=["gqa", "under detr."])
def test_the_imported_model_answers_as_the_weights_did(
    tmp_path: Path, roberta_base: Path, wrapped: bool
) -> None:
    """The moving average is taken; answers have their words; the folder says where it is from."""
    before = scrambled(Mdetr(SMALL), 4)
    other = {name: torch.zeros_like(t) for name, t in as_published(before, wrapped).items()}
    file = released(tmp_path / "small.pth", model=other, model_ema=as_published(before, wrapped))
    kinds = {f"answer_{kind.name}": {"unknown": 0, "yes": 2, "no": 1} for kind in GQA.kinds}
    (tmp_path / "answers.json").write_text(json.dumps(kinds))
    folder = import_mdetr(file, tmp_path / "out", text=roberta_base, answers=tmp_path / "answers.json")
    after = checkpoint.load(folder)
    assert isinstance(after.model, Mdetr)
    assert isinstance(after.tokenizer, ByteTokenizer)
    assert after.model.config.answers is not None
    assert after.model.config.answers.kinds[2].words == ("unknown", "no", "yes")
    assert after.info.training["imported"]["sha256"] == checkpoint.sha256(file)
    canvas = SMALL.model_dump() | {"image_size": 1067, "resize": {"short_side": 800, "long_side": 1333}}
    assert {k: v for k, v in after.model.config.model_dump().items() if k != "answers"} == {
        k: v for k, v in canvas.items() if k != "answers"
    }
    small = Mdetr(after.model.config.model_copy(update={"image_size": 64})).eval()
    small.load_state_dict(after.model.state_dict())
    expected = everything(before, some_images(), some_tokens())
    assert_close(everything(small, some_images(), some_tokens()), expected)


def changed(shapes: Shapes, name: str, shape: tuple[int, ...] | None) -> Shapes:
    found = {key: value for key, value in shapes.items() if key != name}
    return found if shape is None else {**found, name: shape}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"backbone.0.body.conv_stem.weight": (40, 3, 3, 3)}, "on an EfficientNet, which is not built here"),
        ({"backbone.0.body.blocks.0.0.bn1.weight": (40,)}, "those on ResNet-101 are read"),
        ({"class_embed.weight": (92, 256)}, r"is not an MDETR: .* its keys begin class_embed\.weight"),
        ({}, "its keys begin nowhere"),
        (changed(gqa(), "answer_cat_head.weight", None), "neither GQA's heads nor CLEVR's"),
        (changed(pretrained(), "query_embed.weight", None), r"no weight that would be our net\.query_embed"),
    ],
)
def test_what_is_no_whole_mdetr_is_named(tensors: Shapes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_of(as_ours(empty(tensors), FILE), FILE, 8, {})


def test_a_weight_without_a_place_and_a_place_without_a_weight_are_errors(
    tmp_path: Path, roberta_base: Path
) -> None:
    """Also what the contrastive loss of CLIP would need, which no released model has."""
    tensors = as_published(scrambled(Mdetr(SMALL), 4))
    file = released(tmp_path / "more.pth", model={**tensors, "transformer.CLS.weight": torch.ones(1, 16)})
    with pytest.raises(ValueError, match=r"not in the model transformer\.CLS\.weight"):
        import_mdetr(file, tmp_path / "out", text=roberta_base)
    tensors.pop("transformer.decoder.layers.1.norm4.bias")
    file = released(tmp_path / "less.pth", model=tensors)
    with pytest.raises(ValueError, match=r"missing net\.decoder\.layers\.1\.norm3\.bias"):
        import_mdetr(file, tmp_path / "out", text=roberta_base)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_has_to_be_there(tmp_path: Path) -> None:
    file = released(tmp_path / "small.pth", model=as_published(scrambled(Mdetr(SMALL), 4)))
    with pytest.raises(
        FileNotFoundError, match=r"no tokenizer in .*; it should hold tokenizer\.json or vocab"
    ):
        import_mdetr(file, tmp_path / "out", text=tmp_path)


def test_what_its_weights_do_not_say_is_refused() -> None:
    for name, value in (("dilation", True), ("pre_norm", True), ("pass_pos_and_query", False)):
        with pytest.raises(ValueError, match=f"trained with {name}={value}, which is not built here"):
            check_options(FILE, {"dilation": False, "pass_pos_and_query": True, name: value})
    check_options(FILE, {})


def test_the_command_line_imports_one(
    tmp_path: Path, roberta_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(capsys)
    file = released(tmp_path / "small.pth", model=as_published(scrambled(Mdetr(SMALL), 4)))
    asked = ("import", file, tmp_path / "out", "--system", "mdetr")
    assert "an mdetr, which reads as roberta-base, needs --text" in shell(*asked).complaint()
    odd = shell(*asked, "--text", roberta_base, "--categories", file).complaint()
    assert "the importer of mdetr takes text, answers and resize, not categories" in odd
    told = shell(*asked, "--text", roberta_base)
    assert (told.code, told.out.strip()) == (0, str(tmp_path / "out"))
    assert json.loads(shell("info", tmp_path / "out", "--json").out)["system"] == "mdetr"
    origin = f"small.pth, SHA-256 {checkpoint.sha256(file)[:16]}"  # of a detector alone this was said
    assert origin in shell("info", tmp_path / "out").out
    both = shell("import", file, tmp_path / "other", "--system", "detr", "--text", roberta_base).complaint()
    assert "the importer of detr takes categories, not text" in both


def test_words_of_answers(tmp_path: Path) -> None:
    file = tmp_path / "ids.json"
    file.write_text(json.dumps({"no": 1, "a cat": 0}))
    assert words_of(file) == {"answer": ("a cat", "no")}
    assert words_of(None) == {}
    file.write_text(json.dumps({"answer_obj": {"yes": 1, "no": 3}}))
    with pytest.raises(ValueError, match="ids of answer_obj are not 0 to 1, each once"):
        words_of(file)
    file.write_text("{}")
    with pytest.raises(ValueError, match=r"ids\.json holds no answers"):
        words_of(file)


@pytest.mark.parametrize(
    ("layout", "words", "message"),
    [
        (pretrained, {"answer": ("a", "b")}, "answers no questions, so it takes no answers="),
        (gqa, {"answer": ("a", "b")}, "answers of answer are given, and it has obj, rel, attr, cat, global"),
        (gqa, {"obj": ("a", "b", "c")}, "answers of obj are given, and it has obj, rel,"),
        (one_head, {"obj": ("a",)}, "answers of obj are given, and it has answer"),
        (one_head, {"answer": ("a",)}, "1 words for the 1853 answers of answer"),
    ],
)
def test_answers_that_do_not_fit_are_named(
    layout: Any, words: dict[str, tuple[str, ...]], message: str
) -> None:
    """A file of another layout was read and left aside: the model answered by number only, later."""
    with pytest.raises(ValueError, match=message):
        answers_of(as_ours(empty(layout()), FILE), FILE, words)


def test_a_clevr_says_what_it_answers() -> None:
    """Its words are fixed, and were not there: what was imported could not answer."""
    answers = answers_of(as_ours(empty(clevr()), FILE), FILE, {})
    assert answers is not None
    binary, number, attribute = answers.kinds
    assert binary.words == ("no", "yes")
    assert number.words[:3] == ("0", "1", "2")
    assert len(number.words) == 20
    assert attribute.words[:3] == ("small", "large", "gray")
    assert PRESETS["mdetr_r18_clevr"].framing.sides == (320, 426)  # CLEVR's images are 480 × 320, no photo's


def test_a_tokenizer_that_the_model_has_no_room_for(tmp_path: Path) -> None:
    """It was written as a checkpoint that nothing could open."""
    file = released(tmp_path / "small.pth", model=as_published(scrambled(Mdetr(SMALL), 4)))
    wide = ByteTokenizer.train(["a red car and two dogs"] * 9, 280, 12)
    (tmp_path / "wide").mkdir()
    wide.save(tmp_path / "wide" / "tokenizer.json")
    held = json.loads((tmp_path / "wide" / "tokenizer.json").read_text())
    held["model"]["vocab"]["Ġelephant"] = 300
    (tmp_path / "wide" / "tokenizer.json").write_text(json.dumps(held))
    with pytest.raises(ValueError, match="ids up to 300; the model reads 12 tokens and 300 ids"):
        import_mdetr(file, tmp_path / "out", text=tmp_path / "wide")
    assert not (tmp_path / "out").exists()


def test_two_weights_for_one_place(tmp_path: Path, roberta_base: Path) -> None:
    tensors = as_published(scrambled(Mdetr(SMALL), 4))
    both = {**tensors, "detr.class_embed.bias": tensors["class_embed.bias"]}
    with pytest.raises(ValueError, match=r"two weights for what is our class_embed\.bias"):
        import_mdetr(released(tmp_path / "both.pth", model=both), tmp_path / "out", text=roberta_base)

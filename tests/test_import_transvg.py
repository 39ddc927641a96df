"""Released TransVGs: every published name and shape has its place, and the answers stay the same."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from scrambled import scrambled
from small import Shell
from test_import_detr import Shapes, linear, norm, resnet_shapes
from torch import Tensor
from torch.testing import assert_close

from groundling import checkpoint
from groundling.importers.transvg import LEFT_OUT, PLACES, as_ours, config_of, import_transvg
from groundling.models import PRESETS, build
from groundling.models.transvg import TransVG, TransVGConfig
from groundling.words.bert import TextConfig
from groundling.words.wordpiece import Tokenizer

FILE = Path("transvg.pth")


def encoder(place: str, d: int = 256, ffn: int = 2048, layers: int = 6) -> Shapes:
    found: Shapes = {}
    for i in range(layers):
        layer = f"{place}layers.{i}."
        found |= {f"{layer}self_attn.in_proj_weight": (3 * d, d), f"{layer}self_attn.in_proj_bias": (3 * d,)}
        found |= linear(f"{layer}self_attn.out_proj", d, d) | linear(f"{layer}linear1", ffn, d)
        found |= linear(f"{layer}linear2", d, ffn) | norm(f"{layer}norm1", d) | norm(f"{layer}norm2", d)
    return found


def bert(layers: int = 12, d: int = 768, ffn: int = 3072) -> Shapes:
    place = "textmodel.bert."
    found: Shapes = {
        f"{place}embeddings.word_embeddings.weight": (30_522, d),
        f"{place}embeddings.position_embeddings.weight": (512, d),
        f"{place}embeddings.token_type_embeddings.weight": (2, d),
        **norm(f"{place}embeddings.LayerNorm", d),
        **linear(f"{place}pooler.dense", d, d),
    }
    for i in range(layers):
        layer = f"{place}encoder.layer.{i}."
        for part in ("query", "key", "value"):
            found |= linear(f"{layer}attention.self.{part}", d, d)
        found |= linear(f"{layer}attention.output.dense", d, d)
        found |= norm(f"{layer}attention.output.LayerNorm", d) | norm(f"{layer}output.LayerNorm", d)
        found |= linear(f"{layer}intermediate.dense", ffn, d) | linear(f"{layer}output.dense", d, ffn)
    return found


def released(blocks: tuple[int, ...] = (3, 4, 6, 3), tokens: int = 20) -> Shapes:
    body = {f"visumodel.backbone.0.body.{name}": shape for name, shape in resnet_shapes(blocks).items()}
    found = body | {"visumodel.input_proj.weight": (256, 2048, 1, 1), "visumodel.input_proj.bias": (256,)}
    found |= encoder("visumodel.transformer.encoder.") | bert() | encoder("vl_transformer.encoder.")
    found |= linear("visu_proj", 256, 256) | linear("text_proj", 256, 768)
    found |= {"reg_token.weight": (1, 256), "vl_pos_embed.weight": (1 + tokens + 400, 256)}
    for layer, outputs in enumerate((256, 256, 4)):
        found |= linear(f"bbox_embed.layers.{layer}", outputs, 256)
    return found


def empty(shapes: Shapes) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize(("blocks", "tokens"), [((3, 4, 6, 3), 20), ((3, 4, 23, 3), 40)])
def test_every_published_name_has_its_place_and_every_place_its_name(blocks: Any, tokens: int) -> None:
    found = as_ours(empty(released(blocks, tokens)), FILE)
    config = config_of(found, FILE, {})
    assert (config.blocks, config.text.tokens, config.image_size) == (blocks, tokens, 640)
    if tokens == 20:
        assert config == PRESETS["transvg_r50"]
    with torch.device("meta"):
        own = build(config).state_dict()
    found["net.input_proj.weight"] = found["net.input_proj.weight"].flatten(1)
    assert {name: t.shape for name, t in found.items()} == {name: t.shape for name, t in own.items()}


def test_every_row_of_the_table_is_used() -> None:
    names = released()
    assert all(any(name.startswith(place) for name in names) for place in PLACES)
    ours = {f"text.bert.{name.removeprefix('textmodel.bert.')}" for name in names}
    assert any(name.startswith(LEFT_OUT[0]) for name in ours)


SMALL = TransVGConfig(
    image_size=64,
    text=TextConfig(vocabulary=130, layers=2, dim=64, heads=1, ffn=48, tokens=8),
    blocks=(1, 1, 1, 1),
    width=4,
    stem_width=8,
    dim=16,
    heads=2,
    ffn=24,
    layers=2,
    visual_layers=1,
)
ARGUMENTS = {"nheads": 2, "imsize": 64, "bert_enc_num": 2, "dilation": False}


def as_published(model: TransVG) -> dict[str, Tensor]:
    """The weights under the names of the released file, with a pooler and a layer that nothing reads."""
    back = {ours: theirs for theirs, ours in PLACES.items()}
    found = {}
    for name, tensor in model.state_dict().items():
        place = max((ours for ours in back if name.startswith(ours)), key=len)
        found[back[place] + name.removeprefix(place)] = tensor.clone()
    found["visumodel.input_proj.weight"] = found["visumodel.input_proj.weight"][..., None, None]
    found["textmodel.bert.pooler.dense.weight"] = torch.ones(64, 64)
    found["textmodel.bert.encoder.layer.2.output.dense.bias"] = torch.ones(64)
    return found


@pytest.fixture
def words(tmp_path: Path) -> Path:
    (tmp_path / "bert").mkdir()
    Tokenizer.train(["a red car and two dogs"] * 9, 130, 8).save(tmp_path / "bert" / "tokenizer.json")
    return tmp_path / "bert"


def saved(path: Path, tensors: dict[str, Tensor], **changes: Any) -> Path:
    arguments = argparse.Namespace(**ARGUMENTS | changes)
    torch.save({"model": tensors, "args": arguments, "epoch": 3, "val_accu": 0.8}, path)
    return path


def test_the_imported_model_answers_as_the_weights_did(tmp_path: Path, words: Path) -> None:
    before = scrambled(TransVG(SMALL), 3)
    file = saved(tmp_path / "small.pth", as_published(before))
    after = checkpoint.load(import_transvg(file, tmp_path / "out", text=words))
    assert after.model.config == SMALL
    assert after.info.training["imported"]["sha256"] == checkpoint.sha256(file)
    tokens = after.tokenizer.encode(["a red car", "dogs"])
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = after.model(images, tokens), before(images, tokens)
    assert expected.boxes_cxcywh01.std() > 1e-3
    assert_close(found.boxes_cxcywh01, expected.boxes_cxcywh01)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda w: w.pop("vl_pos_embed.weight"), {}, "is not a TransVG: it has no vl_pos_embed"),
        (lambda w: w.pop("visu_proj.bias"), {}, r"missing net\.visual_proj\.bias"),
        (lambda w: w.update({"more.weight": torch.ones(1)}), {}, r"not in the model more\.weight"),
        (lambda w: None, {"imsize": 640}, "has 13 positions, too few for words and images of 640 pixels"),
        (lambda w: None, {"dilation": True}, "with dilation"),
        (lambda w: None, {"bert_enc_num": "x"}, "bert_enc_num is 'x'; it should be a whole number"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, words: Path, change: Any, options: dict[str, Any], message: str
) -> None:
    tensors = as_published(scrambled(TransVG(SMALL), 3))
    change(tensors)
    with pytest.raises(ValueError, match=message):
        import_transvg(saved(tmp_path / "small.pth", tensors, **options), tmp_path / "out", text=words)
    assert not (tmp_path / "out").exists()


def test_the_command_line_imports_one(
    tmp_path: Path, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, file = Shell(capsys), saved(tmp_path / "small.pth", as_published(scrambled(TransVG(SMALL), 3)))
    asked = ("import", file, tmp_path / "out", "--system", "transvg")
    assert "a transvg, which reads as bert-base-uncased, needs --text" in shell(*asked).complaint()
    assert "no tokenizer at nowhere" in shell(*asked, "--text", "nowhere").complaint()
    odd = shell(*asked, "--text", words, "--answers", file).complaint()
    assert "the importer of transvg takes text, not answers" in odd
    told = shell(*asked, "--text", words)
    assert (told.code, told.out.strip()) == (0, str(tmp_path / "out"))
    assert json.loads(shell("info", tmp_path / "out", "--json").out)["system"] == "transvg"

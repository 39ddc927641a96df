"""Published DETRs in both layouts: every weight finds its place, and the answers stay the same."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small import Shell
from test_detr import images, model, theirs
from torch import Tensor, nn
from torch.testing import assert_close

from groundling import checkpoint
from groundling.importers.detr import as_ours, config_of, import_detr
from groundling.importers.files import read
from groundling.models import DETR, build
from groundling.models.abilities import Ability
from groundling.models.coco_names import COCO_NAMES
from groundling.models.detr import Detr, DetrConfig

BLOCKS = (3, 4, 6, 3)
Shapes = dict[str, tuple[int, ...]]


# --------------------------------------------------------------------------- layouts, as they are published


def resnet_shapes(blocks: tuple[int, ...] = BLOCKS, width: int = 64, stem: int = 64) -> Shapes:
    """Of a torchvision or timm ResNet with frozen norms, which count no batches."""
    convolutions: Shapes = {"conv1": (stem, 3, 7, 7)}
    norms, inputs = {"bn1": stem}, stem
    for stage, depth in enumerate(blocks, 1):
        wide = width * 2 ** (stage - 1)
        for i in range(depth):
            place = f"layer{stage}.{i}."
            sizes = ((wide, inputs, 1, 1), (wide, wide, 3, 3), (4 * wide, wide, 1, 1))
            for number, size in enumerate(sizes, 1):
                convolutions[f"{place}conv{number}"], norms[f"{place}bn{number}"] = size, size[0]
            if i == 0:
                convolutions[f"{place}downsample.0"] = (4 * wide, inputs, 1, 1)
                norms[f"{place}downsample.1"] = 4 * wide
            inputs = 4 * wide
    found = {f"{name}.weight": shape for name, shape in convolutions.items()}
    for name, size in norms.items():
        found |= {f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")}
    return found


def basic_shapes(blocks: tuple[int, ...] = (2, 2, 2, 2), width: int = 64) -> Shapes:
    """Of a ResNet-18: two 3×3 a block, and a shortcut where a stage begins but the first."""
    convolutions: Shapes = {"conv1": (width, 3, 7, 7)}
    norms, inputs = {"bn1": width}, width
    for stage, depth in enumerate(blocks, 1):
        wide = width * 2 ** (stage - 1)
        for i in range(depth):
            place = f"layer{stage}.{i}."
            convolutions |= {f"{place}conv1": (wide, inputs, 3, 3), f"{place}conv2": (wide, wide, 3, 3)}
            norms |= {f"{place}bn1": wide, f"{place}bn2": wide}
            if inputs != wide:
                convolutions[f"{place}downsample.0"], norms[f"{place}downsample.1"] = (
                    (wide, inputs, 1, 1),
                    wide,
                )
            inputs = wide
    found = {f"{name}.weight": shape for name, shape in convolutions.items()}
    for name, size in norms.items():
        found |= {f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")}
    return found


def linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def facebook(d: int = 256, ffn: int = 2048, layers: int = 6, queries: int = 100, classes: int = 91) -> Shapes:
    """The names of DETR's own file, without the backbone."""
    found = {
        "input_proj.weight": (d, 2048, 1, 1),
        "input_proj.bias": (d,),
        "query_embed.weight": (queries, d),
    }
    for stack, attentions in (("encoder", ["self_attn"]), ("decoder", ["self_attn", "multihead_attn"])):
        for i in range(layers):
            place = f"transformer.{stack}.layers.{i}."
            for attention in attentions:
                found[f"{place}{attention}.in_proj_weight"] = (3 * d, d)
                found[f"{place}{attention}.in_proj_bias"] = (3 * d,)
                found |= linear(f"{place}{attention}.out_proj", d, d)
            found |= linear(f"{place}linear1", ffn, d) | linear(f"{place}linear2", d, ffn)
            for number in range(len(attentions) + 1):
                found |= norm(f"{place}norm{number + 1}", d)
    found |= norm("transformer.decoder.norm", d) | linear("class_embed", classes + 1, d)
    for number, outputs in enumerate((d, d, 4)):
        found |= linear(f"bbox_embed.layers.{number}", outputs, d)
    return found


def hugging(d: int = 256, ffn: int = 2048, layers: int = 6, queries: int = 100, classes: int = 91) -> Shapes:
    """The names that transformers' own facebook/detr-resnet-50 has, without the backbone."""
    found = {"model.input_projection.weight": (d, 2048, 1, 1), "model.input_projection.bias": (d,)}
    found["model.query_position_embeddings.weight"] = (queries, d)
    for stack, attentions in (("encoder", ["self_attn"]), ("decoder", ["self_attn", "encoder_attn"])):
        for i in range(layers):
            place = f"model.{stack}.layers.{i}."
            for attention in attentions:
                for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
                    found |= linear(f"{place}{attention}.{part}", d, d)
                found |= norm(f"{place}{attention}_layer_norm", d)
            found |= linear(f"{place}fc1", ffn, d) | linear(f"{place}fc2", d, ffn)
            found |= norm(f"{place}final_layer_norm", d)
    found |= norm("model.decoder.layernorm", d) | linear("class_labels_classifier", classes + 1, d)
    for number, outputs in enumerate((d, d, 4)):
        found |= linear(f"bbox_predictor.layers.{number}", outputs, d)
    return found


LAYOUTS = {
    "facebookresearch": (facebook, "backbone.0.body."),
    "transformers": (hugging, "model.backbone.conv_encoder.model."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_published_name_has_its_place_and_every_place_its_name(layout: str) -> None:
    rest, place = LAYOUTS[layout]
    shapes = rest() | {place + name: shape for name, shape in resnet_shapes().items()}
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    said, found = as_ours(tensors, Path("detr.pth"))
    assert said == layout
    config = config_of(found, Path("detr.pth"), 8, None)
    assert config == DETR["detr_r50"]
    with torch.device("meta"):
        ours = build(config).net.state_dict()
    assert {k: t.shape for k, t in found.items()} == {k: t.shape for k, t in ours.items()}


# ------------------------------------------------------------------------------------- small, with numbers

BODY = "backbone.0.body."
SMALL = {"d": 16, "ffn": 24, "layers": 2, "queries": 7, "classes": 3}


def small_file(path: Path, **held: Any) -> Path:
    """A DETR of facebookresearch's layout in which every number is random."""
    shapes = facebook(**SMALL) | {"input_proj.weight": (16, 128, 1, 1)}
    shapes |= {f"backbone.0.body.{k}": s for k, s in resnet_shapes((2, 1, 1, 1), 4, 8).items()}
    generator = torch.Generator().manual_seed(5)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    tensors = {k: t.abs() + 0.5 if k.endswith("running_var") else 0.2 * t for k, t in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": tensors, **held}, path)
    return path


def test_facebooks_file_becomes_a_checkpoint_that_names_it(tmp_path: Path) -> None:
    arguments = argparse.Namespace(nheads=4, dilation=False, position_embedding="sine", lr=1e-4)
    source = small_file(tmp_path / "detr.pth", args=arguments, epoch=3, optimizer={"state": {}})
    folder = import_detr(source, tmp_path / "out", categories=("man", "dog", "car"))
    detr, info = checkpoint.load_detector(folder)
    held = torch.load(source, weights_only=False)["model"]
    own = detr.net.state_dict()
    assert len(own) == len(held)
    assert_close(
        own["decoder.layers.1.multihead_attn.in_proj_weight"],
        held["transformer.decoder.layers.1.multihead_attn.in_proj_weight"],
    )
    assert_close(
        own["backbone.layer1.0.downsample.1.running_var"],
        held["backbone.0.body.layer1.0.downsample.1.running_var"],
    )
    assert (detr.config.categories, detr.config.heads, detr.config.blocks) == (
        ("man", "dog", "car"),
        4,
        (2, 1, 1, 1),
    )
    assert info.training["imported"] == {
        "file": "detr.pth",
        "layout": "facebookresearch",
        "sha256": checkpoint.sha256(source),
    }
    assert not (folder / checkpoint.TOKENIZER).exists()


def test_what_transformers_saves_answers_as_it_did(tmp_path: Path) -> None:
    """Its own save_pretrained, with its own ResNet, the names of its classes and its number of heads."""
    ours = model()
    reference = theirs(ours.state_dict())
    reference.config.id2label = {0: "man", 1: "dog", 2: "car"}
    reference.save_pretrained(tmp_path / "theirs")
    found, _ = checkpoint.load_detector(import_detr(tmp_path / "theirs", tmp_path / "out"))
    assert found.config == ours.config
    pixels, shown = images((64, 50), (40, 64))
    with torch.no_grad():
        expected = reference(pixels, shown.long())
        answer = found(pixels, shown)
    assert_close(answer.logits, expected.logits, rtol=0, atol=1e-4)
    assert_close(answer.boxes_cxcywh01, expected.pred_boxes, rtol=0, atol=1e-4)


def in_memory_names(reference: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in reference.state_dict().items()}


def test_names_of_newer_transformers_fit_too(tmp_path: Path) -> None:
    """`mlp.fc1` and `o_proj`, as version 5 calls them in memory."""
    ours = model()
    names = in_memory_names(theirs(ours.state_dict()))
    assert "model.encoder.layers.0.mlp.fc1.weight" in names
    assert "model.encoder.layers.0.self_attn.o_proj.weight" in names
    said, found = as_ours(names, Path("x"))
    assert said == "transformers"
    assert_close(found, dict(ours.net.state_dict()), rtol=0, atol=0)


# --------------------------------------------------------------------------------------- what does not fit


def changed(path: Path, change: Any) -> Path:
    held = torch.load(small_file(path), weights_only=False)
    change(held["model"])
    torch.save(held, path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("transformer.decoder.norm.bias"), r"missing decoder\.norm\.bias; not in the model"),
        (lambda w: w.update({"mask_head.lay1.bias": torch.ones(1)}), r"missing nothing; .* mask_head\.lay1"),
        (lambda w: w.update({"class_embed.bias": torch.ones(9)}), r"bias \(9,\) where the model has \(4,\)"),
        (lambda w: w["query_embed.weight"].fill_(float("nan")), r"not finite: query_embed\.weight"),
        (lambda w: w.pop("backbone.0.body.layer1.0.conv3.weight"), "no weight that would be our backbone"),
        (lambda w: w.pop("query_embed.weight"), "is not a DETR of facebookresearch or transformers"),
        (lambda w: w.update({f"{BODY}layer999999.0.conv1.weight": torch.ones(1)}), "its layers up to 999999"),
        (lambda w: w.update({f"{BODY}layer{'9' * 5000}.0.bn1.bias": torch.ones(1)}), "layers up to 9{12}…"),
        (lambda w: w.update({f"{BODY}layer9.0.conv1.weight": torch.ones(1)}), "9 stages, and a ResNet"),
        (lambda w: w.update({f"{BODY}layer1.0.conv1.weight": torch.ones(0, 8, 1, 1)}), "weight is empty"),
        (lambda w: w.update({"input_proj.weight": torch.ones(1).expand(8192, 128, 1, 1)}), "not stored"),
        (lambda w: w.update({"query_embed.weight": torch.eye(7).to_sparse()}), "not stored number by number"),
        (lambda w: w.update({"query_embed.weight": torch.ones(7, 16, device="meta")}), "not stored number"),
    ],
    ids=[
        "a weight is missing", "one is too many", "another shape", "not finite", "a missing 1×1", "no DETR",
        "a stage of a million", "one of 5000 digits", "nine stages", "no channels", "one number for all",
        "sparse", "no numbers",
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(tmp_path: Path, change: Any, message: str) -> None:
    source = changed(tmp_path / "detr.pth", change)
    with pytest.raises(ValueError, match=message):
        import_detr(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("detr.pth", {"dilation": True}, "DETR with dilation"),
        ("detr.pth", {"pre_norm": True}, "DETR with pre_norm"),
        ("detr.pth", {"nheads": "abc"}, "nheads is 'abc'; it should be a whole number"),
        ("detr.pth", {"nheads": 2.7}, "nheads is 2.7; it should be a whole number"),
        ("detr.pth", {"dilation": torch.zeros(2)}, "DETR with dilation"),
        ("detr.pth", {"position_embedding": "learned"}, "DETR with position embedding 'learned'"),
        ("detr-r50-dc5-f0fb7ef5.pth", {}, "DETR with dilation"),
    ],
)
def test_what_is_computed_in_another_way_is_refused(
    tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    """Its weights would fit, and the boxes be wrong."""
    source = small_file(tmp_path / name, args=argparse.Namespace(**options))
    with pytest.raises(ValueError, match=message):
        import_detr(source, tmp_path / "out")


def test_names_of_classes_are_as_many_as_there_are(tmp_path: Path) -> None:
    source = small_file(tmp_path / "detr.pth")
    with pytest.raises(ValueError, match="has 3 classes, 1 names for them are given"):
        import_detr(source, tmp_path / "out", categories=["man"])
    with pytest.raises(ValueError, match="has 3 classes, 0 names for them are given"):
        import_detr(source, tmp_path / "out", categories=[])
    folder = import_detr(source, tmp_path / "out")
    assert checkpoint.load_detector(folder).model.config.categories == ("0", "1", "2")


@pytest.mark.parametrize("labels", [{"0": "a", "5": "b", "7": "c"}, {"0": "a", "1": None, "2": "c"}, ["a"]])
def test_names_of_transformers_are_of_all_classes(tmp_path: Path, labels: object) -> None:
    source = small_file(tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps({"id2label": labels}))
    with pytest.raises(ValueError, match=r"config\.json: id2label does not name classes 0, 1, 2"):
        import_detr(source, tmp_path / "out")


def test_the_command_line_reads_names_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell, file = Shell(capsys), tmp_path / "names.txt"
    asked = ("import", small_file(tmp_path / "detr.pth"), tmp_path / "out", "--system", "detr")
    for text, message in (
        (b"", "names.txt:1: a line must hold"),
        (b"man\n\ncar", "names.txt:2: a line must hold"),
        (b"\xff", "names.txt:1: not text in UTF-8"),
    ):
        file.write_bytes(text)
        assert message in shell(*asked, "--categories", file).complaint()
    file.write_text("man\ndog\ncar\n\n")
    assert shell(*asked, "--categories", file).code == 0
    assert checkpoint.load_detector(tmp_path / "out").model.config.categories == ("man", "dog", "car")


def test_an_import_replaces_neither_its_source_nor_what_is_no_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--replace` deleted the weights that were imported, and a project whose folder had a config.json."""
    shell = Shell(capsys)
    source, project = small_file(tmp_path / "hf" / "pytorch_model.bin"), tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    (project / "config.json").write_text("{}")
    for place, message in ((tmp_path / "hf", "which would be replaced"), (project, "is not a checkpoint")):
        assert message in shell("import", source, place, "--system", "detr", "--replace").complaint()
    out = import_detr(source, tmp_path / "out")
    (out / "notes.txt").write_text("mine")
    held = shell("import", source, out, "--system", "detr", "--replace").complaint()
    assert "holds notes.txt, which would be lost" in held
    assert source.is_file()
    assert (project / ".git").is_dir()


def test_a_files_arguments_are_plain_values(tmp_path: Path) -> None:
    assert read(small_file(tmp_path / "a.pth"))[1] == {}
    for number, args in enumerate((argparse.Namespace(nheads=4), {"nheads": 4})):
        assert read(small_file(tmp_path / f"b{number}.pth", args=args))[1] == {"nheads": 4}
    with pytest.raises(ValueError, match="args are no command line but a list"):
        read(small_file(tmp_path / "d.pth", args=[4]))
    save_file({"a": torch.ones(1)}, tmp_path / "c.safetensors")
    assert read(tmp_path / "c.safetensors")[1] == {}


def test_a_file_is_unpickled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights and its command line were read one after the other, each by loading everything."""
    source, loads, load = small_file(tmp_path / "detr.pth"), [], torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: (loads.append(a), load(*a, **k))[1])
    import_detr(source, tmp_path / "out")
    assert len(loads) == 1


# -------------------------------------------------------------------------------- checkpoints of detectors


def test_a_detector_is_saved_and_loaded_without_words(tmp_path: Path) -> None:
    ours = model()
    folder = checkpoint.save(tmp_path / "detr", ours, None)
    loaded, info = checkpoint.load_detector(folder)
    assert isinstance(loaded, Detr)
    assert not loaded.training
    assert loaded.config == ours.config
    assert_close(dict(loaded.state_dict()), dict(ours.state_dict()), rtol=0, atol=0)
    assert info.sha256 == checkpoint.sha256(folder / checkpoint.WEIGHTS)
    assert "tokens" not in json.loads((folder / checkpoint.CONFIG).read_text())
    assert checkpoint.can(folder, Ability.DETECTS)
    assert not checkpoint.can("lads_street", Ability.DETECTS)


def test_each_loader_names_the_other_where_a_model_is_of_the_other_kind(tmp_path: Path) -> None:
    folder = checkpoint.save(tmp_path / "detr", model(), None)
    with pytest.raises(checkpoint.CheckpointError, match=r"\(detr\) cannot ground .* lads_street"):
        checkpoint.load(folder)
    with pytest.raises(checkpoint.CheckpointError, match=r"\(lads\) cannot detect .* detr_r50"):
        checkpoint.load_detector("lads_street")


def test_a_config_of_coco_needs_no_names() -> None:
    assert DetrConfig().categories == COCO_NAMES

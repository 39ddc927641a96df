"""Which of PhraseCut's published subsets a phrase is in, as far as its own annotation says.

    i_single, i_multi, i_many    one instance, two to four, five or more
    s_small, s_mid, s_large      pixels below 2 %, from 2 to 20 %, above 20 % of the image's
    p_att, p_rel, p_att_rel      the phrase has attributes, relations, both; p_attm, p_relm: several
    p_name, p_att+, p_rel+       what tells it from boxes of its category: the name, attributes, relations
    p_verbose                    nothing does

Left out are those that need lists of words or counts over the dataset: the rank of categories (c20, …) and
attributes (a20, …), sorts of attributes (a_color, …), stuff (t_stuff), COCO's categories and images. Source:
ChenyunWu/PhraseCutDataset, whose comments count five instances as "multi" too, and its code does not.
"""

from collections.abc import Mapping
from types import MappingProxyType

KINDS: Mapping[str, str] = MappingProxyType(
    {"name": "p_name", "attribute": "p_att+", "relation": "p_rel+", "verbose": "p_verbose"}
)  # of `phrase_structure.type`


def of_structure(attributes: int, relations: int, kind: str | None) -> tuple[str, ...]:
    """By how many attributes and relations a phrase has, and by the type that its structure says."""
    return _those(
        ("p_att", attributes > 0),
        ("p_attm", attributes > 1),
        ("p_rel", relations > 0),
        ("p_relm", relations > 1),
        ("p_att_rel", attributes > 0 and relations > 0),
        *((name, kind == known) for known, name in KINDS.items()),
    )


def of_instances(count: int, share: float) -> tuple[str, ...]:
    """By how many instances a phrase means, and by the share of the image's pixels that they cover."""
    return _those(
        ("i_single", count == 1),
        ("i_multi", 1 < count < 5),
        ("i_many", count >= 5),
        ("s_small", share < 0.02),
        ("s_mid", 0.02 <= share <= 0.2),
        ("s_large", share > 0.2),
    )


def _those(*names: tuple[str, bool]) -> tuple[str, ...]:
    return tuple(name for name, inside in names if inside)

"""Answers to questions: a query for the question's type and one for each type, each with a head of its own.

MDETR for GQA and CLEVR. Shapes: E questions, A answer queries, D channels.
"""

from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from groundling.layers.transformer import MLP
from groundling.models.supernet import Frozen


class AnswerKind(Frozen):
    """One type of answer. One output is a yes (its words are those for no and yes), several are a choice."""

    name: str = Field(pattern=r"^[a-z_]+$")
    outputs: int = Field(gt=0, le=100_000)
    layers: int = Field(1, ge=1, le=8)  # of its head
    words: tuple[str, ...] = ()  # the answers themselves; none where nobody said them

    @model_validator(mode="after")
    def _has_a_word_for_each(self) -> "AnswerKind":
        if self.words and len(self.words) != max(2, self.outputs):
            raise ValueError(f"{self.name}: {len(self.words)} words for {max(2, self.outputs)} answers")
        return self


class AnswersConfig(Frozen):
    """The kinds in the order of their queries, and the types in the order of the type head's outputs.

    Without types there is one kind, and its query is the only one. The released MDETR answers from the
    first decoder layer's output, whatever comes behind it.
    """

    kinds: tuple[AnswerKind, ...] = Field(min_length=1, max_length=50)
    types: tuple[str, ...] = ()
    layer: Literal["first", "last"] = "last"

    @model_validator(mode="after")
    def _types_are_kinds(self) -> "AnswersConfig":
        names = [kind.name for kind in self.kinds]
        if len(set(names)) < len(names) or "type" in names:
            raise ValueError(f"kinds {', '.join(names)}: each needs a name of its own, and not 'type'")
        if (self.types or len(names) > 1) and sorted(self.types) != sorted(names):
            raise ValueError(f"types {', '.join(self.types)} are not the kinds {', '.join(names)}")
        return self

    @property
    def queries(self) -> int:
        """Answer queries, that of the type included."""
        return len(self.kinds) + bool(self.types)


GQA = AnswersConfig(
    kinds=(
        AnswerKind(name="obj", outputs=3),
        AnswerKind(name="rel", outputs=1594),
        AnswerKind(name="attr", outputs=403),
        AnswerKind(name="cat", outputs=678),
        AnswerKind(name="global", outputs=111),
    ),
    types=("obj", "attr", "rel", "global", "cat"),
    layer="first",
)
GQA_SINGLE = AnswersConfig(kinds=(AnswerKind(name="answer", outputs=1853),), layer="first")
_CLEVR_LOOKS = (  # in the order of the released code's labels
    "small", "large", "gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow", "cube", "sphere",
    "cylinder", "rubber", "metal",
)  # fmt: skip
CLEVR = AnswersConfig(
    kinds=(
        AnswerKind(name="binary", outputs=1, words=("no", "yes")),
        AnswerKind(name="reg", outputs=20, layers=3, words=tuple(map(str, range(20)))),  # how many
        AnswerKind(name="attr", outputs=len(_CLEVR_LOOKS), words=_CLEVR_LOOKS),
    ),
    types=("binary", "attr", "reg"),
    layer="first",
)
_COLOURS = (
    "red", "green", "blue", "yellow", "orange", "purple", "black", "white", "brown", "pink", "gray",
)  # fmt: skip
_THINGS = (
    "man", "woman", "boy", "girl", "dog", "cat", "bird", "car", "bus", "truck", "bicycle", "tree", "house",
    "bench", "lamp", "hydrant", "ball", "sign", "mailbox", "balloon",
)  # fmt: skip
_YES_NO = ("yes", "no")
_LOOKS = (*_YES_NO, *_COLOURS, "sitting", "standing", "flying", "waving", "left", "right")
_SETTINGS = (*_YES_NO, "cloudy", "grass", "hazy", "pavement", "sand", "sunny")
STREET = AnswersConfig(  # every answer to a question about a drawn street scene
    kinds=(
        AnswerKind(name="obj", outputs=len(_YES_NO), words=_YES_NO),
        AnswerKind(name="rel", outputs=len(_YES_NO), words=_YES_NO),
        AnswerKind(name="attr", outputs=len(_LOOKS), words=_LOOKS),
        AnswerKind(name="cat", outputs=len(_THINGS), words=_THINGS),
        AnswerKind(name="global", outputs=len(_SETTINGS), words=_SETTINGS),
    ),
    types=("obj", "attr", "rel", "global", "cat"),
)


class AnswerHeads(nn.Module):
    """The answer queries, which are asked with the object queries, and a head for each."""

    def __init__(self, config: AnswersConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.queries, dim)
        heads: dict[str, nn.Module] = {"type_head": nn.Linear(dim, len(config.types))} if config.types else {}
        for kind in config.kinds:  # a ModuleDict takes no key "type"
            deep = kind.layers > 1
            heads[f"{kind.name}_head"] = (
                MLP(dim, dim, kind.outputs, kind.layers) if deep else nn.Linear(dim, kind.outputs)
            )
        self.heads = nn.ModuleDict(heads)

    def forward(self, hidden_EAD: Tensor) -> dict[str, Tensor]:
        """Logits (E, outputs) of each kind, and of `type` where there are types."""
        return {
            name.removesuffix("_head"): head(hidden_EAD[:, index]).float()
            for index, (name, head) in enumerate(self.heads.items())
        }

    def of_objects(self, hidden_MD: Tensor) -> dict[str, Tensor]:
        """Logits (M, outputs) of each kind, as an object's query would answer: training asks for them."""
        return {kind.name: self.heads[f"{kind.name}_head"](hidden_MD).float() for kind in self.config.kinds}

    def macs(self) -> int:
        """MACs of all heads for one question."""
        return sum(parameter.numel() for parameter in self.heads.parameters() if parameter.dim() > 1)

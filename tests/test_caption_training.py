"""Training on captions: what a batch says is true of its pixels and words, and a small MDETR learns by it."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scrambled import scrambled
from torch import Tensor
from torch.testing import assert_close

from groundling import checkpoint
from groundling.ask.asking import answer, ground_phrases
from groundling.cli.settings import applied
from groundling.data import Caption, CaptionSet, DataWarning, Phrase, open_mixture, street
from groundling.data.caption import Answer
from groundling.data.loader import Plan
from groundling.data.modulated import (
    CaptionTrainingSet,
    Learned,
    fingerprint,
    goals,
    mirrored,
    placed_mask,
)
from groundling.data.sample import DataError
from groundling.data.street.question import ANSWERS
from groundling.data.street.tasks import TASKS
from groundling.data.transforms import flip_spans, flip_words
from groundling.dynamic.gates import Draw
from groundling.losses import OBJECTIVES
from groundling.models import MDETR, build
from groundling.models.answers import STREET, AnswerKind, AnswersConfig
from groundling.models.lads import GatingConfig
from groundling.models.mdetr import Mdetr, MdetrConfig
from groundling.pictures import masks
from groundling.pictures.boxes import iou
from groundling.pictures.placement import Canvas, Placement
from groundling.recipes.mdetr_street import mdetr_adaptive, mdetr_street
from groundling.training.config import DataConfig
from groundling.training.optimisation import lr_factor, parameter_groups
from groundling.training.train import Run, train, train_all
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.roberta import RobertaTextConfig

TEXT = "a cat and a dog"
CAT, DOG = (10.0, 5.0, 30.0, 15.0), (0.0, 0.0, 10.0, 10.0)
POLYGON = (10.0, 5.0, 30.0, 5.0, 30.0, 15.0, 10.0, 15.0)
SIDES = AnswersConfig(
    kinds=(
        AnswerKind(name="obj", outputs=1, words=("no", "yes")),
        AnswerKind(name="attr", outputs=3, words=("red", "left", "right")),
    ),
    types=("attr", "obj"),
)
COLUMNS = 12


def tokenizer() -> ByteTokenizer:
    return ByteTokenizer.train([TEXT] * 9, 280, COLUMNS)


def caption(number: int, image: Path, **changes: Any) -> Caption:
    phrases = (Phrase(((0, 5),), (CAT,), ((POLYGON,),)), Phrase(((10, 15),), (DOG,)))
    return Caption(**{"id": f"{number}", "image": image, "text": TEXT, "phrases": phrases, **changes})


def drawn(folder: Path, captions: int = 1, images: int = 1, **changes: Any) -> CaptionSet:
    """Black images of 40 × 20, each with some captions."""
    paths = [folder / f"{number}.png" for number in range(images)]
    for path in paths:
        Image.new("RGB", (40, 20)).save(path)
    rows = (caption(number, paths[number // captions], **changes) for number in range(captions * images))
    return CaptionSet("drawn", "train", tuple(rows))


def training_set(captions: CaptionSet, **options: Any) -> CaptionTrainingSet:
    given: dict[str, Any] = {"seed": 3, "images_per_batch": 1, "expressions_per_image": 1, "mirror": False}
    learned = options.pop("learned", Learned(COLUMNS, True, SIDES))
    return CaptionTrainingSet(captions, tokenizer(), Canvas(size=32), Plan(**{**given, **options}), learned)


# -------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("turned", [False, True])
def test_a_batch_by_hand(tmp_path: Path, turned: bool) -> None:
    """40 × 20 on a canvas of 32: ×0.8, eight rows of padding above. <s> a ·cat ·and ·a ·dog </s>"""
    assert tokenizer().pieces(TEXT) == ["<s>", "a", "Ġcat", "Ġand", "Ġa", "Ġdog", "</s>"]
    asked = drawn(tmp_path, answer=Answer("left", "attr"))
    data = training_set(asked)
    (example,) = data.examples(0)
    batch = data.collate([replace(example, mirror=turned)])
    found = batch.targets
    assert (len(batch), batch.names, batch.image_index.tolist()) == (1, ("0",), [0])
    assert batch.images.shape == (1, 3, 32, 32)
    assert batch.images[0, 0, :, 0].tolist() == [124] * 8 + [0] * 16 + [124] * 8
    assert found.counts.tolist() == [2]
    cat, dog = [0.5, 0.5, 0.5, 0.25], [0.875 if turned else 0.125, 0.375, 0.25, 0.25]
    assert_close(found.boxes_cxcywh01, torch.tensor([[cat, dog]]))
    wanted = torch.zeros(1, 2, COLUMNS)
    wanted[0, 0, 1:3] = wanted[0, 1, 4:6] = 0.5
    assert_close(found.positive, wanted)
    assert torch.equal(found.tokens, wanted[..., :7] > 0)
    assert found.masked is not None
    assert found.masked.tolist() == [[True, False]]
    mask = torch.zeros(1, 2, 32, 32, dtype=torch.bool)
    mask[0, 0, 12:20, 8:24] = True
    assert found.masks is not None
    assert torch.equal(found.masks, mask)
    assert found.types is not None
    assert found.answers is not None
    assert (found.types.tolist(), found.answers.tolist()) == ([0], [2 if turned else 1])


def test_run_lengths_lie_where_polygons_do() -> None:
    """The upper left quarter of 40 × 20 is rows 8 to 16 and columns 0 to 16 of the canvas."""
    placement = Placement(0.8, 0.8, 0, 8, 40, 20, 32, 32)
    pixels = np.zeros((20, 40), dtype=np.bool_)
    pixels[:10, :20] = True
    runs = placed_mask(masks.encode(pixels), placement)
    wanted = torch.zeros(32, 32, dtype=torch.bool)
    wanted[8:16, :16] = True
    assert torch.equal(runs, wanted)
    assert torch.equal(placed_mask(((0.0, 0.0, 20.0, 0.0, 20.0, 10.0, 0.0, 10.0),), placement), wanted)
    with pytest.raises(DataError, match="20x20 pixels, height first, is not of an image of 20x40"):
        placed_mask(masks.Rle(20, 20, (400,)), placement)


def test_a_box_that_two_phrases_mean_is_found_once_by_the_words_of_both() -> None:
    phrases = (Phrase(((0, 5),), (CAT,)), Phrase(((10, 15),), (DOG, CAT), ((POLYGON,), (POLYGON,))))
    cat, dog = goals(caption(0, Path(), phrases=phrases))
    assert (cat.box, cat.spans, cat.mask) == (CAT, ((0, 5), (10, 15)), (POLYGON,))
    assert (dog.box, dog.spans) == (DOG, ((10, 15),))
    assert goals(caption(0, Path(), phrases=(Phrase(((0, 5),), ()),))) == ()


def test_in_the_mirror_spans_follow_their_words() -> None:
    text = "the left man and a dog at 3 o'clock"
    phrases = (Phrase(((0, 12),), (CAT,)), Phrase(((17, 22), (26, 35)), (DOG,)))
    found = mirrored(Caption("0", Path(), text, phrases, Answer("right", "attr"), negatives=((13, 16),)))
    assert found.text == "the right man and a dog at 9 o'clock"
    assert [found.words(phrase) for phrase in found.phrases] == ["the right man", "a dog 9 o'clock"]
    assert found.text[slice(*found.negatives[0])] == "and"
    assert found.answer == Answer("left", "attr")


WORDS = st.lists(st.sampled_from(["left", "Right", "rt", "dog", "bottomleft", "11 o'clock", "bright"]))


@given(WORDS, WORDS)
def test_any_words_are_found_again_in_the_mirror(before: list[str], words: list[str]) -> None:
    start, phrase = " ".join([*before, "a"]) + " ", " ".join(["one", *words])
    text, ((begin, end),) = flip_spans(f"{start}{phrase} left", [(len(start), len(start) + len(phrase))])
    assert text == flip_words(f"{start}{phrase} left")
    assert text[begin:end] == flip_words(phrase)


def test_what_cannot_be_learned_is_left_out_counted_and_named(tmp_path: Path) -> None:
    plain = drawn(tmp_path, captions=4)
    first, second, third, fourth = plain.captions
    odd = replace(first, answer=Answer("seven", "attr"))
    long = replace(second, text=TEXT + " and x y z u v w q k j")
    sort = replace(third, answer=Answer("red", "rel"))
    told = replace(plain, captions=(odd, long, sort, fourth), left_out=2)
    with pytest.warns(DataWarning) as warned:
        data = training_set(told)
    (line,) = [str(each.message) for each in warned]
    assert line.startswith("drawn train: 3 of 4 captions left out. caption 0: 'seven' is none of the 3 ans")
    assert "caption 1: a text of" in line
    assert "caption 2: the model answers no question of kind 'rel'" in line
    assert data.left_out == 5
    assert [[each.id for each in group] for group in data.groups] == [["3"]]
    bare = training_set(told, learned=Learned(COLUMNS + 20, True))
    assert bare.collate(bare.examples(0)).targets.answers is None
    with pytest.raises(DataError, match="none of 1 captions can be used"):
        training_set(replace(plain, captions=(long,)))


def test_a_mask_of_another_image_is_left_out_before_training_begins(tmp_path: Path) -> None:
    """It ended a run at the step that drew it."""
    plain = drawn(tmp_path, captions=2)
    phrase = Phrase(((0, 5),), (CAT,), (masks.Rle(20, 20, (400,)),))
    told = replace(plain, captions=(replace(plain.captions[0], phrases=(phrase,)), plain.captions[1]))
    with pytest.warns(DataWarning, match="caption 0: a mask of 20x20 pixels, .* is not of an image of 20x"):
        data = training_set(told)
    assert data.left_out == 1
    assert training_set(told, learned=Learned(COLUMNS)).left_out == 0


def test_an_answer_of_none_of_the_known_is_learned_as_unknown(tmp_path: Path) -> None:
    """As MDETR's authors train on GQA, where a kind has that word."""
    kinds = (AnswerKind(name="attr", outputs=2, words=("red", "unknown")),)
    asked = drawn(tmp_path, answer=Answer("mauve"))
    data = training_set(asked, learned=Learned(COLUMNS, False, AnswersConfig(kinds=kinds)))
    answers = data.collate(data.examples(0)).targets.answers
    assert answers is not None
    assert answers.tolist() == [1]


def test_which_objects_are_final_is_learned_where_captions_say_it(tmp_path: Path) -> None:
    """A box that one phrase asks for and another mentions is final."""
    phrases = (
        Phrase(((0, 5),), (CAT,), finals=(False,)),
        Phrase(((10, 15),), (DOG, CAT), finals=(False, True)),
    )
    told = drawn(tmp_path, phrases=phrases)
    data = training_set(told, learned=Learned(COLUMNS, final=True))
    targets = data.collate(data.examples(0)).targets
    assert targets.final is not None
    assert targets.final.tolist() == [[1, 0]]
    assert training_set(told).collate(data.examples(0)).targets.final is None
    assert fingerprint(told) != fingerprint(
        drawn(tmp_path, phrases=tuple(replace(p, finals=()) for p in phrases))
    )
    with pytest.raises(
        DataError, match=r"caption 0: the model learns which objects are final, and .* \(finals\)"
    ):
        training_set(drawn(tmp_path), learned=Learned(COLUMNS, final=True))


def test_what_is_unknown_in_the_mirror_alone_is_left_out_where_it_is_mirrored(tmp_path: Path) -> None:
    kinds = (AnswerKind(name="attr", outputs=2, words=("red", "left")),)
    one_sided = Learned(COLUMNS, False, AnswersConfig(kinds=kinds))
    plain = drawn(tmp_path, captions=2)
    left = replace(plain, captions=(replace(plain.captions[0], answer=Answer("left")), plain.captions[1]))
    batch = training_set(left, learned=one_sided, expressions_per_image=2)
    found = batch.collate(batch.examples(0)).targets
    assert found.types is None
    assert found.masks is None
    assert found.answers is not None
    assert sorted(found.answers.tolist()) == [-1, 1]
    with pytest.warns(DataWarning, match="1 of 2 captions left out. caption 0: 'right' is none of the 2"):
        training_set(left, learned=one_sided, mirror=True)
    with pytest.raises(ValueError, match="answers of obj, rel, attr, cat, global by number only"):
        Learned(COLUMNS, False, MDETR["mdetr_r101_gqa"].answers)


def test_an_epoch_shows_every_image_once_and_a_step_is_the_same_cut_in_any_way(tmp_path: Path) -> None:
    captions = drawn(tmp_path, captions=3, images=8)
    options = {"images_per_batch": 4, "expressions_per_image": 2, "mirror": True}
    data, again = training_set(captions, **options), training_set(captions, **options)
    assert data.steps_per_epoch == 2
    shown = [example.image for step in (2, 3) for example in data.examples(step)]
    assert sorted(shown) == sorted({each.image for each in captions.captions})
    whole = data.collate(data.examples(5))
    halves = [again.collate(again.examples(5)[place : place + 2]) for place in (0, 2)]
    assert whole.names == (*halves[0].names, *halves[1].names)
    assert whole.image_index.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for name in ("boxes_cxcywh01", "positive", "tokens", "masks", "masked", "answers"):
        assert_close(
            getattr(whole.targets, name), torch.cat([getattr(half.targets, name) for half in halves])
        )
    with pytest.raises(ValueError, match="8 images in drawn train, 9 in a batch"):
        training_set(captions, images_per_batch=9)


def test_a_fingerprint_is_of_what_captions_say_and_not_of_folders(tmp_path: Path) -> None:
    plain = drawn(tmp_path)
    (only,) = plain.captions

    def of(**changes: Any) -> str:
        return fingerprint(replace(plain, captions=(replace(only, **changes),)))

    assert of(image=Path("elsewhere") / only.image.name) == fingerprint(plain)
    assert of(answer=Answer("red", detailed="queryAttr")) == of(answer=Answer("red"))  # nothing learns it
    other = Phrase(((0, 5),), (CAT,), (((10.0, 5.0, 30.0, 5.0, 30.0, 15.0),),))
    changed = {of(text="a cat and a cow"), of(answer=Answer("red")), of(phrases=(other, only.phrases[1]))}
    assert len(changed | {fingerprint(plain)}) == 4


def test_a_fingerprint_is_of_the_same_bytes_as_ever() -> None:
    """Or no run of an earlier version could be resumed: those of its data are in its checkpoints."""
    image, sure = Path("anywhere") / "1.png", Answer("red", "attr", (CAT,), detailed="queryAttr")
    asked = Caption("1", image, "is it?", answer=sure)
    told = Caption("2", image, "a cat", (Phrase(((0, 5),), (CAT,), category="cat"),), referring=True)
    said = (
        "1\t1.png\tis it?\t[]\tAnswer(text='red', kind='attr', boxes=((10.0, 5.0, 30.0, 15.0),))\tFalse\n"
        "2\t1.png\ta cat\t[(((0, 5),), ((10.0, 5.0, 30.0, 15.0),), 'cat')]\tNone\tTrue\n"
    )
    assert fingerprint(CaptionSet("mine", "train", (asked, told))) == sha256(said.encode()).hexdigest()
    assert "queryAttr" in repr(sure)


def test_datasets_of_a_folder_are_read_together(tmp_path: Path) -> None:
    street.write(tmp_path, scenes=6, seed=1, size=64, tasks=("captions", "questions"))
    both = open_mixture(tmp_path, "flickr30k, gqa", "train,train_balanced")
    assert {each.answer is None for each in both.captions} == {True, False}
    twice = open_mixture(tmp_path, "flickr30k,gqa,gqa", "train,train_balanced,train_balanced")
    asked = [each for each in both.captions if each.answer]
    assert [*twice.captions] == [*both.captions, *asked]
    assert len({id(each) for each in twice.captions}) == len(both.captions)  # read once
    with pytest.raises(ValueError, match=r"2 splits \(train,val\) for 1 datasets \(gqa\); give one or"):
        open_mixture(tmp_path, "gqa", "train,val")


# ----------------------------------------------------------------------------------------------- objective

SMALL = tiny.MDETR.model_copy(
    update={
        "text": RobertaTextConfig(
            vocabulary=280, layers=1, dim=16, heads=2, ffn=32, tokens=COLUMNS, positions=14, dropout=0.1
        ),
        "dropout": 0.1,
        "contrastive": 8,
        "answers": SIDES,
        "masks": True,
    }
)


def mixed(folder: Path) -> CaptionSet:
    """Of six images a caption with masks, a question of each kind, and a caption without a box."""
    plain = drawn(folder, captions=4, images=6)
    changes: Sequence[dict[str, Any]] = (
        {},
        {"answer": Answer("yes", "obj"), "phrases": ()},
        {"answer": Answer("left", "attr"), "phrases": (Phrase(((0, 5),), (CAT,)),)},
        {"phrases": (Phrase(((0, 5),), ()),)},
    )
    rows = [replace(each, **changes[number % 4]) for number, each in enumerate(plain.captions)]
    return replace(plain, captions=tuple(rows))


def losses_of(captions: CaptionSet, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    data = training_set(captions, **options)
    objective: Any = OBJECTIVES["mdetr"]({"answers": 2.0})
    found: dict[str, Tensor] = objective(Mdetr(SMALL).train(), data.collate(data.examples(0)), None)
    return found


def test_the_objective_says_the_same_names_whatever_a_batch_has(tmp_path: Path) -> None:
    """A log adds them over steps and processes: one without a mask or a question must not lack any."""
    every = losses_of(mixed(tmp_path), images_per_batch=6, expressions_per_image=4)
    bare = mixed(tmp_path).captions[3]
    nothing = losses_of(CaptionSet("drawn", "train", (bare,)))
    assert every.keys() == nothing.keys()
    assert {name for name in every if name.startswith("metric/")} == {
        "metric/type_accuracy",
        "metric/answer_accuracy",
    }
    assert all(bool(loss.isfinite()) for loss in [*every.values(), *nothing.values()])
    zero = {name for name, loss in nothing.items() if not bool(loss)}
    assert {"mask", "dice", "answer_type", "answer_obj", "answer_attr", "box_l1", "box_giou"} <= zero
    assert float(nothing["metric/answer_accuracy"]) == 1
    assert all(bool(every[name] > 0) for name in every if not name.startswith("metric/"))


def test_a_mixed_batch_reaches_every_parameter(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = scrambled(Mdetr(SMALL)).train()  # fresh, the first attention among queries has only zeros to mix
    data = training_set(mixed(tmp_path), images_per_batch=6, expressions_per_image=4)
    objective: Any = OBJECTIVES["mdetr"]({})
    losses = objective(model, data.collate(data.examples(0)), None)
    sum(loss for name, loss in losses.items() if not name.startswith("metric/")).backward()
    untouched = {name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())}
    # what adds the same to all keys changes no attention
    assert {name for name in untouched if not name.endswith(("key.bias", "k_linear.bias"))} == set()


# ------------------------------------------------------------------------------------------------ training


def run(objective: str = "mdetr", **changes: Any) -> Run:
    data = DataConfig(path=Path("."), dataset="drawn", augment="mirror")
    return Run("mdetr", tiny.config(**{"model": SMALL, "data": data, **changes}), objective)


def test_a_training_that_goes_on_ends_with_the_same_weights(tmp_path: Path) -> None:
    captions, settings = mixed(tmp_path), {"schedule": "constant", "checkpoint_every": 3}
    train(run(steps=3, **settings), tmp_path / "halves", dataset=captions)
    resumed = train(run(steps=6, **settings), tmp_path / "halves", resume=True, dataset=captions)
    straight = train(run(steps=6, **settings), tmp_path / "straight", dataset=captions)
    one, other = (checkpoint.read_tensors(folder / checkpoint.WEIGHTS) for folder in (resumed, straight))
    assert_close(one, other, rtol=0, atol=0)
    found = checkpoint.load(resumed)
    assert isinstance(found.model, Mdetr)
    assert isinstance(found.tokenizer, ByteTokenizer)
    assert found.info.training["data_sha256"] == fingerprint(captions)
    fewer = replace(captions, captions=captions.captions[4:])
    with pytest.raises(ValueError, match="the samples are not those"):
        train(run(steps=7, **settings), tmp_path / "halves", resume=True, dataset=fewer)


def test_words_learn_to_choose_and_the_choice_is_kept(tmp_path: Path) -> None:
    """Tossed gates teach the selector too; chosen ones say what share of the MACs they are."""
    gated = SMALL.model_copy(update={"gating": GatingConfig(blocks="all", inner_filters=True, hidden=8)})
    captions = mixed(tmp_path)
    torch.manual_seed(0)
    model = scrambled(Mdetr(gated)).train()
    data = training_set(captions, images_per_batch=6, expressions_per_image=4)
    objective: Any = OBJECTIVES["mdetr"]({"budget": 1.0})
    losses = objective(model, data.collate(data.examples(0)), Draw(0, 0, 0, 24, 24))
    assert {"mi", "budget", "metric/mi", "metric/share"} <= losses.keys()
    sum(loss for name, loss in losses.items() if not name.startswith("metric/")).backward()
    assert model.selector is not None
    touched = [p.grad is not None and bool(p.grad.any()) for p in model.selector.parameters()]
    assert all(touched)
    settings = {"model": gated, "freeze_norm": True, "steps": 2}
    first = train(run(**settings), tmp_path / "adapt", dataset=captions)
    kept = {"loss": {"gates": "chosen"}, "lr_groups": {"selector": 0.0, "text": 0.0}}
    final = train(run(**settings, **kept), tmp_path / "polish", init=first, dataset=captions)
    before, after = (checkpoint.read_tensors(folder / checkpoint.WEIGHTS) for folder in (first, final))
    own = [name for name in after if name.startswith(("selector.", "text."))]
    assert_close({name: before[name] for name in own}, {name: after[name] for name in own}, rtol=0, atol=0)
    assert checkpoint.load(final).model.selector is not None


def test_expressions_are_captions_that_are_all_phrase(tmp_path: Path) -> None:
    short = run(steps=1, warmup=0, autocast="bf16")
    with pytest.warns(DataWarning, match="31 of 96 captions left out"):  # spelled, some are too long
        final = train(short, tmp_path / "run", dataset=tiny.drawn(tmp_path))
    assert checkpoint.load(final).info.training["objective"] == "mdetr"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (run("grounding"), "objective grounding cannot train a mdetr"),
        (run("detr"), "objective detr cannot train a mdetr"),
        (run(model=tiny.MODEL), "objective mdetr cannot train a lads"),
        (run(loss={"eos": 1}), "loss eos: Extra inputs"),
        (run(compile=True), "compile must be false for a model that learns from captions"),
        (run(data=DataConfig(path=Path("."), dataset="drawn", augment="detr")), "must be none or mirror"),
        (run(data=DataConfig(path=Path("."), dataset="drawn", things=True)), "must be false for captions"),
    ],
)  # fmt: skip
def test_runs_that_make_no_sense_are_refused(tmp_path: Path, given: Run, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(given, tmp_path / "run", dataset=mixed(tmp_path))


# ------------------------------------------------------------------------------------------------- learning

LARGER = MdetrConfig(
    image_size=64,
    text=RobertaTextConfig(
        vocabulary=420, layers=1, dim=64, heads=4, ffn=128, tokens=64, positions=66, dropout=0.0
    ),
    blocks=(1, 1),
    width=16,
    expansion=2,
    stem="conv3",
    stem_width=32,
    norm="batch",
    dim=64,
    heads=4,
    ffn=128,
    layers=1,
    decoder_layers=2,
    queries=10,
    dropout=0.0,
    contrastive=32,
    answers=STREET,
)


def test_a_handful_of_street_scenes_is_learned_by_heart(tmp_path: Path) -> None:
    """Captions and questions together: whose box a phrase's best one is, and what is answered."""
    street.write(tmp_path, scenes=5, seed=7, size=64, tasks=("captions", "questions"))
    told = open_mixture(tmp_path, "flickr30k,gqa", "train,train_balanced")
    words = ByteTokenizer.train([each.text for each in told.captions], 420, 64)
    torch.manual_seed(0)
    model = Mdetr(LARGER).train()
    every = CaptionTrainingSet(
        told, words, Canvas(size=64), Plan(0, 2, 13, mirror=False), Learned(64, False, STREET)
    )
    batch, objective = every.collate(every.examples(0)), OBJECTIVES["mdetr"]({})
    optimizer, steps = torch.optim.AdamW(model.parameters(), lr=2e-3), 250
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * lr_factor(step, steps, "cosine", warmup=10)
        losses = objective(model, batch, None)  # type: ignore[arg-type]  # no gates, no noise
        sum(loss for name, loss in losses.items() if not name.startswith("metric/")).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    asked = [each for each in told.captions if each.answer is not None]
    right = sum(answer(model, words, each.image, each.text).answer == each.answer.text for each in asked)  # type: ignore[union-attr]
    assert right >= 0.8 * len(asked), (right, len(asked))
    found = [best_box_is_one_of(model, words, each) for each in told.captions if each.answer is None]
    hits, phrases = (sum(side) for side in zip(*found, strict=True))
    assert hits >= 0.8 * phrases, (hits, phrases)


def best_box_is_one_of(model: Mdetr, words: ByteTokenizer, told: Caption) -> tuple[int, int]:
    """How many phrases of a caption have a first box that is one of theirs (IoU ½), and how many it has."""
    phrases = [phrase for phrase in told.phrases if phrase.boxes]
    spans = [phrase.spans[0] for phrase in phrases]
    found = ground_phrases(model, words, told.image, told.text, spans=spans, score="token", threshold=0)
    right = 0
    for phrase, seen in zip(phrases, found, strict=True):
        overlap = iou(
            torch.tensor(seen.objects[0].box).expand(len(phrase.boxes), 4), torch.tensor(phrase.boxes)
        )
        right += bool((overlap >= 0.5).any())
    return right, len(phrases)


# -------------------------------------------------------------------------------------------------- recipe


def test_the_street_answers_are_those_of_its_questions() -> None:
    assert {kind.name: set(kind.words) for kind in STREET.kinds} == {
        name: set(words) for name, words in ANSWERS.items()
    }


def test_the_recipe_fits_its_model(tmp_path: Path) -> None:
    _, detect, made = applied(mdetr_street, {"data": str(tmp_path), "words.loss.mask": "3", "steps": "500"})
    assert (detect.config.steps, "mask" in detect.config.loss) == (500, False)
    with torch.device("meta"):
        model = build(made.config.model)
    assert isinstance(model, Mdetr)
    assert model.config == MDETR["mdetr_street"]
    config = made.config
    assert config.loss["mask"] == 3
    groups = parameter_groups(
        model, config.lr, config.weight_decay, config.lr_groups, (), config.decay_vectors
    )
    assert {group["lr"] for group in groups} == {5e-4, 2e-4}
    # what finds objects is the detector's, whatever reads words or answers begins anew
    with torch.device("meta"):
        detector = {name for name, _ in build(detect.config.model).named_parameters()}
    own = {name for name, _ in model.named_parameters() if not name.startswith(config.fresh)}
    assert own == {name for name in detector if not name.startswith("net.class_embed.")}


def test_the_adaptive_recipe_adds_what_chooses(tmp_path: Path) -> None:
    """A static MDETR's weights fit its first run, and that one's the second."""
    with torch.device("meta"):
        static = {name for name, _ in build(MDETR["mdetr_street"]).named_parameters()}
        for made in mdetr_adaptive(tmp_path):
            model = build(made.config.model)
            parameter_groups(model, made.config.lr, 1e-4, made.config.lr_groups, made.config.no_decay, True)
            OBJECTIVES[made.objective](made.config.loss)
            new = {name for name, _ in model.named_parameters()} - static
            assert new
            assert all(name.startswith("selector.") for name in new)
    assert [made.config.fresh for made in mdetr_adaptive(tmp_path)] == [("selector.",), ()]


@pytest.mark.skipif("lads_street" not in checkpoint.packaged(), reason="no packaged weights")
def test_the_recipe_begins_with_the_packaged_backbone_and_words_of_its_own(tmp_path: Path) -> None:
    street.write(tmp_path / "street", scenes=8, seed=1, tasks=TASKS)
    short = {"steps": 1, "warmup": 0, "images_per_batch": 2, "tensorboard": False, "device": "cpu"}
    frozen = {"lr_groups": {"net.backbone": 0.0}, "ema": None, "freeze_norm": True}
    runs = [
        made._replace(config=made.config.model_copy(update={**short, **frozen}))
        for made in mdetr_street(tmp_path / "street")
    ]
    final = train_all(runs, tmp_path / "runs")
    found = checkpoint.load(final)
    assert isinstance(found.tokenizer, ByteTokenizer)
    assert found.info.taught == ()
    before = checkpoint.read_tensors(checkpoint.locate("lads_street") / checkpoint.WEIGHTS)
    after = checkpoint.read_tensors(final / checkpoint.WEIGHTS)
    backbone = [name for name in after if name.startswith("net.backbone.") and after[name].ndim == 4]
    assert len(backbone) > 20
    assert all(torch.allclose(after[name].float(), before[name].float()) for name in backbone)

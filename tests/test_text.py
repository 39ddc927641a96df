"""Text as models read it: the same whatever it is made of, with its characters back in the text as given."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from groundling.data import DataError, DataWarning, jsonl, open_captions
from groundling.data.sample import Sample
from groundling.data.transforms import flip_spans, flip_words, says_position
from groundling.words import text_files
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.phrases import by_rules, check_spans
from groundling.words.text import _HANGUL_SECOND, _UNSEEN, is_unicode, normalised, read_words
from groundling.words.text_files import (
    decoded,
    open_text,
    read_expressions,
    read_lines,
    read_text,
    split_lines,
)
from groundling.words.wordpiece import Tokenizer

PLAIN = "The woman in orange is in front of a woman in black."
SAME = {
    "zero-width space": "The wo\u200bman in orange is in front of a woman in black.",
    "soft hyphen": "The wo\u00adman in orange is in front of a woman in black.",
    "joiner": "The wo\u200dman in ora\u200cnge is in front of a woman in black.",
    "byte order mark": "\ufeffThe woman in orange is in front of a woman in black.",
    "no-break space": "The\u00a0woman in orange is in front of a\u00a0woman in black.",
    "wide space": "The\u3000woman in\u2003orange is in front of a woman in black.",
    "line break": "The woman in orange\nis in front of a\r\nwoman in black.",
    "line separator": "The woman in orange\u2028is in front of a\x85woman in black.",
    "spaces at the ends": " \t The woman in orange is in front of a woman in black.\n",
    "control character": "The woman\x00 in orange is in front of a woman\x1b in black.",
    "many": "\u200eThe  wo\u00adman in  orange\t is in front\u00a0of a woman in black.\u200b",
}

# Letters, marks that join them, spaces, and what shows nothing: what the rules are about.
letters = st.sampled_from("aeéＡ9.-,'각각犬🐕\u0915\u093c\u09c7\u09be")
marks = st.sampled_from("\u0301\u0323\u0308\u0344\u0f73\u0340")
spaces = st.sampled_from(" \t\n\u00a0\u2028\u3000\u2000\x85\u2800\u3164")
unseen = st.sampled_from("\u00ad\u200b\u200d\ufeff\x00\ufe0f\u034f\u115f")
texts = st.text(letters | marks | spaces | unseen | st.characters(exclude_categories=["Cs"]), max_size=24)


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_whatever_spaces_and_hyphens_are_made_of(text: str) -> None:
    assert normalised(text).text == PLAIN


def test_accents_are_composed() -> None:
    words = normalised("The fiance\u0301e")
    assert words.text == "The fiancée"
    assert (words.back((4, 11)), words.back((9, 10))) == ((4, 12), (9, 11))
    assert words.forward((10, 11)) == (9, 10)  # its mark alone: all of the letter


@given(texts)
@example(" \u0301a")
@example("a\u034f\u0301")
@example("각\u11a8")
@example("\u2000\u0301\u00a0")
def test_what_is_read_is_in_normal_form_and_stays_so(text: str) -> None:
    words = normalised(text)
    assert unicodedata.is_normalized("NFC", words.text)
    assert normalised(words.text).text == words.text
    assert words.text == words.text.strip()
    assert not any(sign.isspace() and sign != " " for sign in words.text)
    assert "  " not in words.text
    assert _UNSEEN.search(words.text) is None


@given(texts)
@example(" \u0301a")
@example("a \u200b b")
@example("\u0915\u093c\u0301")
def test_each_character_comes_from_its_own_of_the_text_as_given(text: str) -> None:
    words = normalised(text)
    assert len(words.offsets) == len(words.text)
    before = (0, 0)
    for sign, span in zip(words.text, words.offsets, strict=True):
        assert 0 <= span[0] < span[1] <= len(text)
        assert span == before or span[0] >= before[1]  # of marks that were put in order: all of the letter's
        made = normalised(text[slice(*span)]).text
        assert sign in made if sign != " " else not made
        before = span
    made_of = {place for span in words.offsets for place in range(*span)}
    kept = {place for place, sign in enumerate(text) if normalised(sign).text}
    assert kept <= made_of


@given(texts, st.data())
def test_spans_go_there_and_back(text: str, data: st.DataObject) -> None:
    words = normalised(text)
    if not words.text:
        assert words.forward((0, len(text))) == (0, 0)
        return
    assert words.forward((0, len(text))) == (0, len(words.text))
    begin = data.draw(st.integers(0, len(words.text) - 1))
    end = data.draw(st.integers(begin + 1, len(words.text)))
    there, back = words.back((begin, end)), words.forward(words.back((begin, end)))
    assert normalised(text[slice(*there)]).text in (
        words.text[slice(*back)],
        words.text[slice(*back)].strip(),
    )
    assert back[0] <= begin < end <= back[1]  # wider only inside of a letter and its marks
    assert words.back(back) == there


def test_all_of_unicode() -> None:
    """The literal classes, against Python's tables: none forgotten, no letter, mark or sign taken away."""
    for number in range(0x110000):
        sign, category = chr(number), unicodedata.category(chr(number))
        if category in ("Cc", "Cf"):
            assert sign.isspace() or _UNSEEN.match(sign), hex(number)
        if _UNSEEN.match(sign):
            ignorable = category in ("Cc", "Cf", "Cn") or "SELECTOR" in unicodedata.name(sign, "")
            named = ("COMBINING GRAPHEME JOINER", "HANGUL CHOSEONG FILLER", "HANGUL JUNGSEONG FILLER")
            vowels = "KHMER VOWEL INHERENT"
            assert ignorable or unicodedata.name(sign).startswith((*named, vowels)), hex(number)
        pair = unicodedata.decomposition(sign).split()
        if len(pair) == 2 and not pair[0].startswith("<"):  # what a letter is composed with joins its cluster
            second = chr(int(pair[1], 16))
            assert unicodedata.category(second)[0] == "M" or ord(second) in _HANGUL_SECOND


@pytest.mark.parametrize(
    "text", ["???", "", "  ", "\u200b", "…", "🐕", "🚗🚗 !", "\u3164", "\u0301", "- / -"]
)
def test_what_has_no_words(text: str) -> None:
    """Bare signs were answered with a box; so were emoji, which no model here has been taught."""
    with pytest.raises(ValueError, match=r"^question '.*' has no words; say what to look for$"):
        read_words(text, "question")


@pytest.mark.parametrize("text", ["dog", "42", "犬", "½", "ж?", "a 🐕"])
def test_what_has_words(text: str) -> None:
    assert read_words(text).original == text


def test_half_of_a_character_is_no_text() -> None:
    assert not is_unicode("the \ud83d cat")
    with pytest.raises(ValueError, match=r"^expression 'the \\ud83d cat' is not valid Unicode$"):
        read_words("the \ud83d cat")
    with pytest.raises(ValueError, match="an expression is a text, given 5"):
        read_words(5)


# ------------------------------------------------------------------------------------ what reads and learns


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
@pytest.mark.parametrize("kind", [Tokenizer, ByteTokenizer])
def test_tokens_are_the_same_and_offsets_are_those_of_the_text_given(
    kind: type[Tokenizer], text: str
) -> None:
    tokenizer = kind.train([PLAIN], 320, 80)
    assert tokenizer.encode([text]).ids.tolist() == tokenizer.encode([PLAIN]).ids.tolist()
    assert tokenizer.spelled(text) == tokenizer.spelled(PLAIN)
    plain = [PLAIN[slice(*span)] for span in tokenizer.offsets(PLAIN)]
    assert [normalised(text[slice(*span)]).text for span in tokenizer.offsets(text)] == plain


@pytest.mark.parametrize("kind", [Tokenizer, ByteTokenizer])
def test_a_vocabulary_is_made_of_normalised_words(kind: type[Tokenizer]) -> None:
    odd = [text.replace("\x00", "") for text in SAME.values()]
    assert kind.train(odd, 320, 40).as_json() == kind.train([PLAIN] * len(odd), 320, 40).as_json()


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_noun_phrases_are_the_same(text: str) -> None:
    words = normalised(text)
    found = [text[slice(*words.back(phrase.span))] for phrase in by_rules(words.text)]
    assert [normalised(phrase).text for phrase in found] == [phrase.text for phrase in by_rules(PLAIN)]


def test_a_span_of_nothing_that_is_seen_is_refused() -> None:
    with pytest.raises(ValueError, match="holds nothing but spaces"):
        check_spans("a \u200b\u00a0 b", [(1, 4)])


def test_sides_are_swapped_whatever_hides_in_them() -> None:
    assert flip_words("the le\u00adft\u00a0dog") == "the right\u00a0dog"
    assert flip_words("at  3\u00a0o'clock ") == "at  9\u00a0o'clock "
    assert says_position("the to\u200bp dog")
    text = "the  le\u00adft  dog"
    swapped, (side, dog) = flip_spans(text, [(5, 10), (12, 15)])
    assert (swapped, swapped[slice(*side)], swapped[slice(*dog)]) == ("the  right  dog", "right", "dog")


# ------------------------------------------------------------------------------------------------- files


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    file = tmp_path / "some.txt"
    file.write_bytes("\ufeffa\u2028b\x0bc\x85d\re\r\n\nf".encode())
    lines = ["a\u2028b\x0bc\x85d\re", "", "f"]
    assert list(read_lines(file)) == list(enumerate(lines, 1))
    assert split_lines(read_text(file)) == lines
    assert split_lines("") == []
    assert split_lines("a\n") == ["a"]
    with open_text(file) as handle:
        assert handle.read() == file.read_bytes().decode("utf-8-sig")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32"])
def test_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "some.txt"
    file.write_bytes("left dog\n".encode(encoding))
    for read in (read_text, open_text, lambda file: list(read_lines(file))):
        with pytest.raises(ValueError, match=r"some\.txt is .*in UTF-(16|32); save it in UTF-8"):
            read(file)


def test_the_line_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "some.txt"
    file.write_bytes(b"a dog\nth\xe9 cat\n")
    for read in (read_text, lambda file: list(read_lines(file))):
        with pytest.raises(ValueError, match=r"some\.txt:2: not text in UTF-8 \(byte 0xe9\)"):
            read(file)
    with pytest.raises(ValueError, match=r"x:1: not text in UTF-8"):
        decoded(b"\xff", Path("x"))
    with pytest.raises(ValueError, match=r"some\.txt:1: a line of more than 3 bytes"):
        list(text_files.raw_lines(file, 3))
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "gone.txt")


def test_expressions_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "asked.txt"
    file.write_bytes("\ufeffthe red car\r\n\u00a0\n the\u2028dog \n".encode())
    assert read_expressions(file) == ["the red car", "the\u2028dog"]
    file.write_text("the car\n???\n")
    with pytest.raises(ValueError, match=r"asked\.txt:2: expression '\?\?\?' has no words"):
        read_expressions(file)
    file.write_text("\n\n")
    with pytest.raises(ValueError, match=r"asked\.txt holds no expressions; write one a line"):
        read_expressions(file)


def test_a_published_vocabulary_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "left", "dog"]), encoding="utf-8-sig")
    assert Tokenizer.load(file, 9).pieces("left dog") == ["[CLS]", "left", "dog", "[SEP]"]


# ------------------------------------------------------------------------------------------- data readers


def rows(tmp_path: Path, *expressions: str) -> Path:
    lines = [
        json.dumps({"image": "a.jpg", "expression": expression, "box": [1, 2, 3, 4]})
        for expression in expressions
    ]
    file = tmp_path / "train.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8-sig")
    return file


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("\u200b", "the expression has no words"),
        ("???", "the expression has no words"),
        ("the \ud83d cat", "the expression is not valid Unicode"),
    ],
)
def test_a_row_without_words_is_named(tmp_path: Path, expression: str, reason: str) -> None:
    """It was taken, and training or evaluation stopped in the middle without a word about the row."""
    file = rows(tmp_path, "the dog", expression)
    with pytest.raises(DataError, match=rf"train\.jsonl:2: {reason}"):
        jsonl.read(file, need_images=False)


def test_the_words_of_a_row_stay_those_of_its_file(tmp_path: Path) -> None:
    file = rows(tmp_path, "the wo\u00adman\u2028left")
    assert [sample.expression for sample in jsonl.read(file, need_images=False).samples] == [
        "the wo\u00adman\u2028left"
    ]


def test_ids_and_categories_are_text(tmp_path: Path) -> None:
    good = Sample("1", tmp_path / "a.jpg", "dog", (0, 0, 1, 1), "animal")
    assert good.category == "animal"
    with pytest.raises(DataError, match="the id is not valid Unicode"):
        Sample("\ud800", tmp_path / "a.jpg", "dog", (0, 0, 1, 1))
    with pytest.raises(DataError, match="the category is not valid Unicode"):
        Sample("1", tmp_path / "a.jpg", "dog", (0, 0, 1, 1), "\ud800")


def test_a_narrative_without_words_costs_no_other(tmp_path: Path) -> None:
    said = {"dataset_id": "mscoco_val2017", "annotator_id": 1, "caption": "A dog.", "image_id": "7"}
    lines = [json.dumps(said | {"caption": caption}) for caption in ("A dog.", "\u200b", "\ud83d dog")]
    file = tmp_path / "coco_val_localized_narratives.jsonl"
    file.write_bytes("\n".join(lines).encode() + b'\n{"caption": "\xe9"}\n')
    with pytest.warns(DataWarning, match=r"3 of 4 rows left out.*:2: the caption has no words.*:4: not JSON"):
        found = open_captions(tmp_path, "narratives", "coco_val", need_images=False)
    assert [caption.text for caption in found.captions] == ["A dog."]

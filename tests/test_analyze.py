"""Analysis: every number against a brute-force count over hand-made Selections, every picture once."""

import csv
import itertools
import json
import random
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groundling.analyze import Report, analyze, canvas
from groundling.analyze.cloud import cloud_figure, layout
from groundling.analyze.decisions import Decisions, decide
from groundling.analyze.figures import _dead
from groundling.analyze.projection import selection_map
from groundling.analyze.spread import Dead, by_category, hamming, measure, rate
from groundling.analyze.subnets import Structure, examples
from groundling.analyze.table import GateTable
from groundling.analyze.words import WordScore, cloud, kind_of, places, score
from groundling.ask.grounder import load_grounder
from groundling.data import open_dataset
from groundling.data.sample import Dataset, Sample
from groundling.dynamic.gates import hard_gates
from groundling.models import PRESETS, build
from groundling.models.lads import GatingConfig, Lads
from groundling.selection import Selection, Unit
from groundling.words.wordpiece import Tokenizer

UNITS = (
    Unit("layer1.0", "layer", 1, "layer1.0"),
    Unit("layer1.0.conv2", "filters", 5, "layer1.0"),
    Unit("layer1.0.conv1", "filters", 3, "layer1.0"),
    Unit("layer2.0", "layer", 1, "layer2.0"),
    Unit("layer2.0.conv2", "filters", 4, "layer2.0"),
    Unit("encoder.0.attention", "attention", 1, "encoder.0"),
    Unit("encoder.0.ffn", "ffn", 1, "encoder.0"),
)
NOUNS = ("dog", "man", "umbrella", "t-shirt", "car", "tree")
EXPRESSIONS = tuple(
    f"{a} {noun} {b}{end}"
    for a, noun, b, end in itertools.product(
        ("the red", "second", "big"), NOUNS, ("on the left", "in blue"), ("", "!")
    )
)


@st.composite
def hand_made(draw: st.DrawFn) -> list[Selection]:
    sizes = [unit.size for unit in UNITS]
    rows = draw(
        st.lists(st.lists(st.booleans(), min_size=sum(sizes), max_size=sum(sizes)), min_size=1, max_size=9)
    )
    selections = []
    for row in rows:
        bits = iter(row)
        selections.append(Selection(tuple((u.name, tuple(itertools.islice(bits, u.size))) for u in UNITS)))
    return selections


def flat(selection: Selection) -> list[bool]:
    return [bit for _, bits in selection.units for bit in bits]


# ----------------------------------------------------------------------------- numbers, by brute force


@settings(deadline=None)
@given(hand_made())
def test_the_table_says_of_each_row_what_its_selection_says(selections: list[Selection]) -> None:
    table = GateTable.of(UNITS, selections)
    for row, selection in enumerate(selections):
        assert table.selection(row) == selection
        assert table.computed.selection(row) == selection.canonical()
        on = [int(table.layers_on(part)[row]) for part in ("backbone", "fusion")]
        assert on == [
            selection.on("layer1.0") + selection.on("layer2.0"),
            selection.on("encoder.0.attention") + selection.on("encoder.0.ffn"),
        ]
        assert table.computed.filters_on[row] == selection.filters_on
    assert (table.layers_of("backbone"), table.layers_of("fusion")) == (2, 2)


@settings(deadline=None)
@given(hand_made())
def test_spread_is_what_counting_by_hand_gives(selections: list[Selection]) -> None:
    found = measure(GateTable.of(UNITS, selections), np.linspace(0.2, 0.6, len(selections)))
    runs = [selection.canonical() for selection in selections]
    assert found.selections == len({str(selection) for selection in selections})
    assert found.subnets == len({str(selection) for selection in runs})
    for group, distance, dead in (
        (selections, found.hamming, found.filters),
        (runs, found.hamming_computed, found.filters_computed),
    ):
        pairs = list(itertools.combinations([flat(selection) for selection in group], 2))
        differences = [sum(a != b for a, b in zip(*pair, strict=True)) for pair in pairs]
        assert distance == pytest.approx(sum(differences) / len(pairs) if pairs else 0.0)
        filters = [
            [selection[unit.name][k] for selection in group]
            for unit in UNITS if unit.kind == "filters" for k in range(unit.size)
        ]  # fmt: skip
        assert dead.never == pytest.approx(sum(not any(column) for column in filters) / len(filters))
        assert dead.always == pytest.approx(sum(all(column) for column in filters) / len(filters))
    assert (found.expressions, found.gates) == (len(selections), 16)


@settings(deadline=None)
@given(hand_made())
def test_rates_are_shares_of_the_expressions(selections: list[Selection]) -> None:
    table = GateTable.of(UNITS, selections)
    for unit in UNITS:
        by_hand = [sum(s[unit.name][k] for s in selections) / len(selections) for k in range(unit.size)]
        assert rate(table[unit.name]).tolist() == pytest.approx(by_hand)


def test_literal_spread() -> None:
    text = "layer1.0=1 layer1.0.conv2={} layer1.0.conv1=e:3 layer2.0=0 layer2.0.conv2={} "
    text += "encoder.0.attention=1 encoder.0.ffn=1"
    selections = [Selection.parse(text.format(*bits)) for bits in (("f8:5", "f:4"), ("80:5", "0:4"))]
    found = measure(GateTable.of(UNITS, selections), np.array([0.5, 0.3]))
    assert (found.hamming, found.hamming_computed) == (
        8.0,
        4.0,
    )  # four filters; four more of a layer that is off
    assert (found.filters.never, found.filters.always) == (0.0, 4 / 12)
    assert (found.filters_computed.never, found.filters_computed.always) == (4 / 12, 4 / 12)
    assert found.macs_share.mean == pytest.approx(0.4)
    assert (found.macs_share.least, found.macs_share.most) == (0.3, 0.5)


def test_hamming_of_many_rows_equals_all_pairs() -> None:
    bits = np.random.default_rng(3).random((40, 300)) < 0.3
    pairs = itertools.combinations(range(40), 2)
    assert hamming(bits) == pytest.approx(np.mean([(bits[a] != bits[b]).sum() for a, b in pairs]))


def test_categories_are_counted_and_averaged() -> None:
    found = by_category(["dog", None, "cat", "dog"], np.array([0.2, 0.5, 0.9, 0.4]))
    assert list(found) == ["dog", "(none)", "cat"]
    assert found["dog"] == (2, pytest.approx(0.3))
    assert found["(none)"] == (1, 0.5)


def test_a_table_of_another_supernet_is_refused() -> None:
    with pytest.raises(ValueError, match="another network"):
        GateTable.of(UNITS[1:], [Selection.all_on(UNITS)])
    with pytest.raises(ValueError, match="16 gates"):
        GateTable(UNITS, np.zeros((2, 3), bool))


# ----------------------------------------------------------------------------------------------- words


def test_pieces_are_joined_to_whole_words() -> None:
    found = places(["[CLS]", "um", "##brel", "##la", "!", "2nd", "[UNK]", "[SEP]"], 40)
    assert [(p.text, p.kind, p.first, p.last) for p in found] == [
        ("[CLS]", "special", 0, 1),
        ("umbrella", "word", 1, 4),
        ("!", "punctuation", 4, 5),
        ("2nd", "word", 5, 6),
        ("[UNK]", "special", 6, 7),
        ("[SEP]", "special", 7, 8),
    ]
    assert kind_of("[") == kind_of("#") == "punctuation"


def test_an_expression_that_was_cut_keeps_only_whole_words() -> None:
    tokenizer = Tokenizer.train(["the red dog"], 120, 8)
    with pytest.warns(UserWarning, match="cut to 8"):
        ids = tokenizer.encode(["the red dog umbrella"]).ids[0]
    pieces = tokenizer.pieces("the red dog umbrella")
    assert pieces == ["[CLS]", "the", "red", "dog", "u", "##m", "##b", "[SEP]"]
    assert [place.text for place in places(pieces, 8)] == ["[CLS]", "the", "red", "dog", "[SEP]"]
    assert places(pieces, 8)[-1].last == len(ids) == 8


def test_word_scores_are_those_of_the_paper() -> None:
    means = {("dog", "word"): (3, np.array([0.9, 0.5, 0.1])), ("of", "word"): (1, np.array([0.1, 0.1, 0.8]))}
    found = {word.text: word for word in score(means, ["backbone", "backbone", "fusion"])}  # type: ignore[arg-type]
    for (text, _), (count, s_w) in means.items():
        exponents = np.exp(s_w)
        assert found[text].backbone == pytest.approx((exponents[0] + exponents[1]) / exponents.sum())
        assert found[text].backbone + found[text].fusion == pytest.approx(1.0)
        assert found[text].lean == pytest.approx(found[text].backbone - 2 / 3)
        assert (found[text].count, found[text].attention) == (count, tuple(s_w))
    assert next(iter(found)) == "dog"


def word(text: str, lean: float, count: int = 5, kind: str = "word") -> WordScore:
    return WordScore(text, kind, count, (), 0.5 + lean, 0.5 - lean, lean)  # type: ignore[arg-type]


def test_a_cloud_has_frequent_whole_words_that_lean_its_way() -> None:
    words = [
        word("a", 0.1),
        word("b", 0.3),
        word("c", -0.2),
        word("[CLS]", 0.4, kind="special"),
        word("d", 0.2, 1),
    ]
    assert [w.text for w in cloud(words, "backbone", 2, 10)] == ["b", "a"]
    assert [w.text for w in cloud(words, "backbone", 1, 2)] == ["b", "d"]
    assert [w.text for w in cloud(words, "fusion", 2, 10)] == ["c"]


def test_words_of_a_cloud_do_not_overlap_and_stay_in_the_panel() -> None:
    rng = random.Random(0)
    words = [("".join(rng.choices("abdgjlpy", k=rng.randint(1, 12))), 1 / (i + 1)) for i in range(70)]
    placed = layout(words, (500.0, 380.0))
    assert [p.text for p in placed] == [text for text, _ in words]
    for p in placed:
        assert min(p.rect) >= 0
        assert p.rect[2] <= 500
        assert p.rect[3] <= 380
    for p, q in itertools.combinations([p.rect for p in placed], 2):
        assert p[0] >= q[2] or p[2] <= q[0] or p[1] >= q[3] or p[3] <= q[1]
    sizes = [p.size for p in placed]
    assert sizes == sorted(sizes, reverse=True)


def test_clouds_of_odd_words() -> None:
    assert layout([], (100.0, 100.0)) == []
    assert [p.text for p in layout([("w" * 300, 2.0), ("dog", 1.0)], (100.0, 100.0))] == ["dog"]
    assert [p.size for p in layout([("a", 1.0), ("b", 1.0)], (300.0, 300.0))] == [46.0, 46.0]
    assert cloud_figure([word("$x_{$", 0.1), word("\\$", 0.2)], 1) == cloud_figure(
        [word("$x_{$", 0.1), word("\\$", 0.2)], 1
    )


# ------------------------------------------------------------------------------------------------ map


@pytest.mark.parametrize("distinct", [1, 2, 5, 6, 40])
def test_the_map_has_one_point_for_each_selection(distinct: int) -> None:
    bits = np.random.default_rng(0).random((distinct, 16)) < 0.5
    which = np.random.default_rng(1).integers(0, distinct, 3 * distinct)
    which[:distinct] = np.arange(distinct)
    table = GateTable(UNITS, bits[which])
    texts = [f"expression {row % 7}" for row in range(len(which))]
    found = selection_map(table, texts)
    assert sorted(row for rows in found.rows for row in rows) == list(range(len(which)))
    assert found.points.shape == (len({tuple(row) for row in bits.tolist()}), 2)
    assert np.isfinite(found.points).all()
    for rows in found.rows:
        assert len({tuple(table.bits[row]) for row in rows}) == 1
    for region in found.regions:
        shown = [texts[row] for row in region.rows]
        assert 1 <= len(shown) == len(set(shown)) <= 4
    assert np.array_equal(found.points, selection_map(table, texts).points)


def test_regions_do_not_overlap_and_the_most_frequent_category_has_one() -> None:
    """Circles lay on each other, and none was among the people of whom most expressions are."""
    rng = np.random.default_rng(2)
    kinds = [
        name for name, often in (("person", 40), ("dog", 12), ("car", 9), ("cat", 6)) for _ in range(often)
    ]
    centres = {name: rng.random(16) < 0.5 for name in dict.fromkeys(kinds)}
    bits = np.array([centres[kind] ^ (rng.random(16) < 0.12) for kind in kinds])
    texts = [f"{kind} {row}" for row, kind in enumerate(kinds)]
    found = selection_map(GateTable(UNITS, bits), texts, categories=kinds)
    assert len(found.regions) > 1
    for a, b in itertools.combinations(found.regions, 2):
        assert np.hypot(a.x - b.x, a.y - b.y) >= a.radius + b.radius
    assert any(texts[row].startswith("person") for row in found.regions[0].rows)


def test_the_words_of_a_bar_stay_on_its_axis() -> None:
    """A share of 5% at the end of a bar stood beyond the axis."""
    drawn = canvas.figure((4, 3))
    axes = drawn.add_subplot()
    _dead(axes, [("gates", Dead(0.03, 0.05)), ("computed", Dead(0.3, 0.004))], True)
    canvas.png(drawn)
    renderer, frame = drawn.canvas.get_renderer(), axes.get_window_extent()
    assert len(axes.texts) == 5
    for text in axes.texts:
        extent = text.get_window_extent(renderer)
        assert frame.x0 - 1 <= extent.x0 < extent.x1 <= frame.x1 + 1


def test_no_figure_draws_at_its_edge(analysis: tuple[Report, Path]) -> None:
    """The bars of the subnets touched it."""
    for path in analysis[1].glob("*.png"):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
        for edge in (pixels[:5], pixels[-5:], pixels[:, :5], pixels[:, -5:]):
            assert edge.min() == 255, path.name


def test_too_many_selections_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundling.analyze.projection.POINTS", 20)
    bits = np.random.default_rng(0).random((300, 16)) < 0.5
    found = selection_map(GateTable(UNITS, bits), ["dog"] * 300)
    assert len(found.points) == len(found.rows) == 20


# ------------------------------------------------------------------------------------- the whole thing


def scrambled(model: Lads) -> Lads:
    generator = torch.Generator().manual_seed(4)
    assert model.selector is not None
    with torch.no_grad():
        for parameter in model.selector.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator))
        for name, head in model.selector.heads.named_parameters():
            if name.endswith("bias"):
                head.copy_(torch.randn(head.shape, generator=generator))
    return model


def dataset(
    expressions: tuple[str, ...], category: Callable[[str], str | None] = lambda text: text.split()[-1]
) -> Dataset:
    samples = [
        Sample(str(i), Path("/nowhere/at/all.jpg"), text, (0.0, 0.0, 9.0, 9.0), category(text))
        for i, text in enumerate(expressions)
    ]
    return Dataset("made", "val", tuple(samples))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(EXPRESSIONS, 118, 24)  # so few pieces that rare words are cut


@pytest.fixture(scope="module")
def model() -> Lads:
    torch.manual_seed(0)
    return scrambled(build(PRESETS["lads_street"]))


@pytest.fixture(scope="module")
def decisions(model: Lads, tokenizer: Tokenizer) -> Decisions:
    return decide(model.train(), tokenizer, dataset(EXPRESSIONS).samples, batch=16)


@pytest.fixture(scope="module")
def analysis(
    model: Lads, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Report, Path]:
    out = tmp_path_factory.mktemp("analysis") / "made"
    return analyze(model, tokenizer, dataset(EXPRESSIONS), out), out


def test_decisions_are_those_of_one_expression_at_a_time(
    model: Lads, tokenizer: Tokenizer, decisions: Decisions
) -> None:
    """Batches pad; and the samples' images are not there to be opened."""
    assert model.selector is not None
    heard: dict[str, list[list[float]]] = {}
    for row, expression in enumerate(EXPRESSIONS):
        tokens = tokenizer.encode([expression])
        with torch.inference_mode():
            text = model.text(tokens)
            gates = hard_gates(model.selector(text, tokens))
            alpha = model.selector.attend(text, tokens)[0].tolist()
        selection = Selection.from_gates(gates)
        assert decisions.gates.selection(row) == selection
        assert decisions.shares[row] == model.cost_model.cost(selection, tokens.ids.shape[1]).share
        spelled: list[tuple[str, list[float]]] = []
        for piece, listened in zip(tokenizer.pieces(expression), alpha, strict=True):
            if piece.startswith("##"):
                text_so_far, sums = spelled.pop()
                piece, listened = (
                    text_so_far + piece[2:],
                    [a + b for a, b in zip(sums, listened, strict=True)],
                )
            spelled.append((piece, listened))
        for said, listened in spelled:
            heard.setdefault(said, []).append(listened)
    scores = {found.text: found for found in decisions.words}
    assert set(scores) == set(heard)
    assert "umbrella" in scores
    for said, rows in heard.items():
        s_w = np.array(rows).mean(axis=0)
        softmax = np.exp(s_w) / np.exp(s_w).sum()
        assert scores[said].count == len(rows)
        assert scores[said].attention == pytest.approx(s_w, abs=1e-5)
        assert scores[said].backbone == pytest.approx(softmax[:9].sum(), abs=1e-5)  # P = 9 blocks
        assert scores[said].fusion == pytest.approx(softmax[9:].sum(), abs=1e-5)  # M = 4 layers
    assert len(decisions.groups) == 13


def test_scrambled_selectors_differ_between_expressions(decisions: Decisions) -> None:
    """Or the tests above would test nothing."""
    found = measure(decisions.gates, decisions.shares)
    assert found.selections > 10
    assert found.filters.never + found.filters.always < 1


def test_every_file_is_there_and_named_in_the_report(analysis: tuple[Report, Path]) -> None:
    report, out = analysis
    tables = [
        "categories",
        "expressions",
        "filter_counts",
        "filters",
        "layer_counts",
        "layers",
        "map",
        "subnets",
        "words",
    ]
    pictures = ["dynamicity", "map", "spread", "subnets", "words"]
    names = {*(f"{t}.csv" for t in tables), *(f"{p}.png" for p in pictures), "summary.json"}
    assert {path.name for path in out.iterdir()} == {path.name for path in report.files} == names
    for path in out.glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 600
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50  # something is drawn


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_tables_hold_the_numbers(analysis: tuple[Report, Path], decisions: Decisions) -> None:
    report, out = analysis
    gates = decisions.gates
    for row in read(out / "filters.csv"):
        column, runs = (t[row["convolution"]][:, int(row["filter"])] for t in (gates, gates.computed))
        assert float(row["rate"]) == pytest.approx(column.mean(), abs=1e-5)
        assert float(row["rate_computed"]) == pytest.approx(runs.mean(), abs=1e-5)
    for row in read(out / "layer_counts.csv"):
        on = gates.layers_on("backbone" if row["part"] == "backbone" else "fusion")
        assert int(row["expressions"]) == (on == int(row["layers_on"])).sum()
    counts = read(out / "filter_counts.csv")
    assert sum(int(row["expressions"]) for row in counts) == len(EXPRESSIONS) * 18  # convolutions
    assert sum(int(row["expressions_computed"]) for row in counts) == len(EXPRESSIONS) * 18
    for row, sample in zip(read(out / "expressions.csv"), decisions.samples, strict=True):
        assert row["expression"] == sample.expression
        assert int(row["filters"]) == gates.selection(int(sample.id)).filters_on
    for row in read(out / "subnets.csv"):
        assert Selection.parse(row["selection"]).layers == 17
    assert dict(report.rates) == {
        row["unit"]: pytest.approx(float(row["rate"]), abs=1e-5) for row in read(out / "layers.csv")
    }
    assert {row["kind"] for row in read(out / "words.csv")} == {"word", "punctuation", "special"}


def test_the_summary_is_the_report(analysis: tuple[Report, Path]) -> None:
    report, out = analysis
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary == json.loads(json.dumps(report.as_dict()))
    assert (summary["dataset"], summary["split"], summary["expressions"]) == ("made", "val", len(EXPRESSIONS))
    assert summary["layers"] == {"backbone": 9, "fusion": 8}
    assert set(summary["categories"]) == {"left", "left!", "blue", "blue!"}
    assert not {"[CLS]", "[SEP]", "!"} & {*summary["words"]["backbone"], *summary["words"]["fusion"]}
    with pytest.raises(FrozenInstanceError):
        report.dataset = "other"  # type: ignore[misc]


def test_examples_go_from_the_cheapest_to_the_dearest(decisions: Decisions) -> None:
    rows = examples(decisions)
    shares = [float(decisions.shares[row]) for row in rows]
    assert shares == sorted(shares)
    assert len({decisions.gates.selection(row) for row in rows}) == len(rows) == 6


def test_one_expression_is_enough(model: Lads, tokenizer: Tokenizer, tmp_path: Path) -> None:
    report = analyze(model, tokenizer, dataset(("the $x_{ dog",), lambda _: None), tmp_path)
    assert (report.spread.selections, report.spread.subnets, report.spread.hamming) == (1, 1, 0.0)
    assert len(list(tmp_path.glob("*.png"))) == 5


def test_a_model_that_gates_neither_all_blocks_nor_filters_of_the_first_convolution(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """As the paper's: strided blocks always run and are drawn so."""
    config = PRESETS["lads_street"].model_copy(update={"gating": GatingConfig(trunk="released"), "layers": 1})
    model = scrambled(build(config))
    assert Structure.of(model.cost_model).stages == ("layer1", "layer2", "layer3")
    steps: list[tuple[int, int]] = []
    report = analyze(model, tokenizer, dataset(EXPRESSIONS), tmp_path, 8, lambda *step: steps.append(step))
    assert dict(report.layers) == {"backbone": 7, "fusion": 2}
    assert steps == [(8, 8)]


def test_pictures_leave_matplotlib_as_it_was(decisions: Decisions) -> None:
    import matplotlib

    before, pyplot = dict(matplotlib.rcParams), "matplotlib.pyplot" in sys.modules
    cloud_figure(decisions.words, 1)
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == pyplot


# ----------------------------------------------------------------------------------------- what fits


def test_what_does_not_fit_is_said(model: Lads, tokenizer: Tokenizer, tmp_path: Path) -> None:
    static = build(PRESETS["lads_street_static"])
    with pytest.raises(ValueError, match="this model runs the same network for all words"):
        analyze(static, tokenizer, dataset(EXPRESSIONS), tmp_path / "a")
    with pytest.raises(ValueError, match="has no expressions to analyse"):
        analyze(model, tokenizer, dataset(()), tmp_path / "a")
    with pytest.raises(ValueError, match="limit of 0"):
        analyze(model, tokenizer, dataset(EXPRESSIONS), tmp_path / "a", limit=0)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file"):
        analyze(model, tokenizer, dataset(EXPRESSIONS), tmp_path / "file")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("package", ["matplotlib", "sklearn"])
def test_a_missing_package_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"{package}.*pip install 'groundling\[draw\]'"):
        canvas.need_extra()


def test_an_analysis_never_writes_over_the_pictures_it_is_about(tmp_path: Path) -> None:
    """A dataset may hold a picture called map.png, in the folder that the analysis is to go to."""
    folder = tmp_path / "mine"
    folder.mkdir()
    Image.new("RGB", (32, 32)).save(folder / "map.png")
    before = (folder / "map.png").read_bytes()
    row = {"image": "map.png", "expression": "the red car", "box": [1, 1, 20, 20]}
    (folder / "val.jsonl").write_text((json.dumps(row) + "\n") * 12)
    dataset = open_dataset(folder, "jsonl", "val")
    loaded = load_grounder("lads_street")
    with pytest.raises(ValueError, match=r"map\.png is read here|map\.png is the same file as"):
        analyze(loaded.model, loaded.tokenizer, dataset, folder)
    assert (folder / "map.png").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["map.png", "val.jsonl"]

"""What the numbers of a run mean, in words: how good it is, too few pictures, learned by heart."""

from collections.abc import Mapping

RIGHT = "metric/prec@0.5"  # of what it learned from, in the latest batches
UNSEEN = "eval/prec@0.5"
FEW = 100  # pictures; of less a model keeps the pictures rather than what they have in common
APART = 0.2  # of Prec@0.5, from which on it is said
_COSTS = ("macs_share", "layers_on")


def merit(scores: Mapping[str, float]) -> float:
    """How good a measurement is: the mean of its numbers that say how often, or how well, it is right."""
    good = [value for name, value in scores.items() if not name.endswith(_COSTS)]
    return sum(good) / max(1, len(good))


def before(pictures: int, held: int) -> str | None:
    """What to expect of so many pictures, before anything is learned of them; None where there are enough."""
    if pictures >= FEW:
        return None
    aside = f", {held} held out" if held else ""
    return (
        f"too few pictures: {pictures} to learn from{aside}. Expect it to know these by heart and little "
        "else; some hundreds are needed to recognise others"
    )


def after(scores: Mapping[str, float], learned: float, best: int, steps: int) -> tuple[str, ...]:
    """What came of it: where it was best, and whether it knows more than what it learned from."""
    lines = []
    if 0 < best < steps:
        lines.append(f"no better after step {best}, whose weights are kept")
    unseen = scores.get(UNSEEN)
    if unseen is not None and learned - unseen > APART:
        lines.append(
            f"{learned:.0%} right on what it trains on, {unseen:.0%} on what it has not seen: it has learned "
            "the former by heart. More pictures help most"
        )
    return tuple(lines)

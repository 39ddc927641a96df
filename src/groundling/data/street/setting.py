"""What the background of a scene shows: the weather in the sky, and what the ground is covered with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from groundling.data.street.draw import GROUNDS, SKIES
from groundling.data.street.scenes import Scene

# One word for each colour of SKIES and of GROUNDS, in their order.
WEATHERS = ("sunny", "sunny", "hazy", "cloudy", "sunny")
COVERS = ("grass", "pavement", "sand", "grass", "pavement")


@dataclass(frozen=True)
class Setting:
    """What is true of the whole picture."""

    weather: str  # sunny, cloudy or hazy
    ground: str  # grass, pavement or sand


def setting(scene: Scene) -> Setting:
    """The setting that `render` draws: the first two numbers of its stream choose sky and ground."""
    rng = np.random.default_rng([scene.seed, scene.index])
    return Setting(WEATHERS[rng.integers(len(SKIES))], COVERS[rng.integers(len(GROUNDS))])

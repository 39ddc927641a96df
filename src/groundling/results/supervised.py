"""Answers as `supervision.Detections`, for its annotators, trackers and writers."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from groundling.pictures.masks import Rle, decode
from groundling.results.found import Found


def detections(found: Sequence[Found], mask: Rle | None = None) -> Any:
    """These boxes as supervision has them; `mask` is of the only one. ValueError without supervision."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="OpenCV", category=UserWarning)  # it works without
            import supervision
    except ImportError as error:
        raise ValueError(
            "to_supervision() needs the package supervision: pip install 'groundling[draw]'"
        ) from error
    names = list(dict.fromkeys(each.label for each in found))
    scores = [each.score for each in found]
    return supervision.Detections(
        xyxy=np.array([each.box for each in found], np.float32).reshape(-1, 4),
        confidence=None if None in scores else np.array(scores, np.float32),
        class_id=np.array([names.index(each.label) for each in found], int),
        mask=None if mask is None or not found else decode(mask)[None],
        data={"class_name": np.array([each.label for each in found], dtype=str)},
    )

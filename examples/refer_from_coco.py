"""Write a REFER-layout folder from a COCO instances JSON, with simple expressions that name one object each.

    python examples/refer_from_coco.py DIR annotations/instances_val2017.json val2017/ [JSON FOLDER ...]
    groundling train finetune --set data=DIR --out runs/mine
    groundling evaluate runs/mine/finetune/final --data DIR --split train

An object that is alone in its category is called by it ("dog"); of several the leftmost, the rightmost
and the largest are named, where they stand apart by a tenth of the image or half of the area.
"""

import json
import pickle
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def expressions(things: list[Row], category: str, width: int) -> list[tuple[Row, str]]:
    """Objects of one category in one image, each with words that are true of it alone."""
    if len(things) == 1:
        return [(things[0], category), (things[0], f"the {category}")]
    found = []
    by_x = sorted(things, key=lambda t: t["bbox"][0] + t["bbox"][2] / 2)
    centres = [t["bbox"][0] + t["bbox"][2] / 2 for t in by_x]
    if centres[1] - centres[0] > width / 10:
        found.append((by_x[0], f"leftmost {category}"))
    if centres[-1] - centres[-2] > width / 10:
        found.append((by_x[-1], f"rightmost {category}"))
    by_area = sorted(things, key=lambda t: t["bbox"][2] * t["bbox"][3])
    areas = [t["bbox"][2] * t["bbox"][3] for t in by_area]
    if areas[-1] > 1.5 * areas[-2]:
        found.append((by_area[-1], f"largest {category}"))
    return found


def convert(out: Path, sources: list[tuple[Path, Path]], split: str = "train") -> int:
    """Copy the images and write refs and instances; returns the number of expressions."""
    refs: list[Row] = []
    merged: Row = {"info": {}, "licenses": [], "images": [], "annotations": [], "categories": []}
    (out / "images").mkdir(parents=True)
    for annotations, folder in sources:
        coco = json.loads(annotations.read_text())
        names = {category["id"]: category["name"] for category in coco["categories"]}
        merged["categories"] = coco["categories"]
        groups: dict[tuple[int, int], list[Row]] = defaultdict(list)
        for thing in coco["annotations"]:
            if not thing.get("iscrowd") and min(thing["bbox"][2:]) >= 16:
                groups[thing["image_id"], thing["category_id"]].append(thing)
                merged["annotations"].append({**thing, "segmentation": []})
        for image in coco["images"]:
            merged["images"].append(image)
            shutil.copy(folder / image["file_name"], out / "images")
            for (image_id, category), things in groups.items():
                if image_id == image["id"]:
                    for thing, words in expressions(things, names[category], image["width"]):
                        refs.append(_ref(len(refs), thing, image, words, split))
    (out / "refcoco").mkdir()
    (out / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    (out / "refcoco" / "instances.json").write_text(json.dumps(merged))
    return len(refs)


def _ref(number: int, thing: Row, image: Row, words: str, split: str) -> Row:
    return {
        "ref_id": number,
        "ann_id": thing["id"],
        "category_id": thing["category_id"],
        "image_id": image["id"],
        "file_name": image["file_name"],
        "split": split,
        "sent_ids": [number],
        "sentences": [{"sent_id": number, "raw": words, "sent": words, "tokens": words.split()}],
    }


if __name__ == "__main__":
    if len(sys.argv) < 4 or len(sys.argv) % 2:
        sys.exit(__doc__)
    target, *rest = (Path(argument) for argument in sys.argv[1:])
    if target.exists():
        sys.exit(f"{target} exists; give a new folder")
    print(convert(target, list(zip(rest[::2], rest[1::2], strict=True))), "expressions")

"""COCO's categories as published DETRs number them: the place is the category id, N/A where there is none."""

_NAMES = {
    1: "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant",
    13: "stop_sign parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe",
    27: "backpack umbrella",
    31: "handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove",
    41: "skateboard surfboard tennis_racket bottle",
    46: "wine_glass cup fork knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza",
    60: "donut cake chair couch potted_plant bed",
    67: "dining_table",
    70: "toilet",
    72: "tv laptop mouse remote keyboard cell_phone microwave oven toaster sink refrigerator",
    84: "book clock vase scissors teddy_bear hair_drier toothbrush",
}  # by the id of the first: ids of categories that COCO gave up lie between
NOBODY = "N/A"


def _numbered() -> tuple[str, ...]:
    names = [NOBODY] * 91
    for first, run in _NAMES.items():
        for place, name in enumerate(run.split()):
            names[first + place] = name.replace("_", " ")
    return tuple(names)


COCO_NAMES = _numbered()

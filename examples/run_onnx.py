"""A file that `groundling export` wrote, run by onnxruntime alone: neither Groundling nor PyTorch is needed.

groundling export lads_street cat.onnx --expression "the cat"
python examples/run_onnx.py cat.onnx photo.jpg

Prints the box (x1 y1 x2 y2 in pixels of the upright picture) and, where the network gives one, the score.
The metadata block says how the picture is given: its size, where it lies ("centre" or "corner"), what lies
beside it, and in which units the box comes back.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
card = json.loads(session.get_modelmeta().custom_metadata_map["groundling"])
picture = ImageOps.exif_transpose(Image.open(sys.argv[2])).convert("RGB")
high, wide = card["height"], card["width"]
scale = min(wide / picture.width, high / picture.height)
centred = card["place"] == "centre"
sides = [max(1, round(side * scale) if centred else int(side * scale + 1e-6)) for side in picture.size]
small = picture.resize(sides, Image.Resampling.BILINEAR)
left, top = ((wide - small.width) // 2, (high - small.height) // 2) if centred else (0, 0)
shown = np.zeros((1, high, wide), bool)
shown[:, top : top + small.height, left : left + small.width] = True
canvas = Image.new("RGB", (wide, high), tuple(card["padding"] or (0, 0, 0)))
canvas.paste(small, (left, top))
pixels = np.asarray(canvas)
if not card["raw"]:
    pixels = ((pixels / 255 - card["mean"]) / card["std"]).astype(np.float32)
    pixels *= shown[0, ..., None] if card["padding"] is None else 1
inputs = {"image": pixels.transpose(2, 0, 1)[None], **({"shown": shown} if card["masked"] else {})}
box, *score = session.run(None, inputs)
corners = box.reshape(2, 2)  # (x, y) of the upper left and of the lower right
if card["box"] == "xyxy, pixels of the canvas":
    corners = (corners - (left, top)) / (np.array(small.size) / picture.size)
else:
    corners = corners * picture.size
print(*corners.clip((0, 0), picture.size).ravel().round(2), *(each.item() for each in score))

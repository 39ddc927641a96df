"""The picture at the top of the README: three photographs, and the boxes of expressions about each.

    python examples/photographs.py docs/images/photographs.png

The expressions were written before the model was asked, and none was left out.
"""

import sys

from PIL import Image

import groundling
from groundling.draw import draw_grounding

ASKED = {
    "docs/images/astronaut.jpg": ["a woman", "the orange suit", "the flag", "a space shuttle"],
    "docs/images/cat.jpg": ["the cat", "its left ear"],
    "docs/images/coffee.jpg": ["a cup of coffee", "a spoon", "the table"],
}
HIGH = 400  # pixels

model = groundling.load()
drawn = []
for path, expressions in ASKED.items():
    answers = model.ground(path, expressions)
    for answer in answers:
        print(answer)
    picture = draw_grounding(path, answers)
    drawn.append(picture.resize((round(picture.width * HIGH / picture.height), HIGH)))
sheet = Image.new("RGB", (sum(each.width for each in drawn) + 8 * (len(drawn) - 1), HIGH), "white")
left = 0
for picture in drawn:
    sheet.paste(picture, (left, 0))
    left += picture.width + 8
sheet.save(sys.argv[1])

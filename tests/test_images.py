"""One picture per hazard, cut and spoilt files, and the Placement: its inverse, and letterbox in literals."""

import io
import os
import struct
import unicodedata
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, TiffImagePlugin

from groundling.pictures.images import ImageError, open_image, upright_size
from groundling.pictures.placement import Placement, letterbox, normalise

SHARED = Path(__file__).parents[2] / "shared" / "data"
RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixels(image: Image.Image) -> list:
    return np.asarray(image).tolist()


# --- what opens ---


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG", "PPM"])
def test_every_format_opens_from_path_bytes_and_image(kind, tmp_path):
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(noise(), kind, **options)
    file = tmp_path / "picture"  # the content decides, not the name
    file.write_bytes(data)
    opened = [open_image(source) for source in (str(file), file, data, Image.open(file))]
    assert all(image.mode == "RGB" and image.size == (40, 30) for image in opened)
    assert all(pixels(image) == pixels(opened[0]) for image in opened)
    if kind not in ("JPEG", "GIF"):
        assert pixels(opened[0]) == pixels(noise())


def test_an_array_is_taken_as_it_is_and_copied():
    array = np.array(noise())
    image = open_image(array[:, ::-1])  # not contiguous
    assert pixels(image) == array[:, ::-1].tolist()
    array[:] = 0
    assert pixels(image) != array.tolist()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(orientation, kind):
    """The marked corner of a 32x16 picture goes where the EXIF standard says."""
    image = Image.new("RGB", (32, 16), "black")
    image.paste("white", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = open_image(encoded(image, kind, exif=exif))
    corner = {1: "tl", 2: "tr", 3: "br", 4: "bl", 5: "tl", 6: "tr", 7: "br", 8: "bl"}[orientation]
    assert upright.size == ((16, 32) if orientation >= 5 else (32, 16))
    x = 2 if corner[1] == "l" else upright.width - 3
    y = 2 if corner[0] == "t" else upright.height - 3
    assert upright.getpixel((x, y))[0] > 200
    assert np.asarray(upright).mean() < 60
    assert pixels(open_image(upright)) == pixels(upright)  # a picture that was opened is upright


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF"])
def test_a_header_says_the_size_of_the_upright_picture(orientation, kind, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "picture"
    file.write_bytes(encoded(Image.new("RGB", (32, 16)), kind, exif=exif))
    assert upright_size(file) == open_image(file).size


def test_a_size_does_not_need_the_pixels(tmp_path):
    for kind in ("JPEG", "PNG"):
        file = tmp_path / kind
        file.write_bytes(encoded(noise(300, 200), kind)[:1000])
        assert upright_size(file) == (300, 200)
        with pytest.raises(ImageError, match="truncated"):
            open_image(file)


def test_sizes_that_cannot_be_read(tmp_path):
    file = tmp_path / "picture"
    with pytest.raises(FileNotFoundError, match="picture"):
        upright_size(file)
    file.write_bytes(b"a dog on a sofa")
    with pytest.raises(ImageError, match="not an image"):
        upright_size(file)
    file.write_bytes(encoded(noise(), "PNG"))
    with pytest.raises(ImageError, match="the limit is 99"):
        upright_size(file, max_pixels=99)


def test_damaged_exif_shows_the_picture_as_stored():
    data = encoded(noise(), "JPEG", exif=b"Exif\x00\x00" + b"\xff" * 20)
    assert open_image(data).size == (40, 30)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (1, 1), (255, 0, 0, 0)), WHITE),
        (Image.new("RGBA", (1, 1), (255, 0, 0, 255)), RED),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 51)), (204, 204, 204)),
        (Image.new("LA", (1, 1), (0, 0)), WHITE),
        (Image.new("CMYK", (1, 1), (0, 255, 255, 0)), RED),
        (Image.new("L", (1, 1), 7), (7, 7, 7)),
        (Image.new("1", (1, 1), 1), WHITE),
        (Image.new("I;16", (1, 1), 257), (1, 1, 1)),
        (Image.new("I;16", (1, 1), 65535), WHITE),
        (Image.new("I", (1, 1), 200), (200, 200, 200)),
        (Image.new("I", (1, 1), 32896), (128, 128, 128)),
        (Image.new("F", (1, 1), 1.0), WHITE),
        (Image.new("F", (1, 1), 100.0), (100, 100, 100)),
        (Image.new("HSV", (1, 1), (0, 255, 255)), RED),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_every_mode_becomes_rgb(image, expected):
    assert open_image(image).getpixel((0, 0)) == expected


def test_cmyk_jpeg_keeps_its_colour():
    opened = open_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert opened.getpixel((4, 4)) == pytest.approx(RED, abs=6)


def test_sixteen_bit_png_is_scaled_and_not_saturated():
    """Pillow's convert("RGB") turns nearly all of it white (mean 254)."""
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        opened = np.asarray(open_image(encoded(Image.fromarray(ramp), kind)))
        assert opened[..., 0].ravel().tolist() == list(range(256))


def test_transparent_palette_and_grey_are_laid_on_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 255, 255, 0, 0])
    palette.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        assert pixels(open_image(encoded(palette, kind, transparency=0))) == [[[255, 255, 255], [255, 0, 0]]]
    grey = encoded(Image.new("L", (1, 1), 9), "PNG", transparency=9)
    assert open_image(grey).getpixel((0, 0)) == WHITE


def test_a_photo_with_a_second_embedded_image_is_the_photo():
    """Phones write such JPEGs (MPO, with a gain map or preview behind the photo); they are no animation."""
    data = encoded(
        Image.new("RGB", (8, 8), RED), "MPO", save_all=True, append_images=[Image.new("RGB", (4, 4))]
    )
    assert open_image(data).getpixel((4, 4)) == pytest.approx(RED, abs=6)


def test_one_pixel_and_very_long_pictures_open():
    assert open_image(encoded(Image.new("RGB", (1, 1), RED), "PNG")).getpixel((0, 0)) == RED
    assert open_image(Image.new("RGB", (5000, 1))).size == (5000, 1)


# --- what does not ---


def test_missing_file_folder_and_special_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"image file not found: .*nowhere\.jpg"):
        open_image(tmp_path / "nowhere.jpg")
    with pytest.raises(FileNotFoundError):
        open_image("a\0b")
    with pytest.raises(ImageError, match="is a folder"):
        open_image(tmp_path)
    with pytest.raises(ImageError, match="is a folder"):
        open_image("")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="special file"):
        open_image(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "0 bytes"),
        (b"not a picture", "not an image"),
        (b"\x00" * 1000, "not an image"),
        (b"%PDF-1.4 ....................", "format PDF is not supported"),
        (b"\x89PNG\r\n\x1a\n", "begins like PNG"),
        (b"\xff\xd8\xff", "begins like JPEG"),
        ("https://example.org/a.jpg", "not fetched"),
        ("x" * 5000, "cannot be read"),
        (None, "cannot open NoneType"),
        (torch.zeros(3, 4, 4), "cannot open Tensor"),
        (np.zeros((4, 4), np.uint8), "grey array"),
        (np.zeros((4, 4, 1), np.uint8), r"\(4, 4, 1\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
        (np.zeros((3, 40, 40), np.uint8), r"\(H, W, 3\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\(1, 4, 4, 3\)"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (Image.new("RGB", (0, 4)), "no pixels"),
        (Image.new("F", (1, 1), float("nan")), "grey values"),
        (Image.new("F", (1, 1), -1.0), "grey values -1"),
        (Image.new("I", (1, 1), 70000), "grey values 70000"),
    ],
)
def test_a_bad_source_says_what_is_wrong(source, message):
    with pytest.raises(ImageError, match=message):
        open_image(source)


def test_empty_and_executable_formats_on_disk(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match="empty"):
        open_image(tmp_path / "empty.jpg")
    (tmp_path / "drawing.eps").write_bytes(
        encoded(Image.new("RGB", (4, 4)), "EPS")
    )  # would start Ghostscript
    with pytest.raises(ImageError, match="formats are JPEG, PNG"):
        open_image(tmp_path / "drawing.eps")


MANY = {
    "GIF": "animated with 3 frames; pass one frame",
    "PNG": "animated with 3 frames; pass one frame",
    "WEBP": "animated with 3 frames; pass one frame",
    "TIFF": "has 3 pages; pass one of them",  # nothing moves in a TIFF
}


@pytest.mark.parametrize("kind", MANY)
def test_several_pictures_are_refused_not_cut_to_the_first(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match=MANY[kind]):
        open_image(data)
    moving = Image.open(io.BytesIO(data))
    moving.seek(1)
    assert open_image(moving.copy()).size == (8, 8)  # what the message advises works


def png_header(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel that claims this size and has next to no data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (12_000, 11_968), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_before_any_pixel_is_decoded(width, height, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's DecompressionBombWarning would surface here
        with pytest.raises(ImageError, match="pixels; the limit is 50,000,000"):
            open_image(png_header(width, height))


def test_the_pixel_limit_is_a_parameter_and_holds_for_every_source():
    for source in (noise(), np.array(noise()), encoded(noise(), "PNG")):
        assert open_image(source, max_pixels=1200).size == (40, 30)
        with pytest.raises(ImageError, match="40x30 is 1,200 pixels; the limit is 1,199"):
            open_image(source, max_pixels=1199)


def test_a_large_limit_opens_what_pillow_would_warn_about(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(encoded(noise(), "PNG")).size == (40, 30)


FILES = {kind: encoded(noise(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")}


@pytest.mark.parametrize("kind", FILES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_cut_file_is_an_image_or_an_image_error(kind, data):
    whole = FILES[kind]
    opens_or_says(whole[: data.draw(st.integers(0, len(whole)))])


@pytest.mark.parametrize("kind", FILES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_spoilt_file_is_an_image_or_an_image_error(kind, data):
    spoilt = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 5))):
        spoilt[data.draw(st.integers(0, min(400, len(spoilt) - 1)))] = data.draw(st.integers(0, 255))
    opens_or_says(bytes(spoilt))


def opens_or_says(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Pillow on odd TIFF tags
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            mode = open_image(data, max_pixels=1_000_000).mode
        except ImageError:
            return
        assert mode == "RGB"


def test_truncated_photo_names_the_file(tmp_path):
    file = tmp_path / "half.jpg"
    file.write_bytes(FILES["JPEG"][: len(FILES["JPEG"]) // 2])
    with pytest.raises(ImageError, match=r"half\.jpg: cannot be decoded, the image is truncated"):
        open_image(file)


# --- placement ---


def test_letterbox_of_a_wide_image():
    seen = letterbox(Image.new("RGB", (200, 100), RED), 64)
    canvas, placement = seen.pixels, seen.placement
    assert placement == Placement(0.32, 0.32, 0, 16, 200, 100, canvas_width=64, canvas_height=64)
    assert (canvas.shape, canvas.dtype) == ((3, 64, 64), torch.uint8)
    assert canvas[:, 15, 0].tolist() == canvas[:, 48, 63].tolist() == [124, 116, 104]
    assert canvas[:, 16, 0].tolist() == canvas[:, 47, 63].tolist() == [255, 0, 0]
    corners = torch.tensor([[0.0, 0.0, 200.0, 100.0], [50.0, 25.0, 100.0, 75.0]])
    assert placement.apply(corners).tolist() == [[0, 16, 64, 48], [16, 24, 32, 40]]


def test_letterbox_of_a_tall_image_with_an_odd_rest():
    placement = letterbox(Image.new("RGB", (30, 90)), 90).placement
    assert placement == Placement(1, 1, 30, 0, 30, 90, canvas_width=90, canvas_height=90)
    placement = letterbox(Image.new("RGB", (31, 90)), 90).placement
    assert (placement.left, placement.top) == (29, 0)


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (1, 5000), (3, 4999)])
def test_letterbox_of_extreme_shapes(size):
    seen = letterbox(Image.new("RGB", size, RED), 64)
    canvas, placement = seen.pixels, seen.placement
    whole = torch.tensor([0.0, 0.0, *size])
    x1, y1, x2, y2 = placement.apply(whole).tolist()
    assert max(x2 - x1, y2 - y1) == pytest.approx(64)
    assert canvas[:, int(y1), int(x1)].tolist() == [255, 0, 0]
    assert placement.undo(placement.apply(whole)).tolist() == pytest.approx(whole.tolist(), abs=1e-3)


@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    size=st.sampled_from([32, 224, 640, 1024]),
    shares=st.tuples(*[st.floats(-0.5, 1.5)] * 4),
)
@settings(max_examples=400, deadline=None)
def test_undo_is_the_inverse_of_apply(width, height, size, shares):
    scale = size / max(width, height)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    placement = Placement(
        wide / width, high / height, (size - wide) // 2, (size - high) // 2, width, height, size, size
    )
    box = torch.tensor(shares) * torch.tensor([width, height] * 2)
    back = placement.undo(placement.apply(box))
    assert back.dtype == torch.float32
    assert (back - box).abs().max() < 1e-3


@given(width=st.integers(1, 60), height=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_the_placement_tells_where_the_pixels_are(width, height):
    """The box of the whole image on the canvas is exactly what is not padding."""
    seen = letterbox(Image.new("RGB", (width, height), RED), 48)
    canvas, placement = seen.pixels, seen.placement
    x1, y1, x2, y2 = map(round, placement.apply(torch.tensor([0.0, 0.0, width, height])).tolist())
    inside = torch.zeros(48, 48, dtype=torch.bool)
    inside[y1:y2, x1:x2] = True
    assert torch.equal(canvas[0] == 255, inside)
    assert torch.equal(placement.shown(), inside)


def test_normalise_takes_mean_and_deviation_out():
    images = torch.tensor([124, 116, 104], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 2, 2)
    result = normalise(images)
    assert (result.shape, result.dtype) == ((2, 3, 2, 2), torch.float32)
    assert result.abs().max() < 0.01
    white = normalise(torch.full((3, 1, 1), 255, dtype=torch.uint8)).flatten().tolist()
    assert white == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-4)


# --- real photos ---


@pytest.mark.skipif(not (SHARED / "tiny_coco").is_dir(), reason="../shared/data/tiny_coco is not here")
def test_every_photo_of_tiny_coco_opens():
    photos = sorted((SHARED / "tiny_coco").glob("*2017/*.jpg"))
    assert len(photos) == 100
    for photo in photos:
        image = open_image(photo)
        assert image.mode == "RGB"
        assert max(image.size) <= 640


# --- what stands beside the pixels, and kinds that are not supported


def with_chunk(png: bytes, kind: bytes, body: bytes, behind: bool = False) -> bytes:
    """A PNG with one chunk more, behind its header or before its end."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    place = len(png) - 12 if behind else 33
    return png[:place] + chunk + png[place:]


HUGE = zlib.compress(bytes(3_000_000))
SIDE_PARTS = {
    "a huge colour profile": (b"iCCP", b"icc\0\0" + HUGE),
    "a huge comment": (b"zTXt", b"Comment\0\0" + HUGE),
    "a profile of another compression": (b"iCCP", b"icc\0\x01" + HUGE),
    "a short density": (b"pHYs", b"\0\0"),
    "a short gamma": (b"gAMA", b"\0"),
    "a short clear colour": (b"tRNS", b"\0"),
    "a text that is none": (b"iTXt", b"x"),
    "an orientation that is none": (b"eXIf", b"\xff\xff\xff"),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("name", SIDE_PARTS)
def test_a_png_is_read_whatever_is_damaged_beside_its_pixels(name, behind, tmp_path):
    """Profiles and comments that Pillow refuses made a sound picture a damaged one."""
    data = with_chunk(encoded(noise(), "PNG"), *SIDE_PARTS[name], behind=behind)
    assert pixels(open_image(data)) == pixels(noise())
    file = tmp_path / "photo.png"
    file.write_bytes(data)
    assert upright_size(file) == noise().size


def test_a_png_keeps_how_it_lies_beside_damage():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(noise(), "PNG", exif=exif)
    assert open_image(with_chunk(turned, *SIDE_PARTS["a short density"])).size == (30, 40)


def test_damaged_pixels_stay_damaged_beside_damage():
    data = with_chunk(encoded(noise(), "PNG"), *SIDE_PARTS["a short density"])
    with pytest.raises(ImageError, match="damaged"):
        open_image(data[: len(data) // 2])


@pytest.mark.parametrize("marker", [0xE1, 0xE2, 0xED])
def test_a_jpeg_is_read_whatever_is_damaged_beside_its_pixels(marker):
    data = encoded(noise(), "JPEG")
    for body in (b"Exif\0\0MM", b"ICC_PROFILE\0\1\0", b"Photoshop 3.0\x008BIM\4\4", b"MPF\0II"):
        segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
        assert pixels(open_image(data[:2] + segment + data[2:])) == pixels(open_image(data))


def paged(*kinds: int) -> bytes:
    """A TIFF of a page for each kind of page (NewSubfileType), the first one of noise if it is whole."""
    pages = [noise() if kind == 0 else Image.new("RGB", (8, 6)) for kind in kinds]
    stream = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(stream, new=True) as file:
        for page, kind in zip(pages, kinds, strict=True):
            page.save(file, "TIFF", tiffinfo={254: kind})
            file.newFrame()
    return stream.getvalue()


@pytest.mark.parametrize("kinds", [(1, 0), (0, 1), (1, 0, 4), (1, 1, 0)])
def test_a_smaller_copy_is_no_page(kinds, tmp_path):
    data = paged(*kinds)
    assert pixels(open_image(data)) == pixels(noise())
    file = tmp_path / "scan.tif"
    file.write_bytes(data)
    assert upright_size(file) == noise().size


def test_pages_are_counted_without_smaller_copies():
    with pytest.raises(ImageError, match="has 2 pages; pass one of them"):
        open_image(paged(1, 0, 0))


def test_the_still_picture_of_a_png_before_one_frame_is_the_picture():
    frame = Image.new("RGB", noise().size, "red")
    data = encoded(noise(), "PNG", save_all=True, append_images=[frame], default_image=True)
    assert pixels(open_image(data)) == pixels(noise())
    frames = [Image.new("RGB", noise().size, colour) for colour in ("red", "green")]
    data = encoded(noise(), "PNG", save_all=True, append_images=frames, default_image=True)
    with pytest.raises(ImageError, match="animated with 3 frames"):
        open_image(data)


def test_pixels_of_another_kind_are_not_called_damaged():
    data = bytearray(encoded(noise(), "TIFF"))
    entry = data.index(struct.pack("<HHI", 258, 3, 3))  # bits of a sample: 8, 8, 8
    place = struct.unpack("<I", data[entry + 8 : entry + 12])[0]
    data[place : place + 6] = struct.pack("<HHH", 24, 24, 24)
    with pytest.raises(ImageError, match="of a kind that is not supported") as failed:
        open_image(bytes(data))
    assert "damaged" not in str(failed.value)


@pytest.mark.parametrize(
    ("start", "name"),
    [(b"\0\0\0\x1cftypavif", "AVIF"), (b"\0\0\0\x1cftypheic", "HEIC"), (b"8BPS" + bytes(20), "PSD")],
)
def test_a_format_that_is_not_read_has_its_name(start, name):
    with pytest.raises(ImageError, match=f"the format {name} is not supported; formats are JPEG"):
        open_image(start + bytes(20))


def test_a_url_keeps_its_slashes():
    with pytest.raises(ImageError, match=r"^https://example\.org/a\.jpg: URLs are not fetched"):
        open_image("https://example.org/a.jpg")


def test_a_name_in_another_unicode_form_is_opened(tmp_path):
    noise().save(tmp_path / unicodedata.normalize("NFD", "café.png"))
    file = tmp_path / unicodedata.normalize("NFC", "café.png")
    assert open_image(file).size == upright_size(file) == noise().size

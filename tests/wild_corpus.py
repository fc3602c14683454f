"""Files as they lie about on disks: good, odd, damaged and hostile, each made on the spot."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from wild_files import (
    RED,
    RGB,
    beside,
    chunk,
    crumbs,
    encoded,
    flip,
    frames,
    gif,
    grey_tiff,
    half,
    huge_webp,
    link_to,
    make_socket,
    noise,
    packed_zeros,
    picture,
    png,
    sparse,
    tagged,
    tiff,
    turned,
    with_exif,
)

# How ITU-R 601 weighs RED.
GREY: RGB = (84, 84, 84)


@dataclass(frozen=True)
class Good:
    """A file that must be read.

    Attributes:
        name: of the file.
        make: writes it.
        size: (height, width) of it, upright.
        corner: its top left pixel.
        within: how far the corner may be off, for lossy formats.
    """

    name: str
    make: bytes | Callable[[Path], object]
    size: tuple[int, int] = (4, 6)
    corner: RGB = RED
    within: int = 0


@dataclass(frozen=True)
class Bad:
    """A file that must be refused.

    Attributes:
        name: of the file.
        make: writes it.
        reason: part of what is said about it.
    """

    name: str
    make: bytes | Callable[[Path], object]
    reason: str


Case = Good | Bad


def write(case: Case, folder: Path) -> Path:
    """Make the file of a case."""
    path = folder / case.name
    if isinstance(case.make, bytes):
        path.write_bytes(case.make)
    else:
        case.make(path)
    return path


_PNG = encoded(picture())
_JPEG = encoded(picture(), "JPEG", quality=95, subsampling=0)
_SIXTEEN = np.full((4, 6), 84 * 256, np.uint16)
_RED16 = b"".join(struct.pack(">H", value * 256 + 99) for value in RED)
_BOMB = 10_001  # squared, 100 megapixels
_TWELVE = b"\x54\x05\x40"  # two pixels of 84 * 16

FORMATS: list[Case] = [
    Good("plain.png", _PNG),
    Good("plain.jpg", _JPEG, within=3),
    Good("progressive.jpeg", encoded(picture(), "JPEG", progressive=True, quality=95), within=5),
    Good("lossless.webp", encoded(picture(), "WEBP", lossless=True)),
    Good("lossy.webp", encoded(picture(size=(48, 32)), "WEBP", quality=95), (32, 48), within=6),
    Good("raw.tif", encoded(picture(), "TIFF")),
    Good("lzw.tiff", encoded(picture(), "TIFF", compression="tiff_lzw")),
    Good("deflate.tif", encoded(picture(), "TIFF", compression="tiff_adobe_deflate")),
    Good("packbits.tif", encoded(picture(), "TIFF", compression="packbits")),
    Good("jpeg.tif", encoded(picture(), "TIFF", compression="jpeg", quality=95), within=5),
    Good("big.tif", encoded(picture(), "TIFF", big_tiff=True)),
    Good("plain.bmp", encoded(picture(), "BMP")),
    Good("plain.gif", encoded(picture(), "GIF")),
    Good("plain.ppm", encoded(picture(), "PPM")),
    Good("plain.pgm", encoded(picture("L", color=84), "PPM"), corner=GREY),
    Good("ASCII.pgm", b"P2 6 4 255\n" + b"84 " * 24, corner=GREY),
]

MODES: list[Case] = [
    Good("grey.png", encoded(picture("L", color=84)), corner=GREY),
    Good("grey.jpg", encoded(picture("L", color=84), "JPEG"), corner=GREY, within=2),
    Good("one-bit.png", encoded(picture("1", color=1)), corner=(255, 255, 255)),
    Good(
        "fax.tif", encoded(picture("1", color=1), "TIFF", compression="group4"), corner=(255,) * 3
    ),
    Good("palette.png", encoded(picture().convert("P", palette=Image.Palette.ADAPTIVE))),
    Good("palette.tif", encoded(picture().convert("P", palette=Image.Palette.ADAPTIVE), "TIFF")),
    Good("palette.bmp", encoded(picture().convert("P", palette=Image.Palette.ADAPTIVE), "BMP")),
    Good(
        "palette with a clear colour.png",
        encoded(picture().convert("P", palette=Image.Palette.ADAPTIVE), transparency=0),
        corner=(255, 255, 255),
    ),
    Good("opaque.png", encoded(picture("RGBA", color=(*RED, 255)))),
    Good("clear.png", encoded(picture("RGBA", color=(*RED, 0))), corner=(255, 255, 255)),
    Good("half clear.png", encoded(picture("RGBA", color=(0, 0, 0, 128))), corner=(127, 127, 127)),
    Good("clear.webp", encoded(picture("RGBA", color=(*RED, 0)), "WEBP"), corner=(255,) * 3),
    Good("clear.tif", encoded(picture("RGBA", color=(*RED, 0)), "TIFF"), corner=(255,) * 3),
    Good("clear.gif", encoded(picture("P", color=0), "GIF", transparency=0), corner=(255,) * 3),
    Good("grey and clear.png", encoded(picture("LA", color=(84, 0))), corner=(255, 255, 255)),
    Good("grey and opaque.png", encoded(picture("LA", color=(84, 255))), corner=GREY),
    Good(
        "clear colour.png",
        png(1, 1, 8, 2, b"\0" + bytes(RED), chunk(b"tRNS", struct.pack(">3H", *RED))),
        (1, 1),
        (255,) * 3,
    ),
    Good(
        "clear grey.png", png(1, 1, 8, 0, b"\0\x54", chunk(b"tRNS", b"\0\x54")), (1, 1), (255,) * 3
    ),
    Good("sixteen.png", encoded(Image.fromarray(_SIXTEEN)), corner=GREY),
    Good("sixteen.tif", encoded(Image.fromarray(_SIXTEEN), "TIFF"), corner=GREY),
    Good("sixteen.pgm", b"P5 6 4 65535\n" + _SIXTEEN.astype(">u2").tobytes(), corner=GREY),
    Good(
        "sixteen big-endian.tif",
        grey_tiff(_SIXTEEN.astype(">u2").tobytes(), 16, order=">"),
        corner=GREY,
    ),
    Good("sixteen white is zero.tif", grey_tiff((65535 - _SIXTEEN).tobytes(), 16, 0), corner=GREY),
    Good("eight white is zero.tif", grey_tiff(b"\xab" * 24, 8, 0), corner=GREY),
    Good("twelve.tif", grey_tiff(_TWELVE * 12, 12), corner=GREY),
    Good("sixteen colour.png", png(1, 1, 16, 2, b"\0" + _RED16), (1, 1)),
    Good("sixteen clear.png", png(1, 1, 16, 6, b"\0" + _RED16 + b"\0\0"), (1, 1), (255,) * 3),
    Good("sixteen grey and clear.png", png(1, 1, 16, 4, b"\0\x54\0\0\0"), (1, 1), (255,) * 3),
    Good(
        "sixteen with a clear colour.png",
        png(1, 1, 16, 2, b"\0" + _RED16, chunk(b"tRNS", b"\0\1\0\1\0\1")),
        (1, 1),
    ),
    Good("two-bit.png", png(4, 1, 2, 0, b"\0\x55"), (1, 4), (85, 85, 85)),
    Good(
        "cmyk.jpg", encoded(picture("CMYK", color=(55, 225, 195, 0)), "JPEG", quality=95), within=5
    ),
    Good("cmyk.tif", encoded(picture("CMYK", color=(55, 225, 195, 0)), "TIFF")),
    # Pillow reads those without compression from version 13 on.
    Good(
        "ycbcr.tif",
        encoded(picture("YCbCr", color=(84, 128, 128)), "TIFF", compression="tiff_lzw"),
        corner=GREY,
        within=1,
    ),
]

ODD: list[Case] = [
    *(
        Good(
            f"turned {turn}.jpg",
            encoded(turned(turn), "JPEG", exif=tagged(turn), quality=95),
            (32, 48),
            within=8,
        )
        for turn in range(1, 9)
    ),
    Good("turned.png", encoded(turned(6), exif=tagged(6)), (32, 48)),
    Good("turned.tif", encoded(turned(8), "TIFF", exif=tagged(8)), (32, 48)),
    Good("turned.webp", encoded(turned(5), "WEBP", lossless=True, exif=tagged(5)), (32, 48)),
    Good("turned nowhere.jpg", encoded(picture(), "JPEG", exif=tagged(99), quality=95), within=5),
    Good("damaged exif.jpg", with_exif(_JPEG, b"Exif\0\0MM\0*\xff\xff\xff\xff"), within=3),
    Good(
        "endless exif.jpg",
        with_exif(_JPEG, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\1" * 40),
        within=3,
    ),
    Good("first of a gif.gif", frames("GIF", duration=50)),
    Good("first of a webp.webp", frames("WEBP", lossless=True)),
    Good("first of an apng.png", frames("PNG")),
    Good("first page.tif", frames("TIFF")),
    Good("stereo.jpg", frames("MPO", quality=95, subsampling=0), within=3),
    Good("truly a png.jpg", _PNG),
    Good("truly a jpeg.png", _JPEG, within=3),
    Good("truly a webp.gif", encoded(picture(), "WEBP", lossless=True)),
    Good("truly a tiff.bmp", encoded(picture(), "TIFF")),
    Good("LOUD.PNG", _PNG),
    Good("pixel.png", encoded(picture(size=(1, 1))), (1, 1)),
    Good("pixel.jpg", encoded(picture(size=(1, 1)), "JPEG", quality=95), (1, 1), within=5),
    Good("pixel.gif", encoded(picture(size=(1, 1)), "GIF"), (1, 1)),
    Good("wide.png", encoded(picture(size=(100_000, 1))), (1, 100_000)),
    Good("tall.png", encoded(picture(size=(1, 100_000))), (100_000, 1)),
    Good("junk behind.png", _PNG + bytes(range(64))),
    Good("junk behind.jpg", _JPEG + b"\xff\xd8 and more", within=3),
    Good(
        "long text.png",
        png(1, 1, 8, 2, b"\0" + bytes(RED), chunk(b"tEXt", b"why\0" + b"x" * 2**21)),
        (1, 1),
    ),
    Good("link.png", beside),
]

NAMES: list[Case] = [
    Good(name, _PNG)
    for name in (
        "<script>alert(1)<|script>.png",
        "'\"><img src=x onerror=alert(1)>.png",
        "line\nbreak\r\n.png",
        "\x1b[2J\x1b]0;title\x07.png",
        "\x7f\x01\t.png",
        "‮gnp.exe.png",
        "日本語 картинка ملف.png",
        "👩‍🔬 e\u0301.png",
        "--help.png",
        "-rf.png",
        "$(touch x) `id`; & | .png",
        "%00%2e%2e%2f #?.png",
        "back\\slash.png",
        " .png",
        "a.tar.gz.png",
        "n" * 251 + ".png",
        os.fsdecode(b"latin-\xe9\xff.png"),
        "{{7*7}} {% raw %}.png",
    )
]

DAMAGED: list[Case] = [
    Bad("empty.png", b"", "it is empty"),
    Bad("empty.jpg", b"", "it is empty"),
    Bad("byte.png", b"\x89", "no known image format"),
    Bad("zeros.png", bytes(5000), "no known image format"),
    Bad("text.jpg", b"not an image\n", "no known image format"),
    Bad("error page.jpg", b"<!DOCTYPE html><title>404</title>", "no known image format"),
    Bad("drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "no known image format"),
    Bad("program.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no known image"),
    Bad("document.png", b"%PDF-1.7\n", "no known image format"),
    Bad("archive.png", b"PK\x03\x04" + bytes(60), "no known image format"),
    Bad("icon.png", encoded(picture(size=(16, 16)), "ICO"), "no known image format"),
    Bad("sound.webp", b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), "no known image format"),
    Bad("phone.heic", b"\0\0\0\x18ftypheic" + bytes(40), "it is a HEIC, AVIF or video"),
    Bad("half.png", half(encoded(noise())), "it is truncated"),
    Bad("half.jpg", half(encoded(noise(), "JPEG")), "it is truncated"),
    Bad("half.gif", half(encoded(noise(), "GIF")), "it is truncated"),
    Bad("half.bmp", half(encoded(noise(), "BMP")), "it is truncated"),
    Bad("half.ppm", half(encoded(noise(), "PPM")), "it is truncated"),
    Bad("half.webp", half(encoded(noise(), "WEBP")), "it is truncated"),
    Bad("half.tif", encoded(noise(), "TIFF")[:-3000], "it is truncated"),
    Bad("half lzw.tif", encoded(noise(), "TIFF", compression="tiff_lzw")[:-3000], "damaged"),
    Bad("header only.png", encoded(noise())[:33], "PNG"),
    Bad("half a header.png", _PNG[:20], "it is truncated"),
    Bad("signature.png", _PNG[:8], "a PNG that is damaged"),
    Bad("start.jpg", _JPEG[:2], "a JPEG that is damaged"),
    Bad("start.gif", b"GIF89a", "a GIF that is damaged"),
    Bad("start.tif", b"II*\0", "a TIFF that is damaged"),
    Bad("start.bmp", b"BM", "a BMP that is damaged"),
    Bad("no pixels.jpg", _JPEG[:2] + b"\xff\xd9", "a JPEG that is damaged"),
    Bad("header bit.png", flip(_PNG, 18), "PNG"),
    Bad("pixel bit.png", flip(encoded(noise()), 500), "do not match their checksum"),
    Bad("no width.png", png(0, 1, 8, 2, b"\0"), "PNG"),
    Bad("short rows.png", png(9, 9, 8, 2, b"\0" * 20), "truncated"),
    Bad("bad depth.png", png(1, 1, 3, 2, b"\0" * 20), "PNG"),
    Bad("no size.tif", tiff({258: ("H", [8])}, b""), "a TIFF that is damaged"),
    Bad("nowhere.tif", b"II*\0\xff\xff\xff\x7f", "TIFF"),
    Bad("no number.ppm", b"P6 4 x\xff\n255\n" + bytes(99), "it is a PPM that is damaged"),
    Bad("transfer.jpg", _JPEG.replace(b"\xff", b"?"), "no known image format"),
]

KINDS: list[Case] = [
    Bad("float.tif", encoded(picture("F", color=0.5), "TIFF"), "floating-point numbers"),
    Bad("double.tif", grey_tiff(bytes(8 * 24), 64, sample_format=3), "of an unknown kind"),
    Bad("integers.tif", encoded(picture("I", color=9), "TIFF"), "signed or 32-bit integers"),
    Bad("signed.tif", grey_tiff(bytes(48), 16, sample_format=2), "signed or 32-bit integers"),
    Bad("float.pfm", b"Pf 6 4 -1.0\n" + bytes(96), "floating-point numbers"),
    Bad("lab.tif", encoded(picture("LAB", color=(9, 9, 9)), "TIFF"), "colour space LAB"),
]

BOMBS: list[Case] = [
    Bad("real bomb.png", png(_BOMB, _BOMB, 1, 0, bytes(_BOMB * (_BOMB // 8 + 2))), "bomb"),
    Bad("bomb.png", png(100_000, 100_000, 8, 2, b"\0"), "bomb"),
    Bad("largest.png", png(2**31 - 1, 2**31 - 1, 8, 2, b"\0"), "bomb"),
    Bad("endless row.png", png(30_000_000, 1, 8, 0, b"\0"), "one of its sides has 30,000,000"),
    Bad("bomb.gif", gif((65535, 65535), (1, 1)), "bomb"),
    Bad("frame beyond its screen.gif", gif((1, 1), (65535, 65535)), "bomb"),
    Bad("bomb.tif", grey_tiff(b"\0", 8, size=(100_000, 100_000)), "bomb"),
    Bad("lzw bomb.tif", grey_tiff(b"\0", 8, size=(_BOMB, _BOMB), compression=5), "bomb"),
    Bad("endless.tif", grey_tiff(b"\0", 8, size=(2**32 - 1, 2**32 - 1)), "bomb"),
    Bad(
        "tile bomb.tif",
        grey_tiff(
            zlib.compress(bytes(2**24)),
            8,
            compression=8,
            t322=46_000,
            t323=46_000,
            t324=0,
            t325=2**14,
        ),
        "tiles of more than",
    ),
    Bad(
        "bomb.bmp",
        b"BM" + struct.pack("<IIIIiiHHIIIIII", 99, 0, 54, 40, 50_000, -50_000, 1, 24, *(0,) * 6),
        "bomb",
    ),
    Bad("bomb.ppm", b"P6 100000 100000 255\n\0", "bomb"),
    Bad("bomb.webp", huge_webp(), "bomb"),
    Bad(
        "bomb.jpg",
        _JPEG[: _JPEG.index(b"\xff\xc0") + 5]
        + b"\xff\xff\xff\xff"
        + _JPEG[_JPEG.index(b"\xff\xc0") + 9 :],
        "bomb",
    ),
    Bad(
        "packed text.png",
        png(1, 1, 8, 2, bytes(4), chunk(b"zTXt", b"a\0\0" + packed_zeros(2**28))),
        "text or colour profile",
    ),
    Bad(
        "packed profile.png",
        png(1, 1, 8, 2, bytes(4), chunk(b"iCCP", b"a\0\0" + packed_zeros(2**28))),
        "text or colour profile",
    ),
    Bad(
        "many texts.png",
        png(1, 1, 8, 2, bytes(4), 70 * chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6)))),
        "text or colour profile",
    ),
    Bad("long chunk.png", _PNG[:33] + struct.pack(">I", 2**31 - 1) + b"tEXt", "truncated"),
    Bad("long strip.tif", grey_tiff(b"\0", 8, t278=2**32 - 1, t279=2**32 - 1), "truncated"),
    Bad("crumbs.tif", crumbs("<HHIH", "<HHII"), "more than 262,144 strips or tiles"),
    Bad("crumbs big-endian.tif", crumbs(">HHIH", ">HHII"), "strips or tiles"),
    Bad("many crumbs.tif", crumbs("<HHHHQQ", "<HHQQ"), "strips or tiles"),
    Bad("sparse.webp", sparse(encoded(picture(), "WEBP"), 2**40), "larger than 512 MiB"),
    Bad("sparse.tif", sparse(grey_tiff(b"\0", 8), 2**40), "larger than 512 MiB"),
]

PLACES: list[Case] = [
    Bad("folder.png", lambda path: path.mkdir(), "it is a folder"),
    Bad("pipe.png", os.mkfifo, "it is a pipe"),
    Bad("socket.png", make_socket, "it is a socket"),
    Bad("zero.png", link_to("/dev/zero"), "it is a device"),
    Bad("broken link.png", link_to("nowhere.png"), "a link to something that does not exist"),
    Bad("loop.png", link_to("loop.png"), "a link that leads back to itself"),
    Bad(
        "to a pipe.png",
        lambda path: (os.mkfifo(path.parent / ".pipe"), path.symlink_to(".pipe")),
        "it is a pipe",
    ),
]

CASES = [*FORMATS, *MODES, *ODD, *NAMES, *DAMAGED, *KINDS, *BOMBS, *PLACES]

"""The kind of a file by its first bytes: the picture formats that are read, and names for what is not."""

from __future__ import annotations

HEAD = 512
"""Bytes from the beginning of a file that `kind_of` needs."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "QOI")
"""Pillow's names of the formats that are read; none of them starts another program."""

ENDINGS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".pfm",
        ".pam",
        ".jp2",
        ".j2k",
        ".jpx",
        ".avif",
        ".qoi",
    ]
)
"""Endings by which people name these formats. The bytes decide; the ending only chooses the sentence on a file that is none."""

_PICTURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"qoif", "QOI"),
)


def _picture(name: str) -> str:
    return f"a picture of the kind {name}, not read: save it as PNG"


_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip of its own: give it by its path"),
    (b"PK\x05\x06", "an empty zip"),
    (b"\x1f\x8b", "a gzip file: unpack it"),
    (b"BZh", "a bzip2 file: unpack it"),
    (b"\xfd7zXZ\0", "an xz file: unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"Rar!\x1a\7", "a rar archive: unpack it"),
    (b"8BPS", "a Photoshop document, not read: save it as PNG"),
    (b"%PDF", "a PDF, not read: save its pictures as PNG"),
    (b"%!PS", "PostScript, not read: save it as PNG"),
    (b"\0\0\1\0", "an icon, not read: save it as PNG"),
    (b"SIMPLE  =", "a FITS file, not read: save it as TIFF"),
    (b"\x93NUMPY", "a NumPy array, not read: save it as PNG or TIFF"),
    (b"\x89HDF\r\n", "an HDF5 file, not read: save its pictures as PNG or TIFF"),
    *(
        (beginning, _picture(name))
        for beginning, name in (
            (b"\x0a\5\1", "PCX"),
            (b"\x0a\2\1", "PCX"),
            (b"\x0a\3\1", "PCX"),
            (b"\1\xda", "SGI"),
            (b"DDS ", "DDS"),
            (b"icns", "ICNS"),
            (b"\0\0\2\0", "CUR or TGA"),
            (b"\0\0\x0a\0", "TGA"),
            (b"BLP1", "BLP"),
            (b"BLP2", "BLP"),
            (b"DanM", "MSP"),
            (b"LinS", "MSP"),
            (b"#define", "XBM"),
            (b"/* XPM", "XPM"),
            (b"\x76\x2f\x31\1", "OpenEXR"),
            (b"#?RADIANCE", "Radiance"),
            (b"#?RGBE", "Radiance"),
            (b"\xff\x0a", "JPEG XL"),
            (b"\0\0\0\x0cJXL ", "JPEG XL"),
            (b"gimp xcf", "GIMP"),
            (b"\xc5\xd0\xd3\xc6", "EPS"),
            (b"\xd7\xcd\xc6\x9a", "WMF"),
            (b"IIRO", "Olympus raw"),
            (b"FUJIFILMCCD-RAW", "Fujifilm raw"),
            (b"Image type:", "IM"),
            (b"\x59\xa6\x6a\x95", "Sun raster"),
            (b"\xb1\x68\xde\x3a", "DCX"),
            (b"FTEX", "FTEX"),
            (b"GRIB", "GRIB"),
            (b"BUFR", "BUFR"),
            (b"\x80\xe8\0\0", "PIXAR"),
            (b"\x0e\3\x13\1", "HDF"),
            (b"NRRD000", "NRRD"),
            (b"AT&TFORM", "DjVu"),
            (b"II\xbc", "JPEG XR"),
            (b"VTF\0", "VTF"),
            (b"\xabKTX ", "KTX"),
        )
    ),
)
NO_IMAGE = "not an image"
DAMAGED = "not an image, or its beginning is damaged"
"""Of a file whose ending promises a picture."""
_BY_ENDING = {
    ".tga": "TGA",
    ".icb": "TGA",
    ".vda": "TGA",
    ".vst": "TGA",
    ".dib": "DIB",
    ".palm": "PALM",
    ".spi": "SPIDER",
    ".spider": "SPIDER",
    ".pcd": "Photo CD",
}
"""Pictures whose first bytes may say nothing."""
_BOXES = {b"avif": "AVIF", b"avis": "AVIF"}
_RAW = b"crx "
_HEIF = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"}


def kind_of(head: bytes) -> str:
    """Pillow's name of the picture format that a file beginning with `head` has, or "" where it is none of FORMATS."""
    for beginning, kind in _PICTURES:
        if head.startswith(beginning):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if (
        head[:2] == b"BM"
        and len(head) >= 26
        and int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)
    ):
        return "BMP"
    if head[:1] == b"P" and head[1:2] in b"123456fFyY7" and head[2:3].isspace():
        return "PPM"
    return _BOXES.get(head[8:12], "") if head[4:8] == b"ftyp" else ""


def other_kind(head: bytes, ending: str = "") -> str:
    """The kind of a file that is no picture, as the end of a sentence; "not an image" where its beginning and its ending say nothing."""
    if head[4:8] == b"ftyp" and head[8:12] == _RAW:
        return "a camera's raw file, not read: save it as PNG"
    if head[4:8] == b"ftyp":
        return "a HEIC picture, not read: save it as JPEG" if head[8:12] in _HEIF else "a film"
    if head[128:132] == b"DICM":
        return "a DICOM picture, not read: save it as PNG or TIFF"
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it"
    if head.lstrip()[:4] == b"<svg" or (head.lstrip()[:5] == b"<?xml" and b"svg" in head):
        return "a drawing in SVG, not read: save it as PNG"
    if head[4:6] in (b"\x11\xaf", b"\x12\xaf"):
        return _picture("FLI")
    if head[20:24] == b"GIMP":
        return _picture("GIMP brush")
    if found := next((what for beginning, what in _OTHERS if head.startswith(beginning)), None):
        return found
    return _picture(_BY_ENDING[ending]) if ending in _BY_ENDING else NO_IMAGE

"""Pictures to calibrate with, from a folder or a clip, fed through the runtime's own preprocessing and hashed.

`edgeseg.calib.live` has those of a camera.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from edgeseg.data.folder import IMAGE_SUFFIXES
from edgeseg.data.masks import read_image
from edgeseg.errors import InputError, UsageError
from edgeseg.manifest import Manifest
from edgeseg.types import Image

DEFAULT_COUNT = 128
# Of a picture that is cut into tiles: neighbours say much the same.
TILES = 4
# Input `image`, uint8 [1, H, W, 3] ([tiles, H, W, 3] where the model wants tiles), and the sha256 of its bytes.
Prepared = tuple[npt.NDArray[np.uint8], str]
_T = TypeVar("_T")


class Frames(Protocol):
    """Where calibration gets its pictures: a `FrameSet`, or `edgeseg.calib.live.LiveFrames`."""

    def inputs(self, manifest: Manifest) -> Iterator[Prepared]:
        """Each picture as a model of that manifest takes it, in order of place."""
        ...

    def describe(self) -> dict[str, object]:
        """What the table of ranges keeps of it, besides the hashes: plain values by name."""
        ...


@dataclass(frozen=True, slots=True)
class FrameSet:
    """Which pictures a calibration looks at.

    Attributes:
        source: a folder of pictures, a data set (its `images/` is taken), or a clip.
        split: name of a split file (`train` for train.txt) that picks pictures of a data set by stem; None for all.
        stride: every stride-th picture, from the first.
        count: at most this many, drawn at random from what the stride leaves; None for all.
        seed: of that drawing.
    """

    source: Path
    split: str | None = None
    stride: int = 1
    count: int | None = DEFAULT_COUNT
    seed: int = 0

    def __post_init__(self) -> None:
        check_amounts(self.stride, self.count)

    def inputs(self, manifest: Manifest) -> Iterator[Prepared]:
        """(input `image` uint8 [1, H, W, 3], sha256 of its bytes) of each picture, in order of place.

        Raises:
            InputError: the source is missing, empty or cannot be read.
        """
        return prepare(self.images(), manifest)

    def describe(self) -> dict[str, object]:
        """What the table of ranges keeps of this, besides the hashes."""
        return {"source": str(self.source), "split": self.split, "stride": self.stride, "seed": self.seed}

    def images(self) -> Iterator[Image]:
        """The pictures themselves, uint8 [H, W, 3] BGR, in order of place; errors as `inputs`."""
        return self._folder() if self.source.is_dir() else self._clip()

    def _folder(self) -> Iterator[Image]:
        for path in sample(list_pictures(self.source, self.split)[:: self.stride], self.count, self.seed):
            yield read_image(path)

    def _clip(self) -> Iterator[Image]:
        if self.split is not None:
            raise UsageError("a clip has no splits", self.source, "Leave the split out")
        # A container's own count of frames is often missing or wrong, so a first pass counts.
        total = sum(1 for _ in _decode(self.source))
        wanted = set(sample(range(0, total, self.stride), self.count, self.seed))
        for number, image in enumerate(_decode(self.source, wanted)):
            if image is not None and number in wanted:
                yield image


def some_inputs(frames: Frames, manifest: Manifest, count: int) -> list[npt.NDArray[np.uint8]]:
    """At most `count` inputs, uint8 [1, H, W, 3] each, drawn from all of the frames; of a tiled one a few tiles are."""
    made: list[npt.NDArray[np.uint8]] = []
    for number, (tiles, _) in enumerate(frames.inputs(manifest)):
        made += [tiles[place][None] for place in sample(range(len(tiles)), TILES, number)]
    return sample(made, count, 0)


def check_amounts(stride: int, count: int | None) -> None:
    """UsageError where one of them is below 1."""
    for key, value in (("stride", stride), ("count", count)):
        if value is not None and value < 1:
            raise UsageError(f"{key} of the calibration frames is too small", value, "Give at least 1")


def prepare(images: Iterable[Image], manifest: Manifest) -> Iterator[Prepared]:
    """Each picture, uint8 [H, W, 3] BGR, through the runtime's preprocessing, with its hash."""
    from edgeseg.runtime.preprocess import Preprocessor

    preprocess = Preprocessor(manifest)
    for image in images:
        picture = preprocess(image)[0]
        yield picture, hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()


def sample(items: Sequence[_T], count: int | None, seed: int) -> list[_T]:
    """At most `count` of `items`, drawn without repetition by `seed`, in their own order."""
    if count is None or count >= len(items):
        return list(items)
    places = sorted(random.Random(seed).sample(range(len(items)), count))
    return [items[place] for place in places]


def list_pictures(folder: Path, split: str | None = None) -> list[Path]:
    """Pictures of a folder in the order of their names; `images/` inside it is preferred, so that masks stay out.

    Raises:
        InputError: no pictures, no such split, or a picture of the split is missing.
    """
    inner = folder / split if split is not None and (folder / split / "images").is_dir() else folder
    images = inner / "images" if (inner / "images").is_dir() else folder
    found = {path.stem: path for path in sorted(images.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES}
    if split is not None and inner is folder:
        listing = folder / f"{split}.txt"
        if not listing.is_file():
            raise InputError("no such split", listing, "Name a split file of the data set, or leave the split out")
        stems = listing.read_text(encoding="utf-8").split()
        missing = [stem for stem in stems if stem not in found]
        if missing:
            raise InputError("a picture of the split is missing", images / missing[0], f"Correct {listing.name}")
        found = {stem: found[stem] for stem in stems}
    if not found:
        todo = f"Give a folder with {', '.join(IMAGE_SUFFIXES)}, or a clip"
        raise InputError("no pictures to work on", images, todo)
    return list(found.values())


def _decode(path: Path, wanted: set[int] | None = None) -> Iterator[Image | None]:
    """The clip's frames as uint8 [H, W, 3] BGR; frames not in `wanted` are None (they cost no colour conversion)."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError("no video in the file", path, "Give a clip or a folder of pictures")
            number = 0
            for frame in container.decode(video=0):
                take = wanted is not None and number in wanted
                yield frame.to_ndarray(format="bgr24") if take else None
                number += 1
    except FileNotFoundError:
        raise InputError("frames not found", path, "Give a clip or a folder of pictures") from None
    except (av.FFmpegError, OSError) as error:
        raise InputError("cannot read the clip", f"{path} ({error})", "Give a clip or a folder of pictures") from None
    if number == 0:
        raise InputError("no frames to calibrate with", path, "Give a clip or a folder of pictures")

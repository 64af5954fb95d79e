"""Pictures to calibrate with from a camera or another source that runs on, until there are enough of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeseg.calib.frames import DEFAULT_COUNT, Prepared, check_amounts, prepare
from edgeseg.errors import InputError, UsageError
from edgeseg.manifest import Manifest
from edgeseg.runtime import notices
from edgeseg.runtime.sources.synthetic import Synthetic

if TYPE_CHECKING:
    from edgeseg.runtime.sources.base import Source
    from edgeseg.types import Image


class LiveFrames:
    """Every stride-th frame that a source hands over, from the first, until there are `count`.

    Not a draw, as from a folder or clip: that needs an end, which a camera has not, and a reservoir would hold frames
    back for as long as it runs. A camera's neighbouring frames show nearly the same, so a stride of about its rate, one
    frame a second, tells more. Each frame is observed before the next is read: what the source gives meanwhile is lost.

    Args:
        source: an open source; it is closed at the end.
        stride: every stride-th frame, from the first.
        count: end after so many.
        drawn: take drawn pictures (`synthetic:…`) too; the table says so.

    Raises:
        UsageError: stride or count is below 1, or drawn pictures that nobody allowed.
    """

    def __init__(self, source: Source, stride: int = 1, count: int = DEFAULT_COUNT, drawn: bool = False) -> None:
        check_amounts(stride, count)
        self.source, self.stride, self.count = source, stride, count
        self.is_drawn = isinstance(source, Synthetic)
        if self.is_drawn and not drawn:
            source.close()
            todo = "Give a camera or pictures like its own; --drawn (drawn=True) takes these, to try things out"
            raise UsageError("drawn pictures say nothing about a camera's", source.name, todo)

    def inputs(self, manifest: Manifest) -> Iterator[Prepared]:
        """As `FrameSet.inputs`. A source that breaks off after a frame is a warning.

        Raises:
            InputError: the source gives no frame.
        """
        return prepare(self.images(), manifest)

    def images(self) -> Iterator[Image]:
        """The pictures themselves, uint8 [H, W, 3] BGR; errors as `inputs`."""
        taken, source = 0, self.source
        try:
            for place, frame in enumerate(source):
                if place % self.stride == 0:
                    yield frame.image
                    taken += 1
                if taken == self.count:
                    return
        finally:
            source.close()
        if taken == 0:
            seen = f"{source.name} ({source.broken})" if source.broken else source.name
            raise InputError("the source gave no frame to calibrate with", seen, "Try it with edgeseg run")
        if source.broken:
            notices.warn(f"{source.name} broke off, {taken} of {self.count} pictures were taken: {source.broken}")

    def describe(self) -> dict[str, object]:
        """What the table of ranges keeps of this, besides the hashes."""
        about: dict[str, object] = {
            "source": self.source.name,
            "split": None,
            "stride": self.stride,
            "seed": None,
            "live": True,
        }
        return about | ({"drawn": True} if self.is_drawn else {})

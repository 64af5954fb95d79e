"""ROS 2 topics without ROS: the same bytes under the same names, over DDS by cyclonedds."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

from cyclonedds.core import DDSException
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy, Qos
from cyclonedds.topic import Topic
from cyclonedds.util import duration

from edgeseg.errors import OutputError, UsageError
from edgeseg.runtime.sinks.ros import DEPTH
from edgeseg.runtime.sinks.ros_messages import Header, Image, LabelInfo, Time, VisionClass
from edgeseg.types import ClassInfo, LabelMap

# How long the end waits for readers to take what is left.
LAST_S = 3
# Cyclone suspends a writer whose readers lag by so much, and its Python holds the interpreter's lock meanwhile: every
# thread would stand still. So that never happens; the depth alone is the limit.
NEVER_WAIT = "<Internal><Watermarks><WhcHigh>1 GB</WhcHigh><WhcHighInit>1 GB</WhcHighInit></Watermarks></Internal>"
# What ROS's own layer over Cyclone does for nodes that shall stay on their machine.
LOCAL_ONLY = """<General><Interfaces><NetworkInterface address="127.0.0.1"/></Interfaces></General>
<Discovery><ParticipantIndex>auto</ParticipantIndex><Peers><Peer address="localhost"/></Peers></Discovery>"""


class DdsNode:
    """Writes a label map and a class map, as `RosNode` does with ROS.

    ROS_DOMAIN_ID, ROS_LOCALHOST_ONLY and ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST mean what they do for ROS;
    CYCLONEDDS_URI configures the rest.

    Args:
        topic: what both topics' names begin with, such as `edgeseg`.
        frame_id: of the messages.

    Raises:
        UsageError: ROS_DOMAIN_ID is no number from 0 to 232.
        OutputError: there is no network to publish on; from `image` and `info` where it fails later.
    """

    def __init__(self, topic: str, frame_id: str) -> None:
        self._frame_id = frame_id
        # ROS reads the first encoding only. Reliable writers also serve readers that ask for less (sensor data).
        usual = Qos(
            Policy.Reliability.Reliable(duration(milliseconds=100)),
            Policy.DataRepresentation(use_cdrv0_representation=True),
        )
        stream = Qos(Policy.History.KeepLast(DEPTH), Policy.Durability.Volatile, base=usual)
        latched = Qos(Policy.History.KeepLast(1), Policy.Durability.TransientLocal, base=usual)
        try:
            participant = DomainParticipant(open_domain())
            self._images = DataWriter(participant, Topic(participant, f"rt/{topic}/label_map", Image), stream)
            self._infos = DataWriter(participant, Topic(participant, f"rt/{topic}/label_info", LabelInfo), latched)
        except DDSException as error:
            raise _failed(topic, error) from None
        self._topic = topic

    def image(self, stamp_ns: int, label_map: LabelMap) -> None:
        """Publish a label map."""
        height, width = label_map.shape
        pixels = label_map.tobytes()
        self._write(self._images, Image(self._header(stamp_ns), height, width, "mono8", 0, width, pixels))

    def info(self, stamp_ns: int, classes: Sequence[ClassInfo]) -> None:
        """Publish the class map, which readers that come later get, too."""
        rows = [VisionClass(info.id, info.name) for info in classes]
        self._write(self._infos, LabelInfo(self._header(stamp_ns), rows, 0.0))

    def close(self) -> None:
        """Give readers a moment to take the last messages."""
        # cyclonedds 11.0.1 trips over its own time limit, which says that a reader hangs.
        with contextlib.suppress(AttributeError):
            self._images.wait_for_acks(duration(seconds=LAST_S))

    def _header(self, stamp_ns: int) -> Header:
        return Header(Time(*divmod(stamp_ns, 10**9)), self._frame_id)

    def _write(self, writer: Any, message: Image | LabelInfo) -> None:
        try:
            writer.write(message)
        except DDSException as error:
            raise _failed(self._topic, error) from None


def domain_id(environment: Mapping[str, str]) -> int:
    """ROS_DOMAIN_ID, 0 unless set."""
    text = environment.get("ROS_DOMAIN_ID") or "0"
    if not (text.isdecimal() and int(text) <= 232):
        raise UsageError("bad ROS_DOMAIN_ID", text, "Set it to a number from 0 to 232, or not at all")
    return int(text)


def open_domain() -> int:
    """The number of the domain that ROS's variables ask for, set up for this process."""
    number = domain_id(os.environ)
    local = (
        os.environ.get("ROS_LOCALHOST_ONLY") == "1"
        or os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() == "LOCALHOST"
    )
    _set_up(number, LOCAL_ONLY if local else "", os.environ.get("CYCLONEDDS_URI", ""))
    return number


@functools.cache
def _set_up(number: int, reach: str, more: str) -> Domain:
    """Kept for as long as the process lives: a domain is set up once for all of its sources."""
    own = f'<CycloneDDS><Domain id="any">{NEVER_WAIT}{reach}</Domain></CycloneDDS>'
    return Domain(number, f"{own},{more}" if more else own)


def _failed(topic: str, error: DDSException) -> OutputError:
    todo = "Look at the network interfaces, CYCLONEDDS_URI and ROS_DOMAIN_ID"
    return OutputError("cannot publish over DDS", f"{topic} ({error.msg.strip()})", todo)

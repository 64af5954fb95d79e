"""Label maps and class map as ROS 2 topics: by ROS itself where it is installed, over DDS where it is not."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol

from edgeseg.errors import UsageError
from edgeseg.packages import missing_package
from edgeseg.runtime.clocks import ahead_ns
from edgeseg.types import ClassInfo, LabelMap, Result

FRAME_ID = "camera"
# Messages kept for a reliable reader that has not taken them yet; a slower one misses some.
DEPTH = 30
# What a node in ROS imports.
ROS_PACKAGES = ("rclpy", "sensor_msgs", "vision_msgs")


class Node(Protocol):
    """What publishes: `RosNode` or `DdsNode`."""

    def image(self, stamp_ns: int, label_map: LabelMap) -> None:
        """Publish a label map, stamped in nanoseconds since 1970."""

    def info(self, stamp_ns: int, classes: Sequence[ClassInfo]) -> None:
        """Publish the class map, latched."""

    def close(self) -> None:
        """Publish nothing more."""


class RosTopics:
    """Publishes /PREFIX/label_map (sensor_msgs/Image, mono8, the class id as value) for each result, and once
    /PREFIX/label_info (vision_msgs/LabelInfo, latched: who subscribes later gets it too).

    Stamps are the moments of capture on the system's clock, which is the one of ROS.

    Args:
        prefix: a name as ROS has them: words of letters, digits and `_`, with slashes between.
        frame_id: the messages' frame of reference, which stands in their headers.

    Raises:
        UsageError: the prefix is no name in ROS.
        BackendError: neither ROS nor cyclonedds is installed.
        OutputError: there is no network to publish on; also from `write`.
    """

    def __init__(self, prefix: str, frame_id: str = FRAME_ID) -> None:
        if not re.fullmatch(r"/?(?!.*__)[A-Za-z_]\w*(/[A-Za-z_]\w*)*", prefix, re.ASCII):
            raise UsageError("bad name for ROS topics", prefix, "Use words with slashes between, such as camera/front")
        self._told: tuple[ClassInfo, ...] = ()
        self._node: Node | None = open_node(prefix.removeprefix("/"), frame_id)

    def write(self, result: Result) -> None:
        """Publish one label map."""
        if self._node is None:
            raise RuntimeError("the sink is closed")
        stamp_ns = result.captured_ns + ahead_ns(time.time_ns)
        if self._told != result.classes:
            self._node.info(stamp_ns, result.classes)
            self._told = result.classes
        self._node.image(stamp_ns, result.label_map)

    def close(self) -> None:
        """Leave the network."""
        node, self._node = self._node, None
        if node is not None:
            node.close()


def open_node(prefix: str, frame_id: str) -> Node:
    """A node of ROS where it is installed with its messages, otherwise one that speaks DDS by itself."""
    if all(find_spec(name) for name in ROS_PACKAGES):
        from edgeseg.runtime.sinks.ros_node import RosNode

        return RosNode(prefix, frame_id)
    try:
        from edgeseg.runtime.sinks.ros_dds import DdsNode
    except ImportError as error:
        raise missing_package(error) or error from None
    return DdsNode(prefix, frame_id)

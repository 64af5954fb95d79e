"""ROS 2 topics by ROS itself (rclpy); loaded only where ROS is installed."""

from __future__ import annotations

import array
from collections.abc import Sequence

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from vision_msgs.msg import LabelInfo, VisionClass

from edgeseg.runtime.sinks.ros import DEPTH
from edgeseg.types import ClassInfo, LabelMap


class RosNode:
    """A node `edgeseg` that publishes as `DdsNode` does; remapping, domain and middleware are ROS's.

    Args:
        topic: what both topics' names begin with, such as `edgeseg`.
        frame_id: of the messages.
    """

    def __init__(self, topic: str, frame_id: str) -> None:
        self._frame_id = frame_id
        self._context = rclpy.Context()
        # edgeseg has handlers of its own, which finish the files.
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("edgeseg", context=self._context)
        stream = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._images = self._node.create_publisher(Image, f"{topic}/label_map", stream)
        self._infos = self._node.create_publisher(LabelInfo, f"{topic}/label_info", latched)

    def image(self, stamp_ns: int, label_map: LabelMap) -> None:
        """Publish a label map."""
        message = Image()
        self._fill_header(message, stamp_ns)
        message.height, message.width = label_map.shape
        message.encoding, message.step = "mono8", label_map.shape[1]
        # An array of bytes is taken as it is; of anything else rclpy looks at every element.
        message.data = array.array("B", label_map.tobytes())
        self._images.publish(message)

    def info(self, stamp_ns: int, classes: Sequence[ClassInfo]) -> None:
        """Publish the class map, which readers that come later get, too."""
        message = LabelInfo()
        self._fill_header(message, stamp_ns)
        message.class_map = [VisionClass(class_id=info.id, class_name=info.name) for info in classes]
        self._infos.publish(message)

    def close(self) -> None:
        """End the node."""
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _fill_header(self, message: Image | LabelInfo, stamp_ns: int) -> None:
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        message.header.frame_id = self._frame_id

"""Reads edgeseg's ROS 2 topics where there is no ROS: `python read_ros_topics.py PREFIX`; needs cyclonedds and rosbags.

Prints the class map and a line for each label map, until the publisher leaves. rosbags, which knows ROS's own
definitions, decodes what came.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from cyclonedds.domain import DomainParticipant
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from edgeseg.runtime.sinks.ros_dds import open_domain
from edgeseg.runtime.sinks.ros_messages import Image, LabelInfo

IMAGE, LABEL_INFO, VISION_CLASS = "sensor_msgs/msg/Image", "vision_msgs/msg/LabelInfo", "vision_msgs/msg/VisionClass"
# rosbags comes without vision_msgs: https://github.com/ros-perception/vision_msgs
VISION_MSGS = {
    VISION_CLASS: "uint16 class_id\nstring class_name",
    LABEL_INFO: "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold",
}


def ros_types() -> Any:
    """rosbags' definitions of ROS 2 Humble, and those of vision_msgs."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in VISION_MSGS.items():
        store.register(get_types_from_msg(text, name))
    return store


class Raw:
    """A message as it came, in CDR; cyclonedds would unpack the pixels one by one."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    deserialize = deserialize_key = classmethod(lambda cls, data, **_: cls(data))


def reader(participant: DomainParticipant, name: str, kind: type, *policies: Any) -> DataReader[Any]:
    """A reliable reader of one topic that hands out the bytes."""
    topic: Topic[Any] = Topic(participant, f"rt/{name}", kind)
    topic.data_type = Raw
    return DataReader(participant, topic, Qos(Policy.Reliability.Reliable(duration(seconds=1)), *policies))


if __name__ == "__main__":
    prefix = sys.argv[1]
    participant, types = DomainParticipant(open_domain()), ros_types()
    images = reader(participant, f"{prefix}/label_map", Image, Policy.History.KeepAll)
    infos = reader(participant, f"{prefix}/label_info", LabelInfo, Policy.Durability.TransientLocal)
    while not images.get_matched_publications():
        time.sleep(0.01)
    print(f"connected to {prefix}", flush=True)
    batch, there = [], True
    while batch or there:
        there = bool(images.get_matched_publications())
        for message in infos.take():
            if isinstance(message, Raw):  # and no word that the publisher has left
                info = types.deserialize_cdr(message.data, LABEL_INFO)
                print(info.header.frame_id, *(f"{row.class_id}:{row.class_name}" for row in info.class_map), flush=True)
        batch = [message for message in images.take(N=10) if isinstance(message, Raw)]
        for message in batch:
            image = types.deserialize_cdr(message.data, IMAGE)
            stamp_ns = image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
            age_ms = (time.time_ns() - stamp_ns) / 1e6
            size, mean = f"{image.width}x{image.height}", image.data.mean()
            print(f"{stamp_ns} {size} {image.encoding} {image.header.frame_id} {age_ms:.1f} {mean:.4f}", flush=True)
        if not batch:
            time.sleep(0.002)

"""The ROS 2 messages that edgeseg publishes, for cyclonedds, which loads with this module: import it where it is used.

Fields and names are those of builtin_interfaces, std_msgs, sensor_msgs and vision_msgs. On the wire a type is called
`PACKAGE::msg::dds_::NAME_` (design.ros2.org, "Topic and Service name mapping to DDS").
"""

# No `from __future__ import annotations`: cyclonedds reads the types of the fields, and finds no built-in one by name.
import dataclasses
import sys
from dataclasses import dataclass
from typing import Any

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import float32, int32, sequence, uint8, uint16, uint32


@dataclass
@final
class Time(IdlStruct, typename="builtin_interfaces.msg.dds_.Time_"):
    """builtin_interfaces/Time: since 1970."""

    sec: int32
    nanosec: uint32


@dataclass
@final
class Header(IdlStruct, typename="std_msgs.msg.dds_.Header_"):
    """std_msgs/Header."""

    stamp: Time
    frame_id: str


@dataclass
@final
class Image(IdlStruct, typename="sensor_msgs.msg.dds_.Image_"):
    """sensor_msgs/Image. `data` is given as bytes."""

    header: Header
    height: uint32
    width: uint32
    encoding: str
    is_bigendian: uint8
    step: uint32
    data: sequence[uint8]

    def serialize(self, *args: Any, **options: Any) -> bytes:
        """In CDR. The library itself would pack the pixels one by one, in Python."""
        empty = IdlStruct.serialize(dataclasses.replace(self, data=b""), *args, **options)
        # The last field is the last on the wire, too: its length, and then the bytes as they are.
        return b"".join((empty[:-4], len(self.data).to_bytes(4, sys.byteorder), self.data))


@dataclass
@final
class VisionClass(IdlStruct, typename="vision_msgs.msg.dds_.VisionClass_"):
    """vision_msgs/VisionClass."""

    class_id: uint16
    class_name: str


@dataclass
@final
class LabelInfo(IdlStruct, typename="vision_msgs.msg.dds_.LabelInfo_"):
    """vision_msgs/LabelInfo."""

    header: Header
    class_map: sequence[VisionClass]
    threshold: float32

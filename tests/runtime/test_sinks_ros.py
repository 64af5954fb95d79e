"""ROS 2 topics without ROS: the bytes are those that rosbags makes and reads; who reads slowly hurts nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_ins import PERSON

from edgeseg.errors import BackendError, UsageError
from edgeseg.runtime.sinks import RosTopics, ros
from edgeseg.types import ClassInfo, Frame, Result

pytest.importorskip("cyclonedds", reason="cyclonedds is not installed (it has wheels for x86_64 alone)")
rosbags = pytest.importorskip("rosbags.typesys", reason="rosbags is not installed")
from edgeseg.runtime.sinks import ros_dds, ros_messages  # noqa: E402

READER = Path(__file__).resolve().parents[2] / "examples" / "read_ros_topics.py"
SIZES = [(1, 1), (3, 5), (48, 64), (31, 1000)]


@pytest.fixture(autouse=True)
def own_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leaves this machine, and no other test run hears it."""
    monkeypatch.setenv("ROS_LOCALHOST_ONLY", "1")
    monkeypatch.setenv("ROS_DOMAIN_ID", str(100 + os.getpid() % 100))


@pytest.fixture(scope="module")
def store() -> Any:
    """rosbags' definitions; those of vision_msgs, which it lacks, as that package has them."""
    store = rosbags.get_typestore(rosbags.Stores.ROS2_HUMBLE)
    for name, text in {
        "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name",
        "vision_msgs/msg/LabelInfo": ("std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold"),
    }.items():
        store.register(rosbags.get_types_from_msg(text, name))
    return store


def result(number: int, labels: np.ndarray) -> Result:
    return Result(labels, None, None, Frame(np.zeros((2, 2, 3), np.uint8), number, time.monotonic_ns()), PERSON)


def header(frame_id: str) -> ros_messages.Header:
    return ros_messages.Header(ros_messages.Time(1_795_000_000, 999_999_999), frame_id)


@pytest.mark.parametrize("frame_id", ["", "c", "camera", "camera_optical_frame"])
@pytest.mark.parametrize("size", SIZES)
def test_an_image_is_what_rosbags_makes_of_it(store: Any, size: tuple[int, int], frame_id: str) -> None:
    labels = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    message = ros_messages.Image(header(frame_id), *size, "mono8", 0, size[1], labels.tobytes())
    data = message.serialize()
    read = store.deserialize_cdr(data, "sensor_msgs/msg/Image")
    assert (read.header.stamp.sec, read.header.stamp.nanosec) == (1_795_000_000, 999_999_999)
    assert (read.header.frame_id, read.encoding, read.is_bigendian, read.step) == (frame_id, "mono8", 0, size[1])
    assert (read.data.reshape(read.height, read.width) == labels).all()
    assert bytes(store.serialize_cdr(read, "sensor_msgs/msg/Image")) == data
    # What is left to the library elsewhere must not change by the way that pixels take.
    assert super(ros_messages.Image, message).serialize() == data


@pytest.mark.parametrize("names", [[], ["background"], ["a", "bc", "def", "Fußgänger"], [f"c{k}" for k in range(255)]])
def test_a_class_map_is_what_rosbags_makes_of_it(store: Any, names: list[str]) -> None:
    rows = [ros_messages.VisionClass(number, name) for number, name in enumerate(names)]
    data = ros_messages.LabelInfo(header("camera"), rows, 0.5).serialize()
    read = store.deserialize_cdr(data, "vision_msgs/msg/LabelInfo")
    assert [(row.class_id, row.class_name) for row in read.class_map] == list(enumerate(names))
    assert (read.header.frame_id, read.threshold) == ("camera", 0.5)
    assert bytes(store.serialize_cdr(read, "vision_msgs/msg/LabelInfo")) == data


def test_types_are_called_as_ros_calls_them() -> None:
    kinds = {
        ros_messages.Image: "sensor_msgs::msg::dds_::Image_",
        ros_messages.LabelInfo: "vision_msgs::msg::dds_::LabelInfo_",
    }
    for kind, name in kinds.items():
        assert kind.__idl__.idl_transformed_typename == name


@pytest.fixture
def reader(tmp_path: Path, own_domain: None) -> Iterator[subprocess.Popen[bytes]]:
    """The example in a process of its own, which writes into `out`."""
    if not READER.is_file():
        pytest.skip("examples/ is not here: these tests run from an installed package")
    with (tmp_path / "out").open("wb") as file:
        command = [sys.executable, str(READER), "edgeseg/test"]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    yield process
    process.kill()
    process.wait()


def wait_for(path: Path, text: str) -> None:
    """Wait until a reader has written that."""
    deadline = time.monotonic() + 120
    while text not in path.read_text():
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.01)


def test_another_process_reads_maps_and_who_comes_later_gets_the_class_map(
    tmp_path: Path, reader: subprocess.Popen[bytes]
) -> None:
    sink, out = RosTopics("/edgeseg/test", "front_camera"), tmp_path / "out"
    sink.write(result(0, np.zeros((4, 6), np.uint8)))  # most likely before anybody listens
    wait_for(out, "connected to edgeseg/test")
    wait_for(out, "front_camera 0:background 1:person\n")
    sent_ns = []
    for number in range(1, 4):
        sent_ns.append(time.time_ns())
        sink.write(result(number, np.full((720, 1280), number, np.uint8)))
        wait_for(out, f" {number:.4f}\n")
    sink.close()
    sink.close()
    assert reader.wait(120) == 0
    rows = [line.split() for line in out.read_text().splitlines() if "1280x720" in line]
    assert [row[1:4] + row[5:] for row in rows] == [
        ["1280x720", "mono8", "front_camera", f"{k:.4f}"] for k in (1, 2, 3)
    ]
    # Captured just before it was written; the machine may be busy in between.
    for row, at_ns in zip(rows, sent_ns, strict=True):
        assert -1e6 < int(row[0]) - at_ns < 5e9
    with pytest.raises(RuntimeError, match="closed"):
        sink.write(result(9, np.zeros((4, 6), np.uint8)))


def test_a_reader_that_hangs_holds_nobody_up(tmp_path: Path, reader: subprocess.Popen[bytes]) -> None:
    """A reliable reader that takes nothing: the library, which holds Python's lock meanwhile, must not wait for it."""
    sink = RosTopics("edgeseg/test")
    wait_for(tmp_path / "out", "connected to edgeseg/test")
    reader.send_signal(signal.SIGSTOP)
    used = time.process_time()
    started = time.monotonic()
    for number in range(2 * ros.DEPTH):
        sink.write(result(number, np.zeros((720, 1280), np.uint8)))
    assert time.monotonic() - started < 60 and time.process_time() - used < 30
    reader.kill()
    sink.close()


@pytest.mark.parametrize("bad", ["", "/", "1a", "a//b", "a/", "a-b", "a__b", "a/1", "ä", "~/a", "a b"])
def test_bad_prefixes(bad: str) -> None:
    with pytest.raises(UsageError, match="bad name for ROS topics"):
        RosTopics(bad)


@pytest.mark.parametrize("bad", ["x", "-1", "233", "1.5"])
def test_bad_domains(bad: str) -> None:
    with pytest.raises(UsageError, match="ROS_DOMAIN_ID"):
        ros_dds.domain_id({"ROS_DOMAIN_ID": bad})
    assert ros_dds.domain_id({}) == ros_dds.domain_id({"ROS_DOMAIN_ID": ""}) == 0


def test_without_ros_and_cyclonedds_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cyclonedds", None)
    monkeypatch.setitem(sys.modules, "cyclonedds.core", None)
    monkeypatch.delitem(sys.modules, "edgeseg.runtime.sinks.ros_dds")
    monkeypatch.delattr("edgeseg.runtime.sinks.ros_dds")
    with pytest.raises(BackendError, match=r"edgeseg\[ros\]"):
        RosTopics("edgeseg")


STAND_IN = {
    "rclpy/__init__.py": """
from types import SimpleNamespace as Any
calls = []
class Context: pass
def init(**options): calls.append(("init", sorted(options)))
def shutdown(**options): calls.append(("shutdown", sorted(options)))
class Publisher:
    def __init__(self, topic, qos): self.topic, self.qos = topic, qos
    def publish(self, message): calls.append((self.topic, self.qos, message))
class Node:
    def create_publisher(self, kind, topic, qos): return Publisher(topic, qos)
    def destroy_node(self): calls.append(("destroyed",))
def create_node(name, context): return Node()
""",
    "rclpy/qos.py": """
from enum import Enum
class ReliabilityPolicy(Enum): RELIABLE = 1
class DurabilityPolicy(Enum): TRANSIENT_LOCAL = 1
def QoSProfile(**options): return options
""",
    "rclpy/signals.py": "class SignalHandlerOptions: NO = 0\n",
    "sensor_msgs/__init__.py": "",
    "sensor_msgs/msg.py": """
from types import SimpleNamespace as Any
def Image(): return Any(header=Any(stamp=Any(sec=0, nanosec=0), frame_id=""))
""",
    "vision_msgs/__init__.py": "",
    "vision_msgs/msg.py": """
from types import SimpleNamespace as Any
def LabelInfo(): return Any(header=Any(stamp=Any(sec=0, nanosec=0), frame_id=""))
def VisionClass(**fields): return Any(**fields)
""",
}


def test_where_ros_is_installed_its_own_node_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a stand-in, as there is no ROS to be had from a package registry: the choice, and what is handed to rclpy."""
    for name, text in STAND_IN.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    sink = RosTopics("edgeseg/front", "front")
    rclpy: Any = sys.modules["rclpy"]
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    before_ns = time.time_ns()
    for number in range(2):
        sink.write(result(number, labels))
    sink.close()
    kinds = [call[0] for call in rclpy.calls]
    assert kinds == ["init", *["edgeseg/front/label_info"], *["edgeseg/front/label_map"] * 2, "destroyed", "shutdown"]
    (_, latched, info), (_, stream, image) = rclpy.calls[1:3]
    assert latched["depth"] == 1 and "durability" in latched and "durability" not in stream
    assert [(row.class_id, row.class_name) for row in info.class_map] == [(0, "background"), (1, "person")]
    assert (image.height, image.width, image.step, image.encoding) == (3, 4, 4, "mono8")
    assert image.data.tobytes() == labels.tobytes() and image.header.frame_id == "front"
    assert abs(image.header.stamp.sec * 10**9 + image.header.stamp.nanosec - before_ns) < 5e9
    for name in [name for name in sys.modules if name.split(".")[0] in ros.ROS_PACKAGES or name.endswith(".ros_node")]:
        monkeypatch.delitem(sys.modules, name)


def test_class_maps_are_told_once_and_again_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Node:
        def image(self, stamp_ns: int, label_map: np.ndarray) -> None:
            told.append("image")

        def info(self, stamp_ns: int, classes: tuple[ClassInfo, ...]) -> None:
            told.append(len(classes))

        def close(self) -> None:
            told.append("closed")

    monkeypatch.setattr(ros, "open_node", lambda prefix, frame_id: Node())
    sink, labels = RosTopics("edgeseg"), np.zeros((2, 2), np.uint8)
    for classes in (PERSON, PERSON, PERSON[:1]):
        sink.write(Result(labels, None, None, Frame(np.zeros((2, 2, 3), np.uint8), 0, 0), classes))
    sink.close()
    assert told == [2, "image", "image", 1, "image", "closed"]

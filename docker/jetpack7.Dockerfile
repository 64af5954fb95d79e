# edgeseg on JetPack 7 (Jetson Linux 38, Thor): TensorRT 10.13, CUDA 13.0, Python 3.12. To be built on the device, in the
# checkout's root; docs/jetson.md has the commands. No board has built it yet.
#   docker build -f docker/jetpack7.Dockerfile -t edgeseg .
# JetPack 7 runs NVIDIA's containers for Arm servers; a later one with a later TensorRT may be named by
# --build-arg BASE=..., and another GPU by --build-arg GPU=87 (Orin under JetPack 7.2).
ARG BASE=nvcr.io/nvidia/tensorrt:25.08-py3
FROM ${BASE}
ARG GPU=110

# GStreamer for CSI cameras and hardware decoding; NVIDIA's elements are the host's, which its runtime brings in.
# No versions: they are those of the base image's Ubuntu.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends \
    cmake g++ make python3-venv \
    python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/edgeseg
COPY setup.py pyproject.toml constraints.txt README.md LICENSE ./
COPY edgeseg edgeseg
COPY export export
COPY calib calib
COPY cpp_ext cpp_ext

# TensorRT and PyGObject are the base image's. EDGESEG_CUDA=0: the plugin is compiled below, for one GPU, and not for all
# of them here.
RUN python3 -m venv --system-site-packages /opt/venv \
    && EDGESEG_CUDA=0 /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt '.[tensorrt]' \
    opencv-python-headless
ENV PATH=/opt/venv/bin:/usr/local/cuda/bin:$PATH
RUN EDGESEG_ARCHITECTURES="${GPU}" sh cpp_ext/build.sh plugin /opt/venv/bin/python .cuda
ENV EDGESEG_PLUGIN=/opt/edgeseg/build/libedgeseg_plugin.so

WORKDIR /data
ENTRYPOINT ["edgeseg"]

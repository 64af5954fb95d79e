# edgeseg on a desktop or server GPU (x86-64): TensorRT from its wheels, CUDA's driver from the host, Python 3.12.
#   docker build -f docker/desktop.Dockerfile -t edgeseg .
#   docker run --rm -it --gpus all -v "$PWD:/data" edgeseg run clip.mp4 --backend tensorrt --decode hardware --save out.mp4
# Without --gpus it runs on the CPU. The plugin, where it is wanted: make ext, and -e EDGESEG_PLUGIN=/data/libedgeseg_plugin.so
FROM ubuntu:24.04

# No versions: they are those of this Ubuntu.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends \
    python3-venv libgl1 libglib2.0-0 libxcb1 \
    python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/edgeseg
COPY setup.py pyproject.toml constraints.txt README.md LICENSE ./
COPY edgeseg edgeseg
COPY export export
COPY calib calib

RUN python3 -m venv --system-site-packages /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt '.[tensorrt,openvino]'
ENV PATH=/opt/venv/bin:$PATH
# `video` is what lets the GPU's decoder into the container.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility,video

WORKDIR /data
ENTRYPOINT ["edgeseg"]

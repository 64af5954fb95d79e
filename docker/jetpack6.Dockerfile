# edgeseg on JetPack 6 (Jetson Linux 36, Orin): TensorRT 10.3, CUDA 12.6, Python 3.10. To be built on the device, in the
# checkout's root, so that its own nvcc makes the plugin; docs/jetson.md has the commands. No board has built it yet.
#   docker build -f docker/jetpack6.Dockerfile -t edgeseg .
ARG BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
FROM ${BASE}

# GStreamer for CSI cameras and hardware decoding; NVIDIA's elements are the host's, which its runtime brings in.
# No versions: they are those of the base image's Ubuntu.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends \
    cmake g++ make python3-dev python3-venv python3-libnvinfer libnvinfer-dev \
    python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/edgeseg
COPY setup.py pyproject.toml constraints.txt README.md LICENSE ./
COPY edgeseg edgeseg
COPY export export
COPY calib calib
COPY cpp_ext cpp_ext

# TensorRT and PyGObject are the system's. cv2 is not: JetPack's wants a NumPy below 2, the wheel does not.
# cuda-bindings follow the driver's CUDA, which is 12 here; the pins are for 13. EDGESEG_CUDA=0: the plugin is compiled
# below, for one GPU, and not for all of them here.
RUN python3 -m venv --system-site-packages /opt/venv \
    && grep -v '^cuda-' constraints.txt > constraints-cuda12.txt \
    && EDGESEG_CUDA=0 /opt/venv/bin/pip install --no-cache-dir --constraint constraints-cuda12.txt \
    '.[tensorrt]' 'cuda-bindings<13' opencv-python-headless
ENV PATH=/opt/venv/bin:/usr/local/cuda/bin:$PATH
# Orin alone: each further GPU would take its time.
RUN EDGESEG_ARCHITECTURES=87 sh cpp_ext/build.sh plugin /opt/venv/bin/python .cuda
ENV EDGESEG_PLUGIN=/opt/edgeseg/build/libedgeseg_plugin.so

WORKDIR /data
ENTRYPOINT ["edgeseg"]

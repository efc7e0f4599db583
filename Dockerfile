# syntax=docker/dockerfile:1
# docker build --target cpu -t tutti .        docker build --target gpu -t tutti:gpu .
# docker run -p 8000:8000 -v "$PWD/models:/models" tutti
# No compiler, no torch and no CUDA base image: onnxruntime and, for `gpu`, the CUDA libraries come as wheels.
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/tutti
WORKDIR /src
COPY pyproject.toml README.md LICENSE *.py ./
COPY model_repo model_repo
COPY server server
COPY exporter exporter
COPY loadtest loadtest
RUN /opt/tutti/bin/pip install .

FROM build AS build-gpu
RUN /opt/tutti/bin/pip install '.[cuda]'

FROM python:${PYTHON_VERSION}-slim AS base
# One thread a session unless the plan says more: OpenMP's own pools would oversubscribe the cores.
ENV PATH=/opt/tutti/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 \
    TUTTI_REPOSITORY=/models \
    TUTTI_HOST=0.0.0.0 \
    TUTTI_PORT=8000
RUN install -d -o 65532 -g 65532 /models
USER 65532:65532
WORKDIR /models
VOLUME ["/models"]
EXPOSE 8000
STOPSIGNAL SIGTERM
# Healthy is ready, and ready means serving; a first load may take a while, hence the start period. Set
# TUTTI_READY_WHEN_EMPTY=true where ensembles come later; what restarts containers should ask /v2/health/live.
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['TUTTI_PORT'] + '/v2/health/ready', timeout=2)"]
ENTRYPOINT ["tutti", "serve"]

FROM base AS gpu
# The NVIDIA container toolkit reads these to pass the driver in: docker run --gpus all.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-gpu /opt/tutti /opt/tutti

# Last, so that a build without --target is this one.
FROM base AS cpu
COPY --from=build /opt/tutti /opt/tutti

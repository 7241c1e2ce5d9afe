# Open-Unmix on a CPU. What was tried of this image is in docs/quickstart.md.
#
#   docker build --tag open-unmix .
#   docker run --rm --volume "$PWD:/data" open-unmix song.mp3

# Another image with python and pip: --build-arg BASE=NAME.
ARG BASE=python:3.12-slim
FROM ${BASE}

# torch for CPUs alone: the one on PyPI brings gigabytes of libraries for GPUs.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /src/
RUN pip install --no-cache-dir --constraint /src/constraints.txt --index-url "$TORCH_INDEX" torch

COPY pyproject.toml README.md LICENSE /src/
COPY openunmix /src/openunmix
# Extras of the package: the server; others as --build-arg EXTRAS=serve,onnx.
ARG EXTRAS=serve
RUN pip install --no-cache-dir --constraint /src/constraints.txt "/src[${EXTRAS}]"

# Downloaded weights are kept in /models, which any user may write: mount a volume to keep them.
ENV TORCH_HOME=/models
RUN mkdir --mode=777 /models /data
COPY --chmod=755 scripts/docker-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
WORKDIR /data
# Of umx-serve.
EXPOSE 8765
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["--help"]

# The operator alone, without the playground. `docker build -t REPOSITORY/cloudrun-identity .`
# Every package is installed from requirements/, which pins versions and hashes (`make requirements`).
# For a reproducible image, pin the base image by its digest:
# `--build-arg BASE=python@sha256:…`. `docker buildx imagetools inspect python:3.11-slim` prints the digest.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /src
# No pip in what is shipped: that of the base installs into it.
RUN python -m venv --without-pip /opt/cloudrun-identity
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes --only-binary :all: --requirement requirements/image-build.txt
RUN pip --python /opt/cloudrun-identity/bin/python install --no-cache-dir \
    --require-hashes --only-binary :all: --requirement requirements/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator/cloudrun_identity operator/cloudrun_identity
# Build the operator with the pinned build backend. An isolated build would download another one without a hash.
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels .
RUN pip --python /opt/cloudrun-identity/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM ${BASE}
RUN groupadd --gid 65532 nonroot && useradd --uid 65532 --gid 65532 --create-home nonroot
COPY --from=build /opt/cloudrun-identity /opt/cloudrun-identity
# No bytecode is written at run time: the root file system is read-only, and pip compiled everything.
ENV PATH=/opt/cloudrun-identity/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["cloudrun-identity"]
CMD ["run"]

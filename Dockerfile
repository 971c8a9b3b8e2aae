# The operator alone, without the playground. `docker build -t REPOSITORY/cloudrun-identity .`
# Every package is installed from requirements/, which pins versions and hashes (`make requirements`).
# tools/image_layout.py runs these steps without a Docker engine; tests/test_image.py runs the operator from the result.

# BASE_DIGEST pins the base image: `--build-arg BASE_DIGEST=sha256:…`. The release workflow sets it.
# `docker buildx imagetools inspect python:3.11-slim` prints the digest.
ARG BASE=python:3.11-slim
ARG BASE_DIGEST

FROM ${BASE}${BASE_DIGEST:+@$BASE_DIGEST} AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_PROGRESS_BAR=off PIP_ROOT_USER_ACTION=ignore
# No pip in what is shipped: that of the base installs into it.
RUN python -m venv --without-pip /opt/cloudrun-identity
COPY requirements/image.txt requirements/image-build.txt requirements/
RUN python -m pip install --require-hashes --only-binary :all: --requirement requirements/image-build.txt
RUN python -m pip --python /opt/cloudrun-identity/bin/python install \
    --require-hashes --only-binary :all: --requirement requirements/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator/cloudrun_identity operator/cloudrun_identity
# Build the operator with the pinned build backend. An isolated build would download another one without a hash.
RUN python -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels .
RUN python -m pip --python /opt/cloudrun-identity/bin/python install --no-deps --no-index /wheels/*.whl

FROM ${BASE}${BASE_DIGEST:+@$BASE_DIGEST}
ARG BASE
ARG BASE_DIGEST
ARG VERSION
ARG REVISION
ARG CREATED
# The operator installs nothing at run time, and vulnerability scanners report an unused pip.
RUN python -m pip uninstall --yes --root-user-action ignore pip setuptools wheel
RUN groupadd --gid 65532 nonroot && useradd --uid 65532 --gid 65532 \
    --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin nonroot
COPY --from=build /opt/cloudrun-identity /opt/cloudrun-identity
# No bytecode is written at run time: the root file system is read-only, and pip compiled everything.
ENV PATH=/opt/cloudrun-identity/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
LABEL org.opencontainers.image.title="cloudrun-identity" \
      org.opencontainers.image.description="A Kubernetes operator for Cloud Run identities" \
      org.opencontainers.image.url="https://github.com/cloudrun-identity/cloudrun-identity" \
      org.opencontainers.image.source="https://github.com/cloudrun-identity/cloudrun-identity" \
      org.opencontainers.image.documentation="https://github.com/cloudrun-identity/cloudrun-identity/tree/main/docs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/$BASE" \
      org.opencontainers.image.base.digest="$BASE_DIGEST" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
USER 65532:65532
EXPOSE 8080
# For container engines; Kubernetes uses the probes of the chart.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-m", "cloudrun_identity.healthcheck"]
ENTRYPOINT ["cloudrun-identity"]
CMD ["run"]

# The operator alone, without the playground. `docker build -t REPOSITORY/cloudrun-identity .`
# For an image that can be built again as it was, name the base by its digest: `--build-arg BASE=python@sha256:…`.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /src
# No pip in what is shipped: that of the base installs into it.
RUN python -m venv --without-pip /opt/cloudrun-identity
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY operator/cloudrun_identity operator/cloudrun_identity
RUN pip --python /opt/cloudrun-identity/bin/python install --no-cache-dir --constraint constraints.txt .

FROM ${BASE}
RUN groupadd --gid 65532 nonroot && useradd --uid 65532 --gid 65532 --create-home nonroot
COPY --from=build /opt/cloudrun-identity /opt/cloudrun-identity
# No bytecode is written at run time: the root file system is read-only, and pip compiled everything.
ENV PATH=/opt/cloudrun-identity/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["cloudrun-identity"]
CMD ["run"]

# The operator alone, without the playground. `docker build -t REPOSITORY/cloudrun-identity .`
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /src
RUN python -m venv /opt/cloudrun-identity
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY operator/cloudrun_identity operator/cloudrun_identity
RUN /opt/cloudrun-identity/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:${PYTHON}-slim
RUN groupadd --gid 65532 nonroot && useradd --uid 65532 --gid 65532 --create-home nonroot
COPY --from=build /opt/cloudrun-identity /opt/cloudrun-identity
# No bytecode is written at run time: the root file system is read-only, and pip compiled everything.
ENV PATH=/opt/cloudrun-identity/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["cloudrun-identity"]
CMD ["run"]

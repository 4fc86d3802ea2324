# Two stages: the first builds the wheel and a virtual environment, the second holds only that and runs without root.
FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY docs ./docs
COPY examples ./examples
RUN python -m venv /opt/evalvault \
    && /opt/evalvault/bin/python -m pip install --no-cache-dir --disable-pip-version-check ".[server,postgres]"

FROM python:3.13-slim
RUN useradd --system --create-home --home-dir /var/lib/evalvault evalvault
COPY --from=build /opt/evalvault /opt/evalvault
ENV PATH=/opt/evalvault/bin:$PATH PYTHONUNBUFFERED=1
USER evalvault
WORKDIR /var/lib/evalvault
# A volume that is mounted here takes its owner from this folder.
RUN mkdir evalvault-spool

# Inside a container 127.0.0.1 reaches nobody, so the addresses are open and --insecure says that the network in front is
# trusted. Publish the ports on loopback only, as docker-compose.yml does, or set EVALVAULT_API_KEYS.
ENV EVALVAULT_GRPC=0.0.0.0:4317 EVALVAULT_HTTP=0.0.0.0:4318 EVALVAULT_API=0.0.0.0:8000 EVALVAULT_INSECURE=true
EXPOSE 4317 4318 8000
# With TLS: `--no-healthcheck`, or one of your own over https.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["evalvault-otel", "serve"]

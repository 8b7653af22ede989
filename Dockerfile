# The hub as an image: `docker compose up`, or
#   docker run -p 9000:9000 -v "$PWD/events:/events" eventhub
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY hub hub
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels eventhub \
    && useradd --uid 1000 --user-group --no-create-home hub \
    && install -d -o hub -g hub /events
USER hub
VOLUME /events
EXPOSE 9000
ENV HUB_HOST=0.0.0.0 HUB_EVENTS=/events
# The hub ends on SIGTERM within two seconds, with everything acknowledged on disk.
CMD ["hub", "serve"]

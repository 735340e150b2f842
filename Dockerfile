FROM python:3.11-slim AS build
RUN python -m venv /opt/venv
COPY requirements.txt .
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin trading \
    && mkdir --mode=700 /data && chown trading:trading /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2 \
    MALLOC_MMAP_THRESHOLD_=4194304 \
    MALLOC_TRIM_THRESHOLD_=16777216 \
    DATA_DIR=/data
RUN printf '#!/bin/sh\nexec python /app/cli.py "$@"\n' > /usr/local/bin/trading-engine \
    && chmod 755 /usr/local/bin/trading-engine
# the root may be read-only, so the byte code is made here
RUN python -m compileall -q .
USER trading
VOLUME /data
EXPOSE 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "launcher.alive", "http://127.0.0.1:8001/health/live"]
# Everything in one container. Off loopback a key is needed: one is made, kept in /data and shown.
CMD ["python", "app.py", "--host", "0.0.0.0", "--make-key"]

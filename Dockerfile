# The service without a Redis and a store of its own: give REDIS_URL, DATABASE_URL, JWT_SECRET and ENCRYPTION_KEY.
# Stage 1 installs the locked packages, hashes checked, and our wheel; stage 2 gets the result, without sources.
FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv --without-pip /app
COPY requirements.lock ./
RUN python -m pip --python /app/bin/python install --no-cache-dir --require-hashes --only-binary=:all: \
    -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY dhanam_jobs ./dhanam_jobs
RUN python -m pip --python /app/bin/python install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --no-create-home dhanam \
    && install -d -o dhanam -g dhanam -m 0700 /data
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    REDIS_URL=redis://localhost:6379 \
    HTTP_HOST=0.0.0.0 \
    HTTP_PORT=4300 \
    JOBS_DATA_DIR=/data
USER dhanam
VOLUME /data
EXPOSE 4300
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"HTTP_PORT\"]}/healthz', timeout=2)"]
CMD ["dhanam-jobs", "up"]

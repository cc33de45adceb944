"""A Celery application; run as a program, `celery_jobs.py JOBS`, it is the producer."""

import os
import sys

import celery

import python_jobs

PAUSE_SECONDS = 0.002
# On a Redis Cluster, a hash tag.
PREFIX = {"global_keyprefix": prefix} if (prefix := os.environ.get("KEY_PREFIX")) else {}
URL = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0"

app = celery.Celery("celery_jobs", broker=URL, backend=URL)
app.conf.update(
    # A job counts as done when it is done, not when a worker has got hold of it.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    # What a worker does not acknowledge in time is given out again; usually after an hour.
    broker_transport_options={"visibility_timeout": 5, **PREFIX},
    result_backend_transport_options=PREFIX,
    broker_connection_retry_on_startup=True,
)


@app.task
def work(number):
    python_jobs.work(number)


if __name__ == "__main__":
    python_jobs.produce(
        int(sys.argv[1]),
        PAUSE_SECONDS,
        lambda number: work.apply_async([number], task_id=f"job-{number}"),
    )

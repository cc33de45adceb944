"""Puts numbered jobs into an RQ queue: `rq_producer.py JOBS`."""

import os
import sys

import redis
import rq

import python_jobs

JOB_TIMEOUT_SECONDS = 5
# An RQ worker forks for each job and does 30 in a second: still be producing in the middle.
PAUSE_SECONDS = 0.025


def main():
    server = redis.Redis(port=int(os.environ["REDIS_PORT"]))
    queue = rq.Queue("compat", connection=server)

    def send(number):
        queue.enqueue(
            python_jobs.work,
            number,
            job_id=f"job-{number}",
            job_timeout=JOB_TIMEOUT_SECONDS,
            retry=rq.Retry(max=10),
        )

    python_jobs.produce(int(sys.argv[1]), PAUSE_SECONDS, send)


if __name__ == "__main__":
    main()

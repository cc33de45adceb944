"""The job that the Celery and RQ workers run, and how a producer gets one into a queue."""

import os
import time

JOB_SECONDS = 0.01
RETRY_SECONDS = 0.2


def work(number):
    """Takes a moment and records that the job was run; one short append is atomic."""
    time.sleep(JOB_SECONDS)
    with open(os.environ["DONE_FILE"], "a") as done:
        done.write(f"{number}\n")


def produce(jobs, pause, send):
    """Sends numbered jobs, each until it is known to be there, with pauses of so many seconds."""
    for number in range(jobs):
        while True:
            try:
                send(number)
                break
            # A real producer, too, would rather send a job twice than not at all.
            except Exception as error:
                print(f"retry {number}: {type(error).__name__}: {error}", flush=True)
                time.sleep(RETRY_SECONDS)
        time.sleep(pause)
    print("all added", flush=True)

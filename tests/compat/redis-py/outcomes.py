"""A pytest plugin: tells how each test ended, and keeps the tests on the server under test."""

import json
import os
import socket
from pathlib import Path
from urllib.parse import urlparse

import pytest

USUAL_PORT = 6379


def pytest_addoption(parser):
    parser.addoption("--outcomes", type=Path, help="file that gets a line of JSON for each test")
    parser.addoption("--only-names", type=Path, help="file with the names of the tests to run")


def pytest_configure(config):
    keep_on_loopback(urlparse(config.getoption("--redis-url")).port)


def keep_on_loopback(port):
    """Sends connections to the usual port to ours, and refuses those that leave the machine.

    Some tests do not use the URL they are given but connect to localhost:6379.
    """
    plain_connect = socket.socket.connect

    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            if host not in ("localhost", "::1") and not host.startswith("127."):
                raise ConnectionRefusedError(f"not on loopback: {host}")
            if address[1] == USUAL_PORT:
                address = (host, port, *address[2:])
        return plain_connect(self, address)

    socket.socket.connect = connect


def pytest_collection_modifyitems(config, items):
    path = config.getoption("--only-names")
    if path is None:
        return
    names = set(path.read_text().splitlines())
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in names])
    items[:] = [item for item in items if item.nodeid in names]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    # Set-up and clean-up matter only if something is wrong with them.
    if report.when == "call" or report.outcome != "passed":
        line = json.dumps({"name": item.nodeid, "outcome": report.outcome})
        with item.config.getoption("--outcomes").open("a") as outcomes:
            outcomes.write(line + os.linesep)

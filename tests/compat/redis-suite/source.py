"""A server and the suite that fits it, unpacked under target/compat and ready to run.

The suite comes from Debian's source packages: for the installed redis-server from the source of
the very package that is installed, for another server from the release that has its version or
the nearest before it.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from apt import OwnApt
from servers import ROOT, need_redis

HOME = ROOT / "target" / "compat" / "redis-src"
INSTALLED = "installed"

# Command -> Debian package.
TOOLS = {"tclsh": "tcl", "dpkg-source": "dpkg-dev"}

# The suite says which test it is at only to whoever waits for its end. We want to know at once:
# after a hang nothing more is said.
TESTING = 'set ::active_clients_task($fd) "(IN PROGRESS) $data"'
TESTING_TOLD = TESTING + "\n        puts \"\\[testing\\]: $data\""
FIRST_LINE = "set tcl_precision 17\n"
FIRST_LINE_UNBUFFERED = FIRST_LINE + "fconfigure stdout -buffering line\n"


@dataclass
class Source:
    """The suite's directory, and the server it is run against."""

    name: str
    tree: Path
    server: str
    # Of the server and of the suite.
    version: str


def suite(name):
    """The suite for the installed server, or for one of `scripts/servers`."""
    need_redis()
    need_tools()
    server = "redis-server" if name == INSTALLED else unpacked_server(name)
    version = installed_version() if name == INSTALLED else server_version(server)
    home = HOME / name
    tree, stamp = home / "tree", home / "version"
    if not (stamp.is_file() and stamp.read_text().startswith(f"{version} ")):
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        if name == INSTALLED:
            suite_version = unpack(download_installed(home, version), tree)
            if suite_version != server_version(server):
                sys.exit(f"the source is of {suite_version}, {server} is {server_version(server)}")
        else:
            package = name.partition("-")[0]
            suite_version = unpack(download_nearest(home, package, version), tree)
        patch(tree / "tests" / "test_helper.tcl")
        # Last, so that what was broken off is begun again.
        stamp.write_text(f"{version} {suite_version}")
    link_programs(tree / "src", server)
    return Source(name, tree, server, stamp.read_text())


def need_tools():
    packages = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if not packages:
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    try:
        subprocess.run([*sudo, "apt-get", "update", "-q"], check=True)
        install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-q", "-y"]
        subprocess.run([*sudo, *install, *packages], check=True)
    except (OSError, subprocess.CalledProcessError):
        names = " ".join(packages)
        sys.exit(f"install them first (Debian: sudo apt-get install {names}): {names}")


def unpacked_server(name):
    said = subprocess.run(
        [ROOT / "scripts" / "servers", name], stdout=subprocess.PIPE, text=True, check=False
    )
    path = said.stdout.strip()
    return path or sys.exit(f"there is no server {name}")


def installed_version():
    """The package's version; the server's own where it is not from a package."""
    query = ["dpkg-query", "--show", "--showformat", "${Version}", "redis-server"]
    found = subprocess.run(query, capture_output=True, text=True, check=False)
    return found.stdout.strip() or server_version("redis-server")


def server_version(server):
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True)
    return re.search(r"v=(\S+)", said.stdout)[1]


def download_installed(home, version):
    """The description of the source package of the installed server."""
    apt = OwnApt(home / "apt")
    # A security update may have replaced the installed version meanwhile: any will do then, as
    # long as it is the same Redis.
    found = apt.source("redis", version) or apt.source("redis")
    return found or sys.exit(f"no source of redis {version}:\n{apt.said}")


def download_nearest(home, package, version):
    """The description of the source package whose version is nearest to the server's."""
    apt = OwnApt(home / "apt", other_releases=True)
    versions = sorted(apt.versions(package), key=numbers)
    if not versions:
        sys.exit(f"no source of {package}:\n{apt.said}")
    older = [one for one in versions if numbers(one) <= numbers(version)]
    chosen = older[-1] if older else versions[0]
    return apt.source(package, chosen) or sys.exit(f"no source of {package}:\n{apt.said}")


def numbers(version):
    """Of the server: without epoch and revision of a package."""
    upstream = re.match(r"(?:\d+:)?([\d.]+)", version)[1]
    return [int(number) for number in upstream.strip(".").split(".")]


def unpack(description, tree):
    """Unpacks a source package; returns the version of the server in it."""
    # What it says, it says to packagers.
    argv = ["dpkg-source", "--no-check", "--extract", description, tree]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    header = (tree / "src" / "version.h").read_text()
    return re.search(r'(?:REDIS|VALKEY)_VERSION "(.*)"', header)[1]


def patch(helper):
    text = helper.read_text()
    for old, new in (TESTING, TESTING_TOLD), (FIRST_LINE, FIRST_LINE_UNBUFFERED):
        if text.count(old) != 1:
            sys.exit(f"{helper} is not as expected: {old!r} is not there once")
        text = text.replace(old, new)
    helper.write_text(text)


def link_programs(directory, server):
    """Puts the programs where the suite expects those that were built, by each name they go by."""
    for name in "server", "cli", "benchmark", "check-aof", "check-rdb":
        found = shutil.which(server if name == "server" else f"redis-{name}")
        for kind in "redis", "valkey":
            program = directory / f"{kind}-{name}"
            program.unlink(missing_ok=True)
            program.symlink_to(found)

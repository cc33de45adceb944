"""The source of Debian's redis package, unpacked under target/compat with the suite ready to run.

The suite must fit the server: it is taken from the source of the very package that is installed.
Machines rarely have source packages enabled, so apt gets sources and state of our own, made from
those of the machine, and nothing of the machine's is changed.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from servers import ROOT, need_redis

HOME = ROOT / "target" / "compat" / "redis-src"
APT = Path("/etc/apt")

# Command -> Debian package.
TOOLS = {"tclsh": "tcl", "dpkg-source": "dpkg-dev"}

# The suite says which test it is at only to whoever waits for its end. We want to know at once:
# after a hang nothing more is said.
TESTING = 'set ::active_clients_task($fd) "(IN PROGRESS) $data"'
TESTING_TOLD = TESTING + "\n        puts \"\\[testing\\]: $data\""
FIRST_LINE = "package require Tcl 8.5\n"
FIRST_LINE_UNBUFFERED = FIRST_LINE + "fconfigure stdout -buffering line\n"


def suite():
    """The directory of the suite, and the version of the package it is from."""
    need_redis()
    need_tools()
    version = installed_version()
    tree, stamp = HOME / "tree", HOME / "version"
    if not (stamp.is_file() and stamp.read_text() == version):
        shutil.rmtree(HOME, ignore_errors=True)
        HOME.mkdir(parents=True)
        unpack(download(version), tree)
        patch(tree / "tests" / "test_helper.tcl")
        # Last, so that what was broken off is begun again.
        stamp.write_text(version)
    link_programs(tree / "src")
    return tree, version


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


def installed_version():
    """The package's version; the server's own where it is not from a package."""
    query = ["dpkg-query", "--show", "--showformat", "${Version}", "redis-server"]
    found = subprocess.run(query, capture_output=True, text=True, check=False)
    return found.stdout.strip() or server_version()


def server_version():
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True)
    return re.search(r"v=(\S+)", said.stdout)[1]


def download(version):
    """The source package's description file, its archives beside it."""
    apt = OwnApt(HOME / "apt")
    apt.get("update")
    # A security update may have replaced the installed version meanwhile: any will do then, as
    # long as it is the same Redis, which `unpack` checks.
    for wanted in f"redis={version}", "redis":
        last = apt.get("source", "--download-only", wanted)
        found = list(apt.directory.glob("redis_*.dsc"))
        if found:
            return found[0]
    sys.exit(f"no source of redis {version}:\n{last}")


class OwnApt:
    """apt-get with the machine's sources as source packages, and directories of its own."""

    def __init__(self, directory):
        self.directory = directory
        (directory / "lists" / "partial").mkdir(parents=True)
        (directory / "cache" / "archives" / "partial").mkdir(parents=True)
        (directory / "sources").mkdir()
        for path in [APT / "sources.list", *(APT / "sources.list.d").glob("*")]:
            if path.is_file() and path.suffix in (".list", ".sources"):
                text = as_source_packages(path.read_text(), path.suffix)
                (directory / "sources" / path.name).write_text(text)

    def get(self, *arguments):
        """Runs it and returns what it said; a source of the machine that fails is no failure."""
        options = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": self.directory / "sources",
            "Dir::State::lists": self.directory / "lists",
            "Dir::Cache": self.directory / "cache",
        }
        if os.geteuid() == 0:
            # The user it downloads as elsewhere may not read a checkout.
            options["APT::Sandbox::User"] = "root"
        argv = ["apt-get", "-q"]
        for name, value in options.items():
            argv += ["-o", f"{name}={value}"]
        done = subprocess.run(
            [*argv, *arguments],
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout


def as_source_packages(text, suffix):
    """A list of sources, with source packages in place of binary ones."""
    if suffix == ".sources":
        return re.sub(r"(?m)^Types:.*$", "Types: deb-src", text)
    lines = [re.sub(r"^\s*deb\s", "deb-src ", line) for line in text.splitlines()]
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


def unpack(description, tree):
    # What it says, it says to packagers.
    argv = ["dpkg-source", "--no-check", "--extract", description, tree]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    header = (tree / "src" / "version.h").read_text()
    version = re.search(r'REDIS_VERSION "(.*)"', header)[1]
    if version != server_version():
        sys.exit(f"the source is of Redis {version}, redis-server is {server_version()}")


def patch(helper):
    text = helper.read_text()
    for old, new in (TESTING, TESTING_TOLD), (FIRST_LINE, FIRST_LINE_UNBUFFERED):
        if text.count(old) != 1:
            sys.exit(f"{helper} is not as expected: {old!r} is not there once")
        text = text.replace(old, new)
    helper.write_text(text)


def link_programs(directory):
    """Puts the installed programs where the suite expects those that were built."""
    for name in "redis-server", "redis-cli", "redis-benchmark", "redis-check-aof", "redis-check-rdb":
        program = directory / name
        program.unlink(missing_ok=True)
        program.symlink_to(shutil.which(name))

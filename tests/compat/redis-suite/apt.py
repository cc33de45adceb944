"""Source packages of Debian, by apt with sources and state of our own.

Machines rarely have source packages enabled: the sources are made from those of the machine, and
nothing of the machine's is changed.
"""

import os
import platform
import re
import subprocess
from pathlib import Path

ETC = Path("/etc/apt")
# What Debian calls its releases whatever their names.
OTHER_RELEASES = ["stable", "testing", "unstable"]


class OwnApt:
    """apt-get with source packages of the machine's release, and of others where wanted."""

    def __init__(self, directory, other_releases=False):
        self.directory = directory
        (directory / "lists" / "partial").mkdir(parents=True)
        (directory / "cache" / "archives" / "partial").mkdir(parents=True)
        (directory / "sources").mkdir()
        transform = of_other_releases if other_releases else as_source_packages
        for path in [ETC / "sources.list", *(ETC / "sources.list.d").glob("*")]:
            if path.is_file() and path.suffix in (".list", ".sources"):
                text = transform(path.read_text(), path.suffix)
                (directory / "sources" / path.name).write_text(text)
        self.said = self.run("apt-get", "update")

    def versions(self, package):
        """Those that there are of a source package."""
        said = self.run("apt-cache", "showsrc", package)
        return re.findall(r"(?m)^Version: (\S+)$", said)

    def source(self, package, version=None):
        """Downloads a source package; returns its description, its archives beside it, or None."""
        wanted = f"{package}={version}" if version else package
        self.said += self.run("apt-get", "source", "--download-only", wanted)
        return next(self.directory.glob(f"{package}_*.dsc"), None)

    def run(self, *argv):
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
        program, *arguments = argv
        settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        done = subprocess.run(
            [program, "-q", *settings, *arguments],
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
    return joined(re.sub(r"^\s*deb\s", "deb-src ", line) for line in text.splitlines())


def of_other_releases(text, suffix):
    """The same, with the other releases in place of the machine's, where its archive is named."""
    own = re.escape(platform.freedesktop_os_release().get("VERSION_CODENAME", ""))
    text = as_source_packages(text, suffix)
    if suffix == ".sources":
        named = rf"(?m)^Suites:(?=.*\s{own}(\s|$)).*$"
        stanzas = [part for part in text.split("\n\n") if re.search(named, part)]
        releases = "Suites: " + " ".join(OTHER_RELEASES)
        return "\n\n".join(re.sub(named, releases, part) for part in stanzas)
    line = re.compile(rf"(deb-src\s+(?:\[.*?\]\s+)?\S+)\s+{own}(\s.*)")
    found = filter(None, map(line.fullmatch, text.splitlines()))
    return joined(f"{m[1]} {release}{m[2]}" for m in found for release in OTHER_RELEASES)


def joined(lines):
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))

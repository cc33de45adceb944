"""What the runs download: pinned packages, unpacked and installed under target/compat."""

import shutil
import subprocess
import sys
from pathlib import Path

from servers import ROOT

DOWNLOADS = ROOT / "target" / "compat"


def work_directory(name):
    """An empty directory for what one run leaves behind: data, logs, outcomes."""
    directory = DOWNLOADS / name / "work"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def once(directory, pins, fill):
    """Calls `fill(directory)` on a new directory unless it was filled for the same pins before."""
    directory = Path(directory)
    stamp = directory / ".pins"
    wanted = "\n".join(pins)
    if stamp.is_file() and stamp.read_text() == wanted:
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    fill(directory)
    # Last, so that a download that was broken off is begun again.
    stamp.write_text(wanted)
    return directory


def venv(directory, requirements):
    """The Python of a virtual environment with these requirements."""

    def fill(target):
        subprocess.run([sys.executable, "-m", "venv", target], check=True)
        pip = [target / "bin" / "python", "-m", "pip"]
        subprocess.run([*pip, "install", "--quiet", *requirements], check=True)

    return once(directory, requirements, fill) / "bin" / "python"


def sdist(directory, name, version):
    """The unpacked source distribution of a package, which for some carries its tests."""
    pin = f"{name}=={version}"

    def fill(target):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--no-binary", name, pin, "--dest", target], check=True)
        subprocess.run(["tar", "-xzf", next(target.glob("*.tar.gz")), "-C", target], check=True)

    return once(directory, [pin], fill) / f"{name}-{version}"


def npm(directory, packages):
    """A directory with these packages in its node_modules."""

    def fill(target):
        (target / "package.json").write_text('{"private": true}\n')
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
        subprocess.run([*command, *packages], cwd=target, check=True)

    return once(directory, packages, fill)


def need_node():
    if shutil.which("node") is None or shutil.which("npm") is None:
        sys.exit("node and npm are missing: install them (Debian: apt-get install nodejs npm)")

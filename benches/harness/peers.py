"""The proxies that are compared: how each is configured, started, logged in to.

Each has one worker in front of the same redis-server. A peer is set up as its documentation does it
for one plain server, with limits that let the scenarios through.
"""

import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

from .processes import LOAD_CORE, PROXY_CORE, Failed, free_port

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ELIKA = TARGET / "release/elika-proxy"
STATIC = TARGET / "static/elika-proxy"

# The static router's only tenant, and a user of the backend.
TENANT = "yigF5wkxq44"
USER, PASSWORD = "bench", "benchpw"
USERS = [USER, "ann", "bob"]

# Clients that each must be able to hold; a TCP proxy needs two open files for each.
FILES_MAX = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
CLIENTS_MAX = min(12_000, FILES_MAX // 2 - 500)

TWEMPROXY = """\
bench:
  listen: 127.0.0.1:{port}
  hash: fnv1a_64
  distribution: ketama
  redis: true
  timeout: 30000
  server_connections: 1
  servers:
   - 127.0.0.1:{backend}:1
"""

HAPROXY = """\
global
  nbthread 1
  maxconn {clients}
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  maxconn {clients}
frontend bench
  bind 127.0.0.1:{port}
  default_backend redis
backend redis
  server redis 127.0.0.1:{backend}
"""

ENVOY = """\
static_resources:
  listeners:
  - name: bench
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.redis_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy
          stat_prefix: bench
          settings: {{op_timeout: 30s}}
          prefix_routes: {{catch_all_route: {{cluster: redis}}}}
  clusters:
  - name: redis
    type: STATIC
    load_assignment:
      cluster_name: redis
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {backend}}}}}}}
"""

PREDIXY = """\
Name bench
Bind 127.0.0.1:{port}
WorkerThreads 1
ClientTimeout 3600
Authority {{
    Auth {{
        Mode write
    }}
}}
StandaloneServerPool {{
    Databases 16
    Hash crc16
    Distribution modula
    RefreshMethod fixed
    Group redis {{
        + 127.0.0.1:{backend}
    }}
}}
"""


ENVOY_WORDS = ["--concurrency", "1", "-l", "warn", "--use-dynamic-base-id"]
TWEMPROXY_WORDS = ["-c", "{config}", "-s", "{stats}", "-a", "127.0.0.1", "-m"]
# Where the size of its buffers matters, both what its documentation recommends for many connections
# and what it does if it is not told.
TWEMPROXY_16K = ("v16k-c50", "v64k-c50", "v1m-c4", "idle")
# Where it matters that a program brings its libraries along.
STATIC_IN = ("start-up",)


class Peer:
    """One way to Redis. `words` makes its command line, after its configuration was written."""

    def __init__(self, name, program, template=None, words=(), version=(), login=None):
        self.name, self.template = name, template
        # Whole, as it does not start where the harness does.
        found = shutil.which(program)
        self.program = found and os.path.abspath(found)
        self.words, self.version_words, self.login = words, version, login
        # Whether it passes a login and a database on.
        self.knows_users = False
        # The names of the scenarios it is for, if not for all.
        self.only_in = None

    def installed(self):
        return bool(self.program)

    def version(self):
        """The version it tells about itself."""
        words = [self.program, *self.version_words]
        try:
            told = subprocess.run(words, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            return "unknown"
        # Envoy begins with where it lies.
        said = re.sub(r"^\s*/\S+", "", told.stdout + told.stderr)
        found = re.search(r"\d+\.\d+(\.\d+)?", said)
        return found[0] if found else "unknown"

    def command_line(self, folder, port, backend):
        # Envoy goes by the name, the others do not mind.
        config = folder / f"{self.name}.yaml"
        if self.template:
            text = self.template.format(port=port, backend=backend, clients=CLIENTS_MAX)
            config.write_text(text)
        names = {"config": config, "port": port, "backend": backend, "stats": free_port()}
        return [self.program, *(word.format(**names) for word in self.words)]

    def start(self, processes, backend, wait=True):
        port = free_port()
        words = self.command_line(processes.folder, port, backend.port)
        if not wait:
            return processes.start(self.name, words, port)
        running = processes.serve(self.name, words, port)
        # What was found in the path may be a script that only calls it.
        self.program = os.readlink(f"/proc/{running.pid}/exe")
        return running


class Direct(Peer):
    """No proxy: the backend itself, which is running already."""

    def __init__(self):
        super().__init__("direct", "redis-server", version=["--version"], login=(USER, PASSWORD))
        self.knows_users = True

    def start(self, processes, backend, wait=True):
        return backend


class Elika(Peer):
    """The proxy of this project; everything on that is on by default, metrics too."""

    def __init__(self, program, name="elika"):
        words = ["--bind=127.0.0.1", "--port={port}", "--service-port=0", "--log.level=warn"]
        words += [f"--limit.clients={CLIENTS_MAX}"]
        super().__init__(name, program, words=words, version=["--version"])
        self.login = (f"{TENANT}.{USER}", PASSWORD)
        self.knows_users = True

    def command_line(self, folder, port, backend):
        words = super().command_line(folder, port, backend)
        return [*words, "--core-num=1", f"--router.static-be=127.0.0.1:{backend}"]

    def start_with(self, processes, words, cores=(PROXY_CORE,)):
        """With options of a scenario's own."""
        port = free_port()
        line = super().command_line(processes.folder, port, 0)
        return processes.serve(self.name, [*line, *words], port, cores)


def all_peers(elika=ELIKA, predixy=None):
    """All that are known, Elika first; those that are not installed, too."""
    predixy = predixy or os.environ.get("PREDIXY") or "predixy"
    large_buffers = Peer("twemproxy-16k", "nutcracker", TWEMPROXY, [*TWEMPROXY_WORDS, "16384"])
    large_buffers.only_in = TWEMPROXY_16K
    static = Elika(STATIC, "elika-static")
    static.only_in = STATIC_IN
    return [
        Elika(elika),
        static,
        Peer("predixy", predixy, PREDIXY, ["{config}"], ["--version"]),
        Peer("twemproxy", "nutcracker", TWEMPROXY, [*TWEMPROXY_WORDS, "512"], ["--version"]),
        large_buffers,
        Peer("envoy", "envoy", ENVOY, [*ENVOY_WORDS, "-c", "{config}"], ["--version"]),
        Peer("haproxy", "haproxy", HAPROXY, ["-db", "-f", "{config}"], ["-v"]),
        Direct(),
    ]


def start_backend(processes):
    """A redis-server without persistence, with the users of the scenarios."""
    if not shutil.which("redis-server"):
        raise Failed("redis-server is not installed")
    port = free_port()
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    words += ["--appendonly", "no", "--maxclients", str(CLIENTS_MAX + 100), "--dir", "."]
    for user in USERS:
        words += ["--user", user, "on", f">{PASSWORD}", "~*", "&*", "+@all"]
    return processes.serve("redis", words, port, (LOAD_CORE,))

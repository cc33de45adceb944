"""What a scenario is, and the CPU that an operation costs in it."""

from .processes import Failed


class Scenario:
    """A load on one proxy, and the figures that come of it.

    `measure(bench, peer)` starts what it needs and returns the figures. `load` is the load of
    redis-benchmark, if it is one; system calls are counted in a second run of it. `users` says
    that it logs in several users, `proxies` and `elika` that it is for these only; `rounds` bounds
    how often a long one is measured.
    """

    def __init__(self, name, title, measure, load=None, rounds=99, **kinds):
        self.name, self.title, self.measure, self.load = name, title, measure, load
        self.rounds, self.kinds = rounds, kinds

    def suits(self, peer):
        if peer.only_in and self.name not in peer.only_in:
            return False
        suitable = {
            "users": peer.knows_users,
            "proxies": peer.name != "direct",
            "elika": peer.name == "elika",
        }
        return all(suitable[kind] for kind, wanted in self.kinds.items() if wanted)


def with_cpu(bench, running, load):
    """Runs `load`, which returns figures with `operations`; adds what each cost, in µs."""
    before, backend_before = running.cpu(), sum(bench.backend.cpu())
    figures = load()
    count = figures.pop("operations")
    if not count:
        raise Failed("no operation was answered")
    user, system = (b - a for a, b in zip(before, running.cpu()))
    backend = sum(bench.backend.cpu()) - backend_before
    return {
        "cpu": (user + system) / count * 1e6,
        "user": user / count * 1e6,
        "system": system / count * 1e6,
        "backend": backend / count * 1e6,
        **figures,
        "memory": running.memory(),
    }

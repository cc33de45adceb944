"""What passes direct and not through the proxy, less what is known to be impossible."""

import re
import sys
from dataclasses import dataclass, field

from transcript import OK

# More than these would no longer be exceptions.
EXCEPTIONS_MAX = 15

ENTRY = re.compile(r"\[(\S+)\] (.+)")


@dataclass
class Verdict:
    """About one unit."""

    passed: list = field(default_factory=list)
    # Name -> why.
    failed: dict = field(default_factory=dict)
    excepted: list = field(default_factory=list)
    # Not counted: fail direct as well.
    fail_direct: dict = field(default_factory=dict)
    complaints: list = field(default_factory=list)


def exceptions(path):
    """The listed exceptions: pairs of unit and test, each with its reason.

    An entry is a line `[unit] name of the test` and indented lines with the reason.
    """
    listed, entry = {}, None
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line[0].isspace():
            listed[entry] = f"{listed[entry]} {line.strip()}".strip()
            continue
        head = ENTRY.fullmatch(line)
        if not head:
            sys.exit(f"{path}: {line!r} is neither an entry nor an indented reason")
        entry = head[1], head[2]
        listed[entry] = ""
    for (unit, name), reason in listed.items():
        if not reason:
            sys.exit(f"{path}: [{unit}] {name} has no reason")
    if len(listed) > EXCEPTIONS_MAX:
        sys.exit(f"{path}: {len(listed)} exceptions, more than {EXCEPTIONS_MAX}")
    return listed


def compare(unit, direct, through, listed):
    """The verdict on one unit: `direct` and `through` are outcomes of one or more runs each."""
    verdict = Verdict()
    names = dict.fromkeys(name for outcome in direct for name in outcome.tests)
    for name in names:
        trouble = always_fails(name, through, direct[0])
        not_direct = ever_fails(name, direct)
        if not_direct:
            verdict.fail_direct[name] = not_direct
        elif (unit, name) in listed:
            verdict.excepted.append(name)
            if not trouble:
                verdict.complaints.append(f"listed as an exception, and passes: {name}")
        elif trouble:
            verdict.failed[name] = trouble
        else:
            verdict.passed.append(name)
    for where, name in listed:
        if where == unit and name not in verdict.excepted:
            verdict.complaints.append(f"listed as an exception, but does not pass direct: {name}")
    return verdict


def ever_fails(name, outcomes):
    """Why, of the first outcome in which it does."""
    troubles = (trouble(name, outcome) for outcome in outcomes)
    return next(filter(None, troubles), None)


def always_fails(name, outcomes, direct):
    """Why, of the last outcome, if the test passes in none."""
    times = direct.tests[name].times if name in direct.tests else 1
    troubles = [trouble(name, outcome, times) for outcome in outcomes]
    return troubles[-1] if all(troubles) else None


def trouble(name, outcome, times=1):
    """Why the test does not pass; None if it does."""
    test = outcome.tests.get(name)
    if test is None:
        return "did not run"
    if test.status != OK:
        return f"{test.status}: {test.text}"
    if test.times < times:
        return f"ran {test.times} times, {times} direct"
    return None

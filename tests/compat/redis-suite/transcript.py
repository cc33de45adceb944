"""What the suite printed about one unit, read."""

import re
from dataclasses import dataclass, field

OK, FAILED, BROKEN, HUNG = "ok", "failed", "broken", "hung"
# From harmless to grave: of a name that several tests share, the gravest counts.
STATUSES = [OK, FAILED, BROKEN, HUNG]

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ENTRY = re.compile(
    r"\[(?:\d+/\d+ )?(ok|err|ignore|skip|testing|exception|TIMEOUT|done|ready)\]: (.*)"
)
OK_TEXT = re.compile(r"(.*) \(\d+ ms\)", re.DOTALL)
FAILED_IN = re.compile(r"(.*) in tests/\S+\.tcl")
TRACE = re.compile(r"\n    (?:while executing|invoked from within)\n")


@dataclass
class Test:
    """What became of the tests of one name."""

    status: str = OK
    times: int = 0
    text: str = ""

    def add(self, status, text=""):
        self.times += 1
        if STATUSES.index(status) > STATUSES.index(self.status):
            self.status, self.text = status, text


@dataclass
class Transcript:
    # In the order of their first end.
    tests: dict = field(default_factory=dict)
    # Errors outside of any test: each has cost an unknown number of tests.
    trouble: list = field(default_factory=list)
    complete: bool = False

    def end(self, name, status, text=""):
        self.tests.setdefault(name, Test()).add(status, text)


def read(output):
    """The transcript of one run of the suite on one unit."""
    transcript, running = Transcript(), None
    for kind, text in entries(COLOUR.sub("", output)):
        if kind == "testing":
            running = text
        elif kind == "ok":
            transcript.end(OK_TEXT.fullmatch(text)[1], OK)
            running = None
        elif kind == "err":
            read_error(transcript, text)
            running = None
        elif kind in ("exception", "TIMEOUT", "silence"):
            read_abort(transcript, kind, text, running)
            break
        elif kind == "done":
            transcript.complete = True
            break
    return transcript


def entries(output):
    """Pairs of kind and text; many texts have several lines. Silence is the end of all output."""
    kind, lines = None, []
    for line in output.splitlines():
        entry = ENTRY.match(line)
        if entry:
            if kind:
                yield kind, "\n".join(lines).rstrip()
            kind, lines = entry[1], [entry[2]]
        else:
            lines.append(line)
    if kind:
        yield kind, "\n".join(lines).rstrip()
    yield "silence", ""


def read_error(transcript, text):
    head, _, details = text.partition("\n")
    name = FAILED_IN.fullmatch(head)
    if not name:
        # A block of tests that ended early; the suite cuts ten letters off the head.
        transcript.trouble.append(cause(details or text))
    elif TRACE.search(details):
        transcript.end(name[1], BROKEN, cause(details))
    else:
        transcript.end(name[1], FAILED, details)


def read_abort(transcript, kind, text, running):
    if kind == "exception":
        status, text = BROKEN, cause(text)
    else:
        status, text = HUNG, "no end of it"
    if running is None:
        transcript.trouble.append(text)
    else:
        transcript.end(running, status, text)


def cause(text):
    """The message at the head of a stack trace."""
    return TRACE.split(text)[0].strip().splitlines()[-1] if text.strip() else text

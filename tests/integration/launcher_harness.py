"""A launcher over small dummy parts, run as a process of its own by test_launcher.

Usage: launcher_harness.py FOLDER PART..., a part being NAME=KIND[=STAGE]. Each writes its name to
FOLDER/order when it starts and when it stops.
"""

import os
import sys
from pathlib import Path

from launcher import sessions
from launcher.child import Endpoint, Part
from launcher.guard import Guard
from launcher.stop_request import StopRequest
from launcher.supervisor import STOP_LIMIT_S, StartFailed, Stopped, Supervisor
from launcher.terminal import Terminal

COMMON = """
import os, signal, subprocess, sys, time
folder, name = sys.argv[1:3]
def note(what):
    with open(folder + "/order", "a") as stream:
        stream.write(what + " " + name + "\\n")
def leave(*_):
    note("stop")
    sys.exit(0)
def ready():
    note("start")
    with open(folder + "/" + name + ".ready", "w") as stream:
        stream.write(str(os.getpid()))
signal.signal(signal.SIGTERM, leave)
"""
KINDS = {
    "good": "ready()\nprint('all is well', flush=True)\nsignal.pause()",
    "loud": "ready()\nprint('2026 WARNING slow', flush=True)\nprint('info', flush=True)\n"
    "signal.pause()",
    "failing": "print('the disk is full', flush=True)\nsys.exit(3)",
    "silent": "signal.pause()",
    "stubborn": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nready()\n"
    "while True: signal.pause()",
    "family": "subprocess.Popen([sys.executable, '-c', 'import signal; "
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()'])\n"
    "ready()\nwhile True: signal.pause()",
    "mortal": "ready()\nprint('out of luck', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)",
}


def dummy(folder: Path, name: str, kind: str, stage: str = "") -> Part:
    """A part of the kind, ready once its file exists."""
    mark = folder / f"{name}.ready"
    command = (sys.executable, "-c", COMMON + KINDS[kind], str(folder), name)
    endpoint = Endpoint(name, str(mark), mark.exists)
    return Part(name, command, (endpoint,), start_limit_s=10, stage=stage, reserve_s=0.2)


def run(folder: Path, described: list[str]) -> int:
    """Exit status as the launcher's own."""
    stop = StopRequest()
    stop.listen()
    roster = folder / "processes.json"
    sessions.write_roster(roster, [])
    guard = Guard(roster)
    supervisor = Supervisor(
        terminal=Terminal(sys.stdout),
        logs=folder,
        roster=roster,
        environment={},
        stop=stop,
        stop_limit_s=float(os.environ.get("STOP_LIMIT_S", STOP_LIMIT_S)),
    )
    try:
        for text in described:
            supervisor.start(dummy(folder, *text.split("=")))
        sys.stdout.write("everything is up\n")
        sys.stdout.flush()
        while True:
            supervisor.watch()
            supervisor.pause(0.05)
    except Stopped:
        return 0
    except StartFailed as error:
        sys.stdout.write(f"failed: {error}\n")
        return 1
    finally:
        supervisor.stop()
        guard.dismiss()


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))

"""The operator's command line, for a deployment: `trading-engine VERB`."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from command_line import options
from command_line.connection import Connection, NoAnswer, RefusedByServer, UsageFault
from command_line.verbs import NO_ANSWER, REFUSED, USAGE, VERBS, Said


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was asked; the exit status: 0, 1 refused, 2 usage, 3 no answer, 4 attention."""
    asked = options.parse(arguments)
    as_json = getattr(asked, "json", False)
    try:
        said = _do(asked)
    except UsageFault as fault:
        return _fault(str(fault), USAGE)
    except RefusedByServer as refusal:
        return _fault(str(refusal), REFUSED, refusal.document if as_json else None)
    except NoAnswer as silence:
        return _fault(str(silence), NO_ANSWER)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return _fault("the answer is not what this version understands", NO_ANSWER)
    except KeyboardInterrupt:
        return 130
    text = json.dumps(said.document) if as_json else "\n".join(said.lines)
    return said.code if _print(text) else REFUSED


def _do(asked: Namespace) -> Said:
    if asked.verb == "config":
        # the engine's settings take a second to import, which POST /halt must not wait for
        from command_line import configuration  # noqa: PLC0415

        return configuration.check(os.environ, asked.file)
    api = Connection.from_environment(
        os.environ, getattr(asked, "url", None), getattr(asked, "key_file", None)
    )
    return VERBS[asked.verb](api, asked)


def _print(text: str) -> bool:
    """Whether somebody took it: `trading-engine orders | head` closes the pipe."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _fault(message: str, code: int, document: object = None) -> int:
    if document is not None:
        _print(json.dumps(document))
    sys.stderr.write(f"trading-engine: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

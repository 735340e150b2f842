"""The kill switch and its release: the two controls that call a service while they answer."""

from __future__ import annotations

from functools import partial

from engine.control.desk import Desk
from engine.control.documents import Confirmation, Halted, Resumed
from engine.control.operator_documents import Reduced
from engine.control.parallel import Outcome, in_parallel
from engine.domain.messages import HaltAnswer
from engine.domain.model import TradingState
from engine.errors import LedgerUnavailable, Refused, ServiceError
from engine.telemetry import get_logger

log = get_logger(__name__)

HALT_S = 1.8  # of the 2 s in which POST /halt answers; the rest is for the audit
RESUME_S = 5.0
RANK = {TradingState.HALTED: 0, TradingState.REDUCING: 1, TradingState.ACTIVE: 2}


def halt(desk: Desk, reason: str, actor: str, *, cancel_open: bool) -> Halted:
    """Halt the ledger and the execution service side by side; acts on every call.

    Raises LedgerUnavailable when neither confirmed in time. Either may still come later, and
    the watchdog repeats the one that did not.
    """
    with desk.switch.halting():
        outcomes = in_parallel(
            {
                "ledger": partial(_halt_ledger, desk, reason, actor),
                "execution": partial(desk.engine.execution.halt, reason, cancel_open=cancel_open),
            },
            HALT_S,
        )
    for name, outcome in outcomes.items():
        if not outcome.ok:
            log.error("halt_unconfirmed", part=name, detail=str(outcome.error))
    if not any(outcome.ok for outcome in outcomes.values()):
        raise LedgerUnavailable(
            f"nothing was halted: ledger: {outcomes['ledger'].error}; {outcomes['execution'].error}"
        )
    log.warning("halted", reason=reason, actor=actor)
    answer = outcomes["execution"].value
    return Halted(
        trading_state=TradingState.HALTED,
        ledger=_confirmation(outcomes["ledger"]),
        execution=_confirmation(outcomes["execution"]),
        cancelled=answer.cancelled if isinstance(answer, HaltAnswer) else (),
        failed=answer.failed if isinstance(answer, HaltAnswer) else (),
    )


def reduce(desk: Desk, reason: str, actor: str) -> Reduced:
    """Let only orders that shrink a position leave; raises Refused where that would raise it."""
    states = desk.engine.ledger.state
    with desk.switch.writing:
        before = states.read()
        if RANK[before.operator] < RANK[TradingState.REDUCING]:
            raise Refused("the trading state is HALTED; POST /resume raises it")
        changed = before.operator is not TradingState.REDUCING
        state = before
        if changed:
            now = desk.engine.clock.now()
            state = states.set_operator(TradingState.REDUCING, reason, actor, now)
    if changed:
        log.warning("reduced", reason=reason, actor=actor)
    return Reduced(trading_state=state.effective, operator=state.operator, changed=changed)


def resume(desk: Desk, target: TradingState, reason: str, actor: str) -> Resumed:
    """Raise the trading state once reconciliation is clean; undoes both halves of a halt.

    Raises Refused with what is not clean, when the state would be lowered, or when a halt came
    in between.
    """
    halts = desk.switch.halts
    effective = desk.engine.ledger.state.read().effective
    if RANK[target] < RANK[effective]:
        raise Refused(f"the trading state is {effective.value}; resuming only raises it")
    outcome = in_parallel({"resume": partial(_raise, desk, target, reason, actor, halts)}, RESUME_S)
    result = outcome["resume"]
    if isinstance(result.value, Resumed):
        log.warning("resumed", state=result.value.trading_state.value, reason=reason, actor=actor)
        return result.value
    if isinstance(result.error, TimeoutError):
        # What still runs must not raise the state after a refusal was answered.
        desk.switch.note_halt()
        raise Refused("not resumed", [f"reconciliation: {result.error}"])
    raise result.error or Refused("not resumed")


def _halt_ledger(desk: Desk, reason: str, actor: str) -> None:
    with desk.switch.writing:
        desk.engine.ledger.state.set_operator(
            TradingState.HALTED, reason, actor, desk.engine.clock.now()
        )


def _raise(desk: Desk, target: TradingState, reason: str, actor: str, halts: int) -> Resumed:
    found = desk.reconcile(desk.engine, wait_s=RESUME_S / 2)
    if not found.clean:
        raise Refused("reconciliation is not clean", list(found.problems))
    try:
        desk.switch.require(halts)
        desk.engine.execution.resume(reason)
    except ServiceError as error:
        raise Refused("the execution service did not resume", [str(error)]) from error
    try:
        resumed = _raise_ledger(desk, target, reason, actor, halts)
    except (LedgerUnavailable, Refused):
        _halt_again(desk)
        raise
    _keep_resumed(desk, reason, halts)
    return resumed


def _keep_resumed(desk: Desk, reason: str, halts: int) -> None:
    """The watchdog may have repeated the old halt just before the ledger was written."""
    try:
        if desk.engine.execution.fence().halted:
            desk.switch.require(halts)
            desk.engine.execution.resume(reason)
    except (ServiceError, Refused) as error:
        log.warning("resume_unconfirmed", part="execution", detail=str(error))


def _halt_again(desk: Desk) -> None:
    """The ledger stays halted, so must the execution service; in doubt it is halted too."""
    try:
        is_halted = desk.engine.ledger.state.read().effective is TradingState.HALTED
    except LedgerUnavailable:
        is_halted = True
    if is_halted:
        desk.engine.execution.halt("the resume was not completed", cancel_open=False)


def _raise_ledger(desk: Desk, target: TradingState, reason: str, actor: str, halts: int) -> Resumed:
    states = desk.engine.ledger.state
    with desk.switch.writing:
        desk.switch.require(halts)
        now = desk.engine.clock.now()
        states.clear_latches(actor, now)
        state = states.set_operator(target, reason, actor, now)
    return Resumed(trading_state=state.effective, operator=state.operator, derived=state.derived)


def _confirmation(outcome: Outcome) -> Confirmation:
    return "confirmed" if outcome.ok else "unconfirmed"

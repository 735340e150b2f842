"""What a campaign must have seen, or it proves less than it seems to."""

PLACES = frozenset(f"place {name}" for name in ("B0", "B1", "B2", "B3", "B5", "B6", "B7", "C1"))
STEPS = frozenset(
    {
        "nothing -> RESERVED",
        "RESERVED -> SENDING",
        "SENDING -> ACCEPTED",
        "SENDING -> CANCELED",
        "SENDING -> FILLED",
        "SENDING -> REJECTED",
        "PARTIAL -> FILLED",
    }
)
ENDS = frozenset({"cycle COMPLETED", "cycle DEGRADED", "cycle FAILED", "cycle SKIPPED"})
TROUBLE = frozenset(
    f"fault {kind}"
    for kind in (
        "clock_skew",
        "duplicate",
        "freeze",
        "freeze_sender",
        "halt",
        "kill",
        "kill_at_place",
        "kill_sender",
        "late_message",
        "late_request",
        "lost_message",
        "lost_reply",
        "lost_request",
        "node",
        "outage",
        "refused",
        "slow",
    )
)
RARE = frozenset(
    {
        "RESERVED -> VOIDED",
        "SENDING -> UNKNOWN",
        "SENDING -> VOIDED",
        "UNKNOWN -> SENDING",
        "UNKNOWN -> VOIDED",
        "cycle ABORTED",
        "execution refuses submit: fenced",
        "fault clock_jump",
        "fault double_start",
        "fault fence_race",
        "fault foreign_order",
        "fault ledger_busy",
        "fault no_price",
        "fault redis",
        "fault second_schedule",
        "fault throttled",
        "foreign order",
        "halt: ledger True, execution False",
        "latched foreign_order",
        "nothing -> CANCELED",
        "repair allocate: every batch has reported",
        "repair finish: past its deadline",
        "repair send_batches: nobody works on them",
        "repair send_orders: nobody sent them",
        "repair start: nobody planned it",
    }
)
QUICKLY = PLACES | STEPS | ENDS | TROUBLE  # by sixteen runs
EXPECTED = QUICKLY | RARE  # by some hundreds

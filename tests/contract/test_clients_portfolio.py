"""The portfolio client: what it sends, what it takes, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from engine.clients.portfolio import HttpPortfolio
from engine.domain.model import (
    Fill,
    FillEvent,
    Side,
)
from engine.errors import (
    BadPayload,
    ServiceRejected,
)
from tests.clients_kit import make_transport
from tests.faulty_server import (
    Asked,
    FaultyServer,
    Reply,
    answer,
    problem,
)

AS_OF = "2025-11-22T12:00:00Z"
HELD = {
    "symbol": "BTC/USD",
    "quantity": "2",
    "average_price": "90",
    "market_price": "100",
    "strategy": None,
    "opened_at": AS_OF,
    "version": 5,
}
ACCOUNT: dict[str, Any] = {
    "account": "paper",
    "currency": "USD",
    "cash": "800",
    "equity": "1000",
    "peak_equity": "1000",
    "day_start_equity": "1000",
    "realized_pnl": "0",
    "positions": [HELD],
    "applied_seq": 7,
    "as_of": AS_OF,
}
FILL = Fill(
    seq=3,
    fill_id="f-3",
    client_order_id="o-1",
    symbol="BTC/USD",
    side=Side.BUY,
    quantity=Decimal("0.0000005"),
    price=Decimal("1.20E+5"),
    fee=Decimal(0),
    filled_at=datetime(2025, 11, 22, tzinfo=UTC),
    strategy="sma",
)


def portfolio(server: FaultyServer) -> HttpPortfolio:
    return HttpPortfolio(make_transport(server.url, service="portfolio"), "paper")


class TestPortfolio:
    """Port Portfolio."""

    def test_the_account_is_read(self) -> None:
        with FaultyServer(answer(ACCOUNT)) as server:
            snapshot = portfolio(server).snapshot()
        assert snapshot.equity == Decimal(1000)
        assert snapshot.positions[0].value == Decimal(200)

    @pytest.mark.parametrize(
        "change",
        [
            {"equity": "1000.02"},
            {"positions": [{**HELD, "quantity": "-2"}], "equity": "600"},
            {"positions": [HELD, HELD], "equity": "1200"},
            {"positions": [{**HELD, "market_price": "-100"}], "equity": "600"},
            {"positions": [{**HELD, "version": 8}]},
        ],
        ids=str,
    )
    def test_an_account_that_contradicts_itself_says_so(self, change: dict[str, Any]) -> None:
        with (
            FaultyServer(answer({**ACCOUNT, **change})) as server,
            pytest.raises(BadPayload) as raised,
        ):
            portfolio(server).snapshot()
        assert raised.value.detail.startswith("contradiction:")

    def test_a_cent_of_rounding_is_no_contradiction(self) -> None:
        with FaultyServer(answer({**ACCOUNT, "equity": "1000.01"})) as server:
            assert portfolio(server).snapshot().equity == Decimal("1000.01")

    def test_a_sequence_that_goes_back_is_a_contradiction(self) -> None:
        with FaultyServer([answer(ACCOUNT), answer({**ACCOUNT, "applied_seq": 6})]) as server:
            client = portfolio(server)
            client.snapshot()
            with pytest.raises(BadPayload, match="contradiction: applied_seq back from 7 to 6"):
                client.snapshot()
            client.snapshot()

    @pytest.mark.parametrize("change", [{"account": "other"}, {"cash": "NaN"}, {"cash": None}])
    def test_what_does_not_parse_is_no_contradiction(self, change: dict[str, Any]) -> None:
        with (
            FaultyServer(answer({**ACCOUNT, **change})) as server,
            pytest.raises(BadPayload) as raised,
        ):
            portfolio(server).snapshot()
        assert "contradiction" not in raised.value.detail

    def test_fills_go_out_as_plain_decimal_text(self) -> None:
        reply = answer({"applied_seq": 5, "applied": ["f-3"], "duplicates": []})
        with FaultyServer(reply) as server:
            applied = portfolio(server).apply_fills(5, [FillEvent.of(FILL)])
            sent = server.asked[0].json()
        assert applied.applied_seq == 5
        assert sent["through_seq"] == 5
        assert sent["fills"] == [
            {
                "seq": 3,
                "fill_id": "f-3",
                "client_order_id": "o-1",
                "symbol": "BTC/USD",
                "side": "buy",
                "quantity": "0.0000005",
                "price": "120000",
                "fee": "0",
                "filled_at": "2025-11-22T00:00:00Z",
                "strategy": "sma",
            }
        ]

    @pytest.mark.parametrize(
        "told", [{"applied_seq": 4, "applied": ["f-3"]}, {"applied_seq": 5, "applied": []}]
    )
    def test_fills_that_are_not_confirmed_are_not_taken_as_applied(
        self, told: dict[str, Any]
    ) -> None:
        with FaultyServer(answer(told)) as server, pytest.raises(BadPayload):
            portfolio(server).apply_fills(5, [FILL])

    def test_a_gap_is_refused_with_its_kind(self) -> None:
        with FaultyServer(problem(409, "gap")) as server, pytest.raises(ServiceRejected) as raised:
            portfolio(server).apply_fills(5, [FILL])
        assert raised.value.kind == "gap"

    def test_many_fills_go_in_order_and_in_parts(self) -> None:
        def reply(asked: Asked) -> Reply:
            sent = asked.json()
            ids = [fill["fill_id"] for fill in sent["fills"]]
            return answer({"applied_seq": sent["through_seq"], "applied": ids, "duplicates": []})

        fields = {name: getattr(FILL, name) for name in Fill.__struct_fields__}
        many = [Fill(**{**fields, "seq": n, "fill_id": f"f-{n}"}) for n in range(2500, 0, -1)]
        with FaultyServer(reply) as server:
            applied = portfolio(server).apply_fills(3000, many)
            through = [asked.json()["through_seq"] for asked in server.asked]
        assert through == [2000, 3000]
        assert len(applied.applied) == 2500

    def test_marks_and_the_equity_curve(self) -> None:
        curve = answer({"points": [{"time": AS_OF, "equity": "1", "cash": "1"}]})
        with FaultyServer([answer({"applied": True}), curve]) as server:
            client = portfolio(server)
            since = datetime(2025, 11, 22, tzinfo=UTC)
            client.post_marks({"BTC/USD": "100"}, since)
            assert client.equity(since)[0].equity == "1"
            marks, equity = server.asked
        assert marks.json() == {"prices": {"BTC/USD": "100"}, "as_of": "2025-11-22T00:00:00Z"}
        assert equity.path == "/equity?since=2025-11-22T00%3A00%3A00Z"

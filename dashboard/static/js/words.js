// Plain words for the names of rules, limits, services and causes.
const RULES = {
  max_position_size_pct: "position size", max_order_notional: "order value", min_cash: "cash kept",
  max_gross_exposure: "gross exposure", max_risk_per_trade: "risk of this trade", max_portfolio_risk: "risk of the portfolio",
  max_open_positions: "positions", max_orders_per_cycle: "orders a cycle", max_orders_per_minute: "orders a minute",
  max_orders_per_symbol_per_hour: "orders an hour for the symbol", cooldown_candles: "cooldown", stoploss_guard: "stop-loss guard",
  max_repeats_per_day: "repeats a day", max_attempts_per_signal: "attempts a signal", signal_ttl_s: "age of the signal",
  price_collar: "price collar", trading_state: "trading state", strategy_disabled: "strategy throttled", owned: "owner of the symbol",
  quarantined: "order of unknown fate", min_notional: "least order value", position: "what is held", candidate: "its own size",
  max_quote_age_s: "age of the quote", max_snapshot_age_s: "age of the account", already_traded: "traded already", exiting: "being left",
  unknown_symbol: "unknown symbol", "sizing.risk": "size by risk", "sizing.fraction": "size by share of equity", "sizing.volatility": "size by volatility",
};
export const rule = (name) => RULES[name] ?? name.replaceAll("_", " ");
// A reason without the name of its rule in front, which is told in words beside it.
export const bare = (name, reason) => (reason.startsWith(`${name}: `) ? reason.slice(name.length + 2) : reason);

const LIMITS = {
  max_daily_loss_hard: "Loss today", max_drawdown: "Drawdown", max_portfolio_risk: "Risk of open positions", max_gross_exposure: "Gross exposure",
  max_position_size_pct: "Largest position", max_open_positions: "Positions", max_orders_per_minute: "Orders this minute", min_cash: "Cash kept",
};
export const LIMIT_ORDER = Object.keys(LIMITS);
export const limit = (name) => LIMITS[name] ?? rule(name);

const SERVICES = {market_data: "Market data", strategy: "Strategy engine", portfolio: "Portfolio", execution: "Execution", monitoring: "Monitoring", redis: "Redis", ledger: "Ledger", workers: "Workers", beat: "Beat", orchestrator: "Cycles", performance: "Pace"};
export const service = (name) => SERVICES[name] ?? name.replaceAll("_", " ");
export const cause = (name) => SERVICES[name] ?? name.replaceAll("_", " ");
export const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) : "");

const ORDER_TONES = {FILLED: "ok", PARTIAL: "ok", RESERVED: "open", SENDING: "open", ACCEPTED: "open", UNKNOWN: "bad", REJECTED: "warn", VOIDED: "open", CANCELED: "open", EXPIRED: "open"};
export const orderTone = (status) => ORDER_TONES[status] ?? "open";
export const OPEN = new Set(["RESERVED", "SENDING", "UNKNOWN", "ACCEPTED", "PARTIAL"]);
const CYCLE_TONES = {COMPLETED: "ok", RUNNING: "open", DEGRADED: "warn", SKIPPED: "open", FAILED: "bad", ABORTED: "bad"};
export const cycleTone = (status) => CYCLE_TONES[status] ?? "open";
const SEVERITY = {critical: "bad", warning: "warn"};
export const severityTone = (severity) => SEVERITY[severity] ?? "warn";

"""The reference market data service: symbols, closed candles and quotes over HTTP."""

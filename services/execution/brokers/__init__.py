"""Where orders meet a market."""

"""The reference portfolio service: cash, positions and results from fills and marks."""

"""A simulated quarter: what the advisor is worth where the truth is known (docs/advisor.md)."""

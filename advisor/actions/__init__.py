"""What changes the advisor's rows, each act with its audit line."""

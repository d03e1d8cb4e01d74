"""What we learn from runs: the report of one, and comparisons of many."""

"""What is true of a run: predictions, figures with their intervals, and tests between two runs."""

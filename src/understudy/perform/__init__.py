"""How a trained recogniser is used: on files, and live."""

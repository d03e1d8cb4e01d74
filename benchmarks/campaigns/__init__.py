"""Campaigns that break things on purpose: what `chaos.py` and `fuzz.py` share."""

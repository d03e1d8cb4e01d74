"""INT8 by measurement: every way of quantising that suits is tried, and kept only where it pays."""

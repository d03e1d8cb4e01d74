"""Published data sets as they lie on disk after the official download."""

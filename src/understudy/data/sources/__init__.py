"""One short file per kind of data set on disk; each gives a Manifest."""

"""Where pixels come from: a table of clips, which frames of them, and how they are read."""

"""The embedded data set: procedural actors filmed to real H.264 files, with labels known exactly.

Read in this order: `actions` (what is played), `actors` (who plays), `skeleton` (how a pose
becomes joints), `places` and `camera` (where and how it is filmed), `paint` (how a frame is
drawn), `film` (how all of it becomes files and manifests).
"""

from understudy.data.stage.actions import ACTIONS, MIRRORED_PAIRS
from understudy.data.stage.film import film_stage

__all__ = ["ACTIONS", "MIRRORED_PAIRS", "film_stage"]

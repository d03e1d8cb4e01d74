"""Packed clips: frames that were decoded and made small once, to be read from memory-mapped shards.

    OUT/pack.json          what its pixels are: short side, JPEG or not, which frames
    OUT/HASH.safetensors   a shard: frames (N, 3, H, W) uint8 of some clips, never changed
    OUT/failures.json      clips that could not be packed, and why

A pack only stands in for files. What its pixels are, a recipe says (`data.short_side`,
`data.jpeg_quality`), and then files give the same: so a clip that a pack lacks is read from its
file, and a run whose pack is gone is evaluated without it. Clips are found by the fingerprints of
their bytes, wherever they lie.
"""

"""What each temporal head makes of the same frozen features, where only motion tells.

    python benchmarks/temporal_heads.py --data FOLDER [--out runs/temporal-heads] [--processes 2]

FOLDER is that of sign_words.py: eight signs in four mirrored pairs, 8 frames of 128 pixels, a
MobileNetV2 with ImageNet weights that stays frozen. Heads that read the order of frames must tell a
pair apart; the average of the frames cannot, and bounds what the rest of the clip gives away. The
settings are those of the heads in sign_words.py, the same for all four; no others were tried.
Prints a Markdown table and writes results/temporal_heads_<date>.csv. Runs that are there are kept.
"""

from __future__ import annotations

from sign_words import common
from table import Job, difference, frozen_imagenet, parse_arguments, pool, print_tables, run_jobs

HEADS = ("tcn", "gru", "attention", "average")
TRAIN = {"epochs": 30, "lr": 1e-3, "batch_size": 32, "device": "cpu"}


def main() -> None:
    arguments = parse_arguments(__doc__, "runs/temporal-heads")
    jobs = [
        Job(
            f"frames-{head}",
            seed,
            common(arguments.data)
            | {
                "model": {"name": f"frames-{head}", "options": frozen_imagenet(arguments.data)},
                "train": TRAIN | {"seed": seed},
            },
            arguments.out / f"{head}-{seed}",
        )
        for seed in arguments.seeds
        for head in HEADS
    ]
    run_jobs(jobs, arguments.processes)

    print_tables(jobs, (), "temporal_heads")
    pooled = pool(jobs)
    for head in HEADS[:-1]:
        value, low, high = difference(pooled[f"frames-{head}"], pooled["frames-average"])
        print(f"frames-{head} minus frames-average {value:+.3f} [{low:+.3f}, {high:+.3f}]")


if __name__ == "__main__":
    main()

"""Recipes from strangers: tags, bombs, fields that are absurd. One that is sound may train."""

from __future__ import annotations

from pathlib import Path
from random import Random

import yaml

from campaigns.forked import Ended
from campaigns.input import Input
from campaigns.mutate import damage, damage_tree, odd_file
from campaigns.workshop import Workshop, recipe_content

_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
_MERGES = "base: &b0 {a: 1}\n" + "".join(
    f"m{n}: &b{n + 1} {{<<: [{', '.join([f'*b{n}'] * 9)}]}}\n" for n in range(9)
)


def make(rng: Random, workshop: Workshop, place: Path) -> Input:
    content = recipe_content(workshop.table)
    content["train"]["epochs"] = 1
    sound = yaml.safe_dump(content)
    kind = rng.choice(("field", "field", "field", "bytes", "text", "tag", "tag", "odd", "set"))
    file = place / "recipe.yaml"
    words = ["train", "recipe.yaml", "--out", "run"]
    if kind == "field":
        tree, what = damage_tree(content, rng)
        file.write_text(yaml.safe_dump(tree), encoding="utf-8", errors="surrogatepass")
    elif kind == "bytes":
        text, what = damage(sound.encode(), rng)
        file.write_bytes(text)
    elif kind == "text":
        what, text = rng.choice(_texts(sound))
        file.write_bytes(text)
    elif kind == "tag":
        tag = rng.choice(_TAGS)
        what = f"the tag {tag.split()[0][:60]}"
        file.write_text(
            f"{sound}{rng.choice(('notes', 'name', 'data'))}: {tag}\n", encoding="utf-8"
        )
    elif kind == "set":
        file.write_text(sound, encoding="utf-8")
        what = f"--set {rng.choice(_SETS)}"
        words += ["--set", what.removeprefix("--set ")]
    else:
        what = odd_file(file, rng)

    def check(ended: Ended) -> str:
        del ended
        return "" if (place / "run" / "history.json").is_file() else "no run is there"

    return Input(words, what.encode("unicode_escape").decode()[:120], check)


_TAGS = (
    "!!python/object/apply:os.system ['touch executed']",
    "!!python/object/new:os.system ['touch executed']",
    "!!python/name:os.system",
    "!!python/module:os",
    '!!python/object/apply:builtins.exec [\'open("executed", "w")\']',
    "!!binary aGVsbG8=",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!include /etc/passwd",
    "!!timestamp 2026-01-01",
)
_SETS = (
    "train.epochs=1e9999", "train.epochs=", "train..epochs=1", "=1", "train=1", "train.lr=.nan",
    "data.frames=-1", "data.size=99999999", "train.batch_size=.inf", "a=&a [*a]", "name=../x",
    "name=\x1b[2J", "train.lr=!!python/name:os.system", "train.seed=99999999999999999999",
    "data.manifest=day #1", "model.options={dim: 1}", "model.options.embedding_dim=0",
    "model.name=os", "data.manifest=/dev/zero", "train.epochs: 3", "x" * 5000,
)  # fmt: skip


def _texts(sound: str) -> list[tuple[str, bytes]]:
    return [
        ("a billion laughs", _BOMB.encode()),
        ("the same below a recipe", f"{sound}{_BOMB}".encode()),
        ("merged bombs", _MERGES.encode()),
        ("a list inside itself", b"a: &a [*a]\n"),
        ("a recipe inside itself", b"&a {name: x, data: *a}\n"),
        ("deeply nested", b"[" * 100_000),
        ("deeply nested keys", "".join(" " * n + "a:\n" for n in range(3000)).encode()),
        ("two documents", f"{sound}---\n{sound}".encode()),
        ("keys twice", f"{sound}{sound}".encode()),
        ("UTF-16", sound.encode("utf-16")),
        ("not UTF-8", sound.encode() + b"\xff\xfe"),
        ("NUL", sound.encode() + b"\0"),
        ("tabs", sound.replace("  ", "\t").encode()),
        ("a huge number", f"{sound}x: {'9' * 100_000}\n".encode()),
        ("empty", b""),
        ("null", b"null"),
        ("sixty-based", sound.replace("epochs: 1", "epochs: 1:00").encode()),
        ("octal", sound.replace("epochs: 1", "epochs: 01").encode()),
        ("an odd key", f"{sound}? [a, b]\n: 1\n".encode()),
        ("a key that is none", f"{sound}~: 1\n".encode()),
        ("5 MB of text", (sound + "# " + "x" * 5_000_000).encode()),
        ("a list", b"- a\n- b\n"),
    ]

"""Small outcome files that nobody recorded: three kinds of questions, three models, and calls with tools."""

import json
import random
from pathlib import Path
from typing import Any

MODELS = {"small": 0.001, "middle": 0.004, "large": 0.02}  # dollars a call
WORDS = {
    "sums": [
        "add",
        "apples",
        "pears",
        "total",
        "how",
        "many",
        "altogether",
        "bought",
        "shop",
        "price",
        "coins",
        "change",
    ],
    "poems": ["write", "verse", "about", "moon", "sea", "autumn", "rhyme", "lonely", "wind", "night", "silver"],
    "law": [
        "court",
        "plaintiff",
        "clause",
        "liability",
        "statute",
        "appeal",
        "tort",
        "contract",
        "damages",
        "jurisdiction",
    ],
}
CHANCES = {"sums": (0.9, 0.9, 0.9), "poems": (0.2, 0.9, 0.9), "law": (0.1, 0.2, 0.9)}
TOOL_CHANCES = {"one": (0.9, 0.9, 0.9), "many": (0.1, 0.9, 0.8)}


def rows(seed: int, each: int = 60) -> list[dict[str, Any]]:
    """Questions without tools; what answers them depends on their words."""
    chance = random.Random(seed)
    made = []
    for kind, words in WORDS.items():
        for i in range(each):
            prompt = " ".join(chance.choices(words, k=8)) + (f" {chance.randint(10, 99)}?" if kind == "sums" else ".")
            made.append(row(f"{kind}/{seed}/{i}", kind, prompt, CHANCES[kind], chance))
    chance.shuffle(made)
    return made


def tool_rows(seed: int, each: int = 40) -> list[dict[str, Any]]:
    """Questions with one or with three tools."""
    chance = random.Random(seed)
    made = []
    for subject, chances in TOOL_CHANCES.items():
        for i in range(each):
            prompt = f"Find {' and '.join(chance.choices(WORDS['sums'], k=1 if subject == 'one' else 4))}"
            made.append(row(f"{subject}/{seed}/{i}", "calls", prompt, chances, chance))
            tools = 1 if subject == "one" else 3
            made[-1] |= {"subject": subject, "n_tools": tools, "in_tok": dict.fromkeys(MODELS, 100 * tools)}
    chance.shuffle(made)
    return made


def row(id_: str, kind: str, prompt: str, chances: tuple[float, ...], chance: random.Random) -> dict[str, Any]:
    """One line of an outcome file."""
    score = {model: float(chance.random() < p) for model, p in zip(MODELS, chances, strict=True)}
    cost = {model: dollars * chance.uniform(0.8, 1.2) for model, dollars in MODELS.items()}
    labels = {"dataset": kind, "subject": kind, "task": "math" if kind == "sums" else "writing"}
    return {"id": id_, "prompt": prompt, "score": score, "cost": cost, "in_tok": len(prompt) // 4, **labels}


def write(folder: Path, files: dict[str, list[dict[str, Any]]]) -> Path:
    """These rows as files, beside files of other shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "README.md").write_text("not an outcome file")
    (folder / "labels.jsonl").write_text(json.dumps({"prompt": "Hi", "task": "other"}) + "\n")
    (folder / "broken.jsonl").write_text('{"prompt": \n')
    (folder / "list.jsonl").write_text("[1, 2]\n")
    (folder / "empty.jsonl").write_text("")
    return folder


def folder(path: Path, seed: int) -> Path:
    """A folder with a file of each regime."""
    return write(path, {"chat": rows(seed), "calls": tool_rows(seed)})

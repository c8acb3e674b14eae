"""links.py: every relative link in the Markdown files leads to a file, and every test file of the programs is registered."""
import os
import re
import sys

GENERATED = {"bench/RESULTS.md"}  # written by a run of the bench
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
skip = {"build", ".git"}
bad = []
for directory, folders, names in os.walk(root):
    folders[:] = [f for f in folders if f not in skip and not f.startswith("build")]
    for name in names:
        if not name.endswith(".md"):
            continue
        path = os.path.join(directory, name)
        with open(path) as f:
            text = re.sub(r"```.*?```", "", f.read(), flags=re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:|#", target):
                continue
            to = os.path.normpath(os.path.join(directory, target.split("#")[0]))
            if not os.path.exists(to) and os.path.relpath(to, root) not in GENERATED:
                bad.append(f"{os.path.relpath(path, root)}: no such file: {target}")
with open(os.path.join(root, "test/program/CMakeLists.txt")) as f:
    registered = f.read()
for name in os.listdir(os.path.join(root, "test/program")):
    if (match := re.fullmatch(r"test_(\w+)\.py", name)) and not re.search(rf"\b{match.group(1)}\b", registered):
        bad.append(f"test/program/{name} is not registered")
print("\n".join(bad))
sys.exit(1 if bad else 0)

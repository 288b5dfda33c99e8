"""The man pages that scripts/lib/man_pages.py makes of the program's own help."""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

from daemon import ROOT

GENERATOR = ROOT / "scripts/lib/man_pages.py"
SETTINGS = ROOT / "deploy/config/sae.toml"


def generate(dump, folder, settings=SETTINGS):
    arguments = [sys.executable, GENERATOR, "1.2.3", "2026-11-25", settings, folder]
    return subprocess.run(arguments, input=json.dumps(dump), capture_output=True, text=True)


def render(page):
    """The page as text, which groff makes without a warning."""
    arguments = ["groff", "-man", "-Tutf8", "-K", "utf8", "-P-cbou", "-rLL=200n", "-ww", page]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert run.stderr == "", f"{page}: {run.stderr}"
    return run.stdout.replace("’", "'").replace("‐", "-")


def commands(command, name=""):
    """Every command that help shows, with its full name."""
    full = f"{name} {command['commandName']}".strip()
    yield full, command
    for inner in command.get("subcommands", []):
        if inner["shouldDisplay"] and inner["commandName"] != "help":
            yield from commands(inner, full)


class ManPages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        dump = subprocess.run([os.environ["TEST_SAE"], "--experimental-dump-help"], capture_output=True, text=True, check=True)
        cls.root = json.loads(dump.stdout)["command"]
        run = generate({"command": cls.root}, cls.folder.name)
        assert run.returncode == 0, run.stderr
        cls.pages = {p.name: render(p) for p in Path(cls.folder.name).iterdir()}

    def test_each_command_is_described_with_all_its_flags(self):
        found = 0
        for name, command in commands(self.root):
            words = name.split()
            page = self.pages["-".join(words[:2]) + ".1"]
            start = page.index("\n" + name.upper() + "\n") if len(words) > 2 else 0
            self.assertIn(command["abstract"].rstrip("."), page[start:])
            for argument in command.get("arguments", []):
                for flag in argument.get("names", []) if argument["shouldDisplay"] else []:
                    text = ("-" if flag["kind"] == "short" else "--") + flag["name"]
                    self.assertRegex(page[start:], rf"(?m)^ +(.*, )?{text}\b", name)
                    found += 1
        self.assertGreater(found, 100)

    def test_what_help_hides_has_no_page(self):
        hidden = [c["commandName"] for c in self.root["subcommands"] if not c["shouldDisplay"]]
        self.assertTrue(hidden)
        for name in hidden:
            self.assertNotIn(f"sae-{name}.1", self.pages)

    def test_the_settings_are_all_there(self):
        lines = [line[1:] if line[:1] == "#" and line[1:2] != " " else line for line in SETTINGS.read_text().splitlines()]
        tables = tomllib.loads("\n".join(lines))
        self.assertGreater(len(tables), 5)
        page = self.pages["sae.toml.5"]
        for table, settings in tables.items():
            section = page[page.index(f"[{table}]") :]
            for key in settings:
                self.assertRegex(section, rf"(?m)^ +{key} = ", table)

    def test_text_that_roff_would_take_for_requests_stays_text(self):
        argument = {
            "kind": "option", "names": [{"kind": "long", "name": "a-b"}], "preferredName": {"kind": "long", "name": "a-b"},
            "abstract": ".SH not a heading", "valueName": "x", "isOptional": False, "isRepeating": True, "shouldDisplay": True,
            "defaultValue": "\\n",
        }  # fmt: skip
        inner = {
            "commandName": "do", "abstract": "Do 'it'.", "shouldDisplay": True, "arguments": [argument],
            "discussion": "'quoted' first\n  .TH \\fB a-b\n\n.PP",
        }  # fmt: skip
        outer = {"commandName": "sae", "abstract": "A.", "discussion": "Exit codes: 0 good.", "subcommands": [inner]}
        with tempfile.TemporaryDirectory() as folder:
            run = generate({"command": outer}, folder)
            self.assertEqual(run.returncode, 0, run.stderr)
            page = render(Path(folder, "sae-do.1"))
        for text in ["Do 'it'", "'quoted' first", ".TH \\fB a-b", "\n       .PP", ".SH not a heading (default: \\n)"]:
            self.assertIn(text, page)
        self.assertIn("sae do --a-b <x> ...\n", page)

    def test_help_or_settings_of_another_shape_are_errors(self):
        with tempfile.TemporaryDirectory() as folder:
            run = generate({"command": {**self.root, "discussion": "nothing"}}, folder)
            self.assertIn("Exit codes", run.stderr)
            self.assertEqual(run.returncode, 1)
            empty = Path(folder, "empty.toml")
            empty.write_text("[model]\n")
            run = generate({"command": self.root}, folder, empty)
            self.assertIn("no setting", run.stderr)
            self.assertEqual(run.returncode, 1)


if __name__ == "__main__":
    unittest.main()

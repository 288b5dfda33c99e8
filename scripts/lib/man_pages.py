#!/usr/bin/env python3
"""Writes the man pages of `sae` from what the program says of itself.

Usage: sae --experimental-dump-help | scripts/lib/man_pages.py VERSION DATE SETTINGS FOLDER

One page for `sae` and one for each of its commands (section 1), which also describes the commands below it; and
sae.toml(5) from SETTINGS, the commented file of defaults. What the help hides has no page.
"""

import json
import re
import sys
from pathlib import Path

# A line of the help that explains one thing: "  --flag (VARIABLE, default): meaning".
EXPLAINED = re.compile(r"^  (--\S+ \(.+?\)): (.+)$")
EXIT_CODES = re.compile(r"^Exit codes: (.*)\.$")


def escape(text):
    """Text as roff shows it unchanged: hyphens can be copied, and no line is taken for a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    return re.sub(r"^\.", r"\\&.", text, flags=re.MULTILINE)


def prose(text):
    """Paragraphs and their indented lines, which are commands or explained flags."""
    lines, block = [], False
    for line in text.splitlines():
        indented = line.startswith("  ")
        explained = EXPLAINED.match(line)
        if block and (not indented or explained):
            lines.append(".EE\n.RE")
            block = False
        if explained:
            lines += [".TP", f"\\fB{escape(explained[1])}\\fR", escape(explained[2])]
        elif indented:
            if not block:
                lines.append(".RS 4\n.EX")
                block = True
            lines.append(escape(line.strip()))
        elif line:
            lines += [".PP", escape(line)]
    return lines + ([".EE\n.RE"] if block else [])


def flag(name):
    return ("-" if name["kind"] == "short" else "--") + name["name"]


def value(argument):
    """The placeholder of an argument's value, as the help writes it."""
    text = f"<{argument['valueName']}>"
    return text + (" ..." if argument["isRepeating"] else "")


def shown(command):
    return [a for a in command.get("arguments", []) if a["shouldDisplay"]]


def subcommands(command):
    return [c for c in command.get("subcommands", []) if c["shouldDisplay"] and c["commandName"] != "help"]


def synopsis(name, command):
    parts = [f"\\fB{escape(name)}\\fR"]
    if subcommands(command):
        parts.append("\\fIcommand\\fR")
    for argument in shown(command):
        if argument["kind"] == "positional":
            text = f"\\fI{escape(value(argument))}\\fR"
        elif argument.get("preferredName", {}).get("name") in ("help", "version"):
            continue
        else:
            text = f"\\fB{escape(flag(argument['preferredName']))}\\fR"
            if argument["kind"] == "option":
                text += f" \\fI{escape(value(argument))}\\fR"
        parts.append(f"[{text}]" if argument["isOptional"] else text)
    return [" ".join(parts)]


def options(command):
    lines = []
    for argument in shown(command):
        if argument["kind"] == "positional":
            term = f"\\fI{escape(value(argument))}\\fR"
        else:
            term = ", ".join(f"\\fB{escape(flag(n))}\\fR" for n in argument["names"])
            if argument["kind"] == "option":
                term += f" \\fI{escape(value(argument))}\\fR"
        text = argument.get("abstract", "")
        if "defaultValue" in argument and "(default:" not in text:
            text = f"{text} (default: {argument['defaultValue']})".strip()
        if "allValues" in argument and not all(v in text for v in argument["allValues"]):
            text = f"{text} (values: {', '.join(argument['allValues'])})".strip()
        lines += [".TP", term, escape(text) or "\\&"]
    return lines


def heading(title, section, version, date):
    return [f'.TH "{title.upper()}" {section} "{date}" "sae {version}" "Semantic Annealing Engine"']


def body(name, command):
    lines = []
    if command.get("discussion"):
        lines += prose(command["discussion"])
    if shown(command):
        lines += [".SS Options" if " " in name else ".SH OPTIONS"] + options(command)
    return lines


def below(name, command):
    """The commands below `command`, each as a section of its own."""
    lines = []
    for inner in subcommands(command):
        full = f"{name} {inner['commandName']}"
        lines += [f".SH {escape(full).upper()}", escape(inner.get("abstract", "")), ".PP"] + synopsis(full, inner)
        lines += body(full, inner) + below(full, inner)
    return lines


def page_of_command(root, command, version, date):
    name = f"{root} {command['commandName']}"
    title = name.replace(" ", "-")
    lines = heading(title, 1, version, date)
    lines += [".SH NAME", f"{escape(title)} \\- {escape(command['abstract'].rstrip('.'))}"]
    lines += [".SH SYNOPSIS"] + synopsis(name, command)
    if command.get("discussion"):
        lines += [".SH DESCRIPTION"] + prose(command["discussion"])
    lines += [".SH OPTIONS"] + options(command) + below(name, command)
    lines += [".SH SEE ALSO", ".BR sae (1)" + (", \n.BR sae.toml (5)" if title == "sae-serve" else "")]
    return f"{title}.1", lines


def page_of_program(command, version, date):
    name = command["commandName"]
    lines = heading(name, 1, version, date)
    lines += [".SH NAME", f"{name} \\- {escape(command['abstract'].rstrip('.'))}"]
    lines += [".SH SYNOPSIS", f"\\fB{name}\\fR \\fIcommand\\fR [\\fIarguments\\fR]"]
    paragraphs = command["discussion"].splitlines()
    codes = next((m[1] for m in map(EXIT_CODES.match, paragraphs) if m), None)
    if codes is None:
        sys.exit("man_pages.py: the help of sae has no line 'Exit codes: …'")
    lines += [".SH DESCRIPTION"] + prose("\n".join(p for p in paragraphs if not EXIT_CODES.match(p)))
    lines += [".SH OPTIONS"] + options(command) + [".SH COMMANDS"]
    for inner in subcommands(command):
        lines += [".TP", f".BR {name}\\-{escape(inner['commandName'])} (1)", escape(inner["abstract"])]
    lines.append(".SH EXIT STATUS")
    for entry in codes.split(", "):
        code, meaning = entry.split(" ", 1)
        lines += [".TP", code, escape(meaning)]
    lines += [
        ".SH FILES",
        ".TP", ".I /etc/sae/sae.toml", "Settings of the daemon; see", ".BR sae.toml (5).",
        ".TP", ".I /usr/share/sae/models/default.sae", "The model that comes with the program.",
        ".TP", ".I /run/sae.sock", "Where the packaged daemon listens; members of the group sae may connect.",
        ".TP", ".I /var/lib/sae", "State of the daemon.",
        ".TP", ".I /var/cache/sae", "Compiled OpenCL kernels.",
        ".SH SEE ALSO", ".BR sae.toml (5),", ".BR systemctl (1)",
    ]  # fmt: skip
    return f"{name}.1", lines


def page_of_settings(text, version, date):
    lines = heading("sae.toml", 5, version, date)
    lines += [".SH NAME", "sae.toml \\- settings of the sae daemon", ".SH DESCRIPTION"]
    section, comment, count = None, [], 0
    for line in text.splitlines():
        setting = re.match(r"^#([a-z0-9_]+ = .+)$", line)
        if line.startswith("[") and line.endswith("]"):
            section, comment = line[1:-1], []
            lines.append(f".SH [{section}]")
        elif setting and section:
            lines += [".TP", f"\\fB{escape(setting[1])}\\fR", escape(" ".join(comment)) or "\\&"]
            comment, count = [], count + 1
        elif line.startswith("# "):
            if section:
                comment.append(line[2:])
            else:
                lines += [".PP", escape(line[2:])]
        else:
            comment = []
    if count == 0:
        sys.exit("man_pages.py: the file of settings has no setting in the form '#key = value' below a '[section]'")
    lines += [".SH FILES", ".I /etc/sae/sae.toml", ".SH SEE ALSO", ".BR sae\\-serve (1)"]
    return "sae.toml.5", lines


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__.split("\n\n")[1])
    version, date, settings, folder = sys.argv[1:]
    root = json.load(sys.stdin)["command"]
    pages = [page_of_program(root, version, date), page_of_settings(Path(settings).read_text("utf-8"), version, date)]
    pages += [page_of_command(root["commandName"], c, version, date) for c in subcommands(root)]
    for name, lines in pages:
        Path(folder, name).write_text("\n".join(lines) + "\n", "utf-8")


main()

#!/usr/bin/env python3
"""Splits texts and their vectors into a domain, texts about software, and other texts, by the words that they hold.

    software-texts.py TEXTS VECTORS.npy OUT [--other 250000]

A word of STRONG counts 2, one of COMMON 1, each once a text. Texts of 2 and more are the domain, those of 0 are other texts;
what lies between is left out. Writes OUT/domain.txt and OUT/domain.npy, the first other texts as OUT/other.txt and OUT/other.npy, and as
many of those behind them as the domain has as OUT/general.txt and OUT/general.npy.

The rule was made by hand, looking at words that are frequent in the package descriptions of a Debian release and rare elsewhere. Of
30,524 texts that are such a description word for word it finds 77 %, and 0.7 % of what it calls other texts are one.
"""
import argparse
import gzip
import os
import re
import sys

STRONG = set("""
api apis apt async backend bindings boolean c++ cgi cli config cpu css ctrl daemon dataset dbus deb debconf debian
dialog django dns docbook dpkg emacs filename filesystem firewall framework freetype frontend ftp gcc gdk geometric
gimp git glib gnome gnu golang gpg grub gstreamer gtk gtk+ gui haskell headers hostname html http https iptables
ipv6 java javascript jpeg jquery js json kde kernel-mode ldap lib libc libraries linux lisp lua mbox metadata
metapackage middleware mozilla mysql namespace ncurses nodejs ocaml opengl openssl openstack parser parsing pdf perl
php pixbuf pixel pixels plugin plugins png postgres postgresql proxy python python3 qml qt regex repository roff rpc
ruby runtime rust samba scripting sdk sgml shell sql sqlite ssh ssl stderr stdin stdout subclass subdirectory svg
syntax systemd tcl tcp tcp/ip tex tls toolbar toolkit truetype tuple udp ui unicode unix url urls usb username utf-8
utilities vim vnc wayland widget widgets wrapper x11 xml xorg yaml
""".split())
COMMON = set("""
application applications argument arguments array backup binary boot browser buffer bug byte bytes cache cached
character characters checkbox class classes clause click client code codec column columns command command-line
commands compile compiled compiler compression computing configuration configure configured console cursor data
database databases datatype debug debugging decoder default desktop developer development device devices dictionary
directories directory disk documentation download driver drivers edit editor email encoding encryption engine
environment extension extensions fast file files filter filters font fonts format formats function functions
generator generic graphical graphics grid group hash header identifier image images implementation index input
install installation installed installer integer interface interfaces internet introspection kernel key keyboard
keyword language layer layers library lightweight line lines linux list log logging login lossless manager
manipulation manual menu message metafont mode module modules monitor mouse multi multiple network networking node
null object objects operator option optional options output package packages page pages parameter parameters parse
partition password path paths platform port privileges processing profiling program programmer programming programs
protocol queries query queue read rendering replication root routine row rows schema screen script scripts search
select selection server servers service set settings simple software sort source specified stack standard statement
static storage stored string strings suite support supported supports symbolic system table tables terminal test
testing text thread threads timestamp timestamps tool tools transaction transactions transitional tree trigger type
types update user users utility value values variable variables version virtual warning web website window windows
write
""".split())


def score(text):
    words = set(re.findall(r"[a-z0-9+'/-]+", text.lower()))
    return 2 * len(words & STRONG) + len(words & COMMON)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts")
    parser.add_argument("vectors")
    parser.add_argument("out")
    parser.add_argument("--other", type=int, default=250_000, help="so many other texts at most, the first ones")
    args = parser.parse_args()
    import numpy as np

    vectors = np.load(args.vectors, mmap_mode="r")
    opener = gzip.open if args.texts.endswith(".gz") else open
    with opener(args.texts, "rt", encoding="utf-8", newline="\n") as file:
        lines = [line.rstrip("\n") for line, _ in zip(file, range(len(vectors)))]
    if len(lines) != len(vectors):
        sys.exit(f"software-texts.py: {args.vectors} has {len(vectors)} rows, {args.texts} only {len(lines)} lines")
    scores = [score(line) for line in lines]
    os.makedirs(args.out, exist_ok=True)
    domain = [row for row, value in enumerate(scores) if value >= 2]
    other = [row for row, value in enumerate(scores) if value == 0]
    general = other[args.other:args.other + len(domain)]
    for name, rows in [("domain", domain), ("other", other[:args.other]), ("general", general)]:
        with open(f"{args.out}/{name}.txt", "w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines[row] + "\n" for row in rows)
        np.save(f"{args.out}/{name}.npy", vectors[rows])
        print(f"{name}: {len(rows)} texts")


if __name__ == "__main__":
    main()

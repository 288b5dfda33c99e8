#!/usr/bin/env python3
"""Changed copies of texts, for the teacher to label: they teach what one word does to a meaning.

    perturb.py TEXTS OUT.txt [--count 400000] [--skip 0] [--seed 1] [--held-out 100] [--of-held-out]
               [--spoken | --rare | --spliced]

TEXTS is plain or .gz, one text a line. Each line of OUT is a text of 4 to 30 words with one change, drawn by the seed:

    substitute  one or two content words replaced by words drawn from the corpus        (two fifths of the lines)
    swap        two content words change places                                         (a fifth)
    exchange    the sides of a word such as "and", "in", "with", "while" change places  (a tenth)
    negate      "not" or "no" put in, or taken out where there is one                   (three twentieths)
    drop        one word left out                                                       (a tenth)
    crop        the first or last part alone, 3 words at least                          (a twentieth)

Lines that `sae fit --held-out` keeps aside (zlib.crc32 of the line, started with the seed, modulo 10,000, below the
number held out) are never used, so that a fit on OUT has not seen their words; with --of-held-out they alone are,
for `sae fit --contrasts`. With --spoken only texts of 3 to 12 words that address somebody are taken (a word of the first
or second person, or a question mark): commands and questions are rare in prose. With --rare a line is a window of 2 to 7
words around a word, and words are drawn evenly from those that occur 3 times or more, not by how often they occur: a
rare word is then seen often, in short company. With --spliced a line is the beginning of one text and the end of another,
joined where both have the same two words: new company for the words of a text, in sentences that mostly hold together.
Same input and options, same bytes.
"""
import argparse
import collections
import gzip
import itertools
import random
import re
import sys
import zlib

FUNCTION_WORDS = frozenset(
    """a about after all also am an and any are as at be because been before being but by can could did do does doing
    for from had has have he her here him his how i if in into is it its just may me might more most must my no nor not
    of on one or other our out over she should so some such than that the their them then there these they this those
    through to too up us very was we were what when where which while who will with would you your""".split())
AUXILIARIES = frozenset("am are can could did do does had has have is may might must should was were will would".split())
SPOKEN = frozenset("i i'm i'd i've me my mine you your we our us please".split())
NEGATIONS = frozenset(["not", "no", "never"])
CONNECTIVES = frozenset("and or but in on at with near under behind beside over of for while when because before after than by".split())
WORD = re.compile(r"[A-Za-z][a-z'-]*[a-z]")


def read_lines(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as file:
        return [line.rstrip("\n") for line in file]


def is_held_out(line, seed, held_out):
    return zlib.crc32(line.encode(), seed) % 10_000 < held_out


def is_content(word):
    return WORD.fullmatch(word) is not None and len(word) > 2 and word.lower() not in FUNCTION_WORDS


def is_spoken(line):
    words = line.lower().split()
    return 3 <= len(words) <= 12 and (line.rstrip().endswith("?") or not SPOKEN.isdisjoint(words))


def substitute(words, draw, replacements):
    places = [i for i, word in enumerate(words) if is_content(word)]
    if not places:
        return None
    for place in draw.sample(places, min(len(places), draw.choice((1, 1, 2)))):
        words[place] = draw.choice(replacements)
    return words


def swap(words, draw, _):
    places = [i for i, word in enumerate(words) if is_content(word)]
    if len(places) < 2:
        return None
    a, b = draw.sample(places, 2)
    if words[a] == words[b]:
        return None
    words[a], words[b] = words[b], words[a]
    return words


def exchange(words, draw, _):
    """The runs of up to 4 words on both sides of a connective, inside the text."""
    places = [i for i in range(1, len(words) - 1) if words[i].lower() in CONNECTIVES]
    if not places:
        return None
    place = draw.choice(places)
    first, last = max(0, place - draw.randint(1, 4)), min(len(words), place + 1 + draw.randint(1, 4))
    return words[:first] + words[place + 1:last] + [words[place]] + words[first:place] + words[last:]


def negate(words, draw, _):
    found = [i for i, word in enumerate(words) if word.lower() in NEGATIONS]
    if found:
        del words[draw.choice(found)]
        return words
    auxiliaries = [i for i, word in enumerate(words) if word.lower() in AUXILIARIES]
    articles = [i for i, word in enumerate(words) if word.lower() in ("a", "an", "the", "some")]
    if auxiliaries and (not articles or draw.random() < 0.7):
        words.insert(draw.choice(auxiliaries) + 1, "not")
    elif articles:
        place = draw.choice(articles)
        words[place] = "No" if words[place][0].isupper() else "no"
    else:
        return None
    return words


def drop(words, draw, _):
    del words[draw.randrange(len(words))]
    return words


def crop(words, draw, _):
    if len(words) < 4:
        return None
    length = draw.randint(3, len(words) - 1)
    return words[:length] if draw.random() < 0.5 else words[-length:]


def windows(lines, draw):
    """Endless windows around words drawn evenly, each from one of up to 64 places that stand for all of its own."""
    places = collections.defaultdict(list)
    counts = collections.Counter()
    for number, line in enumerate(lines):
        for position, word in enumerate(line.split()):
            if not is_content(word):
                continue
            counts[word.lower()] += 1
            kept = places[word.lower()]
            if len(kept) < 64:
                kept.append((number, position))
            elif (place := draw.randrange(counts[word.lower()])) < 64:
                kept[place] = (number, position)
    words = sorted(word for word, count in counts.items() if count >= 3)
    while True:
        number, position = draw.choice(places[draw.choice(words)])
        line = lines[number].split()
        length = draw.randint(2, 7)
        first = max(0, position - draw.randrange(length))
        yield line[first:first + length]


def splices(lines, draw):
    """Endless joints of two texts at two words that both have next to each other, 4 to 30 words long."""
    words = [line.split() for line in lines]
    words = [text for text in words if 4 <= len(text) <= 30]
    places = collections.defaultdict(list)
    counts = collections.Counter()
    for number, text in enumerate(words):
        for position in range(1, len(text) - 2):
            pair = text[position].lower(), text[position + 1].lower()
            counts[pair] += 1
            kept = places[pair]
            if len(kept) < 64:
                kept.append((number, position))
            elif (place := draw.randrange(counts[pair])) < 64:
                kept[place] = (number, position)
    while True:
        first = draw.choice(words)
        position = draw.randrange(1, len(first) - 2)
        number, other = draw.choice(places[first[position].lower(), first[position + 1].lower()])
        joined = first[:position] + words[number][other:]
        if 4 <= len(joined) <= 30 and joined != first and joined != words[number]:
            yield joined


KINDS = [substitute] * 8 + [swap] * 4 + [exchange] * 2 + [negate] * 3 + [drop] * 2 + [crop]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts")
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=400_000, help="lines to write")
    parser.add_argument("--skip", type=int, default=0, help="leave out so many lines first: those of an earlier run")
    parser.add_argument("--seed", type=int, default=1, help="the same as for sae fit")
    parser.add_argument("--held-out", type=int, default=100, help="of ten thousand lines, the same as for sae fit")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--spoken", action="store_true", help="change only short texts that address somebody")
    kind.add_argument("--rare", action="store_true", help="windows around words drawn evenly, instead of changes")
    kind.add_argument("--spliced", action="store_true", help="beginnings and ends of different texts, instead of changes")
    parser.add_argument("--of-held-out", action="store_true", help="change the lines kept aside instead of the others")
    args = parser.parse_args()

    fitted, kept = [], []
    for line in read_lines(args.texts):
        (kept if is_held_out(line, args.seed, args.held_out) else fitted).append(line)
    lines = kept if args.of_held_out else fitted
    fewest, most = (3, 12) if args.spoken else (4, 30)
    if args.spoken:
        lines = [line for line in lines if is_spoken(line)]
    draw = random.Random(args.seed)
    if args.rare or args.spliced:
        made = windows(lines, draw) if args.rare else splices(lines, draw)
        texts = itertools.islice(made, args.skip, args.skip + args.count)
        with open(args.out, "w", encoding="utf-8", newline="\n") as out:
            out.writelines(" ".join(words) + "\n" for words in texts)
        return 0
    counts = collections.Counter(word for line in fitted for word in line.split() if is_content(word))
    # Words draw each other with the square root of their frequency: rare enough to matter, common enough to be words.
    frequent = sorted(word for word, count in counts.items() if count >= 20)
    replacements = [word for word in frequent for _ in range(max(1, int(counts[word] ** 0.5 / 4)))]
    written = 0
    with open(args.out, "w", encoding="utf-8", newline="\n") as out:
        for attempt in range(20 * (args.skip + args.count)):
            words = draw.choice(lines).split()
            if not fewest <= len(words) <= most:
                continue
            changed = draw.choice(KINDS)(words, draw, replacements)
            if changed is None:
                continue
            written += 1
            if written > args.skip:
                out.write(" ".join(changed) + "\n")
            if written == args.skip + args.count:
                return 0
    print(f"only {written} of {args.skip + args.count} lines: too few texts of {fewest} to {most} words", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

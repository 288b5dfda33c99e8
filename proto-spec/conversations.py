#!/usr/bin/env python3
"""Plays whole conversations with a daemon, rude ones too, and compares what comes back with README.md beside this file.

    conversations.py --connect unix:/run/sae/sae.sock

Nothing but the standard library and client.py. Prints a line for each conversation that went otherwise.
"""
import argparse
import socket
import struct
import sys

import client as sae

HELLO = {"version_min": 1, "version_max": 1, "software": "sae-conversations/1", "max_frame_bytes": 4194304,
         "initial_window": 1048576}
PING = sae.frame("PING", attachment=b"12345678")


def open_socket(endpoint):
    if endpoint.startswith("unix:"):
        raw = socket.socket(socket.AF_UNIX)
        raw.settimeout(10)
        raw.connect(endpoint[5:])
        return raw
    host, port = endpoint[len("tcp://"):].rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), 10)


def hello(**changes):
    return sae.frame("HELLO", message=sae.encode("Hello", {**HELLO, **changes}))


def embed(stream, texts, crc=False, timeout=0, flags=1, **fields):
    message = sae.encode("EmbedRequest", {"lengths": [len(text) for text in texts], **fields})
    return sae.frame("REQUEST", flags, 1, stream, timeout, message, b"".join(texts), crc)


def stream(stream, chunks, flags=0, **fields):
    """Opens an EmbedStream; each chunk a list of texts."""
    opening = sae.frame("REQUEST", 0, 2, stream, 0, sae.encode("EmbedRequest", fields))
    return opening + b"".join(
        sae.frame("MESSAGE", flags if chunk is chunks[-1] else 0, 0, stream, 0,
                  sae.encode("EmbedChunk", {"lengths": [len(text) for text in chunk]}), b"".join(chunk))
        for chunk in chunks)


def patched(data, at, value):
    return data[:at] + struct.pack("<I", value) + data[at + 4:]


def heard(raw):
    """What the server says until it closes, a word or two a frame."""
    data, words = b"", []
    while True:
        try:
            part = raw.recv(65536)
        except ConnectionResetError:
            part = b""
        if not part:
            break
        data += part
    while data:
        magic, kind, flags, _, stream, size, length, arg, _ = sae.HEADER.unpack(data[:28])
        payload, data = data[28:28 + size], data[28 + size:]
        name = sae.TYPES[kind]
        if name == "END":
            status = sae.decode("Status", payload[:length])
            refused = " refused" if flags & sae.FLAGS["REFUSED"] else ""
            name = "END %d %s%s %s" % (stream, sae.STATUS[arg], refused, status.get("limit", ""))
        elif name == "GOAWAY":
            name = "GOAWAY %s %s" % (sae.STATUS[arg], sae.decode("GoAway", payload).get("reason", ""))
        elif name == "MESSAGE":
            name = "MESSAGE %d" % stream
        elif name == "CREDIT":
            continue  # when it comes is the server's choice
        words.append(name.strip())
    return words


# Name, what the client sends before it stops sending, what it hears.
CONVERSATIONS = [
    ("two requests, then half-close", hello() + embed(1, [b"a dog"]) + embed(5, [b"a cat", b""]),
     {"HELLO", "MESSAGE 1", "MESSAGE 5"}),
    ("with checksums", hello(features=1) + embed(1, [b"a dog"], crc=True), {"HELLO", "MESSAGE 1"}),
    ("an echo", hello() + PING, ["HELLO", "PING"]),
    ("health, info, tokenize, similarity",
     hello() + sae.frame("REQUEST", 1, 10, 1) + sae.frame("REQUEST", 1, 6, 3)
     + sae.frame("REQUEST", 1, 4, 5, 0, sae.encode("TokenizeRequest", {"lengths": [5]}), b"a dog")
     + sae.frame("REQUEST", 1, 3, 7, 0, sae.encode("SimilarityRequest", {"lengths": [1, 1]}), b"ab"),
     {"HELLO", "MESSAGE 1", "MESSAGE 3", "MESSAGE 5", "MESSAGE 7"}),
    ("a stream of three chunks", hello() + stream(1, [[b"a dog"], [b"a cat", b""], [b"x"]], flags=1),
     ["HELLO", "MESSAGE 1", "MESSAGE 1", "MESSAGE 1", "END 1 OK"]),
    ("a stream that ends without a chunk", hello() + stream(1, []) + sae.frame("END", stream=1), ["HELLO", "END 1 OK"]),
    ("a stream that its client leaves", hello() + stream(1, []), ["HELLO", "END 1 CANCELLED"]),
    ("a chunk over the window", hello() + stream(1, [[b"x" * 1048576]]), ["HELLO", "GOAWAY INTERNAL flow_control"]),
    ("a chunk with too many texts", hello() + stream(1, [[b"x"] * 513]),
     ["HELLO", "END 1 INVALID_ARGUMENT limits.max_chunk_texts"]),
    ("a message after the last", hello() + stream(1, [[b"x"]], flags=1) + sae.frame("MESSAGE", stream=1),
     ["HELLO", "GOAWAY INTERNAL bad_frame"]),
    ("a trace", hello() + sae.frame("REQUEST", 1, 5, 1, 0, b"", b"a dog"), ["HELLO", "MESSAGE 1"]),
    ("a trace of no text", hello() + sae.frame("REQUEST", 1, 5, 1), ["HELLO", "END 1 INVALID_ARGUMENT"]),
    ("a cancelled stream that was answered", hello() + sae.frame("REQUEST", 1, 99, 1) + sae.frame("CANCEL", stream=1),
     ["HELLO", "END 1 UNIMPLEMENTED"]),
    ("a deadline that is over", hello() + embed(1, [b"a dog"], timeout=1), ["HELLO", "END 1 DEADLINE_EXCEEDED"]),
    ("no text", hello() + embed(1, []), ["HELLO", "END 1 INVALID_ARGUMENT"]),
    ("too many texts", hello() + embed(1, [b"x"] * 2049),
     ["HELLO", "END 1 INVALID_ARGUMENT limits.max_texts_per_request"]),
    ("lengths that do not add up", hello() + sae.frame("REQUEST", 1, 1, 1, 0, b"\x0a\x01\x09", b"a"),
     ["HELLO", "END 1 INVALID_ARGUMENT"]),
    ("broken protobuf", hello() + sae.frame("REQUEST", 1, 1, 1, 0, b"\x0a\xff", b""), ["HELLO", "END 1 INVALID_ARGUMENT"]),
    ("REQUEST without LAST", hello() + embed(1, [b"a"], flags=0), ["HELLO", "END 1 UNIMPLEMENTED"]),
    ("a frame over the limit", hello() + embed(1, [b"x" * 4200000]), ["HELLO", "END 1 INVALID_ARGUMENT limits.max_frame_bytes"]),
    ("a frame far over the limit", hello() + patched(embed(1, [b"x"]), 12, 4 * 4194304 + 1),
     ["HELLO", "GOAWAY INVALID_ARGUMENT frame_too_large"]),
    ("wrong magic", hello() + b"SAE2" + embed(1, [b"x"])[4:], ["HELLO", "GOAWAY INTERNAL bad_magic"]),
    ("no HELLO", embed(1, [b"x"]), ["GOAWAY INTERNAL bad_frame"]),
    ("HELLO twice", hello() + hello(), ["HELLO", "GOAWAY INTERNAL bad_frame"]),
    ("a later version", hello(version_min=2, version_max=3), ["GOAWAY UNIMPLEMENTED unsupported_version"]),
    ("a checksum that is agreed and absent", hello(features=1) + embed(1, [b"x"]), ["HELLO", "GOAWAY INTERNAL bad_crc"]),
    ("a checksum that differs", hello() + patched(embed(1, [b"x"], crc=True), 24, 7), ["HELLO", "GOAWAY INTERNAL bad_crc"]),
    ("a message longer than its payload", hello() + patched(embed(1, [b"x"]), 16, 99), ["HELLO", "GOAWAY INTERNAL bad_frame"]),
    ("an even stream", hello() + embed(2, [b"x"]), ["HELLO", "GOAWAY INTERNAL bad_frame"]),
    ("a stream that falls", hello() + sae.frame("REQUEST", 1, 99, 9) + embed(7, [b"x"]),
     ["HELLO", "END 9 UNIMPLEMENTED", "GOAWAY INTERNAL bad_frame"]),
    ("half a frame", hello() + embed(1, [b"a dog"])[:-1], ["HELLO"]),
    ("a flood", hello() + PING * 6000, "GOAWAY RESOURCE_EXHAUSTED control_flood"),
]


def main():
    parser = argparse.ArgumentParser(description="plays whole conversations with a daemon")
    parser.add_argument("--connect", default="tcp://127.0.0.1:7733", metavar="tcp://HOST:PORT|unix:PATH")
    endpoint = parser.parse_args().connect
    bystander = sae.Client(endpoint)
    expected = bystander.embed([b"a dog"])[2]
    wrong = 0
    for name, sent, right in CONVERSATIONS:
        with open_socket(endpoint) as raw:
            try:
                raw.sendall(sent)
                raw.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the server may have closed already
            words = heard(raw)
        if isinstance(right, str):
            fits = words[-1:] == [right]
        elif isinstance(right, set):
            fits = set(words) == right and len(words) == len(right)
        else:
            fits = words == right
        if not fits:
            wrong += 1
            print("%s: heard %s, not %s" % (name, words[-5:], right))
        if bystander.embed([b"a dog"])[2] != expected:
            wrong += 1
            print("%s: another connection got other bytes" % name)
    print("%d conversations, %d went otherwise" % (len(CONVERSATIONS), wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

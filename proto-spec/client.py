#!/usr/bin/env python3
"""A client of the sae protocol in plain Python: README.md beside this file, and nothing but the standard library.

    client.py --connect tcp://127.0.0.1:7733 embed "a cat" "a dog"
    client.py --connect unix:/run/sae/sae.sock similarity --left 1 "a cat" "a dog" "a car"
    client.py tokenize TEXT..., info, health [SERVICE], ping
    client.py --check-vectors
"""
import argparse
import base64
import json
import pathlib
import socket
import struct
import sys

HEADER = struct.Struct("<4sBBHIIIII")
TYPES = ["", "HELLO", "REQUEST", "MESSAGE", "END", "CANCEL", "CREDIT", "PING", "GOAWAY"]
FLAGS = {"LAST": 1, "CRC": 2, "REFUSED": 4, "ACK": 8}
METHODS = {"Embed": 1, "EmbedStream": 2, "Similarity": 3, "Tokenize": 4, "Trace": 5, "Info": 6, "Health.Check": 10,
           "Health.Watch": 11, "CreateJob": 20, "PutJobInput": 21, "StartJob": 22, "GetJob": 23, "ListJobs": 24, "WatchJob": 25,
           "GetJobOutput": 26, "CancelJob": 27, "DeleteJob": 28, "Reload": 30, "Drain": 31}
STATUS = ["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
          "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
          "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"]
ENCODINGS = ["F32", "F16", "INT8", "BINARY"]
JOB_STATES = ["JOB_UNKNOWN", "UPLOADING", "QUEUED", "RUNNING", "FINALIZING", "DONE", "FAILED", "JOB_CANCELLED"]
SERVING = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]

# Messages of sae.proto: field number -> (name, kind); "*" = repeated, a list = an enumeration, a tuple = a repeated one,
# "map" = map<string, uint64>.
SCHEMA = {
    "Hello": {1: ("version_min", "u32"), 2: ("version_max", "u32"), 3: ("software", "str"), 4: ("token", "str"),
              5: ("max_frame_bytes", "u32"), 6: ("initial_window", "u32"), 7: ("features", "u64"),
              8: ("connection_id", "u64"), 9: ("roles", "*str"), 10: ("generation", "f64"), 11: ("limits", "map")},
    "Status": {1: ("message", "str"), 2: ("limit", "str"), 3: ("limit_value", "u64"), 4: ("retry_after_ms", "u32")},
    "GoAway": {1: ("last_stream_id", "u32"), 2: ("reason", "str"), 3: ("retry_after_ms", "u32")},
    "EmbedRequest": {1: ("lengths", "*u32"), 2: ("encoding", ENCODINGS), 3: ("dimensions", "u32"),
                     4: ("truncate", "bool"), 5: ("if_generation", "f64"), 6: ("want_pieces", "bool"),
                     7: ("temperature", "float")},
    "EmbedChunk": {1: ("lengths", "*u32")},
    "EmbedResponse": {1: ("count", "u32"), 2: ("dimensions", "u32"), 3: ("encoding", ENCODINGS),
                      4: ("generation", "f64"), 5: ("errors", "*RowError"), 6: ("pieces", "*u32"),
                      7: ("truncated", "*u32"), 8: ("queue_us", "u32"), 9: ("compute_us", "u32")},
    "RowError": {1: ("index", "u32"), 2: ("code", "u32"), 3: ("message", "str"), 4: ("limit", "str")},
    "SimilarityRequest": {1: ("lengths", "*u32"), 2: ("left", "u32"), 3: ("dimensions", "u32"),
                          4: ("truncate", "bool"), 5: ("if_generation", "f64")},
    "SimilarityResponse": {1: ("rows", "u32"), 2: ("columns", "u32"), 3: ("generation", "f64")},
    "TokenizeRequest": {1: ("lengths", "*u32"), 2: ("want_text", "bool"), 3: ("want_spans", "bool")},
    "TokenizeResponse": {1: ("texts", "*TextPieces"), 2: ("errors", "*RowError"), 3: ("generation", "f64")},
    "TextPieces": {1: ("ids", "*u32"), 2: ("pieces", "*bytes"), 3: ("begins", "*u32"), 4: ("ends", "*u32")},
    "TraceRequest": {1: ("dimensions", "u32")},
    "TraceResponse": {1: ("schema", "u32"), 2: ("generation", "f64")},
    "InfoRequest": {},
    "InfoResponse": {1: ("server", "str"), 2: ("model", "str"), 3: ("generation", "f64"),
                     4: ("generation_digest", "bytes"), 5: ("dimensions", "u32"), 6: ("vocabulary", "u32"),
                     7: ("trained_dimensions", "*u32"), 8: ("scorer", "str"), 9: ("device", "str"),
                     10: ("workers", "u32"), 11: ("uptime_ms", "u64"), 12: ("state", "str"), 13: ("limits", "map"),
                     14: ("version_min", "u32"), 15: ("version_max", "u32")},
    "HealthCheckRequest": {1: ("service", "str")},
    "HealthCheckResponse": {1: ("status", SERVING)},
    "JobSpec": {1: ("key", "str"), 2: ("upload", "bool"), 3: ("path", "str"), 4: ("input_format", ["LINES", "JSONL"]),
                5: ("text_field", "str"), 6: ("output", ["NPY", "JSONL_OUT"]), 7: ("encoding", ENCODINGS),
                8: ("dimensions", "u32"), 9: ("truncate", "bool"), 10: ("fail_on_error", "bool")},
    "Job": {1: ("id", "str"), 2: ("spec", "JobSpec"), 3: ("state", JOB_STATES), 4: ("owner", "str"),
            5: ("generation", "f64"), 6: ("input_bytes", "u64"), 7: ("input_done", "u64"), 8: ("rows_done", "u64"),
            9: ("rows_failed", "u64"), 10: ("chunks", "u32"), 11: ("created_ms", "u64"), 12: ("started_ms", "u64"),
            13: ("ended_ms", "u64"), 14: ("stall", "str"), 15: ("error", "Status"), 16: ("files", "*JobFile"),
            17: ("rows_per_second", "double"), 18: ("queue_place", "u32")},
    "JobFile": {1: ("name", "str"), 2: ("bytes", "u64"), 3: ("sha256", "bytes")},
    "CreateJobRequest": {1: ("spec", "JobSpec")},
    "JobRequest": {1: ("id", "str")},
    "PutJobInputRequest": {1: ("id", "str"), 2: ("offset", "u64")},
    "PutJobInputResponse": {1: ("durable_bytes", "u64")},
    "StartJobRequest": {1: ("id", "str"), 2: ("input_bytes", "u64"), 3: ("sha256", "bytes")},
    "ListJobsRequest": {1: ("page_size", "u32"), 2: ("page_token", "str"), 3: ("states", (JOB_STATES,))},
    "ListJobsResponse": {1: ("jobs", "*Job"), 2: ("next_page_token", "str")},
    "GetJobOutputRequest": {1: ("id", "str"), 2: ("file", "str"), 3: ("offset", "u64"), 4: ("length", "u64")},
    "ReloadRequest": {},
    "ReloadResponse": {1: ("before", "f64"), 2: ("after", "f64"), 3: ("changed", "*str"), 4: ("needs_restart", "*str")},
    "DrainRequest": {1: ("grace_ms", "u32")},
    "DrainResponse": {1: ("streams", "u32"), 2: ("connections", "u32")},
}


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def crc_entry(value):
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


CRC_TABLE = [crc_entry(value) for value in range(256)]


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at


def encode(name, message):
    """A protobuf message from a dictionary by field names; absent and zero fields are not written."""
    out = b""
    for number, (field, kind) in sorted(SCHEMA[name].items()):
        value = message.get(field)
        if not value and value != "":
            continue
        many = isinstance(kind, str) and kind.startswith("*")
        if kind == "map":
            for key in sorted(value):
                entry = b"\x0a" + varint(len(key.encode())) + key.encode() + b"\x10" + varint(int(value[key]))
                out += varint(number << 3 | 2) + varint(len(entry)) + entry
        elif kind == "*u32" or isinstance(kind, tuple):
            items = value if kind == "*u32" else [kind[0].index(item) for item in value]
            packed = b"".join(varint(item) for item in items)
            out += varint(number << 3 | 2) + varint(len(packed)) + packed
        else:
            for item in value if many else [value]:
                out += encode_one(number, kind[1:] if many else kind, item)
    return out


def encode_one(number, kind, value):
    if isinstance(kind, list):
        return varint(number << 3) + varint(kind.index(value)) if value != kind[0] else b""
    if kind in ("u32", "u64", "bool"):
        return varint(number << 3) + varint(int(value))
    if kind == "f64":
        return varint(number << 3 | 1) + struct.pack("<Q", int(value))
    if kind == "float":
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if kind == "double":
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if kind == "str":
        data = value.encode()
        if not data:
            return b""
    elif kind == "bytes":
        data = base64.b64decode(value)
    else:
        data = encode(kind, value)
    return varint(number << 3 | 2) + varint(len(data)) + data


def decode(name, data):
    """A dictionary as protobuf's JSON has it: absent fields left out, 64 bits as strings, bytes in base64."""
    message, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = read_varint(data, at)
        elif wire == 1:
            value, at = data[at:at + 8], at + 8
        elif wire == 5:
            value, at = data[at:at + 4], at + 4
        elif wire == 2:
            size, at = read_varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            raise ValueError("wire type %d" % wire)
        if key >> 3 in SCHEMA[name]:
            store(message, *SCHEMA[name][key >> 3], wire, value)
    return message


def store(message, field, kind, wire, value):
    if kind == "*u32" or isinstance(kind, tuple):
        items = message.setdefault(field, [])
        if wire == 0:
            items.append(value)
        at = 0
        while wire == 2 and at < len(value):
            item, at = read_varint(value, at)
            items.append(item if kind == "*u32" else plain(kind[0], item))
    elif kind == "map":
        entry = {1: "", 2: 0}
        size, at = read_varint(value, 1)
        entry[1] = value[at:at + size].decode()
        if at + size < len(value):
            entry[2], _ = read_varint(value, at + size + 1)
        message.setdefault(field, {})[entry[1]] = str(entry[2])
    elif isinstance(kind, str) and kind.startswith("*"):
        message.setdefault(field, []).append(plain(kind[1:], value))
    else:
        message[field] = plain(kind, value)


def plain(kind, value):
    if isinstance(kind, list):
        return kind[value] if value < len(kind) else value
    if kind == "u32":
        return value & 0xFFFFFFFF
    if kind == "u64":
        return str(value)
    if kind == "bool":
        return bool(value)
    if kind == "f64":
        return str(struct.unpack("<Q", value)[0])
    if kind in ("float", "double"):
        return struct.unpack("<f" if kind == "float" else "<d", value)[0]
    if kind == "str":
        return value.decode()
    if kind == "bytes":
        return base64.b64encode(value).decode()
    return decode(kind, value)


def frame(kind, flags=0, method=0, stream=0, arg=0, message=b"", attachment=b"", crc=False):
    flags |= FLAGS["CRC"] if crc else 0
    payload = message + attachment
    head = HEADER.pack(b"SAE1", TYPES.index(kind), flags, method, stream, len(payload), len(message), arg, 0)
    checksum = crc32c(payload, crc32c(head[:24])) if crc else 0
    return head[:24] + struct.pack("<I", checksum) + payload


class Failure(Exception):
    """The server's END or GOAWAY, or bytes that are not the protocol."""


class Client:
    def __init__(self, endpoint, token="", crc=True, timeout=10.0):
        self.socket = self.connect(endpoint, timeout)
        self.crc, self.stream, self.timeout = False, -1, timeout
        hello = {"version_min": 1, "version_max": 1, "software": "sae-script/1", "token": token,
                 "max_frame_bytes": 4194304, "initial_window": 1048576, "features": int(crc)}
        self.socket.sendall(frame("HELLO", message=encode("Hello", hello)))
        header, message, _ = self.read()
        if header[1] != TYPES.index("HELLO"):
            raise Failure("the server does not say HELLO")
        self.hello = decode("Hello", message)
        self.crc = bool(int(self.hello.get("features", "0")) & int(crc))

    @staticmethod
    def connect(endpoint, timeout):
        if endpoint.startswith("unix:"):
            connected = socket.socket(socket.AF_UNIX)
            connected.settimeout(timeout)
            connected.connect(endpoint[5:])
            return connected
        host, port = endpoint[len("tcp://"):].rsplit(":", 1)
        return socket.create_connection((host.strip("[]"), int(port)), timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def exactly(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.socket.recv(min(65536, count - len(data)))
            if not part:
                raise Failure("the server closed the connection")
            data += part
        return bytes(data)

    def read(self):
        """The next frame but PING: header fields, message, attachment. GOAWAY with a code is an error."""
        while True:
            raw = self.exactly(28)
            header = HEADER.unpack(raw)
            magic, kind, flags, _, _, size, length, arg, checksum = header
            if magic != b"SAE1" or kind not in range(1, 9) or length > size:
                raise Failure("this is not the sae protocol")
            payload = self.exactly(size)
            if flags & FLAGS["CRC"]:
                if crc32c(payload, crc32c(raw[:24])) != checksum:
                    raise Failure("a checksum differs")
            elif self.crc:
                raise Failure("a checksum is missing")
            if TYPES[kind] == "PING" and not flags & FLAGS["ACK"]:
                self.socket.sendall(frame("PING", flags=FLAGS["ACK"], attachment=payload, crc=self.crc))
            elif TYPES[kind] == "GOAWAY":
                if arg:
                    raise Failure("%s: %s" % (STATUS[arg], decode("GoAway", payload).get("reason", "")))
            else:
                return header, payload[:length], payload[length:]

    def call(self, method, request, message, attachment=b""):
        """Message and attachment of the answer."""
        self.stream += 2
        self.socket.sendall(frame("REQUEST", FLAGS["LAST"], METHODS[method], self.stream,
                                  int(self.timeout * 1e6), encode(request, message), attachment, self.crc))
        while True:
            header, message, attachment = self.read()
            if header[4] != self.stream:
                continue
            if TYPES[header[1]] == "MESSAGE":
                return message, attachment
            status = decode("Status", message)
            raise Failure("%s: %s %s" % (STATUS[header[7]], status.get("message", ""), status.get("limit", "")))

    def embed(self, texts, encoding="F32", dimensions=0):
        """Texts are bytes. The vectors as lists of numbers, and the answer's message."""
        request = {"lengths": [len(text) for text in texts], "encoding": encoding, "dimensions": dimensions}
        message, data = self.call("Embed", "EmbedRequest", request, b"".join(texts))
        answer = decode("EmbedResponse", message)
        return vectors(data, answer), answer, data

    def similarity(self, texts, left=0):
        request = {"lengths": [len(text) for text in texts], "left": left}
        message, data = self.call("Similarity", "SimilarityRequest", request, b"".join(texts))
        answer = decode("SimilarityResponse", message)
        return rows_of(struct.unpack("<%df" % (len(data) // 4), data), answer.get("columns", 0))

    def tokenize(self, texts):
        request = {"lengths": [len(text) for text in texts], "want_text": True, "want_spans": True}
        return decode("TokenizeResponse", self.call("Tokenize", "TokenizeRequest", request, b"".join(texts))[0])

    def info(self):
        return decode("InfoResponse", self.call("Info", "InfoRequest", {})[0])

    def health(self, service=""):
        message, _ = self.call("Health.Check", "HealthCheckRequest", {"service": service})
        return decode("HealthCheckResponse", message).get("status", "UNKNOWN")

    def ping(self, data=b"\x01\x02\x03\x04\x05\x06\x07\x08"):
        self.socket.sendall(frame("PING", attachment=data, crc=self.crc))
        header, _, attachment = self.read()
        return TYPES[header[1]] == "PING" and attachment == data


def rows_of(values, width):
    return [list(values[at:at + width]) for at in range(0, len(values), width)] if width else []


def vectors(data, answer):
    """The rows of an Embed answer as numbers."""
    count, width = answer.get("count", 0), answer.get("dimensions", 0)
    encoding = answer.get("encoding", "F32")
    if encoding == "F32":
        return rows_of(struct.unpack("<%df" % (count * width), data), width)
    if encoding == "F16":
        return rows_of(struct.unpack("<%de" % (count * width), data), width)
    if encoding == "INT8":
        rows = rows_of(struct.unpack("%db" % (count * width), data[:count * width]), width)
        scales = struct.unpack("<%df" % count, data[count * width:])
        return [[value * scale for value in row] for row, scale in zip(rows, scales)]
    return [[row[d // 8] >> (7 - d % 8) & 1 for d in range(width)] for row in rows_of(data, width // 8)]


def check_vectors(folder):
    """Decodes each golden frame, compares it with its JSON, and encodes it again byte for byte."""
    if crc32c(b"123456789") != 0xE3069283:
        return ["crc32c is wrong"]
    wrong = []
    names = sorted(folder.glob("*.hex"))
    for path in names:
        raw = bytes.fromhex(path.read_text())
        expected = json.loads(path.with_suffix(".json").read_text())
        magic, kind, flags, method, stream, size, length, arg, checksum = HEADER.unpack(raw[:28])
        payload = raw[28:]
        unknown = bytes.fromhex(expected["unknown"])
        name = expected["message_type"]
        found = {"meaning": expected["meaning"], "from": expected["from"], "type": TYPES[kind],
                 "flags": [flag for flag in FLAGS if flags & FLAGS[flag]], "method": method, "stream": stream,
                 "arg": arg, "message_type": name, "message": decode(name, payload[:length]) if name else {},
                 "unknown": expected["unknown"], "attachment": payload[length:].hex()}
        message = (encode(name, expected["message"]) if name else b"") + unknown
        again = frame(expected["type"], sum(FLAGS[flag] for flag in expected["flags"]), expected["method"],
                      expected["stream"], expected["arg"], message, bytes.fromhex(expected["attachment"]),
                      "CRC" in expected["flags"])
        if magic != b"SAE1" or size != len(payload) or found != expected or again != raw:
            wrong.append("%s: found %r" % (path.stem, found))
    return wrong if names else ["no golden frames in %s" % folder]


def main():
    parser = argparse.ArgumentParser(description="a plain client of the sae protocol")
    parser.add_argument("--connect", default="tcp://127.0.0.1:7733", metavar="tcp://HOST:PORT|unix:PATH")
    parser.add_argument("--check-vectors", action="store_true", help="check the golden frames beside this script")
    parser.add_argument("--no-crc", action="store_true", help="do not ask for checksums")
    parser.add_argument("--encoding", default="F32", choices=ENCODINGS)
    parser.add_argument("--dimensions", type=int, default=0)
    parser.add_argument("--left", type=int, default=0, help="similarity: rows; 0 = all against all")
    parser.add_argument("--raw", action="store_true", help="embed: print the attachment in hexadecimal")
    parser.add_argument("method", nargs="?", choices=["embed", "similarity", "tokenize", "info", "health", "ping"])
    parser.add_argument("texts", nargs="*")
    options = parser.parse_intermixed_args()
    if options.check_vectors:
        wrong = check_vectors(pathlib.Path(__file__).parent / "vectors")
        print("\n".join(wrong) if wrong else "all golden frames agree")
        return 1 if wrong else 0
    texts = [text.encode("utf-8", "surrogateescape") for text in options.texts]
    try:
        client = Client(options.connect, crc=not options.no_crc)
        if options.method == "embed":
            rows, answer, data = client.embed(texts, options.encoding, options.dimensions)
            print(data.hex() if options.raw else json.dumps({"answer": answer, "vectors": rows}))
        elif options.method == "similarity":
            print(json.dumps(client.similarity(texts, options.left)))
        elif options.method == "tokenize":
            print(json.dumps(client.tokenize(texts)))
        elif options.method == "info":
            print(json.dumps(client.info()))
        elif options.method == "health":
            print(client.health(options.texts[0] if options.texts else ""))
        elif options.method == "ping":
            print("PONG" if client.ping() else "no echo")
        else:
            parser.error("a method is needed")
    except (Failure, OSError) as error:
        print("client.py: %s" % error, file=sys.stderr)
        return 69
    return 0


if __name__ == "__main__":
    sys.exit(main())

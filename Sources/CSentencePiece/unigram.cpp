#include "unigram.hpp"
#include "CSentencePiece.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>

namespace sae {

namespace {
/// The fields of a serialised protobuf message, one after the other.
struct Fields {
    std::string_view rest;
    uint32_t number = 0;
    uint64_t value = 0;
    std::string_view bytes;

    explicit Fields(std::string_view message) : rest(message) {}

    bool varint(uint64_t &result) {
        result = 0;
        for (unsigned shift = 0; shift < 64 && !rest.empty(); shift += 7) {
            const auto byte = static_cast<uint8_t>(rest.front());
            rest.remove_prefix(1);
            result |= static_cast<uint64_t>(byte & 0x7f) << shift;
            if (byte < 0x80) return true;
        }
        return false;
    }

    /// False at the end, and at what is no field.
    bool next() {
        uint64_t key, size;
        bytes = {};
        if (!varint(key)) return false;
        number = static_cast<uint32_t>(key >> 3);
        switch (key & 7) {
        case 0: return varint(value);
        case 1: size = 8; break;
        case 2:
            if (!varint(size)) return false;
            break;
        case 5: size = 4; break;
        default: return false;
        }
        if (size > rest.size()) return false;
        bytes = rest.substr(0, size);
        rest.remove_prefix(size);
        return true;
    }
};

// The numbers of sentencepiece_model.proto.
enum PieceType { normal = 1, unknown = 2, control = 3, byte = 6 };

constexpr uint32_t root = 128;
constexpr uint32_t no_label = 0xff;
/// Finds a place for a node in a tenth of the time of a search of all holes, and leaves 4 % of the units free.
constexpr size_t search_window = 128;
constexpr uint32_t largest_base = (1 << 24) - 1;
/// What the library takes off the lowest score for a character without a piece.
constexpr float unknown_penalty = 10;
constexpr std::string_view space = "\xe2\x96\x81";

bool is_plain(uint8_t c) { return c > 0x20 && c < 0x7f && !(c >= 'A' && c <= 'Z'); }

/// A piece in symbols: U+2581 as ' '. False if a plain word cannot hold it.
bool in_symbols(std::string_view piece, std::string &text) {
    text.clear();
    while (!piece.empty()) {
        if (piece.substr(0, space.size()) == space) {
            text += ' ';
            piece.remove_prefix(space.size());
        } else if (is_plain(static_cast<uint8_t>(piece.front()))) {
            text += piece.front();
            piece.remove_prefix(1);
        } else {
            return false;
        }
    }
    return !text.empty();
}
} // namespace

Unigram::Unigram(std::string_view model) {
    std::vector<Piece> pieces;
    if (!read(model, pieces) || !build(pieces)) units.clear();
}

bool Unigram::read(std::string_view model, std::vector<Piece> &pieces) {
    uint64_t algorithm = 1, byte_fallback = 0, space_behind = 0, dummy_prefix = 1, squeezes = 1, escapes = 1;
    std::string_view rule;
    uint32_t id = 0, bytes_seen = 0;
    float lowest = std::numeric_limits<float>::max();
    std::string text;
    for (Fields fields(model); fields.next();) {
        Fields inner(fields.bytes);
        if (fields.number == 1) {
            std::string_view name;
            float score = 0;
            uint64_t type = normal;
            while (inner.next()) {
                if (inner.number == 1) name = inner.bytes;
                if (inner.number == 2 && inner.bytes.size() == 4) memcpy(&score, inner.bytes.data(), 4);
                if (inner.number == 3) type = inner.value;
            }
            if (type == normal) {
                // Scores of this size add up to something finite.
                if (!(std::fabs(score) < 1e6f)) return false;
                lowest = std::min(lowest, score);
                if (in_symbols(name, text)) pieces.push_back({text, id, score});
            } else if (type == byte) {
                unsigned value;
                if (sscanf(std::string(name).c_str(), "<0x%2X>", &value) != 1) return false;
                byte_ids[value] = id;
                bytes_seen++;
            } else if (type != unknown && type != control) {
                return false;
            }
            id++;
        } else if (fields.number == 2) {
            while (inner.next()) {
                if (inner.number == 3) algorithm = inner.value;
                if (inner.number == 24) space_behind = inner.value;
                if (inner.number == 35) byte_fallback = inner.value;
            }
        } else if (fields.number == 3) {
            while (inner.next()) {
                if (inner.number == 1) rule = inner.bytes;
                if (inner.number == 3) dummy_prefix = inner.value;
                if (inner.number == 4) squeezes = inner.value;
                if (inner.number == 5) escapes = inner.value;
            }
        }
    }
    unknown_score = lowest - unknown_penalty;
    return algorithm == 1 && byte_fallback && bytes_seen == 256 && !space_behind && rule == "nmt_nfkc_cf" && dummy_prefix &&
           squeezes && escapes && !pieces.empty();
}

bool Unigram::build(std::vector<Piece> &pieces) {
    std::sort(pieces.begin(), pieces.end(), [](const Piece &a, const Piece &b) { return a.text < b.text; });
    /// The pieces that begin with the `depth` symbols of a node.
    struct Node {
        size_t first, last, depth;
        uint32_t unit;
    };
    std::vector<Node> nodes{{0, pieces.size(), 0, root}};
    std::vector<Node> children;
    std::vector<uint8_t> is_base;
    size_t first_free = root + 1;
    // Units below the root stay free: a node without children has base 0, where no label is right.
    const Unit empty = {0, no_label, std::numeric_limits<float>::quiet_NaN()};
    units.assign(root + 1, empty);
    for (size_t next = 0; next < nodes.size(); next++) {
        Node node = nodes[next];
        if (pieces[node.first].text.size() == node.depth) {
            units[node.unit].score = pieces[node.first].score;
            ids.resize(units.size());
            ids[node.unit] = pieces[node.first++].id;
        }
        if (node.first == node.last) continue;
        children.clear();
        for (size_t i = node.first; i < node.last; i++) {
            const uint32_t symbol = static_cast<uint8_t>(pieces[i].text[node.depth]);
            if (children.empty() || children.back().unit != symbol) children.push_back({i, i, node.depth + 1, symbol});
            children.back().last = i + 1;
        }
        // The first base where all children find a free unit, not far from the end: holes far behind are few.
        first_free = std::max(first_free, units.size() - std::min(units.size(), search_window));
        while (first_free < units.size() && units[first_free].label != no_label) first_free++;
        size_t base = first_free - children[0].unit;
        const auto fits = [&] {
            for (const Node &child : children) {
                if (base + child.unit < units.size() && units[base + child.unit].label != no_label) return false;
            }
            return base >= is_base.size() || !is_base[base];
        };
        while (!fits()) base++;
        if (base > largest_base) return false;
        if (units.size() < base + root) units.resize(base + root, empty);
        is_base.resize(std::max(is_base.size(), base + 1));
        is_base[base] = true;
        units[node.unit].base = static_cast<uint32_t>(base);
        for (Node &child : children) {
            const uint32_t symbol = child.unit;
            child.unit += static_cast<uint32_t>(base);
            units[child.unit].label = symbol;
            nodes.push_back(child);
        }
    }
    ids.resize(units.size());
    return true;
}

ptrdiff_t Unigram::segment(const uint8_t *word, size_t length, uint32_t *result) const {
    if (units.empty() || length > SAE_MAXIMUM_RUN) return -1;
    /// The best way to a place in the text.
    struct Place {
        float score;
        uint32_t start;
        /// The last piece; 0 for a symbol without one.
        uint32_t unit;
    };
    // The space before the word, and an end that is no label.
    uint8_t text[SAE_MAXIMUM_RUN + 2];
    Place best[SAE_MAXIMUM_RUN + 2];
    text[0] = ' ';
    best[0].score = 0;
    for (size_t i = 0; i < length; i++) {
        if (!is_plain(word[i])) return -1;
        text[i + 1] = word[i];
        best[i + 1].score = -std::numeric_limits<float>::infinity();
    }
    const size_t size = length + 1;
    text[size] = 0;
    best[size].score = -std::numeric_limits<float>::infinity();

    const Unit *const units = this->units.data();
    for (uint32_t start = 0; start < size; start++) {
        const float here = best[start].score;
        uint32_t at = units[root].base + text[start], end = start + 1;
        if (units[at].label != text[start] || std::isnan(units[at].score)) {
            const float score = unknown_score + here;
            if (score > best[end].score) best[end] = {score, start, 0};
        }
        for (uint8_t symbol = text[start]; units[at].label == symbol; end++) {
            // The library adds and compares in double precision and keeps the sum in single. NaN is not greater.
            const double score = static_cast<double>(units[at].score) + here;
            if (score > best[end].score) best[end] = {static_cast<float>(score), start, at};
            symbol = text[end];
            at = units[at].base + symbol;
        }
    }

    size_t count = 0;
    for (size_t end = size; end > 0; end = best[end].start) {
        if (best[end].unit) {
            result[count++] = ids[best[end].unit];
        } else if (end > 1) {
            result[count++] = byte_ids[text[end - 1]];
        } else {
            for (size_t i = space.size(); i-- > 0;) result[count++] = byte_ids[static_cast<uint8_t>(space[i])];
        }
    }
    std::reverse(result, result + count);
    return static_cast<ptrdiff_t>(count);
}

} // namespace sae

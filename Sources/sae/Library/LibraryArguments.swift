import ArgumentParser
import Bytes
import Glibc
import Models
import RuleLibrary
import Rules
import Tokenization

/// What the commands of a rule library have in common.
struct LibraryArguments: ParsableArguments {
    @Option(help: ArgumentHelp("The rule library.", valueName: "folder"))
    var library: String
}

/// The model that generations belong to.
struct LibraryModelArguments: ParsableArguments {
    @Option(help: ArgumentHelp("The generations' model. (default: the one that comes with sae)", valueName: "file"))
    var model: String?

    func open() throws -> Model { try Model(try model ?? ResourceLocator.model()) }

    /// How to write the pieces of a generation: by their texts if the model is the generation's, else by number.
    func names(for generation: Generation) throws -> PieceNames {
        let model: Model
        do { model = try open() } catch where self.model == nil { return unknownNames(generation) }
        return model.digest == generation.model.bytes ? PieceNames(pieces: model.pieces) : unknownNames(generation)
    }

    private func unknownNames(_ generation: Generation) -> PieceNames {
        Terminal.printNote("pieces are shown by number: give model \(generation.model.short) with --model")
        return PieceNames(unknown: generation.rules.vocabularyCount)
    }
}

extension Library {
    /// The generation that a person means: the beginning of a digest, or `promoted`.
    mutating func digest(named name: String) throws(LibraryError) -> Digest {
        guard name == "promoted" else { return try digest(beginningWith: name) }
        guard let last = try promotions().first else { throw .nothingPromoted(path: path) }
        return last.digest
    }
}

/// Milliseconds since 1970.
func wallClockMilliseconds() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
}

/// `2026-11-25 02:31:07`, in UTC.
func formatted(milliseconds: Int64) -> String {
    var seconds = time_t(milliseconds / 1_000)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(parts.tm_year + 1_900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
        + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
}

/// Lines of columns; the first row is the head. Numbers are on the right of their column.
func table(_ rows: [[String]]) -> String {
    guard let head = rows.first else { return "" }
    let widths = head.indices.map { column in rows.map { columnCount($0[column]) }.max() ?? 0 }
    let isNumber = head.indices.map { column in
        rows.dropFirst().allSatisfy { $0[column].allSatisfy { $0.isNumber || ".-−–".contains($0) } }
    }
    return rows.map { row in
        let cells = row.indices.map { column in
            isNumber[column]
                ? String(repeating: " ", count: widths[column] - columnCount(row[column])) + row[column]
                : padded(row[column], widths[column])
        }
        return String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
    }.joined(separator: "\n")
}

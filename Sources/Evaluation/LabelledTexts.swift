package import Bytes
package import Diagnostics

/// What is wrong with an evaluation file.
package enum EvaluationError: UserFacingError, Equatable {
    case file(FileError)
    case line(path: String, number: Int, reason: String)
    case noVector(path: String, number: Int)
    case empty(path: String)
    /// Scores or cosines that are all one number.
    case constant(path: String)

    package var summary: String {
        switch self {
        case .file(let error): error.summary
        case .line(let path, let number, let reason): "\(path), line \(number): \(reason)"
        case .noVector(let path, let number): "\(path), line \(number): a text is empty or too long to embed"
        case .empty(let path): "\(path) has no lines"
        case .constant(let path): "\(path): all scores or all similarities are the same, so they have no correlation"
        }
    }

    package var remedy: String? {
        guard case .file(let error) = self else { return nil }
        return error.remedy
    }

    package var category: ErrorCategory {
        guard case .file(let error) = self else { return .invalidInput }
        return error.category
    }
}

/// A table with tabs between its cells, one row a line, no header, plain or gzip.
package struct LabelledTexts: Sendable {
    package let path: String
    /// `columns` cells a row.
    package let rows: [[String]]

    /// Reads a file whose every line has exactly `columns` cells.
    package init(_ path: String, columns: Int) throws(EvaluationError) {
        let lines: TextLines
        do throws(FileError) { lines = try TextLines(contentsOf: path) } catch { throw .file(error) }
        var rows: [[String]] = []
        for index in 0..<lines.count {
            var line = lines[index]
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            let cells = line.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false).map {
                String(decoding: $0, as: UTF8.self)
            }
            guard cells.count == columns else {
                throw .line(
                    path: path, number: index + 1, reason: "has \(cells.count) cells instead of \(columns), tabs between")
            }
            rows.append(cells)
        }
        guard !rows.isEmpty else { throw .empty(path: path) }
        self.path = path
        self.rows = rows
    }

    package func column(_ index: Int) -> [String] { rows.map { $0[index] } }
}

package import Vectors

/// What makes the files of a corpus what they are: the same input, plan and model generation give the same bytes.
package struct CorpusPlan: Sendable, Equatable {
    package enum Input: String, Sendable, Codable {
        /// A text a line.
        case lines
        /// A JSON object a line, one of whose members is the text.
        case jsonl
    }

    package enum Output: String, Sendable, Codable {
        /// NumPy's array files.
        case npy
        /// A JSON object a row; float32 only.
        case jsonl
    }

    package var input = Input.lines
    /// The member of a JSON object that is the text.
    package var textField = "text"
    package var output = Output.npy
    package var encoding = VectorEncoding.float32
    /// Of a vector in the output.
    package var dimensions: Int
    /// Rows of a chunk, at most; 1 or more.
    package var chunkRows = 8_192
    /// Limits of a text; more is a row in error, or cut where `truncates`.
    package var maximumTextBytes = 65_536
    package var maximumPieces = 16_384
    package var truncates = false

    /// Input of a chunk, at most, unless its only line is longer: a constant, so that chunks are a function of the input.
    package static let chunkBytes = 8 << 20

    package init(dimensions: Int) { self.dimensions = dimensions }

    /// Bytes of a row in an array file, without the scale of an int8 row.
    package var rowBytes: Int { encoding == .int8 ? dimensions : encoding.byteCount(rows: 1, dimensions: dimensions) }
    package var hasScales: Bool { output == .npy && encoding == .int8 }
    /// Kept free at the front of rows and scales for the header, which says how many there are.
    package var headerBytes: Int { output == .npy ? 128 : 0 }

    /// Bytes of all output for so many rows, without errors: what a disk must have room for. JSON is estimated.
    package func predictedBytes(rows: Int) -> Int {
        switch output {
        case .npy: 2 * headerBytes + rows * encoding.byteCount(rows: 1, dimensions: dimensions)
        case .jsonl: rows * (32 + 14 * dimensions)
        }
    }

    /// NumPy's name of an element, and how many a row has.
    var numpyRow: (element: String, columns: Int) {
        switch encoding {
        case .float32: ("<f4", dimensions)
        case .float16: ("<f2", dimensions)
        case .int8: ("|i1", dimensions)
        case .binary: ("|u1", dimensions / 8)
        }
    }
}

/// Why a row has no vector: the status that a request for this text would give its row.
package struct CorpusRowFailure: Sendable, Equatable {
    /// A status of the protocol, such as `INVALID_ARGUMENT`.
    package var code: String
    package var message: String

    package init(code: String, message: String) {
        self.code = code
        self.message = message
    }
}

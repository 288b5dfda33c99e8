package import Bytes
package import Diagnostics

/// A teacher's vectors in a file: float32, float16, or int8 with a scale a row.
package struct TeacherVectors: Sendable {
    package let array: NumpyArray
    private let scales: NumpyArray?

    /// - Parameter scales: `.npy`, one float a row that its values are multiplied by.
    package init(_ path: String, scales scalesPath: String? = nil) throws(FittingError) {
        let array = try reading { () throws(FileError) in try NumpyArray(path) }
        let scales = try scalesPath.map { path throws(FittingError) in
            try reading { () throws(FileError) in try NumpyArray(path) }
        }
        if let scales, scales.rowCount != array.rowCount || scales.columnCount != 1 {
            throw .scales(path: scales.path, count: scales.rowCount * scales.columnCount, rows: array.rowCount)
        }
        (self.array, self.scales) = (array, scales)
    }

    package var rowCount: Int { array.rowCount }
    package var columnCount: Int { array.columnCount }

    /// A row with its scale.
    package func row(_ row: Int) -> [Float] {
        guard let scales else { return array.row(row) }
        let scale = scales.row(row)[0]
        return array.row(row).map { $0 * scale }
    }

    /// What is wrong with one row. Rows count from 0, as NumPy counts them; lines of texts from 1.
    package enum Fault: Sendable, Equatable {
        case notFinite(row: Int, column: Int)
        case zero(row: Int)
        case scale(row: Int, Float)
        case moreRows(rows: Int, lines: Int)
        case moreLines(rows: Int, lines: Int)

        package var text: String {
            switch self {
            case .notFinite(let row, let column): "row \(row): the value of column \(column) is not finite"
            case .zero(let row): "row \(row): all values are zero"
            case .scale(let row, let scale): "row \(row): its scale is \(scale)"
            case .moreRows(let rows, let lines): "row \(lines) is the first of \(rows - lines) without a text"
            case .moreLines(let rows, let lines): "line \(rows + 1) is the first of \(lines - rows) texts without a row"
            }
        }
    }

    package struct Survey: Sendable, Equatable {
        package var leastNorm = Double.infinity
        package var meanNorm = 0.0
        package var greatestNorm = 0.0
        /// Length of the mean of the rows' directions: 0 when they lean nowhere, 1 when all are the same.
        package var lean = 0.0
        package var faultCount = 0
        /// The first faults.
        package var faults: [Fault] = []

        fileprivate mutating func add(_ fault: Fault) {
            faultCount += 1
            if faults.count < 10 { faults.append(fault) }
        }
    }

    /// Reads every row.
    /// - Parameters:
    ///   - lines: how many texts belong to the rows, if that is to be compared.
    ///   - allowsMoreLines: the rows may be those of the first lines only.
    package func survey(lines: Int? = nil, allowsMoreLines: Bool = false) -> Survey {
        var survey = Survey()
        var sum = [Double](repeating: 0, count: columnCount)
        var count = 0
        for row in 0..<rowCount {
            if let scale = scales?.row(row)[0], !(scale > 0 && scale.isFinite) {
                survey.add(.scale(row: row, scale))
                continue
            }
            let values = self.row(row)
            if let column = values.firstIndex(where: { !$0.isFinite }) {
                survey.add(.notFinite(row: row, column: column))
                continue
            }
            let norm = values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
            guard norm > 0 else {
                survey.add(.zero(row: row))
                continue
            }
            count += 1
            survey.leastNorm = min(survey.leastNorm, norm)
            survey.greatestNorm = max(survey.greatestNorm, norm)
            survey.meanNorm += norm
            for (column, value) in values.enumerated() { sum[column] += Double(value) / norm }
        }
        let divisor = Double(max(1, count))
        if count == 0 { survey.leastNorm = 0 }
        survey.meanNorm /= divisor
        survey.lean = sum.reduce(0) { $0 + $1 * $1 }.squareRoot() / divisor
        if let lines, lines < rowCount { survey.add(.moreRows(rows: rowCount, lines: lines)) }
        if let lines, lines > rowCount, !allowsMoreLines { survey.add(.moreLines(rows: rowCount, lines: lines)) }
        return survey
    }
}

/// Vectors that cannot be a teacher's, with the first fault.
package struct TeacherFault: UserFacingError, Equatable {
    package let path: String
    package let fault: TeacherVectors.Fault
    package let count: Int

    package init(path: String, fault: TeacherVectors.Fault, count: Int) {
        (self.path, self.fault, self.count) = (path, fault, count)
    }

    package var summary: String {
        "\(path): \(fault.text)" + (count > 1 ? ", and \(count - 1) more faults" : "")
    }

    package var remedy: String? {
        switch fault {
        case .moreRows: "give the text file that the vectors were captured from"
        case .moreLines: "capture the missing lines, or say with --prefix that they are left out"
        case .notFinite, .zero: "capture these rows again"
        case .scale: "give the scales that were written with these vectors"
        }
    }

    package var category: ErrorCategory { .invalidInput }
}

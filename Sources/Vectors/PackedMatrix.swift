package import CVectorKernels

/// An int8 matrix as the kernels multiply by it (`struct sae_matrix`): copied into panels of 16 rows × 4 columns. Its
/// numbers are int8 · scale of the row · scale of the column.
package struct PackedMatrix: Sendable {
    package let rowCount: Int
    package let columnCount: Int
    private let panels: AlignedMemory<Int8>
    private let sums: AlignedMemory<Int32>
    private let rowScales: AlignedMemory<Float>?
    private let columnScales: AlignedMemory<Float>?

    /// `elements` is rowCount × columnCount, row-major. Scales that are nil stand for ones.
    package init(
        elements: [Int8], rowCount: Int, columnCount: Int, rowScales: [Float]? = nil, columnScales: [Float]? = nil
    ) {
        precondition(elements.count == rowCount * columnCount)
        precondition(rowScales.map { $0.count == rowCount } ?? true)
        precondition(columnScales.map { $0.count == columnCount } ?? true)
        (self.rowCount, self.columnCount) = (rowCount, columnCount)
        let paddedRows = (rowCount + 15) / 16 * 16
        panels = AlignedMemory(count: paddedRows * ((columnCount + 3) / 4 * 4) + Int(SAE_BID_PANEL_SLACK))
        sums = AlignedMemory(count: paddedRows)
        sae_bid_pack(elements, rowCount, columnCount, panels.base, sums.base)
        self.rowScales = rowScales.map(Self.aligned)
        self.columnScales = columnScales.map(Self.aligned)
    }

    /// Every row of a table.
    package init(_ table: RowTable) {
        self.init(
            elements: (0..<table.count).flatMap { row in table.elements(row).map { Int8($0) } }, rowCount: table.count,
            columnCount: table.dimensions, rowScales: (0..<table.count).map(table.scale))
    }

    /// The first `count` rows of a table as columns.
    package init(columns table: RowTable, count: Int) {
        let columns = (0..<count).map(table.elements)
        self.init(
            elements: (0..<table.dimensions).flatMap { row in columns.map { Int8($0[row]) } },
            rowCount: table.dimensions, columnCount: count, columnScales: (0..<count).map(table.scale))
    }

    /// output += the matrix · x, x rounded to int8 (`sae_add_products`): `columnCount` numbers of x, `rowCount` of the output.
    package func addProduct(
        with x: UnsafePointer<Float>, using set: InstructionSet, to output: UnsafeMutablePointer<Float>
    ) {
        precondition(columnCount <= SAE_PRODUCT_COLUMNS)
        withUnsafePointer(to: columns) { sae_add_products(set.rawValue, $0, x, output) }
    }

    /// As the kernels take it, while the matrix lives.
    package var columns: sae_matrix {
        sae_matrix(
            rows: rowCount, columns: columnCount, panels: UnsafePointer(panels.base), sums: UnsafePointer(sums.base),
            row_scales: rowScales.map { UnsafePointer($0.base) }, column_scales: columnScales.map { UnsafePointer($0.base) })
    }

    private static func aligned(_ values: [Float]) -> AlignedMemory<Float> {
        let memory = AlignedMemory<Float>(count: (values.count + 15) / 16 * 16)
        for (index, value) in values.enumerated() { memory.base[index] = value }
        return memory
    }
}

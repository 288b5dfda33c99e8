/// The best rule set of each size and time: what small, default and large models are chosen from.
struct Archive: Sendable {
    /// A rule set with its figures.
    struct Entry: Sendable, Equatable {
        var genome: Genome
        var cosine: Double
        var byteCount: Int
        var ruleCount: Int
        var editsPerText: Double
        var birth: Individual.Birth

        init(
            genome: Genome, cosine: Double, byteCount: Int, ruleCount: Int, editsPerText: Double, birth: Individual.Birth
        ) {
            (self.genome, self.cosine, self.byteCount) = (genome, cosine, byteCount)
            (self.ruleCount, self.editsPerText, self.birth) = (ruleCount, editsPerText, birth)
        }

        init(_ individual: Individual) {
            genome = individual.genome
            cosine = individual.cosine()
            byteCount = individual.byteCount
            ruleCount = individual.ruleCount
            editsPerText = individual.editsPerText
            birth = individual.birth
        }
    }

    struct Cell: Hashable, Comparable, Sendable {
        var bytes: Int
        var time: Int

        static func < (a: Cell, b: Cell) -> Bool { (a.bytes, a.time) < (b.bytes, b.time) }
    }

    private(set) var entries: [Cell: Entry] = [:]

    /// Ascending by cell.
    var ordered: [(cell: Cell, entry: Entry)] { entries.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }

    static let columnsPerEdit = 8.0

    /// Sizes double with each cell, from 16 kB; a cell is an eighth of an edit a text wide.
    static func cell(byteCount: Int, editsPerText: Double) -> Cell {
        var (bytes, limit) = (0, 16_384)
        while byteCount > limit {
            bytes += 1
            limit *= 2
        }
        return Cell(bytes: bytes, time: Int(editsPerText * columnsPerEdit))
    }

    mutating func insert(_ entry: Entry) {
        let cell = Self.cell(byteCount: entry.byteCount, editsPerText: entry.editsPerText)
        if let present = entries[cell], present.cosine >= entry.cosine { return }
        entries[cell] = entry
    }

    mutating func removeAll() { entries = [:] }

    init() {}

    init(_ stored: [Entry]) { for entry in stored { insert(entry) } }
}

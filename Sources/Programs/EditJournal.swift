/// The edits made to one program, each with what undoes it exactly: every column comes back bit for bit.
///
/// An edit puts one run of items in the place of another. Undoing runs backwards from the last edit; withdrawing takes
/// back one earlier edit whose result still stands, and is itself an edit that can be undone. Memory is kept from
/// program to program.
package struct EditJournal: Sendable {
    /// Items `at ..< at + insertedCount` stand where items `removed` of `arena` stood. The inserted items follow the
    /// removed ones in the arena while they are needed.
    private struct Entry {
        var at: Int
        var insertedCount: Int
        var removed: Range<Int>
    }

    private var entries: [Entry] = []
    /// Removed items, entry after entry.
    private var arena = ProgramStream()

    package init() {}

    /// Number of edits; also the place to go back to.
    package var count: Int { entries.count }

    /// Forgets everything: the edits stand.
    package mutating func removeAll() {
        guard !entries.isEmpty else { return }
        entries.removeAll(keepingCapacity: true)
        if arena.count > 0 { arena.removeAll() }
    }

    /// Replaces a run of the body by one item, with score 0, that stands for all its pieces.
    package mutating func replace(_ run: Range<Int>, by record: UInt32, in stream: inout ProgramStream) {
        precondition(
            !run.isEmpty && run.upperBound <= stream.bodyCount, "a phrase replaces items of the body")
        let (first, last) = (
            stream.placements[run.lowerBound].first, stream.placements[run.upperBound - 1].last
        )
        let removed = keep(run, of: stream)
        arena.append(record, first: first, last: last)
        stream.replace(run, with: arena, removed.upperBound..<removed.upperBound + 1)
        arena.removeItems(from: removed.upperBound)
        entries.append(Entry(at: run.lowerBound, insertedCount: 1, removed: removed))
    }

    /// Adds one item, with score 0, that the pieces `first` to `last` brought about, behind all others.
    package mutating func add(_ record: UInt32, first: UInt32, last: UInt32, to stream: inout ProgramStream) {
        stream.append(record, first: first, last: last)
        entries.append(Entry(at: stream.count - 1, insertedCount: 1, removed: arena.count..<arena.count))
    }

    /// Takes edit `entry` back while later ones stay. Its result must stand at item `index`, untouched.
    package mutating func withdraw(_ entry: Int, at index: Int, from stream: inout ProgramStream) {
        let edit = entries[entry]
        let run = index..<index + edit.insertedCount
        let removed = keep(run, of: stream)
        stream.replace(run, with: arena, edit.removed)
        entries.append(Entry(at: index, insertedCount: edit.removed.count, removed: removed))
    }

    /// Undoes the edits after the first `count`, the last one first.
    package mutating func revert(to count: Int, in stream: inout ProgramStream) {
        while entries.count > count, let edit = entries.popLast() {
            stream.replace(edit.at..<edit.at + edit.insertedCount, with: arena, edit.removed)
            arena.removeItems(from: edit.removed.lowerBound)
        }
    }

    private mutating func keep(_ run: Range<Int>, of stream: ProgramStream) -> Range<Int> {
        let start = arena.count
        arena.append(stream, run)
        return start..<arena.count
    }
}

import Programs
import TestSupport
import Testing

@Suite struct EditJournalTests {
    private func loaded(_ ids: [UInt32]) -> ProgramStream {
        var stream = ProgramStream()
        stream.load(ids: ids)
        return stream
    }

    private func columns(_ stream: ProgramStream) -> [[UInt32]] {
        [
            stream.operands, stream.placements.map(\.score.bitPattern), stream.placements.map(\.first),
            stream.placements.map(\.last),
            [UInt32(stream.bodyCount)],
        ]
    }

    @Test func `a phrase stands for the pieces that it replaces`() {
        var stream = loaded([5, 6, 7, 8])
        var journal = EditJournal()
        journal.replace(1..<3, by: 100, in: &stream)
        #expect(columns(stream) == [[5, 100, 8], [0, 0, 0], [0, 1, 3], [0, 2, 3], [3]])
        journal.replace(0..<2, by: 101, in: &stream)
        #expect(columns(stream) == [[101, 8], [0, 0], [0, 3], [2, 3], [2]])
    }

    @Test func `an added item stands behind the text, with the span that brought it about`() {
        var stream = loaded([5, 6, 7])
        var journal = EditJournal()
        journal.add(100, first: 0, last: 1, to: &stream)
        #expect(columns(stream) == [[5, 6, 7, 100], [0, 0, 0, 0], [0, 1, 2, 0], [0, 1, 2, 1], [3]])
        journal.replace(0..<3, by: 101, in: &stream)
        #expect(stream.operands == [101, 100] && stream.bodyCount == 1 && stream.addedCount == 1)
    }

    @Test func `an earlier edit can be taken back while a later one stays`() {
        var stream = loaded([5, 6, 7, 8])
        var journal = EditJournal()
        journal.replace(0..<2, by: 100, in: &stream)
        journal.replace(1..<3, by: 101, in: &stream)
        journal.withdraw(0, at: 0, from: &stream)
        #expect(columns(stream) == [[5, 6, 101], [0, 0, 0], [0, 1, 2], [0, 1, 3], [3]])
        journal.revert(to: 2, in: &stream)
        #expect(stream.operands == [100, 101])
    }

    @Test func `undoing any edits restores every column`() {
        struct Script { var ids: [UInt32], steps: [UInt64] }
        let failure = forAll(seed: 31, count: 400, maximumSize: 40) { size, random in
            Script(
                ids: (0..<size + 1).map { _ in UInt32.random(in: 0..<50, using: &random) },
                steps: (0..<size).map { _ in random.next() })
        } holds: { script in
            var stream = loaded(script.ids)
            var journal = EditJournal()
            var states = [columns(stream)]
            for step in script.steps {
                switch step % 3 {
                case 0:
                    let start = Int(step >> 8) % stream.bodyCount
                    let end = min(stream.bodyCount, start + 1 + Int(step >> 32) % 4)
                    journal.replace(start..<end, by: 60, in: &stream)
                case 1: journal.add(61, first: 0, last: UInt32(script.ids.count) - 1, to: &stream)
                default:
                    // Another edit in between, elsewhere, so that the withdrawn one is not the last.
                    journal.replace(0..<1, by: 62, in: &stream)
                    states.append(columns(stream))
                    journal.add(61, first: 0, last: 0, to: &stream)
                    states.append(columns(stream))
                    journal.withdraw(journal.count - 2, at: 0, from: &stream)
                }
                states.append(columns(stream))
                guard stream.problem(recordCount: 63, pieceCount: script.ids.count) == nil else {
                    return false
                }
            }
            while states.count > 1 {
                states.removeLast()
                journal.revert(to: states.count - 1, in: &stream)
                guard columns(stream) == states.last else { return false }
            }
            return true
        }
        #expect(failure == nil)
    }
}

@Suite struct ProgramStreamTests {
    @Test func `validation finds what is wrong`() {
        var stream = ProgramStream()
        stream.load(ids: [3, 9])
        #expect(stream.problem(recordCount: 10, pieceCount: 2) == nil)
        #expect(stream.problem(recordCount: 9, pieceCount: 2) == "item 1: there is no record 9")
        #expect(stream.problem(recordCount: 10, pieceCount: 1) == "item 1: the span is not inside the text")
        #expect(stream.problem(recordCount: 10, pieceCount: 3) == "the body ends before the text does")
    }

    @Test func `an item of the body is found by its first piece`() {
        var stream = ProgramStream()
        stream.load(ids: [0, 1, 2, 3, 4])
        var journal = EditJournal()
        journal.replace(1..<4, by: 9, in: &stream)
        journal.add(8, first: 2, last: 2, to: &stream)
        #expect((0..<6).map { stream.bodyItem(beginningAt: $0) } == [0, 1, nil, nil, 2, nil])
    }
}

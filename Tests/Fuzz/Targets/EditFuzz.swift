import Programs

/// Edits of a program, and their undoing.
///
/// The first byte is the number of pieces less 1, modulo 16. Each three bytes after it are a step: replace a run of the body, add an
/// item, withdraw an earlier edit, go back to an earlier state. After each the program is that of a plain model of it.
package func fuzzEdits(_ bytes: UnsafeRawBufferPointer) {
    guard let first = bytes.first else { return }
    let pieceCount = Int(first) % 16 + 1
    var program = EditedProgram(pieceCount: pieceCount)
    for at in stride(from: 1, through: min(bytes.count, 1_024) - 3, by: 3) {
        program.step(bytes[at], Int(bytes[at + 1]), Int(bytes[at + 2]))
        program.check(pieceCount: pieceCount)
    }
    program.goBack(to: 0)
    program.check(pieceCount: pieceCount)
}

private struct EditedProgram {
    private struct Item: Equatable { var record: UInt32, first: UInt32, last: UInt32 }
    private struct Text: Equatable { var body: [Item], added: [Item] = [] }
    /// What an edit put there, by its record, which no other edit has, and what stood there before.
    private struct Edit { var record: UInt32, removed: [Item] }

    private var stream = ProgramStream()
    private var journal = EditJournal()
    /// The model, after each number of edits.
    private var texts: [Text]
    /// Nil for one that withdrew another.
    private var edits: [Edit?] = []
    private var nextRecord: UInt32

    init(pieceCount: Int) {
        stream.load(ids: 0..<UInt32(pieceCount))
        texts = [Text(body: (0..<UInt32(pieceCount)).map { Item(record: $0, first: $0, last: $0) })]
        nextRecord = UInt32(pieceCount)
    }

    mutating func step(_ kind: UInt8, _ left: Int, _ right: Int) {
        guard var text = texts.last else { return }
        let record = nextRecord
        switch kind % 4 {
        case 0:
            let start = left % text.body.count
            let run = start..<start + 1 + right % (text.body.count - start)
            let removed = Array(text.body[run])
            journal.replace(run, by: record, in: &stream)
            text.body.replaceSubrange(run, with: [Item(record: record, first: removed[0].first, last: removed[removed.count - 1].last)])
            edits.append(Edit(record: record, removed: removed))
        case 1:
            let pieces = [UInt32(left % texts[0].body.count), UInt32(right % texts[0].body.count)].sorted()
            journal.add(record, first: pieces[0], last: pieces[1], to: &stream)
            text.added.append(Item(record: record, first: pieces[0], last: pieces[1]))
            edits.append(Edit(record: record, removed: []))
        case 2:
            guard !edits.isEmpty, let edit = edits[left % edits.count] else { return }
            if let place = text.body.firstIndex(where: { $0.record == edit.record }) {
                journal.withdraw(left % edits.count, at: place, from: &stream)
                text.body.replaceSubrange(place...place, with: edit.removed)
            } else if let place = text.added.firstIndex(where: { $0.record == edit.record }) {
                journal.withdraw(left % edits.count, at: text.body.count + place, from: &stream)
                text.added.remove(at: place)
            } else {
                return
            }
            edits.append(nil)
        default: return goBack(to: left % (edits.count + 1))
        }
        nextRecord += 1
        texts.append(text)
    }

    mutating func goBack(to count: Int) {
        journal.revert(to: count, in: &stream)
        edits.removeLast(edits.count - count)
        texts.removeLast(texts.count - count - 1)
    }

    func check(pieceCount: Int) {
        precondition(stream.problem(recordCount: Int(nextRecord), pieceCount: pieceCount) == nil, "no program")
        let items = zip(stream.operands, stream.placements).map { Item(record: $0, first: $1.first, last: $1.last) }
        let text = Text(body: Array(items[..<stream.bodyCount]), added: Array(items[stream.bodyCount...]))
        precondition(text == texts.last && journal.count == edits.count, "another program than the model's")
    }
}

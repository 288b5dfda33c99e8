import KeyValueStore
import RuleLibrary
import Rules
import TestSupport
import Testing

@Suite struct LibraryTests {
    private let folder: TemporaryFolder
    private let generations = GeneratedGenerations(seed: 1, size: 40)

    init() throws { folder = try TemporaryFolder() }

    private func library(_ access: Environment.Access = .writing) throws -> Library {
        try Library(folder.path("library"), access: access)
    }

    /// Adds generations 0, 1, … and returns what they are.
    private func fill(_ library: inout Library, _ count: Int) throws -> [Generation] {
        try (0..<count).map { number in
            let generation = generations[number]
            try library.add(generation, worth: generations.worth(number))
            return generation
        }
    }

    @Test func `a generation comes back as it was put in`() throws {
        var added: [Generation] = []
        do {
            var library = try library()
            added = try fill(&library, 6)
        }
        var library = try library(.reading)
        for (number, generation) in added.enumerated() {
            let (found, worth) = try library.generation(generation.digest)
            #expect(found.rules == generation.rules && found.records == generation.records)
            #expect(found.origin == generation.origin && found.model == generation.model)
            #expect(worth == generations.worth(number))
        }
        let verification = try library.verify()
        #expect(verification.generationCount == 6 && verification.faults == [] && verification.partCount > 40)
    }

    @Test func `the digest is that of the contents, not of what was measured`() throws {
        let generation = generations[3]
        #expect(generation.digest == generations[3].digest)
        var origin = generation.origin
        origin.seed += 1
        let other = Generation(
            model: generation.model, origin: origin, rules: generation.rules, records: generation.records)
        #expect(other.digest != generation.digest)
        var records = generation.records
        records[0] ^= 1
        #expect(
            Generation(model: generation.model, origin: generation.origin, rules: generation.rules, records: records).digest
                != generation.digest)
        var library = try library()
        try library.add(generation, worth: generations.worth(1))
        try library.add(generation, worth: generations.worth(2))
        #expect(try library.summaries().count == 1)
        #expect(try library.generation(generation.digest).worth == generations.worth(2))
    }

    @Test func `generations share the rules and phrases that they have in common`() throws {
        var library = try library()
        let added = try fill(&library, 2)
        let (a, b) = (try library.rules(of: added[0].digest), try library.rules(of: added[1].digest))
        // 0 and 1 have the same rules over records of which two differ: rules that name no changed phrase are shared.
        #expect(added[0].rules == added[1].rules && added[0].records != added[1].records)
        let shared = Set(a.map(\.id)).intersection(b.map(\.id))
        #expect(!shared.isEmpty && shared.count < a.count)
        for id in shared {
            #expect(a.first { $0.id == id }?.rule == b.first { $0.id == id }?.rule)
        }
        let separate = [0, 1].reduce(0) { sum, number in
            sum + added[number].rules.rules.count + added[number].rules.phraseCount + added[number].rules.classes.count
        }
        #expect(try library.verify().partCount < separate)
    }

    @Test func `phrases with equal records stay two phrases`() throws {
        let rules = try RuleSet(
            vocabularyCount: 4, phraseCount: 2,
            rules: [
                Rule(.adjacent(records: 0, 1), .replace, phrase: 0, worth: 1),
                Rule(.adjacent(records: 1, 2), .replace, phrase: 1, worth: 1),
                Rule(.adjacent(records: 4, 5), .replace, phrase: 1, worth: 1),
            ])
        let generation = Generation(
            model: GeneratedGenerations.model, origin: Origin(), rules: rules, records: [1, 2, 3, 4, 1, 2, 3, 4])
        var library = try library()
        try library.add(generation, worth: generations.worth(0))
        let found = try library.generation(generation.digest).generation
        #expect(found.rules == rules && found.records == generation.records)
    }

    @Test func `one generation is promoted, and roll-back brings back the one before`() throws {
        var library = try library()
        let added = try fill(&library, 3)
        #expect(throws: LibraryError.nothingPromoted(path: library.path)) { try library.promoted() }
        #expect(throws: LibraryError.noPrevious(path: library.path)) { try library.promotePrevious(milliseconds: 0) }
        for number in [0, 2, 2] { try library.promote(added[number].digest, milliseconds: Int64(number)) }
        #expect(try library.promoted().generation.digest == added[2].digest)
        #expect(try library.summaries().filter(\.isPromoted).map(\.digest) == [added[2].digest])
        #expect(try library.promotePrevious(milliseconds: 5) == added[0].digest)
        #expect(try library.promoted().generation.digest == added[0].digest)
        #expect(try library.promotePrevious(milliseconds: 6) == added[2].digest)
        #expect(try library.promotions().map(\.milliseconds) == [6, 5, 2, 2, 0])
        let absent = generations[9].digest
        #expect(throws: LibraryError.unknown(path: library.path, name: absent.short)) {
            try library.promote(absent, milliseconds: 7)
        }
        #expect(try library.promoted().generation.digest == added[2].digest)
    }

    @Test func `a prefix names one generation or is refused`() throws {
        var library = try library()
        let added = try fill(&library, 20)
        #expect(try library.digest(beginningWith: added[4].digest.description.uppercased()) == added[4].digest)
        #expect(try library.digest(beginningWith: String(added[4].digest.description.prefix(20))) == added[4].digest)
        #expect(throws: LibraryError.unknown(path: library.path, name: "zz")) { try library.digest(beginningWith: "zz") }
        #expect(throws: LibraryError.unknown(path: library.path, name: "")) { try library.digest(beginningWith: "") }
        // Of 20 digests at least two begin with the same of 16 digits.
        let first = Dictionary(grouping: added) { $0.digest.description.prefix(1) }.first { $0.value.count > 1 }
        let (letter, count) = (String(try #require(first?.key)), try #require(first?.value.count))
        #expect(throws: LibraryError.ambiguous(path: library.path, name: letter, count: count)) {
            try library.digest(beginningWith: letter)
        }
    }

    @Test func `pruning keeps what serves, what served before, and the youngest`() throws {
        var library = try library()
        let added = try fill(&library, 10)
        for number in [1, 0, 2] { try library.promote(added[number].digest, milliseconds: 0) }
        let trial = try library.prune(keeping: 3, isTrial: true)
        #expect(try library.summaries().count == 10)
        let before = try library.verify()
        let pruned = try library.prune(keeping: 3)
        #expect(pruned == trial && Set(pruned.generations) == Set([1, 3, 4, 5, 6].map { added[$0].digest }))
        let after = try library.verify()
        #expect(after.faults == [] && after.generationCount == 5 && after.partCount == before.partCount - pruned.partCount)
        for number in [0, 2, 7, 8, 9] {
            #expect(try library.generation(added[number].digest).generation.records == added[number].records)
        }
        #expect(try library.prune(keeping: 3).generations == [])
        // Pinned is told apart from kept anyway; what is not in the library is not missed.
        let absent = added[3].digest
        let held = try library.prune(keeping: 1, pinned: [added[7].digest, added[9].digest, absent])
        #expect(held.generations == [added[8].digest] && held.pinned == [added[7].digest])
        #expect(Set(try library.summaries().map(\.digest)) == Set([0, 2, 7, 9].map { added[$0].digest }))
        #expect(try library.verify().faults == [] && library.generation(added[7].digest).generation.rules == added[7].rules)
        // What was pruned can be put in again.
        try library.add(added[3], worth: generations.worth(3))
        #expect(try library.generation(added[3].digest).generation.rules == added[3].rules)
    }

    @Test func `a library that is not there, or is something else, is told apart`() throws {
        #expect(throws: LibraryError.store(.missing(path: folder.path("library")))) { _ = try library(.reading) }
        _ = try Environment(folder.path("other"), tables: ["parts"], access: .writing)
        #expect(throws: LibraryError.store(.foreign(path: folder.path("other"), reason: "it has no table library"))) {
            _ = try Library(folder.path("other"), access: .reading)
        }
    }

    @Test func `what does not fit in the map enlarges it`() throws {
        var library = try Library(folder.path("library"), access: .writing, mapBytes: 128 << 10)
        let large = GeneratedGenerations(seed: 3, size: 4_000)
        let generation = large[0]
        #expect(generation.records.count > 256 << 10)
        try library.add(generation, worth: large.worth(0))
        #expect(try library.generation(generation.digest).generation.records == generation.records)
        #expect(try library.verify().faults == [])
    }
}

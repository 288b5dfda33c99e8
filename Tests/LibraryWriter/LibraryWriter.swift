import Diagnostics
import Glibc
import KeyValueStore
import RuleLibrary
import Rules
import TestSupport

/// A process that tests can kill while it writes:
/// `library-writer write FOLDER FIRST COUNT SIZE MAPBYTES` adds and promotes generations FIRST, FIRST + 1, … and says the number
/// of each when it is durable; `library-writer check FOLDER` verifies; `library-writer measure FOLDER RULES PHRASES` times a
/// generation of this size (docs/performance.md). Errors are one line and status 1.
@main enum LibraryWriter {
    static func main() {
        let arguments = CommandLine.arguments
        do throws(LibraryError) {
            if arguments.count == 7, arguments[1] == "write", let first = Int(arguments[3]), let count = Int(arguments[4]),
                let size = Int(arguments[5]), let mapBytes = Int(arguments[6])
            {
                try write(arguments[2], first..<first + count, size: size, mapBytes: mapBytes)
            } else if arguments.count == 3, arguments[1] == "check" {
                var library = try Library(arguments[2], access: .reading)
                let result = try library.verify()
                say("\(result.generationCount) generations, faults: \(result.faults)")
                exit(result.faults.isEmpty ? 0 : 1)
            } else if arguments.count == 5, arguments[1] == "measure", let rules = Int(arguments[3]), let phrases = Int(arguments[4]) {
                try measure(arguments[2], ruleCount: rules, phraseCount: phrases)
            } else {
                say("usage: see LibraryWriter.swift")
                exit(64)
            }
        } catch {
            say("error: \(error.description)")
            exit(1)
        }
    }

    private static func write(_ folder: String, _ numbers: Range<Int>, size: Int, mapBytes: Int) throws(LibraryError) {
        let generations = GeneratedGenerations(seed: 1, size: size)
        var library = try Library(folder, access: .writing, mapBytes: mapBytes)
        for number in numbers {
            let generation = generations[number]
            try library.add(generation, worth: generations.worth(number))
            try library.promote(generation.digest, milliseconds: Int64(number))
            if number % 8 == 7 { _ = try library.prune(keeping: 8) }
            say("\(number)")
        }
    }

    private static func measure(_ folder: String, ruleCount: Int, phraseCount: Int) throws(LibraryError) {
        let pieceCount: UInt32 = 32_000
        var random = SeededRandom(seed: 1)
        var pairs: Set<UInt64> = []
        while pairs.count < ruleCount {
            pairs.insert(UInt64.random(in: 0..<UInt64(pieceCount) * UInt64(pieceCount), using: &random))
        }
        let rules = pairs.sorted().map { pair in
            Rule(
                .adjacent(records: UInt32(pair / UInt64(pieceCount)), UInt32(pair % UInt64(pieceCount))), .add,
                phrase: UInt32(pair % UInt64(phraseCount)), worth: Float(pair % 97) / 97)
        }
        let generation: Generation
        do throws(RuleError) {
            let set = try RuleSet(vocabularyCount: Int(pieceCount), phraseCount: phraseCount, rules: rules)
            generation = Generation(
                model: GeneratedGenerations.model, origin: Origin(), rules: set,
                records: (0..<phraseCount * 704).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 16) })
        } catch { throw .rules(error) }
        func timed(_ what: String, _ body: () throws(LibraryError) -> Void) throws(LibraryError) {
            let start = ContinuousClock.now
            try body()
            var usage = rusage()
            getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
            let processor = Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
                + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
            say("\(what): \(ContinuousClock.now - start), processor time so far \(processor) s, peak \(usage.ru_maxrss / 1_024) MiB")
        }
        try timed("add") { () throws(LibraryError) in
            var library = try Library(folder, access: .writing)
            try library.add(generation, worth: Worth(madeMilliseconds: 0))
        }
        try timed("promote") { () throws(LibraryError) in
            var library = try Library(folder, access: .writing)
            try library.promote(generation.digest, milliseconds: 0)
        }
        try timed("open, and list") { () throws(LibraryError) in
            var library = try Library(folder, access: .reading)
            _ = try library.summaries()
        }
        try timed("open, and read what is promoted") { () throws(LibraryError) in
            var library = try Library(folder, access: .reading)
            _ = try library.promoted()
        }
    }

    private static func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = Glibc.write(STDOUT_FILENO, bytes, bytes.count)
    }
}

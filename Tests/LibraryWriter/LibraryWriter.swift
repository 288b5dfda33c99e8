import Diagnostics
import Glibc
import KeyValueStore
import RuleLibrary
import TestSupport

/// A process that tests can kill while it writes:
/// `library-writer write FOLDER FIRST COUNT SIZE MAPBYTES` adds and promotes generations FIRST, FIRST + 1, … and says the number
/// of each when it is durable; `library-writer check FOLDER` verifies. Errors are one line and status 1.
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

    private static func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = Glibc.write(STDOUT_FILENO, bytes, bytes.count)
    }
}

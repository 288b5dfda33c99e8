import ArgumentParser
import Bytes
import KeyValueStore
import RuleLibrary

/// `sae rules verify`: whether a library is whole.
struct VerifyLibraryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Read a whole library and check every checksum and digest.",
        discussion: """
            Exit code 65 when something is wrong.

            Example:
              sae rules verify --library lib
            """)

    @OptionGroup var place: LibraryArguments

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        var library = try Library(place.library, access: .reading)
        let result = try library.verify()
        if json {
            var writer = JSONWriter()
            writer.object { writer in
                writer.value("generations", result.generationCount)
                writer.value("parts", result.partCount)
                writer.array("faults", result.faults) { $0.value(nil, $1) }
            }
            print(writer.text)
        } else {
            for fault in result.faults { print(fault) }
            print("\(result.generationCount) generations, \(result.partCount) parts, \(result.faults.count) faults")
        }
        if let fault = result.faults.first { throw LibraryError.damaged(path: place.library, reason: fault) }
    }
}

import Foundation
import KeyValueStore
import RuleLibrary
import TestSupport
import Testing

/// What other processes, the disk and the power do to a library.
@Suite(.serialized) struct LibraryFaultTests {
    private let folder: TemporaryFolder
    private let generations = GeneratedGenerations(seed: 1, size: 40)
    private var path: String { folder.path("library") }

    init() throws { folder = try TemporaryFolder() }

    private func expect(_ library: inout Library, toHold numbers: ClosedRange<Int>) throws {
        for number in numbers where number >= 0 {
            let wanted = generations[number]
            let (found, worth) = try library.generation(wanted.digest)
            #expect(found.rules == wanted.rules && found.records == wanted.records && found.origin == wanted.origin)
            #expect(worth == generations.worth(number), "\(number)")
        }
    }

    @Test func `nothing that was said to be written is lost when the writer is killed, 200 times`() throws {
        var random = SeededRandom(seed: 11)
        var next = 0
        for round in 0..<200 {
            let writer = try WriterProcess(["write", path, "\(next)", "1000000", "40", "65536"])
            var said = next - 1
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                guard let line = writer.nextLine() else { break }
                said = try #require(Int(line))
            }
            // Any moment of the next write, which takes a few hundred microseconds.
            let moment = ContinuousClock.now + .microseconds(Int.random(in: 0..<1_500, using: &random))
            while ContinuousClock.now < moment {}
            writer.kill()
            for line in writer.finish().lines { said = try #require(Int(line)) }
            #expect(said >= next, "round \(round)")

            var library = try Library(path, access: .writing)
            let faults = try library.verify().faults
            #expect(faults == [], "round \(round)")
            // The last ones that pruning leaves, and one that was written but not said.
            try expect(&library, toHold: max(0, said - 6)...said)
            let promoted = try library.promoted().generation.digest
            #expect(promoted == generations[said].digest || promoted == generations[said + 1].digest, "round \(round)")
            next = said + 1
        }
        #expect(next >= 400)
    }

    @Test func `a reader sees whole generations while another process writes and the map grows`() throws {
        do { _ = try Library(path, access: .writing, mapBytes: 65_536) }
        var library = try Library(path, access: .reading)
        let writer = try WriterProcess(["write", path, "0", "100", "40", "65536"])
        #expect(writer.nextLine() == "0")
        var last = -1
        var seen = 0
        while last < 99 {
            let (found, worth) = try library.promoted()
            let number = Int(worth.madeMilliseconds)
            #expect(number >= last)
            if number > last {
                let wanted = generations[number]
                #expect(found.digest == wanted.digest && found.rules == wanted.rules && found.records == wanted.records)
                (last, seen) = (number, seen + 1)
            }
            if !writer.isRunning, last < 99, try library.promoted().worth.madeMilliseconds < 99 { break }
        }
        #expect(last == 99 && seen > 2)
        #expect(writer.finish().status == 0)
        #expect(try Data(contentsOf: URL(fileURLWithPath: path + "/data.mdb")).count > 65_536)
    }

    @Test func `two writers take turns`() throws {
        let writers = try [0, 1_000].map { try WriterProcess(["write", path, "\($0)", "7", "40", "65536"]) }
        for writer in writers { #expect(writer.finish().status == 0) }
        var library = try Library(path, access: .reading)
        #expect(try library.verify().faults == [])
        try expect(&library, toHold: 0...6)
        try expect(&library, toHold: 1_000...1_006)
        #expect(try library.promotions().count == 14)
    }

    @Test func `a file that may not grow is an error, and everything before it stays`() throws {
        // Blocks of 512 bytes; the map of 64 KiB doubles until it may not.
        let writer = try WriterProcess(
            ["write", path, "0", "1000", "400", "65536"], shell: "trap '' XFSZ; ulimit -f 600; exec \"$0\" \"$@\"")
        let (lines, status) = writer.finish()
        #expect(status == 1)
        #expect(lines.last == "error: cannot enlarge \(path): File too large")
        let said = try #require(lines.dropLast().last.flatMap { Int($0) })
        var library = try Library(path, access: .writing)
        #expect(try library.verify().faults == [])
        let large = GeneratedGenerations(seed: 1, size: 400)
        #expect(try library.promoted().generation.records == large[said].records)
        try library.add(large[said + 5], worth: large.worth(said + 5))
    }

    /// Whether this process may make a file system of its own.
    private static let mayMount: Bool = {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/unshare")
        process.arguments = ["--mount", "--map-root-user", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }()

    @Test(.enabled(if: mayMount, "needs a user namespace with mounts"))
    func `a full disk is an error that says so, and everything before it stays`() throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let writer = try WriterProcess(
            [path],
            shell: """
                exec unshare --mount --map-root-user sh -c '
                    mount -t tmpfs -o size=600k tmpfs "$1" && mkdir "$1/library"
                    "$0" write "$1/library" 0 1000 400 65536; echo "status $?"
                    "$0" check "$1/library"; echo "status $?"' "$0" "$1"
                """)
        let lines = writer.finish().lines
        let at = try #require(lines.firstIndex { $0.hasPrefix("error") })
        #expect(at > 2 && lines[at].contains(": No space left on device; free some space on that disk"))
        #expect(lines[at + 1] == "status 1" && lines[at + 2].hasSuffix("faults: []") && lines[at + 3] == "status 0")
    }

    @Test func `a changed byte of what is kept is found, and named`() throws {
        do {
            var library = try Library(path, access: .writing)
            for number in 0..<2 {
                try library.add(generations[number], worth: generations.worth(number))
                try library.promote(generations[number].digest, milliseconds: 0)
            }
        }
        let file = URL(fileURLWithPath: path + "/data.mdb")
        let whole = try Data(contentsOf: file)
        for wanted in [generations[1].records[0..<64], ArraySlice(generations[1].digest.bytes)] {
            var from = 0
            var named = 0
            while let range = whole.range(of: Data(wanted), in: from..<whole.count) {
                var damaged = whole
                damaged[range.lowerBound + 9] ^= 4
                try damaged.write(to: file)
                var library = try Library(path, access: .reading)
                do {
                    // A place that is in use no more changes nothing.
                    if try library.verify().faults != [] { named += 1 } else { try expect(&library, toHold: 0...1) }
                } catch LibraryError.damaged { named += 1 }
                from = range.upperBound
            }
            #expect(named > 0)
        }
    }
}

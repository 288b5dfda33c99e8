import Bytes
import Foundation
import KeyValueStore
import TestSupport
import Testing

@Suite struct EnvironmentTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func store(_ access: Environment.Access = .writing, mapBytes: Int = Environment.initialMapBytes) throws -> Environment {
        try Environment(folder.path("store"), tables: ["a", "b"], access: access, mapBytes: mapBytes)
    }

    private var file: String { folder.path("store/data.mdb") }

    private struct Refusal: Error {}

    @Test func `entries come back, in the order of their keys' bytes`() throws {
        do {
            var store = try store()
            let (a, b) = (store.table("a"), store.table("b"))
            try store.write { transaction in
                for key: UInt8 in [9, 1, 200, 40] { try transaction.put([key, key], for: [key], in: a) }
                try transaction.put([], for: [1], in: b)
                try transaction.put([5], for: [9], in: a)
                try transaction.remove([40], in: a)
                try transaction.remove([41], in: a)
            }
        }
        var store = try store(.reading)
        let (a, b) = (store.table("a"), store.table("b"))
        try store.read { view in
            var entries: [[UInt8]] = []
            try view.forEach(in: a) { entries.append(Array($0) + Array($1)); return true }
            #expect(entries == [[1, 1, 1], [9, 5], [200, 200, 200]])
            entries = []
            try view.forEach(in: a, from: [2]) { key, _ in entries.append(Array(key)); return false }
            #expect(entries == [[9]])
            #expect(try view.value(of: [1], in: b) == [] && view.value(of: [2], in: b) == nil)
            #expect(try view.lastKey(in: a) == [200] && view.count(of: a) == 3)
        }
    }

    @Test func `what a change throws undoes it`() throws {
        var store = try store()
        let a = store.table("a")
        try store.write { try $0.put([1], for: [1], in: a) }
        #expect(throws: Refusal.self) {
            try store.write { transaction in
                try transaction.put([2], for: [1], in: a)
                throw Refusal()
            }
        }
        #expect(try store.read { try $0.value(of: [1], in: a) } == [1])
    }

    @Test func `a change that does not fit is done again in a larger map`() throws {
        var store = try store(mapBytes: 64 << 10)
        let a = store.table("a")
        var attempts = 0
        let value = [UInt8](repeating: 3, count: 1_000)
        try store.write { transaction in
            attempts += 1
            for key in 0..<1_000 { try transaction.put(value, for: [UInt8(key & 255), UInt8(key >> 8)], in: a) }
        }
        #expect(attempts > 1)
        #expect(try store.read { try $0.count(of: a) } == 1_000)
    }

    @Test func `a file that was cut off is refused before it is mapped`() throws {
        do {
            var store = try store(mapBytes: 256 << 10)
            let a = store.table("a")
            try store.write { transaction in
                for key: UInt8 in 0..<40 { try transaction.put([UInt8](repeating: key, count: 1_000), for: [key], in: a) }
            }
        }
        let whole = try Data(contentsOf: URL(fileURLWithPath: file))
        var refused = 0
        for size in stride(from: whole.count, through: 0, by: -2_048) {
            try whole.prefix(size).write(to: URL(fileURLWithPath: file))
            do {
                var store = try store(.reading)
                let a = store.table("a")
                let sum = try store.read { view in
                    var sum = 0
                    try view.forEach(in: a) { sum += $1.reduce(0) { $0 + Int($1) }; return true }
                    return sum
                }
                #expect(sum == (0..<40).reduce(0) { $0 + $1 * 1_000 } && refused == 0, "\(size)")
            } catch StoreError.truncated(path: file, expected: let expected, actual: let actual) {
                #expect(actual == UInt64(size) && expected > actual)
                refused += 1
            } catch StoreError.missing(path: folder.path("store")) where size == 0 {}
        }
        #expect(refused > 20)
    }

    @Test func `a damaged header is refused, or what it says is still true`() throws {
        do {
            var store = try store()
            let a = store.table("a")
            for key: UInt8 in 0..<9 { try store.write { try $0.put([key], for: [key], in: a) } }
        }
        let whole = try Data(contentsOf: URL(fileURLWithPath: file))
        var refused = 0
        for byte in Array(0..<160) + Array(4_096..<4_256) {
            var damaged = whole
            damaged[byte] ^= 0x40
            try damaged.write(to: URL(fileURLWithPath: file))
            do {
                var store = try store(.reading)
                let a = store.table("a")
                _ = try store.read { try $0.count(of: a) }
            } catch is StoreError { refused += 1 }
        }
        #expect(refused > 40)
    }

    @Test func `no changed byte stops the process, and none gives an entry twice`() throws {
        do {
            var store = try store(mapBytes: 256 << 10)
            let (a, b) = (store.table("a"), store.table("b"))
            for round: UInt8 in 0..<4 {
                try store.write { transaction in
                    for key: UInt8 in 0..<120 {
                        try transaction.put([UInt8](repeating: key ^ round, count: 150), for: [key, 1], in: a)
                    }
                    try transaction.put([UInt8](repeating: round, count: 9_000), for: [round], in: b)
                    try transaction.remove([round &- 2], in: b)
                }
            }
        }
        let whole = try Data(contentsOf: URL(fileURLWithPath: file))
        var random = SeededRandom(seed: 12)
        var refused = 0
        for round in 0..<600 {
            var damaged = whole
            // Half of the changes hit the head of a page and its offsets, where the structure is.
            let page = Int.random(in: 0..<30, using: &random) * 4_096
            let place = page + Int.random(in: 0..<(round % 2 == 0 ? 64 : 4_096), using: &random)
            damaged[place] ^= UInt8(1 << Int.random(in: 0..<8, using: &random))
            try damaged.write(to: URL(fileURLWithPath: file))
            do {
                var store = try store(round % 3 == 0 ? .writing : .reading)
                for table in [store.table("a"), store.table("b")] {
                    try store.read { view in
                        var keys: Set<[UInt8]> = []
                        try view.forEach(in: table) { key, _ in
                            #expect(keys.insert(Array(key)).inserted)
                            return true
                        }
                        for key in keys { _ = try view.value(of: key, in: table) }
                    }
                }
                if round % 3 == 0 {
                    let a = store.table("a")
                    try store.write { transaction in
                        for key: UInt8 in 0..<120 { try transaction.put([key], for: [key, 2], in: a) }
                    }
                }
            } catch is StoreError { refused += 1 }
        }
        #expect(refused > 60)
    }

    @Test func `a file that is no store is named`() throws {
        try FileManager.default.createDirectory(atPath: folder.path("store"), withIntermediateDirectories: true)
        try Data(repeating: 65, count: 20_000).write(to: URL(fileURLWithPath: file))
        #expect(throws: StoreError.damaged(path: file, reason: "its first page is not that of a store")) { _ = try store() }
        #expect(throws: StoreError.missing(path: folder.path("none"))) {
            _ = try Environment(folder.path("none"), tables: [], access: .reading)
        }
    }
}

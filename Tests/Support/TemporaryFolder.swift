import Foundation

/// A folder of one test, removed with everything in it when the object goes.
package final class TemporaryFolder: Sendable {
    package let root: String

    package init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("sae-test-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        root = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    package func path(_ name: String) -> String { "\(root)/\(name)" }
}

import Bytes
import Diagnostics
import Foundation
import TestSupport
import Testing

@Suite struct ResourceLocatorTests {
    @Test func `a checkout above the executable comes first, the innermost one before all`() throws {
        let folder = try TemporaryFolder()
        let outer = folder.path("outer")
        let inner = "\(outer)/inner"
        for root in [outer, inner] {
            try FileManager.default.createDirectory(atPath: "\(root)/bin", withIntermediateDirectories: true)
            try Data().write(to: URL(fileURLWithPath: "\(root)/Package.swift"))
        }
        let candidates = ResourceLocator.modelCandidates("m.sae", executable: "\(inner)/bin/sae")
        #expect(
            candidates.prefix(3) == [
                "\(inner)/deploy/models/m.sae", "\(outer)/deploy/models/m.sae",
                "\(inner)/share/sae/models/m.sae",
            ])
    }

    @Test func `an installed tree is found beside its bin folder`() throws {
        let folder = try TemporaryFolder()
        let models = folder.path("share/sae/models")
        try FileManager.default.createDirectory(atPath: models, withIntermediateDirectories: true)
        try Data([1]).write(to: URL(fileURLWithPath: "\(models)/m.sae"))
        #expect(try ResourceLocator.model("m.sae", executable: folder.path("bin/sae")) == "\(models)/m.sae")
    }

    @Test func `without a model the error names where it was looked for`() throws {
        let folder = try TemporaryFolder()
        let error = #expect(throws: FileError.self) {
            try ResourceLocator.model("no-such-model.sae", executable: folder.path("bin/sae"))
        }
        #expect(error?.category == .notFound)
        #expect(error?.summary.contains(folder.path("share/sae/models/no-such-model.sae")) == true)
    }

    @Test func `system folders are the last resort`() {
        #expect(
            ResourceLocator.modelCandidates("m.sae", executable: nil) == [
                "/usr/local/share/sae/models/m.sae", "/usr/share/sae/models/m.sae",
            ])
    }
}

import ArgumentParser
import Bytes
import Diagnostics
import Models
import Programs
import SAEEngine
import Vectors

/// `sae model`: what is in a model file.
struct ModelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model", abstract: "Look at model files.", subcommands: [ModelInfoCommand.self])
}

/// `sae model info`: opens a model file, which checks it, and prints what it holds.
struct ModelInfoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "Check a model file and print what it holds.",
        discussion: """
            Examples:
              sae model info
              sae model info my.sae --json
              sae model info my.sae --verify

            The digest names the model everywhere: it is SHA-256 of the table of sections and of every section, without the file's \
            header and padding. sha256 is that of the whole file, as sha256sum prints it.
            """)

    @Argument(help: "A model file; without it, the model that comes with the program.")
    var file: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    @Flag(help: "Also compute the digest again, and embed the model's own test text.")
    var verify = false

    func run() throws {
        let path = if let file { file } else { try ResourceLocator.model() }
        let model = try Model(path)
        if verify {
            guard model.verifyDigest() else {
                throw ModelError.header(path: path, reason: "the digest is not that of the contents")
            }
            try Engine(contentsOf: path).selfTest()
        }
        let file = try MappedFile(path)
        let sum = withExtendedLifetime(file) { SHA256.digest(of: file.bytes) }
        print(json ? jsonReport(model, path, sha256: sum) : textReport(model, path, sha256: sum))
    }

    private func textReport(_ model: Model, _ path: String, sha256 sum: [UInt8]) -> String {
        var lines = [
            ("file", path), ("name", model.name), ("dimensions", "\(model.dimensions)"),
            ("pieces", "\(model.tables.vocabularyCount)"),
            ("shape", model.tables.shape.summary), ("temperature", "\(model.tables.temperature)"), ("digest", hexadecimal(model.digest)),
            ("sha256", hexadecimal(sum)),
        ]
        lines += model.sections.map { ("section \($0.name)", "\($0.bytes) bytes") }
        lines += model.provenance.map { ($0.key, $0.value) }
        if verify { lines.append(("verified", "digest and self-test")) }
        let width = lines.map(\.0.count).max() ?? 0
        return lines.map { key, value in
            key + String(repeating: " ", count: width - key.count + 2) + value
        }.joined(separator: "\n")
    }

    private func jsonReport(_ model: Model, _ path: String, sha256 sum: [UInt8]) -> String {
        let sections = model.sections.map { "\(JSONWriter.quoted($0.name)):\($0.bytes)" }
        let provenance = model.provenance.map { "\(JSONWriter.quoted($0.key)):\(JSONWriter.quoted($0.value))" }
        let fields = [
            "\"file\":\(JSONWriter.quoted(path))", "\"name\":\(JSONWriter.quoted(model.name))", "\"dimensions\":\(model.dimensions)",
            "\"pieces\":\(model.tables.vocabularyCount)", "\"digest\":\(JSONWriter.quoted(hexadecimal(model.digest)))",
            "\"sha256\":\(JSONWriter.quoted(hexadecimal(sum)))",
            "\"sections\":{\(sections.joined(separator: ","))}",
            "\"provenance\":{\(provenance.joined(separator: ","))}", "\"verified\":\(verify)",
        ]
        return "{\(fields.joined(separator: ","))}"
    }
}

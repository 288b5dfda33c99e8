import Bytes
import Foundation
import Models
import TestSupport
import Testing

/// The domain: generated sentences, of which the teacher says what the model does, and something of its own of "river".
@Suite struct AdaptCommandTests {
    private let folder: TemporaryFolder
    private let model: String
    private let texts: String
    private let vectors: String
    private let (otherTexts, otherVectors): (String, String)

    init() throws {
        folder = try TemporaryFolder()
        model = folder.path("tiny.sae")
        try TinyModel.contentsWithPlainRules().write(to: model)
        let domain = try RiverTeacher(folder.path("texts"), count: 1_500, seed: 31, model: model)
        let others = try RiverTeacher(folder.path("others"), count: 1_000, seed: 32, model: model)
        (texts, vectors, otherTexts, otherVectors) = (domain.texts, domain.vectors, others.texts, others.vectors)
    }

    private var options: [String] {
        ["--model", model, "--output", folder.path("mine.sae"), "--epochs", "25", "--kept", "1000", "--held-out", "500", "--json",
         "--rounds", "2", "--minimum-count", "20"]
    }

    private func object(_ run: Command) throws -> [String: Any] {
        #expect(run.status == 0, "\(run.errors)")
        return try #require(try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
    }

    @Test func `a domain gains on texts kept from everything, and its rules are promoted`() throws {
        let run = try Command(["adapt", texts, "--vectors", vectors, "--general", otherTexts, "--general-vectors", otherVectors] + options)
        let result = try object(run)
        let domain = try #require(result["domain"] as? [String: Any])
        let (gain, error) = (domain["gain"] as? Double ?? 0, domain["gain_error"] as? Double ?? 1)
        #expect(gain > 2 * error && result["promoted"] as? Bool == true, "\(run.output)")
        #expect((100...200).contains(domain["texts"] as? Int ?? 0) && result["general"] != nil)
        #expect(domain["final"] as? NSDictionary != domain["before"] as? NSDictionary)
        let before = (domain["before"] as? [String: Any])?["cosine"] as? Double ?? 1
        let final = (domain["final"] as? [String: Any])?["cosine"] as? Double ?? 0
        #expect(abs(final - before - gain) < 1e-9)
        for step in ["measuring the model", "fitting", "searching for rules", "measuring the result"] {
            #expect(run.errors.contains("== \(step)"))
        }
        // The library is the model's, and what is promoted is what was reported.
        let adapted = try Model(folder.path("mine.sae"))
        #expect(adapted.provenance.contains { $0.key == "from" && $0.value == (try? hexadecimal(Model(model).digest)) })
        let listed = try Command(["rules", "show", "promoted", "--library", folder.path("mine.library"), "--model", folder.path("mine.sae"), "--json"])
        let shown = try object(listed)
        #expect(shown["digest"] as? String == result["generation"] as? String)
        #expect(shown["model"] as? String == hexadecimal(adapted.digest))
    }

    @Test func `a teacher's folder is given to the capture, and its failure is told`() throws {
        // In the place of Python: copies what would be captured, or fails.
        let python = folder.path("python")
        try "#!/bin/sh\necho \"$@\" >&2\ncp \(vectors) \"$3\"\n".write(toFile: python, atomically: true, encoding: .utf8)
        chmod(python, 0o755)
        let run = try Command(
            ["adapt", texts, "--teacher", "some/folder"] + options, environment: ["SAE_TEACHER_PYTHON": python])
        #expect(try object(run)["promoted"] as? Bool == true)
        #expect(run.errors.contains("capture.py \(texts) \(folder.path("mine.domain.npy")) --workers 2 --model some/folder"))
        let failing = try Command(
            ["adapt", texts, "--output", folder.path("other.sae"), "--model", model],
            environment: ["SAE_TEACHER_PYTHON": "/bin/false"])
        #expect(failing.status == 69 && failing.errors.contains("SAE_TEACHER_PYTHON"), "\(failing.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.path("other.sae")))
    }

    @Test func `what does not belong together is wrong usage`() throws {
        for wrong in [
            ["--vectors", vectors, "--teacher", "x"], ["--general-vectors", vectors],
            ["--vectors", vectors, "--general", texts], ["--vectors", vectors, "--kept", "0"],
            ["--vectors", vectors, "--kept", "5000", "--held-out", "5000"],
        ] {
            let run = try Command(["adapt", texts, "--model", model, "--output", folder.path("no.sae")] + wrong)
            #expect(run.status == 64, "\(wrong): \(run.errors)")
        }
        let missing = try Command(["adapt", folder.path("none"), "--vectors", vectors, "--model", model, "--output", folder.path("no.sae")])
        #expect(missing.status == 66)
    }
}

import Bytes
import Diagnostics
import Foundation

/// Runs `scripts/teacher/capture.py`: a teacher's vectors of the lines of a file.
struct TeacherCapture {
    /// The folder of a sentence-transformers model; nil for the script's default.
    var folder: String?
    var workers: Int

    /// The interpreter: of `SAE_TEACHER_PYTHON`, of the environment that scripts/teacher/README.md makes, or the one in PATH.
    private var python: String {
        let environment = ProcessInfo.processInfo.environment
        if let chosen = environment["SAE_TEACHER_PYTHON"], !chosen.isEmpty { return chosen }
        let usual = "\(environment["HOME"] ?? "")/.cache/sae-teacher/venv/bin/python"
        return FileManager.default.isExecutableFile(atPath: usual) ? usual : "python3"
    }

    /// Writes the vectors of `texts` to `output`, going on where a run before was stopped. The script shows its own progress.
    func run(_ texts: String, to output: String) throws {
        let script = try ResourceLocator.teacherScript("capture.py")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [python, script, texts, output, "--workers", "\(workers)"] + (folder.map { ["--model", $0] } ?? [])
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.standardError
        try process.run()
        process.waitUntilExit()
        guard process.terminationReason == .exit, process.terminationStatus == 0 else {
            throw CaptureError(texts: texts, python: python)
        }
    }
}

/// The script has said why, on standard error.
struct CaptureError: UserFacingError {
    let texts: String
    let python: String

    var summary: String { "the teacher's vectors of \(texts) could not be captured with \(python)" }
    var remedy: String? {
        "see what capture.py says above; scripts/teacher/README.md installs what it needs, SAE_TEACHER_PYTHON names another python"
    }
    var category: ErrorCategory { .unavailable }
}

/// What can be fuzzed, by name: each takes any bytes, and traps if a promise is broken.
package enum FuzzTarget {
    package static let all: [String: @Sendable (UnsafeRawBufferPointer) -> Void] = [
        "frames": fuzzFrames, "messages": fuzzMessages, "http": fuzzHTTP, "models": fuzzModels, "rules": fuzzRules,
        "configuration": fuzzConfiguration, "jobs": fuzzJobs, "journal": fuzzJournal, "lines": fuzzLines, "edits": fuzzEdits,
    ]
}

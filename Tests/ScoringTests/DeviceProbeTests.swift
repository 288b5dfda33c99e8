import Scoring
import Testing

@Suite struct DeviceProbeTests {
    private func check(_ script: String, seconds: Double = 20) throws(ScoringError) {
        let probe = DeviceProbe(
            command: ["/bin/sh", "-c", script], environment: ["PATH": "/usr/bin:/bin", "POCL_CACHE_DIR": "/other"],
            timeout: .seconds(seconds))
        try probe.check(device: "auto", cacheDirectory: KernelCacheDirectory(path: "/cache"))
    }

    private func failure(_ script: String, seconds: Double = 20) -> ScoringError? {
        #expect(throws: ScoringError.self) { try check(script, seconds: seconds) }
    }

    @Test func `a process that ends well is no error, whatever it says`() throws {
        try check("echo loud >&2; echo out")
        // Device and cache directory are passed on.
        try check("test \"$0\" = auto && test \"$POCL_CACHE_DIR\" = /cache")
    }

    @Test func `how a process died and its first words are told`() {
        #expect(
            failure("echo 'no ld!' >&2; kill -ABRT $$")
                == .crash(device: "auto", ending: "was ended by signal 6 (Aborted)", said: "no ld!", cache: "/cache"))
        #expect(failure("exit 3") == .crash(device: "auto", ending: "ended with exit code 3", said: "", cache: "/cache"))
        guard case .crash(_, _, let said, _)? = failure("yes 0123456789 | head -c 1000000 >&2; exit 1") else {
            Issue.record("another error")
            return
        }
        #expect(said.count == 301)
    }

    @Test func `a process that does not end is ended, with its children`() {
        let start = ContinuousClock.now
        let error = failure("sleep 100 & sleep 100; wait", seconds: 0.2)
        guard case .crash(_, let ending, _, _)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(ending == "did not end within 0.2 seconds")
        #expect(ContinuousClock.now - start < .seconds(10))
    }

    @Test func `a program that is not there is an error`() {
        let probe = DeviceProbe(command: ["/no/such/program"], environment: [:])
        #expect(throws: ScoringError.self) { try probe.check(device: "0", cacheDirectory: KernelCacheDirectory(path: "/c")) }
    }
}

import Foundation
import Scoring
import TestSupport
import Testing

/// Whatever OpenCL does, the batch is scored.
@Suite struct ResilientScorerTests {
    private let rules: BidRules
    private let features: [Float]
    /// What the CPU's int8 fires.
    private let expected: [[Fired]]

    init() throws {
        var random = SeededRandom(seed: 61)
        rules = try Made.rules(100, k: 40, using: &random)
        features = Made.features(9, k: 40, using: &random)
        let bids = try Int8Scorer(rules).allBids(features, rules)
        expected = firedRules(in: bids, H: 100, textCount: 9)
    }

    private func settings(
        _ choice: ScorerChoice, device: String = "auto", cache: KernelCacheDirectory = Made.cacheDirectory
    ) -> ScorerSettings {
        ScorerSettings(choice: choice, device: device, cacheDirectory: cache)
    }

    /// A batch by a new session: what fired, and how it was scored.
    private func fire(_ session: ResilientSession) -> (rules: [[Fired]], numerics: String) {
        var fired = FiredRules(ruleCount: rules.count, textCapacity: 1)
        let numerics = features.withUnsafeBufferPointer { session.fire($0, into: &fired) }
        let lists = (0..<fired.textCount).map { text in
            zip(fired.rules(ofText: text), fired.bids(ofText: text)).map {
                Fired(rule: $0, bits: $1.bitPattern)
            }
        }
        return (lists, numerics)
    }

    /// The scorer gave OpenCL up while it opened, and scores as int8 does.
    private func expectSubstitute(_ scorer: ResilientScorer, _ comment: Comment? = nil) {
        #expect(scorer.numerics == "cpu-3", comment)
        let (lists, numerics) = fire(scorer.makeSession())
        #expect(lists == expected, comment)
        #expect(numerics == "cpu-3", comment)
    }

    @Test(arguments: [
        (ScorerChoice.int8, "cpu-3"), (.reference, "reference-2"), (.blas, "blas-2:"), (.opencl, "opencl-2:"),
    ])
    func `each choice scores with its own arithmetic`(choice: ScorerChoice, name: String) throws {
        let scorer = ResilientScorer(rules, settings(choice))
        #expect(scorer.openingFailure == nil)
        #expect(scorer.numerics.hasPrefix(name))
        let session = scorer.makeSession()
        let (lists, numerics) = fire(session)
        #expect(numerics == scorer.numerics)
        let alone: any BidScorer =
            switch choice {
            case .blas: BLASScorer(rules)
            case .reference: ReferenceScorer(rules)
            case .opencl: try OpenCLScorer(rules, device: try Made.device())
            case .int8, .auto: Int8Scorer(rules)
            }
        #expect(lists == firedRules(in: try alone.allBids(features, rules), H: 100, textCount: 9))
    }

    @Test func `auto takes int8 where no GPU is likely, and where the device is none`() throws {
        let devices = try OpenCLDevice.all(cacheDirectory: Made.cacheDirectory)
        let cpu = try #require(devices.first { $0.kind == .cpu }, "these tests need PoCL")
        for gpuIsLikely in [false, true] {
            let scorer = ResilientScorer(
                rules, settings(.auto, device: "\(cpu.index)"), gpuIsLikely: gpuIsLikely,
                kernels: OpenCLScorer.shippedKernels)
            #expect(scorer.openingFailure == nil)
            expectSubstitute(scorer)
        }
    }

    @Test(arguments: ["no such device", "99", "-1", ""])
    func `a device that is not there is named, with those that are`(device: String) throws {
        let scorer = ResilientScorer(rules, settings(.opencl, device: device))
        let present = try OpenCLDevice.all(cacheDirectory: Made.cacheDirectory).map(\.name)
        #expect(scorer.openingFailure == .noDevice(wanted: device, present: present))
        expectSubstitute(scorer)
    }

    @Test func `a device is found by its number and by a part of its name`() throws {
        let devices = try OpenCLDevice.all(cacheDirectory: Made.cacheDirectory)
        let device = try #require(devices.first)
        for wanted in ["0", device.name, String(device.name.uppercased().dropFirst(2)), "auto"] {
            #expect(try OpenCLDevice.find(wanted, in: devices).index == device.index)
        }
        #expect(device.computeUnits > 0)
    }

    @Test func `a cache directory that cannot be written is named`() throws {
        let folder = try TemporaryFolder()
        let file = folder.path("file")
        try Data().write(to: URL(fileURLWithPath: file))
        let open = folder.path("open")
        try FileManager.default.createDirectory(atPath: open, withIntermediateDirectories: false)
        #expect(chmod(open, 0o777) == 0)
        let link = folder.path("link")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: folder.root)
        for (path, number) in [
            ("\(file)/cache", ENOTDIR), (file, ENOTDIR), (link, ENOTDIR),
            ("/proc/sae", ENOENT),
        ] {
            let scorer = ResilientScorer(rules, settings(.opencl, cache: KernelCacheDirectory(path: path)))
            #expect(scorer.openingFailure == .cacheDirectory(path: path, errno: number))
            expectSubstitute(scorer, "\(path)")
        }
        let scorer = ResilientScorer(rules, settings(.opencl, cache: KernelCacheDirectory(path: open)))
        #expect(scorer.openingFailure == .unsafeCacheDirectory(path: open))
    }

    @Test func `a device whose trial kills its process is not used`() throws {
        var settings = settings(.opencl)
        settings.probe = DeviceProbe(command: ["/bin/sh", "-c", "kill -ABRT $$"], environment: [:])
        let scorer = ResilientScorer(rules, settings)
        guard case .crash? = scorer.openingFailure else {
            Issue.record("\(String(describing: scorer.openingFailure))")
            return
        }
        expectSubstitute(scorer, "crash")
    }

    @Test func `kernels that do not compile are refused with the compiler's words`() {
        let broken = OpenCLScorer.shippedKernels + "\nkernel void more(nosuchtype x) {}\n"
        let scorer = ResilientScorer(rules, settings(.opencl), gpuIsLikely: false, kernels: broken)
        guard case .build(_, let log) = scorer.openingFailure else {
            Issue.record("opened: \(scorer.numerics), \(String(describing: scorer.openingFailure))")
            return
        }
        #expect(log.contains("nosuchtype"))
        expectSubstitute(scorer)
    }

    @Test func `kernels without the one that is needed are refused`() {
        let scorer = ResilientScorer(
            rules, settings(.opencl), gpuIsLikely: false,
            kernels: "kernel void other(global float *x) { *x = 1; }")
        guard case .call("clCreateKernel bid_scores", -46, _) = scorer.openingFailure else {
            Issue.record("\(String(describing: scorer.openingFailure))")
            return
        }
        expectSubstitute(scorer)
    }

    @Test func `a device that computes other bids than the reference is refused`() throws {
        // The last feature is left out.
        let text = OpenCLScorer.shippedKernels.replacingOccurrences(of: "j < k; j++", with: "j + 1 < k; j++")
        #expect(text != OpenCLScorer.shippedKernels)
        let scorer = ResilientScorer(rules, settings(.opencl), gpuIsLikely: false, kernels: text)
        #expect(scorer.openingFailure == .selfCheck(device: try Made.device().name))
        expectSubstitute(scorer)
    }

    @Test func `a device lost in mid-run loses no batch, is told once, and changes the name for all`() throws
    {
        let scorer = ResilientScorer(rules, settings(.opencl))
        let (name, first, second) = (scorer.numerics, scorer.makeSession(), scorer.makeSession())
        #expect(name.hasPrefix("opencl-2:"))
        let (before, numerics) = fire(first)
        #expect(numerics == name)
        #expect(scorer.takeFailure() == nil)
        #expect(before != expected)

        try #require(first.primary as? any DeviceSession).loseDevice()
        let lost = fire(first)
        #expect(lost.rules == expected)
        #expect(lost.numerics == "cpu-3")
        let failure = scorer.takeFailure()
        guard case .call(_, -36, _) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(scorer.numerics == "cpu-3")
        #expect(scorer.openingFailure == nil)
        for session in [first, second, scorer.makeSession()] {
            let after = fire(session)
            #expect(after.rules == expected)
            #expect(after.numerics == "cpu-3")
            #expect(scorer.takeFailure() == nil)
        }
    }

    @Test func `a GPU is likely where its node and a driver for it stand`() throws {
        let folder = try TemporaryFolder()
        let (devices, vendors) = (folder.path("dev"), folder.path("vendors"))
        func make(_ path: String) throws {
            let url = URL(fileURLWithPath: path)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data().write(to: url)
        }
        func isLikely() -> Bool { GPUPresence.isLikely(deviceFolder: devices, vendorFolder: vendors) }
        #expect(!isLikely())
        try make("\(devices)/dri/card0")
        try make("\(devices)/nvidia-caps")
        try make("\(vendors)/nvidia.icd")
        #expect(!isLikely())
        try make("\(devices)/dri/renderD128")
        #expect(isLikely())
        try FileManager.default.removeItem(atPath: "\(vendors)/nvidia.icd")
        try make("\(vendors)/pocl.icd")
        #expect(!isLikely())
    }

    @Test func `compiled kernels are kept where the environment says`() {
        func path(_ environment: [String: String]) -> String {
            KernelCacheDirectory(environment: environment).path
        }
        #expect(path(["POCL_CACHE_DIR": "/a", "HOME": "/h"]) == "/a")
        #expect(path(["CACHE_DIRECTORY": "/var/cache/sae:/x", "HOME": "/h"]) == "/var/cache/sae/opencl")
        #expect(path(["XDG_CACHE_HOME": "/c", "HOME": "/h"]) == "/c/sae/opencl")
        #expect(path(["XDG_CACHE_HOME": "", "HOME": "/h"]) == "/h/.cache/sae/opencl")
        #expect(path([:]) != "/tmp/pocl" && path([:]).hasPrefix("/tmp/sae-opencl-\(geteuid())-"))
    }
}

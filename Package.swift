// swift-tools-version: 6.2
import PackageDescription

// The rooms, low to high. What a target may import is exactly what is declared here:
// `scripts/test.sh` builds with `--explicit-target-dependency-import-check error`.

/// A C or C++ target of ours.
func c(
    _ name: String, path: String? = nil, linking libraries: [String] = [], settings: [CSetting] = []
) -> Target {
    .target(
        name: name,
        path: path,
        cSettings: [.treatAllWarnings(as: .error)] + settings,
        cxxSettings: [.treatAllWarnings(as: .error)],
        linkerSettings: libraries.map { .linkedLibrary($0) })
}

/// A library of the distribution: a module map and static-inline shims, no logic.
func system(_ name: String, _ pkgConfig: String) -> Target {
    .systemLibrary(name: name, pkgConfig: pkgConfig)
}

func swift(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name + "Tests", dependencies: dependencies + ["TestSupport"])
}

let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let http: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
    .product(name: "NIOHTTP1", package: "swift-nio"),
]

/// What `REVISION` names when the package is built, for `sae_build_info`: scripts/run.sh and packages set it.
let revision: CSetting = .define(
    "SAE_REVISION", to: "\"\((Context.environment["REVISION"] ?? "unknown").filter { $0.isLetter || $0.isNumber || $0 == "-" })\"")

let engineRooms: [Target.Dependency] = [
    "Models", "Annealing", "Programs", "Rules", "Scoring", "Tokenization", "Vectors", "Bytes", "Diagnostics",
]

let package = Package(
    name: "sae",
    products: [
        .executable(name: "sae", targets: ["sae"]),
        .library(name: "SAEEngine", targets: ["SAEEngine"]),
        .library(name: "SAEClient", targets: ["SAEClient"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-protobuf", exact: "1.39.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        c("CVectorKernels"), c("CSentencePiece", linking: ["sentencepiece", "sentencepiece_train"]), c("CPosix", settings: [revision]), c("CChecksums"),
        c("CKernelSources"), c("CTOMLReader"),
        system("COpenBLAS", "openblas"), system("COpenCL", "OpenCL"), system("CSystemd", "libsystemd"),
        system("COpenSSL", "openssl"), system("CZlib", "zlib"), system("CLMDB", "lmdb"),

        swift("Diagnostics", []),
        swift("Bytes", ["CPosix", "CChecksums", "COpenSSL", "CZlib", "Diagnostics"]),
        swift("Vectors", ["CVectorKernels", "COpenBLAS", "Diagnostics"]),
        swift("Tokenization", ["CSentencePiece", "Bytes", "Diagnostics"]),
        swift("Programs", ["Tokenization", "Vectors", "CVectorKernels", "Diagnostics"]),
        swift("Scoring", ["Vectors", "CVectorKernels", "COpenBLAS", "COpenCL", "CKernelSources", "Diagnostics"]),
        swift("Rules", ["Programs", "Bytes", "Diagnostics"]),
        swift("Annealing", ["Rules", "Programs", "Vectors", "Diagnostics"]),
        swift("Models", ["Programs", "Rules", "Scoring", "Tokenization", "Vectors", "Bytes", "Diagnostics"]),
        swift("SAEEngine", engineRooms + ["CVectorKernels"]),
        swift("Corpora", ["Vectors", "Bytes", "Diagnostics"]),
        swift("KeyValueStore", ["CLMDB", "Bytes", "Diagnostics"]),
        swift("RuleLibrary", ["KeyValueStore", "Models", "Rules", "Bytes", "Diagnostics"]),
        swift("Evaluation", ["SAEEngine", "Vectors", "Bytes", "Diagnostics"]),
        swift("Fitting", ["Evaluation", "SAEEngine", "CVectorKernels"] + engineRooms),
        swift("Evolution", ["Annealing", "Bytes", "Fitting", "RuleLibrary", "SAEEngine", "Models", "Programs", "Rules", "Vectors"]),

        swift("Messages", [protobuf]),
        swift("Wire", ["Messages", "Bytes", "Diagnostics", protobuf]),
        swift("Encryption", ["COpenSSL", "Diagnostics"]),
        swift("Transport", ["Encryption", "Wire", "Bytes", "CPosix", "Diagnostics"]),
        swift("SAEClient", ["Transport", "Encryption", "Wire", "Messages", "Diagnostics", protobuf]),
        swift(
            "Daemon",
            [
                "Transport", "Encryption", "Wire", "Messages", "SAEEngine", "RuleLibrary", "KeyValueStore", "Models", "Scoring",
                "Tokenization", "Vectors", "Bytes", "Corpora", "CPosix", "CSystemd", "CTOMLReader", "Diagnostics", log, protobuf,
            ] + http),
        swift("LoadGeneration", ["SAEClient", "Transport", "Bytes", "Diagnostics"]),
        .executableTarget(
            name: "sae",
            dependencies: engineRooms + [
                "SAEEngine", "SAEClient", "Daemon", "Evaluation", "Fitting", "Evolution", "LoadGeneration", "RuleLibrary",
                "KeyValueStore", "Corpora", "Wire", "Transport", "CPosix",
                arguments, log,
            ]),

        // Tests stand above everything. The allocation counter replaces malloc in the test process.
        c("CAllocationCounter", path: "Tests/AllocationCounter"),
        .target(
            name: "TestSupport", dependencies: ["CAllocationCounter", "SAEEngine", "RuleLibrary"] + engineRooms,
            path: "Tests/Support"),
        .executableTarget(
            name: "library-writer", dependencies: ["RuleLibrary", "KeyValueStore", "Rules", "Diagnostics", "TestSupport"], path: "Tests/LibraryWriter"),
        .target(name: "TestPeers", dependencies: ["Transport", "Wire", "Messages", protobuf], path: "Tests/Peers"),
        tests("Bytes", ["Bytes", "CChecksums", "Diagnostics"]),
        tests("Vectors", ["Vectors", "CVectorKernels", "Diagnostics"]),
        tests("Tokenization", ["Tokenization", "Bytes"]),
        tests("Programs", ["Programs", "Tokenization", "Vectors", "Diagnostics"]),
        tests("Scoring", ["Scoring", "CVectorKernels", "CAllocationCounter", "Diagnostics"]),
        tests("Rules", ["Rules", "Programs", "Bytes", "Diagnostics"]),
        tests("Annealing", ["Annealing", "Rules", "Programs", "Vectors", "CAllocationCounter"]),
        tests("Models", engineRooms + ["SAEEngine"]),
        tests("SAEEngine", ["SAEEngine", "CAllocationCounter"] + engineRooms),
        tests("Corpora", ["Corpora", "Vectors", "Bytes"]),
        tests("KeyValueStore", ["KeyValueStore", "Bytes"]),
        tests("RuleLibrary", ["RuleLibrary", "KeyValueStore", "Diagnostics", "Models", "Rules", "Programs", "SAEEngine", "Bytes", "library-writer"]),
        tests("Evaluation", ["Evaluation"] + engineRooms),
        tests("Fitting", ["Fitting", "Evaluation", "SAEEngine", "CVectorKernels"] + engineRooms),
        tests(
            "Evolution",
            ["Evolution", "Fitting", "RuleLibrary", "KeyValueStore", "SAEEngine"] + engineRooms),
        tests("Wire", ["TestPeers", "Wire", "Messages", "Bytes", protobuf]),
        tests("Daemon", ["Daemon", "Diagnostics", "Wire", "SAEEngine", "Bytes", log]),
        tests("SAEClient", ["SAEClient", "Transport", "TestPeers", "Messages", "Wire", protobuf]),
        tests("LoadGeneration", ["LoadGeneration", "SAEClient", "TestPeers", "Messages", "Wire", protobuf]),
        tests(
            "Service",
            [
                "TestPeers", "Daemon", "Transport", "Encryption", "Wire", "Messages", "SAEClient", "SAEEngine", "RuleLibrary", "KeyValueStore", "Models",
                "Rules", "Bytes", "Scoring",
                "Programs", protobuf,
            ]),
        .target(
            name: "FuzzTargets",
            dependencies: engineRooms + [
                "SAEEngine", "RuleLibrary", "Corpora", "Wire", "Messages", "Daemon", protobuf,
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ], path: "Tests/Fuzz/Targets"),
        tests("Fuzz", ["FuzzTargets"]),
        tests("Command", ["Models", "Vectors", "Bytes", "Evaluation", "SAEEngine", "Tokenization", "TestPeers", "Messages", "Wire", protobuf]),
        tests("Project", ["Bytes"]),
    ],
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx17
)

// Fuzzing links libFuzzer's own main, so the program exists only for `scripts/fuzz.sh`.
if Context.environment["FUZZ"] == "1" {
    package.targets += [
        c("CFuzzDriver", path: "Tests/Fuzz/Driver"),
        .executableTarget(name: "fuzz", dependencies: ["CFuzzDriver", "FuzzTargets"], path: "Tests/Fuzz/Program"),
    ]
    package.products.append(.executable(name: "fuzz", targets: ["fuzz"]))
}

for target in package.targets where target.type != .system && target.cSettings == nil {
    target.swiftSettings = [
        .treatAllWarnings(as: .error),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
    ]
}

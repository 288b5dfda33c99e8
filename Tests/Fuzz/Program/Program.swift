import CFuzzDriver
import FuzzTargets
import Glibc

/// `fuzz TARGET ARGUMENTS-OF-LIBFUZZER`.
@main enum Program {
    static func main() {
        guard CommandLine.arguments.count > 1, let name = CommandLine.arguments.dropFirst().first, FuzzTarget.all[name] != nil else {
            print("usage: fuzz TARGET [ARGUMENT…], where TARGET is one of \(FuzzTarget.all.keys.sorted().joined(separator: " "))")
            exit(64)
        }
        // libFuzzer takes the first argument for the program's name.
        var count = CommandLine.argc - 1
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv + 1
        _ = LLVMFuzzerRunDriver(&count, &arguments, testOneInput)
    }
}

private let target = CommandLine.arguments.dropFirst().first.flatMap { FuzzTarget.all[$0] }

@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    target?(UnsafeRawBufferPointer(start: bytes, count: size))
    return 0
}

import Foundation
import TestSupport
import Testing

@Suite struct DevicesCommandTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func object(_ command: Command) throws -> [String: Any] {
        #expect(command.status == 0, "\(command.errors)")
        return try #require(
            try JSONSerialization.jsonObject(with: Data(command.output.utf8)) as? [String: Any])
    }

    private func devices(_ arguments: [String], _ environment: [String: String] = [:]) throws -> Command {
        try Command(
            ["devices"] + arguments,
            environment: ["POCL_CACHE_DIR": folder.path("cache")].merging(environment) { $1 })
    }

    @Test func `every scorer and device is listed with a speed`() throws {
        let report = try object(try devices(["--json"]))
        let rows = try #require(report["scorers"] as? [[String: Any]])
        let names = rows.compactMap { $0["scorer"] as? String }
        let others = names.drop { $0 == "int8" }
        #expect(names.first == "int8" && others.prefix(2) == ["blas", "reference"])
        #expect(others.count > 2 && others.dropFirst(2).allSatisfy { $0 == "opencl" })
        for row in rows { #expect(try #require(row["texts_per_second"] as? Int) > 0, "\(row)") }
        let last = try #require(rows.last)
        #expect(last["device"] as? Int == others.count - 3)
        #expect(last["numerics"] as? String == "opencl-2:\(try #require(last["name"] as? String))")
        // What PoCL compiled lies where the environment says.
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("cache")).count > 0)
    }

    @Test func `OpenBLAS computes as the processor can, or as the environment says`() throws {
        func numerics(_ environment: [String: String]) throws -> String {
            let rows = try #require(try object(devices(["--json"], environment))["scorers"] as? [[String: Any]])
            return try #require(rows.first { $0["scorer"] as? String == "blas" }?["numerics"] as? String)
        }
        #expect(try numerics(["OPENBLAS_CORETYPE": "Prescott"]) == "blas-2:Prescott")
        // OpenBLAS of Debian 12 knows no processor that came after it.
        let isNew = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8).contains(" avx2 ")
        #expect(try numerics([:]) != "blas-2:Prescott" || !isNew)
    }

    @Test func `without an OpenCL driver int8 stands in, and the reason is told`() throws {
        let none = ["OCL_ICD_VENDORS": "\(folder.root)/none/"]
        let opened = try object(try devices(["--scorer", "opencl", "--json"], none))
        #expect(opened["numerics"] as? String == "cpu-3")
        #expect(try #require(opened["failure"] as? String).hasPrefix("no OpenCL driver is installed; "))
        let table = try devices([], none)
        #expect(table.status == 0)
        #expect(table.output.contains("\nno OpenCL: no OpenCL driver is installed; "))
        #expect(!table.output.contains("\nopencl "))
    }

    @Test func `a driver that aborts takes nothing with it: int8 stands in, and the reason is told`() throws {
        // PoCL calls ld to make a kernel's code, and aborts where there is none.
        let none = ["PATH": folder.root]
        let opened = try object(try devices(["--scorer", "opencl", "--json"], none))
        #expect(opened["numerics"] as? String == "cpu-3")
        let failure = try #require(opened["failure"] as? String)
        #expect(failure.contains("was ended by signal 6") && failure.contains("ld (binutils)"), "\(failure)")
        let table = try devices([], none)
        #expect(table.status == 0, "\(table.errors)")
        #expect(table.output.contains("cannot score: the process that tried the OpenCL device '0'"), "\(table.output)")
        #expect(table.output.contains("\nauto takes cpu-3;"))
    }

    @Test func `a cache that others may write to is named as such`() throws {
        let path = folder.path("open")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o777])
        let opened = try object(try devices(["--scorer", "opencl", "--json"], ["POCL_CACHE_DIR": path]))
        let failure = try #require(opened["failure"] as? String)
        #expect(failure.contains("kept in \(path): ") && failure.contains("chmod go-w"), "\(failure)")
    }

    @Test(.enabled(if: !FileManager.default.fileExists(atPath: "/dev/dri"), "this machine may have a GPU"))
    func `auto without a GPU loads no OpenCL driver, and opencl does`() throws {
        // The dynamic linker tells on standard error what it loads.
        let tracing = ["LD_DEBUG": "files"]
        let auto = try devices(["--scorer", "auto", "--json"], tracing)
        #expect(try object(auto)["numerics"] as? String == "cpu-3")
        #expect(auto.errors.contains("libOpenCL.so"))
        #expect(!auto.errors.contains("libpocl"))
        let opencl = try devices(["--scorer", "opencl", "--json"], tracing)
        #expect(try #require(try object(opencl)["numerics"] as? String).hasPrefix("opencl-2:"))
        #expect(opencl.errors.contains("libpocl"))
    }

    @Test func `a scorer that does not exist is wrong usage`() throws {
        #expect(try devices(["--scorer", "gpu"]).status == 64)
        #expect(try devices(["--scorer", "int8", "--bench"]).status == 64)
    }
}

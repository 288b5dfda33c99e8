import ArgumentParser
import Glibc
import Vectors

/// A command whose time is that of large products of matrices.
protocol MatrixCommand: ParsableCommand {}

extension MatrixCommand {
    /// Starts the program again, in the same process, where OpenBLAS does not know the processor: it reads the name of the kernels to use
    /// from the environment when it is loaded. Where that cannot be, the command is only slower.
    func restartForOpenBLAS() {
        let name = "OPENBLAS_CORETYPE"
        guard getenv(name) == nil, let core = neededOpenBLASCore else { return }
        setenv(name, core, 1)
        execv("/proc/self/exe", CommandLine.unsafeArgv)
    }
}

import CVectorKernels

/// Which form of the kernels runs. All give the same bits.
package enum InstructionSet: Int32, Sendable, CaseIterable {
    case reference = 0
    case avx2, avx512

    /// The widest that this processor has.
    package static let best = InstructionSet(rawValue: sae_best_instruction_set()) ?? .reference

    /// Those that this processor can run, the reference first.
    package static var available: [InstructionSet] { allCases.filter { $0.rawValue <= best.rawValue } }
}

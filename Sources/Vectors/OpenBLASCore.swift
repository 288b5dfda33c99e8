import COpenBLAS
import CVectorKernels

/// What `OPENBLAS_CORETYPE` has to be for OpenBLAS to use the processor, or nil where it does already.
///
/// OpenBLAS chooses kernels by the processor's model when it is loaded. One that is newer than the library gets those of the oldest, SSE3 of 2004:
/// a fit then takes 2.4 times as long (measured with 0.3.21 on an Intel Xeon of model 207).
package var neededOpenBLASCore: String? {
    guard let core = openblas_get_corename(), String(cString: core) == "Prescott" else { return nil }
    switch UInt32(sae_best_instruction_set()) {
    case SAE_AVX512.rawValue: return "SKYLAKEX"
    case SAE_AVX2.rawValue: return "HASWELL"
    default: return nil
    }
}

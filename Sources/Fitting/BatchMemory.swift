import CVectorKernels

/// The memory of one step, reused by the next.
struct BatchMemory {
    var offsets: [UInt32]
    var cosines: [Float]
    private var gradients: [Float]
    private var heads: [UInt32]
    private var next: [UInt32] = []
    private var owner: [UInt32] = []

    struct Pointers: @unchecked Sendable {
        let offsets: UnsafePointer<UInt32>?
        let cosines: UnsafeMutablePointer<Float>?
        let gradients: UnsafeMutablePointer<Float>?
        let scratch: sae_fit_scratch
    }

    init(options: FitOptions, rowCount: Int) {
        offsets = [UInt32](repeating: 0, count: options.batch)
        cosines = [Float](repeating: 0, count: options.batch)
        gradients = [Float](repeating: 0, count: options.batch * options.dimensions)
        heads = [UInt32](repeating: .max, count: rowCount)
    }

    mutating func reserve(occurrences: Int) {
        guard next.count < occurrences else { return }
        next = [UInt32](repeating: 0, count: occurrences)
        owner = next
    }

    mutating func withPointers(_ body: (Pointers) -> Void) {
        offsets.withUnsafeBufferPointer { offsets in
            cosines.withUnsafeMutableBufferPointer { cosines in
                gradients.withUnsafeMutableBufferPointer { gradients in
                    heads.withUnsafeMutableBufferPointer { heads in
                        next.withUnsafeMutableBufferPointer { next in
                            owner.withUnsafeMutableBufferPointer { owner in
                                body(
                                    Pointers(
                                        offsets: offsets.baseAddress, cosines: cosines.baseAddress,
                                        gradients: gradients.baseAddress,
                                        scratch: sae_fit_scratch(
                                            heads: heads.baseAddress, next: next.baseAddress,
                                            owner: owner.baseAddress)))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One step as its threads see it. Safe to share: `forward` writes the cosines and gradients of its own texts,
/// `update` only the rows of its own part.
struct StepJob: @unchecked Sendable {
    let columns: UnsafePointer<sae_fit_texts>
    let order: UnsafeBufferPointer<UInt32>
    let rows: UnsafeMutablePointer<Float>?
    let means: UnsafeMutablePointer<Float>?
    let variances: UnsafeMutablePointer<Float>?
    let memory: BatchMemory.Pointers
    let adam: sae_fit_adam
    let dimensions: Int
    let threads: Int

    func forward(part: Int) {
        sae_fit_forward(
            rows, dimensions, columns, order.baseAddress, order.count * part / threads,
            order.count * (part + 1) / threads, memory.cosines, memory.gradients)
    }

    func update(part: Int) {
        sae_fit_update(
            rows, means, variances, nil, dimensions, columns, order.baseAddress, order.count, memory.gradients,
            memory.offsets, memory.scratch, adam, UInt32(part), UInt32(threads))
    }
}

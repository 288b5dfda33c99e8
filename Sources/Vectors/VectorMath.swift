import CVectorKernels

/// Cosine of two vectors of one length; 0 when either is zero.
package func cosine(_ a: some Collection<Float>, _ b: some Collection<Float>) -> Float {
    let a = Array(a)
    let b = Array(b)
    precondition(a.count == b.count)
    let lengths = (sae_dot(a, a, a.count) * sae_dot(b, b, b.count)).squareRoot()
    return lengths > 0 ? sae_dot(a, b, a.count) / lengths : 0
}

import Dispatch
import Synchronization

extension Engine {
    /// The vectors of all texts, on `threads` threads, each with a workspace of its own. The same bits as on one.
    public func embed(
        _ texts: TextBatch, limits: TextLimits = TextLimits(), temperature: Temperature = .fitted, threads: Int
    ) -> EmbeddingBatch {
        let parts = Mutex([EmbeddingBatch?](repeating: nil, count: max(1, threads)))
        let count = max(1, threads)
        DispatchQueue.concurrentPerform(iterations: count) { part in
            let range = texts.count * part / count..<texts.count * (part + 1) / count
            var workspace = makeWorkspace()
            var batch = EmbeddingBatch(dimensions: dimensions)
            embed(texts, range, limits: limits, temperature: temperature, using: &workspace, into: &batch)
            parts.withLock { $0[part] = batch }
        }
        var whole = EmbeddingBatch(dimensions: dimensions)
        for case let part? in parts.withLock({ $0 }) { whole.append(part) }
        return whole
    }
}

extension Engine {
    /// Embeds the batch `loops` times on each of `threads` threads' share, keeping workspaces warm: for benchmarks.
    package func bench(_ texts: TextBatch, loops: Int, temperature: Temperature, threads: Int) {
        DispatchQueue.concurrentPerform(iterations: threads) { part in
            let range = texts.count * part / threads..<texts.count * (part + 1) / threads
            var workspace = makeWorkspace()
            var batch = EmbeddingBatch(dimensions: dimensions)
            for _ in 0..<loops { embed(texts, range, temperature: temperature, using: &workspace, into: &batch) }
        }
    }
}

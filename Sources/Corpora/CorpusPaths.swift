import Bytes

/// Where the files of a corpus lie while it is under way, and where when it is finished.
package struct CorpusPaths: Sendable {
    /// A file under way and its finished name.
    package struct File: Sendable {
        package let partial: String
        package let finished: String
    }

    package let rows: File
    package let errors: File
    package let scales: File
    package let journal: String
    /// The folder of all of them.
    package let folder: String

    /// In a folder of their own.
    package init(folder: String, _ plan: CorpusPlan) {
        self.folder = folder
        rows = File(partial: "\(folder)/rows.partial", finished: "\(folder)/\(plan.output == .npy ? "vectors.npy" : "rows.jsonl")")
        errors = File(partial: "\(folder)/errors.partial", finished: "\(folder)/errors.jsonl")
        scales = File(partial: "\(folder)/scales.partial", finished: "\(folder)/scales.npy")
        journal = "\(folder)/journal"
    }

    /// Beside a file that a person named.
    package init(output: String) {
        folder = Bytes.folder(of: output)
        rows = File(partial: "\(output).partial", finished: output)
        errors = File(partial: "\(output).errors.partial", finished: "\(output).errors.jsonl")
        scales = File(partial: "\(output).scales.partial", finished: "\(output).scales.npy")
        journal = "\(output).journal"
    }
}

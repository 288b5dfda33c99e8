import Bytes
import Evaluation
import SAEEngine
import TestSupport
import Testing

@Suite struct EvaluationTests {
    private func table(_ text: String, columns: Int) throws -> LabelledTexts {
        let folder = try TemporaryFolder()
        return try withExtendedLifetime(folder) {
            var writer = try AtomicFileWriter(folder.path("t.tsv"))
            try writer.append(Array(text.utf8))
            try writer.commit()
            return try LabelledTexts(folder.path("t.tsv"), columns: columns)
        }
    }

    @Test func `correlations are those of SciPy`() {
        let a = [1.0, 2, 2, 4, 7, 3]
        let b = [0.5, 0.1, 3, 2, 2, 2]
        // scipy.stats.pearsonr and spearmanr of these columns.
        #expect(abs(pearson(a, b) - 0.370_474_049) < 1e-8)
        #expect(abs(spearman(a, b) - 0.369_624_662) < 1e-8)
        #expect(ranks(b) == [2, 1, 6, 4, 4, 4])
        #expect(pearson([1, 1], [1, 2]) == 0)
    }

    @Test func `equal texts correlate, and retrieve themselves`() throws {
        let evaluator = Evaluator(engine: Engine(model: try TinyModel.open()), dimensions: 256, threads: 1)
        let scores = try evaluator.similarity(
            table("5\tthe cat\tthe cat\n0\tthe cat\tseven bridges\n5\ta dog\ta dog\n", columns: 3))
        #expect(scores.pearson > 95 && scores.spearman > 80)
        let pairs = "the red balloon\tthe red balloon\nour daughter\tour daughter\ncold soup\tcold soup\n"
        #expect(try evaluator.retrieval(table(pairs, columns: 2)) == 100)
        let swapped = "the red balloon\tour daughter\nour daughter\tthe red balloon\n"
        #expect(try evaluator.retrieval(table(swapped, columns: 2)) == 0)
    }

    @Test func `the nearest neighbours vote`() throws {
        let evaluator = Evaluator(engine: Engine(model: try TinyModel.open()), dimensions: 64, threads: 1)
        let train = try table("pet\tthe cat\npet\ta small dog\nfood\tcold soup\nfood\tlunch\n", columns: 2)
        let test = try table("pet\tthe cat\nfood\tcold soup\npet\tlunch\n", columns: 2)
        let accuracy = try evaluator.nearestNeighbours(train: train, test: test, neighbours: 1)
        #expect(abs(accuracy - 200.0 / 3) < 1e-9)
    }

    @Test func `a bad line is named by its number`() throws {
        let error = #expect(throws: EvaluationError.self) { try table("1\ta\tb\n2\ta\n", columns: 3) }
        #expect(error?.summary.hasSuffix("line 2: has 2 cells instead of 3, tabs between") == true)
        let evaluator = Evaluator(engine: Engine(model: try TinyModel.open()), dimensions: 8, threads: 1)
        let score = #expect(throws: EvaluationError.self) {
            try evaluator.similarity(table("1\ta\tb\nx\ta\tb\n", columns: 3))
        }
        #expect(score?.summary.hasSuffix("line 2: 'x' is not a score") == true)
        let missing = #expect(throws: EvaluationError.self) {
            try evaluator.similarity(table("1\ta\t \n", columns: 3))
        }
        #expect(missing?.summary.contains("line 1") == true)
    }
}

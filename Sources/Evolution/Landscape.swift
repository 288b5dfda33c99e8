import Annealing
import Dispatch
import Fitting
import Programs
import Rules
import Vectors

/// Some texts, where the candidates match in them, and what each match does to the cosine: what the fitness of a rule set is
/// computed from, text by text, without an engine.
///
/// With b the sum of a text without the rules (`Engine.sums`) and t its target, rules with phrases v give
/// cos = (b·t + Σ v·t) / |b + Σ v|. All products but those between phrases are kept, so that a text costs a few steps.
struct Landscape: Sendable {
    /// A candidate at a place of a text: pieces `first` to `last`.
    struct Place: Sendable {
        var candidate: UInt32
        var first: UInt16
        var last: UInt16
        /// v·t and v·b.
        var along: Float = 0
        var base: Float = 0
    }

    /// Rows of the material.
    let texts: [UInt32]
    /// Text number i has the places `starts[i]..<starts[i + 1]`.
    private(set) var places: [Place]
    let starts: [Int]
    /// b·t and b·b.
    private(set) var along: [Float] = []
    private(set) var squares: [Float] = []
    /// Numbers of the texts that hold each candidate, ascending.
    private let textStarts: [Int]
    private let textNumbers: [UInt32]

    var count: Int { texts.count }

    /// - Parameter own: rules that are in force already; where they apply, no candidate has a place.
    init(_ texts: [UInt32], of material: TrainingTexts, pool: CandidatePool, own: RuleSet, threadCount: Int) {
        self.texts = texts
        let parts = Slots<(places: [Place], ends: [Int])>(count: threadCount)
        DispatchQueue.concurrentPerform(iterations: threadCount) { part in
            parts[part] = Self.places(
                of: texts[texts.count * part / threadCount..<texts.count * (part + 1) / threadCount], material, pool.set, own)
        }
        var places: [Place] = []
        var starts = [0]
        for case let part? in parts.values {
            let before = places.count
            places.append(contentsOf: part.places)
            starts.append(contentsOf: part.ends.map { before + $0 })
        }
        (self.places, self.starts) = (places, starts)
        var counts = [Int](repeating: 0, count: pool.count + 1)
        var last = [Int](repeating: -1, count: pool.count)
        func forEachText(_ body: (_ candidate: Int, _ text: Int) -> Void) {
            last.withUnsafeMutableBufferPointer { last in
                last.update(repeating: -1)
                for text in texts.indices {
                    for place in starts[text]..<starts[text + 1] {
                        let candidate = Int(places[place].candidate)
                        guard last[candidate] != text else { continue }
                        last[candidate] = text
                        body(candidate, text)
                    }
                }
            }
        }
        forEachText { candidate, _ in counts[candidate + 1] += 1 }
        for candidate in 0..<pool.count { counts[candidate + 1] += counts[candidate] }
        var next = counts
        var numbers = [UInt32](repeating: 0, count: counts[pool.count])
        forEachText { candidate, text in
            numbers[next[candidate]] = UInt32(text)
            next[candidate] += 1
        }
        (textStarts, textNumbers) = (counts, numbers)
    }

    private static func places(
        of texts: ArraySlice<UInt32>, _ material: TrainingTexts, _ set: RuleSet, _ own: RuleSet
    ) -> (places: [Place], ends: [Int]) {
        var (stream, matches) = (ProgramStream(), [RuleMatch]())
        var workspace = AnnealingWorkspace()
        let annealer = Annealer(rules: own)
        let context = [Float](repeating: 0, count: own.contextDimensions)
        var places: [Place] = []
        var ends: [Int] = []
        for text in texts {
            let ids = material.pieces[Int(material.starts[Int(text)])..<Int(material.starts[Int(text) + 1])]
            stream.load(ids: ids.prefix(Int(UInt16.max)))
            matches.removeAll(keepingCapacity: true)
            var fuel = Int.max
            set.appendMatches(in: stream, anchors: 0..<stream.bodyCount, maximumCount: .max, fuel: &fuel, to: &matches)
            if !own.isEmpty {
                _ = annealer.anneal(&stream, context: context.span, using: &workspace)
                matches.removeAll { match in workspace.applied.contains { $0.match.overlaps(match) } }
            }
            places.append(
                contentsOf: matches.map { Place(candidate: $0.rule, first: UInt16($0.first), last: UInt16($0.last)) })
            ends.append(places.count)
        }
        return (places, ends)
    }

    /// Texts that hold a candidate, by number.
    func texts(holding candidate: Int) -> ArraySlice<UInt32> {
        textNumbers[textStarts[candidate]..<textStarts[candidate + 1]]
    }

    /// Computes the products anew, after vectors or bases changed. `bases`: a row of b a text of the material.
    mutating func project(_ pool: CandidatePool, bases: [Float], material: TrainingTexts, threadCount: Int) {
        struct Part: Sendable {
            var products: [(along: Float, base: Float)] = []
            var along: [Float] = []
            var squares: [Float] = []
        }
        let parts = Slots<Part>(count: threadCount)
        let (texts, starts, places) = (texts, starts, places)
        DispatchQueue.concurrentPerform(iterations: threadCount) { thread in
            var part = Part()
            var target = [Float](repeating: 0, count: pool.dimensions)
            for text in texts.count * thread / threadCount..<texts.count * (thread + 1) / threadCount {
                let row = Int(texts[text])
                material.copyTarget(row, into: &target)
                bases.withRow(row, pool.dimensions) { b in
                    target.withUnsafeBufferPointer { t in
                        part.along.append(dot(b, t))
                        part.squares.append(dot(b, b))
                        for place in starts[text]..<starts[text + 1] {
                            pool.vectors.withRow(Int(places[place].candidate), pool.dimensions) { v in
                                part.products.append((dot(v, t), dot(v, b)))
                            }
                        }
                    }
                }
            }
            parts[thread] = part
        }
        (along, squares) = ([], [])
        var place = 0
        for case let part? in parts.values {
            along.append(contentsOf: part.along)
            squares.append(contentsOf: part.squares)
            for product in part.products {
                (self.places[place].along, self.places[place].base) = product
                place += 1
            }
        }
    }

    /// The places of a text where the rules of a genome apply, the first bidder first: indices of `places`. What the greedy
    /// annealer would do: the best bid first, and nothing where a piece is taken.
    func apply(_ genome: Genome, to text: Int, _ pool: CandidatePool, _ memory: inout Auction) {
        memory.claims.removeAll(keepingCapacity: true)
        memory.applied.removeAll(keepingCapacity: true)
        for index in starts[text]..<starts[text + 1] where genome.contains(Int(places[index].candidate)) {
            let bid = pool.bid(Int(places[index].candidate), genome)
            guard bid > 0 else { continue }
            var at = memory.claims.count
            memory.claims.append((bid, index))
            while at > 0, precedes((bid, index), memory.claims[at - 1]) {
                memory.claims.swapAt(at, at - 1)
                at -= 1
            }
        }
        for (_, index) in memory.claims {
            let (first, last) = (places[index].first, places[index].last)
            let isTaken = memory.applied.contains { places[$0].first <= last && first <= places[$0].last }
            if !isTaken { memory.applied.append(index) }
        }
    }

    private func precedes(_ a: (bid: Float, place: Int), _ b: (bid: Float, place: Int)) -> Bool {
        if a.bid != b.bid { return a.bid > b.bid }
        let (p, q) = (places[a.place], places[b.place])
        if p.first != q.first { return p.first < q.first }
        if p.last != q.last { return p.last > q.last }
        return p.candidate < q.candidate
    }

    /// The cosine of a text to its target with the rules of a genome, and how many of them apply.
    func score(_ text: Int, _ genome: Genome, _ pool: CandidatePool, _ memory: inout Auction) -> TextScore {
        apply(genome, to: text, pool, &memory)
        var (numerator, square) = (along[text], squares[text])
        for (number, index) in memory.applied.enumerated() {
            let place = places[index]
            let candidate = Int(place.candidate)
            let factor = genome.factor(pool.families[candidate])
            numerator += factor * place.along
            square += 2 * factor * place.base + factor * factor * pool.squares[candidate]
            for other in memory.applied[..<number] {
                let other = Int(places[other].candidate)
                square += 2 * factor * genome.factor(pool.families[other]) * pool.product(candidate, other)
            }
        }
        let cosine = square > 0 ? numerator / square.squareRoot() : 0
        return TextScore(cosine: cosine, editCount: memory.applied.count)
    }
}

/// Memory of `Landscape.apply`, reused from text to text.
struct Auction {
    fileprivate(set) var claims: [(bid: Float, place: Int)] = []
    fileprivate(set) var applied: [Int] = []
}

/// A cosine in units of 2⁻³⁰, so that sums are exact in any order: what is tracked equals what is computed from scratch.
struct TextScore: Equatable {
    static let unit = 0x1p-30

    let cosine: Int32
    let editCount: UInt8

    init(cosine: Float, editCount: Int) {
        self.cosine = Int32((Double(min(max(cosine, -1), 1)) / Self.unit).rounded())
        self.editCount = UInt8(min(editCount, 255))
    }
}

extension CandidatePool {
    @inline(__always) fileprivate func bid(_ candidate: Int, _ genome: Genome) -> Float { bid(candidate, genome.bidding) }

    /// What a rule of this candidate bids.
    func bid(_ candidate: Int, _ bidding: Genome.Bidding) -> Float {
        switch bidding {
        case .worth: worths[candidate]
        case .gain: gains[candidate]
        case .strength: squares[candidate]
        }
    }

    fileprivate func product(_ a: Int, _ b: Int) -> Float {
        vectors.withRow(a, dimensions) { a in vectors.withRow(b, dimensions) { b in dot(a, b) } }
    }
}

extension [Float] {
    /// A row of a matrix that lies row after row.
    @inline(__always) func withRow<R>(_ row: Int, _ size: Int, _ body: (UnsafeBufferPointer<Float>) -> R) -> R {
        withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[row * size..<(row + 1) * size])) }
    }
}

extension TrainingTexts {
    /// A target as a unit vector.
    func copyTarget(_ text: Int, into target: inout [Float]) {
        let scale = targetScales[text]
        targets.withUnsafeBufferPointer { targets in
            for d in 0..<dimensions { target[d] = Float(targets[text * dimensions + d]) * scale }
        }
    }
}

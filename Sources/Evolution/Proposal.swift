import Fitting
import RuleLibrary
import Rules
import Vectors

/// A rule that the residuals of some texts speak for.
struct Proposal: Sendable {
    var pattern: Pattern
    var vector: [Float]
    /// Expected gain of cosine, a use and in all.
    var worth: Float
    var gain: Float
}

/// What texts that hold a pattern lack, summed: g of `Residual`, |g|² and h.
struct Evidence: Sendable {
    var count: Float = 0
    var slope: [Float]
    var squares: Float = 0
    var curvature: Float = 0

    init(dimensions: Int) { slope = [Float](repeating: 0, count: dimensions) }

    mutating func add(_ other: Evidence) {
        count += other.count
        squares += other.squares
        curvature += other.curvature
        for d in slope.indices { slope[d] += other.slope[d] }
    }

    /// The best vector for all of the texts, shrunk by what is chance in it (James and Stein) and by how few they are, or nil
    /// when too little is above chance.
    func proposal(_ pattern: Pattern, _ options: SearchOptions) -> Proposal? {
        let square = dot(slope, slope)
        guard count >= 1, curvature > 0, square > options.evidence * squares else { return nil }
        let factor = (1 - squares / square) * count / (count + options.shrinkage)
        let gain = factor * square / (2 * curvature)
        let scale = factor / curvature
        return Proposal(pattern: pattern, vector: slope.map { $0 * scale }, worth: gain / count, gain: gain)
    }
}

/// With x the sum of a text, t its target, c = x̂·t: adding v changes the cosine by g·v − h |v|²/2 with g = (t − c x̂)/|x| and
/// h = c/|x|², to second order and leaving out the part of v along x.
struct Residual {
    private(set) var slope: [Float]
    private(set) var square: Float = 0
    private(set) var curvature: Float = 0

    init(dimensions: Int) { slope = [Float](repeating: 0, count: dimensions) }

    /// False for x = 0, and where a longer step only hurts.
    mutating func set(sum x: [Float], target t: [Float]) -> Bool {
        let norm = dot(x, x).squareRoot()
        guard norm > 0 else { return false }
        let cosine = dot(x, t) / norm
        guard cosine > 0 else { return false }
        let (along, scale) = (cosine / norm, 1 / norm)
        for d in slope.indices { slope[d] = (t[d] - along * x[d]) * scale }
        square = dot(slope, slope)
        curvature = cosine / (norm * norm)
        return true
    }
}

/// Proposes rules from what the model lacks, for all patterns that occur often.
struct Proposer {
    let material: TrainingTexts
    let texts: [UInt32]
    let bases: [Float]
    let options: SearchOptions

    /// The candidates of most gain; and the classes that they use.
    func proposals() -> (proposals: [Proposal], classes: [PieceClass], patternCount: Int) {
        let candidates = PatternCandidates(material, texts, minimumCount: options.minimumCount)
        let size = material.dimensions
        var slopes = [Float](repeating: 0, count: candidates.count * size)
        var sums = [(count: Float, squares: Float, curvature: Float)](repeating: (0, 0, 0), count: candidates.count)
        var residual = Residual(dimensions: size)
        var target = [Float](repeating: 0, count: size)
        for (index, text) in texts.enumerated() {
            material.copyTarget(Int(text), into: &target)
            let base = Array(bases[Int(text) * size..<(Int(text) + 1) * size])
            guard residual.set(sum: base, target: target) else { continue }
            var last = Int.min
            for candidate in candidates.places(of: index).map({ Int($0.candidate) }).sorted() where candidate != last {
                last = candidate
                sums[candidate].count += 1
                sums[candidate].squares += residual.square
                sums[candidate].curvature += residual.curvature
                for d in 0..<size { slopes[candidate * size + d] += residual.slope[d] }
            }
        }
        var evidence: [(pattern: Pattern, evidence: Evidence)] = []
        var all: [Proposal] = []
        for candidate in 0..<candidates.count {
            var sum = Evidence(dimensions: size)
            (sum.count, sum.squares, sum.curvature) = sums[candidate]
            sum.slope = Array(slopes[candidate * size..<(candidate + 1) * size])
            let pattern = candidates.pattern(candidate)
            guard let proposal = sum.proposal(pattern, options) else { continue }
            all.append(proposal)
            evidence.append((pattern, sum))
        }
        let general = generalized(evidence)
        all += general.proposals
        let chosen = all.indices.sorted { (all[$0].gain, $1) > (all[$1].gain, $0) }.prefix(options.candidateCount).map { all[$0] }
        return withUsedClasses(chosen, general.classes, patternCount: candidates.count)
    }

    /// Patterns that share a piece, and whose texts lack much the same, as one pattern with a class in the other place.
    private func generalized(_ found: [(pattern: Pattern, evidence: Evidence)]) -> (proposals: [Proposal], classes: [PieceClass]) {
        var groups: [Frame: [(member: UInt32, index: Int)]] = [:]
        for (index, item) in found.enumerated() {
            guard case .sequence(let elements, let gaps) = item.pattern, elements.count == 2,
                case .record(let first) = elements[0], case .record(let second) = elements[1]
            else { continue }
            groups[Frame(piece: first, isFirst: true, gap: gaps[0]), default: []].append((second, index))
            groups[Frame(piece: second, isFirst: false, gap: gaps[0]), default: []].append((first, index))
        }
        var classes: [PieceClass] = []
        var numbers: [[UInt32]: Int] = [:]
        var proposals: [Proposal] = []
        for (frame, members) in groups.sorted(by: { $0.key < $1.key }) where members.count > 1 {
            for cluster in clusters(members, found) {
                let ids = cluster.map(\.member).sorted()
                let number: Int
                if let known = numbers[ids] {
                    number = known
                } else {
                    guard classes.count < RuleLimits.maximumClasses else { continue }
                    number = classes.count
                    numbers[ids] = number
                    classes.append(PieceClass(Self.name(ids), ids))
                }
                var sum = Evidence(dimensions: material.dimensions)
                for member in cluster { sum.add(found[member.index].evidence) }
                if let proposal = sum.proposal(frame.pattern(number), options) { proposals.append(proposal) }
            }
        }
        return (proposals, classes)
    }

    /// What patterns with one piece in common leave open.
    private struct Frame: Hashable, Comparable {
        var piece: UInt32
        var isFirst: Bool
        var gap: UInt8

        static func < (a: Frame, b: Frame) -> Bool {
            (a.piece, a.isFirst ? 0 : 1, a.gap) < (b.piece, b.isFirst ? 0 : 1, b.gap)
        }

        func pattern(_ number: Int) -> Pattern {
            guard gap == 0 else { return .trigger(.record(piece), near: number, reach: gap + 1) }
            return .adjacent(isFirst ? [.record(piece), .pieceClass(number)] : [.pieceClass(number), .record(piece)])
        }
    }

    /// One name for one class, in all generations.
    private static func name(_ members: [UInt32]) -> String {
        "c" + Digest(of: members.flatMap { id in (0..<4).map { UInt8(truncatingIfNeeded: id >> (8 * $0)) } }).short
    }

    private static let similarity: Float = 0.5
    private static let maximumMembers = 64

    /// Members whose vectors point in much the same direction as that of the strongest, the strongest first.
    private func clusters(
        _ members: [(member: UInt32, index: Int)], _ found: [(pattern: Pattern, evidence: Evidence)]
    ) -> [[(member: UInt32, index: Int)]] {
        var rest = members.map { (member: $0.member, index: $0.index, square: dot(found[$0.index].evidence.slope, found[$0.index].evidence.slope)) }
        rest.sort { ($0.square, $1.member) > ($1.square, $0.member) }
        var clusters: [[(member: UInt32, index: Int)]] = []
        while let seed = rest.first {
            let slope = found[seed.index].evidence.slope
            var (inside, outside): ([(member: UInt32, index: Int)], [(member: UInt32, index: Int, square: Float)]) = ([], [])
            for item in rest {
                let product = dot(slope, found[item.index].evidence.slope)
                if inside.count < Self.maximumMembers, product >= Self.similarity * (seed.square * item.square).squareRoot() {
                    inside.append((item.member, item.index))
                } else {
                    outside.append(item)
                }
            }
            if inside.isEmpty { break }
            if inside.count > 1 { clusters.append(inside) }
            rest = outside
        }
        return clusters
    }

    private func withUsedClasses(
        _ proposals: [Proposal], _ classes: [PieceClass], patternCount: Int
    ) -> (proposals: [Proposal], classes: [PieceClass], patternCount: Int) {
        var numbers: [Int: Int] = [:]
        var used: [PieceClass] = []
        func moved(_ number: Int) -> Int {
            if let known = numbers[number] { return known }
            numbers[number] = used.count
            used.append(classes[number])
            return used.count - 1
        }
        let moved = proposals.map { proposal in
            var proposal = proposal
            switch proposal.pattern {
            case .trigger(let element, near: let number, let reach):
                proposal.pattern = .trigger(element, near: moved(number), reach: reach)
            case .sequence(let elements, let gaps):
                let elements = elements.map { element in
                    if case .pieceClass(let number) = element { PatternElement.pieceClass(moved(number)) } else { element }
                }
                proposal.pattern = .sequence(elements, gaps: gaps)
            }
            return proposal
        }
        return (moved, used, patternCount)
    }
}

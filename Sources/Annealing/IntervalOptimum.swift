package import Programs
package import Rules

/// A program of least energy, found without annealing: for tests, traces and measurements.
package struct ExactOptimum: Sendable, Equatable {
    package var energy: Energy
    /// In an order in which they can be made.
    package var edits: [RuleMatch]
    /// False when a limit cut the search short: then the energy is only an upper bound of the least.
    package var isComplete = true
}

extension Annealer {
    /// Whether no edit can make or break a match elsewhere: no pattern holds a phrase, and either nothing is replaced or all
    /// patterns are adjacent.
    package var isIntervalExact: Bool {
        let isClosed = rules.rules.allSatisfy { rule in
            rule.pattern.elements.allSatisfy { element in
                switch element {
                case .record(let id): id < rules.vocabularyCount
                case .pieceClass(let index): rules.classes[index].members.allSatisfy { $0 < rules.vocabularyCount }
                }
            }
        }
        let isAdjacent = rules.rules.allSatisfy { rule in
            if case .sequence(_, let gaps) = rule.pattern { gaps.allSatisfy { $0 == 0 } } else { false }
        }
        return isClosed && (isAdjacent || rules.rules.allSatisfy { $0.edit == .add })
    }

    /// The least energy of a program as it was loaded, over all sets of non-overlapping matches of that program: weighted
    /// interval scheduling, a dynamic programme over its pieces. O(pieces + matches).
    ///
    /// Exact when no rule can match because of another: `isIntervalExact`. Otherwise it is the least energy of what can be
    /// done in one step.
    package func intervalOptimum(_ stream: ProgramStream, context: Span<Float>) -> ExactOptimum {
        var matches: [RuleMatch] = []
        var fuel = Int.max
        rules.appendMatches(
            in: stream, anchors: 0..<stream.bodyCount, maximumCount: .max, fuel: &fuel, to: &matches)
        var ending = [[RuleMatch]](repeating: [], count: stream.bodyCount)
        for match in matches { ending[Int(match.last)].append(match) }
        // least[i]: for the first i pieces; chosen[i]: the match that ends there in it, if any does.
        var least = [Energy](repeating: .zero, count: stream.bodyCount + 1)
        var chosen = [RuleMatch?](repeating: nil, count: stream.bodyCount + 1)
        for piece in 0..<stream.bodyCount {
            least[piece + 1] = least[piece]
            for match in ending[piece] {
                let energy =
                    least[Int(match.first)] + price
                    - Energy(rules.strength(of: Int(match.rule), context: context))
                if energy < least[piece + 1] {
                    least[piece + 1] = energy
                    chosen[piece + 1] = match
                }
            }
        }
        var edits: [RuleMatch] = []
        var end = stream.bodyCount
        while end > 0 {
            if let match = chosen[end] { edits.append(match) }
            end = chosen[end].map { Int($0.first) } ?? end - 1
        }
        return ExactOptimum(energy: least[stream.bodyCount], edits: edits.reversed())
    }
}

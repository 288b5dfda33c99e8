package import Programs

/// A place where a rule's pattern holds: the pieces from the first to the last item that it covers.
package struct RuleMatch: Sendable, Hashable {
    package var rule: UInt32
    package var first: UInt32
    package var last: UInt32

    package init(rule: UInt32, first: UInt32, last: UInt32) {
        self.rule = rule
        self.first = first
        self.last = last
    }

    /// Whether they share a piece.
    package func overlaps(_ other: RuleMatch) -> Bool { first <= other.last && other.first <= last }
}

extension RuleSet {
    /// Appends the matches whose anchors are among the items `anchors` of the body, in the order of anchors, then of
    /// rules. Stops early when `matches` holds `maximumCount` or a few more, or when `fuel`, one a looked-at item and one a tried
    /// rule, is at an end. Allocates only when `matches` must grow.
    package func appendMatches(
        in stream: ProgramStream, anchors: Range<Int>, maximumCount: Int, fuel: inout Int,
        to matches: inout [RuleMatch]
    ) {
        stream.operands.withUnsafeBufferPointer { operands in
            let body = UnsafeBufferPointer(rebasing: operands[..<stream.bodyCount])
            for item in anchors {
                fuel -= 1
                guard fuel > 0 else { return }
                for place in index.candidates(at: item, in: body) {
                    let posting = index.candidate(place)
                    fuel -= 1
                    guard fuel > 0, matches.count < maximumCount else { return }
                    guard index.mayMatch(posting, at: item, in: body) else { continue }
                    index.forEachMatch(of: Int(posting.rule), anchoredAt: item, in: body) { first, last in
                        matches.append(
                            RuleMatch(rule: posting.rule, first: stream.firsts[first], last: stream.lasts[last]))
                    }
                }
            }
        }
    }

    /// The items that a match covers, or nil when it does not hold, or not with this span.
    package func items(of match: RuleMatch, in stream: ProgramStream) -> Range<Int>? {
        guard let start = stream.bodyItem(beginningAt: match.first) else { return nil }
        let last = stream.operands.withUnsafeBufferPointer {
            index.lastItem(
                of: Int(match.rule), at: start, in: UnsafeBufferPointer(rebasing: $0[..<stream.bodyCount]))
        }
        guard let last, stream.lasts[last] == match.last else { return nil }
        return start..<last + 1
    }

    /// What a rule does, and the record of its phrase.
    package func edit(of rule: UInt32) -> Edit { rules[Int(rule)].edit }
    package func record(of rule: UInt32) -> UInt32 { UInt32(vocabularyCount) + rules[Int(rule)].phrase }

    /// The bid of a rule in a text with this context feature: `worth + coefficient · (context · c − offset)`, summed
    /// in order.
    package func strength(of rule: Int, context: Span<Float>) -> Float {
        precondition(
            context.count == contextDimensions, "the context feature has another length than the rules'")
        guard !rules[rule].context.isEmpty else { return rules[rule].worth }
        var product: Float = 0
        for index in 0..<contextDimensions { product += rules[rule].context[index] * context[index] }
        return rules[rule].worth + rules[rule].coefficient * (product - rules[rule].offset)
    }
}

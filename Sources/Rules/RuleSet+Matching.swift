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
    /// Appends the matches whose anchors are among the items `anchors` of the body. Stops early when `matches` holds
    /// `maximumCount` or a few more, or when `fuel`, one a looked-at item and one a tried rule, is at an end. Allocates only
    /// when `matches` must grow.
    package func appendMatches(
        in stream: ProgramStream, anchors: Range<Int>, maximumCount: Int, fuel: inout Int,
        to matches: inout [RuleMatch]
    ) {
        let anchors = anchors.prefix(max(0, fuel - 1))
        fuel -= anchors.count
        stream.operands.withUnsafeBufferPointer { operands in
            let body = UnsafeBufferPointer(rebasing: operands[..<stream.bodyCount])
            let lefts = max(0, anchors.lowerBound - index.postings.reach)..<anchors.upperBound
            index.postings.forEachPair(in: body, from: lefts) { item, distance in
                let (left, right) = (body[item], body[item + distance])
                index.postings.forEachRule(of: left, right) { posting in
                    let anchor = posting.isBackward ? item + distance : item
                    guard distance <= Int(posting.farthest), anchors.contains(anchor) else { return }
                    guard !posting.isTrigger else {
                        guard fuel > 0, matches.count < maximumCount else { return }
                        fuel -= 1
                        // Of several that are near, the first stands for all.
                        let other = posting.isBackward ? item : item + distance
                        guard index.trigger(of: Int(posting.rule), at: anchor, in: body) == other else { return }
                        let place = stream.placements[anchor]
                        return matches.append(RuleMatch(rule: posting.rule, first: place.first, last: place.last))
                    }
                    // Of a neighbour that is there twice only the nearer one counts.
                    let neighbour = posting.isBackward && !posting.isWhole ? left : right
                    guard !(item + 1..<item + distance).contains(where: { body[$0] == neighbour }) else { return }
                    guard fuel > 0, matches.count < maximumCount else { return }
                    fuel -= 1
                    guard posting.isWhole else {
                        return append(Int(posting.rule), at: anchor, in: body, stream, to: &matches)
                    }
                    matches.append(
                        RuleMatch(
                            rule: posting.rule, first: stream.placements[item].first,
                            last: stream.placements[item + distance].last))
                }
            }
            guard index.postings.hasLoneAnchors else { return }
            for item in anchors {
                index.postings.forEachRule(of: body[item], RulePostings.nothing) { posting in
                    guard fuel > 0, matches.count < maximumCount else { return }
                    fuel -= 1
                    append(Int(posting.rule), at: item, in: body, stream, to: &matches)
                }
            }
        }
    }

    /// The matches of a rule with its anchor at an item.
    private func append(
        _ rule: Int, at anchor: Int, in body: UnsafeBufferPointer<UInt32>, _ stream: ProgramStream,
        to matches: inout [RuleMatch]
    ) {
        index.forEachMatch(of: rule, anchoredAt: anchor, in: body) { first, last in
            matches.append(
                RuleMatch(
                    rule: UInt32(rule), first: stream.placements[first].first, last: stream.placements[last].last))
        }
    }

    /// The items that a match covers, or nil when it does not hold, or not with this span.
    package func items(of match: RuleMatch, in stream: ProgramStream) -> Range<Int>? {
        guard let start = stream.bodyItem(beginningAt: match.first) else { return nil }
        let last = stream.operands.withUnsafeBufferPointer {
            index.lastItem(
                of: Int(match.rule), at: start, in: UnsafeBufferPointer(rebasing: $0[..<stream.bodyCount]))
        }
        guard let last, stream.placements[last].last == match.last else { return nil }
        return start..<last + 1
    }

    /// The bid of a rule in a text with this context feature: `worth + coefficient · (context · c − offset)`, summed
    /// in order.
    package func strength(of rule: Int, context: Span<Float>) -> Float {
        precondition(
            context.count == contextDimensions, "the context feature has another length than the rules'")
        let facts = facts[rule]
        guard facts.looksAtContext else { return facts.worth }
        return facts.worth + rules.coefficient(of: rule) * (rules.product(of: rule, context) - rules.offset(of: rule))
    }
}

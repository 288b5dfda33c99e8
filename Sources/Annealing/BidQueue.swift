/// A claim on a place in this sweep.
struct Bid {
    /// Index of the match.
    var match: Int
    var priority: Float
    /// Of equal priorities the first in the text wins, then the longer, then the lower rule.
    var place: (first: UInt32, last: UInt32, rule: UInt32)

    func precedes(_ other: Bid) -> Bool {
        if priority != other.priority { return priority > other.priority }
        if place.first != other.place.first { return place.first < other.place.first }
        if place.last != other.place.last { return place.last > other.place.last }
        return place.rule < other.place.rule
    }
}

/// A bounded priority queue: keeps the best bids while they come in, then gives them out best first.
///
/// A heap with the worst bid at the root, which is the one to give way when the queue is full. `sort` takes the heap
/// apart in place (heapsort), so that the best stands first.
struct BidQueue {
    private(set) var bids: [Bid] = []
    /// Bids that found no place.
    private(set) var droppedCount = 0
    private var capacity = 0
    private var next = 0

    /// Index of the bid last given out.
    var current: Int { next - 1 }

    mutating func begin(capacity: Int) {
        bids.removeAll(keepingCapacity: true)
        self.capacity = capacity
        droppedCount = 0
        next = 0
    }

    mutating func insert(_ bid: Bid) {
        guard bids.count >= capacity else {
            bids.append(bid)
            var child = bids.count - 1
            while child > 0, bids[(child - 1) / 2].precedes(bids[child]) {
                bids.swapAt(child, (child - 1) / 2)
                child = (child - 1) / 2
            }
            return
        }
        droppedCount += 1
        guard let worst = bids.first, bid.precedes(worst) else { return }
        bids[0] = bid
        siftDown(below: bids.count)
    }

    mutating func sort() {
        var end = bids.count - 1
        while end > 0 {
            bids.swapAt(0, end)
            siftDown(below: end)
            end -= 1
        }
    }

    /// The next best bid. Only after `sort`.
    mutating func popBest() -> Bid? {
        guard next < bids.count else { return nil }
        next += 1
        return bids[next - 1]
    }

    private mutating func siftDown(below end: Int) {
        var parent = 0
        while true {
            var worst = parent
            for child in 2 * parent + 1...2 * parent + 2
            where child < end && bids[worst].precedes(bids[child]) {
                worst = child
            }
            if worst == parent { return }
            bids.swapAt(parent, worst)
            parent = worst
        }
    }
}

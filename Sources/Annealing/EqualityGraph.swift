/// An e-graph of the fragments of one program (Willsey and others, `egg: Fast and Extensible Equality Saturation`,
/// 2021). A class holds all forms found so far of one stretch of the text; nodes refer to classes, so that a few thousand
/// nodes stand for all rewritten programs. Classes that turn out to hold the same node are united (union-find), which may
/// make more nodes equal (congruence), until `rebuild` finds no more.
package struct EqualityGraph {
    package typealias ClassID = Int

    /// An item that a rule covers: a form of one class that is the item of this record, or any item when nil.
    package struct Item: Hashable {
        package var fragment: ClassID
        package var record: UInt32?

        package init(fragment: ClassID, record: UInt32?) {
            self.fragment = fragment
            self.record = record
        }
    }

    package enum Node: Hashable {
        /// The piece at a place of the text. Places keep equal pieces apart: equal forms of a class are forms of the same
        /// stretch, never what could also stand elsewhere.
        case piece(at: Int)
        /// One fragment, then the other.
        case join(ClassID, ClassID)
        /// One item in the place of others.
        case phrase(rule: Int, [Item])
        /// The items of a rule that adds: they stay, and nothing else may cover them.
        case covered(rule: Int, [Item])
    }

    private var parents: [ClassID] = []
    private var nodes: [[Node]] = []
    private var known: [Node: ClassID] = [:]
    private var hasUnions = false

    package init() {}

    package var nodeCount: Int { known.count }
    package var classes: [ClassID] { parents.indices.filter { parents[$0] == $0 } }

    /// All nodes of a class.
    package func forms(of id: ClassID) -> [Node] { nodes[find(id)] }

    package func find(_ id: ClassID) -> ClassID {
        var id = id
        while parents[id] != id { id = parents[id] }
        return id
    }

    /// The class of a node, a new one when the node is not known.
    package mutating func add(_ node: Node) -> ClassID {
        let node = canonical(node)
        if let id = known[node] { return find(id) }
        let id = parents.count
        parents.append(id)
        nodes.append([node])
        known[node] = id
        return id
    }

    /// Says that a node is a form of a class. True when that was not known.
    package mutating func add(_ node: Node, to id: ClassID) -> Bool {
        let (node, id) = (canonical(node), find(id))
        guard let other = known[node].map(find) else {
            nodes[id].append(node)
            known[node] = id
            return true
        }
        return unite(id, other)
    }

    private mutating func unite(_ a: ClassID, _ b: ClassID) -> Bool {
        guard a != b else { return false }
        let (root, child) = nodes[a].count >= nodes[b].count ? (a, b) : (b, a)
        parents[child] = root
        nodes[root] += nodes[child]
        nodes[child] = []
        hasUnions = true
        return true
    }

    private func canonical(_ node: Node) -> Node {
        func canonical(_ items: [Item]) -> [Item] {
            items.map { Item(fragment: find($0.fragment), record: $0.record) }
        }
        return switch node {
        case .piece: node
        case .join(let left, let right): .join(find(left), find(right))
        case .phrase(let rule, let items): .phrase(rule: rule, canonical(items))
        case .covered(let rule, let items): .covered(rule: rule, canonical(items))
        }
    }

    /// Restores congruence: a node is in one class, and refers to classes that exist.
    package mutating func rebuild() {
        while hasUnions {
            hasUnions = false
            known.removeAll(keepingCapacity: true)
            var equal: [(ClassID, ClassID)] = []
            for id in classes {
                var kept: [Node] = []
                for node in nodes[id].map(canonical) {
                    if let other = known[node] {
                        if other != id { equal.append((id, other)) }
                    } else {
                        known[node] = id
                        kept.append(node)
                    }
                }
                nodes[id] = kept
            }
            for (a, b) in equal { _ = unite(find(a), find(b)) }
        }
    }
}

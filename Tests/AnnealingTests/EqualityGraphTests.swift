import Annealing
import Testing

@Suite struct EqualityGraphTests {
    @Test func `equal nodes have one class, and places keep equal pieces apart`() {
        var graph = EqualityGraph()
        let (a, b) = (graph.add(.piece(at: 0)), graph.add(.piece(at: 1)))
        let again = graph.add(.piece(at: 0))
        #expect(a != b && again == a)
        let joins = [graph.add(.join(a, b)), graph.add(.join(a, b)), graph.add(.join(b, a))]
        #expect(joins[0] == joins[1] && joins[0] != joins[2])
    }

    @Test func `what is made of equal classes becomes equal, all the way up`() {
        var graph = EqualityGraph()
        let pieces = (0..<4).map { graph.add(.piece(at: $0)) }
        let left = graph.add(.join(graph.add(.join(pieces[0], pieces[2])), pieces[3]))
        let right = graph.add(.join(graph.add(.join(pieces[1], pieces[2])), pieces[3]))
        #expect(graph.find(left) != graph.find(right) && graph.classes.count == 8)
        let isNew = graph.add(.piece(at: 1), to: pieces[0])
        #expect(isNew)
        graph.rebuild()
        #expect(graph.find(left) == graph.find(right))
        #expect(graph.classes.count == 5 && graph.nodeCount == 6)
        let isNewAgain = graph.add(.piece(at: 1), to: pieces[0])
        #expect(!isNewAgain)
    }

    @Test func `a form of a class is one of it after any union`() {
        var graph = EqualityGraph()
        let (a, b) = (graph.add(.piece(at: 0)), graph.add(.piece(at: 1)))
        let whole = graph.add(.join(a, b))
        let phrase = EqualityGraph.Node.phrase(
            rule: 7, [.init(fragment: a, record: 3), .init(fragment: b, record: nil)])
        let news = [graph.add(phrase, to: whole), graph.add(phrase, to: whole)]
        #expect(news == [true, false])
        #expect(graph.forms(of: whole) == [.join(a, b), phrase])
        let found = graph.add(phrase)
        #expect(found == whole)
    }
}

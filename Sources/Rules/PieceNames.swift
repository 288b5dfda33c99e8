/// How pieces are written in the text of rules: by their own text where that stands for one piece only.
package struct PieceNames: Sendable {
    private let texts: [[UInt8]]
    private let ids: [[UInt8]: UInt32]

    /// UTF-8 of every piece, by id.
    package init(_ texts: [[UInt8]]) {
        self.texts = texts
        var ids: [[UInt8]: UInt32] = [:]
        for (id, text) in texts.enumerated() where ids[text] == nil { ids[text] = UInt32(id) }
        self.ids = ids
    }

    /// Pieces of which nothing is known: they are written as `%id`.
    package init(unknown count: Int) { self.init([[UInt8]](repeating: [], count: count)) }

    package var count: Int { texts.count }

    /// The text of a piece, or nil when it is empty, no UTF-8, or that of an earlier piece too.
    func text(of id: UInt32) -> String? {
        let bytes = texts[Int(id)]
        guard !bytes.isEmpty, ids[bytes] == id else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    func id(of text: String) -> UInt32? { ids[Array(text.utf8)] }
}

import Bytes
import FoundationEssentials
import Messages
import Transport
import Vectors
import Wire

/// How the answer of a method looks as JSON. Floats are the shortest decimals that read back the same.
enum APIAnswer: Sendable {
    case openAI(isBase64: Bool)
    /// An array of arrays: one a text.
    case rows
    /// An array of the first text's similarities with the others.
    case cosines
    /// An array of arrays of pieces.
    case pieces

    /// "-1.17549435e-38" and a comma.
    private static let bytesPerFloat = 16

    /// Most bytes of the JSON for `count` texts; 0 where only the answer itself tells.
    func maximumBytes(count: Int, dimensions: Int) -> Int {
        switch self {
        case .openAI(isBase64: true): count * (dimensions * 16 / 3 + 80) + 4_096
        case .openAI(isBase64: false): count * (dimensions * Self.bytesPerFloat + 80) + 4_096
        case .rows: count * (dimensions * Self.bytesPerFloat + 2) + 2
        case .cosines: count * Self.bytesPerFloat + 2
        case .pieces: 0
        }
    }

    /// The JSON of `answer`.
    ///
    /// - Parameter reserve: called with the bytes that the JSON takes where `maximumBytes` did not tell.
    /// - Throws: the first text's failure, or what `reserve` throws.
    func json(
        _ answer: Answer, model: String, reserve: (Int) throws(Failure) -> Void
    ) throws(Failure) -> [UInt8] {
        switch self {
        case .openAI(let isBase64): return try openAI(answer, model, isBase64)
        case .rows:
            let (width, _) = try embeddings(answer)
            return array(of: rows(answer, width)) { json, row in Self.append(row, to: &json) }
        case .cosines:
            var json: [UInt8] = []
            for row in rows(answer, (answer.attachment?.count ?? 0) / 4) { Self.append(row, to: &json) }
            return json
        case .pieces: return try pieces(answer, reserve)
        }
    }

    private func openAI(_ answer: Answer, _ model: String, _ isBase64: Bool) throws(Failure) -> [UInt8] {
        let (width, pieceCount) = try embeddings(answer)
        var json = Array("{\"object\":\"list\",\"data\":".utf8)
        var index = 0
        json += array(of: rows(answer, width)) { json, row in
            json += "{\"object\":\"embedding\",\"index\":\(index),\"embedding\":".utf8
            index += 1
            if isBase64 {
                json.append(UInt8(ascii: "\""))
                json += Data(row).base64EncodedData()
                json.append(UInt8(ascii: "\""))
            } else {
                Self.append(row, to: &json)
            }
            json.append(UInt8(ascii: "}"))
        }
        json += ",\"model\":\(JSONWriter.quoted(model)),".utf8
        json += "\"usage\":{\"prompt_tokens\":\(pieceCount),\"total_tokens\":\(pieceCount)}}".utf8
        return json
    }

    /// Dimensions and pieces of an Embed answer whose rows are all good.
    private func embeddings(_ answer: Answer) throws(Failure) -> (width: Int, pieceCount: Int) {
        guard let response = wireMessage(Sae_V1_EmbedResponse.self, answer.message[...]) else {
            throw Failure(.internal, "the answer does not parse")
        }
        try refuse(response.errors)
        return (Int(response.dimensions), response.pieces.reduce(0) { $0 + Int($1) })
    }

    /// These APIs know no row errors: the first bad text fails the request.
    private func refuse(_ errors: [Sae_V1_RowError]) throws(Failure) {
        guard let error = errors.first else { return }
        let limit = error.limit.isEmpty ? "" : " (\(error.limit))"
        throw Failure(
            StatusCode(rawValue: error.code) ?? .internal, "text \(error.index): \(error.message)\(limit)", limit: error.limit)
    }

    private func pieces(_ answer: Answer, _ reserve: (Int) throws(Failure) -> Void) throws(Failure) -> [UInt8] {
        guard let response = wireMessage(Sae_V1_TokenizeResponse.self, answer.message[...]) else {
            throw Failure(.internal, "the answer does not parse")
        }
        try refuse(response.errors)
        let bound = response.texts.reduce(2) { total, text in
            text.pieces.reduce(total + 2) { $0 + 6 * $1.count + 90 }
        }
        try reserve(bound)
        return array(of: response.texts) { json, text in
            json += array(of: text.ids.indices) { json, index in
                json += "{\"id\":\(text.ids[index]),\"text\":".utf8
                json += JSONWriter.quoted(String(decoding: text.pieces[index], as: UTF8.self)).utf8
                json += ",\"special\":false,\"start\":\(text.begins[index]),\"stop\":\(text.ends[index])}".utf8
            }
        }
    }

    private func array<Element>(
        of elements: some Sequence<Element>, _ append: (inout [UInt8], Element) -> Void
    ) -> [UInt8] {
        var json: [UInt8] = [UInt8(ascii: "[")]
        for element in elements {
            if json.count > 1 { json.append(UInt8(ascii: ",")) }
            append(&json, element)
        }
        json.append(UInt8(ascii: "]"))
        return json
    }

    /// The rows of an answer's attachment, `width` floats each.
    private func rows(_ answer: Answer, _ width: Int) -> [UnsafeRawBufferPointer] {
        guard let attachment = answer.attachment, width > 0 else { return [] }
        let bytes = UnsafeRawBufferPointer(attachment.body)
        return stride(from: 0, to: bytes.count, by: 4 * width).map {
            UnsafeRawBufferPointer(rebasing: bytes[$0..<$0 + 4 * width])
        }
    }

    private static func append(_ row: UnsafeRawBufferPointer, to json: inout [UInt8]) {
        json.append(UInt8(ascii: "["))
        for offset in stride(from: 0, to: row.count, by: 4) {
            if offset > 0 { json.append(UInt8(ascii: ",")) }
            let bits = UInt32(littleEndian: row.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            json += Float(bitPattern: bits).description.utf8
        }
        json.append(UInt8(ascii: "]"))
    }
}

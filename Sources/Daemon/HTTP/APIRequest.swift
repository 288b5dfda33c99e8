import Bytes
import NIOHTTP1
import Vectors
import Wire

/// What the JSON of a body asks for, in the terms of the protocol: everything behind it is the path of frames.
struct APIRequest {
    let method: Method
    /// Protobuf of the method's request.
    let message: [UInt8]
    /// The texts, end to end.
    let texts: [UInt8]
    let shape: APIAnswer
    /// Most bytes of the answer's JSON, where they are known beforehand.
    let answerBytes: Int

    /// The request as a frame would have brought it; its time is the caller's matter.
    var call: Call {
        var header = FrameHeader(.request)
        header.messageLength = UInt32(message.count)
        header.payloadLength = UInt32(message.count + texts.count)
        return Call(
            stream: 0, method: method, timeoutMicroseconds: 0,
            frame: Frame(header: header, message: message, attachment: texts), usesCRC: false)
    }

    /// Reads the body of `route`.
    ///
    /// - Parameter dimensions: those of the model.
    init(_ route: HTTPRoute, _ body: [UInt8], maximumTexts: Int, dimensions: Int) throws(HTTPFailure) {
        var fields = APIFields(maximumTexts: maximumTexts)
        do throws(JSONError) {
            var reader = try JSONReader(body)
            try fields.read(route, &reader)
            if fields.failure == nil { try reader.finish() }
        } catch { throw HTTPFailure(.badRequest, "the body is not the JSON that this route takes: \(error)") }
        if let failure = fields.failure { throw failure }
        let name = route == .embeddings ? "input" : "inputs"
        guard fields.hasTexts else { throw HTTPFailure(parameter: name, "\(name) is missing") }
        guard !fields.lengths.isEmpty, fields.lengths != [0] else {
            var failure = HTTPFailure(parameter: name, "\(name) is empty")
            failure.isEmpty = true
            throw failure
        }
        texts = fields.texts
        let width = fields.dimensions ?? dimensions
        guard width <= dimensions else { throw HTTPFailure(parameter: "dimensions", "dimensions must be from 1 to \(dimensions)") }
        method = route.method
        var writer = FieldWriter()
        writer.packed(1, fields.lengths)
        switch route {
        case .similarity:
            writer.number(2, 1)
            writer.number(4, fields.truncate ? 1 : 0)
            shape = .cosines
        case .tokenize:
            writer.number(2, 1)
            writer.number(3, 1)
            shape = .pieces
        default:
            writer.number(3, UInt64(width))
            writer.number(4, fields.truncate ? 1 : 0)
            writer.number(6, 1)
            shape = route == .embeddings ? .openAI(isBase64: fields.isBase64) : .rows
        }
        message = writer.bytes
        answerBytes = shape.maximumBytes(count: fields.lengths.count, dimensions: width)
    }
}

/// The members of a body that mean something here. Others are skipped, as those APIs do.
private struct APIFields {
    let maximumTexts: Int
    var texts: [UInt8] = []
    var lengths: [UInt32] = []
    var hasTexts = false
    var truncate = false
    var dimensions: Int?
    var isBase64 = false
    /// The JSON is well-formed, but asks for something that cannot be.
    var failure: HTTPFailure?
    private var seen: Set<String> = []

    init(maximumTexts: Int) { self.maximumTexts = maximumTexts }

    mutating func read(_ route: HTTPRoute, _ reader: inout JSONReader) throws(JSONError) {
        guard try reader.kind() == .object else { throw reader.failure("not an object") }
        try reader.enterObject()
        while failure == nil, let key = try reader.nextMember() {
            guard seen.insert(key).inserted else { throw reader.failure("a key stands twice") }
            // Null is what clients send for what they leave out.
            if try reader.kind() == .null {
                try reader.null()
                continue
            }
            switch (route, key) {
            case (.embeddings, "input"), (.embed, "inputs"), (.tokenize, "inputs"):
                try readTexts(key, &reader, isOpenAI: route == .embeddings)
            case (.similarity, "inputs"): try readSentences(&reader)
            case (.similarity, "parameters"): try readParameters(&reader)
            default: try readOption(route, key, &reader)
            }
        }
    }

    private mutating func readOption(_ route: HTTPRoute, _ key: String, _ reader: inout JSONReader) throws(JSONError) {
        switch (route, key) {
        case (.embeddings, "encoding_format"):
            guard try has(.string, key, &reader, "a string") else { return }
            let format = try reader.string()
            isBase64 = format == "base64"
            if format != "base64" && format != "float" { refuse(key, "must be float or base64") }
        case (.embeddings, "dimensions"), (.embed, "dimensions"):
            guard try has(.number, key, &reader, "a number") else { return }
            dimensions = try reader.integer()
            if !(1...Int(Int32.max) ~= dimensions ?? 0) { refuse(key, "must be a whole number of at least 1") }
        case (.embed, "truncate"): truncate = try flag(key, &reader)
        case (.embed, "normalize"):
            if !(try flag(key, &reader)) && failure == nil { refuse(key, "vectors always have length 1") }
        case (.embed, "truncation_direction"), (.similarity, "truncation_direction"):
            guard try has(.string, key, &reader, "a string") else { return }
            if try reader.string().lowercased() != "right" { refuse(key, "a text can only be cut at its end") }
        case (.embed, "prompt_name"), (.similarity, "prompt_name"):
            try reader.skip()
            refuse(key, "the model has no prompts")
        case (.similarity, "truncate"): truncate = try flag(key, &reader)
        default: try reader.skip()
        }
    }

    private mutating func readTexts(_ key: String, _ reader: inout JSONReader, isOpenAI: Bool) throws(JSONError) {
        hasTexts = true
        switch try reader.kind() {
        case .string: try readText(&reader)
        case .array:
            try reader.enterArray()
            while failure == nil, try reader.nextElement() {
                let kind = try reader.kind()
                if kind == .string {
                    try readText(&reader)
                } else if isOpenAI, kind == .number || kind == .array {
                    failure = HTTPFailure(
                        parameter: key, "token ids are not taken: send text (langchain: check_embedding_ctx_length=False)",
                        code: "token_ids_unsupported")
                } else {
                    refuse(key, "must be a string or an array of strings")
                }
            }
        default: refuse(key, "must be a string or an array of strings")
        }
    }

    private mutating func readText(_ reader: inout JSONReader) throws(JSONError) {
        guard lengths.count < maximumTexts else {
            return failure = HTTPFailure(
                Failure(
                    .invalidArgument, "too many texts in one request", limit: "limits.max_texts_per_request",
                    value: UInt64(maximumTexts)))
        }
        let before = texts.count
        try reader.string(into: &texts)
        lengths.append(UInt32(texts.count - before))
    }

    /// One sentence and those it is compared with: the first text, and the others.
    private mutating func readSentences(_ reader: inout JSONReader) throws(JSONError) {
        guard try has(.object, "inputs", &reader, "an object") else { return }
        hasTexts = true
        var source: (texts: [UInt8], lengths: [UInt32]) = ([], [])
        var others = source
        var hasSentences = false
        try reader.enterObject()
        while failure == nil, let key = try reader.nextMember() {
            (texts, lengths) = ([], [])
            switch key {
            case "source_sentence":
                guard try has(.string, key, &reader, "a string") else { return }
                try readText(&reader)
                source = (texts, lengths)
            case "sentences":
                guard try has(.array, key, &reader, "an array of strings") else { return }
                try readTexts(key, &reader, isOpenAI: false)
                others = (texts, lengths)
                hasSentences = true
            default: try reader.skip()
            }
        }
        if source.lengths.isEmpty { refuse("inputs", "source_sentence is missing") }
        if !hasSentences { refuse("inputs", "sentences is missing") }
        texts = source.texts + others.texts
        lengths = others.lengths.isEmpty ? [] : source.lengths + others.lengths
    }

    private mutating func readParameters(_ reader: inout JSONReader) throws(JSONError) {
        guard try has(.object, "parameters", &reader, "an object") else { return }
        try reader.enterObject()
        while failure == nil, let key = try reader.nextMember() {
            if try reader.kind() == .null { try reader.null() } else { try readOption(.similarity, key, &reader) }
        }
    }

    private mutating func flag(_ key: String, _ reader: inout JSONReader) throws(JSONError) -> Bool {
        guard try has(.truth, key, &reader, "true or false") else { return false }
        return try reader.truth()
    }

    private mutating func has(
        _ kind: JSONReader.Kind, _ key: String, _ reader: inout JSONReader, _ name: String
    ) throws(JSONError) -> Bool {
        if try reader.kind() == kind { return true }
        refuse(key, "must be \(name)")
        return false
    }

    private mutating func refuse(_ key: String, _ message: String) {
        if failure == nil { failure = HTTPFailure(parameter: key, message) }
    }
}

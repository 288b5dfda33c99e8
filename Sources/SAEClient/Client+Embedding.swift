import Messages
import SwiftProtobuf
import Wire

extension Client {
    /// The vectors of any number of texts, in order. What one request cannot carry is split by the server's
    /// limits; all are embedded by one model generation, or the call starts over. A text without a vector is a value in
    /// `errors`, and its row is zero.
    public func embed(
        _ texts: [String], options: EmbedOptions = EmbedOptions(), timeout: Duration = .seconds(10)
    ) async throws(ClientError) -> Embeddings {
        Embeddings(try await embed(texts, as: .float32, options: options, timeout: timeout))
    }

    /// As `embed`, in an encoding of choice and as the bytes that travelled.
    public func embed(
        _ texts: [String], as encoding: VectorEncoding, options: EmbedOptions = EmbedOptions(),
        timeout: Duration = .seconds(10)
    ) async throws(ClientError) -> EncodedEmbeddings {
        let (lengths, bytes) = Self.joined(texts)
        return try await embed(bytes: bytes, lengths: lengths, as: encoding, options: options, timeout: timeout)
    }

    /// As `embed`, for texts of any bytes, given end to end with the length of each.
    ///
    /// - Throws: `invalidArgument` when the lengths do not add up to the bytes.
    public func embed(
        bytes: [UInt8], lengths: [UInt32], as encoding: VectorEncoding, options: EmbedOptions = EmbedOptions(),
        timeout: Duration = .seconds(10)
    ) async throws(ClientError) -> EncodedEmbeddings {
        guard lengths.reduce(0, { $0 + Int($1) }) == bytes.count else {
            throw ClientError(.invalidArgument, "the lengths of the texts do not add up to their bytes")
        }
        let end = ContinuousClock.now + timeout
        // A model is changed now and then, not thrice in the time of a call.
        for _ in 0..<3 {
            if let answer = try await embedOnce(bytes, lengths, encoding, options, until: end) { return answer }
        }
        throw ClientError(.unavailable, "the server's model changed again and again while the texts were under way")
    }

    /// Nil when the requests that the texts were cut into were not answered by one generation.
    private func embedOnce(
        _ bytes: [UInt8], _ lengths: [UInt32], _ encoding: VectorEncoding, _ options: EmbedOptions,
        until end: ContinuousClock.Instant
    ) async throws(ClientError) -> EncodedEmbeddings? {
        let portions = portions(lengths, encoding: encoding, dimensions: options.dimensions)
        if portions.count == 1, portions[0].texts.count == lengths.count, !portions[0].isTooLong {
            return try await embed(portions[0], bytes, lengths, encoding, options, ContinuousClock.now.duration(to: end))
        }
        var whole = EncodedEmbeddings(encoding: encoding)
        var next = 0
        while next < portions.count {
            let group = underWay(portions[next...], encoding: encoding, dimensions: options.dimensions)
            next += group.count
            for part in try await concurrently(group, bytes, lengths, encoding, options, ContinuousClock.now.duration(to: end)) {
                guard whole.append(part) else { return nil }
            }
        }
        whole.fillRowsWithoutAnswer()
        return whole
    }

    /// The first portions that may be under way at once, so that the server computes while answers travel: at most 8, and no
    /// more than the server reserves answers for on one connection.
    private func underWay(
        _ portions: ArraySlice<Portion>, encoding: VectorEncoding, dimensions: Int
    ) -> ArraySlice<Portion> {
        let row = encoding.rowBytes(dimensions: dimensions > 0 ? dimensions : 1_024) + 96
        var left = Int(clamping: serverLimits["limits.max_connection_output_bytes"] ?? 16_777_216)
        let count = portions.prefix(8).prefix { portion in
            left -= portion.texts.count * row + 256
            return left >= 0
        }.count
        return portions.prefix(max(1, count))
    }

    /// The answers of several portions, in order. The first failure ends the others.
    private func concurrently(
        _ portions: ArraySlice<Portion>, _ bytes: [UInt8], _ lengths: [UInt32], _ encoding: VectorEncoding,
        _ options: EmbedOptions, _ timeout: Duration
    ) async throws(ClientError) -> [EncodedEmbeddings] {
        let outcome = await withTaskGroup(of: (Int, Result<EncodedEmbeddings, ClientError>).self) { group in
            for (index, portion) in portions.enumerated() {
                group.addTask {
                    do throws(ClientError) {
                        let part = try await self.embed(portion, bytes, lengths, encoding, options, timeout)
                        return (index, .success(part))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            var parts: [(Int, EncodedEmbeddings)] = []
            for await (index, result) in group {
                switch result {
                case .success(let part): parts.append((index, part))
                case .failure(let error):
                    group.cancelAll()
                    return Result<[EncodedEmbeddings], ClientError>.failure(error)
                }
            }
            return .success(parts.sorted { $0.0 < $1.0 }.map(\.1))
        }
        return try outcome.get()
    }

    private func embed(
        _ portion: Portion, _ bytes: [UInt8], _ lengths: [UInt32], _ encoding: VectorEncoding,
        _ options: EmbedOptions, _ timeout: Duration
    ) async throws(ClientError) -> EncodedEmbeddings {
        if portion.isTooLong {
            var answer = EncodedEmbeddings(encoding: encoding, count: 1)
            answer.errors = [
                RowError(
                    index: 0, code: StatusCode.invalidArgument.rawValue,
                    message: "the text is longer than a frame", limit: "limits.max_frame_bytes")
            ]
            answer.pieceCounts = options.countsPieces ? [0] : []
            return answer
        }
        let request = Sae_V1_EmbedRequest.with {
            $0.lengths = Array(lengths[portion.texts])
            $0.encoding = Sae_V1_Encoding(rawValue: Int(encoding.rawValue)) ?? .f32
            $0.dimensions = UInt32(clamping: options.dimensions)
            $0.truncate = options.truncates
            $0.temperature = options.temperature
            $0.ifGeneration = options.generation
            $0.wantPieces = options.countsPieces
        }
        let attachment = portion.bytes.count == bytes.count ? bytes : Array(bytes[portion.bytes])
        let frame = try await call(.embed, message: wireBytes(request), attachment: attachment, timeout: timeout)
        return try Self.embeddings(frame, count: portion.texts.count, encoding)
    }

    /// Consecutive texts that travel in one request.
    struct Portion: Sendable, Equatable {
        var texts: Range<Int>
        var bytes: Range<Int>
        /// One text that no frame of the server holds.
        var isTooLong = false
    }

    /// Cuts the texts by the server's limits: texts a request, bytes a frame, bytes of an answer. No text at
    /// all is one empty portion, so that the server says what it thinks of it.
    func portions(_ lengths: [UInt32], encoding: VectorEncoding, dimensions: Int) -> [Portion] {
        func limit(_ name: String, _ standard: Int) -> Int { Int(clamping: serverLimits[name] ?? UInt64(standard)) }
        // An answer is reserved as n rows, 96 bytes a row and 256; where the size of a row is not known
        // before the answer, it is taken for 1,024 dimensions.
        let row = encoding.rowBytes(dimensions: dimensions > 0 ? dimensions : 1_024) + 96
        let output = min(limit("limits.max_connection_output_bytes", 16_777_216), Self.maximumFrameBytes) - 256
        let most = max(1, min(limit("limits.max_texts_per_request", 2_048), output / row))
        var result: [Portion] = []
        var text = 0, byte = 0
        repeat {
            var portion = Portion(texts: text..<text, bytes: byte..<byte)
            var size = 64
            while text < lengths.count, portion.texts.count < most {
                // A length is at most 5 bytes of the message.
                let grown = size + Int(lengths[text]) + 5
                if grown > serverMaximumFrameBytes {
                    guard portion.texts.isEmpty else { break }
                    portion.isTooLong = true
                }
                size = grown
                text += 1
                byte += Int(lengths[text - 1])
                portion.texts = portion.texts.lowerBound..<text
                portion.bytes = portion.bytes.lowerBound..<byte
                if portion.isTooLong { break }
            }
            result.append(portion)
        } while text < lengths.count
        return result
    }
}

extension EncodedEmbeddings {
    init(_ response: Sae_V1_EmbedResponse, _ frame: Frame, _ encoding: VectorEncoding) {
        self.init(encoding: encoding)
        count = Int(response.count)
        dimensions = Int(response.dimensions)
        generation = response.generation
        // Without a copy, but for the scales that stand behind the rows.
        bytes = frame.attachment
        if encoding == .int8 {
            scales = bytes.suffix(4 * count).withUnsafeBytes { floats($0) }
            bytes.removeLast(4 * count)
        }
        errors = response.errors.map { RowError($0, offset: 0) }
        pieceCounts = response.pieces.map { Int($0) }
        truncated = response.truncated.map { Int($0) }
        queueTime = .microseconds(Int64(response.queueUs))
        computeTime = .microseconds(Int64(response.computeUs))
    }

    /// Puts the next texts' rows behind these; false when they are of another generation.
    mutating func append(_ part: EncodedEmbeddings) -> Bool {
        if dimensions == 0 {
            dimensions = part.dimensions
            generation = part.generation
        }
        guard part.dimensions == 0 || (part.dimensions == dimensions && part.generation == generation) else { return false }
        bytes += part.bytes
        scales += part.scales
        for error in part.errors {
            var error = error
            error.index += count
            errors.append(error)
        }
        pieceCounts += part.pieceCounts
        for index in part.truncated { truncated.append(index + count) }
        count += part.count
        queueTime = max(queueTime, part.queueTime)
        computeTime = max(computeTime, part.computeTime)
        return true
    }

    /// Gives the texts that were too long for any frame their zero rows, which no server has sent.
    mutating func fillRowsWithoutAnswer() {
        let row = encoding.rowBytes(dimensions: dimensions) - (encoding == .int8 ? 4 : 0)
        for error in errors where bytes.count < count * row && error.limit == "limits.max_frame_bytes" {
            bytes.insert(contentsOf: repeatElement(0, count: row), at: error.index * row)
            if encoding == .int8 { scales.insert(0, at: error.index) }
        }
    }
}

import Bytes
import Fitting
import RuleLibrary

/// A search between two rounds, in a file. Little-endian:
/// `"SAESEARCH1\n"` · SHA-256 of what the search is of · u32 rounds done · f64 processor seconds · 32 bytes: the last generation ·
/// the vectors: u32 candidates, then int8 × D, scale, worth and gain a candidate · u8 and the genome that the sums were computed
/// with · u32 individuals that live, then each · the champion · u32 entries of the archive, then each · u64 births and trials ·
/// u32 births that are remembered, then each · f64 slip · history · u32 CRC-32C of all before.
struct SearchCheckpoint {
    var round = 0
    var processorSeconds = 0.0
    var generation: Digest
    var elements: [Int8]
    var scales: [Float]
    var worths: [Float]
    var gains: [Float]
    var anchor: Genome?
    var living: [(genome: Genome, birth: Individual.Birth)]
    var champion: (genome: Genome, birth: Individual.Birth)
    var archive: [Archive.Entry]
    var birthCount: Int
    var evaluationCount: Int
    var births: [Individual.Birth]
    var slip: Double
    var history: [SearchRound]

    private static let magic = Array("SAESEARCH1\n".utf8)

    func write(to path: String, identity: Digest) throws(FittingError) {
        var writer = ByteWriter()
        writer.append(contentsOf: Self.magic)
        writer.append(contentsOf: identity.bytes)
        writer.append(UInt32(round))
        writer.append(processorSeconds.bitPattern)
        writer.append(contentsOf: generation.bytes)
        writer.append(UInt32(scales.count))
        writer.append(contentsOf: elements.map { UInt8(bitPattern: $0) })
        for column in [scales, worths, gains] { for number in column { writer.append(number) } }
        writer.append(UInt8(anchor == nil ? 0 : 1))
        if let anchor { writer.append(anchor) }
        writer.append(UInt32(living.count))
        for (genome, birth) in living + [champion] {
            writer.append(genome)
            writer.append(birth)
        }
        writer.append(UInt32(archive.count))
        for entry in archive { writer.append(entry) }
        writer.append(UInt64(birthCount))
        writer.append(UInt64(evaluationCount))
        writer.append(UInt32(births.count))
        for birth in births { writer.append(birth) }
        writer.append(slip.bitPattern)
        writer.append(UInt32(history.count))
        for round in history { writer.append(round) }
        writer.append(writer.bytes.withUnsafeBytes { crc32c($0) })
        do throws(FileError) {
            var file = try AtomicFileWriter(path)
            try file.append(writer.bytes)
            try file.commit()
        } catch { throw .file(error) }
    }

    /// The checkpoint at `path`, which must be of the same search and whole.
    init(_ path: String, identity: Digest, dimensions: Int) throws(FittingError) {
        let file: MappedFile
        do throws(FileError) { file = try MappedFile(path) } catch { throw .file(error) }
        defer { withExtendedLifetime(file) {} }
        let bytes = file.bytes
        guard bytes.count > Self.magic.count + 36, bytes.prefix(Self.magic.count).elementsEqual(Self.magic) else {
            throw .checkpoint(path: path, reason: "not a checkpoint of a search")
        }
        let body = UnsafeRawBufferPointer(rebasing: bytes[..<(bytes.count - 4)])
        let sum = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: bytes.count - 4, as: UInt32.self))
        guard crc32c(body) == sum else { throw .checkpoint(path: path, reason: "the checkpoint is damaged or cut off") }
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: body[Self.magic.count...]))
        guard reader.next(count: Digest.byteCount)?.elementsEqual(identity.bytes) == true else {
            throw .checkpoint(path: path, reason: "a checkpoint of a search with other material or options")
        }
        guard let whole = Self(&reader, dimensions: dimensions), reader.remaining == 0 else {
            throw .checkpoint(path: path, reason: "the checkpoint says something impossible")
        }
        self = whole
    }

    private init?(_ reader: inout ByteReader, dimensions: Int) {
        guard let round: UInt32 = reader.next(), let seconds: UInt64 = reader.next(),
            let generation = reader.next(count: Digest.byteCount), let count = reader.next(UInt32.self).map({ Int($0) }),
            let elements = reader.next(count: count * dimensions)
        else { return nil }
        self.round = Int(round)
        processorSeconds = Double(bitPattern: seconds)
        self.generation = Digest(Array(generation))
        self.elements = elements.map { Int8(bitPattern: $0) }
        guard let scales = reader.floats(count), let worths = reader.floats(count), let gains = reader.floats(count),
            let hasAnchor: UInt8 = reader.next()
        else { return nil }
        (self.scales, self.worths, self.gains) = (scales, worths, gains)
        if hasAnchor == 1 {
            guard let genome = reader.genome() else { return nil }
            anchor = genome
        }
        living = []
        guard let livingCount: UInt32 = reader.next() else { return nil }
        for _ in 0..<livingCount {
            guard let genome = reader.genome(), let birth = reader.birth() else { return nil }
            living.append((genome, birth))
        }
        guard let genome = reader.genome(), let birth = reader.birth(), let entryCount: UInt32 = reader.next() else { return nil }
        champion = (genome, birth)
        archive = []
        for _ in 0..<entryCount {
            guard let entry = reader.entry() else { return nil }
            archive.append(entry)
        }
        guard let all: UInt64 = reader.next(), let evaluations: UInt64 = reader.next(), let remembered: UInt32 = reader.next()
        else { return nil }
        (birthCount, evaluationCount) = (Int(all), Int(evaluations))
        births = []
        for _ in 0..<remembered {
            guard let birth = reader.birth() else { return nil }
            births.append(birth)
        }
        guard let slip = reader.double(), let rounds: UInt32 = reader.next() else { return nil }
        self.slip = slip
        history = []
        for _ in 0..<rounds {
            guard let round = reader.searchRound() else { return nil }
            history.append(round)
        }
    }

    init(
        round: Int, processorSeconds: Double, generation: Digest, pool: CandidatePool, anchor: Genome?,
        living: [Individual], champion: Individual, archive: Archive, birthCount: Int, evaluationCount: Int,
        births: [Individual.Birth], slip: Double, history: [SearchRound]
    ) {
        (self.round, self.processorSeconds, self.generation) = (round, processorSeconds, generation)
        (elements, scales, worths, gains) = (pool.elements, pool.scales, pool.worths, pool.gains)
        self.anchor = anchor
        self.living = living.map { ($0.genome, $0.birth) }
        self.champion = (champion.genome, champion.birth)
        self.archive = archive.ordered.map(\.entry)
        (self.births, self.slip) = (births, slip)
        (self.birthCount, self.evaluationCount, self.history) = (birthCount, evaluationCount, history)
    }
}

extension ByteWriter {
    fileprivate mutating func append(_ genome: Genome) {
        append(UInt32(genome.members.count))
        for word in genome.members { append(word) }
        for strength in genome.strengths { append(UInt8(bitPattern: strength)) }
        for budget in genome.budgets { append(budget) }
        append(genome.bidding.rawValue)
    }

    fileprivate mutating func append(_ birth: Individual.Birth) {
        append(UInt64(birth.number))
        append(UInt32(birth.parents.count))
        for parent in birth.parents { append(UInt64(parent)) }
        append(birth.operation.rawValue)
        append(UInt32(birth.round))
        append(UInt32(birth.island))
        append(birth.cosine.bitPattern)
        append(UInt32(birth.ruleCount))
    }

    fileprivate mutating func append(_ entry: Archive.Entry) {
        append(entry.genome)
        append(entry.cosine.bitPattern)
        append(UInt64(entry.byteCount))
        append(UInt32(entry.ruleCount))
        append(entry.editsPerText.bitPattern)
        append(entry.birth)
    }

    fileprivate mutating func append(_ round: SearchRound) {
        append(UInt32(round.number))
        append(UInt32(round.islandCosines.count))
        for cosine in round.islandCosines { append(cosine.bitPattern) }
        append(round.championCosine.bitPattern)
        append(UInt32(round.ruleCount))
        append(round.editsPerText.bitPattern)
        append(UInt32(round.archiveCount))
        append(UInt64(round.evaluationCount))
        append(UInt8(round.isRefitted ? 1 : 0))
    }
}

extension ByteReader {
    fileprivate mutating func double() -> Double? { next(UInt64.self).map { Double(bitPattern: $0) } }

    fileprivate mutating func floats(_ count: Int) -> [Float]? {
        guard remaining >= 4 * count else { return nil }
        return (0..<count).compactMap { _ in next(UInt32.self).map { Float(bitPattern: $0) } }
    }

    fileprivate mutating func genome() -> Genome? {
        guard let count: UInt32 = next(), remaining >= 8 * Int(count) else { return nil }
        let members = (0..<count).compactMap { _ in next(UInt64.self) }
        let strengths = RuleFamily.allCases.compactMap { _ in next(UInt8.self).map { Int8(bitPattern: $0) } }
        let budgets = RuleFamily.allCases.compactMap { _ in next(UInt32.self).map { Int32(bitPattern: $0) } }
        guard strengths.allSatisfy(Genome.strengthRange.contains), budgets.count == RuleFamily.allCases.count,
            let bidding = next(UInt8.self).flatMap(Genome.Bidding.init(rawValue:))
        else { return nil }
        return Genome(members: members, strengths: strengths, budgets: budgets, bidding: bidding)
    }

    fileprivate mutating func birth() -> Individual.Birth? {
        guard let number: UInt64 = next(), let count: UInt32 = next(), remaining >= 8 * Int(count) else { return nil }
        let parents = (0..<count).compactMap { _ in next(UInt64.self).map { Int($0) } }
        guard let operation = next(UInt8.self).flatMap(Individual.Operation.init(rawValue:)), let round: UInt32 = next(),
            let island: UInt32 = next(), let cosine = double(), let rules: UInt32 = next()
        else { return nil }
        return Individual.Birth(
            number: Int(number), parents: parents, operation: operation, round: Int(round), island: Int(island), cosine: cosine,
            ruleCount: Int(rules))
    }

    fileprivate mutating func entry() -> Archive.Entry? {
        guard let genome = genome(), let cosine = double(), let bytes: UInt64 = next(), let rules: UInt32 = next(),
            let edits = double(), let birth = birth()
        else { return nil }
        return Archive.Entry(
            genome: genome, cosine: cosine, byteCount: Int(bytes), ruleCount: Int(rules), editsPerText: edits, birth: birth)
    }

    fileprivate mutating func searchRound() -> SearchRound? {
        guard let number: UInt32 = next(), let islands: UInt32 = next(), remaining >= 8 * Int(islands) else { return nil }
        let cosines = (0..<islands).compactMap { _ in double() }
        guard let champion = double(), let rules: UInt32 = next(), let edits = double(), let archive: UInt32 = next(), let evaluations: UInt64 = next(),
            let refit: UInt8 = next()
        else { return nil }
        return SearchRound(
            number: Int(number), islandCosines: cosines, championCosine: champion, ruleCount: Int(rules), editsPerText: edits,
            archiveCount: Int(archive), evaluationCount: Int(evaluations), isRefitted: refit == 1)
    }
}

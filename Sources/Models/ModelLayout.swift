import Bytes

/// Header and section table of a model file, checked: every section lies inside the file and has its checksum.
struct ModelLayout {
    let path: String
    let digest: [UInt8]
    let table: UnsafeRawBufferPointer
    private(set) var entries: [(name: String, bytes: UnsafeRawBufferPointer)] = []

    init(_ file: UnsafeRawBufferPointer, path: String) throws(ModelError) {
        self.path = path
        guard file.count >= 8, file.prefix(8).elementsEqual(ModelFormat.magic) else { throw .foreign(path: path) }
        guard file.count >= ModelFormat.headerBytes else {
            throw .truncated(path: path, expected: UInt64(ModelFormat.headerBytes), actual: file.count)
        }
        func u32(_ offset: Int) -> UInt32 {
            UInt32(littleEndian: file.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        guard u32(8) <= ModelFormat.version else { throw .newer(path: path, version: u32(8)) }
        guard u32(8) > 0 else { throw .header(path: path, reason: "format 0") }
        guard u32(8) == ModelFormat.version else { throw .older(path: path, version: u32(8)) }
        let size = UInt64(littleEndian: file.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
        guard u32(12) <= ModelFormat.maximumSections else {
            throw .header(path: path, reason: "\(u32(12)) sections")
        }
        let tableEnd = ModelFormat.headerBytes + Int(u32(12)) * ModelFormat.entryBytes
        guard file.count >= tableEnd, UInt64(file.count) >= size else {
            throw .truncated(path: path, expected: max(size, UInt64(tableEnd)), actual: file.count)
        }
        table = UnsafeRawBufferPointer(rebasing: file[ModelFormat.headerBytes..<tableEnd])
        var crc = crc32c(UnsafeRawBufferPointer(rebasing: file[..<24]))
        crc = crc32c(UnsafeRawBufferPointer(rebasing: file[28..<tableEnd]), seed: crc)
        guard crc == u32(24) else { throw .header(path: path, reason: "its checksum differs") }
        guard size == file.count else {
            throw .header(path: path, reason: "it states \(size) bytes, and the file has \(file.count)")
        }
        digest = Array(file[32..<64])
        for index in 0..<Int(u32(12)) { try readEntry(index, of: file) }
        try checkGaps(of: file, from: tableEnd)
    }

    /// The bytes of a section, of exactly `byteCount` where that is known.
    func section(_ name: String, byteCount: Int? = nil) throws(ModelError) -> UnsafeRawBufferPointer {
        guard let entry = entries.first(where: { $0.name == name }) else {
            throw .section(path: path, name: name, reason: "is missing")
        }
        if let byteCount, entry.bytes.count != byteCount {
            throw .section(path: path, name: name, reason: "has \(entry.bytes.count) bytes instead of \(byteCount)")
        }
        return entry.bytes
    }

    /// Sections follow one another with zeros between, so no byte of the file is outside every check.
    private func checkGaps(of file: UnsafeRawBufferPointer, from tableEnd: Int) throws(ModelError) {
        var end = tableEnd
        for entry in entries {
            guard let base = file.baseAddress, let start = entry.bytes.baseAddress.map({ $0 - base }) else { continue }
            guard start >= end else { throw .section(path: path, name: entry.name, reason: "overlaps another") }
            guard file[end..<start].allSatisfy({ $0 == 0 }) else {
                throw .header(path: path, reason: "bytes between its sections are not zero")
            }
            end = start + entry.bytes.count
        }
        guard file[end...].allSatisfy({ $0 == 0 }) else {
            throw .header(path: path, reason: "bytes behind its sections are not zero")
        }
    }

    private mutating func readEntry(_ index: Int, of file: UnsafeRawBufferPointer) throws(ModelError) {
        var reader = ByteReader(
            UnsafeRawBufferPointer(rebasing: table[index * ModelFormat.entryBytes..<(index + 1) * ModelFormat.entryBytes]))
        guard let nameBytes = reader.next(count: 8), let flags = reader.next(UInt32.self),
            let crc = reader.next(UInt32.self), let offset = reader.next(UInt64.self),
            let length = reader.next(UInt64.self)
        else { throw .header(path: path, reason: "section \(index + 1) has no whole entry") }
        let name = String(decoding: nameBytes.prefix { $0 != UInt8(ascii: " ") }, as: UTF8.self)
        func fail(_ reason: String) -> ModelError { .section(path: path, name: name, reason: reason) }
        guard flags & ~ModelFormat.optionalFlag == 0 else { throw fail("has unknown flags") }
        guard ModelFormat.known.contains(name) || flags & ModelFormat.optionalFlag != 0 else {
            throw fail("is unknown to this program, and it is needed")
        }
        guard !entries.contains(where: { $0.name == name }) else { throw fail("stands there twice") }
        guard offset % UInt64(ModelFormat.alignment) == 0, offset <= UInt64(file.count),
            length <= UInt64(file.count) - offset
        else { throw fail("lies outside the file") }
        let bytes = UnsafeRawBufferPointer(rebasing: file[Int(offset)..<Int(offset + length)])
        guard crc32c(bytes) == crc else { throw fail("its checksum differs: the file is damaged") }
        entries.append((name, bytes))
    }
}

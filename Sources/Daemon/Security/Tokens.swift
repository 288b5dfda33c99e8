import Bytes
import Diagnostics
import Glibc

/// One line of the tokens file. It holds the digest of the secret, never the secret.
struct Token: Sendable, Equatable {
    let name: String
    let roles: Roles
    let digest: [UInt8]
}

/// The tokens file: `NAME ROLE[,ROLE…] sha256:HEX` a line, `#` begins a comment.
package struct Tokens: Sendable {
    private let entries: [Token]

    /// - Throws: `ConfigurationError` where the file cannot be read, others may read it, a line is wrong (named by its number; its
    ///   text is told to nobody) or no token stands in it.
    package init(readingFile path: String) throws(ConfigurationError) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw .unreadable(path: path, reason: String(cString: strerror(errno)))
        }
        guard status.st_mode & 0o007 == 0 else { throw .openToOthers(path: path) }
        let text: String
        do throws(FileError) {
            let file = try MappedFile(path)
            text = withExtendedLifetime(file) { String(decoding: file.bytes, as: UTF8.self) }
        } catch { throw .unreadable(path: path, reason: error.summary) }
        var entries: [Token] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let fields = line.prefix { $0 != "#" }.split { $0 == " " || $0 == "\t" || $0 == "\r" }
            guard !fields.isEmpty else { continue }
            let position = TextPosition(line: index + 1, column: 1)
            guard fields.count == 3, fields[2].hasPrefix("sha256:"), let roles = Roles(parsing: fields[1]),
                let digest = Self.digest(hexadecimal: fields[2].dropFirst(7)), Self.isName(fields[0])
            else { throw .syntax(path: path, at: position, reason: "a line is NAME ROLE[,ROLE...] sha256:HEX") }
            let entry = Token(name: String(fields[0]), roles: roles, digest: digest)
            guard !entries.contains(where: { $0.name == entry.name || $0.digest == digest }) else {
                throw .syntax(path: path, at: position, reason: "this name or token stands above already")
            }
            entries.append(entry)
        }
        guard !entries.isEmpty else { throw .unreadable(path: path, reason: "no token stands in it") }
        self.entries = entries
    }

    /// Whose token it is. The digest is compared with every entry's, each in constant time.
    func entry(of token: String) -> Token? {
        let offered = Self.digest(of: token)
        var found: Token?
        for entry in entries where isEqualInConstantTime(entry.digest, offered) { found = entry }
        return found
    }

    func contains(_ token: Token) -> Bool { entries.contains(token) }

    /// A new secret, `sae_` and 32 random bytes in base64url, and the line of the file for it.
    package static func make(name: String, roles: String) -> (secret: String, line: String)? {
        guard isName(name), Roles(parsing: roles) != nil else { return nil }
        var random = SystemRandomNumberGenerator()
        let bytes = (0..<4).flatMap { _ in withUnsafeBytes(of: random.next() as UInt64) { Array($0) } }
        let secret = "sae_" + base64URL(bytes)
        return (secret, "\(name) \(roles) sha256:\(hexadecimal(digest(of: secret)))")
    }

    /// 1 to 64 letters, digits, `-`, `_` or `.`.
    package static func isName(_ text: some StringProtocol) -> Bool {
        1...64 ~= text.utf8.count
            && text.unicodeScalars.allSatisfy { $0.isASCII && ($0.properties.isAlphabetic || "0123456789-_.".unicodeScalars.contains($0)) }
    }

    private static func digest(of token: String) -> [UInt8] { Array(token.utf8).withUnsafeBytes { SHA256.digest(of: $0) } }

    private static func digest(hexadecimal text: some StringProtocol) -> [UInt8]? {
        let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard text.utf8.count == 64, digits.count == 64 else { return nil }
        return stride(from: 0, to: 64, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    /// RFC 4648, section 5, without padding.
    private static func base64URL(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            for index in 0...group.count { text.append(alphabet[bits >> (18 - 6 * index) & 63]) }
        }
        return String(decoding: text, as: UTF8.self)
    }
}

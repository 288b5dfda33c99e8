import Bytes
import Glibc

/// The names of jobs: 26 letters and digits, in the order of their making (a ULID: milliseconds, then 80 random bits).
enum JobID {
    private static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)

    static func make(milliseconds: Int64) -> String {
        var random = SystemRandomNumberGenerator()
        var letters = [UInt8](repeating: 0, count: 26)
        var time = UInt64(clamping: milliseconds) & (1 << 48 - 1)
        for place in stride(from: 9, through: 0, by: -1) {
            letters[place] = alphabet[Int(time & 31)]
            time >>= 5
        }
        for place in 10..<26 { letters[place] = alphabet[Int.random(in: 0..<32, using: &random)] }
        return String(decoding: letters, as: UTF8.self)
    }

    /// The names in the folder of all jobs that can be one's, in the order of their making.
    static func all(in path: String) throws(FileError) -> [String] {
        guard let folder = opendir(path) else { throw .system(operation: "list", path: path, errno: errno) }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            names.append(withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        return names.filter(isValid).sorted()
    }

    static func isValid(_ name: String) -> Bool { name.utf8.count == 26 && name.utf8.allSatisfy(alphabet.contains) }
}

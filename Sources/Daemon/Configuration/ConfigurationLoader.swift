import Bytes
import Diagnostics

/// Settings from all sources, lowest to highest: built-in default, file, environment, flags; and for each
/// where it came from.
package struct LoadedConfiguration: Sendable {
    package var configuration = Configuration()
    /// By key; absent means the built-in default.
    package var origins: [String: String] = [:]

    /// Reads every source. `arguments` are flags as on the command line (`--flag VALUE` or `--flag=VALUE`);
    /// variables that do not begin with `SAE_`, and those of the client, are none of ours.
    package init(arguments: [String], environment: [String: String]) throws(ConfigurationError) {
        let flags = try Self.flags(in: arguments)
        let variables = try Self.variables(in: environment)
        let file = flags["config"] ?? variables["config"]
        try readFile(named: file)
        for (values, origin) in [(variables, "environment"), (flags, "flag")] {
            for setting in Setting.all {
                guard let value = values[setting.key] else { continue }
                try set(setting, to: value, origin: origin)
            }
        }
    }

    /// Checks what can be checked without opening anything.
    package func validate() throws(ConfigurationError) {
        do throws(ConfigurationError) { try configuration.validate() } catch {
            switch error {
            case .badAddress(let key, _, let address, let reason):
                throw .badAddress(key: key, origin: origins[key] ?? "default", address: address, reason: reason)
            case .badValue(let key, _, let value, let reason):
                throw .badValue(key: key, origin: origins[key] ?? "default", value: value, reason: reason)
            default: throw error
            }
        }
    }

    /// One line a setting: key, value, origin.
    package var listing: String {
        Setting.all.map { setting in
            let origin = origins[setting.key] ?? "default"
            return "\(setting.key) = \(setting.value(in: configuration))  # \(origin)\n"
        }.joined()
    }

    private mutating func set(
        _ setting: Setting, to value: String, origin: String
    ) throws(ConfigurationError) {
        if let reason = setting.set(value, in: &configuration) {
            throw .badValue(key: setting.key, origin: origin, value: value, reason: reason)
        }
        origins[setting.key] = origin
    }

    private static func flags(in arguments: [String]) throws(ConfigurationError) -> [String: String] {
        var values: [String: String] = [:]
        var index = 0
        while index < arguments.count {
            let argument = arguments[index]
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = parts.first.map(String.init) ?? argument
            guard let setting = Setting.all.first(where: { $0.flag == name }) else {
                throw unknown(name, origin: "flag", among: Setting.all.map(\.flag))
            }
            if parts.count == 2 {
                values[setting.key] = String(parts[1])
            } else {
                index += 1
                guard index < arguments.count else { throw .missingValue(flag: name) }
                values[setting.key] = arguments[index]
            }
            index += 1
        }
        return values
    }

    private static func variables(
        in environment: [String: String]
    ) throws(ConfigurationError) -> [String: String] {
        var values: [String: String] = [:]
        for name in environment.keys.sorted() where name.hasPrefix("SAE_") && !name.hasPrefix("SAE_CLIENT_") {
            guard let setting = Setting.all.first(where: { $0.environment == name }) else {
                throw unknown(name, origin: "environment", among: Setting.all.map(\.environment))
            }
            values[setting.key] = environment[name]
        }
        return values
    }

    /// Reads the file; only the default one may be missing.
    private mutating func readFile(named name: String?) throws(ConfigurationError) {
        let path = name ?? configuration.file
        let bytes: [UInt8]
        do throws(FileError) {
            let file = try MappedFile(path)
            bytes = withExtendedLifetime(file) { Array(file.bytes) }
        } catch {
            if name == nil, error.category == .notFound { return }
            throw .unreadable(path: path, reason: error.summary)
        }
        let values: [SettingsText.Value]
        do throws(SettingsText.Problem) { values = try SettingsText.values(in: bytes) } catch {
            guard let position = error.position else { throw .unreadable(path: path, reason: error.reason) }
            throw .syntax(path: path, at: position, reason: error.reason)
        }
        for value in values { try read(value, path: path) }
    }

    private mutating func read(_ value: SettingsText.Value, path: String) throws(ConfigurationError) {
        let key = value.name
        if value.kind == .table {
            guard Setting.all.contains(where: { $0.key.hasPrefix(key + ".") }) else {
                throw Self.unknown(key, origin: path, among: Setting.all.map(\.key))
            }
            return
        }
        // The file cannot name itself, so `config` is unknown here.
        guard let setting = Setting.all.first(where: { $0.key == key && key != "config" }) else {
            throw Self.unknown(key, origin: path, among: Setting.all.map(\.key))
        }
        guard value.kind == .written(setting.written) else {
            throw .badValue(key: key, origin: path, value: value.text, reason: "must be \(setting.written.rawValue)")
        }
        try set(setting, to: value.text, origin: path)
    }

    private static func unknown(
        _ name: String, origin: String, among names: [String]
    ) -> ConfigurationError {
        let near = names.compactMap { known -> (name: String, distance: Int)? in
            let tolerance = max(2, known.utf8.count / 4)
            // The distance is no smaller than this; a name of any length is refused at once.
            guard abs(known.utf8.count - name.utf8.count) <= tolerance else { return nil }
            let distance = distance(name, known)
            return distance <= tolerance ? (known, distance) : nil
        }
        return .unknown(name: name, origin: origin, nearest: near.min { $0.distance < $1.distance }?.name)
    }

    /// Levenshtein's distance.
    static func distance(_ left: String, _ right: String) -> Int {
        let left = Array(left.utf8), right = Array(right.utf8)
        var row = Array(0...right.count)
        for (i, a) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, b) in right.enumerated() {
                let above = row[j + 1]
                row[j + 1] = min(above + 1, row[j] + 1, diagonal + (a == b ? 0 : 1))
                diagonal = above
            }
        }
        return row[right.count]
    }
}

import CPosix
import Glibc
import Wire

/// What somebody may ask for (service specification, sections 3 and 9).
struct Roles: OptionSet, Sendable {
    let rawValue: UInt8
    static let embed = Roles(rawValue: 1)
    static let jobs = Roles(rawValue: 2)
    static let metrics = Roles(rawValue: 4)
    /// Reload, Drain, and everybody's jobs.
    static let admin = Roles(rawValue: 8)
    /// An administrator may do what the others may.
    static let all: Roles = [.embed, .jobs, .metrics, .admin]

    private static let named: [(name: String, role: Roles)] =
        [("embed", .embed), ("jobs", .jobs), ("metrics", .metrics), ("admin", .all)]

    /// `ROLE[,ROLE…]`; nil where a name is none.
    init?(parsing text: some StringProtocol) {
        self = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let role = Self.named.first(where: { $0.name == part })?.role else { return nil }
            formUnion(role)
        }
    }

    init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The first that brings all of these rights.
    var name: String { Self.named.first { $0.role.isSuperset(of: self) }?.name ?? "" }

    /// As HELLO tells them.
    var names: [String] { Self.named.filter { isSuperset(of: $0.role) }.map(\.name) }
}

extension Method {
    /// The role that a call needs; empty: whoever is connected may.
    var role: Roles {
        switch self {
        case .embed, .embedStream, .similarity, .tokenize, .trace: .embed
        case .info, .healthCheck, .healthWatch: []
        case .createJob, .putJobInput, .startJob, .getJob, .listJobs, .watchJob, .getJobOutput, .cancelJob, .deleteJob: .jobs
        case .reload, .drain: .admin
        }
    }
}

/// Who is on the other side of a connection, and what they may ask for.
struct Peer: Sendable {
    /// As logs name it: a token's name, `uid:N`, or `anonymous`.
    let name: String
    let roles: Roles
    /// What proved it, where that was a token.
    var token: Token?

    /// - Throws: `permissionDenied` naming the role that is lacking.
    func check(_ role: Roles, for what: String) throws(Failure) {
        guard roles.isSuperset(of: role) else {
            throw Failure(.permissionDenied, "\(what) needs the role \(role.name)")
        }
    }
}

/// Who is let in: a part of the settings in force.
struct Access: Sendable {
    /// Nil: no tokens file, and whoever reaches this machine's loopback may embed.
    let tokens: Tokens?
    let unixRoles: Roles

    /// Reads the tokens file, if there is to be one.
    init(_ configuration: Configuration) throws(ConfigurationError) {
        unixRoles = try configuration.rolesOverUnix()
        tokens = configuration.tokensPath.isEmpty ? nil : try Tokens(readingFile: configuration.tokensPath)
    }

    /// Who it is that offers `token` (empty: none), over a Unix socket with the peer's `uid`; nil: not let in.
    ///
    /// Without a tokens file a token says nothing, as some clients always send one.
    func peer(offering token: String, uid: UInt32?) -> Peer? {
        if let tokens, !token.isEmpty {
            return tokens.entry(of: token).map { Peer(name: $0.name, roles: $0.roles, token: $0) }
        }
        if let uid {
            let isOurs = uid == 0 || uid == geteuid()
            return Peer(name: "uid:\(uid)", roles: isOurs ? .all : unixRoles)
        }
        return tokens == nil ? Peer(name: "anonymous", roles: [.embed, .metrics]) : nil
    }

    /// Whether who was let in by a token still would be.
    func stillAdmits(_ peer: Peer) -> Bool {
        guard let token = peer.token else { return true }
        return tokens?.contains(token) ?? false
    }

    /// The credentials that the kernel noted when the peer of a Unix socket connected.
    static func uid(of descriptor: Int32) -> UInt32? {
        var pid: UInt32 = 0, uid: UInt32 = 0, gid: UInt32 = 0
        return sae_peer_credentials(descriptor, &pid, &uid, &gid) == 0 ? uid : nil
    }
}

extension Configuration {
    /// Those of `auth.unix_roles`.
    func rolesOverUnix() throws(ConfigurationError) -> Roles {
        if unixRoles.isEmpty { return [] }
        guard let roles = Roles(parsing: unixRoles) else {
            throw .badValue(
                key: "auth.unix_roles", origin: "setting", value: unixRoles,
                reason: "must be of embed, jobs, metrics, admin, with commas between")
        }
        return roles
    }
}

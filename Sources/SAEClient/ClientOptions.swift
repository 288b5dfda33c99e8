/// How a client connects and tries again.
public struct ClientOptions: Sendable {
    /// What authenticates this client, where the server wants it.
    public var token = ""
    /// For `tls://`: the PEM file of the authorities that may vouch for the server; empty: those that the system trusts.
    public var tlsAuthorities = ""
    /// For `tls://`: the PEM file of this client's certificate, and that of its key, for servers that ask for one; empty: none.
    public var tlsCertificate = ""
    public var tlsKey = ""
    /// Every frame carries a CRC-32C. Sockets have sums of their own; turn it on where a proxy or a faulty link stands
    /// between.
    public var usesChecksums = false
    /// For one attempt to connect, handshake included.
    public var connectTimeout = Duration.seconds(5)
    /// Connections to the server: a second one is opened only when 32 calls are under way on the first, and so on.
    public var maximumConnections = 4
    /// Attempts of one call, the first included. Only calls of which nothing was begun are made again, and once a call
    /// whose connection was lost; 1 = never.
    public var maximumAttempts = 3

    /// How long calls wait while the server cannot be reached, before they fail with `unavailable`; nil: until their deadlines.
    public var reconnectTimeout: Duration?
    /// How long a call that the server refuses as overloaded or draining is made again, within its deadline and however often; nil:
    /// `maximumAttempts` times. For work that nobody waits for: whoever repeats without end keeps an overload going.
    public var refusalTimeout: Duration?
    /// Called when calls begin to wait for a lost connection, and when it is there again. It runs on the client's own queue
    /// and must not block.
    public var onConnectionChange: (@Sendable (ConnectionChange) -> Void)?

    public init() {}
}

/// What becomes of the connection to a server.
public enum ConnectionChange: Sendable {
    /// There is none any more, for this reason, and the client tries to connect again.
    case lost(ClientError)
    case restored
}

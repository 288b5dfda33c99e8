import CPosix
import Glibc

/// Who is on the other side of a connection, as far as the kernel knows.
struct Peer: Sendable {
    /// As logs name it: `uid:N`, or `anonymous`.
    let name: String
    /// May reload and drain the daemon.
    let isAdministrator: Bool

    /// Over a Unix socket the credentials that the kernel noted at the connect; uid 0 and the daemon's own uid administrate.
    init(of descriptor: Int32, _ transport: TransportName) {
        var pid: UInt32 = 0, uid: UInt32 = 0, gid: UInt32 = 0
        if transport == .unix, sae_peer_credentials(descriptor, &pid, &uid, &gid) == 0 {
            name = "uid:\(uid)"
            isAdministrator = uid == 0 || uid == geteuid()
        } else {
            name = "anonymous"
            isAdministrator = false
        }
    }
}

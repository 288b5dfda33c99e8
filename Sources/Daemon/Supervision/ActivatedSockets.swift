import CSystemd
import Glibc

/// Listening sockets that systemd passed, by their names in `FileDescriptorName=`.
struct ActivatedSockets {
    /// Frames over TCP (`frames`) and over a Unix socket (`frames-unix`).
    private(set) var frames: [Int32] = []
    private(set) var http: Int32?
    private(set) var names: Set<String> = []

    /// Takes what `LISTEN_FDS` announces to this process, once: the variables are unset. A socket without a
    /// name we know is taken by its family: Unix sockets and TCP carry frames.
    static func take() throws -> ActivatedSockets {
        var result = ActivatedSockets()
        var list: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = sd_listen_fds_with_names(1, &list)
        defer {
            if let list {
                for index in 0..<max(0, Int(count)) { free(list[index]) }
                free(list)
            }
        }
        for index in 0..<max(0, Int(count)) {
            let descriptor = Int32(SD_LISTEN_FDS_START) + Int32(index)
            let given = list?[index].map { String(cString: $0) } ?? "unknown"
            let isUnix = sd_is_socket_unix(descriptor, Int32(SOCK_STREAM.rawValue), 1, nil, 0) > 0
            let name = ["frames", "frames-unix", "http"].contains(given) ? given : isUnix ? "frames-unix" : "frames"
            result.names.insert(name)
            if name == "http" { result.http = descriptor } else { result.frames.append(descriptor) }
        }
        return result
    }
}

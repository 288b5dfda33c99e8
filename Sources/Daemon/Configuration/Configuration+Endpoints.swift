import Glibc
import Transport

extension Configuration {
    /// The addresses to open for frames, without those that an activated socket of that name replaces.
    ///
    /// Without tokens and encryption nothing but loopback may be opened.
    func frameEndpoints(activated: Set<String>) throws(ConfigurationError) -> [Endpoint] {
        var endpoints: [Endpoint] = []
        if !listenTCP.isEmpty, !activated.contains("frames") {
            endpoints.append(try guarded(listenTCP, key: "listen.tcp"))
        }
        if !listenUnix.isEmpty, !activated.contains("frames-unix") {
            do throws(TransportError) {
                endpoints.append(try Endpoint.unix(checking: listenUnix))
            } catch { 
                throw .badAddress(key: "listen.unix", origin: "setting", address: listenUnix, reason: error.summary)
            }
        }
        return endpoints
    }

    /// The HTTP address, or nil when it is off.
    func httpEndpoint() throws(ConfigurationError) -> Endpoint? {
        httpListen.isEmpty ? nil : try guarded(httpListen, key: "http.listen")
    }

    /// Checks what can be checked without opening anything. Errors leave it to the caller to say where a value was set.
    package func validate() throws(ConfigurationError) {
        let frames = try frameEndpoints(activated: [])
        _ = try httpEndpoint()
        if frames.isEmpty { throw .noListener }
        try checkEncryption()
        _ = try rolesOverUnix()
        try checkJobFolders()
    }

    /// The tokens file in force: as set, or else the one that the service manager passes as a credential; empty: none.
    var tokensPath: String { tokensFile.isEmpty ? Self.credential("tokens") : tokensFile }

    /// A file in `$CREDENTIALS_DIRECTORY`, or empty when it is not there.
    static func credential(_ name: String) -> String {
        guard let folder = getenv("CREDENTIALS_DIRECTORY") else { return "" }
        let path = "\(String(cString: folder))/\(name)"
        return access(path, F_OK) == 0 ? path : ""
    }

    /// As for the addresses in the settings, for a socket that somebody else opened.
    func checkExposure(ofActivated descriptor: Int32) throws(ConfigurationError) {
        let endpoint = Endpoint(ofLocal: descriptor)
        try checkExposure(endpoint?.isLoopback ?? false, "an activated socket", endpoint?.description ?? "of a kind that is not known")
    }

    private func checkExposure(_ isLoopback: Bool, _ key: String, _ address: String) throws(ConfigurationError) {
        guard !isLoopback else { return }
        if tokensPath.isEmpty { throw .exposed(key: key, address: address, missing: "auth.tokens_file") }
        if tlsCertificate.isEmpty, !allowsPlaintext { throw .exposed(key: key, address: address, missing: "TLS") }
    }

    private func guarded(_ text: String, key: String) throws(ConfigurationError) -> Endpoint {
        let endpoint: Endpoint
        do throws(TransportError) {
            endpoint = try Endpoint.tcp(parsing: text)
        } catch { throw .badAddress(key: key, origin: "setting", address: text, reason: error.summary) }
        try checkExposure(endpoint.isLoopback, key, text)
        return endpoint
    }
}

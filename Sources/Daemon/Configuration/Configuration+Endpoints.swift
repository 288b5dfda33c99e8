import Transport

extension Configuration {
    /// The addresses to open for frames, without those that an activated socket of that name replaces.
    ///
    /// Without tokens and TLS nothing but loopback may be opened.
    func frameEndpoints(activated: Set<String>) throws(ConfigurationError) -> [Endpoint] {
        var endpoints: [Endpoint] = []
        if !listenTCP.isEmpty, !activated.contains("frames") {
            endpoints.append(try Self.loopback(listenTCP, key: "listen.tcp"))
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
        httpListen.isEmpty ? nil : try Self.loopback(httpListen, key: "http.listen")
    }

    /// Checks what can be checked without opening anything.
    package func validate() throws(ConfigurationError) {
        let frames = try frameEndpoints(activated: [])
        _ = try httpEndpoint()
        if frames.isEmpty { throw .noListener }
    }

    private static func loopback(_ text: String, key: String) throws(ConfigurationError) -> Endpoint {
        let endpoint: Endpoint
        do throws(TransportError) {
            endpoint = try Endpoint.tcp(parsing: text)
        } catch { throw .badAddress(key: key, origin: "setting", address: text, reason: error.summary) }
        guard endpoint.isLoopback else { throw .notLoopback(key: key, address: text) }
        return endpoint
    }
}

import Encryption
import Glibc

extension Configuration {
    /// The key's file in force: as set, or else the one that the service manager passes as a credential; empty: none.
    private var tlsKeyPath: String { tlsKey.isEmpty ? Self.credential("tls.key") : tlsKey }

    /// Checks what can be checked without opening a file.
    func checkEncryption() throws(ConfigurationError) {
        if tlsCertificate.isEmpty {
            for (key, path) in [("tls.key", tlsKey), ("tls.client_ca", tlsClientAuthorities)] where !path.isEmpty {
                throw .incomplete(key: key, missing: "tls.certificate")
            }
        } else if tlsKeyPath.isEmpty {
            throw .incomplete(key: "tls.certificate", missing: "tls.key")
        }
    }

    /// The server's side of TLS, read from its files; nil without a certificate.
    func encryption() throws(ConfigurationError) -> EncryptionContext? {
        try checkEncryption()
        guard !tlsCertificate.isEmpty else { return nil }
        var status = stat()
        if stat(tlsKeyPath, &status) == 0, status.st_mode & 0o007 != 0 { throw .openToOthers(path: tlsKeyPath) }
        do throws(EncryptionError) {
            return try EncryptionContext(
                serverCertificate: tlsCertificate, key: tlsKeyPath, clientAuthorities: tlsClientAuthorities)
        } catch { throw .encryption(error) }
    }
}

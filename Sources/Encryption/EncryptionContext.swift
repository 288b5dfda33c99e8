import COpenSSL
import Glibc

/// What one side of encrypted connections has in common: its certificate and key, whom it trusts, and TLS 1.3 without
/// resumption or early data. The distribution's OpenSSL does all cryptography.
///
/// Safe as `Sendable`: nothing changes after `init`, and OpenSSL counts its references atomically.
package final class EncryptionContext: @unchecked Sendable {
    let context: OpaquePointer
    /// How OpenSSL reads from and writes to a session's memory.
    let transfer: OpaquePointer
    let isServer: Bool
    // The last two have values from the start, so that `deinit` frees what an initializer made before it throws.

    /// Seconds since 1970 until which our own certificate is valid; nil without one.
    package private(set) var expiry: Int?
    /// SHA-256 of the authorities' certificates, of which one must vouch for the other side; a server that asks for none
    /// has none.
    package private(set) var authorities: Set<[UInt8]> = []

    /// A server's side.
    ///
    /// - Parameters:
    ///   - certificate: a PEM file: the server's certificate, then those between it and an authority.
    ///   - clientAuthorities: a PEM file of authorities, one of which must have signed a client's certificate; empty: none is
    ///     asked for.
    /// - Throws: `unusable` or `mismatch`.
    package init(serverCertificate certificate: String, key: String, clientAuthorities: String) throws(EncryptionError) {
        isServer = true
        (context, transfer) = try Self.make(TLS_server_method())
        expiry = try Self.identify(context, certificate, key)
        SSL_CTX_set_num_tickets(context, 0)
        SSL_CTX_set_alpn_select_cb(context, Self.selectProtocol, nil)
        guard !clientAuthorities.isEmpty else { return }
        ERR_clear_error()
        guard SSL_CTX_load_verify_locations(context, clientAuthorities, nil) == 1,
            let names = SSL_load_client_CA_file(clientAuthorities)
        else { throw .unusable(path: clientAuthorities, purpose: "the authorities of clients", reason: lastReason()) }
        SSL_CTX_set_client_CA_list(context, names)
        authorities = Self.digests(of: context)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
    }

    /// A client's side: the server must prove the name by which it is called.
    ///
    /// - Parameters:
    ///   - authorities: a PEM file of those that may vouch for the server; empty: those that the system trusts.
    ///   - certificate: a PEM file for servers that ask for one, with its `key`; empty: none.
    /// - Throws: `unusable` or `mismatch`.
    package init(clientAuthorities authorities: String, certificate: String, key: String) throws(EncryptionError) {
        isServer = false
        (context, transfer) = try Self.make(TLS_client_method())
        expiry = certificate.isEmpty ? nil : try Self.identify(context, certificate, key)
        ERR_clear_error()
        let isTrusting =
            authorities.isEmpty
            ? SSL_CTX_set_default_verify_paths(context) == 1 : SSL_CTX_load_verify_locations(context, authorities, nil) == 1
        guard isTrusting else {
            throw .unusable(path: authorities, purpose: "the authorities of servers", reason: lastReason())
        }
        self.authorities = Self.digests(of: context)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
    }

    deinit {
        SSL_CTX_free(context)
        BIO_meth_free(transfer)
    }

    private static func make(_ method: OpaquePointer?) throws(EncryptionError) -> (OpaquePointer, OpaquePointer) {
        ERR_clear_error()
        guard let context = SSL_CTX_new(method) else { throw .internal(reason: lastReason()) }
        guard let transfer = EncryptedSession.makeTransfer() else {
            SSL_CTX_free(context)
            throw .internal(reason: lastReason())
        }
        _ = sae_ssl_only_tls13(context)
        sae_ssl_keep_little(context)
        // A key with a password is refused, not asked about on the terminal.
        SSL_CTX_set_default_passwd_cb(context) { _, _, _, _ in -1 }
        return (context, transfer)
    }

    /// Gives our side its certificate; until when that is valid.
    private static func identify(_ context: OpaquePointer, _ certificate: String, _ key: String) throws(EncryptionError) -> Int? {
        ERR_clear_error()
        guard SSL_CTX_use_certificate_chain_file(context, certificate) == 1 else {
            throw .unusable(path: certificate, purpose: "a certificate", reason: lastReason())
        }
        guard SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1 else {
            let isOther = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH
            if isOther { throw .mismatch(certificate: certificate, key: key) }
            throw .unusable(path: key, purpose: "a private key", reason: lastReason())
        }
        guard SSL_CTX_check_private_key(context) == 1 else { throw .mismatch(certificate: certificate, key: key) }
        var end = tm()
        guard let own = SSL_CTX_get0_certificate(context), ASN1_TIME_to_tm(X509_get0_notAfter(own), &end) == 1 else { return nil }
        return timegm(&end)
    }

    private static func digests(of context: OpaquePointer) -> Set<[UInt8]> {
        guard let all = X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(context)) else { return [] }
        defer { sae_x509_free_all(all) }
        return Set((0..<max(0, OPENSSL_sk_num(all))).compactMap { index in
            var digest = [UInt8](repeating: 0, count: 32)
            guard let certificate = OPENSSL_sk_value(all, index),
                X509_digest(OpaquePointer(certificate), EVP_sha256(), &digest, nil) == 1
            else { return nil }
            return digest
        })
    }

    /// ALPN: the protocol of the session, if the client names any at all.
    private static let selectProtocol: SSL_CTX_alpn_select_cb_func = { ssl, chosen, chosenCount, offered, count, _ in
        guard let chosen, let chosenCount, let offered, let session = EncryptedSession.of(ssl) else {
            return SSL_TLSEXT_ERR_ALERT_FATAL
        }
        let list = UnsafeBufferPointer(start: offered, count: Int(count))
        var at = 0
        while at < list.count {
            let name = list[(at + 1)...].prefix(Int(list[at]))
            if name.elementsEqual(session.protocolName.utf8) {
                chosen.pointee = offered + at + 1
                chosenCount.pointee = UInt8(name.count)
                return SSL_TLSEXT_ERR_OK
            }
            at += 1 + Int(list[at])
        }
        return SSL_TLSEXT_ERR_ALERT_FATAL
    }
}

/// What OpenSSL says of the last failure on this thread, without its codes.
func lastReason() -> String {
    let code = ERR_peek_last_error()
    defer { ERR_clear_error() }
    // Errors of the system stand for themselves: a file that is not there.
    if ERR_GET_LIB(code) == ERR_LIB_SYS { return String(cString: strerror(ERR_GET_REASON(code))) }
    let first = ERR_peek_error()
    if ERR_GET_LIB(first) == ERR_LIB_SYS { return String(cString: strerror(ERR_GET_REASON(first))) }
    return ERR_reason_error_string(code).map { String(cString: $0) } ?? "no reason is known"
}

import COpenSSL
import Glibc

/// The encryption of one connection, without a socket: what the peer sent goes in, plaintext comes out, and what is to be
/// sent gathers in `output`. Holds no buffer of its own while nothing is under way. For one thread at a time.
package final class EncryptedSession {
    private let context: EncryptionContext
    private let session: OpaquePointer
    /// As ALPN names what is spoken inside.
    let protocolName: String
    /// What is being taken in: valid during `receive` only.
    private var input = UnsafeRawBufferPointer(start: nil, count: 0)
    private var output: [UInt8] = []
    private var outputHead = 0
    private var isFinished = false

    /// The handshake is over: plaintext may be sent.
    package private(set) var isEstablished = false
    /// The peer has said that nothing more comes. An end of the connection without that may be the work of somebody between.
    package private(set) var isEnded = false

    /// A session of `context`, in which `protocolName` is spoken. A client's needs the `host` that the server must prove to be:
    /// a name or an address.
    package init(
        _ context: EncryptionContext, speaking protocolName: String, with host: String = ""
    ) throws(EncryptionError) {
        ERR_clear_error()
        guard let session = SSL_new(context.context) else { throw .internal(reason: lastReason()) }
        self.context = context
        self.session = session
        self.protocolName = protocolName
        guard let bio = BIO_new(context.transfer) else { throw .internal(reason: lastReason()) }
        BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        BIO_set_init(bio, 1)
        SSL_set_bio(session, bio, bio)
        SSL_set_ex_data(session, 0, Unmanaged.passUnretained(self).toOpaque())
        if context.isServer { SSL_set_accept_state(session) } else { try connect(to: host) }
    }

    deinit { SSL_free(session) }

    private func connect(to host: String) throws(EncryptionError) {
        SSL_set_connect_state(session)
        let offer = [UInt8(protocolName.utf8.count)] + Array(protocolName.utf8)
        guard SSL_set_alpn_protos(session, offer, UInt32(offer.count)) == 0 else { throw .internal(reason: lastReason()) }
        var address = in6_addr()
        if inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1 {
            guard X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host) == 1 else { throw .internal(reason: lastReason()) }
        } else {
            guard SSL_set1_host(session, host) == 1, sae_ssl_name_server(session, host) == 1 else {
                throw .internal(reason: lastReason())
            }
        }
    }

    /// Ciphertext, alerts and steps of the handshake that wait to be sent.
    package var outputCount: Int { output.count - outputHead }

    package func withOutput<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        output.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[outputHead...])) }
    }

    /// Forgets output that was sent.
    package func consume(_ count: Int) {
        outputHead += count
        if outputHead == output.count { (output, outputHead) = ([], 0) }
    }

    /// All output; it counts as sent.
    package func takeOutput() -> [UInt8] {
        let taken = outputHead == 0 ? output : Array(output[outputHead...])
        (output, outputHead) = ([], 0)
        return taken
    }

    /// A client's first word. A server waits for it.
    package func begin() throws(EncryptionError) {
        if !context.isServer { try shakeHands() }
    }

    /// Takes in what the peer sent, all of it, and gives `body` the plaintext piece by piece, each at most 16 KiB and valid
    /// during the call; `body` says whether it wants more.
    package func receive(
        _ bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Bool
    ) throws(EncryptionError) {
        input = bytes
        defer { input = UnsafeRawBufferPointer(start: nil, count: 0) }
        if !isEstablished { try shakeHands() }
        guard isEstablished, !isEnded else { return }
        let failure: EncryptionError? = withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 16) { piece in
            while true {
                ERR_clear_error()
                let count = SSL_read(session, piece.baseAddress, Int32(piece.count))
                guard count > 0 else { return stop(count) }
                guard body(UnsafeRawBufferPointer(rebasing: piece[..<Int(count)])) else { return nil }
            }
        }
        if let failure { throw failure }
    }

    /// Encrypts `bytes`, at most 16 KiB of them as one record; the session must be established.
    package func send(_ bytes: UnsafeRawBufferPointer) throws(EncryptionError) {
        var rest = bytes
        while !rest.isEmpty {
            ERR_clear_error()
            let count = SSL_write(session, rest.baseAddress, Int32(clamping: rest.count))
            guard count > 0 else { throw stop(count) ?? .internal(reason: "a record could not be written") }
            rest = UnsafeRawBufferPointer(rebasing: rest[Int(count)...])
        }
    }

    /// Says that nothing more comes from here.
    package func finish() {
        guard isEstablished, !isFinished else { return }
        isFinished = true
        ERR_clear_error()
        _ = SSL_shutdown(session)
        ERR_clear_error()
    }

    /// Whether a server of `context`, which asks for certificates, would take the one that this client has shown.
    package func isTrusted(by context: EncryptionContext) -> Bool {
        guard let certificate = SSL_get1_peer_certificate(session) else { return false }
        defer { X509_free(certificate) }
        ERR_clear_error()
        guard let check = X509_STORE_CTX_new() else { return false }
        defer { X509_STORE_CTX_free(check) }
        let store = SSL_CTX_get_cert_store(context.context)
        guard X509_STORE_CTX_init(check, store, certificate, SSL_get_peer_cert_chain(session)) == 1,
            X509_STORE_CTX_set_default(check, "ssl_client") == 1
        else { return false }
        defer { ERR_clear_error() }
        return X509_verify_cert(check) == 1
    }

    private func shakeHands() throws(EncryptionError) {
        ERR_clear_error()
        let result = SSL_do_handshake(session)
        if result == 1 { isEstablished = true } else if let failure = stop(result) { throw failure }
    }

    /// Why OpenSSL did not go on; nil when it only waits for the peer.
    private func stop(_ result: Int32) -> EncryptionError? {
        switch SSL_get_error(session, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return nil
        case SSL_ERROR_ZERO_RETURN:
            isEnded = true
            return nil
        default: break
        }
        let reason = ERR_GET_REASON(ERR_peek_last_error())
        let verified = SSL_get_verify_result(session)
        switch reason {
        case SSL_R_CERTIFICATE_VERIFY_FAILED:
            _ = lastReason()
            return .untrusted(reason: String(cString: X509_verify_cert_error_string(verified)))
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            _ = lastReason()
            return .untrusted(reason: "there is none")
        case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE,
            SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED,
            SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, SSL_R_TLSV1_ALERT_UNKNOWN_CA, SSL_R_TLSV1_ALERT_ACCESS_DENIED,
            SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
            return .refused(reason: lastReason())
        default: return .broken(reason: lastReason())
        }
    }
}

/// OpenSSL's way to a session's memory.
extension EncryptedSession {
    static func of(_ ssl: OpaquePointer?) -> EncryptedSession? {
        SSL_get_ex_data(ssl, 0).map { Unmanaged<EncryptedSession>.fromOpaque($0).takeUnretainedValue() }
    }

    private static func of(bio: OpaquePointer?) -> EncryptedSession? {
        BIO_get_data(bio).map { Unmanaged<EncryptedSession>.fromOpaque($0).takeUnretainedValue() }
    }

    static func makeTransfer() -> OpaquePointer? {
        guard let method = BIO_meth_new(Int32(BIO_TYPE_SOURCE_SINK), "sae session") else { return nil }
        BIO_meth_set_read(method) { bio, buffer, count in
            guard let session = EncryptedSession.of(bio: bio), let buffer, count > 0 else { return 0 }
            return session.give(buffer, Int(count), bio)
        }
        BIO_meth_set_write(method) { bio, buffer, count in
            guard let session = EncryptedSession.of(bio: bio), let buffer, count > 0 else { return 0 }
            sae_bio_is_ready(bio)
            session.output.append(contentsOf: UnsafeRawBufferPointer(start: buffer, count: Int(count)))
            return count
        }
        // Of all that OpenSSL may ask, only that what was written be passed on has a meaning here.
        BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
        return method
    }

    private func give(_ buffer: UnsafeMutablePointer<CChar>, _ count: Int, _ bio: OpaquePointer?) -> Int32 {
        sae_bio_is_ready(bio)
        let part = input.prefix(count)
        guard !part.isEmpty else {
            sae_bio_is_empty(bio)
            return -1
        }
        UnsafeMutableRawBufferPointer(start: buffer, count: count).copyMemory(from: UnsafeRawBufferPointer(rebasing: part))
        input = UnsafeRawBufferPointer(rebasing: input.dropFirst(part.count))
        return Int32(part.count)
    }
}
